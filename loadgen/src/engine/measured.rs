//! What a run found.

use crate::engine::commands::Outcome;
use crate::engine::deliveries::Collector;
use crate::engine::recorder::{Recorder, Times};
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
    /// What its threads knew when all was over.
    pub outcome: Outcome,
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
        let outcome = Outcome { held_min, ..Outcome::default() };
        Measured { to: Moment(1), outcome, interrupted, ..Measured::default() }
    }

    /// How long was measured.
    pub fn window(&self) -> Nanos {
        self.to - self.from
    }
}
