//! The numbers of a report that two reports can be compared by: every mode has its own.

use super::blocks::{Blocks, Bounds, spread_of_sum};
use super::format;
use super::model::{Interval, Mode, Phase, Report, Stat};
use super::stats::{Slope, student_t};

/// What a number counts, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// A second; more is better.
    Rate,
    /// Connections; more is better.
    Count,
    /// Of memory.
    Bytes,
    /// Of a processor.
    Percent,
    /// A share that had better be 1.
    Whole,
    /// A share that had better be 0.
    Faults,
}

impl Unit {
    /// `x` as people read it.
    pub fn show(self, x: f64) -> String {
        match self {
            Unit::Time => format::time(x),
            Unit::Rate => format!("{}/s", format::short(x)),
            Unit::Count => format::short(x),
            Unit::Bytes => format::bytes(x),
            Unit::Percent => format!("{x:.1}%"),
            Unit::Whole | Unit::Faults => format!("{:.3}%", x * 100.0),
        }
    }

    /// More of it is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Unit::Rate | Unit::Count | Unit::Whole)
    }

    /// Shares change by so many points, everything else by a factor.
    pub fn is_share(self) -> bool {
        matches!(self, Unit::Whole | Unit::Faults)
    }
}

/// One number of one report.
#[derive(Clone, Debug)]
pub struct Metric {
    /// As tables have it.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// The number itself.
    pub value: f64,
    /// Where the truth is; absent where the run cannot say.
    pub bounds: Option<Bounds>,
    /// How much of it may be loadgen's own, nanoseconds.
    pub ours_ns: f64,
    /// What a bare timer saw of the host at the same point of its distribution, nanoseconds.
    pub host_ns: f64,
}

/// Histograms without a time series of their own are taken to be worth this share of their samples, since samples of one
/// run share their fate: the first to connect and the last, the receivers of one message.
const WORTH: f64 = 0.25;

/// A storm is one event: how much another would differ is not in it.
const STORMS_DIFFER: f64 = 1.5;

/// A load that `find` finds is as exact as its steps, and as a step's own verdict.
const FINDS_DIFFER: f64 = 1.05;

/// A report, read.
pub struct Source<'a> {
    report: &'a Report,
    blocks: Option<Blocks>,
    /// Times are those less loadgen's own lateness.
    pub undisturbed: bool,
}

impl<'a> Source<'a> {
    /// Two reports to be compared. What loadgen itself added to the times is no server's doing and differs from run to
    /// run, so that times are taken without it where both reports can.
    pub fn both(old: &'a Report, new: &'a Report) -> [Source<'a>; 2] {
        let source = |report, blocks, undisturbed| Source { report, blocks, undisturbed };
        match (Blocks::undisturbed(old), Blocks::undisturbed(new)) {
            (Some(a), Some(b)) => [source(old, Some(a), true), source(new, Some(b), true)],
            _ => [old, new].map(|report| source(report, Blocks::of(report), false)),
        }
    }

    /// How long the run would have to be for what it cannot say, seconds.
    pub fn too_short(&self) -> Option<f64> {
        let needed = self.blocks.as_ref()?.evidence(0.05).err()?.needed_s;
        matches!(self.report.config.mode, Mode::Open | Mode::Closed | Mode::Fanout).then_some(needed)
    }

    /// All that the report has. The truth is outside of each bound with probability `beyond` on either side.
    pub fn metrics(&self, beyond: f64) -> Vec<Metric> {
        let report = self.report;
        let mut list = MetricList { beyond, found: Vec::new() };
        match report.config.mode {
            Mode::Open | Mode::Closed | Mode::Listen => list.responses(self),
            Mode::Conns => list.conns(report),
            Mode::Find => list.find(report),
            Mode::Fanout => {
                list.responses(self);
                list.fanout(report);
            }
            Mode::Storm => list.storm(report),
        }
        if !matches!(report.config.mode, Mode::Find | Mode::Fanout) {
            list.answers(report);
        }
        list.errors(report);
        list.server(report);
        list.found
    }
}

struct MetricList {
    beyond: f64,
    found: Vec<Metric>,
}

