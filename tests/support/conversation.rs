//! One client's connection: the code that the reactor runs, over a socket made of two buffers.

use super::wire::masked;
use fastrand::Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use wsecho::proto::session::Stage;
use wsecho::reactor::config::Config;
use wsecho::reactor::connection::Connection;
use wsecho::reactor::end::End;
use wsecho::reactor::kernel::{InFlight, Readiness, Stream, Vitals};
use wsecho::reactor::listener::Role;
use wsecho::reactor::moment::Moment;
use wsecho::reactor::token::{ConnId, Source};
use wsecho::reactor::turn::{Context, Shared, Turn};

const ID: ConnId = ConnId { key: 0, serial: 1 };

/// A conversation with the server, from accept to its FIN.
pub struct Conversation<'a> {
    connection: Connection<Socket>,
    wire: Rc<RefCell<Wire>>,
    shared: Shared,
    config: &'a Config,
    now: Moment,
    /// Why the server has dropped the connection, once it has.
    over: Option<End>,
    answers_close: bool,
    /// Everything the client has said.
    said: Vec<u8>,
}

/// What a client has seen, and when: milliseconds since it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// What one write of the server brought.
    Bytes(u64, Vec<u8>),
    Fin(u64),
    Reset(u64),
}

#[derive(Debug)]
struct Wire {
    arrived: VecDeque<u8>,
    answered: Vec<u8>,
    answered_at: u64,
    seen: Vec<Seen>,
    /// In milliseconds.
    now: u64,
    fin: bool,
    /// The client's FIN stands behind what has arrived.
    client_fin: bool,
    /// Since when nothing that is said arrives, in milliseconds, and until when.
    lost: Range<u64>,
    /// Bytes that the client still takes.
    room: usize,
    /// Makes writes short; without it they never are.
    miser: Option<Rng>,
    is_full: bool,
}

#[derive(Debug)]
struct Socket(Rc<RefCell<Wire>>);

impl<'a> Conversation<'a> {
    /// A client that was just accepted. `miser`, if any, decides how little each write takes.
    pub fn new(role: Role, config: &'a Config, miser: Option<Rng>) -> Conversation<'a> {
        let mut shared = Shared::new(config);
        shared.stats.accepted(role.kind());
        let wire = Wire {
            arrived: VecDeque::new(),
            answered: Vec::new(),
            answered_at: 0,
            seen: Vec::new(),
            now: 0,
            fin: false,
            client_fin: false,
            lost: 0..0,
            room: usize::MAX,
            miser,
            is_full: false,
        };
        let wire = Rc::new(RefCell::new(wire));
        let connection = Connection::new(Socket(wire.clone()), ID.serial, role, Moment(0));
        let now = Moment(0);
        Conversation {
            connection,
            wire,
            shared,
            config,
            now,
            over: None,
            answers_close: false,
            said: Vec::new(),
        }
    }

    /// Lets one segment arrive, and gives turns until nothing is left to do.
    pub fn say(&mut self, segment: &[u8]) {
        self.listen_to(segment);
        assert_eq!(self.over, None, "the server gave up on a client that is still there");
    }

    /// The same where the server may end the connection.
    pub fn listen_to(&mut self, segment: &[u8]) {
        if self.over.is_some() {
            return;
        }
        self.said.extend_from_slice(segment);
        self.wire.borrow_mut().arrived.extend(segment);
        self.note();
        let turn = self.connection.turn(&mut self.shared, &context(self.config, self.now));
        self.settle(turn);
    }

    /// The client sends its FIN.
    pub fn hang_up(&mut self) {
        self.wire.borrow_mut().client_fin = true;
        self.listen_to(&[]);
    }

    /// What is said from `from` on, in milliseconds, arrives at `until`.
    pub fn lose(&mut self, from: u64, until: u64) {
        self.wire.borrow_mut().lost = from..until;
    }

    /// The client takes so many bytes and no more.
    pub fn take_at_most(&mut self, bytes: usize) {
        self.wire.borrow_mut().room = bytes;
    }

    /// Lets time pass, up to `milliseconds` since the client was accepted, and the server do what it does by then.
    pub fn wait(&mut self, milliseconds: u64) {
        let until = Moment(1000 * milliseconds);
        let mut last = None;
        while self.over.is_none() {
            let alarm = self.connection.deadline(self.config);
            // One that is overdue, and stays so, rings again after a while, as in the reactor.
            let pause = if last == Some(alarm) { 1000 } else { 0 };
            let at = Moment(self.now.max(alarm).0.saturating_add(pause));
            if at > until {
                break;
            }
            last = Some(alarm);
            self.set_now(at);
            let turn = self.connection.ring(&mut self.shared, &context(self.config, self.now));
            self.settle(turn);
        }
        self.set_now(until);
    }

    /// Gives further turns for as long as there is something to do.
    fn settle(&mut self, mut turn: Turn) {
        loop {
            match turn {
                Turn::Over(end) => {
                    self.over = Some(end);
                    return;
                }
                Turn::Wait if self.answers_close && self.connection.stage() == Stage::Leaving => {
                    self.answers_close = false;
                    self.wire.borrow_mut().arrived.extend(masked(0x88, [1, 2, 3, 4], &[]));
                    self.note();
                }
                Turn::Wait if !self.wire.borrow().is_full => break,
                Turn::Wait => self.note(),
                Turn::Again => {}
            }
            turn = self.connection.turn(&mut self.shared, &context(self.config, self.now));
            self.connection.assert_invariants();
        }
    }

    fn note(&mut self) {
        let wire = self.wire.borrow();
        let (read_closed, writable) = (wire.client_fin, wire.is_full);
        let readable = read_closed || !wire.arrived.is_empty();
        drop(wire);
        self.connection.note(&Readiness { source: Source::Connection(ID), readable, writable, read_closed });
    }

    fn set_now(&mut self, now: Moment) {
        self.now = now;
        self.wire.borrow_mut().now = now.0 / 1000;
    }

    /// What the client has seen since it asked last.
    pub fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.wire.borrow_mut().seen)
    }

    /// What of the client's bytes was not read.
    pub fn unread(&self) -> usize {
        self.wire.borrow().arrived.len()
    }

    /// Bytes that the server says it keeps for its clients.
    pub fn kept(&self) -> u64 {
        self.shared.stats.memory.used() as u64
    }

    /// From now on the client answers the server's Close at once.
    pub fn answer_close(&mut self) {
        self.answers_close = true;
    }

    /// Why the server has dropped the connection.
    pub fn over(&self) -> Option<End> {
        self.over
    }

    /// Everything the server has said.
    pub fn heard(&self) -> Vec<u8> {
        self.wire.borrow().answered.clone()
    }

    /// Whether the server has said its last word: it sent its FIN, or its Close and waits for the peer's.
    pub fn ended(&self) -> bool {
        self.finished() || self.connection.stage() == Stage::Leaving
    }

    /// Whether the server sent its FIN.
    pub fn finished(&self) -> bool {
        self.wire.borrow().fin
    }
}

