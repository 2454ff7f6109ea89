//! When a run begins, measures and ends.

use std::time::Duration;

use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::host::clock::{Moment, Nanos};

/// Live figures are renewed this often.
const TICK: Nanos = Nanos::millis(250);

/// The times of a run: the same for all of its threads.
#[derive(Clone, Copy, Debug)]
pub struct Timetable {
    /// When the schedule begins.
    pub begin: Moment,
    /// When measuring begins and when the last message is due.
    pub from: Moment,
    /// The end of the measured time.
    pub to: Moment,
    /// Replies count until then.
    pub until: Moment,
    /// From `from` to `to`.
    pub length: Duration,
    /// One row of the time series.
    pub interval: Nanos,
    /// What threads report at a time, and how many of these make a row.
    pub tick: Nanos,
    /// A row of the time series is so many ticks.
    pub ticks_per_row: u64,
}

impl Timetable {
    /// Of `plan`, not to begin before `earliest`.
    pub fn of(plan: &Plan, earliest: Moment) -> Timetable {
        let length = plan.rate.as_ref().and_then(Rate::length).unwrap_or(plan.duration);
        let begin = plan.start_at.map_or(earliest, |at| at.max(earliest));
        let from = begin + plan.warmup.into();
        let to = from + length.into();
        let interval = Nanos::from(plan.interval).max(Nanos::millis(1));
        let ticks_per_row = interval.0.div_ceil(TICK.0);
        Timetable {
            begin,
            from,
            to,
            until: to + plan.drain.into(),
            length,
            interval,
            tick: interval / ticks_per_row,
            ticks_per_row,
        }
    }
}
