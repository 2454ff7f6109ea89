//! What every histogram and counter must say, worked out from what crosses the seam between worker and network.
//!
//! The model knows the rules and not the code: messages leave the schedule in order, at most sixteen in a row, after each
//! event and once a turn; a message is written at the last look at the clock before its write, and read at the first one
//! after the read that brought its last byte. From that it predicts each write, and stops at one that is not as predicted.

mod accounts;
mod replies;
mod sending;

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
    /// With the stamp of what came behind it: since when it may have been there.
    since: Option<u64>,
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
    /// The end of the wait before.
    looked: u64,
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
    /// Of the last read: it has a stamp, and its last bytes are the beginning of something.
    stamped: bool,
    begun: bool,
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
            looked: 0,
            stamped: false,
            begun: false,
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
            arrival: Arrival { at: 0, read: 0, ours: 0, lag: 0, since: None },
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
                self.looked = std::mem::replace(&mut self.woken, now);
                if counts && let Some(run) = &self.run {
                    self.measured.counts.idle_inside_ns += overlap(run, before, now);
                    self.figures(before).counts.idle_ns += now - before;
                }
            }
            Last::Read(c, n, stamp) => {
                let stamp = stamp.filter(|at| *at <= now);
                let lag = now - stamp.unwrap_or(self.woken);
                let ours = if stamp.is_some() { 0 } else { lag };
                self.arrival = Arrival { at: stamp.unwrap_or(now), read: now, ours, lag, since: None };
                self.stamped = stamp.is_some();
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

    /// A read returned `n` bytes, which say that and perhaps begin something, with a stamp or without; or it found the end,
    /// by a reset or not.
    pub fn on_read(
        &mut self,
        c: usize,
        n: usize,
        (said, begun): (Vec<Said>, bool),
        ended: Option<bool>,
        stamp: Option<u64>,
    ) {
        self.reach(c);
        self.begun = begun;
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
}
