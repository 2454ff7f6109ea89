//! A run under way in one thread: what is still to be sent, and what was found out so far.

use crate::engine::commands::{Load, TickReport, Traffic};
use crate::engine::in_flight::Entry;
use crate::engine::recorder::Recorder;
use crate::host::clock::{Moment, Nanos};
use crate::report::model::Slow;

/// The schedule's time is cut into pieces of this length to find stalls in.
const PEAK: Nanos = Nanos::millis(10);

/// Pieces kept: an hour.
const PEAKS_MAX: usize = 360_000;

/// The next thing to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// On this connection,
    pub connection: u32,
    /// when,
    pub at: Moment,
    /// and how many messages at once.
    pub messages: u32,
}

/// The run.
pub struct Running {
    pub traffic: Traffic,
    /// The connections that send, in the order of their turns.
    order: Vec<u32>,
    /// Closed mode: the number of connections whose first messages were sent.
    started: usize,
    /// When the next message is due.
    due: Moment,
    measured: Box<Recorder>,
    warmup: Box<Recorder>,
    tick: i64,
    tick_end: Moment,
    peaks: Vec<u32>,
    /// Messages without a reply, and how many of them never will have one.
    pub out: u64,
    pub abandoned: u64,
    /// The fewest connections that were open.
    pub held_min: u64,
}

impl Running {
    /// A run of `traffic` on the connections in `order`; `recorders` are empty ones.
    pub fn new(mut traffic: Traffic, order: Vec<u32>, held: u64, recorders: [Box<Recorder>; 2]) -> Running {
        let due = match &mut traffic.load {
            _ if order.is_empty() => Moment::NEVER,
            Load::Open(cursor) => cursor.due(),
            Load::Closed(_) => traffic.begin,
        };
        let tick = -((traffic.from - traffic.begin).0.div_ceil(traffic.tick.0) as i64);
        let tick_end = traffic.from.offset(tick + 1, traffic.tick);
        let [measured, warmup] = recorders;
        Running {
            traffic,
            order,
            started: 0,
            due,
            measured,
            warmup,
            tick,
            tick_end,
            peaks: Vec::new(),
            out: 0,
            abandoned: 0,
            held_min: held,
        }
    }

    /// The connections that send.
    pub fn senders(&self) -> &[u32] {
        &self.order
    }

    /// Takes the next thing off the schedule that is due by `now`.
    pub fn next_due(&mut self, now: Moment) -> Option<Due> {
        let at = self.due;
        if at > now {
            return None;
        }
        if at >= self.traffic.to {
            self.due = Moment::NEVER;
            return None;
        }
        match &mut self.traffic.load {
            Load::Open(cursor) => {
                let connection = self.order[cursor.pick(self.order.len())];
                cursor.advance();
                self.due = cursor.due();
                Some(Due { connection, at, messages: 1 })
            }
            Load::Closed(pipeline) => {
                let connection = self.order[self.started];
                self.started += 1;
                if self.started == self.order.len() {
                    self.due = Moment::NEVER;
                }
                Some(Due { connection, at: now, messages: *pipeline })
            }
        }
    }

    /// Messages are sent by a schedule.
    pub fn is_open_loop(&self) -> bool {
        matches!(self.traffic.load, Load::Open(_))
    }

    /// The recorder of what belongs to time `t`.
    pub fn recorder_at(&mut self, t: Moment) -> &mut Recorder {
        if t < self.traffic.from { &mut self.warmup } else { &mut self.measured }
    }

    /// Nothing more is waited for.
    fn is_answered(&self) -> bool {
        self.out <= self.abandoned && self.traffic.collector.as_ref().is_none_or(|c| c.is_complete())
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> Moment {
        let end = if self.is_answered() { self.traffic.to } else { self.traffic.until };
        self.due.min(self.tick_end).min(end)
    }

    /// Nothing more can come.
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.traffic.until || now >= self.traffic.to && self.is_answered()
    }

    /// The tick under way is over.
    pub fn tick_is_over(&self, now: Moment) -> bool {
        self.tick_end <= now
    }

    /// Ends the tick under way: what was recorded, in exchange for empty `recorders`.
    pub fn end_tick(&mut self, [measured, warmup]: [Box<Recorder>; 2]) -> TickReport {
        let report = TickReport {
            number: self.tick,
            measured: std::mem::replace(&mut self.measured, measured),
            warmup: std::mem::replace(&mut self.warmup, warmup),
        };
        self.tick += 1;
        self.tick_end = self.tick_end + self.traffic.tick;
        report
    }

    /// Records the times of a message that ended at `now`, by its reply or by our patience.
    pub fn record(&mut self, entry: &Entry, connection: u64, now: Moment, written: bool) {
        let Traffic { from, to, .. } = self.traffic;
        let response = now - entry.due;
        let recorder = if entry.due < from { &mut self.warmup } else { &mut self.measured };
        recorder.response.record(response);
        if written {
            recorder.wire.record(now - entry.sent);
        }
        recorder.slowest.offer(response, || Slow {
            t_ns: (entry.due - from).0,
            conn: connection,
            response_ns: response.0,
            own_slip_ns: (entry.sent - entry.due).0,
            size: u64::from(entry.size),
        });
        // For Little's law only time within the measured window counts, whichever message it is.
        if written {
            self.measured.counts.flight_ns += (now.min(to) - entry.sent.max(from)).0;
        }
    }

    /// Keeps the longest response of each piece of the schedule; of replies only, since what never came is no stall.
    pub fn peak(&mut self, entry: &Entry, now: Moment) {
        let from = self.traffic.from;
        if entry.due >= from {
            let piece = ((entry.due - from).0 / PEAK.0) as usize;
            if piece < PEAKS_MAX {
                if self.peaks.len() <= piece {
                    self.peaks.resize(piece + 1, 0);
                }
                let micros = u32::try_from((now - entry.due).0 / 1000).unwrap_or(u32::MAX);
                self.peaks[piece] = self.peaks[piece].max(micros);
            }
        }
    }

    /// The longest responses, microseconds.
    pub fn take_peaks(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.peaks)
    }
}
