//! The time series of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::plan::Plan;
use crate::engine::recorder::Tally;
use crate::engine::schedule::Curve;
use crate::host::clock::{self, SECOND};
use crate::host::procfs::{self, Cpu};
use crate::report::model::{Interval, Phase, ServerSample};

/// The time series, put together from ticks of all threads.
pub struct Rows {
    curve: Option<Arc<Curve>>,
    from: u64,
    interval: u64,
    per_row: u64,
    threads: u64,
    warmup: f64,
    measured_rows: i64,
    share: f64,
    server_pid: Option<u32>,
    server_cpu: Option<(u64, Cpu)>,
    open: BTreeMap<i64, (Tally, u64, u64)>,
    pub done: Vec<Interval>,
    shown: usize,
}

impl Rows {
    pub fn new(
        plan: &Plan,
        curve: Option<Arc<Curve>>,
        from: u64,
        to: u64,
        interval: u64,
        per_row: u64,
        threads: usize,
    ) -> Rows {
        Rows {
            curve,
            from,
            interval,
            per_row,
            threads: threads as u64,
            warmup: plan.warmup.as_secs_f64(),
            measured_rows: (to - from).div_ceil(interval) as i64,
            share: 1.0 / plan.shard.1 as f64,
            server_pid: plan.server_pid,
            server_cpu: plan.server_pid.and_then(|pid| Some((clock::now(), procfs::cpu(pid)?))),
            open: BTreeMap::new(),
            done: Vec::new(),
            shown: 0,
        }
    }

    pub fn add(&mut self, tick: i64, tally: &Tally, held: u64) {
        let number = tick.div_euclid(self.per_row as i64);
        let row = self.row(number);
        row.0.add(tally);
        row.1 += 1;
        row.2 = held;
        if self.open[&number].1 == self.per_row * self.threads {
            let (tally, _, held) = self.open.remove(&number).expect("just filled");
            self.emit(number, &tally, held, self.interval);
        }
    }

    pub fn row(&mut self, number: i64) -> &mut (Tally, u64, u64) {
        self.open.entry(number).or_default()
    }

    /// Ends the rows that are not full.
    pub fn finish(&mut self) {
        for (number, (tally, ticks, held)) in std::mem::take(&mut self.open) {
            // The last tick of a run ends with the last reply, so that its length is what is left until now.
            let full = self.interval / self.per_row * ticks.div_ceil(self.threads);
            let start = self.from.saturating_add_signed(number * self.interval as i64);
            let len =
                if number < 0 { full } else { clock::now().saturating_sub(start).min(self.interval).max(1) };
            if tally.counts.sent + tally.counts.received + tally.counts.errors() > 0 {
                self.emit(number, &tally, held, len);
            }
        }
    }

    fn emit(&mut self, number: i64, tally: &Tally, held: u64, len_ns: u64) {
        let start_ns = number * self.interval as i64;
        let phase = match number {
            ..0 => Phase::Warmup,
            n if n < self.measured_rows => Phase::Run,
            _ => Phase::Drain,
        };
        let seconds = len_ns as f64 / SECOND as f64;
        let begin = self.warmup + start_ns as f64 / SECOND as f64;
        let rate = self.curve.as_ref().filter(|_| phase != Phase::Drain);
        let server = self.server_pid.and_then(|pid| {
            let (now, cpu) = (clock::now(), procfs::cpu(pid)?);
            let (then, before) = self.server_cpu.replace((now, cpu))?;
            let cpu_pct = 100.0 * cpu.since(before).total() as f64 / (now - then).max(1) as f64;
            Some(ServerSample { cpu_pct, rss_bytes: procfs::rss(pid)? })
        });
        let counts = &tally.counts;
        let waited = counts.idle_ns as f64 / (len_ns * self.threads) as f64;
        self.done.push(Interval {
            start_ns,
            len_ns,
            phase,
            target_rate: rate.map(|c| c.due_between(begin.max(0.0), begin + seconds) / seconds * self.share),
            achieved_rate: counts.sent as f64 / seconds,
            sent: counts.sent,
            received: counts.received,
            held,
            inflight: counts.inflight_ns as f64 / len_ns as f64,
            errors: counts.errors(),
            response: tally.response.stat(),
            wire: tally.wire.brief(),
            own_slip: tally.own_slip.brief(),
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
