//! One client: its socket, its protocol, and what is left over between two turns.

use super::boards::{BoardId, Boards, Framing, Full};
use super::config::Config;
use super::end::End;
use super::kernel::{Readiness, Stream};
use super::listener::Role;
use super::moment::Moment;
use super::outbox::Outbox;
use super::stats::{Kind, Side, Stats};
use super::turn::{Context, Shared, Turn};
use crate::log::{self, Level};
use crate::proto::Version;
use crate::proto::framing::close_code;
use crate::proto::handshake::Refusal;
use crate::proto::progress::{Event, HEADROOM, Reply, TAILROOM};
use crate::proto::session::{Session, Stage};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// How long a Flash player has for its request, as the policy servers of the day had it.
const POLICY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client of the numbers' own listener has to ask: silent ones must not keep a full server's health from others.
const STATS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long, after our last byte was taken, the peer's remaining bytes are awaited and thrown away. Closing with bytes
/// unread would send a RST, and that can eat the answer on its way.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client has to finish its handshake, and be told to go, once the server stops.
const LATE_GREETING: Duration = Duration::from_millis(500);
/// Most bytes a board's member may be behind the others.
const MEMBER_BEHIND_MAX: usize = 256 * 1024;

/// A connected client.
///
/// Both buffers are unallocated while it is idle: fifteen thousand idle clients are fifteen thousand of these structs.
#[derive(Debug)]
pub struct Connection<S> {
    socket: S,
    /// The half of its id that tells it from earlier users of its slot.
    pub serial: u32,
    session: Session,
    buffers: Option<Box<Buffers>>,
    readable: bool,
    writable: bool,
    /// The peer's FIN was announced: a short read no longer means that nothing is left.
    read_closed: bool,
    /// Our FIN was sent.
    write_closed: bool,
    /// Stands in the run queue.
    pub queued: bool,
    /// What became of the Ping for its silence.
    ping: Ping,
    /// The server stops: it is told to go as soon as it has opened.
    leaving: bool,
    pub kind: Kind,
    /// What it speaks, once that is agreed.
    pub version: Option<Version>,
    /// When its age began; of an open connection, when its last byte came.
    since: Moment,
    /// When its alarm rings.
    pub alarm: Moment,
    /// The board it is a member of.
    pub board: Option<BoardId>,
    /// Who a proxy says it is.
    client: Option<Box<SocketAddr>>,
}

/// How far a silent peer has been asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    No,
    /// There was no room for one behind the answers that the peer has not taken.
    Owed,
    Sent,
}

#[derive(Debug, Default)]
struct Buffers {
    /// The beginning of something that has not all arrived. Never longer than `CARRY_MAX`.
    carry: Vec<u8>,
    outbox: Outbox,
}

impl<S: Stream> Connection<S> {
    pub fn new(socket: S, serial: u32, role: Role, now: Moment) -> Connection<S> {
        Connection {
            socket,
            serial,
            session: role.session(),
            buffers: None,
            readable: false,
            writable: true,
            read_closed: false,
            write_closed: false,
            queued: false,
            ping: Ping::No,
            leaving: false,
            kind: role.kind(),
            version: None,
            since: now,
            alarm: Moment::NEVER,
            board: None,
            client: None,
        }
    }

