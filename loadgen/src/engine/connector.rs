//! When connections begin, and when they have taken too long.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::engine::opened::{Opening, REASONS};
use crate::engine::recovery::Recovery;
use crate::host::clock::{Moment, Nanos, SECOND};
use crate::protocol::tls::Agreed;

/// How many connects that could not be started in time are made up for in a burst.
const BURST: u64 = 10;

/// How long a full backlog is given.
const PAUSE: Nanos = Nanos(5_000_000);

/// How connections are to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Connections started a second.
    pub rate: f64,
    /// Connections that may be under way at a time.
    pub under_way: usize,
    /// From SYN to 101.
    pub timeout: Nanos,
}

/// One thread's connections on their way from SYN to 101.
pub struct Connector {
    pace: Pace,
    rng: fastrand::Rng,
    /// Connections to try, and how many of them were.
    upto: usize,
    tried: usize,
    under_way: usize,
    next: Moment,
    /// Those under way, by deadline.
    deadlines: VecDeque<Deadline>,
    /// [`Connector::opened`] is waited for.
    asked: bool,
    opening: Opening,
    recovery: Option<Box<Recovery>>,
    /// Reconnects by time.
    retries: BinaryHeap<Reverse<(Moment, u32)>>,
    /// So many of them could not even be begun.
    postponed: usize,
}

struct Deadline {
    at: Moment,
    connection: u32,
    attempt: u32,
}

impl Connector {
    /// One that has nothing to open yet; `seed` is for what is random about coming back.
    pub fn new(pace: Pace, seed: u64) -> Connector {
        Connector {
            pace,
            rng: fastrand::Rng::with_seed(seed),
            upto: 0,
            tried: 0,
            under_way: 0,
            next: Moment(0),
            deadlines: VecDeque::new(),
            asked: false,
            opening: Opening::default(),
            recovery: None,
            retries: BinaryHeap::new(),
            postponed: 0,
        }
    }

    /// From `now` on, opens connections until `upto` in all were tried; returns how many these are in all.
    pub fn open(&mut self, upto: usize, now: Moment) -> usize {
        self.upto = self.upto.max(upto);
        self.next = now;
        self.asked = true;
        self.upto
    }

    /// Opens nothing more.
    pub fn stop(&mut self) {
        self.upto = 0;
        self.postponed = 0;
        self.retries.clear();
    }

    /// A connection that has taken too long, among those of which `waits(connection, attempt)` says that they still wait.
    pub fn expired(&mut self, now: Moment, waits: impl Fn(u32, u32) -> bool) -> Option<usize> {
        while let Some(&Deadline { at, connection, attempt }) = self.deadlines.front() {
            let waiting = waits(connection, attempt);
            if waiting && at > now {
                return None;
            }
            self.deadlines.pop_front();
            if waiting {
                return Some(connection as usize);
            }
        }
        None
    }

