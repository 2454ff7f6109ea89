//! Two reports side by side: the same within noise, better, or a regression.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::format;
use super::model::{Config, Interval, Mode, Phase, Report, Status};
use super::text::status_word;

/// What changed from one report to the other.
#[derive(Debug)]
pub struct Comparison {
    pub rows: Vec<Row>,
    /// Why the two should not be compared at all, or only with care.
    pub warnings: Vec<String>,
    /// Why nothing was judged: a run is INVALID, so that its numbers are not the server's, or the two were given
    /// different rates, so that their times say nothing about each other.
    pub obstacle: Option<String>,
    noise: f64,
    names: [String; 2],
}

/// One number of both reports.
#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub old: f64,
    pub new: f64,
    /// 95 % confidence interval of `new / old - 1`, when there is enough to tell.
    pub ci95: Option<[f64; 2]>,
    pub change: Change,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Smaller than the noise threshold.
    Same,
    /// Larger, but the interval includes no change at all (or there is no interval).
    Noise,
    Better,
    Regression,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Time,
    Rate,
    Bytes,
    Percent,
}

impl Unit {
    fn show(self, x: f64) -> String {
        match self {
            Unit::Time => format::time(x),
            Unit::Rate => format!("{}/s", format::short(x)),
            Unit::Bytes => format::bytes(x),
            Unit::Percent => format!("{x:.1}%"),
        }
    }

    fn more_is_better(self) -> bool {
        self == Unit::Rate
    }
}

/// Compares what both reports have: percentiles and mean of the response time, achieved rate, server CPU and memory a
/// connection. `noise` is the smallest change worth mentioning, as a fraction.
///
/// Intervals come from a block bootstrap: each run's time series is drawn again 1,000 times from its own intervals,
/// whole intervals at a time, since messages next to each other share their fate. They cover these two
/// runs, not what differs from one run to the next.
pub fn reports(old: &Report, new: &Report, noise: f64) -> Comparison {
    let mut rows = latency_rows(old, new);
    let rates = |r: &Report| series(r, |i| Some(i.achieved_rate));
    rows.push(Row::new(
        "rate",
        Unit::Rate,
        [old.messages.achieved_rate, new.messages.achieved_rate],
        mean_interval(&rates(old), &rates(new)),
    ));
    if let (Some(a), Some(b)) = (&old.server, &new.server) {
        let cpu = |r: &Report| series(r, |i| Some(i.server?.cpu_pct));
        let interval = mean_interval(&cpu(old), &cpu(new));
        rows.push(Row::new("server cpu", Unit::Percent, [a.cpu_pct, b.cpu_pct], interval));
    }
    if let (Some(a), Some(b)) = (memory(old), memory(new)) {
        let interval = ratio_interval(a.ci95, b.ci95);
        rows.push(Row::new("rss/conn", Unit::Bytes, [a.slope, b.slope], interval));
    }
    rows.retain(|row| row.old > 0.0);
    for row in &mut rows {
        row.judge(noise);
    }
    Comparison {
        rows,
        warnings: warnings(old, new),
        obstacle: obstacle(old, new),
        noise,
        names: [label(old, "old"), label(new, "new")],
    }
}

impl Comparison {
    /// The rows that got worse. Of runs that cannot be compared this says nothing: see [`Comparison::obstacle`].
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.change == Change::Regression)
    }

    /// Why this comparison is to fail whoever asked for it, in one line: what got worse, or why nothing was judged.
    pub fn failure(&self) -> Option<String> {
        if let Some(why) = &self.obstacle {
            return Some(format!("the comparison was not judged: {why}"));
        }
        let worse: Vec<&str> = self.regressions().map(|row| row.what.as_str()).collect();
        (!worse.is_empty()).then(|| format!("regression: {}", worse.join(", ")))
    }

    /// A table for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for warning in &self.warnings {
            let _ = writeln!(out, "NOTE     {warning}");
        }
        let [old, new] = &self.names;
        let _ = writeln!(out, "{:12}{old:>14}{new:>14}{:>10}   {:20}verdict", "", "change", "95% CI");
        for row in &self.rows {
            let interval = row.ci95.map_or("-".into(), |[low, high]| {
                format!("[{}, {}]", format::change(low), format::change(high))
            });
            let verdict = match row.change {
                _ if self.obstacle.is_some() => "not judged".into(),
                Change::Same => format!("same (within {:.1}%)", self.noise * 100.0),
                Change::Noise => "within noise".into(),
                Change::Better => "better".into(),
                Change::Regression => "REGRESSION".into(),
            };
            let _ = writeln!(
                out,
                "{:12}{:>14}{:>14}{:>10}   {interval:20} {verdict}",
                row.what,
                row.unit.show(row.old),
                row.unit.show(row.new),
                format::change(row.new / row.old - 1.0)
            );
        }
        out.push_str("The intervals cover these two runs, not what differs from one run to the next: repeat to be sure.\n");
        out
    }
}

