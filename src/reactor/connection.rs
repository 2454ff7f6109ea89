//! One client: its conversation, and its patience's end.

mod patience;
#[cfg(feature = "tls")]
mod secure;
mod timed;
mod told;

use super::aside::Aside;
use super::boards::{BoardId, Boards, Framing, Full, READ_MAX};
use super::end::End;
use super::kernel::{Readiness, Stream};
use super::listener::Role;
use super::mark::Mark;
use super::memory::SHORT_READ;
use super::moment::Moment;
use super::shutdown::STOPPING;
use super::stats::{GivenUp, Kind, Side, Stats};
use super::transport::{Flushed, Received, Transport};
use super::turn::{Before, Context, Shared, Turn};
use crate::log::{self, Level};
use crate::proto::Version;
use crate::proto::framing::close_code;
use crate::proto::framing::frame::Header;
use crate::proto::handshake::Refusal;
use crate::proto::progress::{Event, Gathered, Reply};
use crate::proto::session::{Session, Stage};
use std::io;
use std::ops::{ControlFlow, Range};

/// Most bytes a board's member may be behind the others.
const MEMBER_BEHIND_MAX: usize = 256 * 1024;
/// A connected client.
#[derive(Debug)]
pub struct Connection<S> {
    /// Its byte stream.
    pub transport: Transport<S>,
    session: Session,
    /// When its stage began; of an open connection, when its last sign of life came.
    since: Moment,
    /// When its alarm rings.
    pub alarm: Moment,
    aside: Option<Box<Aside>>,
    /// What its patience was last measured against.
    mark: Mark,
    /// The half of its id that tells it from earlier users of its slot.
    pub serial: u32,
    /// What became of the Ping for its silence.
    ping: Ping,
    /// The server stops: it is told to go as soon as it has opened, or the frame at hand has ended.
    leaving: bool,
    /// What it is here for.
    pub kind: Kind,
    /// What it speaks, once that is agreed.
    pub version: Option<Version>,
}

/// How far a silent peer has been asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    No,
    /// There was no room for one behind the answers that the peer has not taken, or in the middle of a frame.
    Owed,
    Sent,
}

impl<S: Stream> Connection<S> {
    /// One that was just accepted.
    pub fn new(socket: S, serial: u32, role: Role, now: Moment) -> Connection<S> {
        Connection {
            transport: Transport::new(socket),
            session: role.session(),
            since: now,
            alarm: Moment::NEVER,
            aside: log::enabled(Level::Trace).then(Aside::traced),
            mark: Mark::default(),
            serial,
            ping: Ping::No,
            leaving: false,
            kind: role.kind(),
            version: None,
        }
    }

    /// Notes what an event says; acts on nothing.
    pub fn note(&mut self, event: &Readiness) {
        self.transport.note(event);
    }

    /// How far its conversation has come.
    pub fn stage(&self) -> Stage {
        self.session.stage()
    }

    /// The board on which others are to hear what it says.
    pub fn speaks_on(&self) -> Option<BoardId> {
        self.board().filter(|_| self.session.stage() == Stage::Open)
    }

    /// The board it is a member of.
    pub fn board(&self) -> Option<BoardId> {
        self.aside.as_ref()?.board
    }

    /// One turn: what waits is written; then, if the peer takes its answers, one read, one rewrite, one write.
    pub fn turn(&mut self, shared: &mut Shared, context: &Context) -> Turn {
        self.try_turn(shared, context).unwrap_or_else(|error| self.lost(&error))
    }

    /// A turn in which what waits is written and nothing is read; `None` if reading is what is left to do.
    pub fn write_turn(&mut self, shared: &mut Shared, context: &Context) -> Option<Turn> {
        match self.may_read(&mut shared.stats, context.now) {
            Ok(ControlFlow::Continue(_)) => None,
            Ok(ControlFlow::Break(turn)) => Some(turn),
            Err(error) => Some(self.lost(&error)),
        }
    }

    /// Whether it has not taken everything that a member of its board said. One that is told to go is not waited for.
    pub fn is_behind(&self) -> bool {
        self.session.stage() == Stage::Open && !self.transport.outbox_is_empty()
    }

    /// Whether it has not opened yet.
    pub fn is_new(&self) -> bool {
        matches!(self.session.stage(), Stage::Greeting | Stage::Policy)
    }

