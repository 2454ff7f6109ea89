//! How far the percentiles of a run can be trusted.
//!
//! The response holds loadgen's own lateness, which is known message by message. So two distributions are: the response
//! as it was, and what it would have been without ours. Where a percentile of the two is as good as the same, it is the
//! server's, whatever loadgen's lateness looked like beside other figures.

use super::model::{PERCENTILES, Report, Stat, Trust, Verdict};
use super::stats;

/// So much of a percentile may be ours without casting doubt on it, per cent of what is not ours …
const SHARE_PCT: u64 = 10;

/// … or so many nanoseconds: below that no user sees the difference.
const FLOOR_NS: u64 = 50_000;

impl Report {
    /// Fills in [`Verdict::valid_to`] and [`Verdict::trust`] from the times of the run.
    ///
    /// Where a reply ends when it is read, the wake-up before the read is in no message's account; what this host adds
    /// to a bare timer stands in for it.
    pub fn assess(&mut self) {
        let times = &self.latency_ns;
        let hiccup = times.hiccup.as_ref().filter(|_| self.config.stamps != "kernel");
        let hiccup = hiccup.and_then(|stat| stat.histogram().ok());
        let hidden = |q: f64| hiccup.as_ref().map_or(0, |h| h.value_at_quantile(q));
        let trust = percentiles(times.response.as_ref(), times.undisturbed.as_ref(), hidden);
        let trusted = trust.iter().take_while(|t| t.trusted).last();
        self.verdict.valid_to = trusted.map(|t| t.p.clone());
        self.verdict.trust = trust;
    }
}

impl Verdict {
    /// The part of percentile `key` of the response that may be loadgen's own, nanoseconds; `None` where the report does
    /// not say.
    pub fn doubt_ns(&self, key: &str) -> Option<u64> {
        self.trust.iter().find(|t| t.p == key).map(|t| t.ours_ns)
    }
}

/// So much of ours beside `theirs` is too little to matter.
pub fn tolerable(theirs: u64) -> u64 {
    FLOOR_NS.max(theirs * SHARE_PCT / 100)
}

/// Every percentile that the samples carry, lowest first.
fn percentiles(
    response: Option<&Stat>,
    undisturbed: Option<&Stat>,
    hidden: impl Fn(f64) -> u64,
) -> Vec<Trust> {
    let histogram = |stat: Option<&Stat>| stat.and_then(|s| s.histogram().ok());
    let (Some(with), Some(without)) = (histogram(response), histogram(undisturbed)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, q) in PERCENTILES {
        let Some(response_ns) = stats::percentile(&with, q) else { break };
        // Where the times jump, as between replies and messages that had none, lateness moves a percentile from one side
        // to the other although it has changed nothing: a fiftieth of those beyond may be on either.
        let without = without.value_at_quantile(q + (1.0 - q) / 50.0);
        let ours_ns = response_ns.saturating_sub(without).saturating_add(hidden(q)).min(response_ns);
        let rest = response_ns - ours_ns;
        let trusted = ours_ns <= tolerable(rest);
        found.push(Trust { p: key.to_owned(), response_ns, ours_ns, trusted });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Latencies;
    use hdrhistogram::Histogram;

    fn stat(values: impl Iterator<Item = u64>) -> Option<Stat> {
        let mut h = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        values.for_each(|v| h.record(v).unwrap());
        Some(Stat::new(&h, 0))
    }

    fn judged(response: Option<Stat>, undisturbed: Option<Stat>, hidden: u64) -> Verdict {
        let hiccup = stat((0..1_000).map(|_| hidden.max(1)));
        let latency_ns = Latencies { response, undisturbed, hiccup, ..Latencies::default() };
        let mut report = Report { latency_ns, ..Report::default() };
        report.assess();
        report.verdict
    }

    /// A stall of 200 ms a second stays a stall although loadgen was a millisecond late all the time.
    #[test]
    fn lateness_that_cannot_have_made_a_percentile_does_not_touch_it() {
        let server = |i: u64| if i.is_multiple_of(5) { i * 20_000 } else { 100_000 };
        let verdict =
            judged(stat((0..10_000).map(|i| server(i) + 1_000_000)), stat((0..10_000).map(server)), 0);
        let trusted: Vec<bool> = verdict.trust.iter().map(|t| t.trusted).collect();
        assert_eq!(trusted, [false, true, true, true], "{:?}", verdict.trust);
        assert_eq!(verdict.valid_to, None, "the median is ten times what it would be");
        assert!(verdict.doubt_ns("99").unwrap() < 1_200_000);
    }

    #[test]
    fn a_late_tail_costs_the_tail_alone() {
        let late = |i: u64| if i.is_multiple_of(50) { 900_000 } else { 5_000 };
        let verdict =
            judged(stat((0..10_000).map(|i| 100_000 + late(i))), stat((0..10_000).map(|_| 100_000)), 0);
        assert_eq!(verdict.valid_to.as_deref(), Some("90"), "{:?}", verdict.trust);
        let ours = verdict.doubt_ns("99").unwrap();
        assert!((890_000..=910_000).contains(&ours), "{ours}");
    }

    /// Half of the messages had no reply: the median is on the edge, and a microsecond decides on which side.
    #[test]
    fn an_edge_is_not_ours() {
        let server = |i: u64| if i < 5_000 { 300_000_000 } else { 100_000 };
        let with = stat((0..10_000).map(|i| server(if i == 5_000 { 0 } else { i }) + 1_000));
        let verdict = judged(with, stat((0..10_000).map(server)), 0);
        assert!(verdict.trust[0].response_ns > 200_000_000, "{:?}", verdict.trust);
        assert!(verdict.trust[0].trusted, "{:?}", verdict.trust);
    }

    #[test]
    fn what_the_host_hides_counts_as_ours() {
        let times = || stat((0..1_000).map(|_| 300_000));
        assert_eq!(judged(times(), times(), 0).valid_to.as_deref(), Some("99"));
        assert_eq!(judged(times(), times(), 60_000).valid_to, None);
        assert_eq!(judged(times(), None, 0).trust, []);
    }
}
