//! What a run is to be.

use std::time::Duration;

use crate::engine::backoff::Backoff;
use crate::engine::schedule::{Arrival, Rate};

/// What to send: the same for every thread.
#[derive(Clone)]
pub struct Plan {
    /// `None`: closed loop.
    pub rate: Option<Rate>,
    /// In flight a connection, closed loop.
    pub pipeline: u32,
    pub arrival: Arrival,
    pub active: usize,
    pub warmup: Duration,
    pub duration: Duration,
    pub drain: Duration,
    pub interval: Duration,
    /// Number of this process, and of processes.
    pub shard: (usize, usize),
    /// `clock::now` of the beginning.
    pub start_at: Option<u64>,
    pub fanout: bool,
    /// Seconds into the measured time, whether to reset, and how to come back.
    pub storm: Option<(Duration, bool, Backoff)>,
    pub server_pid: Option<u32>,
}