    fn try_turn(&mut self, shared: &mut Shared, context: &Context) -> io::Result<Turn> {
        let (mut most, mut is_timed) = (usize::MAX, false);
        if self.transport.keeps_something() || shared.stats.memory.is_short() {
            match self.may_read(&mut shared.stats, context.now)? {
                ControlFlow::Continue(allowed) => most = allowed,
                ControlFlow::Break(turn) => return Ok(turn),
            }
            is_timed = self.session.is_timed();
            if is_timed {
                match self.before_read(shared, context, most)? {
                    Before::Turn(turn) => return Ok(turn),
                    Before::Read(bytes) => most = most.min(bytes),
                }
            }
        }
        if !self.transport.is_readable() && most > 0 {
            return Ok(Turn::Wait);
        }
        let size = most.min(shared.turn_bytes());
        let size = if self.board().is_some() { size.min(READ_MAX) } else { size };
        #[cfg(feature = "tls")]
        let before = shared.stats.bytes_received;
        let (start, count) = match self.transport.receive(&mut shared.scratch, size, &mut shared.stats)? {
            Received::Bytes { start, count } => (start, count),
            #[cfg(feature = "tls")]
            Received::Part if !is_timed => return Ok(self.after_part(context.now)),
            #[cfg(feature = "tls")]
            Received::Fault => return self.fail_tls(shared, context),
            #[cfg(feature = "tls")]
            Received::Part => {
                let count = (shared.stats.bytes_received - before) as usize;
                return self.after_read(shared, context, count);
            }
            Received::Nothing if is_timed => return self.after_read(shared, context, 0),
            Received::Nothing => return Ok(Turn::Wait),
            Received::End if !self.transport.outbox_is_empty() => {
                // In the middle of a message that has no end: what was answered before it is still to be taken.
                self.transport.expect_input();
                return Ok(if self.transport.could_write() { Turn::Again } else { Turn::Wait });
            }
            Received::End => return self.hear_end(shared, context),
        };
        if std::mem::replace(&mut self.ping, Ping::No) == Ping::Owed {
            self.transport.look(Moment::NEVER, &mut shared.stats);
        }
        if self.session.stage() == Stage::Open {
            self.is_there(context.now);
        }
        if let Some(input) = self.assemble_input(shared, start, count) {
            self.process(shared, context, input)?;
        }
        if self.leaving
            && self.session.stage() == Stage::Open
            && let Some(turn) =
                self.try_close(close_code::GOING_AWAY, STOPPING, &mut shared.stats, context.now)
        {
            return Ok(turn);
        }
        if is_timed {
            // What was read of the wire: records are longer than what is in them.
            #[cfg(feature = "tls")]
            let count = (shared.stats.bytes_received - before) as usize;
            return self.after_read(shared, context, count);
        }
        let may_read =
            self.transport.is_readable() && (self.transport.outbox_is_empty() || self.missing() > 0);
        Ok(if may_read || self.transport.could_write() { Turn::Again } else { Turn::Wait })
    }

    /// Writes what waits; how many bytes may be read then, if any.
    ///
    /// From who does not take its answers nothing is read but the rest of the message in whose middle it is: the plainest client
    /// says all of it before it listens. And when memory is short, nobody adds to what is kept for it more than one small read.
    #[inline(never)]
    fn may_read(&mut self, stats: &mut Stats, now: Moment) -> io::Result<ControlFlow<Turn, usize>> {
        let untaken = self.transport.untaken();
        let flushed = self.transport.flush(stats)?;
        if matches!(self.session.stage(), Stage::Leaving | Stage::Closing) {
            if self.transport.untaken() < untaken {
                self.is_there(now);
            }
            self.close_write(stats)?;
        }
        let is_short = stats.memory.is_short();
        if flushed != Flushed::All {
            let missing = if is_short { 0 } else { self.missing() };
            if missing > 0 && self.transport.is_readable() {
                let most = missing.min(Shared::SCRATCH as u64) as usize;
                // Some of what is missing may have come, in a record that has not ended.
                #[cfg(feature = "tls")]
                let most = self.transport.rest_of_record().unwrap_or(most);
                return Ok(ControlFlow::Continue(most));
            }
            return Ok(ControlFlow::Break(if flushed == Flushed::More { Turn::Again } else { Turn::Wait }));
        }
        if !is_short || self.session.stage() == Stage::Closing {
            return Ok(ControlFlow::Continue(usize::MAX));
        }
        // What a member says is kept for all the others.
        let room =
            if self.board().is_some() { 0 } else { SHORT_READ.saturating_sub(self.transport.unfinished()) };
        // A program says what is due all the same: that is kept no longer.
        let may_go_on = room > 0 || self.session.is_timed();
        Ok(if may_go_on { ControlFlow::Continue(room) } else { ControlFlow::Break(Turn::Wait) })
    }

