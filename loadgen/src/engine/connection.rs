//! One connection.

use std::net::Shutdown;

use mio::net::TcpStream;

use crate::engine::in_flight::{List, NONE};
use crate::protocol::frame::Opcode;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    Connecting,
    Upgrading,
    Open,
    /// Our Close is sent.
    Closing,
    Gone,
}

/// One connection. Small, since there may be a million: whatever only a busy one needs is in a box or in the thread's
/// [`Pending`](crate::engine::in_flight::Pending) table.
pub struct Conn {
    pub stream: Option<TcpStream>,
    pub stage: Stage,
    /// Counts connects, so that each has its own key.
    pub attempt: u32,
    /// When the stage began.
    pub since: u64,
    /// Messages without a reply.
    pub pending: List,
    /// The oldest message not wholly written; its frame is in `outbox`.
    pub unsent: u32,
    pub next_index: u32,
    /// One more than the highest index that came back.
    pub seen: u32,
    /// Bytes the kernel would not take yet.
    pub outbox: Option<Box<Outbox>>,
    /// Bytes read that are not yet a message.
    pub rest: Option<Box<Rest>>,
}

const _: () =
    assert!(size_of::<Conn>() <= 80, "the promise is 256 bytes, and the kernel's structures are not small");

pub struct Outbox {
    pub bytes: Vec<u8>,
    pub written: usize,
    /// Bytes of the one message in it, if there is one.
    pub message: usize,
}

#[derive(Default)]
pub struct Rest {
    /// The beginning of a response head or of a frame.
    pub raw: Vec<u8>,
    /// The fragments of a message so far.
    pub message: Vec<u8>,
    pub opcode: Option<Opcode>,
    pub compressed: bool,
}

impl Conn {
    pub fn new(stream: Option<TcpStream>, now: u64) -> Conn {
        Conn {
            stream,
            stage: Stage::Connecting,
            attempt: 0,
            since: now,
            pending: List::default(),
            unsent: NONE,
            next_index: 0,
            seen: 0,
            outbox: None,
            rest: None,
        }
    }

    /// Lets the socket go; with `reset`, unread data and the peer's view are cut off at once (RST).
    pub fn drop_stream(&mut self, reset: bool) {
        if let Some(stream) = self.stream.take() {
            if reset {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
            } else {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.stage = Stage::Gone;
        self.outbox = None;
        self.rest = None;
    }
}
