//! What a run is to be.

use std::time::Duration;

use crate::engine::backoff::Backoff;
use crate::engine::schedule::{ArrivalProcess, Rate};
use crate::engine::think::Think;
use crate::host::clock::Moment;

/// What to send: the same for every thread.
#[derive(Clone)]
pub struct Plan {
    /// `None`: closed loop.
    pub rate: Option<Rate>,
    /// In flight a connection, closed loop.
    pub pipeline: u32,
    /// Between a reply and the next message of its connection, closed loop.
    pub think: Option<Think>,
    /// How messages are spread over the schedule.
    pub arrival: ArrivalProcess,
    /// How many connections send.
    pub active: usize,
    /// Sent before the measured time.
    pub warmup: Duration,
    /// The measured time.
    pub duration: Duration,
    /// How long the last replies are waited for.
    pub drain: Duration,
    /// Length of a row of the time series.
    pub interval: Duration,
    /// Number of this process, and of processes.
    pub shard: (usize, usize),
    /// When to begin, if not as soon as possible.
    pub start_at: Option<Moment>,
    /// Messages go to everyone, or to all but so many that send.
    pub fanout: Option<Audience>,
    /// What goes wrong meanwhile.
    pub storm: Option<Outage>,
    /// Whose CPU and memory are sampled.
    pub server_pid: Option<u32>,
}

/// Who gets what is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// Every connection but the one that sent it.
    Others,
    /// Every connection but the first so many, which send.
    Subscribers(u64),
}

/// All connections but those that send are dropped.
#[derive(Clone)]
pub struct Outage {
    /// How far into the measured time.
    pub after: Duration,
    /// Cut off (RST) rather than closed.
    pub reset: bool,
    /// Nothing is dropped: the server goes away and comes back by itself, which is watched from then on.
    pub server: bool,
    /// When those that were dropped try again.
    pub backoff: Backoff,
}
