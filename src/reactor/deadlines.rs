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

    /// Forgets the alarms of connections that are gone, once they outnumber the `living`: clients that come and go faster
    /// than their alarms ring must not pile them up.
    pub fn tidy(&mut self, living: usize, is_alive: impl Fn(ConnId) -> bool) {
        const SLACK: usize = 1024;
        if self.alarms.len() > 2 * living + SLACK {
            self.alarms.retain(|Reverse((_, id))| is_alive(*id));
            self.alarms.shrink_to(2 * self.alarms.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            deadlines.tidy(1, |id| id.key == 7);
        }
        assert!(deadlines.alarms.len() <= 2 * 1024, "{}", deadlines.alarms.len());
        assert!(deadlines.alarms.iter().any(|Reverse((_, id))| id.key == 7));
    }
}
