//! What every connection of a run has in common, and what anyone may see of a worker.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::engine::payload::{Matching, Payloads};
use crate::engine::target::Target;
use crate::host::clock::Nanos;
use crate::host::source_addresses::Sources;
use crate::protocol::session::Rules;

/// What all connections share.
pub struct Spec {
    pub targets: Vec<Target>,
    pub rules: Rules,
    pub sources: Sources,
    pub payloads: Payloads,
    /// Payload bytes a fragment.
    pub fragment: Option<usize>,
    pub verify: bool,
    /// A reply ends when the kernel has it rather than when it is read.
    pub kernel_stamps: bool,
    /// Payloads out on one connection, beyond which the next is not sent but counted.
    pub max_inflight: Option<u32>,
    /// A reply later than this counts as a timeout, and a closed loop waits no longer.
    pub timeout: Option<Nanos>,
    /// Between two pings on one connection.
    pub ping: Option<Nanos>,
    /// Connections started a second, by one thread.
    pub connect_rate: f64,
    /// Connections of one thread that may be under way at a time.
    pub connect_inflight: usize,
    /// From SYN to 101.
    pub connect_timeout: Nanos,
    /// How long before a message is due the thread stops sleeping.
    pub spin: Nanos,
    /// The thread does not sleep while replies are due.
    pub spin_read: bool,
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

    /// Where connection number `number` goes.
    pub fn target(&self, number: usize) -> &Target {
        &self.targets[number % self.targets.len()]
    }

    /// How replies are told from each other.
    pub fn matching(&self) -> Matching {
        self.payloads.matching(self.verify)
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
