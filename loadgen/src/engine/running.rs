//! A run under way: what it sends, and where it writes down what comes of it.

use std::collections::{HashMap, HashSet};

use crate::engine::deliveries::Collector;
use crate::engine::in_flight::Entry;
use crate::engine::recorder::{Tally, Times};
use crate::engine::schedule::Cursor;
use crate::report::model::Slow;

/// The schedule's time is cut into pieces of this length to find stalls in.
const PEAK_NS: u64 = 10_000_000;

/// Pieces kept: an hour.
const PEAKS_MAX: usize = 360_000;

/// What to send, and for how long. Times are those of `clock::now`.
pub struct Traffic {
    pub load: Load,
    /// How many connections send.
    pub active: usize,
    /// Messages due before this are warm-up.
    pub from: u64,
    /// None is due after this.
    pub to: u64,
    /// Replies count until then.
    pub until: u64,
    /// Length of a tick.
    pub tick: u64,
    /// When the schedule begins.
    pub begin: u64,
    /// Replies go to everyone rather than to the sender.
    pub collector: Option<Box<Collector>>,
}

/// When to send.
pub enum Load {
    /// On a schedule, whatever comes back.
    Open(Cursor),
    /// As many as that in flight on each connection; a reply sends the next.
    Closed(u32),
}

/// A run under way.
pub struct Running {
    pub traffic: Traffic,
    /// The connections that send, in the order of their turns.
    pub order: Vec<u32>,
    /// Closed mode: the number of first messages sent.
    pub started: usize,
    /// When the next message is due.
    pub due: u64,
    pub measured: Box<Tally>,
    pub warmup: Box<Tally>,
    pub tick: i64,
    pub tick_end: u64,
    pub peaks: Vec<u32>,
    /// Messages without a reply, and how many of them never will have one.
    pub out: u64,
    pub abandoned: u64,
    pub held_min: u64,
    /// The messages in flight.
    pub flow: Flow,
    /// Ages of the messages without a reply, from the write.
    pub unanswered: Times,
    pub patience: Patience,
    /// Where nothing tells replies apart: since when each connection has had a message out.
    pub busy_since: HashMap<u32, u64>,
}

/// How many messages are in flight, and how few there were in each quarter of the measured time.
pub struct Flow {
    now: i64,
    since: u64,
    /// Where the quarters begin, and where the last one ends.
    edges: [u64; 5],
    quarter: usize,
    least: [i64; 4],
}

/// How long a closed loop waits for a reply.
#[derive(Default)]
pub struct Patience {
    /// Nanoseconds; `None` is for ever.
    pub limit: Option<u64>,
    /// When to look for messages that have waited too long, and at which connections.
    pub next: u64,
    pub turn: usize,
    /// Given up: connection, index. What answers one of these is late.
    pub given_up: HashSet<(u32, u32)>,
    /// Connections given up with their messages and not yet open again.
    pub replacing: HashSet<u32>,
    pub replaced: u64,
}

impl Flow {
    pub fn new(from: u64, to: u64) -> Flow {
        let edges = [0, 1, 2, 3, 4].map(|n| from + (to - from) * n / 4);
        Flow { now: 0, since: 0, edges, quarter: 0, least: [i64::MAX; 4] }
    }

    /// The fewest of each quarter; 0 where it was not reached.
    pub fn least(&self) -> [i64; 4] {
        self.least.map(|n| if n == i64::MAX { 0 } else { n })
    }

    /// The number changes at `now`.
    fn change(&mut self, change: i64, now: u64) {
        while self.quarter < 4 && self.edges[self.quarter] <= now {
            let least = &mut self.least[self.quarter];
            *least = (*least).min(self.now);
            if now < self.edges[self.quarter + 1] {
                break;
            }
            self.quarter += 1;
        }
        self.since = now.max(self.since);
        self.now += change;
    }
}

impl Running {
    /// The tally of what belongs to time `t`.
    pub fn tally_at(&mut self, t: u64) -> &mut Tally {
        if t < self.traffic.from { &mut self.warmup } else { &mut self.measured }
    }

    /// Whether `t` is in the measured time, where rates are counted.
    pub fn inside(&self, t: u64) -> bool {
        (self.traffic.from..self.traffic.to).contains(&t)
    }

