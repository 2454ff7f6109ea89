//! A run under way in one thread: what is still to be sent, and what was found out so far.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::engine::commands::{Load, TickReport, Traffic};
use crate::engine::deliveries::locked;
use crate::engine::flow::Flow;
use crate::engine::in_flight::Entry;
use crate::engine::patience::Patience;
use crate::engine::recorder::{Recorder, Times};
use crate::host::clock::{Moment, Nanos};
use crate::report::model::Slow;

/// The schedule's time is cut into pieces of this length to find stalls in.
const PEAK: Nanos = Nanos::millis(10);

/// Pieces kept: an hour.
const PEAKS_MAX: usize = 360_000;

/// When something had come from the server.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it was there: by the kernel's stamp, or else when it was read.
    pub at: Moment,
    /// More came behind it in the same read. The kernel keeps the last stamp of what waits together in a socket, so that it
    /// may have been there since loadgen looked before.
    several: bool,
    /// When that was.
    looked: Moment,
    /// When it was read.
    pub read: Moment,
    /// From the stamp to the read; without a stamp, from the wake-up to the read.
    pub lag: Nanos,
    /// By the kernel's stamp.
    pub stamped: bool,
}

/// The next thing to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// On this connection,
    pub connection: u32,
    /// when,
    pub at: Moment,
    /// and how many messages at once.
    pub messages: u32,
    /// Its client has thought, from when its connection had sent so many messages before it was opened anew.
    pub thought_after: Option<u32>,
}

/// The run.
pub struct Running {
    /// What is sent.
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
    /// Those of them that never will have one.
    pub abandoned: u64,
    /// The fewest connections that were open.
    pub held_min: u64,
    flow: Flow,
    /// When a closed loop gives a reply up.
    pub patience: Patience,
    /// Ages of the messages without a reply, from the write.
    pub unanswered: Times,
    /// Whose turn it was last to stand in for another.
    turn: usize,
    /// Connections that think, by when their next message is due, each with what it had sent before it was opened anew.
    thinking: BinaryHeap<Reverse<(Moment, u32, u32)>>,
    /// Where nothing tells replies apart: the first message that was due since each connection last had none out.
    busy_since: HashMap<u32, Moment>,
}

impl Arrival {
    /// Read at `read` by a thread that had woken at `woken`, and before that at `looked`, with the kernel's `stamp` if it
    /// makes sense.
    pub fn new(stamp: Option<Moment>, [looked, woken]: [Moment; 2], read: Moment) -> Arrival {
        let (at, lag) = match stamp.filter(|at| *at <= read) {
            Some(at) => (at, read - at),
            None => (read, read - woken),
        };
        Arrival { at, several: false, looked, read, lag, stamped: stamp.is_some_and(|at| at <= read) }
    }

    /// As the end of a message with more behind it in the same read, or without.
    pub fn with_more(self, several: bool) -> Arrival {
        Arrival { several, ..self }
    }

    /// Nothing came: our patience ended then.
    pub fn never(now: Moment) -> Arrival {
        Arrival::new(None, [now, now], now)
    }

    /// As the end of the wait for something that was written at `sent`: a stamp from before that is none.
    fn after(self, sent: Moment) -> Arrival {
        if self.at < sent { Arrival { at: self.read, stamped: false, ..self } } else { self }
    }

    /// What of the time from `sent` until `at` may be loadgen's: that it had not looked yet; without a stamp, that it had
    /// woken and did not read yet.
    fn ours(self, sent: Moment) -> Nanos {
        match (self.stamped, self.several) {
            (true, true) => self.at - self.looked.max(sent),
            (true, false) => Nanos(0),
            (false, _) => self.lag,
        }
    }
}