    /// The connection that is to begin by `now`, for the first time or anew.
    pub fn next(&mut self, now: Moment) -> Option<usize> {
        if self.under_way >= self.pace.under_way {
            return None;
        }
        if self.retries.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            self.postponed = self.postponed.saturating_sub(1);
            return self.retries.pop().map(|Reverse((_, connection))| connection as usize);
        }
        if self.tried < self.upto && self.next <= now {
            let gap = Nanos((SECOND as f64 / self.pace.rate) as u64);
            self.next = (self.next + gap).max(now - gap * BURST);
            self.tried += 1;
            return Some(self.tried - 1);
        }
        None
    }

    /// A connection began.
    pub fn began(&mut self, connection: usize, attempt: u32, now: Moment) {
        self.under_way += 1;
        self.opening.began.get_or_insert(now);
        let connection = connection as u32;
        self.deadlines.push_back(Deadline { at: now + self.pace.timeout, connection, attempt });
        if let Some(recovery) = &mut self.recovery {
            recovery.attempts += 1;
        }
    }

    /// A connection that began at `since` is connected; returns from when on its upgrade is timed. After a storm the time
    /// of both steps together is asked for.
    pub fn connected(&mut self, since: Moment, now: Moment) -> Moment {
        self.opening.connect.record(now - since);
        if self.recovery.is_some() { since } else { now }
    }

    /// The TLS handshake that began at `since` is over; returns from when on the upgrade is timed.
    pub fn secured(&mut self, since: Moment, now: Moment, agreed: Agreed) -> Moment {
        if self.recovery.is_some() {
            return since;
        }
        self.opening.tls.record(now - since);
        *self.opening.agreed.entry(agreed).or_default() += 1;
        now
    }

    /// A connection is a WebSocket; returns from when on its opening words are timed.
    pub fn upgraded(&mut self, since: Moment, now: Moment) -> Moment {
        if self.recovery.is_some() {
            return since;
        }
        self.opening.upgrade.record(now - since);
        now
    }

    /// The opening words that began at `since` are over.
    pub fn greeted(&mut self, since: Moment, now: Moment) {
        if self.recovery.is_none() {
            self.opening.hello.record(now - since);
        }
    }

    /// A connection is open; with the storm's, `since` is when it began.
    pub fn ready(&mut self, since: Moment, now: Moment) {
        self.under_way -= 1;
        self.opening.opened += 1;
        self.opening.ended = now;
        if let Some(recovery) = &mut self.recovery {
            recovery.came_back(now - since, now);
        }
    }

    /// What the server said when it refused a connection for `reason`; once for each is enough.
    pub fn refused(&mut self, reason: &str, answer: String) {
        let answers = &mut self.opening.answers;
        if answers.len() < REASONS && !answers.contains_key(reason) {
            answers.insert(reason.to_owned(), answer);
        }
    }

    /// A connection under way came to nothing; true when it will be tried again.
    pub fn failed(&mut self, connection: usize, attempt: u32, now: Moment) -> bool {
        self.under_way -= 1;
        let Some(recovery) = &self.recovery else { return false };
        let at = recovery.retry_at(attempt, now, &mut self.rng);
        self.retries.push(Reverse((at, connection as u32)));
        true
    }

    /// A connection could not be begun, since the server's backlog is full and the kernel does not wait (a socket in the
    /// file system); false if that was so for as long as a connection may take.
    pub fn postpone(&mut self, connection: usize, attempt: u32, now: Moment) -> bool {
        if PAUSE * u64::from(attempt) > self.pace.timeout {
            return false;
        }
        self.under_way -= 1;
        self.postponed += 1;
        self.retries.push(Reverse((now + PAUSE, connection as u32)));
        true
    }

    /// Connection `connection` closes, and is to be gone when a connect would have to be done.
    pub fn leaves(&mut self, connection: usize, attempt: u32, now: Moment) {
        let connection = connection as u32;
        self.deadlines.push_back(Deadline { at: now + self.pace.timeout, connection, attempt });
    }

    /// How what was opened since the last time went.
    pub fn take_opening(&mut self) -> Opening {
        std::mem::take(&mut self.opening)
    }

    /// A connection was given up: it is to begin anew.
    pub fn replace(&mut self, connection: usize, now: Moment) {
        self.retries.push(Reverse((now, connection as u32)));
    }

    /// `connections` are dropped at `now` and come back by the rules of `recovery`.
    pub fn recover(&mut self, mut recovery: Box<Recovery>, connections: &[u32], now: Moment) {
        recovery.dropped_at = now;
        recovery.dropped = connections.len() as u64;
        for &connection in connections {
            self.retries.push(Reverse((recovery.retry_at(0, now, &mut self.rng), connection)));
        }
        self.recovery = Some(recovery);
    }

    /// From now on connections that are lost come back by the rules of `recovery`.
    pub fn watch(&mut self, recovery: Box<Recovery>) {
        self.recovery = Some(recovery);
    }

    /// Lost connections come back.
    pub fn watches(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.watches)
    }

    /// A connection is lost at `now`, after something of the server's came last at `sign`: it will be tried again.
    pub fn lose(&mut self, connection: usize, sign: Moment, now: Moment) {
        let Some(recovery) = &mut self.recovery else { return };
        recovery.lose(sign, now);
        self.retries.push(Reverse((recovery.retry_at(0, now, &mut self.rng), connection as u32)));
    }

    /// A connection is about to be lost for nothing comes on it any more.
    pub fn lose_silent(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.silent += 1;
        }
    }

    /// Connections that were dropped on purpose and are not back.
    pub fn away(&self) -> u64 {
        self.recovery.as_ref().map_or(0, |recovery| recovery.away())
    }

    /// Nobody comes back any more: what was found out about it.
    pub fn end_recovery(&mut self) -> Option<Box<Recovery>> {
        self.retries.clear();
        self.recovery.take()
    }

    /// How the opening went, once all that was asked for was tried.
    pub fn opened(&mut self) -> Option<Opening> {
        let done = self.asked && self.tried >= self.upto && self.under_way + self.postponed == 0;
        done.then(|| {
            self.asked = false;
            std::mem::take(&mut self.opening)
        })
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> Moment {
        let mut alarm = self.deadlines.front().map_or(Moment::NEVER, |deadline| deadline.at);
        if self.under_way < self.pace.under_way {
            if self.tried < self.upto {
                alarm = alarm.min(self.next);
            }
            if let Some(Reverse((at, _))) = self.retries.peek() {
                alarm = alarm.min(*at);
            }
        }
        alarm
    }
}
