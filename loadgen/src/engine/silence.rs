//! Connections on which nothing comes any more though something is owed.

use std::collections::VecDeque;

use crate::host::clock::{Moment, Nanos};

/// Those of one thread.
pub struct Silence {
    /// How long it takes to be one; `None` takes none for that.
    limit: Option<Nanos>,
    /// Since when each connection waits for a sign of its server; `NEVER` where it does not.
    waits: Vec<Moment>,
    /// When which of them is to be looked at, in order.
    looks: VecDeque<(Moment, u32)>,
}

impl Silence {
    /// Silence is when nothing comes for `limit`.
    pub fn new(limit: Option<Nanos>) -> Silence {
        Silence { limit, waits: Vec::new(), looks: VecDeque::new() }
    }

    /// Something was sent on connection `i` that wants an answer.
    pub fn asked(&mut self, i: usize, now: Moment) {
        let Some(limit) = self.limit else { return };
        if self.waits.len() <= i {
            self.waits.resize(i + 1, Moment::NEVER);
        }
        if self.waits[i] == Moment::NEVER {
            self.waits[i] = now;
            self.looks.push_back((now + limit, i as u32));
        }
    }

    /// Something has come on connection `i`, or it begins anew.
    pub fn heard(&mut self, i: usize) {
        if let Some(waits) = self.waits.get_mut(i) {
            *waits = Moment::NEVER;
        }
    }

    /// A connection that has waited too long, by what was read so far.
    pub fn next(&mut self, now: Moment) -> Option<usize> {
        while let Some(&(at, connection)) = self.looks.front().filter(|(at, _)| *at <= now) {
            self.looks.pop_front();
            let i = connection as usize;
            if self.waits[i] != Moment::NEVER && self.waits[i] + self.limit? == at {
                return Some(i);
            }
        }
        None
    }

    /// Connection `i` still waits.
    pub fn waits(&self, i: usize) -> bool {
        self.waits.get(i).is_some_and(|since| *since != Moment::NEVER)
    }

    /// When somebody may have waited too long.
    pub fn alarm(&self) -> Moment {
        self.looks.front().map_or(Moment::NEVER, |(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_owed_something_and_hears_nothing_is_found_in_time() {
        let mut silence = Silence::new(Some(Nanos(10)));
        silence.asked(3, Moment(5));
        silence.asked(3, Moment(8));
        silence.asked(0, Moment(9));
        assert_eq!((silence.alarm(), silence.next(Moment(14))), (Moment(15), None));
        assert_eq!((silence.next(Moment(15)), silence.next(Moment(15))), (Some(3), None));
        // Whatever comes begins it anew.
        silence.heard(0);
        silence.asked(0, Moment(12));
        assert_eq!((silence.next(Moment(21)), silence.next(Moment(22))), (None, Some(0)));
        silence.heard(0);
        assert!(!silence.waits(0) && silence.waits(3) && !silence.waits(7));
        let mut never = Silence::new(None);
        never.asked(0, Moment(0));
        assert_eq!((never.next(Moment(1 << 40)), never.alarm()), (None, Moment::NEVER));
    }
}