    /// Bytes that are surely still to come of the message in whose middle the peer is.
    fn missing(&self) -> u64 {
        self.session.missing(self.transport.carry())
    }

    /// Puts the carry in front of the `count` bytes at `start`; `None` when the two do not make anything to act on yet, and
    /// were only put together in the carry.
    fn assemble_input(&mut self, shared: &mut Shared, start: usize, count: usize) -> Option<Range<usize>> {
        let carried = self.transport.carry().len();
        let input = start - carried..start + count;
        if carried > 0 {
            let fresh = &shared.scratch[start..input.end];
            if !self.session.needs_processing(self.transport.carry(), fresh) {
                self.transport.carry_on(fresh, &mut shared.stats);
                return None;
            }
            self.transport.take_carry(&mut shared.scratch);
        }
        Some(input)
    }

    /// Runs what was read through the session, and sends what it answers.
    fn process(&mut self, shared: &mut Shared, context: &Context, mut input: Range<usize>) -> io::Result<()> {
        loop {
            shared.response.clear();
            let routes = &context.config.routes;
            let read = self.is_traced().then(|| shared.scratch[input.clone()].to_vec());
            let progress =
                self.session.receive(&mut shared.scratch, input.clone(), &mut shared.response, routes);
            if let Some(read) = read {
                self.trace(|trace, tell| trace.received(&read[..progress.consumed], tell));
            }
            input.start += progress.consumed;
            shared.stats.messages_received += u64::from(progress.messages);
            #[cfg(feature = "tls")]
            let is_proxied = matches!(progress.event, Some(Event::Proxied(_)));
            if let Some(event) = progress.event {
                self.on_event(event, shared, context);
            }
            #[cfg(feature = "tls")]
            if is_proxied && self.is_secured_behind_proxy() {
                return self.begin_tls(shared, input);
            }
            let mut again = progress.again;
            if progress.reply == Reply::Buffer && self.session.is_timed() {
                // What it says at once stands in one write with the answer; what is next, its next turn says.
                let was_late = self.is_late();
                self.speak(shared, context)?;
                // An answer that is late by nothing does not make the rest of the input wait for more.
                again |= was_late && !self.is_late();
                self.transport.expect_input();
                shared.response.clear();
            }
            let Shared { scratch, response, boards, stats, .. } = shared;
            match progress.reply {
                Reply::Buffer => self.send(response, stats)?,
                Reply::InPlace(reply) => {
                    #[cfg(not(feature = "tls"))]
                    self.send(&scratch[reply], stats)?;
                    #[cfg(feature = "tls")]
                    self.send_in_place(scratch, reply, input.start == input.end, stats)?;
                    match self.board() {
                        None => stats.messages_sent += u64::from(progress.messages),
                        Some(board) if !response.is_empty() => {
                            boards.publish(board, context.id, response, progress.messages, &mut stats.memory);
                        }
                        Some(_) => {}
                    }
                }
                Reply::Gathered(gathered) => {
                    stats.messages_sent += u64::from(progress.messages);
                    self.send_gathered(gathered, scratch, stats)?;
                }
            }
            let is_refused = self.session.stage() == Stage::Closing && !self.transport.write_closed();
            if progress.ended || is_refused {
                self.said_all(stats, context.now)?;
            }
            if !again {
                break;
            }
        }
        let Shared { scratch, stats, .. } = shared;
        self.transport.keep(&scratch[input], self.session.kept(), stats);
        Ok(())
    }

    #[inline(never)]
    fn send_gathered(&mut self, gathered: Gathered, scratch: &[u8], stats: &mut Stats) -> io::Result<()> {
        let reply = &scratch[gathered.reply];
        match gathered.release {
            Some(header) => self.release(header, reply, stats)?,
            None => self.send(reply, stats)?,
        }
        self.transport.gather(&scratch[gathered.keep], stats);
        if stats.memory.is_short() { self.give_out(stats) } else { Ok(()) }
    }

