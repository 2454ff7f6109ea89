//! Everything outside of the server: clients, wires, the clock, and a kernel that reports as edge-triggered epoll does.
//!
//! A socket is listed as ready when something new arrives (bytes, FIN, RST), when it is registered, and when there is room
//! again after a call was told that there is none; never because of what was there before. What is reported of it is the
//! state it is in when it is taken from that list, and it may be taken late. A listener is listed when a client arrives.
//!
//! What the server must never do is checked where it does it; the faults are kept until the round is over.

mod checks;
mod clients;
mod epoll;
#[cfg(feature = "tls")]
mod unseal;

use super::peer::{Expects, Peer};
use super::tcp::{Reset, Wire};
use fastrand::Rng;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;
use wsecho::reactor::config::Config;
use wsecho::reactor::kernel::{InFlight, Readiness, Vitals};
use wsecho::reactor::token::ConnId;

/// What the server promises about closing: how long it lingers behind its FIN, waits for a policy request, says farewell.
const LINGER: u64 = 2_000;
/// How long a client that has much to read may show nothing.
const STEP: u64 = 25_000;
/// How long a RST that a path asks for waits for what was said to arrive.
const ARRIVAL: u64 = 2_000;
/// How long what was sent may be unacknowledged.
const UNREACHABLE: u64 = 60_000;
const POLICY_TIMEOUT: u64 = 3_000;
/// The part of the places that clients of the policy's listener get, if it is not less than one.
const POLICY_SHARE: usize = 8;
/// Who could have read on is served again, as many of them in a tick as this at least, who waited longest first.
const UNFINISHED_PER_TICK: usize = 16;
pub const FAREWELL: u64 = 2_000;
/// How exactly the Close frames of a stop are spread over time.
const SPREAD_STEP: u64 = 10;
/// How long a client has to finish its handshake once the server stops.
const LATE_GREETING: u64 = 500;
/// How soon a listener that could not accept tries again.
const STALL: Duration = Duration::from_millis(100);

/// Bytes of a record with an empty Ping: of ChaCha20 in TLS 1.2, of TLS 1.3, of AES-GCM in TLS 1.2.
const PING_RECORDS: [usize; 3] = [23, 24, 31];

pub struct World {
    rng: Rng,
    pub now: u64,
    /// By how much the clock has leapt, in all.
    leapt: u64,
    handshake: u64,
    idle: Option<u64>,
    ping: Option<u64>,
    drain_spread: u64,
    max_connections: usize,

    pub peers: Vec<Peer>,
    pub wires: Vec<Wire>,
    restless: Vec<usize>,
    backlogs: Vec<Backlog>,
    ready: VecDeque<usize>,
    /// Names of connections that are gone.
    graveyard: Vec<ConnId>,
    /// Descriptors the server may have for clients, and has.
    pub table: usize,
    pub used: usize,
    signals: usize,
    pub stopped_at: Option<u64>,

    /// Calls fail for reasons of the kernel's own, and the clock leaps.
    pub trouble: bool,
    /// The server does not sleep at once.
    pub spins: bool,
    /// Nobody can do anything any more, and the server sleeps for ever.
    pub stuck: bool,
    /// Times the server slept until a deadline.
    pub naps: usize,
    /// There is less memory than the clients would need: some are read late, or given up.
    is_scarce: bool,
    round: u64,
    /// Sockets that are owed a call in this round.
    waiting: usize,
    /// Sockets whose last read left something, which no event will tell, in the order of those reads; and how many the server
    /// may have to serve before each.
    unfinished: VecDeque<(usize, usize)>,
    pub faults: Vec<String>,
}

/// The queue of a listener.
#[derive(Default)]
struct Backlog {
    clients: VecDeque<usize>,
    edge: bool,
    closed: bool,
    /// The last accept failed for want of something.
    short: bool,
}

impl World {
    pub fn new(mut rng: Rng, config: &Config, peers: usize, programs: usize) -> World {
        let milliseconds = |duration: Duration| duration.as_millis() as u64;
        let draw = |at| if at % 3 < programs { Peer::under_ws(&mut rng) } else { Peer::new(&mut rng) };
        let peers: Vec<Peer> = (0..peers).map(draw).collect();
        World {
            now: rng.u64(..1_000_000),
            leapt: 0,
            handshake: milliseconds(config.handshake_timeout),
            idle: config.idle_timeout.map(milliseconds),
            ping: config.ping_interval.map(milliseconds),
            drain_spread: milliseconds(config.drain_spread),
            max_connections: config.max_connections,
            wires: peers.iter().map(|_| Wire::default()).collect(),
            restless: (0..peers.len()).collect(),
            peers,
            backlogs: (0..3).map(|_| Backlog::default()).collect(),
            ready: VecDeque::new(),
            graveyard: Vec::new(),
            table: usize::MAX,
            used: 0,
            signals: 0,
            stopped_at: None,
            trouble: true,
            spins: false,
            stuck: false,
            naps: 0,
            is_scarce: false,
            round: 0,
            waiting: 0,
            unfinished: VecDeque::new(),
            faults: Vec::new(),
            rng,
        }
    }

