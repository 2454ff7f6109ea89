//! Which plots a report gets, and what is on them.

use std::fmt::Write;

use super::{Axis, escape};
use crate::report::format;
use crate::report::model::{Conns, Find, Interval, Mode, PERCENTILES, Phase, Report, Stat};
use crate::report::stats;
use crate::report::threshold::Condition;

/// One plot: `body` is SVG without the outer element, `width` times `height` pixels.
pub struct Chart {
    pub title: String,
    /// How to read it.
    pub caption: &'static str,
    pub width: f64,
    pub height: f64,
    pub body: String,
}

/// The plots `report` has data for, `width` pixels wide (from about 340).
pub fn charts(report: &Report, width: f64) -> Vec<Chart> {
    let mut charts = Vec::new();
    charts.extend(report.find.as_ref().and_then(|find| load_curve(find, width)));
    charts.extend(report.conns.as_ref().and_then(|conns| memory(conns, width)));
    charts.extend(percentiles(report, width));
    // A sliver, such as a drain of a few milliseconds, has no rate worth drawing.
    let longest = report.intervals.iter().map(|i| i.len_ns).max().unwrap_or(0);
    let worthwhile = |i: &&Interval| i.len_ns >= longest / 4;
    let intervals: Vec<Interval> = report.intervals.iter().filter(worthwhile).cloned().collect();
    charts.extend(latency_over_time(&intervals, width));
    charts.extend(over_time(&intervals, width));
    charts
}

const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 40.0;

/// A plot under construction: its frame, and the body so far.
struct Plot {
    width: f64,
    top: f64,
    bottom: f64,
    body: String,
}

impl Plot {
    /// Room for `inner` pixels of plot under a legend of class, dash and name.
    fn new(width: f64, inner: f64, legend: &[(&str, &str)]) -> Plot {
        let mut plot = Plot { width, top: 0.0, bottom: 0.0, body: String::new() };
        let (mut x, mut y) = (LEFT, 12.0);
        for (class, name) in legend {
            let wide = 26.0 + 6.6 * name.chars().count() as f64 + 16.0;
            if x > LEFT && x + wide > width {
                (x, y) = (LEFT, y + 18.0);
            }
            let key = if class.starts_with('b') {
                format!(
                    "<rect class=\"{class}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"18\" height=\"9\"/>",
                    y - 8.0
                )
            } else {
                format!("<path class=\"line {class}\" d=\"M{x:.0} {:.0}h18\"/>", y - 4.0)
            };
            let _ =
                writeln!(plot.body, "{key}<text x=\"{:.0}\" y=\"{y:.0}\">{}</text>", x + 25.0, escape(name));
            x += wide;
        }
        plot.top = y + 14.0;
        plot.bottom = plot.top + inner;
        plot
    }

    fn right(&self) -> f64 {
        self.width - RIGHT
    }

    /// Grid lines and labels of the vertical axis.
    fn y_axis(&mut self, axis: &Axis, label: impl Fn(f64) -> String) {
        for value in axis.ticks(28.0) {
            let (y, right) = (axis.at(value), self.right());
            let _ = writeln!(self.body, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right:.0}\"/>");
            self.text(LEFT - 8.0, y + 4.0, "end", "", &label(value));
        }
    }

    /// The horizontal axis with `ticks`, labelled where there is room.
    fn x_axis(&mut self, axis: &Axis, ticks: &[(f64, String)], title: &str) {
        let (bottom, right) = (self.bottom, self.right());
        let mut free = f64::NEG_INFINITY;
        for (value, label) in ticks {
            let (x, half) = (axis.at(*value), 3.8 * label.chars().count() as f64);
            let x_text = x.min(right + RIGHT - half);
            let _ = writeln!(self.body, "<path class=\"axis\" d=\"M{x:.1} {bottom:.0}v5\"/>");
            if x_text - half > free {
                self.text(x_text, bottom + 18.0, "middle", "", label);
                free = x_text + half + 8.0;
            }
        }
        let _ = writeln!(self.body, "<path class=\"axis\" d=\"M{LEFT} {bottom:.0}H{right:.0}\"/>");
        if !title.is_empty() {
            self.text((LEFT + right) / 2.0, bottom + 35.0, "middle", "", title);
        }
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.len() > 1 {
            let _ = writeln!(self.body, "<path class=\"line {class}\" d=\"{}\"/>", path(points));
        }
    }

    /// The area between two edges that share their x positions.
    fn area(&mut self, class: &str, upper: &[(f64, f64)], lower: &[(f64, f64)]) {
        let outline: Vec<_> = upper.iter().chain(lower.iter().rev()).copied().collect();
        if outline.len() > 3 {
            let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{}Z\"/>", path(&outline));
        }
    }

    /// A dot that tells its value to a pointer that rests on it.
    fn dot(&mut self, class: &str, (x, y): (f64, f64), tip: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}</title></circle>",
            escape(tip)
        );
    }

    fn finish(self, title: impl Into<String>, caption: &'static str) -> Chart {
        let height = self.bottom + BOTTOM;
        Chart { title: title.into(), caption, width: self.width, height, body: self.body }
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    d
}