impl Row {
    fn new(what: &str, unit: Unit, [old, new]: [f64; 2], ci95: Option<[f64; 2]>) -> Row {
        Row { what: what.into(), old, new, ci95, change: Change::Same, unit }
    }

    fn judge(&mut self, noise: f64) {
        let change = self.new / self.old - 1.0;
        let [low, high] = self.ci95.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        self.change = if change.abs() <= noise {
            Change::Same
        } else if low <= 0.0 && high >= 0.0 {
            Change::Noise
        } else if (change > 0.0) == self.unit.more_is_better() {
            Change::Better
        } else {
            Change::Regression
        };
    }
}

fn label(report: &Report, otherwise: &str) -> String {
    let name = report.run.name.clone().unwrap_or_else(|| otherwise.into());
    name.chars().take(13).collect()
}

fn memory(report: &Report) -> Option<super::stats::Slope> {
    let of_run = report.server.as_ref().and_then(|s| s.bytes_per_connection);
    of_run.or(report.conns.as_ref().and_then(|c| c.slope))
}

fn obstacle(old: &Report, new: &Report) -> Option<String> {
    // The rate of a search is what it found.
    let found = old.config.mode == Mode::Find && new.config.mode == Mode::Find;
    let (a, b) = (&old.config, &new.config);
    if (a.rate != b.rate || a.rate_plan != b.rate_plan) && !found {
        let plan = |c: &Config| match (&c.rate_plan, c.rate) {
            (Some(plan), _) => plan.clone(),
            (None, Some(rate)) => format!("{}/s", format::short(rate)),
            (None, None) => "none (closed loop)".to_owned(),
        };
        return Some(format!("the runs were given different rates, {} and {}", plan(a), plan(b)));
    }
    let (which, invalid) =
        [("old", old), ("new", new)].into_iter().find(|(_, r)| r.verdict.status == Status::Invalid)?;
    let reason = invalid.verdict.reasons.first().map_or("", |r| &r.text);
    Some(format!("the {which} run is INVALID: {reason}"))
}

fn warnings(old: &Report, new: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    for (which, report) in [("old", old), ("new", new)] {
        if report.verdict.status > Status::Valid {
            let reason = report.verdict.reasons.first().map_or("", |r| &r.text);
            warnings.push(format!("the {which} run is {}: {reason}", status_word(report.verdict.status)));
        }
        if report.run.interrupted {
            warnings.push(format!("the {which} run was interrupted"));
        }
    }
    let (a, b) = (&old.config, &new.config);
    let differences = [
        ("mode", a.mode != b.mode),
        ("connections", a.connections != b.connections || a.active != b.active),
        ("rate", a.rate != b.rate || a.rate_plan != b.rate_plan || a.arrival != b.arrival),
        ("pipeline", a.pipeline != b.pipeline),
        ("message size", a.size != b.size || a.opcode != b.opcode || a.fragment != b.fragment),
        ("draft", a.draft != b.draft),
        ("compression", a.deflate != b.deflate),
        ("kernel or CPUs", old.host.kernel != new.host.kernel || old.host.cpus != new.host.cpus),
        ("host", old.host.name != new.host.name),
    ];
    for (what, differs) in differences {
        if differs {
            warnings.push(format!("the runs differ in {what}, which may be all that the numbers show"));
        }
    }
    warnings
}

/// Rows of the response time; none unless both reports hold the histograms.
fn latency_rows(old: &Report, new: &Report) -> Vec<Row> {
    let (Some(a), Some(b)) = (&old.latency_ns.response, &new.latency_ns.response) else {
        return Vec::new();
    };
    const QUANTILES: [(&str, f64); 4] = [("50", 0.5), ("90", 0.9), ("99", 0.99), ("99.9", 0.999)];
    let resampled = match (Blocks::of(old), Blocks::of(new)) {
        (Some(x), Some(y)) => Some([x.resample(1), y.resample(2)]),
        _ => None,
    };
    let bootstrap = |column: usize| {
        let [x, y] = resampled.as_ref()?;
        let ratios = x.iter().zip(y).map(|(x, y)| y[column] / x[column] - 1.0).collect();
        Some(middle_95(ratios))
    };
    let mut rows = Vec::new();
    for (column, (key, _)) in QUANTILES.iter().enumerate() {
        if let (Some(&x), Some(&y)) = (a.p.get(*key), b.p.get(*key)) {
            let interval = bootstrap(column);
            rows.push(Row::new(&format!("p{key}"), Unit::Time, [x as f64, y as f64], interval));
        }
    }
    if a.count > 0 && b.count > 0 {
        rows.push(Row::new("mean", Unit::Time, [a.mean, b.mean], bootstrap(QUANTILES.len())));
    }
    rows
}

