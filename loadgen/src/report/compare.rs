//! Reports side by side: the same within noise, better, or worse.
//!
//! All rows together call two runs of one server worse in at most one of twenty comparisons: each row is held to a share
//! of that. What differs from one run to the next is not in any one run, so where that is much, as on a shared host,
//! several runs of each by turns are compared as pairs.

use std::fmt::Write;

use super::blocks::Bounds;
use super::format;
use super::metrics::{Metric, Source, Unit};
use super::model::{Config, Mode, Report, Status};
use super::stats::student_t;
use super::text::status_word;

/// How often the rows of a comparison may call two runs of one server worse, and as often better.
const FALSE_ALARMS: f64 = 0.05;

/// Pairs that cannot see so much more of anything say how many could.
const WORTH_SEEING: f64 = 0.1;

/// Fewer pairs say nothing about how pairs differ.
pub const PAIRS_MIN: usize = 4;

/// What changed from one report to the other.
#[derive(Debug)]
pub struct Comparison {
    /// One a number that both reports have.
    pub rows: Vec<Row>,
    /// Why the two should be compared only with care.
    pub warnings: Vec<String>,
    /// Why nothing was judged: a run is INVALID, so that its numbers are not the server's, or the two were not asked for
    /// the same, so that their numbers say nothing about each other.
    pub obstacle: Option<String>,
    noise: f64,
    names: [String; 2],
    /// How many pairs of runs this is about.
    pairs: usize,
    /// Times are those less loadgen's own lateness.
    undisturbed: bool,
}

/// What a comparison comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing got worse.
    Fine,
    /// What got worse, in one line.
    Worse(String),
    /// Why it cannot be said.
    NotJudged(String),
}

/// One number of both.
#[derive(Debug)]
pub struct Row {
    /// Which number.
    pub what: String,
    /// In the first report,
    pub old: f64,
    /// and in the second.
    pub new: f64,
    /// Where the change is: a factor less 1, or of shares a difference. All rows are right about theirs together, each
    /// side in 19 of 20 comparisons. Absent where a run cannot say.
    pub interval: Option<[f64; 2]>,
    /// The change for the worse that would have been called in nine comparisons of ten.
    pub sees: Option<f64>,
    /// What is called.
    pub change: Change,
    unit: Unit,
    /// How much of the change may be loadgen's own or the host's.
    doubt: f64,
}

/// What a row says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Smaller than the noise threshold.
    Same,
    /// Larger, but two runs of one server differ as much.
    Noise,
    /// Larger, but it may be loadgen's own doing, or the host's, which was another one in the two runs.
    Doubt,
    /// There is no telling how much two runs of one server would differ.
    Unknown,
    /// For the better, beyond noise.
    Better,
    /// For the worse, beyond noise.
    Worse,
}

/// Compares what both reports have: see [`Source`]. `noise` is the smallest change worth mentioning, as a fraction.
pub fn reports(old: &Report, new: &Report, noise: f64) -> Comparison {
    let sources = Source::both(old, new);
    let judged = paired(&sources, FALSE_ALARMS).filter(|(a, b)| a.bounds.is_some() && b.bounds.is_some());
    let beyond = share(judged.count());
    let mut rows: Vec<Row> = paired(&sources, beyond).map(|(a, b)| Row::of(&a, &b, beyond)).collect();
    rows.iter_mut().for_each(|row| row.judge(noise));
    let mut warnings = warnings(old, new);
    if let Some(seconds) = sources.iter().filter_map(Source::too_short).reduce(f64::max) {
        let length = format::ns((seconds.ceil() * 1e9) as u64);
        warnings.push(format!("too short to say how much two such runs differ: take runs of about {length}"));
    }
    let unknown = rows.iter().all(|row| row.change == Change::Unknown);
    let nothing = || "there is nothing in both whose spread is known".to_owned();
    Comparison {
        obstacle: obstacle(old, new).or_else(|| unknown.then(nothing)),
        rows,
        warnings,
        noise,
        names: [label(old, "old"), label(new, "new")],
        pairs: 1,
        undisturbed: sources[0].undisturbed,
    }
}