fn inner_height(width: f64) -> f64 {
    if width < 500.0 { 200.0 } else { 260.0 }
}

/// Latency by percentile, on the axis that gives each further nine the same room.
fn percentiles(report: &Report, width: f64) -> Option<Chart> {
    let l = &report.latency_ns;
    let candidates: Vec<(&str, &Option<Stat>)> = match &report.fanout {
        Some(f) => vec![("last receiver", &f.last), ("median", &f.median), ("first", &f.first)],
        None if report.config.mode == Mode::Closed => {
            vec![("round trip (closed loop)", &l.response), ("host hiccup", &l.hiccup)]
        }
        None => vec![
            ("response", &l.response),
            ("wire", &l.wire),
            ("own slip", &l.own_slip),
            ("host hiccup", &l.hiccup),
        ],
    };
    // Wire is often all of the response: a wider line shows on both sides of the other.
    let class = |i: usize, name: &str| format!("s{i}{}", if name == "wire" { " halo" } else { "" });
    let bounds = candidates[0].1.as_ref().map(|stat| stat.ci95.clone()).unwrap_or_default();
    let mut series = Vec::new();
    for (i, (name, stat)) in candidates.into_iter().enumerate() {
        if let Some(h) = stat.as_ref().and_then(|s| s.histogram().ok()).filter(|h| h.len() >= 2) {
            series.push((i + 1, name, h));
        }
    }
    let legend: Vec<(String, &str)> = series.iter().map(|(i, name, _)| (class(*i, name), *name)).collect();
    let legend: Vec<(&str, &str)> = legend.iter().map(|(class, name)| (class.as_str(), *name)).collect();
    let headline = &series.first()?.2;

    let mut plot = Plot::new(width, inner_height(width), &legend);
    let nines = |q: f64, n: u64| {
        if q >= 1.0 { (n as f64).log10() } else { -(1.0 - q).log10() }
    };
    let longest = series.iter().map(|(_, _, h)| nines(1.0, h.len())).fold(0.0, f64::max);
    let x = Axis::exact(0.0, longest, LEFT, plot.right());
    let low = series.iter().map(|(_, _, h)| h.value_at_quantile(0.01)).min()?;
    let high = series.iter().map(|(_, _, h)| h.max()).max()?;
    let y = Axis::log(low as f64, 2.0 * high as f64, plot.bottom, plot.top);
    plot.y_axis(&y, format::time);
    let ticks: Vec<(f64, String)> = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999]
        .into_iter()
        .map(|p| (nines(p / 100.0, 0), format!("{p}%")))
        .filter(|(at, _)| *at <= longest)
        .collect();
    plot.x_axis(&x, &ticks, "percentile");

    let trusted = |h: &hdrhistogram::Histogram<u64>| nines(1.0, h.len()) - 1.0; // ten samples beyond
    let band: Vec<(f64, [u64; 2])> =
        PERCENTILES.iter().filter_map(|(key, q)| Some((x.at(nines(*q, 0)), *bounds.get(*key)?))).collect();
    let edge = |side: usize| band.iter().map(|(x, ci)| (*x, y.at(ci[side] as f64))).collect::<Vec<_>>();
    plot.area("area f1", &edge(1), &edge(0));
    for (i, name, h) in series.iter().rev() {
        let steps = stats::steps(h);
        let point = |s: &stats::Step| (x.at(nines(s.quantile, h.len()).min(longest)), y.at(s.value as f64));
        let split = steps.iter().take_while(|s| nines(s.quantile, h.len()) <= trusted(h)).count();
        let points: Vec<_> = steps.iter().map(point).collect();
        plot.line(&class(*i, name), &points[..split]);
        plot.line(&format!("s{i} faint"), &points[split.saturating_sub(1)..]);
        for q in [0.5, 0.9, 0.99, 0.999, 0.9999] {
            if let Some(value) = stats::percentile(h, q) {
                let tip = format!("{name} p{}: {}", (q * 1e6).round() / 1e4, format::ns(value));
                plot.dot(&format!("f{i}"), (x.at(nines(q, 0)), y.at(value as f64)), &tip);
            }
        }
    }
    let top = (x.at(nines(1.0, headline.len())), y.at(headline.max() as f64) - 8.0);
    plot.text(
        top.0,
        top.1.max(plot.top - 2.0),
        "end",
        "strong",
        &format!("max {}", format::ns(headline.max())),
    );
    let caption = "Dotted where fewer than ten samples lie beyond: an anecdote, not a percentile. The shade around the \
                   first curve is its 95 % confidence interval, where the run was long enough for one.";
    Some(plot.finish("Latency by percentile", caption))
}

