//! What every histogram and counter must say, worked out from what crosses the seam between worker and network.
//!
//! The model knows the rules and not the code: messages leave the schedule in order, at most sixteen in a row, after each
//! event and once a turn; a message is written at the last look at the clock before its write, and read at the first one
//! after the read that brought its last byte. From that it predicts each write, and stops at one that is not as predicted.

use std::collections::{BTreeMap, HashMap, VecDeque};

use hdrhistogram::Histogram;
use loadgen::engine::network::Readiness;
use loadgen::engine::recorder::Counts;

use crate::peer::{Heard, Said};

/// Messages that leave the schedule in a row.
const IN_A_ROW: u32 = 16;
/// How far a reply without a stamp is looked for.
const REACH: usize = 64;
/// The longest time that a histogram tells from others, ns.
const RANGE: u64 = 60_000_000_000;

/// What is being written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writing {
    Request,
    Control,
    /// What could not be written before.
    Rest,
    /// A message that was waiting, or that a reply set off.
    Message,
    /// A message just off the schedule.
    Scheduled,
}

/// When messages are due: each call gives the next time and which of the senders' turns it is.
pub type Schedule = Box<dyn FnMut() -> (u64, usize)>;

/// A run as the test asked for it.
pub struct Run {
    pub schedule: Option<Schedule>,
    /// Closed loop: messages in flight on a connection.
    pub pipeline: u32,
    /// The connections that send, in the order of their turns.
    pub order: Vec<usize>,
    pub begin: u64,
    pub from: u64,
    pub to: u64,
    pub until: u64,
}

/// What of the options the rules depend on.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Of the first connection, and of each next one so many more.
    pub first_number: usize,
    pub step: usize,
    pub timeout: Option<u64>,
    pub max_inflight: Option<u32>,
    pub verify: bool,
    /// Bytes of a stamp; none is shorter.
    pub stamp: usize,
    pub stamped: bool,
    /// Bytes of a message.
    pub size: usize,
    pub opcode: u8,
    pub ping: Option<u64>,
}

/// When something came: by the stamp or by the read, when it was read, and what of the lag was loadgen's.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: u64,
    read: u64,
    ours: u64,
    lag: u64,
}

/// The figures of warm-up or measured time.
pub struct Figures {
    pub response: Histogram<u64>,
    pub wire: Histogram<u64>,
    pub undisturbed: Histogram<u64>,
    /// Where nothing tells replies apart.
    pub low: Histogram<u64>,
    pub high: Histogram<u64>,
    pub own_slip: Histogram<u64>,
    pub backpressure: Histogram<u64>,
    pub read_lag: Histogram<u64>,
    pub ping: Histogram<u64>,
    pub counts: Counts,
    /// Response, connection's number, due, own slip, size.
    pub slow: Vec<(u64, u64, u64, u64, u64)>,
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, RANGE, 3).expect("bounds")
}

/// What a message turned out to be.
enum Identity {
    Answer {
        at: usize,
        known: bool,
        whole: bool,
    },
    Duplicate,
    /// Another connection's.
    Stray,
    Unsolicited {
        alike: bool,
    },
}

impl Rules {
    /// Nothing tells replies apart.
    fn by_order(&self) -> bool {
        !(self.verify || self.stamped && self.size >= self.stamp)
    }
}

/// So much of a stretch of time is in the measured time.
fn overlap(run: &Run, from: u64, to: u64) -> u64 {
    to.min(run.to).saturating_sub(from.max(run.from))
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            response: histogram(),
            wire: histogram(),
            undisturbed: histogram(),
            low: histogram(),
            high: histogram(),
            own_slip: histogram(),
            backpressure: histogram(),
            read_lag: histogram(),
            ping: histogram(),
            counts: Counts::default(),
            slow: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
struct Message {
    index: usize,
    due: u64,
    tried: u64,
    sent: Option<u64>,
    waited: bool,
}

#[derive(Default)]
struct Connection {
    connected: bool,
    open: bool,
    gone: bool,
    since: u64,
    out: Vec<Message>,
    next_index: usize,
    seen: usize,
    /// The first message that was due since none was out.
    busy_since: Option<u64>,
    /// Some bytes wait for the network.
    blocked: bool,
    /// What the server heard of each message: payload and bytes on the wire.
    heard: Vec<(Vec<u8>, usize)>,
    /// Messages behind which some were given up by the end of a run, and the one after those.
    gaps: VecDeque<(usize, usize)>,
    /// Bytes on the wire of what was heard last.
    wire: usize,
    /// Said and read, and not yet acted on.
    said: VecDeque<Said>,
    cause: Option<String>,
}

/// Between two waits: where the worker is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    Event(usize),
    Turn,
}

