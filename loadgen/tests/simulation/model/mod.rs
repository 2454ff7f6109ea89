//! What every histogram and counter must say, worked out from what crosses the seam between worker and network.
//!
//! The model knows the rules and not the code: messages leave the schedule in order, at most sixteen in a row, after each
//! event and once a turn; a message is written at the last look at the clock before its write, and read at the first one
//! after the read that brought its last byte. From that it predicts each write, and stops at one that is not as predicted.

mod accounts;
mod replies;
mod sending;
mod talk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use hdrhistogram::Histogram;
use loadgen::engine::network::Readiness;
use loadgen::engine::recorder::Counts;

use crate::peer::{Answers, Heard, Push, Said, Spoken};
pub use talk::{Slow, Step, message_text};

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
    /// One of the opening words, or the answer to a heartbeat.
    Words,
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
    /// From a reply to the next message.
    pub think: Option<u64>,
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
    pub shard: usize,
    pub script: Vec<Step>,
    pub answers: Answers,
    /// Messages that are one reply.
    pub replies: u32,
    pub ignores: bool,
    pub heartbeats: bool,
    /// Messages on a connection before it is opened anew.
    pub each: Option<usize>,
    pub slow: Option<Slow>,
    /// Nothing is sent; the unit of the time in what comes.
    pub listens: Option<u64>,
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
    /// The first of several messages that are one reply.
    pub first: Histogram<u64>,
    /// Of those that read slowly.
    pub slowly: Histogram<u64>,
    /// Between two messages, where nothing is sent.
    pub gap: Histogram<u64>,
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
        match self.answers {
            Answers::Echo => !(self.verify || self.stamped && self.size >= self.stamp),
            Answers::Number => false,
            Answers::Any => true,
        }
    }

    /// The number of connection `c` over the whole run.
    fn number(&self, c: usize) -> usize {
        self.first_number + c * self.step
    }

    fn is_slow(&self, c: usize) -> bool {
        self.slow.is_some_and(|slow| slow.has(self.number(c)))
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
            first: histogram(),
            slowly: histogram(),
            gap: histogram(),
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
    /// Bytes of it, as far as they are known before it is written, and all.
    sizes: (usize, usize),
    /// Messages of its reply that have come.
    parts: u32,
}

#[derive(Default)]
struct Connection {
    connected: bool,
    open: bool,
    gone: bool,
    /// Our Close is sent; it will be opened anew.
    leaving: bool,
    /// It is being opened anew.
    away: bool,
    /// It was opened since the last wait.
    fresh: bool,
    /// How far it is with its opening words, while it is.
    step: Option<usize>,
    token: String,
    /// What it has to say, and the server has not heard; and writes that are to come of that.
    words: VecDeque<Vec<u8>>,
    speaking: usize,
    /// Messages that it sends for having been opened anew.
    more: u32,
    /// The first message since it was opened.
    base: usize,
    /// When something was heard last, where nothing is sent; when one that reads slowly may read again.
    heard_at: u64,
    free: Option<u64>,
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
    ReadSlowly(usize, usize),
    Greeted(usize),
    Heard(usize),
    Connected(usize),
    Emptied(usize),
}

#[derive(Default)]
pub struct Opening {
    pub connect: Option<Histogram<u64>>,
    pub upgrade: Option<Histogram<u64>>,
    pub hello: Option<Histogram<u64>>,
    pub opened: u64,
    pub began: Option<u64>,
    pub ended: u64,
}

pub struct Model {
    rules: Rules,
    /// All connections are being closed.
    pub closes: bool,
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
    /// Who thinks, by when its next message is due.
    thoughts: BinaryHeap<Reverse<(u64, usize)>>,
    /// Being sent: connection, how many, due; and who sends it in fact, if it can.
    burst: Option<(usize, u32, u64)>,
    sender: Option<(usize, bool)>,
    /// Whose turn it was last to send in the place of another.
    stand_in: usize,
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

    /// What the wall clock shows more, as it was looked at last.
    wall_offset: u64,

    pub opening: Opening,
    /// As it was when all had been tried, or a run ended.
    pub opened: Opening,
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
            closes: false,
            asked: 0,
            clock: 0,
            woken: 0,
            connections: Vec::new(),
            stamps: HashMap::new(),
            run: None,
            next: None,
            started: 0,
            thoughts: BinaryHeap::new(),
            burst: None,
            sender: None,
            stand_in: 0,
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
            wall_offset: 0,
            opening: Opening::default(),
            opened: Opening::default(),
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

    /// Those and the ones that are being opened anew.
    pub fn present(&self) -> Vec<usize> {
        (0..self.connections.len())
            .filter(|c| self.connections[*c].open || self.connections[*c].away)
            .collect()
    }