/// p50, p90, p99 and max of each interval, as bands.
fn latency_over_time(intervals: &[Interval], width: f64) -> Option<Chart> {
    let rows: Vec<(&Interval, &Stat)> =
        intervals.iter().filter_map(|i| Some((i, i.response.as_ref().filter(|s| s.count > 0)?))).collect();
    if rows.is_empty() {
        return None;
    }
    let legend = [("b1", "p50 to p90"), ("b2", "p90 to p99"), ("b3", "p99 to max")];
    let mut plot = Plot::new(width, inner_height(width), &legend);
    // Where the samples do not carry a percentile, the band above begins at the next lower one they do carry.
    let known =
        |s: &Stat, keys: &[&str]| keys.iter().find_map(|k| s.p.get(*k)).copied().unwrap_or(s.min) as f64;
    let level = |s: &Stat, band: usize| match band {
        0 => known(s, &["50"]),
        1 => known(s, &["90", "50"]),
        2 => known(s, &["99", "90", "50"]),
        _ => s.max as f64,
    };
    let low = rows.iter().map(|(_, s)| level(s, 0)).fold(f64::INFINITY, f64::min);
    let high = rows.iter().map(|(_, s)| s.max).max()? as f64;
    let x = time_axis(intervals, &plot);
    let y = Axis::log(low * 0.8, high, plot.bottom, plot.top);
    phases(&mut plot, intervals, &x);
    plot.y_axis(&y, format::time);
    plot.x_axis(&x, &seconds(&x), "seconds");
    for run in runs(&rows) {
        let edge = |band: usize| -> Vec<(f64, f64)> {
            let step = |(i, s): &(&Interval, &Stat)| {
                let y = y.at(level(s, band));
                [(x.at(start(i)), y), (x.at(end(i)), y)]
            };
            run.iter().flat_map(step).collect()
        };
        for (band, class) in ["b1", "b2", "b3"].iter().enumerate() {
            plot.area(class, &edge(band + 1), &edge(band));
        }
    }
    let caption = "Response times of the replies read in each interval; a gap where none came back. A percentile that \
                   too few samples carry is left out.";
    Some(plot.finish("Latency over time", caption))
}

/// Stretches of rows that touch.
fn runs<'a>(rows: &'a [(&'a Interval, &'a Stat)]) -> Vec<&'a [(&'a Interval, &'a Stat)]> {
    rows.chunk_by(|a, b| start(b.0) - end(a.0) < 0.5 * b.0.len_ns as f64 / 1e9).collect()
}

/// What a panel's line shows of an interval.
type Value = fn(&Interval) -> Option<f64>;

/// One of the small plots of [`over_time`]: lines of class, name and value.
struct Panel {
    label: fn(f64) -> String,
    series: &'static [(&'static str, &'static str, Value)],
}

