//! From SYN to 101.

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;

use mio::{Interest, Token};

use crate::engine::commands::Event;
use crate::engine::connection::{Conn, Stage};
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::host::source_addresses;
use crate::host::system_error::describe;
use crate::protocol::handshake::{self, Refusal};

/// Different reasons of failures that are kept apart.
const REASONS: usize = 64;

/// Connects in a row before anything else is looked at.
const BATCH: usize = 16;

impl Worker {
    /// Starts the connections that are due and gives up those that took too long; returns the time.
    pub fn open_more(&mut self, mut now: u64) -> u64 {
        while let Some(&(deadline, i, attempt)) = self.patience.front() {
            let conn = &self.conns[i as usize];
            let waits = conn.attempt == attempt && matches!(conn.stage, Stage::Connecting | Stage::Upgrading);
            if waits && deadline > now {
                break;
            }
            self.patience.pop_front();
            if waits {
                let i = i as usize;
                let reason = match conn.stage {
                    Stage::Connecting => "connect: timed out".to_owned(),
                    // A refusal whose body did not come is a refusal.
                    _ => self
                        .cut_short(i)
                        .filter(|why| why.contains("HTTP "))
                        .unwrap_or("upgrade: timed out".into()),
                };
                self.lose(i, reason);
            }
        }
        for _ in 0..BATCH {
            if self.under_way >= self.spec.connect_inflight {
                break;
            }
            let again = self.retries.peek().is_some_and(|Reverse((at, _))| *at <= now);
            let i = if again {
                self.retries.pop().expect("just seen").0.1 as usize
            } else if self.conns.len() < self.upto && self.next_connect <= now {
                let gap = (clock::SECOND as f64 / self.spec.connect_rate) as u64;
                // What could not be started in time is not made up for in a burst.
                self.next_connect = (self.next_connect + gap).max(now.saturating_sub(10 * gap));
                self.conns.len()
            } else {
                break;
            };
            self.start(i, now);
            now = clock::now();
        }
        if self.owes_opened && self.conns.len() >= self.upto && self.under_way == 0 {
            self.owes_opened = false;
            let mut opening = Box::new(std::mem::take(&mut self.opening));
            opening.failures = std::mem::take(&mut self.failures);
            self.tell(Event::Opened(opening));
        }
        now
    }

    /// When `open_more` has something to do.
    pub fn connect_alarm(&self) -> u64 {
        let mut alarm = self.patience.front().map_or(u64::MAX, |(deadline, ..)| *deadline);
        if self.under_way < self.spec.connect_inflight {
            if self.conns.len() < self.upto {
                alarm = alarm.min(self.next_connect);
            }
            if let Some(Reverse((at, _))) = self.retries.peek() {
                alarm = alarm.min(*at);
            }
        }
        alarm
    }

