//! One client: its socket, its protocol, and what is left over between two turns.

use super::Config;
use super::boards::{BoardId, Boards, Framing, Full};
use super::deadlines::Moment;
use super::kernel::{Event, Stream};
use super::outbox::Outbox;
use super::token::ConnId;
use crate::log;
use crate::proto::Version;
use crate::proto::close;
use crate::proto::handshake::Refusal;
use crate::proto::session::{Age, HEADROOM, News, Reply, Session, TAILROOM};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::time::Duration;

/// How long a Flash player has for its request, as the policy servers of the day had it.
const POLICY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long, after our last byte was taken, the peer's remaining bytes are awaited and thrown away. Closing with bytes
/// unread would send a RST, and that can eat the answer on its way.
const LINGER: Duration = Duration::from_secs(2);

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
    /// A Ping was sent and nothing came since.
    pinged: bool,
    /// When its age began; of an open connection, when its last byte came.
    since: Moment,
    /// When its alarm rings.
    pub alarm: Moment,
    /// The board it is a member of.
    pub board: Option<BoardId>,
}

#[derive(Debug, Default)]
struct Buffers {
    /// The beginning of something that has not all arrived. Never longer than `CARRY_MAX`.
    carry: Vec<u8>,
    outbox: Outbox,
}

/// What the turns share: one read at a time needs one buffer. And where members say what the others are to hear.
#[derive(Debug)]
pub struct Bench {
    scratch: Box<[u8]>,
    letter: Vec<u8>,
    pub boards: Boards,
}

impl Bench {
    /// Bytes that one read takes at most.
    pub const SCRATCH: usize = 64 * 1024;

    pub fn new(boards: Boards) -> Bench {
        let scratch = vec![0; HEADROOM + Bench::SCRATCH + TAILROOM].into();
        Bench { scratch, letter: Vec::new(), boards }
    }
}

/// What a turn leaves to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing until the next event.
    Wait,
    /// More may be read at once.
    Again,
    /// The connection is over: drop it.
    Over,
}

impl<S: Stream> Connection<S> {
    pub fn new(socket: S, serial: u32, session: Session, now: Moment) -> Connection<S> {
        Connection {
            socket,
            serial,
            session,
            buffers: None,
            readable: false,
            writable: true,
            read_closed: false,
            write_closed: false,
            queued: false,
            pinged: false,
            since: now,
            alarm: Moment::NEVER,
            board: None,
        }
    }