/// Rate, connections and CPU, one panel each, over the same time.
fn over_time(intervals: &[Interval], width: f64) -> Option<Chart> {
    if intervals.is_empty() {
        return None;
    }
    let panels = [
        Panel {
            label: load,
            series: &[
                ("s0 halo", "target messages/s", |i| i.target_rate),
                ("s1 halo", "sent/s", |i| Some(i.achieved_rate)),
                ("s2", "received/s", |i| (i.len_ns > 0).then(|| i.received as f64 / (i.len_ns as f64 / 1e9))),
            ],
        },
        Panel { label: load, series: &[("s1", "connections held", |i| Some(i.held as f64))] },
        Panel {
            label: |v| format!("{v:.0}%"),
            series: &[
                ("s1", "server CPU", |i| Some(i.server?.cpu_pct)),
                ("s3", "loadgen loop busy", |i| Some(i.loop_busy_pct)),
            ],
        },
    ];
    let mut whole = String::new();
    let mut y_offset = 0.0;
    for (k, Panel { label, series }) in panels.iter().enumerate() {
        let present: Vec<_> =
            series.iter().filter(|(_, _, v)| intervals.iter().any(|i| v(i).is_some())).collect();
        let legend: Vec<_> = present.iter().map(|(class, name, _)| (*class, *name)).collect();
        let mut plot = Plot::new(width, 96.0, &legend);
        let most = |v: &Value| intervals.iter().filter_map(v).fold(0.0, f64::max);
        let x = time_axis(intervals, &plot);
        let y = Axis::from_zero(
            present.iter().map(|(_, _, v)| most(v)).fold(0.0, f64::max),
            plot.bottom,
            plot.top,
        );
        phases(&mut plot, intervals, &x);
        plot.y_axis(&y, label);
        let last = k + 1 == panels.len();
        plot.x_axis(&x, &seconds(&x), if last { "seconds" } else { "" });
        for (class, _, v) in &present {
            let steps = intervals.iter().filter_map(|i| Some((i, v(i)?)));
            let points: Vec<_> =
                steps.flat_map(|(i, v)| [(x.at(start(i)), y.at(v)), (x.at(end(i)), y.at(v))]).collect();
            plot.line(class, &points);
        }
        let _ = writeln!(whole, "<g transform=\"translate(0 {y_offset:.0})\">\n{}</g>", plot.body);
        y_offset += plot.bottom + if last { BOTTOM } else { 34.0 };
    }
    let caption =
        "Grey: warm-up and drain, not counted. Received below sent means a queue is growing somewhere.";
    Some(Chart {
        title: "Rate, connections and CPU over time".into(),
        caption,
        width,
        height: y_offset,
        body: whole,
    })
}

/// A round load on an axis: `1.5k`, where a table would say `1.50k`.
fn load(value: f64) -> String {
    let text = format::short(value);
    let digits = text.trim_end_matches(char::is_alphabetic);
    let round =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{round}{}", &text[digits.len()..])
}

fn start(i: &Interval) -> f64 {
    i.start_ns as f64 / 1e9
}

fn end(i: &Interval) -> f64 {
    (i.start_ns + i.len_ns as i64) as f64 / 1e9
}

fn time_axis(intervals: &[Interval], plot: &Plot) -> Axis {
    let from = intervals.iter().map(start).fold(f64::INFINITY, f64::min);
    let to = intervals.iter().map(end).fold(f64::NEG_INFINITY, f64::max);
    Axis::exact(from, to, LEFT, plot.right())
}

fn seconds(x: &Axis) -> Vec<(f64, String)> {
    x.ticks(60.0).into_iter().map(|v| (v, format!("{}", (v * 1e6).round() / 1e6))).collect()
}

/// Shades the time that does not count.
fn phases(plot: &mut Plot, intervals: &[Interval], x: &Axis) {
    for i in intervals.iter().filter(|i| i.phase != Phase::Run) {
        let (from, to) = (x.at(start(i)), x.at(end(i)));
        let _ = writeln!(
            plot.body,
            "<rect class=\"phase\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            plot.top,
            to - from,
            plot.bottom - plot.top
        );
    }
}