    /// Starts connection `i`, for the first time or anew.
    fn start(&mut self, i: usize, now: u64) {
        let number = self.spec.number(self.me, i);
        let target = &self.spec.targets[number % self.spec.targets.len()];
        self.opening.began.get_or_insert(now);
        let stream = source_addresses::connect(&target.address, self.spec.sources.of(number)).and_then(
            |mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                mio::Registry::register(self.poll.registry(), &mut stream, Token(i), both)?;
                Ok(stream)
            },
        );
        let (stream, error) = match stream {
            Ok(stream) => (Some(stream), None),
            Err(e) => (None, Some(e)),
        };
        let attempt = self.conns.get(i).map_or(0, |old| old.attempt + 1);
        let fresh = Conn { attempt, ..Conn::new(stream, now) };
        match self.conns.get_mut(i) {
            Some(conn) => {
                // Indices go on, so that a late echo is never taken for a new one.
                let (next_index, seen, pending) = (conn.next_index, conn.seen, conn.pending);
                *conn = Conn { next_index, seen, pending, ..fresh };
            }
            None => self.conns.push(fresh),
        }
        self.under_way += 1;
        if let Some(recovery) = &mut self.recovery {
            recovery.attempts += 1;
        }
        match error {
            None => self.patience.push_back((now + self.spec.connect_timeout, i as u32, attempt)),
            Some(e) => self.lose(i, format!("connect: {}", describe(&e))),
        }
    }

    /// The socket says something while connecting: connected, failed, or nothing yet.
    pub fn connected(&mut self, i: usize) {
        let Some(stream) = &self.conns[i].stream else { return };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(e)) | Err(e) => return self.lose(i, format!("connect: {}", describe(&e))),
        }
        match socket2::SockRef::from(stream).peer_addr() {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotConnected => return,
            Err(e) => return self.lose(i, format!("connect: {}", describe(&e))),
        }
        let now = clock::now();
        let conn = &mut self.conns[i];
        self.opening.connect.record(now - conn.since);
        conn.stage = Stage::Upgrading;
        if self.recovery.is_none() {
            // After a storm the time of both steps together is asked for.
            conn.since = now;
        }
        let number = self.spec.number(self.me, i);
        let target = &self.spec.targets[number % self.spec.targets.len()];
        let request = handshake::request(&target.url, &self.spec.extras, self.nonce(i));
        self.put(i, &request);
    }

    /// Looks for the end of the answer in `input`; returns how many bytes it took once the WebSocket is open.
    pub fn upgraded(&mut self, i: usize, input: &[u8], now: u64) -> Result<Option<usize>, String> {
        let answer = self.answer(i, input, false);
        let Some(size) = answer.map_err(|refusal| self.refused(refusal))? else { return Ok(None) };
        let conn = &mut self.conns[i];
        conn.stage = Stage::Open;
        let took = now - conn.since;
        self.under_way -= 1;
        self.count_held(1);
        self.opening.opened += 1;
        self.opening.ended = now;
        match &mut self.recovery {
            Some(recovery) => recovery.came_back(took, now),
            None => self.opening.upgrade.record(took),
        }
        Ok(Some(size))
    }

    /// What `input` says to connection `i`'s request; after `ended` nothing more comes.
    fn answer(&self, i: usize, input: &[u8], ended: bool) -> Result<Option<usize>, Refusal> {
        let number = self.spec.number(self.me, i);
        let target = &self.spec.targets[number % self.spec.targets.len()];
        handshake::response(input, &target.url, &self.spec.extras, self.nonce(i), ended)
    }

    /// The reason of `refusal`, after a note of what the server said.
    fn refused(&mut self, refusal: Refusal) -> String {
        if let Some(answer) = refusal.answer {
            let known = self.opening.answers.len();
            if known < REASONS && !self.opening.answers.contains_key(&refusal.reason) {
                self.opening.answers.insert(refusal.reason.clone(), answer);
            }
        }
        refusal.reason
    }

    /// Connection `i` ended, or was given up, while its answer was not all there: what there is of it.
    pub fn cut_short(&mut self, i: usize) -> Option<String> {
        let raw = self.conns[i].rest.as_mut().map(|rest| std::mem::take(&mut rest.raw)).unwrap_or_default();
        let refusal = self.answer(i, &raw, true).err()?;
        Some(self.refused(refusal))
    }

    /// The random number behind the request's keys: computed again when the answer comes rather than kept.
    fn nonce(&self, i: usize) -> u128 {
        let number = self.spec.number(self.me, i) as u64;
        let attempt = u64::from(self.conns[i].attempt);
        let mut rng = fastrand::Rng::with_seed(self.spec.seed ^ number << 24 ^ attempt << 56);
        rng.u128(..)
    }

    /// Connection `i` is no more, for the reason given, which the report will show.
    pub fn lose(&mut self, i: usize, reason: String) {
        let stage = self.conns[i].stage;
        let out = self.conns[i].pending.len;
        self.conns[i].drop_stream(false);
        match stage {
            Stage::Connecting | Stage::Upgrading => {
                self.under_way -= 1;
                if let Some(recovery) = &mut self.recovery {
                    let at = recovery.retry_at(self.conns[i].attempt, clock::now(), &mut self.rng);
                    self.retries.push(Reverse((at, i as u32)));
                    return;
                }
            }
            Stage::Open => {
                self.count_held(-1);
                if let Some(running) = &mut self.running {
                    running.abandoned += u64::from(out);
                }
            }
            // The end of a connection that was to end is no failure.
            Stage::Closing | Stage::Gone => return,
        }
        self.gauges.failed.fetch_add(1, Ordering::Relaxed);
        // A server can make up as many reasons as there are connections.
        let known = self.failures.len() < REASONS || self.failures.contains_key(&reason);
        *self.failures.entry(if known { reason } else { "other reasons".into() }).or_default() += 1;
    }

    /// What a read or write error means for connection `i`.
    pub fn broken(&mut self, i: usize, error: &io::Error) {
        let stage = match self.conns[i].stage {
            Stage::Connecting => "connect",
            Stage::Upgrading if self.conns[i].rest.is_some() => {
                let reason = self.cut_short(i).unwrap_or_else(|| format!("upgrade: {}", describe(error)));
                return self.lose(i, reason);
            }
            Stage::Upgrading => "upgrade",
            _ => "open",
        };
        self.lose(i, format!("{stage}: {}", describe(error)));
    }
}