/// Compares runs of two things that were made by turns, each pair an old and a new one. What a host does to both runs of
/// a pair cancels out; how pairs differ says how sure that is.
pub fn pairs(pairs: &[(Report, Report)], noise: f64) -> Comparison {
    let mut warnings = Vec::new();
    let mut good = Vec::new();
    for (old, new) in pairs {
        match obstacle(old, new) {
            Some(why) => warnings.push(format!("a pair was left out: {why}")),
            None => good.push((old, new)),
        }
    }
    let metrics: Vec<Vec<(Metric, Metric)>> =
        good.iter().map(|(old, new)| paired(&Source::both(old, new), FALSE_ALARMS).collect()).collect();
    let mut rows = Vec::new();
    let first = metrics.first().map_or(&[][..], |first| &first[..]);
    for (a, _) in first {
        let found: Vec<_> =
            metrics.iter().filter_map(|pairs| pairs.iter().find(|(x, _)| x.name == a.name)).collect();
        if found.len() == good.len() {
            rows.push((a.name.clone(), a.unit, found));
        }
    }
    let beyond = share(rows.len());
    let mut rows: Vec<Row> =
        rows.into_iter().map(|(name, unit, found)| Row::of_pairs(name, unit, &found, beyond)).collect();
    rows.iter_mut().for_each(|row| row.judge(noise));
    let few = format!("{} of {} pairs can be judged, and it takes {PAIRS_MIN}", good.len(), pairs.len());
    Comparison {
        obstacle: (good.len() < PAIRS_MIN || rows.is_empty()).then_some(few),
        rows,
        warnings,
        noise,
        names: ["A".into(), "B".into()],
        pairs: good.len(),
        undisturbed: good.iter().all(|(old, new)| Source::both(old, new)[0].undisturbed),
    }
}

/// A row's share of the false alarms. The percentiles of one distribution go up and down together, so that each further
/// row counts by a third: `loadgen/tests/statistics.rs` and `virtual_time.rs` count what comes of it.
fn share(rows: usize) -> f64 {
    FALSE_ALARMS / (1.0 + rows.saturating_sub(1) as f64 / 3.0)
}

/// The metrics that both have.
fn paired(sources: &[Source; 2], beyond: f64) -> impl Iterator<Item = (Metric, Metric)> {
    let [olds, news] = [0, 1].map(|i| sources[i].metrics(beyond));
    // Rows that say nothing would only take from what the others may see.
    let perfect = |m: &Metric| match m.unit {
        Unit::Whole => m.value >= 0.995,
        Unit::Faults => m.value == 0.0,
        _ => m.value <= 0.0,
    };
    let both = olds.into_iter().filter_map(move |a| {
        let b = news.iter().find(|b| b.name == a.name)?.clone();
        Some((a, b))
    });
    both.filter(move |(a, b)| !(perfect(a) && perfect(b)))
}

impl Comparison {
    /// The rows that got worse. Of runs that cannot be compared this says nothing: see [`Comparison::obstacle`].
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.change == Change::Worse)
    }

    /// What all rows come to.
    pub fn decision(&self) -> Decision {
        if let Some(why) = &self.obstacle {
            return Decision::NotJudged(format!("the comparison was not judged: {why}"));
        }
        let worse: Vec<&str> = self.regressions().map(|row| row.what.as_str()).collect();
        match worse.is_empty() {
            true => Decision::Fine,
            false => Decision::Worse(format!("regression: {}", worse.join(", "))),
        }
    }

    /// How many pairs it would take to see so much more of some time, where these do not.
    pub fn pairs_for(&self, change: f64) -> Option<u64> {
        let times = self.rows.iter().filter(|row| row.unit == Unit::Time);
        let sees = times.filter_map(|row| row.sees).reduce(f64::min).filter(|sees| *sees > change)?;
        let times_over = (sees.ln_1p() / change.ln_1p()).powi(2);
        Some((self.pairs as f64 * times_over).ceil() as u64)
    }

    /// A table for a terminal; `color` with its escapes, which belong in no file.
    pub fn text(&self, color: bool) -> String {
        let mut out = String::new();
        for warning in &self.warnings {
            let _ = writeln!(out, "NOTE     {warning}");
        }
        let [old, new] = &self.names;
        let heads = ["change", "95% CI, all rows", "sees"];
        let _ = writeln!(
            out,
            "{:14}{old:>14}{new:>14}{:>10}   {:22}{:>8}   verdict",
            "", heads[0], heads[1], heads[2]
        );
        for row in &self.rows {
            let shown = |change: f64| match row.unit.is_share() {
                true => format!("{:+.2} pt", change * 100.0),
                false => format::change(change),
            };
            let interval =
                row.interval.map_or("-".into(), |[low, high]| format!("[{}, {}]", shown(low), shown(high)));
            let verdict = self.verdict(row, color);
            let _ = writeln!(
                out,
                "{:14}{:>14}{:>14}{:>10}   {interval:22}{:>8}   {verdict}",
                row.what,
                row.unit.show(row.old),
                row.unit.show(row.new),
                shown(row.change()),
                row.sees.map_or("-".into(), shown),
            );
        }
        if self.undisturbed {
            out.push_str("p50 to mean: the response less loadgen's own slip. ");
        }
        out.push_str(&match self.pairs {
            1 => "sees: the change for the worse that nine such comparisons of ten would call. What differs from one run \
                  to the next is not in it: on a shared host compare --run 'A' --run 'B' --repeat 7.\n"
                .to_owned(),
            n => {
                let more = self.pairs_for(WORTH_SEEING).map_or(String::new(), |pairs| {
                    format!(" What differs from run to run on this host hides +10 % of it: that takes some {pairs} pairs.")
                });
                format!("{n} pairs of runs, by turns. sees: what nine such comparisons of ten would call.{more}\n")
            }
        });
        out
    }

    /// The last column: what a row comes to.
    fn verdict(&self, row: &Row, color: bool) -> String {
        let (word, sgr) = match row.change {
            _ if self.obstacle.is_some() => ("not judged".into(), "33"),
            Change::Same => (format!("same (within {:.1}%)", self.noise * 100.0), ""),
            Change::Noise => ("within noise".into(), ""),
            Change::Doubt => ("may be ours or the host's".into(), "33"),
            Change::Unknown => ("too short to say".into(), "33"),
            Change::Better => ("better".into(), "32"),
            Change::Worse => ("REGRESSION".into(), "1;31"),
        };
        if color && !sgr.is_empty() { format!("\x1b[{sgr}m{word}\x1b[0m") } else { word }
    }
}

