//! What every histogram and counter must say, worked out from what crosses the seam between worker and network.
//!
//! The model knows the rules and not the code: messages leave the schedule in order, at most sixteen in a row, after each
//! event and once a turn; a message is written at the last look at the clock before its write, and read at the first one
//! after the read that brought its last byte. From that it predicts each write, and stops at one that is not as predicted.

mod accounts;
mod replies;
mod seam;
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
    /// While replies are due it does not sleep.
    pub spin_read: bool,
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
    /// The end of the wait before.
    looked: u64,
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
    /// Of the last read: it has a stamp, and its last bytes are the beginning of something.
    stamped: bool,
    begun: bool,
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
            looked: 0,
            stamped: false,
            begun: false,
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
            arrival: Arrival { at: 0, read: 0, ours: 0, lag: 0, since: None },
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
}