/// The widest change two intervals allow.
fn ratio_interval(old: [f64; 2], new: [f64; 2]) -> Option<[f64; 2]> {
    (old[0] > 0.0).then(|| [new[0] / old[1] - 1.0, new[1] / old[0] - 1.0])
}

const DRAWS: usize = 1000;
const FEWEST_BLOCKS: usize = 5;

/// The response times of a run, interval by interval.
struct Blocks {
    /// Value, interval, how many; by value.
    counts: Vec<(u64, usize, u64)>,
    intervals: usize,
}

impl Blocks {
    fn of(report: &Report) -> Option<Blocks> {
        let histograms: Vec<Histogram<u64>> = report
            .intervals
            .iter()
            .filter(|i| i.phase == Phase::Run)
            .filter_map(|i| i.response.as_ref()?.histogram().ok())
            .filter(|h| !h.is_empty())
            .collect();
        let mut counts = Vec::new();
        for (i, h) in histograms.iter().enumerate() {
            counts.extend(h.iter_recorded().map(|b| (b.value_iterated_to(), i, b.count_at_value())));
        }
        counts.sort_unstable();
        (histograms.len() >= FEWEST_BLOCKS).then_some(Blocks { counts, intervals: histograms.len() })
    }

    /// p50, p90, p99, p99.9 and mean of [`DRAWS`] runs put together from this one's intervals.
    fn resample(&self, seed: u64) -> Vec<[f64; 5]> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..DRAWS)
            .map(|_| {
                let mut weight = vec![0u64; self.intervals];
                (0..self.intervals).for_each(|_| weight[rng.usize(..self.intervals)] += 1);
                self.summary(&weight)
            })
            .collect()
    }

    fn summary(&self, weight: &[u64]) -> [f64; 5] {
        let n: u64 = self.counts.iter().map(|(_, i, count)| weight[*i] * count).sum();
        let ranks = [0.5, 0.9, 0.99, 0.999].map(|q| (n as f64 * q).ceil() as u64);
        let (mut out, mut next, mut seen, mut sum) = ([0.0; 5], 0, 0, 0.0);
        for (value, i, count) in &self.counts {
            let count = weight[*i] * count;
            seen += count;
            sum += *value as f64 * count as f64;
            while next < ranks.len() && seen >= ranks[next] {
                out[next] = *value as f64;
                next += 1;
            }
        }
        out[4] = sum / n as f64;
        out
    }
}

fn series(report: &Report, value: impl Fn(&Interval) -> Option<f64>) -> Vec<f64> {
    report.intervals.iter().filter(|i| i.phase == Phase::Run).filter_map(value).collect()
}

/// Bootstrap interval of the change of a mean.
fn mean_interval(old: &[f64], new: &[f64]) -> Option<[f64; 2]> {
    if old.len().min(new.len()) < FEWEST_BLOCKS {
        return None;
    }
    let mut rng = fastrand::Rng::with_seed(3);
    let mut mean = |values: &[f64]| {
        (0..values.len()).map(|_| values[rng.usize(..values.len())]).sum::<f64>() / values.len() as f64
    };
    let ratios = (0..DRAWS).map(|_| (mean(old), mean(new))).map(|(x, y)| y / x - 1.0);
    Some(middle_95(ratios.filter(|r| r.is_finite()).collect()))
}

