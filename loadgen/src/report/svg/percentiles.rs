//! Latency by percentile.

use hdrhistogram::Histogram;

use super::axis::Axis;
use super::plot::{Chart, LEFT, Plot, inner_height};
use crate::report::format;
use crate::report::model::{Mode, PERCENTILES, Report, Stat};
use crate::report::stats;

const CAPTION: &str = "Dotted where fewer than ten samples lie beyond: an anecdote, not a percentile. The shade around the \
                       first curve is its 95 % confidence interval, where the run was long enough for one.";

/// One curve.
struct Series {
    name: &'static str,
    /// Which of the colours.
    colour: usize,
    histogram: Histogram<u64>,
}

impl Series {
    fn class(&self) -> String {
        // Wire is often all of the response: a wider line shows on both sides of the other.
        format!("s{}{}", self.colour, if self.name == "wire" { " halo" } else { "" })
    }
}

/// Latency by percentile, on the axis that gives each further nine the same room.
pub fn percentiles(report: &Report, width: f64) -> Option<Chart> {
    let candidates = times(report);
    let bounds = candidates[0].1.as_ref().map(|stat| stat.ci95.clone()).unwrap_or_default();
    let curves: Vec<Series> =
        (1..).zip(candidates).filter_map(|(i, (name, stat))| curve(i, name, stat)).collect();
    let headline = &curves.first()?.histogram;

    let classes: Vec<String> = curves.iter().map(Series::class).collect();
    let legend: Vec<(&str, &str)> =
        classes.iter().zip(&curves).map(|(class, curve)| (class.as_str(), curve.name)).collect();
    let mut plot = Plot::new(width, inner_height(width), &legend);
    let longest = curves.iter().map(|curve| nines(1.0, curve.histogram.len())).fold(0.0, f64::max);
    let x = Axis::exact(0.0, longest, LEFT, plot.right());
    let low = curves.iter().map(|curve| curve.histogram.value_at_quantile(0.01)).min()?;
    let high = curves.iter().map(|curve| curve.histogram.max()).max()?;
    let y = Axis::log(low as f64, 2.0 * high as f64, plot.bottom, plot.top);
    plot.y_axis(&y, format::time);
    plot.x_axis(&x, &ticks(longest), "percentile");

    let band: Vec<(f64, [u64; 2])> =
        PERCENTILES.iter().filter_map(|(key, q)| Some((x.at(nines(*q, 0)), *bounds.get(*key)?))).collect();
    let edge = |side: usize| band.iter().map(|(x, ci)| (*x, y.at(ci[side] as f64))).collect::<Vec<_>>();
    plot.area("area f1", &edge(1), &edge(0));
    for curve in curves.iter().rev() {
        draw(&mut plot, curve, &x, &y, longest);
    }
    let top = (x.at(nines(1.0, headline.len())), y.at(headline.max() as f64) - 8.0);
    let max = format!("max {}", format::ns(headline.max()));
    plot.text(top.0, top.1.max(plot.top - 2.0), "end", "strong", &max);
    Some(plot.finish("Latency by percentile", CAPTION))
}

/// What may be drawn of `report`, the time it is about first.
fn times(report: &Report) -> Vec<(&'static str, &Option<Stat>)> {
    let l = &report.latency_ns;
    match &report.fanout {
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
    }
}

/// The curve of `stat`, if it has two samples.
fn curve(colour: usize, name: &'static str, stat: &Option<Stat>) -> Option<Series> {
    let histogram = stat.as_ref()?.histogram().ok()?;
    (histogram.len() >= 2).then_some(Series { name, colour, histogram })
}

/// How many nines `q` has; of 1, as many as a sample of `n` can show.
fn nines(q: f64, n: u64) -> f64 {
    if q >= 1.0 { (n as f64).log10() } else { -(1.0 - q).log10() }
}

fn ticks(longest: f64) -> Vec<(f64, String)> {
    [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999]
        .into_iter()
        .map(|p| (nines(p / 100.0, 0), format!("{p}%")))
        .filter(|(at, _)| *at <= longest)
        .collect()
}

/// The line of `curve`, dotted where it cannot be trusted, with dots that tell their values.
fn draw(plot: &mut Plot, curve: &Series, x: &Axis, y: &Axis, longest: f64) {
    let Series { name, colour, histogram } = curve;
    let n = histogram.len();
    let trusted = nines(1.0, n) - 1.0; // ten samples beyond
    let distribution = stats::distribution(histogram);
    let split = distribution.iter().take_while(|point| nines(point.quantile, n) <= trusted).count();
    let points: Vec<_> = distribution
        .iter()
        .map(|point| (x.at(nines(point.quantile, n).min(longest)), y.at(point.value as f64)))
        .collect();
    plot.line(&curve.class(), &points[..split]);
    plot.line(&format!("s{colour} faint"), &points[split.saturating_sub(1)..]);
    for q in [0.5, 0.9, 0.99, 0.999, 0.9999] {
        if let Some(value) = stats::percentile(histogram, q) {
            let tip = format!("{name} p{}: {}", (q * 1e6).round() / 1e4, format::ns(value));
            plot.dot(&format!("f{colour}"), (x.at(nines(q, 0)), y.at(value as f64)), &tip);
        }
    }
}