    /// A signal for the server.
    pub fn signal(&mut self) {
        self.signals += 1;
    }

    /// There is less memory than the clients would need.
    pub fn become_scarce(&mut self) {
        self.is_scarce = true;
        self.peers.iter_mut().for_each(|peer| peer.reader.take_fragments());
    }

    /// From now on nothing goes wrong, and every client reads and leaves.
    pub fn forgive(&mut self) {
        self.trouble = false;
        self.stuck = false;
        self.table = usize::MAX;
        for index in 0..self.peers.len() {
            self.peers[index].forgive();
            let is_free = self.is_free(index);
            let wire = &mut self.wires[index];
            // What was acknowledged before the cut is owed no longer, though it counts as if it were; whether it was looked at
            // in between depends on the clock.
            if wire.cut_at.is_some() && (wire.out.is_empty() || is_free) && !wire.closed {
                // Nothing is owed there: keepalive finds out, and says so.
                wire.break_off();
                self.list(index);
            }
            self.wake(index);
        }
    }

    /// Lets the clients do what they can without the server.
    pub fn exhaust(&mut self) {
        while self.act() {}
    }

    /// Who is still there, for a simulation that does not end.
    pub fn describe(&self) -> String {
        let left = (0..self.peers.len()).filter(|index| !self.peers[*index].done);
        let left: Vec<_> = left.map(|index| format!("{index}: {:?}", self.wires[index])).collect();
        format!(
            "at {}, slept {} times, {} descriptors of {}, {left:#?}",
            self.now, self.naps, self.used, self.table
        )
    }

    // What the server calls.

    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Readiness>> {
        self.end_round();
        let until = timeout.map(|timeout| self.now + timeout.as_micros().div_ceil(1000) as u64);
        let may_sleep = timeout != Some(Duration::ZERO);
        if may_sleep && self.is_calm() && self.chance(32) {
            self.check_sleep(timeout);
        }
        if self.chance(20) {
            return Err(ErrorKind::Interrupted.into());
        }
        let mut acted = false;
        for _ in 0..self.rng.usize(..=self.peers.len() / 10 + 3) {
            acted |= self.act();
        }
        if self.spins && !may_sleep && !acted && self.is_calm() {
            // A server that does not sleep has only the time to wait for.
            self.now += 1;
        }
        while may_sleep && self.is_calm() && until.is_none_or(|until| self.now < until) {
            if self.act() {
                continue;
            }
            self.check_sleep(timeout);
            match until {
                Some(until) => self.now = until,
                None => self.stuck = true,
            }
            self.naps += 1;
            break;
        }
        if self.trouble && self.stopped_at.is_none() && self.chance(400) {
            // The process was stopped; its clients were not.
            self.exhaust();
            let leap = self.rng.u64(..100_000);
            self.leapt += leap;
            self.now += leap;
        }
        Ok(self.collect())
    }

    pub fn accept(&mut self, listener: usize) -> io::Result<usize> {
        self.interrupt()?;
        let error = match self.rng.u8(..60) {
            _ if self.used >= self.table => Errno::EMFILE,
            0 if self.trouble => Errno::ENFILE,
            1 if self.trouble => Errno::ENOBUFS,
            2 if self.trouble => Errno::ENOMEM,
            _ => Errno::UnknownErrno,
        };
        let backlog = &mut self.backlogs[listener];
        backlog.short = error != Errno::UnknownErrno;
        if backlog.short {
            return Err(error.into());
        }
        let Some(index) = backlog.clients.pop_front() else { return Err(ErrorKind::WouldBlock.into()) };
        if self.trouble && self.chance(60) {
            // The client is gone before it was there.
            self.wires[index].closed = true;
            self.excuse(index);
            let errors = [Errno::ECONNABORTED, Errno::EPROTO, Errno::ENETDOWN, Errno::EHOSTUNREACH];
            return Err((*self.rng.choice(&errors).expect("an error")).into());
        }
        self.used += 1;
        let wire = &mut self.wires[index];
        wire.accepted_at = self.now;
        wire.heard_at = self.now;
        Ok(index)
    }