    /// So much of a stretch of time is in the measured time.
    pub fn overlap(&self, from: u64, to: u64) -> u64 {
        to.min(self.traffic.to).saturating_sub(from.max(self.traffic.from))
    }

    /// Whether nothing more is waited for.
    pub fn is_answered(&self) -> bool {
        self.out <= self.abandoned && self.traffic.collector.as_ref().is_none_or(|c| c.is_complete())
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> u64 {
        let end = if self.is_answered() { self.traffic.to } else { self.traffic.until };
        let patience = if self.patience.limit.is_some() { self.patience.next } else { u64::MAX };
        self.due.min(self.tick_end).min(end).min(patience)
    }

    /// The number of messages in flight changes at `now`; returns it.
    pub fn flow(&mut self, change: i64, now: u64) -> i64 {
        let Flow { now: count, since, .. } = self.flow;
        let inside = self.overlap(since, now) * count.max(0) as u64;
        let all = now.saturating_sub(since) * count.max(0) as u64;
        let counts = &mut self.tally_at(now).counts;
        counts.inflight_ns += all;
        self.measured.counts.inflight_inside_ns += inside;
        self.flow.change(change, now);
        self.flow.now
    }

    /// Records the times of a message whose reply ended at `end` and was read at `read`, or which our patience ended.
    /// `lag` is what loadgen is known to have added behind the reply's coming.
    pub fn record(&mut self, entry: &Entry, conn: u64, end: u64, read: u64, lag: u64, written: bool) {
        let from = self.traffic.from;
        let response = end - entry.due;
        let tally = if entry.due < from { &mut self.warmup } else { &mut self.measured };
        tally.response.record(response);
        tally.undisturbed.record(response.saturating_sub(lag + u64::from(entry.slip) * 1000));
        if written {
            tally.wire.record(end.saturating_sub(entry.sent));
        }
        tally.slowest.offer(response, || Slow {
            t_ns: entry.due.saturating_sub(from),
            conn,
            response_ns: response,
            own_slip_ns: u64::from(entry.slip) * 1000,
            size: u64::from(entry.size),
        });
        // For Little's law only time within the measured window counts, whichever message it is.
        if written {
            self.measured.counts.flight_ns += self.overlap(entry.sent, read);
        }
    }

    /// Keeps the longest response of each piece of the schedule; of replies only, since what never came is no stall.
    pub fn peak(&mut self, entry: &Entry, end: u64) {
        let from = self.traffic.from;
        if entry.due >= from {
            let piece = ((entry.due - from) / PEAK_NS) as usize;
            if piece < PEAKS_MAX {
                if self.peaks.len() <= piece {
                    self.peaks.resize(piece + 1, 0);
                }
                let micros = u32::try_from((end - entry.due) / 1000).unwrap_or(u32::MAX);
                self.peaks[piece] = self.peaks[piece].max(micros);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        let traffic = Traffic {
            load: Load::Closed(1),
            active: 1,
            from: 1_000,
            to: 3_000,
            until: 9_000,
            tick: 500,
            begin: 0,
            collector: None,
        };
        Running {
            flow: Flow::new(traffic.from, traffic.to),
            traffic,
            order: Vec::new(),
            started: 0,
            due: 0,
            measured: Box::default(),
            warmup: Box::default(),
            tick: 0,
            tick_end: 0,
            peaks: Vec::new(),
            out: 0,
            abandoned: 0,
            held_min: 0,
            unanswered: Times::default(),
            patience: Patience::default(),
            busy_since: HashMap::new(),
        }
    }

    /// Two messages from 500 to 1,500, one of them until 5,000.
    #[test]
    fn messages_in_flight_are_counted_while_they_are() {
        let mut running = running();
        assert_eq!(running.flow(2, 500), 2);
        assert_eq!(running.flow(-1, 1_500), 1);
        assert_eq!(running.flow(-1, 5_000), 0);
        let counts = running.measured.counts;
        assert_eq!(counts.inflight_inside_ns, 2 * 500 + 1_500);
        assert_eq!(counts.inflight_ns + running.warmup.counts.inflight_ns, 2 * 1_000 + 3_500);
        assert_eq!(running.flow.least(), [2, 1, 1, 1]);
    }
}
