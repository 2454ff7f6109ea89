//! The histogram interval log (`.hlog`, version 1.3), as HdrHistogram's own tools read it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::model::{Report, Stat};

/// Every histogram of the report, each under its own tag: response, wire and own slip a line an interval if the report
/// has them so, the others one line for the whole run. Times are seconds, `Interval_Max` is milliseconds, histograms
/// hold nanoseconds.
pub fn render(report: &Report) -> String {
    let start = report.run.measured_from_unix_ns as f64 / 1e9;
    let mut out = String::new();
    let _ = writeln!(out, "#[loadgen {} {}]", report.tool.version, report.target.urls.join(" "));
    let _ = writeln!(out, "#[Histogram log format version 1.3]");
    let _ = writeln!(out, "#[BaseTime: {start:.3} (seconds since epoch)]");
    let _ = writeln!(out, "#[StartTime: {start:.3} (seconds since epoch), {}]", report.run.started);
    let _ = writeln!(
        out,
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    );

    let mut in_intervals = BTreeSet::new();
    for interval in report.measured_intervals() {
        let tagged =
            [("response", &interval.response), ("wire", &interval.wire), ("own_slip", &interval.own_slip)];
        for (tag, stat) in tagged {
            if let Some(stat) = stat.as_ref().filter(|stat| stat.hdr.is_some()) {
                in_intervals.insert(tag);
                line(&mut out, tag, interval.start_ns as f64 / 1e9, interval.len_ns as f64 / 1e9, stat);
            }
        }
    }
    let whole = report.measured_ns() as f64 / 1e9;
    for (tag, stat) in report.latency_ns.each() {
        if !in_intervals.contains(tag) {
            line(&mut out, tag, 0.0, whole, stat);
        }
    }
    out
}

fn line(out: &mut String, tag: &str, start: f64, len: f64, stat: &Stat) {
    if let Some(hdr) = &stat.hdr {
        let max = stat.max as f64 / 1e6;
        let _ = writeln!(out, "Tag={tag},{start:.3},{len:.3},{max:.3},{hdr}");
    }
}
