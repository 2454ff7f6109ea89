//! Everything outside of the server: clients, wires, the clock, and a kernel that reports as edge-triggered epoll does.
//!
//! A socket is listed as ready when something new arrives (bytes, FIN, RST), when it is registered, and when there is room
//! again after a call was told that there is none; never because of what was there before. What is reported of it is the
//! state it is in when it is taken from that list, and it may be taken late. A listener is listed when a client arrives.
//!
//! What the server must never do is checked where it does it; the faults are kept until the round is over.

use super::peer::{Appetite, Expects, Leaves, Peer};
use super::tcp::{Reset, Wire};
use fastrand::Rng;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;
use wsecho::reactor::Config;
use wsecho::reactor::kernel::Event;
use wsecho::reactor::token::{ConnId, Source};

/// What the server promises about closing: how long it lingers behind its FIN, waits for a policy request, says farewell.
const LINGER: u64 = 2_000;
const POLICY_TIMEOUT: u64 = 3_000;
pub const FAREWELL: u64 = 2_000;
/// How long a client has to finish its handshake once the server stops.
const LATE_GREETING: u64 = 500;
/// How soon a listener that could not accept tries again.
const STALL: Duration = Duration::from_millis(100);

pub struct World {
    rng: Rng,
    pub now: u64,
    handshake: u64,
    idle: Option<u64>,
    ping: Option<u64>,
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
    /// Nobody can do anything any more, and the server sleeps for ever.
    pub stuck: bool,
    /// Times the server slept until a deadline.
    pub naps: usize,
    round: u64,
    /// Sockets that are owed a call in this round.
    waiting: usize,
    /// Sockets whose last read left something, which no event will tell.
    unfinished: Vec<usize>,
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
    pub fn new(mut rng: Rng, config: &Config, peers: usize) -> World {
        let milliseconds = |duration: Duration| duration.as_millis() as u64;
        let peers: Vec<Peer> = (0..peers).map(|_| Peer::new(&mut rng)).collect();
        World {
            now: rng.u64(..1_000_000),
            handshake: milliseconds(config.handshake_timeout),
            idle: config.idle_timeout.map(milliseconds),
            ping: config.ping_interval.map(milliseconds),
            max_connections: config.max_connections,
            wires: peers.iter().map(|_| Wire::default()).collect(),
            restless: (0..peers.len()).collect(),
            peers,
            backlogs: vec![Backlog::default(), Backlog::default()],
            ready: VecDeque::new(),
            graveyard: Vec::new(),
            table: usize::MAX,
            used: 0,
            signals: 0,
            stopped_at: None,
            trouble: true,
            stuck: false,
            naps: 0,
            round: 0,
            waiting: 0,
            unfinished: Vec::new(),
            faults: Vec::new(),
            rng,
        }
    }

    /// A signal for the server.
    pub fn signal(&mut self) {
        self.signals += 1;
    }