/// What the last call was, for the look at the clock that follows.
enum Last {
    Nothing,
    Wait { before: u64, counts: bool },
    Read(usize, usize, Option<u64>),
    Connected(usize),
    Emptied(usize),
}

#[derive(Default)]
pub struct Opening {
    pub connect: Option<Histogram<u64>>,
    pub upgrade: Option<Histogram<u64>>,
    pub opened: u64,
    pub began: Option<u64>,
    pub ended: u64,
}

pub struct Model {
    rules: Rules,
    /// Connections to open, until they are tried.
    pub asked: usize,
    clock: u64,
    woken: u64,
    connections: Vec<Connection>,
    /// Of all messages that any server heard: connection and index.
    stamps: HashMap<Vec<u8>, (usize, usize)>,
    run: Option<Run>,
    /// The next of the schedule: when, whose turn.
    next: Option<(u64, usize)>,
    started: usize,
    /// Being sent: connection, how many, due.
    burst: Option<(usize, u32, u64)>,
    budget: u32,
    points: VecDeque<Point>,
    handling: bool,
    last: Last,
    next_ping: u64,
    ping_turn: usize,
    ping_expected: Option<usize>,
    out: u64,
    abandoned: u64,
    /// Messages written and not answered, and since when.
    pub inflight: i64,
    inflight_since: u64,
    quarters: [Option<i64>; 4],
    arrival: Arrival,
    /// Time summed over the messages in flight.
    pub inflight_ns: u64,
    /// Connections that had no reply, and a closed loop's messages that had none.
    pub silent: u64,
    pub stuck: u64,

    pub opening: Opening,
    pub measured: Figures,
    pub warmup: Figures,
    pub unanswered: Histogram<u64>,
    /// Connections that failed since the last were told of, by reason; and those told of last.
    failing: BTreeMap<String, u64>,
    pub failures: BTreeMap<String, u64>,
    pub held_min: u64,
    /// Longest responses by 10 ms of the schedule, microseconds.
    pub peaks: Vec<u32>,
    pub finished: bool,
}

impl Model {
    pub fn new(rules: Rules) -> Model {
        Model {
            rules,
            asked: 0,
            clock: 0,
            woken: 0,
            connections: Vec::new(),
            stamps: HashMap::new(),
            run: None,
            next: None,
            started: 0,
            burst: None,
            budget: 0,
            points: VecDeque::new(),
            handling: false,
            last: Last::Nothing,
            next_ping: u64::MAX,
            ping_turn: 0,
            ping_expected: None,
            out: 0,
            abandoned: 0,
            inflight: 0,
            inflight_since: 0,
            quarters: [None; 4],
            arrival: Arrival { at: 0, read: 0, ours: 0, lag: 0 },
            inflight_ns: 0,
            silent: 0,
            stuck: 0,
            opening: Opening::default(),
            measured: Figures::default(),
            warmup: Figures::default(),
            unanswered: histogram(),
            failing: BTreeMap::new(),
            failures: BTreeMap::new(),
            held_min: 0,
            peaks: Vec::new(),
            finished: false,
        }
    }

    /// The connections that are open.
    pub fn open(&self) -> Vec<usize> {
        (0..self.connections.len()).filter(|c| self.connections[*c].open).collect()
    }

    /// The next turn begins with this run.
    pub fn begin(&mut self, mut run: Run) {
        self.next = run.schedule.as_mut().map(|schedule| schedule()).filter(|_| !run.order.is_empty());
        self.started = 0;
        self.burst = None;
        (self.out, self.abandoned) = (0, 0);
        (self.measured, self.warmup) = Default::default();
        (self.unanswered, self.peaks) = (histogram(), Vec::new());
        self.held_min = self.open().len() as u64;
        self.finished = false;
        (self.inflight_ns, self.inflight_since, self.quarters) = (0, 0, [None; 4]);
        (self.silent, self.stuck) = (0, 0);
        self.connections.iter_mut().for_each(|c| c.busy_since = None);
        (self.points, self.handling) = (VecDeque::from([Point::Turn]), false);
        self.budget = IN_A_ROW;
        if let Some(gap) = self.rules.ping {
            self.next_ping = self.clock + gap / self.held_min.max(1);
        }
        self.run = Some(run);
    }

