//! One client's connection: the code that the reactor runs, over a socket made of two buffers.

use fastrand::Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wsecho::proto::session::Stage;
use wsecho::reactor::config::Config;
use wsecho::reactor::connection::Connection;
use wsecho::reactor::kernel::{Readiness, Stream, Vitals};
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
}

#[derive(Debug)]
struct Wire {
    arrived: VecDeque<u8>,
    answered: Vec<u8>,
    fin: bool,
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
        let (arrived, answered) = (VecDeque::new(), Vec::new());
        let wire = Rc::new(RefCell::new(Wire { arrived, answered, fin: false, miser, is_full: false }));
        let connection = Connection::new(Socket(wire.clone()), ID.serial, role, Moment(0));
        Conversation { connection, wire, shared, config }
    }

    /// Lets one segment arrive, and gives turns until nothing is left to do.
    pub fn say(&mut self, segment: &[u8]) {
        self.wire.borrow_mut().arrived.extend(segment);
        loop {
            let (readable, writable) = (!self.wire.borrow().arrived.is_empty(), self.wire.borrow().is_full);
            if !readable && !writable {
                return;
            }
            let source = Source::Connection(ID);
            self.connection.note(&Readiness { source, readable, writable, read_closed: false });
            let turn = self
                .connection
                .turn(&mut self.shared, &Context { id: ID, config: self.config, now: Moment(0) });
            assert!(!matches!(turn, Turn::Over(_)), "the server gave up on a client that is still there");
            self.connection.assert_invariants();
        }
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

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
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
            None => bytes.len(),
        };
        wire.answered.extend_from_slice(&bytes[..count]);
        wire.is_full = count < bytes.len();
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
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn vitals(&self) -> Vitals {
        let (acked, heard) = (self.0.borrow().answered.len() as u32, Duration::ZERO);
        Vitals { acked, edge: acked, unsent: 0, in_flight: false, heard, spoke: heard }
    }
}
