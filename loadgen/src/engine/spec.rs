//! What every connection of a run has in common, and what anyone may see of a worker.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::engine::conversation::{Listening, Talk};
use crate::engine::payload::{Matched, Matching, MessageId, Payloads};
use crate::engine::slow::SlowReaders;
use crate::engine::target::Target;
use crate::host::clock::Nanos;
use crate::host::source_addresses::Sources;
use crate::protocol::session::Rules;
use crate::protocol::template::{Template, Values};

/// What all connections share.
pub struct Spec {
    /// Connections take turns.
    pub targets: Vec<Target>,
    /// What a session asks for and takes.
    pub rules: Rules,
    /// The header lines of the request that have places in them, by their number among those of the rules.
    pub headers: Vec<(usize, Template)>,
    /// What is said beside the messages.
    pub talk: Talk,
    /// A connection is closed and opened anew after so many messages.
    pub messages_each: Option<u32>,
    /// Some clients read slowly.
    pub slow: Option<SlowReaders>,
    /// Nothing is sent: what comes is timed.
    pub listening: Option<Listening>,
    /// The first so many connections go to the first target, and the others to the others.
    pub publishers: Option<usize>,
    /// How replies are known, where they are no echo.
    pub matched: Option<Matched>,
    /// So many messages are the reply to one.
    pub replies: u32,
    /// Where connections come from.
    pub sources: Sources,
    /// What messages hold.
    pub payloads: Payloads,
    /// Payload bytes a fragment.
    pub fragment: Option<usize>,
    /// Replies are compared byte by byte.
    pub verify: bool,
    /// A reply ends when the kernel has it rather than when it is read.
    pub kernel_stamps: bool,
    /// Payloads out on one connection, beyond which the next is not sent but counted.
    pub max_inflight: Option<u32>,
    /// A reply later than this counts as a timeout, and a closed loop waits no longer.
    pub timeout: Option<Nanos>,
    /// In an outage: nothing has come for so long though something is owed.
    pub silence: Option<Nanos>,
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
    /// Of everything random.
    pub seed: u64,
    /// How many share the connections.
    pub threads: usize,
    /// Number of this process's first connection among those of a sharded run.
    pub first: usize,
    /// Number of this process among those of a sharded run, from 1.
    pub shard: usize,
    /// What the wall clock shows (nanoseconds since 1970) more than the engine's, as it was at the start.
    pub wall_offset: u64,
}

impl Spec {
    /// The number, over the whole run, of connection `i` of thread `me`.
    pub fn number(&self, me: usize, i: usize) -> usize {
        self.first + i * self.threads + me
    }

    /// Whether connection number `number` reads slowly.
    pub fn is_slow(&self, number: usize) -> bool {
        self.slow.is_some_and(|slow| slow.has(number))
    }

    /// Where connection number `number` goes.
    pub fn target(&self, number: usize) -> &Target {
        match (self.publishers, &self.targets[..]) {
            (Some(publishers), [first, ..]) if number < publishers => first,
            (Some(_), [_, others @ ..]) if !others.is_empty() => &others[number % others.len()],
            (_, all) => &all[number % all.len()],
        }
    }

    /// How replies are told from each other.
    pub fn matching(&self) -> Matching {
        match &self.matched {
            None => self.payloads.matching(self.verify),
            Some(Matched::Any) => Matching::Order,
            Some(Matched::Number { .. }) => Matching::Number,
        }
    }

    /// What is filled into message `id`, number `seq` of its connection.
    pub fn values<'a>(
        &self,
        id: MessageId,
        seq: u64,
        wall: u64,
        stamp: &'a [u8],
        kept: &'a [Vec<u8>],
        rng: &'a mut fastrand::Rng,
    ) -> Values<'a> {
        Values { conn: u64::from(id.conn), seq, shard: self.shard as u64, now: wall, stamp, kept, rng }
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
    /// Connections that could not be opened.
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
