//! The percentile distribution that HdrHistogram's plotter reads (`.hgrm`).

use std::fmt::Write;

use hdrhistogram::Histogram;

/// `h` (nanoseconds) in the layout of HdrHistogram_c's `hdr_percentiles_print(…, 5, …, CLASSIC)`, as wrk2 prints it:
/// values in milliseconds, five lines to each halving of the distance to 100 %.
pub fn render(h: &Histogram<u64>) -> String {
    let mut out = format!(
        "{:>12} {:>12} {:>12} {:>12}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in h.iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        // Rust and C agree on "inf" for the last line's 1/(1-1).
        let _ = writeln!(
            out,
            "{:12.3} {:12.6} {:12} {:12.2}",
            millis(step.value_iterated_to()),
            quantile,
            total,
            1.0 / (1.0 - quantile)
        );
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        h.mean() / 1e6,
        h.stdev() / 1e6
    );
    let _ = writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        millis(h.max()),
        h.len()
    );
    let _ = writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        h.buckets(),
        sub_buckets(h)
    );
    out
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The linear part of each bucket: enough for the precision asked, a power of two.
fn sub_buckets(h: &Histogram<u64>) -> u64 {
    (2 * 10u64.pow(h.sigfig().into())).next_power_of_two()
}