impl MetricList {
    fn push(&mut self, name: &str, unit: Unit, value: f64, bounds: Option<Bounds>) {
        let name = name.to_owned();
        self.found.push(Metric { name, unit, value, bounds, ours_ns: 0.0, host_ns: 0.0 });
    }

    fn push_time(&mut self, name: &str, value: f64, bounds: Option<Bounds>, ours_ns: f64, host_ns: f64) {
        // Value and bounds are of the same messages.
        let value = bounds.map_or(value, |b| b.value);
        self.found.push(Metric { name: name.to_owned(), unit: Unit::Time, value, bounds, ours_ns, host_ns });
    }

    /// Percentiles and mean of the response time.
    fn responses(&mut self, source: &Source) {
        let report = source.report;
        let times = &report.latency_ns;
        let stat = if source.undisturbed { &times.undisturbed } else { &times.response };
        let Some(stat) = stat else { return };
        let evidence = source.blocks.as_ref().and_then(|blocks| blocks.evidence(self.beyond).ok());
        let ours = |key| match source.undisturbed {
            true => 0.0,
            false => report.verdict.doubt_ns(key).unwrap_or(0) as f64,
        };
        // What the host does to a bare timer, it does to a server on it.
        let host = times.hiccup.as_ref().filter(|_| report.target.local);
        for key in ["50", "90", "99", "99.9"] {
            let Some(&value) = stat.p.get(key) else { continue };
            let bounds = evidence.as_ref().and_then(|e| e.percentiles.iter().find(|(k, _)| *k == key));
            let host = host.and_then(|stat| stat.p.get(key)).map_or(0.0, |ns| *ns as f64);
            self.push_time(&format!("p{key}"), value as f64, bounds.map(|(_, b)| *b), ours(key), host);
        }
        let host = host.map_or(0.0, |stat| stat.mean);
        // Half of a mean is made by the slowest tenth.
        self.push_time("mean", stat.mean, evidence.map(|e| e.mean), ours("90") / 2.0, host);
    }

    /// What the server did of what it was sent; in a closed loop, how much that was.
    fn answers(&mut self, report: &Report) {
        let run = || report.intervals.iter().filter(|i| i.phase == Phase::Run);
        if report.config.mode == Mode::Closed {
            let seconds = |i: &Interval| i.len_ns as f64 / 1e9;
            let bounds = self.ratio(run().map(|i| (i.received as f64, seconds(i))));
            self.push("rate", Unit::Rate, report.messages.answered_rate, bounds);
            return;
        }
        let (answered, sent) = (report.messages.answered_rate, report.messages.achieved_rate);
        if answered > 0.0 && sent > 0.0 {
            let bounds = self.ratio(run().map(|i| (i.received as f64, i.sent as f64)));
            self.push("answered", Unit::Whole, (answered / sent).min(1.0), bounds);
        }
    }

