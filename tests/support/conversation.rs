//! One client's connection: the code that the reactor runs, over a socket made of two buffers.

use fastrand::Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use wsecho::reactor::boards::Boards;
use wsecho::reactor::config::Config;
use wsecho::reactor::connection::Connection;
use wsecho::reactor::kernel::{Readiness, Stream};
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
    /// Everything the client has said.
    said: Vec<u8>,
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
        let mut shared = Shared::new(Boards::new(config.boards));
        shared.stats.accepted(role.kind());
        let (arrived, answered) = (VecDeque::new(), Vec::new());
        let wire = Rc::new(RefCell::new(Wire { arrived, answered, fin: false, miser, is_full: false }));
        let connection = Connection::new(Socket(wire.clone()), ID.serial, role, Moment(0));
        Conversation { connection, wire, shared, config, said: Vec::new() }
    }

    /// Lets one segment arrive, and gives turns until nothing is left to do.
    pub fn say(&mut self, segment: &[u8]) {
        self.said.extend_from_slice(segment);
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

    /// Whether the server sent its FIN.
    pub fn ended(&self) -> bool {
        self.wire.borrow().fin
    }
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
            std::fs::write(folder.join(format!("{:016x}", hasher.finish())), [prefix, bytes].concat()).expect("a corpus");
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
        assert!(!wire.is_full, "a read from a peer that does not take its answers");
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
}
