//! The deliveries of messages that go to everyone.
//!
//! The stamp in a message says who sent it and when it was due, so that each receiver's delay is known without asking
//! the sender.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::payload::Stamp;
use crate::engine::plan::Audience;
use crate::engine::recorder::Times;
use crate::host::clock::{Moment, Nanos};
use crate::report::model::Fanout;

/// The collector of all threads.
pub fn locked(collector: &Mutex<Collector>) -> MutexGuard<'_, Collector> {
    collector.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gathers the deliveries of every message.
pub struct Collector {
    /// Connections that each message should reach.
    receivers: u64,
    audience: Audience,
    /// Payloads due before this are warm-up.
    from: Moment,
    published: u64,
    received: u64,
    duplicated: u64,
    reordered: u64,
    /// Payloads under way.
    open: HashMap<(u32, u32), Delivery>,
    /// The highest index that each receiver has had from each sender.
    highest: HashMap<(u32, u32), u32>,
    /// How late each message under way was sent.
    slips: HashMap<(u32, u32), Nanos>,
    first: Times,
    median: Times,
    last: Times,
    spread: Times,
}

struct Delivery {
    due: Moment,
    /// Delays, in the order in which they were heard of.
    delays: Vec<Nanos>,
    /// Who has it, a bit each.
    reached: Vec<u64>,
}

impl Collector {
    /// For `members` connections in all; messages due before `from` do not count.
    pub fn new(members: u64, audience: Audience, from: Moment) -> Collector {
        let senders = match audience {
            Audience::Others => 1,
            Audience::Subscribers(publishers) => publishers,
        };
        Collector {
            receivers: members.saturating_sub(senders),
            audience,
            from,
            published: 0,
            received: 0,
            duplicated: 0,
            reordered: 0,
            open: HashMap::new(),
            highest: HashMap::new(),
            slips: HashMap::new(),
            first: Times::default(),
            median: Times::default(),
            last: Times::default(),
            spread: Times::default(),
        }
    }

    /// Message `number` of `sender` went out, so late.
    pub fn published(&mut self, (sender, number): (u32, u32), slip: Nanos, measured: bool) {
        self.published += u64::from(measured);
        if measured {
            self.slips.insert((sender, number), slip);
        }
    }

    /// Connection `receiver` got a message at `now`; without a stamp it is none of ours. When that is a delivery, and the
    /// first of it, the time the message was due, how long it took, and how much of that it was late.
    pub fn delivered(
        &mut self,
        receiver: u32,
        stamp: Option<Stamp>,
        now: Moment,
    ) -> Option<(Moment, Nanos, Nanos)> {
        let stamp = stamp?;
        let due = stamp.due(now);
        let sender = stamp.id.conn;
        // Some servers send to everyone, some to everyone else.
        let is_out = match self.audience {
            Audience::Others => sender == receiver,
            Audience::Subscribers(publishers) => u64::from(receiver) < publishers,
        };
        if is_out || due < self.from {
            return None;
        }
        let receivers = self.receivers as usize;
        let message = (sender, stamp.id.index);
        let highest = self.highest.entry((receiver, sender)).or_insert(0);
        let late = stamp.id.index < *highest;
        *highest = (*highest).max(stamp.id.index + 1);
        if late && !self.open.contains_key(&message) {
            self.duplicated += 1;
            return None;
        }
        let delivery = self.open.entry(message).or_insert_with(|| Delivery {
            due,
            delays: Vec::with_capacity(receivers),
            reached: vec![0; receivers / 64 + 1],
        });
        let (word, bit) = (receiver as usize / 64, 1 << (receiver % 64));
        // Numbers go on where connections could not be opened.
        if delivery.reached.len() <= word {
            delivery.reached.resize(word + 1, 0);
        }
        if delivery.reached[word] & bit != 0 {
            self.duplicated += 1;
            return None;
        }
        delivery.reached[word] |= bit;
        delivery.delays.push(now - due);
        self.received += 1;
        self.reordered += u64::from(late);
        let slip = self.slips.get(&message).copied().unwrap_or_default();
        if delivery.delays.len() == receivers {
            let delivery = self.open.remove(&message).expect("just looked at");
            self.slips.remove(&message);
            self.complete(delivery, None);
        }
        Some((due, now - due, slip))
    }

    /// Whether everything that went out has reached everyone.
    pub fn is_complete(&self) -> bool {
        self.received >= self.published * self.receivers
    }

