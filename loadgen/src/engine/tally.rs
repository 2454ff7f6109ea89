//! A run put together from what its threads tell.

use std::sync::Arc;

use crate::engine::commands::{Outcome, TickReport};
use crate::engine::measured::Measured;
use crate::engine::plan::Plan;
use crate::engine::schedule::Curve;
use crate::engine::time_series::Rows;
use crate::engine::timetable::Timetable;
use crate::host::clock::{Moment, Nanos};

/// What was told so far. It looks at no clock, so that a simulated run is put together by it as well.
pub struct Tally {
    /// The time series.
    pub rows: Rows,
    /// All of the measured time.
    pub measured: Measured,
    times: Timetable,
    /// Messages due while measuring, by the schedule.
    scheduled: f64,
    /// Time each thread has waited while measuring.
    idle: Vec<Nanos>,
}

impl Tally {
    /// Of a run of `plan` with `times` by so many `threads`, which follow `curve`.
    pub fn new(plan: &Plan, curve: Option<Arc<Curve>>, times: &Timetable, threads: usize) -> Tally {
        let scheduled = curve.as_ref().map_or(0.0, |curve| {
            let warmup = plan.warmup.as_secs_f64();
            curve.due_between(warmup, warmup + times.length.as_secs_f64()) / plan.shard.1 as f64
        });
        Tally {
            rows: Rows::new(plan, curve, times, threads),
            measured: Measured::default(),
            times: *times,
            scheduled,
            idle: vec![Nanos(0); threads],
        }
    }

    /// What `thread` recorded in a tick; `held` connections are open now.
    pub fn tick(&mut self, thread: usize, report: &TickReport, held: u64) {
        let TickReport { number, measured, warmup } = report;
        self.measured.total.add(measured);
        self.idle[thread] += Nanos(measured.counts.idle_inside_ns);
        self.rows.add(*number, if *number < 0 { warmup } else { measured }, held);
        if *number < 0 {
            // Measuring began before the last tick of the warm-up was handed over.
            self.rows.row(0).recorder.add(measured);
        }
    }

    /// A thread is done.
    pub fn finished(&mut self, outcome: Outcome) {
        self.measured.outcome.add(outcome);
    }

    /// All that was found, when every thread is done, at `now`.
    pub fn settle(self, now: Moment) -> Measured {
        let Tally { rows, mut measured, times, scheduled, idle } = self;
        let window = times.to.min(now) - times.from;
        let least_idle = idle.into_iter().min().unwrap_or_default();
        // A run that ended in its warm-up measured nothing.
        if window > Nanos(0) {
            measured.busy_pct = (100.0 * (1.0 - least_idle.seconds() / window.seconds())).clamp(0.0, 100.0);
        }
        measured.intervals = rows.done;
        (measured.from, measured.to) = (times.from, times.to);
        measured.scheduled = scheduled;
        measured
    }
}
