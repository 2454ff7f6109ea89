//! The time series of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::plan::Plan;
use crate::engine::recorder::Recorder;
use crate::engine::schedule::Curve;
use crate::engine::timetable::Timetable;
use crate::host::clock::{Moment, Nanos};
use crate::host::procfs::{self, Cpu};
use crate::report::model::{Interval, Phase, ServerSample};

/// The time series, put together from ticks of all threads.
pub struct Rows {
    curve: Option<Arc<Curve>>,
    times: Timetable,
    threads: u64,
    warmup: f64,
    /// Ticks in the measured time.
    pub measured_ticks: u64,
    measured_rows: i64,
    share: f64,
    server_pid: Option<u32>,
    server_cpu: Option<(Moment, Cpu)>,
    open: BTreeMap<i64, PartialRow>,
    /// The rows that are whole.
    pub done: Vec<Interval>,
    shown: usize,
}

/// A row that is being put together.
#[derive(Default)]
pub struct PartialRow {
    /// Of all threads so far.
    pub recorder: Recorder,
    /// How many ticks are in it, of all threads.
    ticks: u64,
    held: u64,
}

impl Rows {
    /// Of a run with `times` of so many `threads`, which follow `curve`.
    pub fn new(plan: &Plan, curve: Option<Arc<Curve>>, times: &Timetable, threads: usize) -> Rows {
        let measured = times.to - times.from;
        Rows {
            curve,
            times: *times,
            threads: threads as u64,
            warmup: plan.warmup.as_secs_f64(),
            measured_ticks: measured.0 / times.tick.0,
            measured_rows: measured.0.div_ceil(times.interval.0) as i64,
            share: 1.0 / plan.shard.1 as f64,
            server_pid: plan.server_pid,
            server_cpu: plan.server_pid.and_then(|pid| Some((Moment::now(), procfs::cpu(pid)?))),
            open: BTreeMap::new(),
            done: Vec::new(),
            shown: 0,
        }
    }

    /// Adds what one thread recorded in a tick; `held` connections are open now.
    pub fn add(&mut self, tick: i64, recorder: &Recorder, held: u64) {
        let number = tick.div_euclid(self.times.ticks_per_row as i64);
        let all = self.times.ticks_per_row * self.threads;
        let row = self.row(number);
        row.recorder.add(recorder);
        row.ticks += 1;
        row.held = held;
        if row.ticks == all
            && let Some(row) = self.open.remove(&number)
        {
            self.emit(number, &row, self.times.interval);
        }
    }

    /// The row that is put together under `number`.
    pub fn row(&mut self, number: i64) -> &mut PartialRow {
        self.open.entry(number).or_default()
    }

    /// Ends the rows that are not full at `now`, when all is over.
    pub fn finish(&mut self, now: Moment) {
        for (number, row) in std::mem::take(&mut self.open) {
            // The last tick of a run ends with the last reply, so that its length is what is left until now.
            let full = self.times.tick * row.ticks.div_ceil(self.threads);
            let start = self.times.from.offset(number, self.times.interval);
            let len = match number {
                ..0 => full,
                _ => (now - start).clamp(Nanos(1), self.times.interval),
            };
            let counts = &row.recorder.counts;
            if counts.sent + counts.received + counts.errors() > 0 {
                self.emit(number, &row, len);
            }
        }
    }

    fn emit(&mut self, number: i64, row: &PartialRow, len: Nanos) {
        let recorder = &row.recorder;
        let start_ns = number * self.times.interval.0 as i64;
        let phase = match number {
            ..0 => Phase::Warmup,
            n if n < self.measured_rows => Phase::Run,
            _ => Phase::Drain,
        };
        let seconds = len.seconds();
        let begin = self.warmup + start_ns as f64 / 1e9;
        let rate = self.curve.as_ref().filter(|_| phase != Phase::Drain);
        let server = self.server_pid.and_then(|pid| {
            let (now, cpu) = (Moment::now(), procfs::cpu(pid)?);
            let (then, before) = self.server_cpu.replace((now, cpu))?;
            let cpu_pct = 100.0 * cpu.since(before).total() as f64 / (now - then).0.max(1) as f64;
            Some(ServerSample { cpu_pct, rss_bytes: procfs::rss(pid)? })
        });
        let counts = &recorder.counts;
        let waited = counts.idle_ns as f64 / (len.0 * self.threads) as f64;
        self.done.push(Interval {
            start_ns,
            len_ns: len.0,
            phase,
            target_rate: rate.map(|c| c.due_between(begin.max(0.0), begin + seconds) / seconds * self.share),
            achieved_rate: counts.sent as f64 / seconds,
            sent: counts.sent,
            received: counts.received,
            held: row.held,
            inflight: counts.inflight_ns as f64 / len.0 as f64,
            errors: counts.errors(),
            response: recorder.response.stat(),
            undisturbed: recorder.undisturbed.stat(),
            wire: recorder.wire.brief(),
            own_slip: recorder.own_slip.brief(),
            loop_busy_pct: (100.0 * (1.0 - waited)).clamp(0.0, 100.0),
            server,
        });
    }

    /// A row that was finished since last asked.
    pub fn fresh(&mut self) -> Option<&Interval> {
        let row = self.done.get(self.shown)?;
        self.shown += 1;
        Some(row)
    }
}