    fn complete(&mut self, delivery: Delivery, age: Option<Nanos>) {
        let mut delays = delivery.delays;
        // Threads look at theirs in turns.
        delays.sort_unstable();
        self.first.record(delays[0]);
        // Whoever did not get it in time would be among the last.
        let all = self.receivers as usize;
        let last = age.unwrap_or(delays[delays.len() - 1]);
        self.median.record(*delays.get((all - 1) / 2).unwrap_or(&last));
        self.last.record(last);
        self.spread.record(last - delays[0]);
    }

    /// The findings; messages that did not reach everyone by `now` count with the age they have.
    pub fn report(mut self, publishers: u64, now: Moment) -> Fanout {
        for delivery in std::mem::take(&mut self.open).into_values() {
            let age = now - delivery.due;
            self.complete(delivery, Some(age));
        }
        Fanout {
            publishers,
            receivers: self.receivers,
            published: self.published,
            expected: self.published * self.receivers,
            received: self.received,
            duplicated: self.duplicated,
            reordered: self.reordered,
            first: self.first.stat(),
            median: self.median.stat(),
            last: self.last.stat(),
            spread: self.spread.stat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::payload::{MessageId, Payloads};
    use crate::engine::size::Sizes;
    use crate::protocol::frame::Opcode;

    #[test]
    fn first_median_and_last_are_by_message() {
        let messages = Payloads::random(Opcode::Binary, Sizes::Fixed(16), true, 1);
        let stamp = |index, due| {
            let due = Moment(due);
            let mut out = Vec::new();
            messages.write(&mut out, MessageId { conn: 0, index }, 16, due);
            messages.read_stamp(&out)
        };
        let mut collector = Collector::new(6, Audience::Others, Moment(1000));
        // Warm-up does not count.
        collector.delivered(1, stamp(0, 999), Moment(1500));
        collector.published((0, 0), Nanos(7), false);
        for index in 1..4 {
            collector.published((0, index), Nanos(5), true);
            for receiver in 0..6 {
                // The sender's own copy is not a delivery.
                let at = Moment(2001 + 10 * u64::from(receiver));
                let found = collector.delivered(receiver, stamp(index, 2000), at);
                assert_eq!(found, (receiver > 0).then(|| (Moment(2000), at - Moment(2000), Nanos(5))));
            }
        }
        collector.delivered(3, stamp(2, 2000), Moment(2100));
        // The last message reaches two of five.
        collector.published((0, 5), Nanos(5), true);
        collector.delivered(4, stamp(5, 3000), Moment(3010));
        collector.delivered(2, stamp(5, 3000), Moment(3020));
        collector.delivered(2, stamp(5, 3000), Moment(3030));
        let report = collector.report(1, Moment(4000));
        assert_eq!((report.published, report.expected, report.received, report.duplicated), (4, 20, 17, 2));
        let (first, median, last) = (report.first.unwrap(), report.median.unwrap(), report.last.unwrap());
        assert_eq!((first.count, first.min, first.max), (4, 10, 11));
        assert_eq!((median.min, median.max), (31, 1000));
        assert_eq!((last.min, last.max), (51, 1000));
    }

    /// Two that send and three that listen, whose threads say when they heard in no order.
    #[test]
    fn publishers_are_no_receivers() {
        let messages = Payloads::random(Opcode::Binary, Sizes::Fixed(16), true, 1);
        let stamp = |conn, due| {
            let mut out = Vec::new();
            messages.write(&mut out, MessageId { conn, index: 0 }, 16, Moment(due));
            messages.read_stamp(&out)
        };
        let mut collector = Collector::new(5, Audience::Subscribers(2), Moment(0));
        for sender in 0..2 {
            collector.published((sender, 0), Nanos(5), true);
            for receiver in [1, 4, 0, 2, 3] {
                collector.delivered(receiver, stamp(sender, 100), Moment(100 + 10 * u64::from(receiver)));
            }
        }
        assert!(collector.is_complete());
        collector.delivered(3, stamp(0, 100), Moment(500));
        let report = collector.report(2, Moment(1000));
        assert_eq!((report.receivers, report.expected, report.duplicated), (3, 6, 1));
        let [first, median, last] = [report.first, report.median, report.last].map(|stat| stat.unwrap().max);
        assert_eq!((first, median, last), (20, 30, 40));
    }
}