    /// Notes what an event says; acts on nothing.
    pub fn note(&mut self, event: &Readiness) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.read_closed |= event.read_closed;
    }

    /// One turn: what waits is written; then, if the peer takes its answers, one read, one rewrite, one write.
    pub fn turn(&mut self, shared: &mut Shared, context: &Context) -> Turn {
        let before = self.held();
        let turn = self.try_turn(shared, context).unwrap_or_else(|error| self.lost(&error));
        self.account(before, &mut shared.stats);
        turn
    }

    fn try_turn(&mut self, shared: &mut Shared, context: &Context) -> io::Result<Turn> {
        if self.buffers.is_some() && !self.flush(&mut shared.stats, context.now)? {
            return Ok(Turn::Wait);
        }
        if !self.readable {
            return Ok(Turn::Wait);
        }
        let start = HEADROOM + self.buffers.as_ref().map_or(0, |buffers| buffers.carry.len());
        let end = shared.scratch.len() - TAILROOM;
        let count = match retry(|| self.socket.read(&mut shared.scratch[start..end])) {
            Ok(0) => return Ok(Turn::Over(if self.write_closed { End::Closed } else { End::Eof })),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(Turn::Wait);
            }
            Err(error) => return Err(error),
        };
        shared.stats.bytes_received += count as u64;
        // A short read has emptied the socket, unless a FIN follows that no further event will announce.
        self.readable = start + count == end || self.read_closed;
        self.ping = Ping::No;
        if self.session.stage() == Stage::Open {
            self.since = context.now;
        }
        if let Some(input) = self.assemble_input(shared, start, count) {
            self.process(shared, context, input)?;
        }
        if self.leaving && self.session.stage() == Stage::Open {
            return Ok(self.close(close_code::GOING_AWAY, "", &mut shared.stats, context.now));
        }
        Ok(if self.readable && self.outbox_is_empty() { Turn::Again } else { Turn::Wait })
    }

    /// Puts the carry in front of the `count` bytes at `start`; `None` when the two do not make anything to act on yet, and
    /// were only put together in the carry.
    fn assemble_input(&mut self, shared: &mut Shared, start: usize, count: usize) -> Option<Range<usize>> {
        let input = HEADROOM..start + count;
        if start > HEADROOM {
            let carry = &mut self.buffers.as_mut()?.carry;
            let fresh = &shared.scratch[start..input.end];
            if !self.session.needs_processing(carry, fresh) {
                carry.extend_from_slice(fresh);
                return None;
            }
            shared.scratch[HEADROOM..start].copy_from_slice(carry);
            carry.clear();
        }
        Some(input)
    }

    /// Runs what was read through the session, and sends what it answers.
    fn process(&mut self, shared: &mut Shared, context: &Context, mut input: Range<usize>) -> io::Result<()> {
        loop {
            shared.response.clear();
            let site = &context.config.site;
            let progress =
                self.session.receive(&mut shared.scratch, input.clone(), &mut shared.response, site);
            input.start += progress.consumed;
            shared.stats.messages_received += u64::from(progress.messages);
            if let Some(event) = progress.event {
                self.on_event(event, shared, context);
            }
            let Shared { scratch, response, boards, stats } = shared;
            match progress.reply {
                Reply::Buffer => self.send(response, stats)?,
                Reply::InPlace(reply) => {
                    self.send(&scratch[reply], stats)?;
                    match self.board {
                        None => stats.messages_sent += u64::from(progress.messages),
                        Some(board) if !response.is_empty() => {
                            boards.publish(board, context.id, response, progress.messages);
                        }
                        Some(_) => {}
                    }
                }
            }
            if self.session.stage() == Stage::Closing && !self.write_closed {
                self.since = context.now;
                self.close_write()?;
            }
            if !progress.again {
                break;
            }
        }
        self.keep(shared, input);
        Ok(())
    }

    /// Counts and logs what happened, and does what it takes before the answer is sent.
    #[inline(never)]
    fn on_event(&mut self, event: Event, shared: &mut Shared, context: &Context) {
        let stats = &mut shared.stats;
        match event {
            Event::Proxied(client) => {
                self.client = client.map(Box::new);
                self.log(Level::Debug, format_args!("came through a proxy"));
            }
            Event::NotProxied(why) => self.log(Level::Info, format_args!("{why}")),
            Event::Opened(version) => self.open(version, stats, context.now),
            Event::Joins { name, opened } => match self.join(&name, opened, &mut shared.boards, context) {
                Ok(()) => {
                    self.log(Level::Debug, format_args!("joins board {name}"));
                    if let Some(version) = opened {
                        self.open(version, stats, context.now);
                    }
                }
                Err(Full) => {
                    self.session.refuse(&mut shared.response);
                    stats.refused(&Refusal::BoardFull);
                    self.log(Level::Info, format_args!("{}", Refusal::BoardFull));
                }
            },
            Event::Refused(refusal) => {
                stats.refused(&refusal);
                self.log(Level::Info, format_args!("{refusal}"));
            }
            Event::Page(page) => {
                stats.pages += 1;
                self.log(Level::Debug, format_args!("sent a page: {page:?}"));
            }
            Event::Asked(question) => stats.answer(question, &mut shared.response),
            Event::Policy => {
                stats.policies += 1;
                self.log(Level::Debug, format_args!("sent the Flash policy"));
            }
            Event::NotPolicy => self.log(Level::Debug, format_args!("not a policy request")),
            Event::Closed(code) => {
                stats.closed(Side::Peer, code);
                match code {
                    Some(code) => self.log(Level::Debug, format_args!("closed by the peer: {code}")),
                    None => self.log(Level::Debug, format_args!("closed by the peer")),
                }
            }
            Event::Quit => {
                stats.closed(Side::Server, Some(close_code::NORMAL));
                self.log(Level::Debug, format_args!("closed 1000: quit"));
            }
            Event::TooLong => {
                stats.closed(Side::Server, None);
                self.log(Level::Debug, format_args!("closed: message too big"));
            }
            Event::Failed(fail) => {
                stats.closed(Side::Server, Some(fail.code()));
                self.log(Level::Debug, format_args!("closed {}: {}", fail.code(), fail.text()));
            }
        }
    }

    fn open(&mut self, version: Version, stats: &mut Stats, now: Moment) {
        let was = self.kind;
        if self.board.is_some() {
            self.kind = Kind::Board;
        }
        self.version = Some(version);
        self.since = now;
        stats.opened(was, self.kind, version);
        self.log(Level::Debug, format_args!("opened: version {}", version.name()));
    }

    fn join(
        &mut self,
        name: &str,
        opened: Option<Version>,
        boards: &mut Boards,
        context: &Context,
    ) -> Result<(), Full> {
        let framing = match opened {
            Some(Version::Hybi7 | Version::Hybi8 | Version::Hybi13) => Framing::Hybi,
            Some(Version::Hixie75 | Version::Hixie76) | None => Framing::Hixie,
        };
        self.board = Some(boards.join(name, context.id, framing, context.now)?);
        Ok(())
    }

    /// Tells a board's member what the others said, `messages` in all; what is left to do if it was not simply told.
    ///
    /// One that is too far behind is closed with 1008 instead: it must not slow the room, nor fill our memory.
    pub fn deliver(&mut self, bytes: &[u8], messages: u32, stats: &mut Stats, now: Moment) -> Option<Turn> {
        if self.session.stage() != Stage::Open {
            return None;
        }
        let behind = self.buffers.as_ref().map_or(0, |buffers| buffers.outbox.len());
        if behind > 0 && behind + bytes.len() > MEMBER_BEHIND_MAX {
            self.log(Level::Debug, format_args!("closed 1008: {behind} bytes behind its board"));
            return Some(self.close(close_code::POLICY_VIOLATION, "too far behind", stats, now));
        }
        let before = self.held();
        let sent = self.send(bytes, stats);
        self.account(before, stats);
        stats.messages_sent += u64::from(messages);
        sent.err().map(|error| self.lost(&error))
    }

    /// Keeps what the session could not use yet, and lets go of buffers that hold nothing.
    fn keep(&mut self, shared: &Shared, input: Range<usize>) {
        if !input.is_empty() {
            self.buffers.get_or_insert_default().carry.extend_from_slice(&shared.scratch[input]);
        } else if self.outbox_is_empty() {
            self.buffers = None;
        }
    }

    /// Writes what waits; true when nothing is left.
    fn flush(&mut self, stats: &mut Stats, now: Moment) -> io::Result<bool> {
        let Some(buffers) = &mut self.buffers else { return Ok(true) };
        if buffers.outbox.is_empty() {
            return Ok(true);
        }
        if !self.writable {
            return Ok(false);
        }
        let mut count = 0;
        while !buffers.outbox.is_empty() {
            let front = buffers.outbox.front();
            let taken = write_some(&mut self.socket, front)?;
            self.writable = taken == front.len();
            buffers.outbox.sent(taken);
            stats.bytes_sent += taken as u64;
            count += taken;
            if !self.writable {
                break;
            }
        }
        if count > 0 && self.ping == Ping::Owed {
            // Who takes its answers is there, however slowly.
            self.ping = Ping::No;
        }
        if buffers.outbox.is_empty() && buffers.carry.is_empty() {
            self.buffers = None;
        }
        if self.session.stage() == Stage::Closing {
            if count > 0 {
                self.since = now;
            }
            self.close_write()?;
        }
        Ok(self.writable)
    }

    /// Writes `bytes` behind everything said so far; what the kernel does not take goes to the outbox.
    fn send(&mut self, bytes: &[u8], stats: &mut Stats) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut count = 0;
        // Behind an outbox nothing is tried, so `writable` stays: it may be an event that the next turn is to act on.
        if self.outbox_is_empty() {
            count = write_some(&mut self.socket, bytes)?;
            stats.bytes_sent += count as u64;
            self.writable = count == bytes.len();
        }
        if count < bytes.len() {
            self.buffers.get_or_insert_default().outbox.push(&bytes[count..]);
        }
        Ok(())
    }

    fn outbox_is_empty(&self) -> bool {
        self.buffers.as_ref().is_none_or(|buffers| buffers.outbox.is_empty())
    }

    /// Sends a FIN behind our last byte, once that is out; the peer then has [`LINGER`] to leave.
    fn close_write(&mut self) -> io::Result<()> {
        if self.outbox_is_empty() && !self.write_closed {
            self.write_closed = true;
            self.socket.shutdown_write()?;
        }
        Ok(())
    }

    /// Ends the conversation with a Close frame, where one can be sent.
    #[inline(never)]
    pub fn close(&mut self, code: u16, reason: &str, stats: &mut Stats, now: Moment) -> Turn {
        match self.session.stage() {
            Stage::Open => {}
            // It is leaving already, and has its time for that.
            Stage::Closing => return Turn::Wait,
            Stage::Greeting => {
                self.leaving = true;
                self.since = now;
                return Turn::Wait;
            }
            Stage::Policy => return Turn::Over(End::Shutdown),
        }
        let Some(frame) = self.session.close(code, reason) else {
            // In the middle of a frame there is no way to say it.
            return Turn::Over(End::Shutdown);
        };
        stats.closed(Side::Server, Some(code));
        self.since = now;
        let before = self.held();
        let said = self.send(&frame, stats).and_then(|()| self.close_write());
        self.account(before, stats);
        said.map_or_else(|error| self.lost(&error), |()| Turn::Wait)
    }

    /// When its patience ends.
    pub fn deadline(&self, config: &Config) -> Moment {
        let patience = match self.session.stage() {
            Stage::Policy => POLICY_TIMEOUT,
            Stage::Greeting if self.leaving => LATE_GREETING,
            Stage::Greeting if self.kind == Kind::Stats => STATS_TIMEOUT.min(config.handshake_timeout),
            Stage::Greeting => config.handshake_timeout,
            Stage::Closing => LINGER,
            Stage::Open => {
                let ping = config.ping_interval.filter(|_| self.session.knows_ping());
                let ping = ping.map(|interval| if self.ping == Ping::No { interval } else { 2 * interval });
                match [config.idle_timeout, ping].into_iter().flatten().min() {
                    Some(patience) => patience,
                    None => return Moment::NEVER,
                }
            }
        };
        self.since + patience
    }

    /// Its deadline has passed: a last look at the socket, then the verdict.
    ///
    /// One poll tells of so many clients and no more, so the bytes of this one may lie waiting behind others' events.
    pub fn expire(&mut self, shared: &mut Shared, context: &Context) -> Turn {
        let Context { config, now, .. } = *context;
        (self.readable, self.writable) = (true, true);
        let turn = self.turn(shared, context);
        if matches!(turn, Turn::Over(_)) || self.deadline(config) > now {
            return turn;
        }
        let stats = &mut shared.stats;
        match self.session.stage() {
            Stage::Open => {}
            Stage::Closing => return Turn::Over(End::LingerTimeout),
            Stage::Greeting | Stage::Policy => {
                self.log(Level::Debug, format_args!("timed out"));
                return Turn::Over(End::HandshakeTimeout);
            }
        }
        if config.idle_timeout.is_some_and(|timeout| self.since + timeout <= now) {
            self.log(Level::Debug, format_args!("closed 1001: idle"));
            return self.close(close_code::GOING_AWAY, "", stats, now);
        }
        if self.ping != Ping::No {
            self.log(Level::Debug, format_args!("lost: no answer to a ping"));
            return Turn::Over(End::PingTimeout);
        }
        self.ping = if self.outbox_is_empty() { Ping::Sent } else { Ping::Owed };
        if let Some(interval) = config.ping_interval {
            // After a pause of the whole process the Ping is late; its answer still has a whole interval.
            self.since = self.since.max(now - interval);
        }
        // A peer that does not take its answers gets no ping on top; it has until the next interval all the same.
        let Some(ping) = self.session.ping().filter(|_| self.outbox_is_empty()) else { return Turn::Wait };
        let before = self.held();
        let sent = self.send(&ping, stats);
        self.account(before, stats);
        sent.map_or_else(|error| self.lost(&error), |()| Turn::Wait)
    }

    /// Bytes that are kept for it, and whether it is blocked.
    fn held(&self) -> (u64, bool) {
        let Some(buffers) = &self.buffers else { return (0, false) };
        let pending = buffers.outbox.len();
        ((buffers.carry.len() + pending) as u64, pending > 0)
    }

    /// Brings the gauges up to date with what it holds now instead of `before`.
    fn account(&self, before: (u64, bool), stats: &mut Stats) {
        let after = self.held();
        stats.buffered = stats.buffered + after.0 - before.0;
        stats.blocked = stats.blocked + u64::from(after.1) - u64::from(before.1);
    }

    /// It is gone: what it held is no longer held, and it is no longer open.
    pub fn finish(&mut self, end: End, stats: &mut Stats) {
        let before = self.held();
        self.buffers = None;
        self.account(before, stats);
        stats.ended(self.kind, self.version, end);
    }

    #[cold]
    fn lost(&self, error: &io::Error) -> Turn {
        self.log(Level::Debug, format_args!("lost: {error}"));
        Turn::Over(End::Error)
    }

    #[cold]
    #[inline(never)]
    fn log(&self, level: Level, text: std::fmt::Arguments) {
        if !log::enabled(level) {
            return;
        }
        let client = self.client.as_deref().copied().or_else(|| self.socket.peer());
        let say = |text: std::fmt::Arguments| match level {
            // Whoever asks for every line gets every line.
            Level::Debug => log::line(level, text),
            _ => log::limited(log::Class::Refused, level, text),
        };
        match client {
            Some(client) => say(format_args!("{text} ({client})")),
            None => say(text),
        }
    }

    /// Panics unless what the fields promise each other holds.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        use crate::proto::limits::CARRY_MAX;
        if let Some(buffers) = &self.buffers {
            assert!(!buffers.carry.is_empty() || !buffers.outbox.is_empty(), "buffers that hold nothing");
            assert!(buffers.carry.len() <= CARRY_MAX, "carry of {}", buffers.carry.len());
            buffers.outbox.assert_invariants();
            assert!(buffers.outbox.is_empty() || !self.writable, "an outbox and a socket that would take it");
        }
        assert!(!self.write_closed || self.session.stage() == Stage::Closing, "FIN sent in mid-conversation");
    }
}

/// Writes what the kernel takes in one call; 0 when it takes nothing now.
#[inline]
fn write_some(socket: &mut impl io::Write, bytes: &[u8]) -> io::Result<usize> {
    match retry(|| socket.write(bytes)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// A signal in the middle of a call is no reason to give up.
#[inline]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