    // What crosses the seam.

    pub fn on_clock(&mut self, now: u64) {
        self.clock = now;
        match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => {}
            Last::Wait { before, counts } => {
                self.woken = now;
                if counts && let Some(run) = &self.run {
                    self.measured.counts.idle_inside_ns += overlap(run, before, now);
                    self.figures(before).counts.idle_ns += now - before;
                }
            }
            Last::Read(c, n, stamp) => {
                let stamp = stamp.filter(|at| *at <= now);
                let lag = now - stamp.unwrap_or(self.woken);
                let ours = if stamp.is_some() { 0 } else { lag };
                self.arrival = Arrival { at: stamp.unwrap_or(now), read: now, ours, lag };
                if n > 0 && self.run.is_some() {
                    let figures = self.figures(now);
                    figures.read_lag.saturating_record(lag);
                    figures.counts.reads += 1;
                    figures.counts.reads_stamped += u64::from(stamp.is_some());
                    figures.counts.bytes_received += n as u64;
                }
                self.act(c);
            }
            Last::Connected(c) => {
                let since = std::mem::replace(&mut self.connections[c].since, now);
                self.opening.connect.get_or_insert_with(histogram).saturating_record(now - since);
                self.connections[c].connected = true;
            }
            Last::Emptied(c) => self.written(c),
        }
    }

    pub fn on_wait(&mut self, until: Option<u64>) {
        let all = self.connections.len() == self.asked;
        if self.asked > 0 && all && self.connections.iter().all(|c| c.open || c.gone) {
            self.asked = 0;
            self.failures = std::mem::take(&mut self.failing);
        }
        if self.run.is_some() {
            while let Some(point) = self.points.front().copied() {
                self.leave(point);
            }
            assert_eq!(self.ping_expected, None, "a ping was not sent");
            let run = self.run.as_ref().expect("just seen");
            if self.clock >= run.until || self.clock >= run.to && self.out <= self.abandoned {
                self.finish();
            } else if let (Some(until), Some((due, _))) = (until, self.next.filter(|(due, _)| *due < run.to))
            {
                assert!(until <= due, "the wait until {until} is longer than to the message due at {due}");
            }
        }
        self.last = Last::Wait { before: self.clock, counts: until.is_some() };
    }

    pub fn after_wait(&mut self, ready: &[Readiness]) {
        if ready.is_empty()
            && let Last::Wait { counts, .. } = &mut self.last
        {
            *counts = true;
        }
        self.points = ready.iter().map(|r| Point::Event(r.connection)).chain([Point::Turn]).collect();
        (self.handling, self.budget) = (!ready.is_empty(), IN_A_ROW);
    }

    pub fn on_connect(&mut self, c: usize, error: Option<&str>) {
        self.opening.began.get_or_insert(self.clock);
        let fresh = Connection { since: self.clock, ..Connection::default() };
        match self.connections.get_mut(c) {
            Some(old) => *old = fresh,
            None => self.connections.push(fresh),
        }
        if let Some(error) = error {
            self.connections[c].gone = true;
            self.fails(error);
        }
    }

    pub fn on_connected(&mut self, c: usize) {
        self.reach(c);
        self.last = Last::Connected(c);
    }

    pub fn on_not_connected(&mut self, c: usize) {
        self.reach(c);
    }

    /// Why the connection will be closed.
    pub fn on_cause(&mut self, c: usize, cause: &str) {
        let cause = match cause {
            cause if cause.starts_with("connect: ") => cause.to_owned(),
            cause if self.connections[c].open => format!("open: {cause}"),
            cause => format!("upgrade: {cause}"),
        };
        self.connections[c].cause = Some(cause);
    }

    /// A read returned `n` bytes, which say that, with a stamp or without; or it found the end, by a reset or not.
    pub fn on_read(&mut self, c: usize, n: usize, said: Vec<Said>, ended: Option<bool>, stamp: Option<u64>) {
        self.reach(c);
        self.connections[c].said.extend(said);
        match ended {
            Some(true) => self.on_cause(c, "Connection reset by peer"),
            Some(false) if self.connections[c].open => {
                self.on_cause(c, "ended by the server without a Close");
            }
            Some(false) => self.on_cause(c, "ended by the server without an answer"),
            None => {}
        }
        self.last = Last::Read(c, n, stamp);
    }

    pub fn before_write(&mut self, c: usize, bytes: &[u8]) -> Writing {
        let connection = &self.connections[c];
        if !connection.open {
            return Writing::Request;
        }
        if connection.blocked {
            self.reach(c);
            return Writing::Rest;
        }
        match bytes[0] & 0x0F {
            0x9 => {
                while let Some(point) = self.points.front().copied() {
                    self.leave(point);
                }
                assert_eq!(self.ping_expected, Some(c), "a ping");
                return Writing::Control;
            }
            0x8 | 0xA => return Writing::Control,
            _ => {}
        }
        if self.unsent(c).is_some() {
            return Writing::Message;
        }
        self.take(c);
        match self.run.as_ref().is_some_and(|run| run.schedule.is_some()) {
            true => Writing::Scheduled,
            false => Writing::Message,
        }
    }

    /// The server has all of this.
    pub fn on_heard(&mut self, c: usize, heard: Heard) {
        match heard {
            Heard::Message(opcode, payload, wire) => self.message_arrived(c, opcode, payload, wire),
            Heard::Ping(payload) => {
                let at = u64::from_be_bytes(payload.try_into().expect("a time"));
                assert!(at <= self.clock, "a ping says when it was sent");
            }
            Heard::Pong(payload) => assert_eq!(payload, b"hi", "a pong says what the ping said"),
            Heard::Close(_) => {}
        }
    }

    /// A write came to an end; not when it was interrupted or failed.
    pub fn after_write(&mut self, c: usize, writing: Writing, all: bool) {
        match writing {
            Writing::Request => assert!(all, "a request is short"),
            Writing::Rest => {
                self.connections[c].blocked = !all;
                if all && self.unsent(c).is_some() {
                    self.last = Last::Emptied(c);
                }
            }
            Writing::Control => {
                self.connections[c].blocked = !all;
                self.ping_expected = None;
                self.act(c);
            }
            Writing::Message | Writing::Scheduled => {
                self.connections[c].blocked = !all;
                if all {
                    self.written(c);
                } else if let Some(at) = self.unsent(c) {
                    self.connections[c].out[at].waited = true;
                }
                self.act(c);
            }
        }
    }

    pub fn on_close(&mut self, c: usize, _reset: bool) {
        self.ping_expected = None;
        let connection = &mut self.connections[c];
        connection.said.clear();
        connection.blocked = false;
        connection.gone = true;
        let cause = connection.cause.take();
        if std::mem::take(&mut connection.open) {
            self.abandoned += connection.out.len() as u64;
            if self.run.is_some() {
                self.held_min = self.held_min.min(self.open().len() as u64);
            }
        }
        let under_way = if self.connections[c].connected { "upgrade" } else { "connect" };
        self.fails(&cause.unwrap_or(format!("{under_way}: timed out")));
    }

    fn fails(&mut self, cause: &str) {
        *self.failing.entry(cause.to_owned()).or_default() += 1;
    }

    // Where the worker is.

    /// Connection `c` is being handled.
    fn reach(&mut self, c: usize) {
        if self.run.is_none() {
            return;
        }
        while self.points.front() != Some(&Point::Event(c)) || !self.handling {
            let point = self.points.front().copied();
            self.leave(point.unwrap_or_else(|| panic!("{c} was not told of")));
        }
    }

    /// Nothing more is done at `point`, which is the first.
    fn leave(&mut self, point: Point) {
        self.handling = false;
        if let Some(c) = self.due_write() {
            panic!("at {} a message due at {:?} was not written to {c}", self.clock, self.burst);
        }
        self.points.pop_front();
        (self.handling, self.budget) = (self.points.len() > 1, IN_A_ROW);
        if point == Point::Turn {
            self.ping();
        }
    }

    /// A message leaves the schedule and is written to `c`.
    fn take(&mut self, c: usize) {
        self.handling = false;
        loop {
            match self.due_write() {
                Some(expected) => {
                    assert_eq!(c, expected, "whose turn it is, at {}", self.clock);
                    self.submit(c);
                    return;
                }
                None => {
                    let point = self.points.front().copied();
                    self.leave(point.unwrap_or_else(|| panic!("at {} nothing is due on {c}", self.clock)));
                    self.handling = false;
                }
            }
        }
    }

    /// The connection to which a message must be written now. Those that need no write leave the schedule first.
    fn due_write(&mut self) -> Option<usize> {
        loop {
            if let Some((c, left, due)) = self.burst.filter(|(_, left, _)| *left > 0) {
                let connection = &self.connections[c];
                let capped =
                    self.rules.max_inflight.is_some_and(|most| connection.out.len() >= most as usize);
                if !connection.open || capped {
                    let open = connection.open;
                    let counts = &mut self.figures(due).counts;
                    if open {
                        counts.capped += 1
                    } else {
                        counts.not_sent += 1
                    }
                    self.burst = Some((c, left - 1, due));
                } else if connection.blocked {
                    self.submit(c);
                } else {
                    return Some(c);
                }
                continue;
            }
            let run = self.run.as_mut()?;
            if self.budget == 0 {
                return None;
            }
            if let Some(schedule) = &mut run.schedule {
                let (due, turn) = self.next.filter(|(due, _)| *due <= self.clock && *due < run.to)?;
                self.next = Some(schedule());
                self.burst = Some((run.order[turn % run.order.len()], 1, due));
            } else {
                if self.clock < run.begin || run.begin >= run.to {
                    return None;
                }
                let c = *run.order.get(self.started)?;
                self.started += 1;
                self.burst = Some((c, run.pipeline, self.clock));
            }
            self.budget -= 1;
        }
    }

    /// The message of the burst is tried.
    fn submit(&mut self, c: usize) {
        let (_, left, due) = self.burst.expect("a message is due");
        self.burst = Some((c, left - 1, due));
        if self.run.as_ref().is_some_and(|run| run.schedule.is_some()) {
            let slip = self.clock - due;
            self.figures(due).own_slip.saturating_record(slip);
        }
        self.push(c, due);
    }

    fn push(&mut self, c: usize, due: u64) {
        let connection = &mut self.connections[c];
        let waited = connection.blocked;
        let message = Message { index: connection.next_index, due, tried: self.clock, sent: None, waited };
        connection.out.push(message);
        connection.next_index += 1;
        self.out += 1;
    }

    /// The ping that may be due at the end of a turn.
    fn ping(&mut self) {
        let (Some(run), Some(gap)) = (&self.run, self.rules.ping) else { return };
        if self.next_ping > self.clock {
            return;
        }
        if self.clock >= run.to {
            self.next_ping = u64::MAX;
            return;
        }
        self.next_ping += gap / self.connections.len() as u64;
        self.ping_turn = (self.ping_turn + 1) % self.connections.len();
        let connection = &self.connections[self.ping_turn];
        if connection.open {
            self.ping_expected = (!connection.blocked).then_some(self.ping_turn);
            let now = self.clock;
            self.figures(now).counts.pings_sent += 1;
        }
    }

    // Messages.

    /// The oldest message of `c` that is not written.
    fn unsent(&self, c: usize) -> Option<usize> {
        let out = &self.connections[c].out;
        Some(out.partition_point(|message| message.sent.is_some())).filter(|at| *at < out.len())
    }

    /// The oldest message of `c` that was not written is.
    fn written(&mut self, c: usize) {
        let Some(at) = self.unsent(c) else { return };
        let (clock, wire) = (self.clock, self.connections[c].wire);
        let message = &mut self.connections[c].out[at];
        message.sent = Some(clock);
        let Message { due, tried, waited, .. } = *message;
        let inside = self.run.as_ref().is_some_and(|run| (run.from..run.to).contains(&clock));
        self.measured.counts.sent_inside += u64::from(inside);
        let figures = self.figures(due);
        figures.counts.sent += 1;
        figures.counts.bytes_sent += wire as u64;
        if waited {
            figures.backpressure.saturating_record(clock - tried);
        }
        self.flow(1);
    }

    /// The server has a message: is it the one that it must be?
    fn message_arrived(&mut self, c: usize, opcode: u8, payload: Vec<u8>, wire: usize) {
        let connection = &mut self.connections[c];
        let index = connection.heard.len();
        assert_eq!(opcode, self.rules.opcode, "what was asked for");
        let due = connection.out.iter().find(|message| message.index == index).map(|message| message.due);
        if let (true, Some(due)) = (self.rules.stamped && payload.len() >= self.rules.stamp, due) {
            let digits: Vec<u8> = match opcode {
                1 => payload[..32]
                    .chunks(2)
                    .map(|pair| {
                        u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
                    })
                    .collect(),
                _ => payload[..16].to_vec(),
            };
            let number = u32::from_be_bytes(digits[..4].try_into().expect("four"));
            let stamped_index = u32::from_be_bytes(digits[4..8].try_into().expect("four"));
            let clock = u64::from_be_bytes(digits[8..].try_into().expect("eight")) >> 16;
            let expected = self.rules.first_number + c * self.rules.step;
            assert_eq!((number as usize, stamped_index as usize), (expected, index), "who it is");
            assert_eq!(clock, due & ((1 << 48) - 1), "when it was due");
        }
        if self.rules.stamped && payload.len() >= self.rules.stamp {
            self.stamps.insert(payload[..self.rules.stamp].to_vec(), (c, index));
        }
        let connection = &mut self.connections[c];
        connection.heard.push((payload, wire));
        connection.wire = wire;
        while let Some((_, upto)) = connection.gaps.front().copied().filter(|(after, _)| *after == index) {
            connection.gaps.pop_front();
            connection.heard.resize(upto, Default::default());
        }
    }

    /// Acts on what was read on `c`, up to the next thing that makes the worker write.
    fn act(&mut self, c: usize) {
        while let Some(said) = self.connections[c].said.pop_front() {
            let now = self.clock;
            let blocked = self.connections[c].blocked;
            match said {
                Said::Open => {
                    self.connections[c].open = true;
                    let since = self.connections[c].since;
                    self.opening.upgrade.get_or_insert_with(histogram).saturating_record(now - since);
                    self.opening.opened += 1;
                    self.opening.ended = now;
                }
                Said::Refusal(why) | Said::Garbage(why) => {
                    self.connections[c].cause = Some(why.into());
                    self.connections[c].said.clear();
                    return;
                }
                Said::Message(opcode, payload) => {
                    if self.run.is_some() && self.reply(c, opcode, &payload) {
                        self.push(c, now);
                        if !blocked {
                            return;
                        }
                    }
                }
                Said::Ping => {
                    self.count_if_running(|counts| counts.pings_answered += 1);
                    if !blocked {
                        return;
                    }
                }
                Said::Pong(payload) => {
                    let at = u64::from_be_bytes(payload.try_into().expect("our own"));
                    let came = self.arrival.at;
                    if self.run.is_some() && at <= came {
                        let figures = self.figures(at);
                        figures.counts.pongs_received += 1;
                        figures.ping.saturating_record(came - at);
                    }
                }
                Said::Close(code) => {
                    self.count_if_running(|counts| counts.closes_received += 1);
                    self.connections[c].cause = Some(format!("open: closed by the server ({code})"));
                    self.connections[c].said.clear();
                    return;
                }
            }
        }
    }

    fn count_if_running(&mut self, count: impl FnOnce(&mut Counts)) {
        if self.run.is_some() {
            let now = self.clock;
            count(&mut self.figures(now).counts);
        }
    }

    /// A message has come: whose answer is it? True when the next is to be sent for it.
    fn reply(&mut self, c: usize, opcode: u8, payload: &[u8]) -> bool {
        let now = self.arrival.read;
        let newest = self.connections[c].out.last().map(|message| message.due);
        let Rules { verify, .. } = self.rules;
        match self.identify(c, opcode, payload) {
            Identity::Answer { at, known, whole } => {
                let connection = &mut self.connections[c];
                let message = connection.out.remove(at);
                let late = known && message.index < connection.seen;
                connection.seen = connection.seen.max(message.index + 1);
                let counts = &mut self.figures(message.due).counts;
                counts.corrupt += u64::from(verify && !(known && whole));
                counts.reordered += u64::from(late);
                if self.rules.by_order()
                    && let Some(newest) = newest
                {
                    self.bound(c, message.due, newest);
                }
                return self.answered(c, &message);
            }
            Identity::Duplicate => self.figures(now).counts.duplicated += 1,
            Identity::Stray => self.figures(now).counts.corrupt += 1,
            Identity::Unsolicited { alike } => {
                let counts = &mut self.figures(now).counts;
                counts.unsolicited += 1;
                counts.alike += u64::from(alike);
            }
        }
        false
    }

    /// Which message of `c` is meant. What was not written cannot be answered.
    fn identify(&self, c: usize, opcode: u8, payload: &[u8]) -> Identity {
        let (rules, connection) = (&self.rules, &self.connections[c]);
        let out = &connection.out[..connection.out.partition_point(|m| m.sent.is_some())];
        let sent = |message: &Message| connection.heard[message.index].0.as_slice();
        if rules.by_order() && !rules.verify {
            return match out {
                [] => Identity::Unsolicited { alike: false },
                // The oldest: none is out of order.
                _ => Identity::Answer { at: 0, known: true, whole: true },
            };
        }
        let stamp = if rules.stamped && payload.len() >= rules.stamp { rules.stamp } else { 0 };
        if stamp > 0
            && let Some((other, index)) = self.named(payload)
        {
            if other != c {
                return Identity::Stray;
            }
            return match out.binary_search_by_key(&index, |m| m.index) {
                Ok(at) => Identity::Answer {
                    at,
                    known: true,
                    whole: opcode == rules.opcode && sent(&out[at]) == payload,
                },
                Err(_) => Identity::Duplicate,
            };
        }
        let near = || out.iter().take(REACH);
        // Messages are all of one size: with a stamp or without.
        let stampless = !(rules.stamped && rules.size >= rules.stamp);
        if stampless && let Some(at) = near().position(|m| sent(m) == payload) {
            return Identity::Answer { at, known: true, whole: opcode == rules.opcode };
        }
        let last = connection.seen.checked_sub(1).filter(|_| stampless && stamp == 0);
        if last.is_some_and(|index| connection.heard[index].0 == payload) {
            return Identity::Duplicate;
        }
        let fits = |m: &Message| {
            let sent = sent(m);
            payload.len() >= stamp + 4 && sent.len() == payload.len() && sent[stamp..] == payload[stamp..]
        };
        let resembles = |m: &Message| {
            let sent = sent(m);
            let same = payload.iter().zip(sent).filter(|(a, b)| a == b).count();
            same * 2 >= payload.len().max(sent.len()).max(1)
        };
        match near().position(|m| fits(m) || resembles(m)) {
            Some(at) => Identity::Answer { at, known: false, whole: false },
            None => Identity::Unsolicited {
                alike: opcode == rules.opcode && out.first().is_some_and(|m| sent(m).len() == payload.len()),
            },
        }
    }

    /// Where nothing tells replies apart, a response is between those of the newest and the first message out.
    fn bound(&mut self, c: usize, due: u64, newest: u64) {
        let at = self.arrival.at;
        let connection = &mut self.connections[c];
        let first = *connection.busy_since.get_or_insert(due);
        if connection.out.is_empty() {
            connection.busy_since = None;
        }
        let figures = self.figures(due);
        figures.counts.ambiguous += u64::from(newest != first);
        figures.low.saturating_record(at.saturating_sub(newest));
        figures.high.saturating_record(at.saturating_sub(first));
    }

    /// The reply to `message` has come; true when the next is to be sent for it.
    fn answered(&mut self, c: usize, message: &Message) -> bool {
        let Arrival { at, read, .. } = self.arrival;
        self.out -= 1;
        self.flow(-1);
        let sent = message.sent.expect("an answered message was written");
        let timeout = self.rules.timeout.is_some_and(|limit| at.saturating_sub(sent) > limit);
        self.record(c, message, self.arrival);
        let counts = &mut self.figures(message.due).counts;
        counts.received += 1;
        counts.timeouts += u64::from(timeout);
        let run = self.run.as_ref().expect("it runs");
        self.measured.counts.answered_inside += u64::from((run.from..run.to).contains(&read));
        if message.due >= run.from {
            let piece = ((message.due - run.from) / 10_000_000) as usize;
            if self.peaks.len() <= piece {
                self.peaks.resize(piece + 1, 0);
            }
            let micros = u32::try_from(at.saturating_sub(message.due) / 1000).unwrap_or(u32::MAX);
            self.peaks[piece] = self.peaks[piece].max(micros);
        }
        run.schedule.is_none() && read < run.to
    }

    /// The number of messages in flight changes.
    fn flow(&mut self, change: i64) {
        let now = self.clock;
        let run = self.run.as_ref().expect("it runs");
        let count = self.inflight as u64;
        let since = self.inflight_since;
        self.inflight_ns += count * (now - since);
        self.measured.counts.inflight_inside_ns += count * overlap(run, since, now);
        let edge = |n: u64| run.from + (run.to - run.from) * n / 4;
        for n in 0..4 {
            // What the number was at any time in the quarter, up to now.
            if edge(n) <= now && since < edge(n + 1) {
                let least = &mut self.quarters[n as usize];
                *least = Some(least.map_or(self.inflight, |least| least.min(self.inflight)));
            }
        }
        self.inflight_since = now;
        self.inflight += change;
    }

    /// The fewest messages in flight in each quarter of the measured time.
    pub fn least_in_flight(&self) -> [i64; 4] {
        self.quarters.map(|least| least.unwrap_or(0))
    }

    /// The message whose stamp stands at the front of `payload`: connection and index.
    fn named(&self, payload: &[u8]) -> Option<(usize, usize)> {
        self.stamps.get(&payload[..self.rules.stamp]).copied()
    }

    /// Records the times of a message that ended so.
    fn record(&mut self, c: usize, message: &Message, end: Arrival) {
        let run = self.run.as_ref().expect("it runs");
        let (from, flight) = (run.from, message.sent.map_or(0, |sent| overlap(run, sent, end.read)));
        let number = (self.rules.first_number + c * self.rules.step) as u64;
        // A stamp from before the message was written is none.
        let sent = message.sent.unwrap_or(message.tried);
        let (at, ours) = if end.at < sent { (end.read, end.lag) } else { (end.at, end.ours) };
        let slip = (message.tried - message.due) / 1000 * 1000;
        let response = at - message.due;
        let figures = self.figures(message.due);
        figures.response.saturating_record(response);
        figures.undisturbed.saturating_record(response.saturating_sub(slip).saturating_sub(ours));
        let size = self.rules.size as u64;
        let figures = self.figures(message.due);
        figures.slow.push((response, number, message.due.saturating_sub(from), slip, size));
        if let Some(sent) = message.sent {
            figures.wire.saturating_record(at - sent);
            self.measured.counts.flight_ns += flight;
        }
    }

    /// The run ends: messages without a reply have the age they have.
    fn finish(&mut self) {
        let now = self.clock;
        let run = self.run.as_ref().expect("it runs");
        let (from, closed, waited) = (run.from, run.schedule.is_none(), now >= run.until);
        let never = Arrival { at: now, read: now, ours: 0, lag: 0 };
        for c in 0..self.connections.len() {
            if let Some(at) = self.unsent(c) {
                let connection = &mut self.connections[c];
                connection.gaps.push_back((connection.out[at].index, connection.next_index));
            }
            let out = std::mem::take(&mut self.connections[c].out);
            let connection = &self.connections[c];
            self.silent += u64::from(waited && connection.seen == 0 && !out.is_empty());
            self.stuck += if waited && closed && connection.open { out.len() as u64 } else { 0 };
            for message in out {
                if message.sent.is_some() {
                    self.flow(-1);
                }
                self.record(c, &message, never);
                if let Some(sent) = message.sent.filter(|_| message.due >= from) {
                    self.unanswered.saturating_record(now - sent);
                }
                let lost = message.index < self.connections[c].seen;
                let counts = &mut self.figures(message.due).counts;
                if lost { counts.lost += 1 } else { counts.unanswered += 1 }
            }
        }
        self.flow(0);
        self.run = None;
        self.failures = std::mem::take(&mut self.failing);
        self.finished = true;
    }

    fn figures(&mut self, at: u64) -> &mut Figures {
        let from = self.run.as_ref().expect("it runs").from;
        if at < from { &mut self.warmup } else { &mut self.measured }
    }
}