impl Running {
    /// A run of `traffic` on the connections in `order`; `recorders` are empty ones. `patience` is a closed loop's.
    pub fn new(
        mut traffic: Traffic,
        order: Vec<u32>,
        held: u64,
        patience: Option<Nanos>,
        recorders: [Box<Recorder>; 2],
    ) -> Running {
        let due = match &mut traffic.load {
            _ if order.is_empty() => Moment::NEVER,
            Load::Open(cursor) => cursor.due(),
            Load::Closed(_) if traffic.think.is_some() => Moment::NEVER,
            Load::Closed(_) => traffic.begin,
        };
        let tick = -((traffic.from - traffic.begin).0.div_ceil(traffic.tick.0) as i64);
        let tick_end = traffic.from.offset(tick + 1, traffic.tick);
        let [measured, warmup] = recorders;
        let closed = matches!(traffic.load, Load::Closed(_));
        Running {
            flow: Flow::new(traffic.from, traffic.to),
            patience: Patience::new(patience.filter(|_| closed)),
            unanswered: Times::default(),
            busy_since: HashMap::new(),
            turn: 0,
            thinking: BinaryHeap::new(),
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
                Some(Due { connection, at, messages: 1, thought_after: None })
            }
            Load::Closed(_) if let Some(Reverse((at, connection, before))) = self.thinking.pop() => {
                self.due = self.thinking.peek().map_or(Moment::NEVER, |Reverse((at, ..))| *at);
                Some(Due { connection, at, messages: 1, thought_after: Some(before) })
            }
            Load::Closed(pipeline) => {
                let connection = self.order[self.started];
                self.started += 1;
                if self.started == self.order.len() {
                    self.due = Moment::NEVER;
                }
                Some(Due { connection, at: now, messages: *pipeline, thought_after: None })
            }
        }
    }

    /// A closed loop in which clients think.
    pub fn thinks(&self) -> bool {
        self.traffic.think.is_some()
    }

    /// Connection `connection`, which had sent so many messages `before` it was opened anew, thinks from `now` on before it
    /// sends its next one.
    pub fn begin_to_think(&mut self, connection: u32, before: u32, now: Moment, rng: &mut fastrand::Rng) {
        let Some(think) = self.traffic.think else { return };
        let due = now + think.draw(rng);
        self.thinking.push(Reverse((due, connection, before)));
        self.due = self.due.min(due);
    }

    /// Another connection that sends, in the place of one that is not there.
    pub fn stand_in(&mut self) -> u32 {
        self.turn = (self.turn + 1) % self.order.len();
        self.order[self.turn]
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
        self.out <= self.abandoned && self.traffic.collector.as_ref().is_none_or(|c| locked(c).is_complete())
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> Moment {
        let end = if self.is_answered() { self.traffic.to } else { self.traffic.until };
        self.due.min(self.tick_end).min(end).min(self.patience.alarm())
    }

    /// How many messages a closed loop has out on a connection.
    pub fn pipeline(&self) -> Option<u32> {
        match self.traffic.load {
            Load::Closed(pipeline) => Some(pipeline),
            Load::Open(_) => None,
        }
    }

    /// Whether `t` is in the measured time, where rates are counted.
    pub fn is_inside(&self, t: Moment) -> bool {
        (self.traffic.from..self.traffic.to).contains(&t)
    }

    /// So much of a stretch of time is in the measured time.
    fn overlap(&self, from: Moment, to: Moment) -> Nanos {
        to.min(self.traffic.to) - from.max(self.traffic.from)
    }

    /// The thread waited from one time to another.
    pub fn idle(&mut self, from: Moment, to: Moment) {
        self.measured.counts.idle_inside_ns += self.overlap(from, to).0;
        self.recorder_at(from).counts.idle_ns += (to - from).0;
    }

    /// The number of messages in flight changes at `now`; returns it.
    pub fn flow(&mut self, change: i64, now: Moment) -> i64 {
        let (all, inside) = self.flow.change(change, now);
        self.recorder_at(now).counts.inflight_ns += all.0;
        self.measured.counts.inflight_inside_ns += inside.0;
        self.flow.now()
    }

    /// Whether messages are in flight.
    pub fn awaits_replies(&self) -> bool {
        self.flow.now() > 0
    }

    /// The fewest messages in flight in each quarter of the measured time.
    pub fn least_in_flight(&self) -> [i64; 4] {
        self.flow.least()
    }

    /// Something was written at `now`.
    pub fn count_sent(&mut self, now: Moment) {
        self.measured.counts.sent_inside += u64::from(self.is_inside(now));
    }

    /// A reply was read at `now`.
    pub fn count_answered(&mut self, now: Moment) {
        self.measured.counts.answered_inside += u64::from(self.is_inside(now));
    }

    /// A reply to a message that was due at `due` came on a connection where nothing tells replies apart: its response is
    /// at least what it is if it answers the `newest` message, and at most what it is if it answers the first since the
    /// connection last had none out. `idle`: it has none out now.
    pub fn bound(&mut self, connection: u32, due: Moment, newest: Moment, idle: bool, at: Moment) {
        let first = *self.busy_since.entry(connection).or_insert(due);
        if idle {
            self.busy_since.remove(&connection);
        }
        let recorder = self.recorder_at(due);
        recorder.counts.ambiguous += u64::from(newest != first);
        let bounds = recorder.bounds.get_or_insert_default();
        bounds.low.record(at - newest);
        bounds.high.record(at - first);
    }

    /// A connection has none out any more.
    pub fn forget(&mut self, connection: u32) {
        self.busy_since.remove(&connection);
    }

    /// Nothing more can come.
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.traffic.until || now >= self.traffic.to && !self.has_fallen_behind() && self.is_answered()
    }

    /// Messages are still due that were so before the end.
    fn has_fallen_behind(&self) -> bool {
        self.due < self.traffic.to
    }

    /// The tick under way is over.
    pub fn tick_is_over(&self, now: Moment) -> bool {
        self.tick_end <= now
    }

    /// Ends the tick under way: what was recorded, in exchange for empty `recorders`.
    pub fn end_tick(&mut self, [measured, warmup]: [Box<Recorder>; 2]) -> TickReport {
        self.flow(0, self.tick_end);
        let report = TickReport {
            number: self.tick,
            measured: std::mem::replace(&mut self.measured, measured),
            warmup: std::mem::replace(&mut self.warmup, warmup),
        };
        self.tick += 1;
        self.tick_end = self.tick_end + self.traffic.tick;
        report
    }

    /// Records the times of a message that ended by its reply or by our patience.
    pub fn record(&mut self, entry: &Entry, connection: u64, end: Arrival, written: bool) {
        let from = self.traffic.from;
        let end = end.after(entry.sent);
        let response = end.at - entry.due;
        let slip = Nanos(u64::from(entry.slip) * 1000);
        // Of a closed loop the rate counts, and on that no stamp has a bearing.
        let ours = end.with_more(end.several && self.is_open_loop()).ours(entry.sent);
        let recorder = if entry.due < from { &mut self.warmup } else { &mut self.measured };
        recorder.response.record(response);
        recorder.undisturbed.record(response - slip - ours);
        if written {
            recorder.wire.record(end.at - entry.sent);
        }
        recorder.slowest.offer(response, || Slow {
            t_ns: (entry.due - from).0,
            conn: connection,
            response_ns: response.0,
            own_slip_ns: slip.0,
            size: u64::from(entry.size),
        });
        // For Little's law only time within the measured window counts, whichever message it is.
        if written {
            self.measured.counts.flight_ns += self.overlap(entry.sent, end.read).0;
        }
    }

    /// Records the response to a client that reads slowly, which is its own doing.
    pub fn record_slow(&mut self, entry: &Entry, end: Arrival) {
        self.recorder_at(entry.due).slow.get_or_insert_default().record(end.at - entry.due);
    }

    /// Records the first of several messages that are the reply to one.
    pub fn record_first(&mut self, entry: &Entry, arrival: Arrival) {
        let response = arrival.after(entry.sent).at - entry.due;
        self.recorder_at(entry.due).first.get_or_insert_default().record(response);
    }

    /// Records the delivery of a message that was due at `due` and sent late by `slip`.
    pub fn record_delivery(&mut self, due: Moment, delay: Nanos, slip: Nanos, arrival: Arrival) {
        let recorder = self.recorder_at(due);
        recorder.response.record(delay);
        recorder.undisturbed.record(delay - slip - arrival.ours(due + slip));
        recorder.counts.received += 1;
    }

    /// Counts a message that came while nothing is sent: so long `gap` after the one before on its connection, and sent at
    /// `sent` by a clock that now shows `wall`, if it says so.
    pub fn record_heard(&mut self, gap: Option<Nanos>, sent: Option<u64>, wall: u64, arrival: Arrival) {
        if !self.is_inside(arrival.at) {
            self.warmup.counts.received += u64::from(arrival.at < self.traffic.from);
            return;
        }
        self.count_answered(arrival.at);
        let recorder = &mut self.measured;
        recorder.counts.received += 1;
        if let Some(gap) = gap {
            recorder.gap.get_or_insert_default().record(gap);
        }
        match sent {
            None => recorder.counts.unsolicited += 1,
            Some(sent) if sent > wall => recorder.counts.ahead += 1,
            Some(sent) => {
                let took = Nanos(wall - sent);
                recorder.response.record(took);
                recorder.undisturbed.record(took - arrival.with_more(false).ours(arrival.at));
            }
        }
    }

    /// Keeps the longest response of each piece of the schedule; of replies only, since what never came is no stall.
    pub fn peak(&mut self, entry: &Entry, at: Moment) {
        let from = self.traffic.from;
        if entry.due >= from {
            let piece = ((entry.due - from).0 / PEAK.0) as usize;
            if piece < PEAKS_MAX {
                if self.peaks.len() <= piece {
                    self.peaks.resize(piece + 1, 0);
                }
                let micros = u32::try_from((at - entry.due).0 / 1000).unwrap_or(u32::MAX);
                self.peaks[piece] = self.peaks[piece].max(micros);
            }
        }
    }

    /// The longest responses, microseconds.
    pub fn take_peaks(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.peaks)
    }
}
