//! Which plots a report gets, and what is on them.

use std::fmt::Write;

use super::axis::Axis;
use super::percentiles::percentiles;
use super::plot::{BOTTOM, Chart, LEFT, Plot, inner_height};
use crate::report::format;
use crate::report::model::{Conns, Find, Interval, Phase, Report, Stat};
use crate::report::threshold::Condition;

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