/// `find`: latency over load, and the objective.
fn load_curve(find: &Find, width: f64) -> Option<Chart> {
    let mut steps: Vec<_> = find.steps.iter().filter_map(|s| Some((s, s.response.as_ref()?))).collect();
    steps.sort_by(|a, b| a.0.load.total_cmp(&b.0.load));
    let legend = [("s2", "p50"), ("s1", "p99"), ("s3", "p99.9"), ("s0 dash", "objective")];
    let mut plot = Plot::new(width, inner_height(width), &legend);
    let limit = find.objective.parse::<Condition>().ok().and_then(|c| c.latency_limit());
    let all =
        steps.iter().flat_map(|(_, r)| r.p.iter().filter(|(k, _)| *k != "99.99").map(|(_, v)| *v as f64));
    let (low, high) = all.chain(limit).fold((f64::INFINITY, 0.0), |(low, high), v| (v.min(low), v.max(high)));
    let most = steps.last()?.0.load;
    let x = Axis::from_zero(most, LEFT, plot.right());
    let y = Axis::log(low * 0.8, high, plot.bottom, plot.top);
    plot.y_axis(&y, format::time);
    let ticks: Vec<_> = x.ticks(70.0).into_iter().map(|v| (v, load(v))).collect();
    plot.x_axis(&x, &ticks, if find.axis == "rate" { "messages/s" } else { "connections" });
    if let Some(limit) = limit {
        plot.line("s0 dash", &[(LEFT, y.at(limit)), (plot.right(), y.at(limit))]);
    }
    for (class, key) in [("3", "99.9"), ("1", "99"), ("2", "50")] {
        let points: Vec<_> = steps.iter().filter_map(|(s, r)| Some((*s, *r.p.get(key)?))).collect();
        let at = |(s, v): &(&crate::report::model::FindStep, u64)| (x.at(s.load), y.at(*v as f64));
        plot.line(&format!("s{class}"), &points.iter().map(at).collect::<Vec<_>>());
        for p in &points {
            let met = if p.0.ok { "meets" } else { "misses" };
            let tip =
                format!("{}: p{key} {}, {met} {}", format::short(p.0.load), format::ns(p.1), find.objective);
            plot.dot(&format!("f{class}"), at(p), &tip);
        }
    }
    Some(plot.finish(format!("Latency over load ({})", find.objective), "One dot for each load tried."))
}

/// `conns`: memory over connections, with the fitted line.
fn memory(conns: &Conns, width: f64) -> Option<Chart> {
    let user: Vec<(f64, f64)> =
        conns.steps.iter().filter_map(|s| Some((s.held as f64, s.server_rss_bytes? as f64))).collect();
    let kernel: Vec<(f64, f64)> =
        conns.steps.iter().filter_map(|s| Some((s.held as f64, s.kernel_bytes? as f64))).collect();
    let most = user.iter().chain(&kernel).fold((0.0f64, 0.0f64), |m, p| (m.0.max(p.0), m.1.max(p.1)));
    if most.0 == 0.0 {
        return None;
    }
    let legend = [("s1", "server resident memory"), ("s3", "kernel TCP memory")];
    let mut plot = Plot::new(width, inner_height(width), &legend);
    let x = Axis::from_zero(most.0, LEFT, plot.right());
    let y = Axis::from_zero(most.1 / 1048576.0, plot.bottom, plot.top);
    plot.y_axis(&y, |mib| format!("{mib} MiB"));
    let ticks: Vec<_> = x.ticks(70.0).into_iter().map(|v| (v, load(v))).collect();
    plot.x_axis(&x, &ticks, "connections held");
    for (class, points, fit) in [("3", &kernel, conns.kernel_slope), ("1", &user, conns.slope)] {
        if let Some(fit) = fit {
            let n = points.len() as f64;
            let mean = points.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
            let on_line = |at: f64| (x.at(at), y.at((mean.1 + fit.slope * (at - mean.0)) / 1048576.0));
            plot.line(&format!("s{class}"), &[on_line(0.0), on_line(most.0)]);
        }
        for p in points {
            let tip = format!("{} connections: {}", format::count(p.0 as u64), format::bytes(p.1));
            plot.dot(&format!("f{class}"), (x.at(p.0), y.at(p.1 / 1048576.0)), &tip);
        }
    }
    Some(plot.finish("Memory over connections", "The slope of each line is the memory a connection costs."))
}