    /// From now on nothing goes wrong, and every client reads and leaves.
    pub fn forgive(&mut self) {
        self.trouble = false;
        self.stuck = false;
        self.table = usize::MAX;
        for index in 0..self.peers.len() {
            self.peers[index].forgive();
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

    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        self.end_round();
        let may_sleep = timeout != Some(Duration::ZERO);
        if may_sleep && self.is_calm() && self.chance(32) {
            self.check_sleep(timeout);
        }
        if self.chance(20) {
            return Err(ErrorKind::Interrupted.into());
        }
        for _ in 0..self.rng.usize(..=self.peers.len() / 10 + 3) {
            self.act();
        }
        let until = timeout.map(|timeout| self.now + timeout.as_millis() as u64);
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
            self.now += self.rng.u64(..100_000);
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
            let errors =
                [Errno::ECONNABORTED, Errno::EPERM, Errno::EPROTO, Errno::ENETDOWN, Errno::EHOSTUNREACH];
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
        if self.wires[index].blocked {
            self.fault(index, "read from, but it does not take its answers");
        }
        if self.wires[index].read_round == self.round && self.waiting > 0 {
            self.fault(index, "served twice while others wait");
        }
        if !self.wires[index].cause && !self.may_be_asked(index) {
            self.fault(index, "read without a reason");
        }
        let wire = &mut self.wires[index];
        match wire.reset {
            Reset::No => {}
            Reset::Pending => {
                wire.reset = Reset::Told;
                wire.told_end = true;
                return Err(ErrorKind::ConnectionReset.into());
            }
            Reset::Told => {
                wire.told_end = true;
                return Ok(0);
            }
        }
        let count = wire.unread().min(buf.len());
        if count == 0 {
            wire.told_end = wire.fin;
            wire.cause = false;
            return if wire.fin { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buf[..count].copy_from_slice(&wire.sent[wire.read..wire.read + count]);
        wire.read += count;
        wire.heard_at = self.now;
        wire.pinged_at = None;
        wire.was_blocked = false;
        wire.read_round = self.round;
        wire.cause = count == buf.len() || wire.fin_was_told;
        if wire.cause {
            self.unfinished.push(index);
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
        let wire = &mut self.wires[index];
        wire.has_answered = true;
        if bytes == [0x89, 0] {
            wire.pinged_at = Some(self.now);
        }
        match wire.reset {
            Reset::No => {}
            Reset::Pending => {
                wire.reset = Reset::Told;
                wire.told_end = true;
                return Err(ErrorKind::ConnectionReset.into());
            }
            Reset::Told => {
                wire.told_end = true;
                return Err(ErrorKind::BrokenPipe.into());
            }
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
        wire.out.extend_from_slice(&bytes[..count]);
        wire.blocked = count < bytes.len();
        if wire.blocked {
            wire.was_blocked = true;
            wire.no_space = true;
        }
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.wrote_at = self.now;
        Ok(count)
    }

    pub fn shutdown_write(&mut self, index: usize) {
        let (now, idle) = (self.now, self.idle);
        self.wake(index);
        let wire = &mut self.wires[index];
        let is_second = wire.server_fin.replace(now).is_some();
        let says_going_away = wire.out.ends_with(&[0x88, 2, 0x03, 0xE9]) && !self.peers[index].ends;
        let is_early = idle.is_none_or(|idle| now < wire.heard_at + idle);
        let is_deaf = wire.unread() > 0 && !wire.was_blocked;
        if is_second || wire.blocked {
            self.fault(index, "a FIN twice, or before everything was said");
        } else if says_going_away && self.stopped_at.is_none() && (is_early || is_deaf) {
            self.fault(index, "told that it is idle, which it is not");
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

    // What the clients do.

    /// Lets a client do something, if any can.
    fn act(&mut self) -> bool {
        while !self.restless.is_empty() {
            let at = self.rng.usize(..self.restless.len());
            let index = self.restless[at];
            if self.act_as(index) {
                if self.chance(8) {
                    self.now += self.rng.u64(..=2);
                }
                return true;
            }
            self.restless.swap_remove(at);
            self.peers[index].restless = false;
        }
        false
    }

    fn act_as(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        if peer.done {
            return false;
        }
        if !peer.connected {
            return self.connect(index);
        }
        if (peer.saw_end && (wire.fin || wire.closed)) || (wire.closed && peer.excused) {
            self.finish(index);
            return true;
        }
        let is_there = !wire.fin && !wire.closed && wire.reset == Reset::No;
        match peer.leaves {
            Leaves::Resetting(at) if is_there && wire.arrived >= at => {
                wire.break_off();
                self.list(index);
                self.finish_excused(index);
                return true;
            }
            Leaves::Vanishing(at) if is_there && wire.arrived >= at => {
                if wire.out.is_empty() {
                    wire.fin = true;
                    wire.nobody_there = true;
                    wire.sent.truncate(wire.arrived);
                } else {
                    wire.break_off();
                }
                self.list(index);
                self.finish_excused(index);
                return true;
            }
            _ => {}
        }
        let first = self.rng.u8(..4);
        (0..4).any(|turn| match (first + turn) % 4 {
            0 => self.take(index),
            1 => self.deliver(index),
            2 => is_there && self.say_or_leave(index),
            _ => self.make_room(index),
        })
    }

    fn connect(&mut self, index: usize) -> bool {
        let peer = &mut self.peers[index];
        peer.connected = true;
        let backlog = &mut self.backlogs[peer.listener];
        if backlog.closed {
            self.finish_excused(index);
            return true;
        }
        backlog.clients.push_back(index);
        backlog.edge = true;
        let rooms: &[usize] =
            if peer.size() < 3_000 { &[1, 50, 1_000, 70_000] } else { &[3_000, 70_000, 300_000] };
        self.wires[index].room = *self.rng.choice(rooms).expect("a size");
        true
    }

    /// Takes bytes of the server, or sees that there will be no more.
    fn take(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        let all = wire.out.len();
        let most = match peer.appetite {
            Appetite::None => return false,
            Appetite::Picky => all.min(2_000),
            Appetite::Eager => all,
        };
        if all == 0 {
            let ends = wire.server_fin.is_some() || wire.closed;
            return ends && !std::mem::replace(&mut peer.saw_end, true);
        }
        let count = if self.rng.bool() { most } else { self.rng.usize(1..=most) };
        if let Err(fault) = peer.hears(&wire.out[..count])
            && !peer.excused
        {
            self.fault(index, &fault);
        }
        self.wires[index].out.drain(..count);
        self.make_room(index);
        true
    }

    /// Tells the server that there is room, if it waits for that.
    fn make_room(&mut self, index: usize) -> bool {
        let wire = &mut self.wires[index];
        if !wire.no_space || !wire.is_writable() || wire.id.is_none() || wire.closed {
            return false;
        }
        wire.no_space = false;
        self.list(index);
        true
    }

    /// Lets some of what was said arrive.
    fn deliver(&mut self, index: usize) -> bool {
        let wire = &mut self.wires[index];
        let most = wire.deliverable();
        if most == 0 || wire.fin || wire.closed || wire.reset != Reset::No {
            return false;
        }
        wire.arrived += match self.rng.u8(..4) {
            0 => self.rng.usize(1..=most.min(20)),
            1 => self.rng.usize(1..=most),
            _ => most,
        };
        self.list(index);
        true
    }

    fn say_or_leave(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        if wire.arrived < wire.sent.len() {
            return false;
        }
        if let Some(said) = peer.says(&mut self.rng) {
            wire.sent.extend(said);
            return true;
        }
        let leaves = match peer.leaves {
            Leaves::AtOnce => true,
            Leaves::Late => peer.saw_end,
            _ => peer.saw_end || peer.is_satisfied(),
        };
        if leaves {
            wire.fin = true;
            self.list(index);
        }
        leaves
    }

    fn finish(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.done = true;
        if !peer.excused
            && let Some(complaint) = peer.complaint()
        {
            self.fault(index, &complaint);
        }
    }

    fn finish_excused(&mut self, index: usize) {
        self.excuse(index);
        self.finish(index);
    }

    fn excuse(&mut self, index: usize) {
        self.peers[index].excused = true;
        self.wake(index);
    }

    fn wake(&mut self, index: usize) {
        if !std::mem::replace(&mut self.peers[index].restless, true) {
            self.restless.push(index);
        }
    }

    // How the kernel reports.

    fn list(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        if wire.id.is_some() && !wire.closed && !wire.listed {
            wire.listed = true;
            self.ready.push_back(index);
        }
    }

    /// Whether a poll would find nothing.
    fn is_calm(&self) -> bool {
        self.ready.is_empty() && self.signals == 0 && self.backlogs.iter().all(|backlog| !backlog.edge)
    }

    fn collect(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let most = if self.chance(4) { self.rng.usize(1..=8) } else { 1024 };
        while events.len() < most {
            let Some(index) = self.ready.pop_front() else { break };
            self.wires[index].listed = false;
            events.extend(self.report(index));
        }
        for (index, backlog) in self.backlogs.iter_mut().enumerate() {
            if std::mem::take(&mut backlog.edge) && !backlog.clients.is_empty() {
                let source = Source::Listener(index);
                events.push(Event { source, readable: true, writable: false, read_closed: false });
            }
        }
        for _ in 0..std::mem::take(&mut self.signals) {
            events.push(Event { source: Source::Stop, readable: true, writable: false, read_closed: false });
        }
        self.invent(&mut events);
        for index in std::mem::take(&mut self.unfinished) {
            let wire = &self.wires[index];
            if !wire.blocked && wire.is_readable() {
                self.expect_call(index);
            }
        }
        events
    }

    fn report(&mut self, index: usize) -> Option<Event> {
        let wire = &mut self.wires[index];
        let source = Source::Connection(wire.id.filter(|_| !wire.closed)?);
        let is_broken = wire.reset != Reset::No;
        let event = Event {
            source,
            readable: wire.is_readable(),
            writable: wire.is_writable(),
            read_closed: wire.fin || is_broken,
        };
        // As tcp_poll() does.
        wire.no_space |= !event.writable;
        wire.cause |= event.readable;
        wire.fin_was_told |= event.read_closed;
        if if wire.blocked { event.writable } else { event.readable } {
            self.expect_call(index);
        }
        (event.readable || event.writable).then_some(event)
    }

    /// Adds events about nothing, and about nobody.
    fn invent(&mut self, events: &mut Vec<Event>) {
        let hints = self.rng.u8(..8);
        let (readable, writable, read_closed) = (hints & 1 != 0, hints & 2 != 0, hints == 7);
        let at = self.rng.usize(..=events.len());
        if self.chance(4) && !self.graveyard.is_empty() {
            let id = self.graveyard[self.rng.usize(..self.graveyard.len())];
            let source = Source::Connection(id);
            events.insert(at, Event { source, readable: true, writable: true, read_closed });
        } else if self.chance(4) {
            let index = self.rng.usize(..self.wires.len());
            let wire = &mut self.wires[index];
            if let Some(id) = wire.id.filter(|_| !wire.closed) {
                wire.cause |= readable;
                wire.fin_was_told |= read_closed;
                events.insert(at, Event { source: Source::Connection(id), readable, writable, read_closed });
            }
        }
    }

    // What the server must and must not do.

    /// The server owes this socket a call in this round.
    fn expect_call(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        if !wire.closed && !std::mem::replace(&mut wire.waits, true) {
            self.waiting += 1;
        }
    }

    fn touch(&mut self, index: usize) {
        if std::mem::take(&mut self.wires[index].waits) {
            self.waiting -= 1;
        }
    }

    fn end_round(&mut self) {
        self.round += 1;
        if self.waiting > 0 {
            for index in 0..self.wires.len() {
                if self.wires[index].waits {
                    self.touch(index);
                    self.fault(index, "ready, and not served for a whole round");
                }
            }
        }
    }

    /// The server goes to sleep although nothing new is coming: it must have nothing left to do.
    fn check_sleep(&mut self, timeout: Option<Duration>) {
        for index in 0..self.wires.len() {
            let wire = &self.wires[index];
            if wire.id.is_none() || wire.closed {
                continue;
            }
            if !wire.blocked && wire.is_readable() {
                self.fault(index, "forgotten with something to read");
            } else if wire.blocked && !wire.no_space {
                self.fault(index, "forgotten with something to write");
            } else if self.deadline(index).is_some_and(|at| at <= self.now) {
                self.fault(index, "overdue, and still there");
            }
        }
        for backlog in &self.backlogs {
            let may_accept = self.used < self.table.min(self.max_connections);
            let retries = backlog.short && timeout.is_some_and(|timeout| timeout <= STALL);
            if !backlog.clients.is_empty() && may_accept && !retries {
                self.faults
                    .push(format!("{} clients wait for an accept that never comes", backlog.clients.len()));
            }
        }
    }

    /// When the server has to do something about a silent client.
    fn deadline(&self, index: usize) -> Option<u64> {
        let wire = &self.wires[index];
        if let Some(at) = wire.server_fin {
            return Some(at + LINGER);
        }
        if !wire.has_answered {
            return Some(self.greeting_end(index));
        }
        if wire.blocked || !self.peers[index].opened {
            return None;
        }
        let ping = self.ping.filter(|_| !wire.is_in_mid_frame());
        let ping = ping.map(|ping| wire.pinged_at.unwrap_or(wire.heard_at) + ping);
        // A late Ping puts off the rest by as much.
        let since = wire.heard_at.max(wire.pinged_at.unwrap_or(0).saturating_sub(self.ping.unwrap_or(0)));
        let idle = self.idle.map(|idle| since + idle);
        [ping, idle].into_iter().flatten().min()
    }

    /// When the server need not wait for this client's request any longer.
    fn greeting_end(&self, index: usize) -> u64 {
        let accepted_at = self.wires[index].accepted_at;
        if self.peers[index].listener == 1 {
            return accepted_at + POLICY_TIMEOUT;
        }
        let hurried = self.stopped_at.map_or(u64::MAX, |at| at + LATE_GREETING);
        hurried.min(accepted_at + self.handshake)
    }

    /// Whether the server may have a look at a socket without an event: some patience with this client has ended.
    fn may_be_asked(&self, index: usize) -> bool {
        let wire = &self.wires[index];
        let ends = [
            wire.server_fin.map(|at| at + LINGER),
            (!wire.has_answered).then_some(self.greeting_end(index)),
            wire.was_blocked.then_some(wire.heard_at + LINGER),
            self.idle.map(|idle| wire.heard_at + idle),
            self.ping.map(|ping| wire.heard_at + ping),
        ];
        ends.into_iter().flatten().any(|end| end <= self.now)
    }

    /// Whether the server had the right to drop this client.
    fn judge_close(&mut self, index: usize) {
        let (wire, peer, now) = (&self.wires[index], &self.peers[index], self.now);
        if wire.told_end || wire.id.is_none() {
            return;
        }
        let passed = |at: u64, patience: Option<u64>| patience.is_some_and(|patience| now >= at + patience);
        // Whose conversation goes on may take its answers as slowly as it likes.
        let is_over = peer.ends || self.idle.is_some();
        let has_lingered = wire.server_fin.is_some_and(|at| now >= at + LINGER)
            || (is_over && wire.blocked && now >= wire.wrote_at.max(wire.heard_at) + LINGER);
        let is_late = !wire.has_answered && now >= self.greeting_end(index);
        let is_idle = passed(wire.heard_at, self.idle);
        let is_mute = match wire.pinged_at {
            Some(at) => passed(at, self.ping),
            // There was no room for a Ping, or no place in the middle of a frame.
            None if wire.blocked => passed(wire.wrote_at, self.ping),
            None => wire.is_in_mid_frame() && passed(wire.heard_at, self.ping.map(|ping| 2 * ping)),
        };
        let is_deaf = wire.unread() > 0 && !wire.was_blocked;
        if has_lingered || self.stopped_at.is_some() {
            if self.stopped_at.is_none()
                && wire.blocked
                && peer.expects == Expects::Echo
                && !peer.ends
                && !is_idle
            {
                self.fault(index, "dropped because it reads slowly");
            }
        } else if !(is_late || is_idle || is_mute) {
            self.fault(index, "dropped for no reason");
        } else if is_deaf {
            self.fault(index, "dropped with its bytes waiting");
        }
        self.excuse(index);
    }

    fn fault(&mut self, index: usize, what: &str) {
        let (peer, wire) = (&self.peers[index], &self.wires[index]);
        self.faults.push(format!(
            "client {index} ({:?}, {:?}): {what}; at {}, {wire:?}",
            peer.expects, peer.leaves, self.now
        ));
    }

    /// Once in `of` times.
    fn chance(&mut self, of: u32) -> bool {
        self.rng.u32(..of) == 0
    }

    fn interrupt(&mut self) -> io::Result<()> {
        if self.chance(16) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}