    /// Notes what an event says; acts on nothing.
    pub fn note(&mut self, event: &Event) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.read_closed |= event.read_closed;
    }

    /// One turn: what waits is written; then, if the peer takes its answers, one read, one rewrite, one write.
    pub fn turn(&mut self, id: ConnId, bench: &mut Bench, config: &Config, now: Moment) -> Turn {
        match self.try_turn(id, bench, config, now) {
            Ok(turn) => turn,
            Err(error) => {
                self.tell(log::Level::Debug, format_args!("lost: {error}"));
                Turn::Over
            }
        }
    }

    fn try_turn(&mut self, id: ConnId, bench: &mut Bench, config: &Config, now: Moment) -> io::Result<Turn> {
        if self.buffers.is_some() && !self.flush(now)? {
            return Ok(Turn::Wait);
        }
        if !self.readable {
            return Ok(Turn::Wait);
        }
        let carried = self.buffers.as_ref().map_or(0, |buffers| buffers.carry.len());
        let start = HEADROOM + carried;
        let end = bench.scratch.len() - TAILROOM;
        let count = match retry(|| self.socket.read(&mut bench.scratch[start..end])) {
            Ok(0) => return Ok(Turn::Over),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(Turn::Wait);
            }
            Err(error) => return Err(error),
        };
        // A short read has emptied the socket, unless a FIN follows that no further event will announce.
        self.readable = start + count == end || self.read_closed;
        self.pinged = false;
        if self.session.age() == Age::Open {
            self.since = now;
        }
        let start = HEADROOM + carried;
        if let Some(input) = self.gather(bench, start, count) {
            self.digest(id, bench, config, input, now)?;
        }
        Ok(if self.readable && self.outbox_is_empty() { Turn::Again } else { Turn::Wait })
    }

    /// Puts the carry in front of the `count` bytes at `start`; `None` when the two do not make anything to act on yet, and
    /// were only put together in the carry.
    fn gather(&mut self, bench: &mut Bench, start: usize, count: usize) -> Option<Range<usize>> {
        let input = HEADROOM..start + count;
        if start > HEADROOM {
            let carry = &mut self.buffers.as_mut()?.carry;
            let fresh = &bench.scratch[start..input.end];
            if !self.session.wants(carry, fresh) {
                carry.extend_from_slice(fresh);
                return None;
            }
            bench.scratch[HEADROOM..start].copy_from_slice(carry);
            carry.clear();
        }
        Some(input)
    }

    /// Runs what was read through the session.
    fn digest(
        &mut self,
        id: ConnId,
        bench: &mut Bench,
        config: &Config,
        mut input: Range<usize>,
        now: Moment,
    ) -> io::Result<()> {
        loop {
            bench.letter.clear();
            let progress =
                self.session.receive(&mut bench.scratch, input.clone(), &mut bench.letter, &config.site);
            input.start += progress.consumed;
            if let Some(News::Joins { name, opened }) = &progress.news
                && self.join(name, id, *opened, &mut bench.boards, now).is_err()
            {
                self.session.turn_away(&mut bench.letter);
                self.report(&News::Refused(Refusal::BoardFull));
                self.send(&bench.letter)?;
                return self.end(now);
            }
            if let Some(news) = &progress.news {
                // Before the reply: a client that has it and hangs up at once takes its address along.
                self.report(news);
                if matches!(news, News::Opened(_) | News::Joins { opened: Some(_), .. }) {
                    self.since = now;
                }
            }
            match progress.reply {
                Reply::Letter => self.send(&bench.letter)?,
                Reply::InPlace(reply) => {
                    self.send(&bench.scratch[reply])?;
                    if let Some(board) = self.board.filter(|_| !bench.letter.is_empty()) {
                        bench.boards.post(board, id, &bench.letter);
                    }
                }
            }
            if progress.ended {
                self.end(now)?;
            }
            if !progress.again {
                break;
            }
        }
        self.keep(bench, input);
        Ok(())
    }

    fn join(
        &mut self,
        name: &str,
        id: ConnId,
        opened: Option<Version>,
        boards: &mut Boards,
        now: Moment,
    ) -> Result<(), Full> {
        let framing = match opened {
            Some(Version::Hybi7 | Version::Hybi8 | Version::Hybi13) => Framing::Hybi,
            Some(Version::Hixie75 | Version::Hixie76) | None => Framing::Hixie,
        };
        self.board = Some(boards.join(name, id, framing, now)?);
        Ok(())
    }

    /// Tells a board's member what the others said; `None` when it took that, or could not be told yet.
    ///
    /// One that is too far behind is closed with 1008 instead: it must not slow the room, nor fill our memory.
    pub fn deliver(&mut self, bytes: &[u8], now: Moment) -> Option<Turn> {
        if self.session.age() != Age::Open {
            return None;
        }
        let behind = self.buffers.as_ref().map_or(0, |buffers| buffers.outbox.pending().len());
        if behind > 0 && behind + bytes.len() > MEMBER_BEHIND_MAX {
            self.tell(log::Level::Debug, format_args!("closed 1008: {behind} bytes behind its board"));
            return Some(self.close(close::POLICY_VIOLATION, "too far behind", now));
        }
        self.send(bytes).err().map(|_| Turn::Over)
    }

    /// Keeps what the session could not use yet, and lets go of buffers that hold nothing.
    fn keep(&mut self, bench: &Bench, input: Range<usize>) {
        if !input.is_empty() {
            self.buffers.get_or_insert_default().carry.extend_from_slice(&bench.scratch[input]);
        } else if self.outbox_is_empty() {
            self.buffers = None;
        }
    }

    /// Writes what waits; true when nothing is left.
    fn flush(&mut self, now: Moment) -> io::Result<bool> {
        let Some(buffers) = &mut self.buffers else {
            return Ok(true);
        };
        if buffers.outbox.is_empty() {
            return Ok(true);
        }
        if !self.writable {
            return Ok(false);
        }
        let count = write_some(&mut self.socket, buffers.outbox.pending())?;
        buffers.outbox.sent(count);
        if !buffers.outbox.is_empty() {
            self.writable = false;
        } else if buffers.carry.is_empty() {
            self.buffers = None;
        } else {
            buffers.outbox = Outbox::default();
        }
        if self.session.age() == Age::Closing {
            if count > 0 {
                self.since = now;
            }
            self.close_write()?;
        }
        Ok(self.writable)
    }

    /// Writes `bytes` behind everything said so far; what the kernel does not take goes to the outbox.
    #[inline]
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut count = 0;
        if self.outbox_is_empty() {
            count = write_some(&mut self.socket, bytes)?;
        }
        if count < bytes.len() {
            self.writable = false;
            self.buffers.get_or_insert_default().outbox.push(&bytes[count..]);
        }
        Ok(())
    }

    fn outbox_is_empty(&self) -> bool {
        self.buffers.as_ref().is_none_or(|buffers| buffers.outbox.is_empty())
    }

    /// Our last byte has been said: a FIN behind it, then the peer has [`LINGER`] to leave.
    fn end(&mut self, now: Moment) -> io::Result<()> {
        self.since = now;
        self.close_write()
    }

    fn close_write(&mut self) -> io::Result<()> {
        if self.outbox_is_empty() && !self.write_closed {
            self.write_closed = true;
            self.socket.shutdown_write()?;
        }
        Ok(())
    }

    /// Ends the conversation with a Close frame, where one can be sent.
    pub fn close(&mut self, code: u16, reason: &str, now: Moment) -> Turn {
        let was_open = self.session.age() == Age::Open;
        let said = match self.session.close(code, reason) {
            Some(frame) => self.send(&frame),
            // In the middle of a frame, or before any: there is no way to say it.
            None if was_open => return Turn::Over,
            None => {
                return if self.outbox_is_empty() { Turn::Over } else { Turn::Wait };
            }
        };
        match said.and_then(|()| self.end(now)) {
            Ok(()) => Turn::Wait,
            Err(_) => Turn::Over,
        }
    }

    /// When its patience ends.
    pub fn deadline(&self, config: &Config) -> Moment {
        let patience = match self.session.age() {
            Age::Policy => POLICY_TIMEOUT,
            Age::Greeting => config.handshake_timeout,
            Age::Closing => LINGER,
            Age::Open => {
                let ping = config.ping_interval.filter(|_| self.session.knows_ping());
                let ping = ping.map(|interval| if self.pinged { 2 * interval } else { interval });
                match [config.idle_timeout, ping].into_iter().flatten().min() {
                    Some(patience) => patience,
                    None => return Moment::NEVER,
                }
            }
        };
        self.since + patience
    }

    /// Its deadline has passed.
    pub fn expire(&mut self, config: &Config, now: Moment) -> Turn {
        if self.session.age() != Age::Open {
            self.tell(log::Level::Debug, format_args!("timed out: {:?}", self.session.age()));
            return Turn::Over;
        }
        let is_idle = config.idle_timeout.is_some_and(|timeout| self.since + timeout <= now);
        if is_idle {
            self.tell(log::Level::Debug, format_args!("closed 1001: idle"));
            return self.close(close::GOING_AWAY, "", now);
        }
        if self.pinged {
            self.tell(log::Level::Debug, format_args!("lost: no answer to a ping"));
            return Turn::Over;
        }
        self.pinged = true;
        // A peer that does not take its answers gets no ping on top; it has until the next interval all the same.
        let ping = self.session.ping().filter(|_| self.outbox_is_empty());
        match ping.map_or(Ok(()), |ping| self.send(&ping)) {
            Ok(()) => Turn::Wait,
            Err(_) => Turn::Over,
        }
    }

    fn report(&self, news: &News) {
        use log::Level::{Debug, Info};
        match news {
            News::Opened(version) => self.tell(Debug, format_args!("opened: {version:?}")),
            News::Refused(refusal) => self.tell(Info, format_args!("{refusal}")),
            News::Joins { name, .. } => self.tell(Debug, format_args!("joined board {name}")),
            News::Page(page) => self.tell(Debug, format_args!("sent a page: {page:?}")),
            News::Policy => self.tell(Debug, format_args!("sent the Flash policy")),
            News::NotPolicy => self.tell(Debug, format_args!("not a policy request")),
            News::Closed(code) => self.tell(Debug, format_args!("closed by the peer: {code:?}")),
            News::Quit => self.tell(Debug, format_args!("closed 1000: quit")),
            News::TooLong => self.tell(Debug, format_args!("closed: message too big")),
            News::Failed(fail) => self.tell(Debug, format_args!("closed {}: {}", fail.code(), fail.text())),
        }
    }

    fn tell(&self, level: log::Level, text: std::fmt::Arguments) {
        if log::enabled(level) {
            match self.socket.peer() {
                Some(peer) => log::line(level, format_args!("{text} ({peer})")),
                None => log::line(level, text),
            }
        }
    }

    /// Panics unless what the fields promise each other holds.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        use crate::proto::session::CARRY_MAX;
        if let Some(buffers) = &self.buffers {
            assert!(!buffers.carry.is_empty() || !buffers.outbox.is_empty(), "buffers that hold nothing");
            assert!(buffers.carry.len() <= CARRY_MAX, "carry of {}", buffers.carry.len());
            assert!(buffers.outbox.is_empty() || !self.writable, "an outbox and a socket that would take it");
        }
        assert!(!self.write_closed || self.session.age() == Age::Closing, "FIN sent in mid-conversation");
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