fn context(config: &Config, now: Moment) -> Context<'_> {
    Context { id: ID, config, now }
}

impl Drop for Conversation<'_> {
    /// Where fuzzing asks for it, what was said becomes an input to begin with: all of it, and what followed the handshake.
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os("WSECHO_CORPUS").map(PathBuf::from) else { return };
        let mut hasher = DefaultHasher::new();
        self.said.hash(&mut hasher);
        let keep = |target: &str, prefix: &[u8], bytes: &[u8]| {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).expect("a folder for the corpus");
            std::fs::write(folder.join(format!("{:016x}", hasher.finish())), [prefix, bytes].concat())
                .expect("a corpus");
        };
        keep("greeting", b"\0\x10", &self.said);
        if let Some(end) = self.said.windows(4).position(|window| window == b"\r\n\r\n") {
            keep("session", b"\0\x10", &self.said[end + 4..]);
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.arrived.is_empty() && wire.client_fin {
            return Ok(0);
        }
        if wire.arrived.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.arrived.read(buf)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.fin, "bytes behind the FIN");
        let count = match &mut wire.miser {
            Some(rng) => bytes.len().min(rng.usize(..=2 * bytes.len())),
            None => bytes.len().min(wire.room),
        };
        wire.room -= count;
        wire.answered.extend_from_slice(&bytes[..count]);
        if count > 0 {
            let now = wire.now;
            wire.answered_at = now;
            wire.seen.push(Seen::Bytes(now, bytes[..count].to_vec()));
        }
        wire.is_full = count < bytes.len() && wire.room > 0;
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.is_full, "a FIN before everything was said");
        assert!(!wire.fin, "a second FIN");
        wire.fin = true;
        let now = wire.now;
        wire.seen.push(Seen::Fin(now));
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        let now = wire.now;
        wire.seen.push(Seen::Reset(now));
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// Everything arrives at once, but for what is lost for a while.
    fn vitals(&self) -> Vitals {
        let wire = self.0.borrow();
        let (acked, heard) = (wire.answered.len() as u32, Duration::from_millis(wire.now - wire.answered_at));
        let is_lost = wire.lost.contains(&wire.answered_at) && wire.lost.contains(&wire.now);
        let in_flight = if is_lost { InFlight::Data } else { InFlight::Nothing };
        Vitals { acked, edge: acked, unsent: 0, unread: false, in_flight, heard, spoke: Duration::MAX }
    }
}