fn middle_95(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    [at(0.025), at(0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Finding;
    use crate::report::model::Stat;

    /// Fifteen one-second intervals of 1,000 response times around `scale` ns, log-normal-ish, from `seed`.
    fn run(seed: u64, scale: f64) -> Report {
        let mut rng = fastrand::Rng::with_seed(seed);
        let new = || Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        let mut total = new();
        let mut report = Report::default();
        for s in 0..15 {
            let mut h = new();
            for _ in 0..1000 {
                let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
                h.record((scale * (0.4 * normal).exp()) as u64).unwrap();
            }
            total.add(&h).unwrap();
            report.intervals.push(Interval {
                start_ns: s * 1_000_000_000,
                len_ns: 1_000_000_000,
                phase: Phase::Run,
                achieved_rate: 1000.0,
                response: Some(Stat::new(&h, 0)),
                ..Interval::default()
            });
        }
        report.latency_ns.response = Some(Stat::new(&total, 0));
        report.messages.achieved_rate = 1000.0;
        report
    }

    fn row<'a>(c: &'a Comparison, what: &str) -> &'a Row {
        c.rows.iter().find(|r| r.what == what).unwrap()
    }

    #[test]
    fn a_report_is_the_same_as_itself() {
        let a = run(7, 60_000.0);
        let c = reports(&a, &a, 0.0);
        assert!(c.rows.len() >= 6 && c.rows.iter().all(|r| r.change == Change::Same), "{c:?}");
    }

    #[test]
    fn two_runs_of_one_server_are_within_noise() {
        let c = reports(&run(1, 60_000.0), &run(2, 60_000.0), 0.02);
        assert_eq!(c.regressions().count(), 0, "{}", c.text());
    }

    #[test]
    fn ten_per_cent_slower_is_a_regression_and_ten_faster_is_not() {
        let (a, b) = (run(1, 60_000.0), run(2, 66_000.0));
        let slower = reports(&a, &b, 0.02);
        let p50 = row(&slower, "p50");
        assert_eq!(p50.change, Change::Regression, "{}", slower.text());
        let [low, high] = p50.ci95.unwrap();
        assert!(low > 0.05 && low < 0.1 && high > 0.1 && high < 0.15, "{low} {high}");
        assert_eq!(row(&slower, "rate").change, Change::Same);
        assert_eq!(row(&reports(&b, &a, 0.02), "p50").change, Change::Better);
    }

    #[test]
    fn a_lower_rate_is_a_regression() {
        let a = run(1, 60_000.0);
        let mut b = a.clone();
        b.messages.achieved_rate = 900.0;
        b.intervals.iter_mut().for_each(|i| i.achieved_rate = 900.0);
        assert_eq!(row(&reports(&a, &b, 0.02), "rate").change, Change::Regression);
    }

    /// One second in fifteen was bad: the run's p99 is its doing, and a bootstrap over seconds knows.
    #[test]
    fn one_bad_second_is_noise_not_a_regression() {
        let a = run(1, 60_000.0);
        let mut b = run(2, 60_000.0);
        let mut h = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (0..1000).for_each(|_| h.record(5_000_000).unwrap());
        b.intervals[9].response = Some(Stat::new(&h, 0));
        let mut total = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        for i in &b.intervals {
            total.add(i.response.as_ref().unwrap().histogram().unwrap()).unwrap();
        }
        b.latency_ns.response = Some(Stat::new(&total, 0));
        let c = reports(&a, &b, 0.02);
        assert!(row(&c, "p99").new > 10.0 * row(&c, "p99").old);
        assert_eq!(row(&c, "p99").change, Change::Noise, "{}", c.text());
    }

    #[test]
    fn runs_of_different_rates_are_not_judged() {
        let mut a = run(1, 60_000.0);
        let mut b = run(2, 900_000.0);
        (a.config.rate, b.config.rate) = (Some(1000.0), Some(50.0));
        let c = reports(&a, &b, 0.02);
        let why = "not judged: the runs were given different rates, 1k/s and 50/s";
        assert!(c.failure().unwrap().ends_with(why), "{:?}", c.failure());
        assert!(!c.text().contains("REGRESSION"), "{}", c.text());
        assert!(c.text().contains("] not judged"), "{}", c.text());
        b.config.rate = Some(1000.0);
        assert!(reports(&a, &b, 0.02).failure().unwrap().starts_with("regression: p50"));
    }

    #[test]
    fn an_invalid_run_cannot_be_compared() {
        let a = run(1, 60_000.0);
        let mut b = a.clone();
        b.verdict.status = Status::Invalid;
        b.verdict.reasons = vec![Finding::new("own_slip", "loadgen was late")];
        let c = reports(&a, &b, 0.02);
        assert!(c.obstacle.is_some() && c.failure().unwrap().contains("loadgen was late"));
        let text = c.text();
        assert!(text.contains("the new run is INVALID: loadgen was late"), "{text}");
        assert!(text.contains("not judged") && !text.contains("same"), "{text}");
    }
}
