//! What a run found.

use crate::engine::deliveries::Collector;
use crate::engine::opened::{Failures, Opening};
use crate::engine::recorder::{Recorder, Times};
use crate::engine::recovery::Recovery;
use crate::host::clock::{Moment, Nanos};
use crate::host::usage::Usage;
use crate::report::model::Interval;

/// What a run found.
#[derive(Default)]
pub struct Measured {
    /// Of the measured time.
    pub total: Recorder,
    /// The time series.
    pub intervals: Vec<Interval>,
    /// Why connections ended that should not have.
    pub failures: Failures,
    /// The fewest connections that were open.
    pub held_min: u64,
    /// Longest response by 10 ms of the schedule, microseconds.
    pub peaks: Vec<u32>,
    /// Of [`Recorder::wire`], the messages without a reply, at the age they had at the end.
    pub unanswered: Times,
    /// The fewest messages in flight in each quarter of the measured time.
    pub in_flight: [i64; 4],
    /// Connections that sent messages and never had an answer.
    pub silent: u64,
    /// Closed loop: messages that were out at the end though there was time for a reply.
    pub stuck: u64,
    /// Connections given up with their messages and opened anew.
    pub replaced: u64,
    /// How often the clock of the kernel's stamps was stepped.
    pub clock_steps: u64,
    /// Segments that had to be sent again, on the connections that were there at the end.
    pub sent_again: u64,
    /// What a storm came to.
    pub recovery: Option<Recovery>,
    /// How the connections that were opened anew went.
    pub reopened: Opening,
    /// What a fan-out delivered.
    pub collector: Option<Collector>,
    /// How late a bare timer was on this host.
    pub hiccup: Times,
    /// When measuring began and when the last message was due.
    pub from: Moment,
    /// The end of the measured time.
    pub to: Moment,
    /// Payloads due while measuring, by the schedule.
    pub scheduled: f64,
    /// What loadgen used in it.
    pub own: Usage,
    /// What the server used in it, where its process is known.
    pub server: Option<Usage>,
    /// Share of the time that the busiest thread did not wait, per cent.
    pub busy_pct: f64,
    /// A signal ended it.
    pub interrupted: bool,
}

impl Measured {
    /// Of a run that did not come about, with the connections that were open then.
    pub fn nothing(held_min: u64, interrupted: bool) -> Measured {
        Measured { to: Moment(1), held_min, interrupted, ..Measured::default() }
    }

    /// How long was measured.
    pub fn window(&self) -> Nanos {
        self.to - self.from
    }
}
