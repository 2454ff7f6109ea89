//! How many messages are in flight.

use crate::host::clock::{Moment, Nanos};

/// The number, and how few there were in each quarter of the measured time.
pub struct Flow {
    now: i64,
    since: Moment,
    /// Where the quarters begin, and where the last one ends.
    edges: [Moment; 5],
    quarter: usize,
    least: [i64; 4],
}

impl Flow {
    /// Of a run that is measured from one time to another.
    pub fn new(from: Moment, to: Moment) -> Flow {
        let edges = [0, 1, 2, 3, 4].map(|n| from + (to - from) * n / 4);
        Flow { now: 0, since: Moment(0), edges, quarter: 0, least: [i64::MAX; 4] }
    }

    /// The fewest of each quarter; 0 where it was not reached.
    pub fn least(&self) -> [i64; 4] {
        self.least.map(|n| if n == i64::MAX { 0 } else { n })
    }

    /// The number.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The number changes at `now`. Returns it times how long it has been what it was, in all and while measuring.
    pub fn change(&mut self, change: i64, now: Moment) -> (Nanos, Nanos) {
        let [from, .., to] = self.edges;
        let count = self.now.max(0) as u64;
        let all = (now - self.since) * count;
        let inside = (now.min(to) - self.since.max(from)) * count;
        while self.quarter < 4 && self.edges[self.quarter] <= now {
            let least = &mut self.least[self.quarter];
            *least = (*least).min(self.now);
            if now < self.edges[self.quarter + 1] {
                break;
            }
            self.quarter += 1;
        }
        self.since = self.since.max(now);
        self.now += change;
        (all, inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages from 500 on, one of them until 1,500, the other until 5,000.
    #[test]
    fn messages_are_counted_while_they_are_in_flight() {
        let mut flow = Flow::new(Moment(1_000), Moment(3_000));
        let sums = [(2, 500), (-1, 1_500), (-1, 5_000)].map(|(n, at)| flow.change(n, Moment(at)));
        let all: Nanos = sums.iter().map(|(all, _)| *all).sum();
        let inside: Nanos = sums.iter().map(|(_, inside)| *inside).sum();
        assert_eq!((all, inside), (Nanos(2 * 1_000 + 3_500), Nanos(2 * 500 + 1_500)));
        assert_eq!((flow.now(), flow.least()), (0, [2, 1, 1, 1]));
    }
}