    /// The next turn begins with this run.
    pub fn begin(&mut self, mut run: Run) {
        self.next = run.schedule.as_mut().map(|schedule| schedule()).filter(|_| !run.order.is_empty());
        self.started = 0;
        self.thoughts.clear();
        (self.burst, self.sender, self.stand_in) = (None, None, 0);
        (self.out, self.abandoned) = (0, 0);
        (self.measured, self.warmup) = Default::default();
        (self.unanswered, self.peaks) = (histogram(), Vec::new());
        self.held_min = self.present().len() as u64;
        self.finished = false;
        (self.inflight_ns, self.inflight_since, self.quarters) = (0, 0, [None; 4]);
        (self.silent, self.stuck) = (0, 0);
        self.connections.iter_mut().for_each(|c| c.busy_since = None);
        (self.points, self.handling) = (VecDeque::from([Point::Turn]), false);
        self.budget = IN_A_ROW;
        if let Some(gap) = self.rules.ping {
            self.next_ping = self.clock + gap / self.held_min.max(1);
        }
        if let Some(think) = run.think {
            let all =
                run.order.iter().flat_map(|c| (0..run.pipeline).map(|_| Reverse((run.begin + think, *c))));
            self.thoughts.extend(all);
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
                // Where nothing is sent, the wall clock is looked at too.
                if n == 0 || self.rules.listens.is_none() {
                    self.act(c);
                } else {
                    self.last = Last::Heard(c);
                }
            }
            Last::ReadSlowly(c, n) => self.read_slowly(c, n),
            Last::Greeted(c) => self.greeted(c),
            Last::Heard(c) => panic!("{c} is not acted upon"),
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
            self.opened = std::mem::take(&mut self.opening);
        }
        self.connections.iter_mut().for_each(|c| c.fresh = false);
        if self.run.is_some() {
            while let Some(point) = self.points.front().copied() {
                self.leave(point);
            }
            assert_eq!(self.ping_expected, None, "a ping was not sent");
            let run = self.run.as_ref().expect("just seen");
            let behind = match run.schedule {
                _ if run.think.is_some() => self.thoughts.peek().map(|Reverse((due, _))| *due),
                Some(_) => self.next.map(|(due, _)| due),
                None => (self.started < run.order.len()).then_some(run.begin),
            };
            let all_sent = behind.is_none_or(|due| due >= run.to);
            if self.clock >= run.until || self.clock >= run.to && all_sent && self.out <= self.abandoned {
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
        match self.connections.get_mut(c) {
            Some(old) => old.renew(self.clock),
            None => self.connections.push(Connection { since: self.clock, ..Connection::default() }),
        }
        if let Some(error) = error {
            self.connections[c].gone = true;
            self.fails(error);
            self.stays_away(c);
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
            cause if self.connections[c].step.is_some() => format!("hello: {cause}"),
            cause => format!("upgrade: {cause}"),
        };
        self.connections[c].cause = Some(cause);
    }

    /// A read returned `n` bytes, which say that, with a stamp or without; or it found the end, by a reset or not.
    pub fn on_read(&mut self, c: usize, n: usize, said: Vec<Said>, ended: Option<bool>, stamp: Option<u64>) {
        let Connection { open, fresh, .. } = self.connections[c];
        let fast = fresh || self.closes || !self.rules.is_slow(c);
        assert!(fast || !open, "{c} reads slowly");
        self.reach(c);
        self.take_in(c, said, ended);
        self.last = Last::Read(c, n, stamp);
    }

    fn take_in(&mut self, c: usize, said: Vec<Said>, ended: Option<bool>) {
        self.connections[c].said.extend(said);
        match ended {
            Some(true) => self.on_cause(c, "Connection reset by peer"),
            Some(false) if self.connections[c].open || self.connections[c].step.is_some() => {
                self.on_cause(c, "ended by the server without a Close");
            }
            Some(false) => self.on_cause(c, "ended by the server without an answer"),
            None => {}
        }
    }

    pub fn before_write(&mut self, c: usize, bytes: &[u8]) -> Writing {
        let connection = &self.connections[c];
        if !(connection.open || connection.leaving || connection.step.is_some()) {
            return Writing::Request;
        }
        if connection.blocked {
            self.reach(c);
            return Writing::Rest;
        }
        if connection.speaking > 0 {
            return Writing::Words;
        }
        let ends = connection.leaving || connection.cause.is_some() || self.closes;
        match bytes[0] & 0x0F {
            0x8 => {
                assert!(ends, "{c} has no reason to close");
                return Writing::Control;
            }
            0x9 => {
                while let Some(point) = self.points.front().copied() {
                    self.leave(point);
                }
                assert_eq!(self.ping_expected, Some(c), "a ping");
                return Writing::Control;
            }
            0xA => return Writing::Control,
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
            Heard::Message(1, payload, _)
                if payload.starts_with(b"hello-") || payload.starts_with(b"pong ") =>
            {
                let expected = self.connections[c].words.pop_front();
                assert_eq!(Some(payload), expected, "the words of {c}");
            }
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
            Writing::Words => self.spoken(c, all),
            Writing::Message | Writing::Scheduled => {
                self.connections[c].blocked = !all;
                if all {
                    self.written(c);
                } else if let Some(at) = self.unsent(c) {
                    self.connections[c].out[at].waited = true;
                }
                self.go_on(c);
            }
        }
    }

    pub fn on_close(&mut self, c: usize, _reset: bool) {
        self.ping_expected = None;
        let connection = &mut self.connections[c];
        connection.said.clear();
        connection.words.clear();
        (connection.speaking, connection.more) = (0, 0);
        connection.blocked = false;
        connection.gone = true;
        let cause = connection.cause.take();
        let step = connection.step.take();
        if std::mem::take(&mut connection.leaving) {
            // The end of what was to end is no failure.
            return;
        }
        let waits =
            step.map(|step| format!("hello: timed out waiting for `{}`", self.rules.script[step].text()));
        let connection = &mut self.connections[c];
        if std::mem::take(&mut connection.open) {
            self.abandoned += connection.out.len() as u64;
            if self.run.is_some() {
                self.held_min = self.held_min.min(self.present().len() as u64);
            }
        }
        let under_way = if self.connections[c].connected { "upgrade" } else { "connect" };
        self.fails(&cause.or(waits).unwrap_or(format!("{under_way}: timed out")));
        self.stays_away(c);
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
