//! What every connection of a run has in common, and what anyone may see of a worker.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::engine::payload::Messages;
use crate::engine::target::Target;
use crate::host::source_addresses::Sources;
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