    /// Sends text that was gathered, behind its header and before `rest`.
    fn release(&mut self, header: Header, rest: &[u8], stats: &mut Stats) -> io::Result<()> {
        if self.is_traced() {
            let gathered: Vec<u8> = self.transport.gathered().flatten().copied().collect();
            self.trace(|trace, tell| {
                trace.sent(header.as_bytes(), tell);
                trace.sent(&gathered, tell);
                trace.sent(rest, tell);
            });
        }
        self.transport.release(header.as_bytes(), rest, stats)
    }

    /// Sends `bytes` behind everything said so far.
    #[inline]
    fn send(&mut self, bytes: &[u8], stats: &mut Stats) -> io::Result<()> {
        if self.is_traced() && !bytes.is_empty() {
            self.trace(|trace, tell| trace.sent(bytes, tell));
        }
        self.transport.send(bytes, stats)
    }

    /// Sends text that waits for the rest of its frame, where that makes a fragment large enough: memory is short.
    pub fn give_out(&mut self, stats: &mut Stats) -> io::Result<()> {
        match self.session.give_out() {
            Some(header) => self.release(header, &[], stats),
            None => Ok(()),
        }
    }

    /// Nothing will be said any more: what has come of a message that would have been answered is forgotten, and where the
    /// peer's Close is not awaited, the FIN follows.
    fn said_all(&mut self, stats: &mut Stats, now: Moment) -> io::Result<()> {
        self.is_there(now);
        if self.transport.keeps_something() {
            let passed = self.session.skip(self.transport.carry());
            self.transport.forget(passed, stats);
            self.transport.keep(&[], self.session.kept(), stats);
        }
        self.close_write(stats)
    }

    /// Sends the FIN, where nothing is left to say.
    fn close_write(&mut self, stats: &mut Stats) -> io::Result<()> {
        if self.session.stage() == Stage::Closing { self.transport.close_write(stats) } else { Ok(()) }
    }