    pub fn register(&mut self, index: usize, id: ConnId) -> io::Result<()> {
        if self.trouble && self.chance(60) {
            self.excuse(index);
            return Err(Errno::ENOSPC.into());
        }
        self.wires[index].id = Some(id);
        self.list(index);
        Ok(())
    }

    pub fn close_listener(&mut self, listener: usize) {
        self.stopped_at = Some(self.now);
        let backlog = &mut self.backlogs[listener];
        backlog.edge = false;
        backlog.closed = true;
        for index in std::mem::take(&mut backlog.clients) {
            self.wires[index].closed = true;
            self.excuse(index);
        }
    }

    pub fn read(&mut self, index: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.interrupt()?;
        self.touch(index);
        let wire = &self.wires[index];
        if wire.blocked && !wire.is_in_mid_message() && wire.reset == Reset::No {
            self.fault(index, "read from, but it does not take its answers");
        }
        // Only whose patience ends is looked at once more, when all others have been served.
        let is_again = self.wires[index].read_round == self.round;
        if is_again && (self.waiting > 0 || !self.may_be_asked(index)) {
            self.fault(index, "served twice in a round");
        }
        if !self.wires[index].cause && !self.may_be_asked(index) {
            self.fault(index, "read without a reason");
        }
        let wire = &mut self.wires[index];
        if let Some(told) = wire.tell_reset(Ok(0)) {
            return told;
        }
        let count = wire.unread().min(buf.len());
        if count == 0 {
            wire.told_end = wire.fin;
            wire.cause = false;
            return if wire.fin { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let end = wire.ends.range(wire.read + 1..).next().copied().unwrap_or(usize::MAX);
        // What is missing of a message says nothing of the records that it comes in.
        let is_sealed = self.peers[index].is_secure();
        if wire.blocked && !is_sealed && wire.read + count > end {
            self.fault(index, "read from beyond its message, but it does not take its answers");
        }
        let wire = &mut self.wires[index];
        buf[..count].copy_from_slice(&wire.sent[wire.read..wire.read + count]);
        wire.read += count;
        if self.peers[index].has_sent_all() && wire.read == wire.sent.len() {
            // Its close_notify is as good an end.
            wire.told_end = true;
        }
        wire.heard_at = self.now;
        wire.pinged_at = None;
        wire.was_blocked = false;
        wire.read_round = self.round;
        wire.cause = count == buf.len() || wire.fin_was_told;
        self.unfinished.retain(|(other, _)| *other != index);
        if self.wires[index].cause {
            self.unfinished.push_back((index, self.most_ahead()));
        }
        self.wake(index);
        if self.chance(4) {
            // More arrives before the call has returned.
            self.deliver(index);
        }
        Ok(count)
    }

    pub fn write(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() || self.wires[index].server_fin.is_some() {
            self.fault(index, "written to without bytes, or behind the FIN");
        }
        self.interrupt()?;
        self.touch(index);
        self.wake(index);
        let miser = self.trouble && self.chance(8);
        // What is sealed tells of itself when it has been opened: see below.
        let is_sealed = self.peers[index].is_secure();
        let wire = &mut self.wires[index];
        if !is_sealed {
            wire.has_answered = true;
            if bytes == [0x89, 0] {
                wire.pinged_at.get_or_insert(self.now);
            }
        }
        if let Some(told) = wire.tell_reset(Err(ErrorKind::BrokenPipe.into())) {
            return told;
        }
        if !wire.blocked {
            wire.spoke_at = self.now;
        }
        let has_steps = wire.has_backlog() || wire.blocked;
        wire.written += bytes.len();
        self.check_said(index, bytes, is_sealed, has_steps);
        let now = self.now;
        let wire = &mut self.wires[index];
        if wire.cut_at.is_some() && wire.lost_since.is_none() {
            (wire.lost_since, wire.lost_leapt) = (Some(now), self.leapt);
        }
        if wire.nobody_there {
            wire.blocked = false;
            wire.reset = Reset::Pending;
            self.list(index);
            return Ok(bytes.len());
        }
        let mut count = bytes.len().min(wire.free());
        if miser && count > 0 {
            count = self.rng.usize(1..=count);
        }
        if self.peers[index].expects == Expects::Echo && !is_sealed {
            wire.said.take(&bytes[..count]);
        }
        wire.written -= bytes.len() - count;
        wire.out.extend_from_slice(&bytes[..count]);
        wire.blocked = count < bytes.len();
        if wire.blocked {
            wire.was_blocked = true;
            wire.no_space = true;
            if !wire.is_in_mid_message() {
                // It goes on once there is room, which an event will tell.
                self.unfinished.retain(|(other, _)| *other != index);
            }
        }
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.wrote_at = self.now;
        // A Ping's record, of which the kernel takes a part, counts from then on; so does what is as long.
        if is_sealed && count < bytes.len() && PING_RECORDS.contains(&bytes.len()) {
            self.wires[index].pinged_at.get_or_insert(self.now);
        }
        #[cfg(feature = "tls")]
        if is_sealed {
            self.unseal(index, &bytes[..count]);
        }
        Ok(count)
    }

    /// What the server says to a client, and whether it is time for it.
    fn check_said(&mut self, index: usize, bytes: &[u8], is_sealed: bool, has_steps: bool) {
        let wire = &mut self.wires[index];
        let mut said = wire.said.clone();
        if self.peers[index].expects == Expects::Echo && !is_sealed {
            said.take(bytes);
        }
        if said.close.is_some() {
            wire.said_close_at.get_or_insert(self.now);
        }
        let life = wire.heard_at.max(wire.surely_taken_at);
        let is_early =
            self.idle.is_none_or(|idle| self.now < life + if has_steps { idle.max(STEP) } else { idle });
        let is_deaf = wire.unread() > 0 && !wire.was_blocked;
        // What waited in the outbox was said earlier.
        let is_said_now = !is_sealed && !wire.was_blocked && !self.peers[index].ends;
        let says_going_away = is_said_now && said.close == Some(1001);
        if says_going_away && self.stopped_at.is_none() && (is_early || is_deaf) {
            self.fault(index, "told that it is idle, which it is not");
        }
    }

    /// Acknowledged is what a client's system has room for; a closed window is asked about twice a minute.
    pub fn vitals(&self, index: usize) -> Vitals {
        let wire = &self.wires[index];
        let unacknowledged = wire.unacknowledged();
        let last = wire.accepted_at.max(wire.taken_at).max(wire.wrote_at);
        let (heard, spoke) = match wire.cut_at {
            Some(at) => (self.now - at.min(last), self.now - at.min(wire.heard_at)),
            None if unacknowledged > 0 => ((self.now - last).min(30_000), self.now - wire.heard_at),
            None => (self.now - last, self.now - wire.heard_at),
        };
        Vitals {
            acked: (wire.written - unacknowledged) as u32,
            edge: (wire.told_taken + 70_000) as u32,
            unread: wire.has_backlog(),
            unsent: if wire.cut_at.is_some() { 0 } else { unacknowledged as u32 },
            in_flight: if wire.cut_at.is_some() && unacknowledged > 0 {
                InFlight::Data
            } else {
                InFlight::Nothing
            },
            heard: Duration::from_millis(heard),
            spoke: Duration::from_millis(spoke),
        }
    }

    /// What follows throws away what the client's system does not have: there may be some only if it has had its time to arrive.
    pub fn reset(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        let (left, is_early) = (wire.unacknowledged(), self.now < wire.spoke_at + ARRIVAL);
        wire.out.truncate(wire.out.len() - left);
        if left > 0 && is_early && wire.reset == Reset::No {
            self.fault(index, "reset before what was said has arrived");
        }
    }

    pub fn shutdown_write(&mut self, index: usize) {
        let now = self.now;
        self.wake(index);
        let wire = &mut self.wires[index];
        let is_second = wire.server_fin.replace(now).is_some();
        let peer = &self.peers[index];
        let answered = peer.said_close && (wire.unread() == 0 || peer.has_sent_all());
        let is_clean = peer.opened && matches!(wire.said.close, Some(1000 | 1001));
        let is_hasty = is_clean && !answered && !peer.ends;
        let is_hasty = is_hasty && wire.said_close_at.is_none_or(|at| now < at + LINGER);
        if is_second || wire.blocked {
            self.fault(index, "a FIN twice, or before everything was said");
        } else if is_hasty {
            self.fault(index, "a FIN before the client could answer the Close");
        }
    }

    pub fn close(&mut self, index: usize) {
        self.touch(index);
        self.used -= 1;
        self.graveyard.extend(self.wires[index].id);
        self.judge_close(index);
        let wire = &mut self.wires[index];
        wire.closed = true;
        if wire.unread() > 0 {
            // Closing with bytes unread sends a RST, which takes the answer along.
            wire.out.clear();
        }
        self.wake(index);
    }

    /// Once in `of` times.
    fn chance(&mut self, of: u32) -> bool {
        self.rng.u32(..of) == 0
    }

    fn interrupt(&mut self) -> io::Result<()> {
        if self.chance(16) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}