impl Row {
    fn of(a: &Metric, b: &Metric, beyond: f64) -> Row {
        let scale = Scale(a.unit);
        let interval = a.bounds.zip(b.bounds).map(|(x, y)| {
            let at = |b: Bounds| [scale.of(b.low), scale.of(b.value), scale.of(b.high)];
            let ([x0, x, x1], [y0, y, y1]) = (at(x), at(y));
            // The method of variance estimates recovery (Donner and Zou, 2012): it takes intervals that are not symmetric.
            [y - x - (y - y0).hypot(x1 - x), y - x + (y1 - y).hypot(x - x0)]
        });
        // A host that does the same to both runs makes no difference.
        let doubt = (a.ours_ns + b.ours_ns + (a.host_ns - b.host_ns).abs()) / a.value.max(1.0);
        Row {
            doubt,
            ..Row::new(a.name.clone(), a.unit, [a.value, b.value], interval, student_t(1.0 - beyond, 30))
        }
    }

    fn of_pairs(name: String, unit: Unit, pairs: &[&(Metric, Metric)], beyond: f64) -> Row {
        let (n, scale) = (pairs.len() as f64, Scale(unit));
        let mean =
            |values: &dyn Fn(&(Metric, Metric)) -> f64| pairs.iter().map(|p| values(p)).sum::<f64>() / n;
        let (old, new) = (mean(&|p| scale.of(p.0.value)), mean(&|p| scale.of(p.1.value)));
        let squares = mean(&|p| (scale.of(p.1.value) - scale.of(p.0.value) - (new - old)).powi(2));
        let t = student_t(1.0 - beyond, pairs.len() - 1);
        let half = t * (squares / (n - 1.0)).sqrt();
        let interval = (pairs.len() >= PAIRS_MIN).then_some([new - old - half, new - old + half]);
        Row::new(name, unit, [scale.back(old), scale.back(new)], interval, t)
    }

    /// `interval` is on the scale of `unit`, and `t` the quantile that made it.
    fn new(what: String, unit: Unit, [old, new]: [f64; 2], interval: Option<[f64; 2]>, t: f64) -> Row {
        let scale = Scale(unit);
        let sees = interval.map(|[low, high]| {
            let change = scale.of(new) - scale.of(old);
            let [half, sign] =
                if unit.more_is_better() { [high - change, -1.0] } else { [change - low, 1.0] };
            // So far from nothing that all but a tenth are beyond the limit.
            scale.change(sign * half * (1.0 + 1.28 / t))
        });
        let interval = interval.map(|ends| ends.map(|end| scale.change(end)));
        Row { what, old, new, interval, sees, change: Change::Same, unit, doubt: 0.0 }
    }

