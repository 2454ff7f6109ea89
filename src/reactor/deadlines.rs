//! When each connection's patience ends.

use super::moment::Moment;
use super::token::ConnId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Alarms, earliest first.
///
/// An alarm is a question, not a verdict: when it rings, the connection says when its patience really ends, and a new alarm
/// is set. So a message moves a deadline by storing one field, and this queue sees a connection a few times in its life.
#[derive(Debug, Default)]
pub struct Deadlines {
    alarms: BinaryHeap<Reverse<(Moment, ConnId)>>,
}

impl Deadlines {
    /// No alarms, and room for so many.
    pub fn with_room(count: usize) -> Deadlines {
        Deadlines { alarms: BinaryHeap::with_capacity(count) }
    }

    /// Rings for `id` at `at`.
    pub fn set(&mut self, at: Moment, id: ConnId) {
        self.alarms.push(Reverse((at, id)));
    }

    /// When the next alarm rings.
    pub fn next(&self) -> Option<Moment> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one alarm that rings at `now` or earlier.
    pub fn ring(&mut self, now: Moment) -> Option<(Moment, ConnId)> {
        if self.next()? > now {
            return None;
        }
        self.alarms.pop().map(|Reverse(alarm)| alarm)
    }

    /// Forgets alarms that have nothing to ask any more, once they are more than the others: clients that come and go faster
    /// than their alarms ring, or set ever earlier ones, must not pile them up.
    ///
    /// `is_current` knows at most one alarm for each of the `living` connections. So a look at all alarms throws more than
    /// half of them away, and whoever sets an alarm has paid for that: it costs nothing to call this after each event.
    pub fn tidy(&mut self, living: usize, is_current: impl Fn(Moment, ConnId) -> bool) {
        const SLACK: usize = 1024;
        if self.alarms.len() > 2 * living + SLACK {
            let mut alarms = std::mem::take(&mut self.alarms).into_vec();
            alarms.retain(|Reverse((at, id))| is_current(*at, *id));
            // One that was set again for the same moment is there twice.
            alarms.sort_unstable();
            alarms.dedup();
            alarms.shrink_to(2 * alarms.len());
            self.alarms = alarms.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn id(key: u32) -> ConnId {
        ConnId { key, serial: 1 }
    }

    #[test]
    fn alarms_ring_in_order_and_not_before_their_time() {
        let mut deadlines = Deadlines::default();
        for at in [30, 10, 20] {
            deadlines.set(Moment(at), id(at as u32));
        }
        assert_eq!(deadlines.ring(Moment(9)), None);
        assert_eq!(deadlines.ring(Moment(20)), Some((Moment(10), id(10))));
        assert_eq!(deadlines.ring(Moment(20)), Some((Moment(20), id(20))));
        assert_eq!(deadlines.ring(Moment(20)), None);
        assert_eq!(deadlines.next(), Some(Moment(30)));
    }

    #[test]
    fn alarms_of_the_dead_do_not_pile_up() {
        let mut deadlines = Deadlines::default();
        for key in 0..100_000 {
            deadlines.set(Moment(10_000), id(key));
            deadlines.tidy(1, |_, id| id.key == 7);
        }
        assert!(deadlines.alarms.len() <= 2 * 1024, "{}", deadlines.alarms.len());
        assert!(deadlines.alarms.iter().any(|Reverse((_, id))| id.key == 7));
    }

    /// 17,000 clients, each with three alarms of which one counts, stay until all have their turn to leave.
    #[test]
    fn an_event_costs_no_look_at_all_alarms() {
        const CLIENTS: u32 = 17_000;
        let mut deadlines = Deadlines::default();
        let looked_at = Cell::new(0_u32);
        let mut gone = 0;
        for event in 0..2 * CLIENTS {
            if event < CLIENTS {
                for at in [30, 10, 10] {
                    deadlines.set(Moment(at), id(event));
                }
            } else {
                gone += 1;
            }
            deadlines.tidy((event + 1).min(CLIENTS) as usize - gone as usize, |at, id| {
                looked_at.set(looked_at.get() + 1);
                at == Moment(10) && id.key >= gone
            });
        }
        // Two for each alarm that is thrown away.
        assert!(looked_at.get() <= 2 * 3 * CLIENTS, "{} looks", looked_at.get());
        assert!(deadlines.alarms.len() <= 1024, "{} alarms for nobody", deadlines.alarms.len());
    }
}
