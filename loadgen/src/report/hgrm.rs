//! The percentile distribution that HdrHistogram's plotter reads (`.hgrm`).

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::stats;

/// `h` (nanoseconds) in the layout of HdrHistogram_c's `hdr_percentiles_print(…, 5, …, CLASSIC)`, as wrk2 prints it:
/// values in milliseconds, five lines to each halving of the distance to 100 %.
pub fn render(h: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>12} {:>12} {:>12}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for point in stats::distribution(h) {
        let (value, total) = (millis(point.value), point.total);
        // Rust and C agree on "inf" for the last line's 1/(1-1).
        let inverse = 1.0 / (1.0 - point.quantile);
        let _ = writeln!(out, "{value:12.3} {:12.6} {total:12} {inverse:12.2}", point.quantile);
    }
    let _ = writeln!(out, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", h.mean() / 1e6, h.stdev() / 1e6);
    let _ = writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", millis(h.max()), h.len());
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", h.buckets(), sub_buckets(h));
    out
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The linear part of each bucket: enough for the precision asked, a power of two.
fn sub_buckets(h: &Histogram<u64>) -> u64 {
    (2 * 10u64.pow(h.sigfig().into())).next_power_of_two()
}

#[cfg(test)]
mod tests {
    /// The golden file was printed by HdrHistogram_c (commit 18c7a32) for the same samples.
    #[test]
    fn the_lines_are_those_of_hdrhistogram_c_to_the_byte() {
        let mut h = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        for i in 1..=2000u64 {
            h.record(i * i * 1000).unwrap();
        }
        assert_eq!(super::render(&h), include_str!("../../tests/golden/squares.hgrm"));
    }
}
