//! One connection, and what every connection of a run has in common.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use mio::net::TcpStream;

use crate::engine::in_flight::{List, NONE};
use crate::engine::payload::Messages;
use crate::engine::recorder::Times;
use crate::engine::target::Target;
use crate::host::source_addresses::Sources;
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::Extras;

/// What all connections share.
pub struct Spec {
    pub targets: Vec<Target>,
    pub extras: Extras,
    pub sources: Sources,
    pub messages: Messages,
    /// Payload bytes a fragment.
    pub fragment: Option<usize>,
    pub verify: bool,
    /// Messages out on one connection, beyond which the next is not sent but counted.
    pub max_inflight: Option<u32>,
    /// A reply later than this counts as a timeout, nanoseconds.
    pub timeout: Option<u64>,
    /// Between two pings on one connection, nanoseconds.
    pub ping: Option<u64>,
    /// Connections started a second, by one thread.
    pub connect_rate: f64,
    /// Connections of one thread that may be under way at a time.
    pub connect_inflight: usize,
    /// From SYN to 101, nanoseconds.
    pub connect_timeout: u64,
    /// How long before a message is due the thread stops sleeping, nanoseconds.
    pub spin: u64,
    pub seed: u64,
    pub threads: usize,
    /// Number of this process's first connection among those of a sharded run.
    pub first: usize,
}

impl Spec {
    /// The number, over the whole run, of connection `i` of thread `me`.
    pub fn number(&self, me: usize, i: usize) -> usize {
        self.first + i * self.threads + me
    }

    /// How many of `n` connections are thread `me`'s.
    pub fn share(&self, me: usize, n: usize) -> usize {
        (n + self.threads - 1 - me) / self.threads
    }
}

/// What a thread is doing, for anyone to look at meanwhile.
#[derive(Default)]
pub struct Gauges {
    /// Open WebSockets.
    pub held: AtomicU64,
    pub failed: AtomicU64,
    /// Written and not yet answered.
    pub inflight: AtomicI64,
}

impl Gauges {
    /// One writer each, so a plain store does.
    pub fn set_inflight(&self, n: i64) {
        self.inflight.store(n, Ordering::Relaxed);
    }
}

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

/// How the opening of connections went.
#[derive(Default)]
pub struct Opening {
    /// SYN -> connected.
    pub connect: Times,
    /// GET -> 101.
    pub upgrade: Times,
    pub opened: u64,
    pub failures: Failures,
    /// When the first connect began and the last upgrade ended.
    pub began: Option<u64>,
    pub ended: u64,
}

impl Opening {
    pub fn add(&mut self, other: &Opening) {
        self.connect.add(&other.connect);
        self.upgrade.add(&other.upgrade);
        self.opened += other.opened;
        add(&mut self.failures, &other.failures);
        self.began = self.began.into_iter().chain(other.began).min();
        self.ended = self.ended.max(other.ended);
    }
}

/// Reason -> number of connections.
pub type Failures = BTreeMap<String, u64>;

/// Adds `more` to `all`.
pub fn add(all: &mut Failures, more: &Failures) {
    for (reason, n) in more {
        *all.entry(reason.clone()).or_default() += n;
    }
}

/// An I/O error in the words of the system, without its number.
pub fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::EADDRNOTAVAIL as i32 => {
            format!("{text}: source ports used up (--source, net.ipv4.ip_local_port_range)")
        }
        Some(code) if code == nix::errno::Errno::EMFILE as i32 => format!("{text} (ulimit -n)"),
        _ => text.to_owned(),
    }
}