    /// A factor less 1, or of shares the difference.
    pub fn change(&self) -> f64 {
        let scale = Scale(self.unit);
        scale.change(scale.of(self.new) - scale.of(self.old))
    }

    fn judge(&mut self, noise: f64) {
        let change = self.change();
        // A share that moves by a tenth of the noise of a time is a share of messages lost.
        let noise = if self.unit.is_share() { noise / 10.0 } else { noise };
        self.change = match self.interval {
            None => Change::Unknown,
            _ if change.abs() <= noise => Change::Same,
            Some([low, high]) if low <= 0.0 && high >= 0.0 => Change::Noise,
            Some([low, high]) if low <= self.doubt && high >= -self.doubt => Change::Doubt,
            _ if (change > 0.0) == self.unit.more_is_better() => Change::Better,
            _ => Change::Worse,
        };
    }
}

/// On which numbers of a unit are compared: shares as they are, everything else by its logarithm.
#[derive(Clone, Copy)]
struct Scale(Unit);

impl Scale {
    fn of(self, x: f64) -> f64 {
        if self.0.is_share() { x } else { x.max(f64::MIN_POSITIVE).ln() }
    }

    fn back(self, x: f64) -> f64 {
        if self.0.is_share() { x } else { x.exp() }
    }

    /// A difference on this scale, as people read it.
    fn change(self, x: f64) -> f64 {
        if self.0.is_share() { x } else { x.exp() - 1.0 }
    }
}

fn label(report: &Report, otherwise: &str) -> String {
    let name = report.run.name.clone().unwrap_or_else(|| otherwise.into());
    name.chars().take(13).collect()
}

fn obstacle(old: &Report, new: &Report) -> Option<String> {
    let (a, b) = (&old.config, &new.config);
    if a.mode != b.mode {
        return Some(format!("the runs are of different kinds, {} and {}", a.mode, b.mode));
    }
    // The shares of shards add up to a whole but for the last digit.
    let alike = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => (x / y - 1.0).abs() < 1e-9,
        _ => x == y,
    };
    if !alike(a.rate, b.rate) || a.rate_plan != b.rate_plan {
        let plan = |c: &Config| match (&c.rate_plan, c.rate) {
            (Some(plan), _) => plan.clone(),
            (None, Some(rate)) => format!("{}/s", format::short(rate)),
            (None, None) => "none (closed loop)".to_owned(),
        };
        // The load of a search is what it found.
        if a.mode != Mode::Find {
            return Some(format!("the runs were given different rates, {} and {}", plan(a), plan(b)));
        }
    }
    let searched = a.mode == Mode::Find;
    let slow = |report: &Report| report.slow_readers.as_ref().map(|slow| (slow.connections, slow.rate));
    let differences = [
        ("connections", !searched && (a.connections != b.connections || a.active != b.active)),
        ("arrivals", a.arrival != b.arrival),
        ("pipeline", a.pipeline != b.pipeline),
        ("--think", a.think != b.think),
        ("--max-inflight", a.max_inflight != b.max_inflight),
        ("slow readers", !searched && slow(old) != slow(new)),
        ("what is said", a.conversation != b.conversation),
        ("message size", a.size != b.size),
        ("kind of message", a.opcode != b.opcode || a.fragment != b.fragment),
        ("protocol version", a.draft != b.draft),
        ("compression", a.deflate != b.deflate),
        ("clock that ends a reply", a.stamps != b.stamps && !a.stamps.is_empty() && !b.stamps.is_empty()),
    ];
    if let Some((what, _)) = differences.into_iter().find(|(_, differs)| *differs) {
        return Some(format!("the runs differ in {what}, which may be all that the numbers show"));
    }
    // Where only loadgen's own lateness stands against a run, times without it are still the server's.
    let undisturbed = Source::both(old, new)[0].undisturbed;
    let late = |r: &Report| undisturbed && r.verdict.reasons.iter().all(|reason| reason.code == "own_slip");
    let invalid = |r: &Report| r.verdict.status == Status::Invalid && !late(r);
    let (which, invalid) = [("old", old), ("new", new)].into_iter().find(|(_, r)| invalid(r))?;
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
    let (a, b) = (&old.host, &new.host);
    let differences =
        [("kernel or CPUs", a.kernel != b.kernel || a.cpus != b.cpus), ("host", a.name != b.name)];
    for (what, differs) in differences {
        if differs {
            warnings.push(format!("the runs differ in {what}, which may be all that the numbers show"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