    /// Counts and logs what happened, and does what it takes before the answer is sent.
    #[inline(never)]
    fn on_event(&mut self, event: Event, shared: &mut Shared, context: &Context) {
        let stats = &mut shared.stats;
        match event {
            Event::Proxied(client) => {
                if client.is_some() {
                    self.aside.get_or_insert_default().client = client;
                }
                self.log(Level::Debug, format_args!("came through a proxy"));
            }
            Event::NotProxied(why) => self.log(Level::Info, format_args!("{why}")),
            Event::Opened(version) => self.open(version, stats, context.now),
            Event::Knocks(name) if shared.boards.has_room(&name) => {}
            Event::Knocks(_) => self.refuse(shared),
            Event::Joins { name, version } => match self.join(&name, version, &mut shared.boards, context) {
                Ok(()) => {
                    self.log(Level::Debug, format_args!("joins board {name}"));
                    self.open(version, stats, context.now);
                }
                Err(Full) => self.refuse(shared),
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
            Event::Closes(code) => {
                stats.closed(Side::Server, code);
                match code {
                    Some(code) => self.log(Level::Debug, format_args!("closed {code}: its path asks for it")),
                    None => self.log(Level::Debug, format_args!("closed: its path asks for it")),
                }
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
        if self.board().is_some() {
            self.kind = Kind::Board;
        }
        self.version = Some(version);
        self.since = now;
        stats.opened(was, self.kind, version);
        self.introduce();
        self.log(Level::Debug, format_args!("opened: version {}", version.name()));
    }

    fn join(
        &mut self,
        name: &str,
        version: Version,
        boards: &mut Boards,
        context: &Context,
    ) -> Result<(), Full> {
        let framing = match version {
            Version::Hybi7 | Version::Hybi8 | Version::Hybi13 => Framing::Hybi,
            Version::Hixie75 | Version::Hixie76 => Framing::Hixie,
        };
        let board = boards.join(name, context.id, framing, context.now)?;
        self.aside.get_or_insert_default().board = Some(board);
        Ok(())
    }

    /// There is no room on the board.
    fn refuse(&mut self, shared: &mut Shared) {
        self.session.refuse(&mut shared.response);
        shared.stats.refused(&Refusal::BoardFull);
        self.log(Level::Info, format_args!("{}", Refusal::BoardFull));
    }

    /// Tells a board's member what the others said, `messages` in all; what is left to do if it was not simply told.
    ///
    /// One that is too far behind is closed with 1008 instead: it must not slow the room, nor fill our memory.
    pub fn deliver(&mut self, bytes: &[u8], messages: u32, stats: &mut Stats, now: Moment) -> Option<Turn> {
        if self.session.stage() != Stage::Open {
            return None;
        }
        let behind = self.transport.untaken();
        if behind > 0 && behind + bytes.len() > MEMBER_BEHIND_MAX {
            self.log(Level::Debug, format_args!("closed 1008: {behind} bytes behind its board"));
            stats.given_up(GivenUp::Behind);
            return self.try_close(close_code::POLICY_VIOLATION, "too far behind", stats, now);
        }
        let sent = self.send(bytes, stats);
        stats.messages_sent += u64::from(messages);
        sent.err().map(|error| self.lost(&error))
    }

    /// Tells it to go, as soon as that can be said.
    pub fn leave(&mut self, reason: &str, stats: &mut Stats, now: Moment) -> Turn {
        match self.session.stage() {
            Stage::Open => {}
            // It is leaving already, and has its time for that.
            Stage::Leaving | Stage::Closing => return Turn::Wait,
            Stage::Greeting => {
                self.leaving = true;
                self.since = now;
                return Turn::Wait;
            }
            Stage::Policy => return Turn::Over(End::Shutdown),
        }
        // In the middle of a frame there is no way to say it: when it has ended.
        self.leaving = true;
        self.try_close(close_code::GOING_AWAY, reason, stats, now).unwrap_or(Turn::Wait)
    }

    /// Ends an open conversation with a Close frame; `None` in the middle of a frame, where none can be sent.
    #[inline(never)]
    fn try_close(&mut self, code: u16, reason: &str, stats: &mut Stats, now: Moment) -> Option<Turn> {
        let frame = self.session.close(code, reason)?;
        stats.closed(Side::Server, Some(code));
        let said = self.send(&frame, stats).and_then(|()| self.said_all(stats, now));
        Some(said.map_or_else(|error| self.lost(&error), |()| Turn::Wait))
    }

    /// What could be given up of it, memory being short; `None` where nothing is kept, or what is kept is on its way out.
    pub fn burden(&mut self, now: Moment) -> Option<Burden> {
        if !self.transport.keeps_something() || self.transport.is_draining(now) {
            return None;
        }
        let is_unfinished = self.transport.unfinished() > 0 || self.missing() > 0;
        let what = if is_unfinished { GivenUp::Unfinished } else { GivenUp::Untaken };
        Some(Burden { what, bytes: self.transport.allocated() })
    }

    /// It is the one that is given up.
    pub fn give_up(&mut self, what: GivenUp, stats: &mut Stats, now: Moment) -> Turn {
        self.log(
            Level::Debug,
            format_args!("given up: memory is short, {} bytes", self.transport.allocated()),
        );
        stats.given_up(what);
        let can_be_told = what == GivenUp::Unfinished && self.transport.outbox_is_empty();
        let told = can_be_told && self.session.stage() == Stage::Open;
        let told = told
            .then(|| self.try_close(close_code::TRY_AGAIN_LATER, "memory is short", stats, now))
            .flatten();
        told.unwrap_or(Turn::Over(End::GivenUp))
    }

    /// It is gone: what it held is no longer held, and it is no longer open.
    pub fn finish(&mut self, end: End, stats: &mut Stats) {
        self.transport.drop_kept(stats);
        stats.ended(self.kind, self.version, end);
    }

    #[cold]
    fn lost(&self, error: &io::Error) -> Turn {
        self.log(Level::Debug, format_args!("lost: {error}"));
        Turn::Over(End::Error)
    }

    /// Panics unless what the fields promise each other holds.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        self.transport.assert_invariants();
        let is_marked = self.transport.keeps_something();
        assert!(is_marked || !self.session.is_timed(), "timed, and not marked by what is kept");
        let is_closing = self.session.stage() == Stage::Closing || self.session.is_timed();
        assert!(!self.transport.write_closed() || is_closing, "FIN sent in mid-conversation");
    }
}

/// What is kept for a connection, and what of it could be given up.
#[derive(Debug, Clone, Copy)]
pub struct Burden {
    /// What would be given up.
    pub what: GivenUp,
    /// How much that frees.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_costs_little() {
        // With its alarm, its place in the run queue and in the slab, less than 128 bytes.
        let tls = if cfg!(feature = "tls") { size_of::<usize>() } else { 0 };
        assert_eq!(size_of::<Connection<[u8; 8]>>(), 104 + tls);
    }
}