    /// Bounds of a ratio of two sums over the blocks of a run.
    fn ratio(&self, blocks: impl Iterator<Item = (f64, f64)>) -> Option<Bounds> {
        let blocks: Vec<(f64, f64)> = blocks.collect();
        let (parts, wholes) = blocks.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a, y + b));
        if blocks.len() < 4 || wholes <= 0.0 {
            return None;
        }
        let value = parts / wholes;
        let (variance, degrees) = spread_of_sum(blocks.iter().map(|(a, b)| a - value * b).collect());
        let half = student_t(1.0 - self.beyond, degrees) * variance.sqrt() / wholes;
        Some(Bounds { value, low: (value - half).max(0.0), high: value + half })
    }

    fn errors(&mut self, report: &Report) {
        let m = &report.messages;
        if m.sent == 0 {
            return;
        }
        let (n, errors) = (m.sent as f64, m.errors() as f64);
        // Poisson by its square root, of a quarter of the errors, since they come in heaps.
        let z = student_t(1.0 - self.beyond, 1000) / WORTH.sqrt() / 2.0;
        let low = (errors.sqrt() - z).max(0.0).powi(2) / n;
        let high = ((errors + 1.0).sqrt() + z).powi(2) / n;
        self.push("errors", Unit::Faults, errors / n, Some(Bounds { value: errors / n, low, high }));
    }

    fn server(&mut self, report: &Report) {
        if let Some(server) = &report.server {
            let run = report.intervals.iter().filter(|i| i.phase == Phase::Run);
            let bounds = self.ratio(run.filter_map(|i| Some((i.server?.cpu_pct, 1.0))));
            self.push("server cpu", Unit::Percent, server.cpu_pct, bounds);
        }
        let of_run = report.server.as_ref().and_then(|s| s.bytes_per_connection);
        if let Some(slope) = of_run.or(report.conns.as_ref().and_then(|c| c.slope)) {
            self.slope("rss/conn", slope);
        }
    }

    fn slope(&mut self, name: &str, Slope { slope, ci95 }: Slope) {
        let wider = student_t(1.0 - self.beyond, 1000) / 1.96;
        let [low, high] = ci95.map(|end| slope + (end - slope) * wider);
        self.push(name, Unit::Bytes, slope, Some(Bounds { value: slope, low: low.max(1.0), high }));
    }

    /// Percentiles of a histogram that has no time series.
    fn alone(&mut self, name: &str, stat: &Option<Stat>, keys: &[(&str, f64)]) {
        let Some(h) = stat.as_ref().and_then(|stat| stat.histogram().ok()) else { return };
        for (key, q) in keys {
            let bounds = Blocks::new([&h], 1.0).alone(*q, self.beyond, WORTH);
            if let Some(bounds) = bounds {
                self.push(&format!("{name} p{key}"), Unit::Time, bounds.value, Some(bounds));
            }
        }
    }

    fn conns(&mut self, report: &Report) {
        const KEYS: [(&str, f64); 2] = [("50", 0.5), ("99", 0.99)];
        self.alone("connect", &report.latency_ns.connect, &KEYS);
        self.alone("upgrade", &report.latency_ns.upgrade, &KEYS);
        let Some(conns) = &report.conns else { return };
        if let Some(last) = conns.steps.last() {
            self.alone("echo", &last.echo, &KEYS);
            let shares = (last.asked > 0).then(|| last.held as f64 / last.asked as f64);
            if let Some(value) = shares {
                self.push("held", Unit::Whole, value, Some(Bounds { value, low: value, high: value }));
            }
        }
        if let Some(slope) = conns.kernel_slope {
            self.slope("kernel/conn", slope);
        }
    }

    fn find(&mut self, report: &Report) {
        let Some(find) = &report.find else { return };
        // That none would do is far below any that does.
        let best = find.best.unwrap_or(0.0);
        let high = find.next_failed.unwrap_or(best).max(best) * FINDS_DIFFER;
        let unit = if find.axis == "rate" { Unit::Rate } else { Unit::Count };
        self.push("best", unit, best, Some(Bounds { value: best, low: best / FINDS_DIFFER, high }));
    }

    fn fanout(&mut self, report: &Report) {
        const KEYS: [(&str, f64); 2] = [("50", 0.5), ("99", 0.99)];
        let Some(fanout) = &report.fanout else { return };
        self.alone("first", &fanout.first, &KEYS);
        self.alone("median", &fanout.median, &KEYS);
        self.alone("last", &fanout.last, &KEYS);
        if fanout.expected > 0 {
            let value = fanout.received as f64 / fanout.expected as f64;
            self.push("reach", Unit::Whole, value, Some(Bounds { value, low: value, high: value }));
        }
    }

    fn storm(&mut self, report: &Report) {
        let Some(storm) = &report.storm else { return };
        for key in ["50", "90", "99", "100"] {
            if let Some(&back) = storm.back_ns.get(key) {
                let value = back as f64;
                let bounds = Bounds { value, low: value / STORMS_DIFFER, high: value * STORMS_DIFFER };
                self.push(&format!("back {key}%"), Unit::Time, value, Some(bounds));
            }
        }
        if storm.dropped > 0 {
            let value = storm.back as f64 / storm.dropped as f64;
            self.push("back", Unit::Whole, value, Some(Bounds { value, low: value, high: value }));
        }
        self.alone("handshake", &storm.handshake, &[("50", 0.5), ("99", 0.99)]);
        for phase in storm.phases.iter().filter(|phase| phase.name != "during") {
            self.alone(&phase.name, &phase.echo, &[("50", 0.5)]);
        }
    }
}
