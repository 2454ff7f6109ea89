//! How far a percentile can be trusted when messages share their fate.
//!
//! Messages of one run are no independent samples: those that meet a queue meet it together. So the run is cut into
//! blocks of time, and how much blocks differ says how much one more run would. Blocks that still depend on each other
//! are joined, two and two, until they do not; that is the length that fits the correlation.
//!
//! What is known in the end is a number: so many *independent* messages would say as much as these. The interval of a
//! percentile is where its share lies for so many, on the logit scale, read off the distribution (Woodruff's method;
//! Sitter and Wu, *A note on Woodruff confidence intervals for quantiles*, 2001). Beyond what a run has seen often, the
//! tail is taken to fall off as far as an exponential one does, which is the tail of a queue.

use hdrhistogram::Histogram;

use super::format;
use super::model::{Interval, PERCENTILES, Phase, Report, Stat};
use super::stats::student_t;

/// Fewer blocks say nothing about how they differ.
const BLOCKS_MIN: usize = 4;

/// Blocks are not joined to fewer than this.
const JOINED_MIN: usize = 8;

/// Independent messages, by the median, that a run must be worth.
const WORTH_MIN: f64 = 25.0;

/// An interval that reaches further than this in the logarithm of the share beyond needs help from the percentiles
/// below: what the run has seen of such times are a few heaps, and how large the largest heaps are it does not know.
const FEW: f64 = 0.7;

/// Where the distribution is looked at, lowest first: the percentiles of reports, and one more that steadies them.
const LOOKED_AT: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 0.9999];

/// How many times as correlated as the median's a percentile's excursions are in a queue, at most; by [`LOOKED_AT`].
const CLUSTERED: [f64; 6] = [1.0, 1.5, 2.0, 3.5, 4.0, 4.0];

/// The times of a run, block by block.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// Value, block, how many; by value.
    counts: Vec<(u64, u32, u64)>,
    /// Messages by block.
    totals: Vec<f64>,
    seconds: f64,
}

/// A number and where the truth lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The number.
    pub value: f64,
    /// The truth is not below,
    pub low: f64,
    /// nor above.
    pub high: f64,
}

/// What [`Blocks`] say.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// By the percentile's key in reports; those that the messages carry.
    pub percentiles: Vec<(&'static str, Bounds)>,
    /// Of all messages.
    pub mean: Bounds,
}

/// The run is too short to say how far its percentiles are to be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooShort {
    /// How long it would have to be, seconds, by what it has shown.
    pub needed_s: f64,
}

impl Blocks {
    /// Of histograms of equal stretches of time, in order, which are `seconds` together.
    pub fn new<'a>(histograms: impl IntoIterator<Item = &'a Histogram<u64>>, seconds: f64) -> Blocks {
        let mut blocks = Blocks { seconds, ..Blocks::default() };
        for (block, h) in histograms.into_iter().enumerate() {
            blocks.totals.push(h.len() as f64);
            let bucket = |b: hdrhistogram::iterators::IterationValue<u64>| {
                (b.value_iterated_to(), block as u32, b.count_at_value())
            };
            blocks.counts.extend(h.iter_recorded().map(bucket));
        }
        blocks.counts.sort_unstable();
        blocks
    }

    /// Of the response times in a report's time series; what came in the drain belongs to the last stretch of the measured
    /// time. `None` where the report has no histograms by interval.
    pub fn of(report: &Report) -> Option<Blocks> {
        Blocks::of_times(report, |interval| interval.response.as_ref())
    }

    /// Of the response times less what loadgen itself added to them.
    pub fn undisturbed(report: &Report) -> Option<Blocks> {
        let known = report.measured_intervals().all(|i| i.undisturbed.is_some() || i.response.is_none());
        let known = known && report.measured_intervals().any(|i| i.undisturbed.is_some());
        known.then(|| Blocks::of_times(report, |interval| interval.undisturbed.as_ref()))?
    }

    fn of_times<'a>(report: &'a Report, times: fn(&'a Interval) -> Option<&'a Stat>) -> Option<Blocks> {
        let mut histograms: Vec<Histogram<u64>> = Vec::new();
        let mut seconds = 0.0;
        for interval in report.measured_intervals() {
            let found = times(interval).map(|stat| stat.histogram()).transpose().ok()?;
            let h = found.unwrap_or_else(empty);
            match (interval.phase, histograms.last_mut()) {
                (Phase::Drain, Some(last)) => {
                    last.auto(true);
                    last.add(h).ok()?;
                }
                _ => {
                    seconds += interval.len_ns as f64 / 1e9;
                    histograms.push(h);
                }
            }
        }
        (!histograms.is_empty()).then(|| Blocks::new(&histograms, seconds))
    }

    fn messages(&self) -> f64 {
        self.totals.iter().sum()
    }

    /// The percentiles and the mean, each with an interval that the truth lies above with probability `beyond` and below
    /// with as much again.
    ///
    /// # Errors
    /// When the run is too short.
    pub fn evidence(&self, beyond: f64) -> Result<Evidence, TooShort> {
        let n = self.messages();
        let too_short = |factor: f64| TooShort { needed_s: (self.seconds * factor).max(1.0) };
        if self.totals.len() < BLOCKS_MIN || n < 20.0 {
            let blocks = BLOCKS_MIN as f64 / self.totals.len().max(1) as f64;
            return Err(too_short(blocks.max(20.0 / n.max(1.0))));
        }
        let worth = n / self.spread(0.5).times;
        if worth < WORTH_MIN {
            return Err(too_short(1.2 * WORTH_MIN / worth));
        }
        Ok(Evidence { percentiles: self.percentiles(beyond, worth), mean: self.mean(beyond, worth) })
    }

    fn percentiles(&self, beyond: f64, worth: f64) -> Vec<(&'static str, Bounds)> {
        let n = self.messages();
        // How far blocks differ is itself an estimate, the less certain the fewer independent messages there are.
        let caution = caution(worth);
        let mut found = Vec::new();
        let mut widest: Option<(Spread, f64)> = None;
        // Percentiles well known: highest value believed, and how far the tail beyond falls off.
        let mut anchors: Vec<(f64, f64, f64)> = Vec::new();
        for (q, clustered) in LOOKED_AT.into_iter().zip(CLUSTERED) {
            if n * (1.0 - q) < 10.0 - 1e-6 {
                break;
            }
            // A percentile's excursions are at least as correlated as those beneath, if more were seen of them.
            let own = self.spread(q);
            let t = student_t(1.0 - beyond, own.degrees) * caution;
            let wider = widest.filter(|(spread, t0)| spread.times * t0 * t0 > 1.5 * own.times * t * t);
            let (spread, t) = wider.unwrap_or((own, t));
            widest = Some((spread, t));

            let value = self.at(q);
            // The standard error of the logarithm of the share beyond.
            let error = (q * spread.times / ((1.0 - q) * n)).sqrt();
            let [low, high] = around(q, t * error / q);
            let mut top = self.at(high);
            if q >= 0.9 {
                let slope = self.excess((1.0 - 10.0 * (1.0 - q)).max(0.5));
                // Blocks may differ so much that nothing bounds it from above, nor those beyond.
                let Some(far) = farther(value, slope, q, high) else { break };
                top = top.max(far);
            }
            let guess = spread.times.max(1.0 + clustered * (n / worth - 1.0));
            let error = (q * guess / ((1.0 - q) * n)).sqrt();
            if t * error > FEW {
                for (r, high, slope) in &anchors {
                    top = top.max(high + slope * ((1.0 - r) / (1.0 - q)).ln());
                }
            } else {
                anchors.push((q, top, self.excess(q) * caution * (1.0 + 2.0 * error)));
            }
            if let Some((key, _)) = PERCENTILES.into_iter().find(|(_, p)| *p == q) {
                found.push((key, Bounds { value, low: self.at(low), high: top }));
            }
        }
        found
    }

    fn mean(&self, beyond: f64, worth: f64) -> Bounds {
        let n = self.messages();
        let mut sums = vec![0.0; self.totals.len()];
        for (value, block, count) in &self.counts {
            sums[*block as usize] += *value as f64 * *count as f64;
        }
        let mean = sums.iter().sum::<f64>() / n;
        let deviations = sums.iter().zip(&self.totals).map(|(sum, n)| sum - mean * n).collect();
        let (variance, degrees) = spread_of_sum(deviations);
        let t = student_t(1.0 - beyond, degrees) * caution(worth);
        let factor = (t * variance.sqrt() / (n * mean)).exp();
        Bounds { value: mean, low: mean / factor, high: mean * factor }
    }

    /// The interval of one percentile as if the messages were independent but worth only a share of themselves; `None`
    /// when fewer than ten are beyond it.
    pub fn alone(&self, q: f64, beyond: f64, worth: f64) -> Option<Bounds> {
        let n = self.messages();
        if n * (1.0 - q) < 10.0 - 1e-6 {
            return None;
        }
        let [low, high] = around(q, student_t(1.0 - beyond, 1000) / (q * (1.0 - q) * n * worth).sqrt());
        Some(Bounds { value: self.at(q), low: self.at(low), high: self.at(high) })
    }

    /// The value that a share `q` of the messages does not exceed.
    fn at(&self, q: f64) -> f64 {
        let rank = (self.messages() * q - 1e-6).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, _, count)| {
            seen += count;
            seen >= rank
        });
        found.or(self.counts.last()).map_or(0.0, |(value, ..)| *value as f64)
    }

    /// How far the messages beyond `q` are beyond it, on average.
    fn excess(&self, q: f64) -> f64 {
        let base = self.at(q);
        let (mut n, mut sum) = (0.0, 0.0);
        for (value, _, count) in self.counts.iter().rev().take_while(|(value, ..)| *value as f64 >= base) {
            n += *count as f64;
            sum += (*value as f64 - base) * *count as f64;
        }
        if n > 0.0 { sum / n } else { 0.0 }
    }

    /// How much more blocks differ in the share beyond `q` than independent messages would.
    fn spread(&self, q: f64) -> Spread {
        let (n, limit) = (self.messages(), self.at(q));
        let mut beyond = vec![0.0; self.totals.len()];
        for (_, block, count) in self.counts.iter().rev().take_while(|(value, ..)| *value as f64 > limit) {
            beyond[*block as usize] += *count as f64;
        }
        // The share found, which ties make smaller than 1 − q.
        let share = beyond.iter().sum::<f64>() / n;
        let deviations = beyond.iter().zip(&self.totals).map(|(beyond, n)| beyond - share * n).collect();
        let (variance, degrees) = spread_of_sum(deviations);
        let independent = n * share * (1.0 - share);
        let times = if independent > 0.0 { (variance / independent).max(0.75) } else { 1.0 };
        Spread { times, degrees }
    }
}

impl Report {
    /// Fills in the intervals of the response's percentiles from the time series, or says how long the run would have to
    /// be.
    pub fn bound(&mut self) {
        let Some(blocks) = Blocks::of(self) else { return };
        let Some(response) = &mut self.latency_ns.response else { return };
        match blocks.evidence(0.025) {
            Ok(evidence) => {
                let rounded = |b: Bounds| [b.low.floor() as u64, b.high.ceil() as u64];
                response.ci95 =
                    evidence.percentiles.into_iter().map(|(key, b)| (key.to_owned(), rounded(b))).collect();
            }
            Err(TooShort { needed_s }) => self.verdict.note(
                "short",
                format!(
                    "too short to say how far the percentiles hold (±): that takes about {} by what this run showed",
                    format::ns((needed_s.ceil() * 1e9) as u64)
                ),
            ),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    /// The variance over that of independent messages.
    times: f64,
    /// Degrees of freedom of that estimate.
    degrees: usize,
}

/// The variance of the sum of `blocks`, which are joined two and two while neighbours go together, and the degrees of
/// freedom of that estimate.
pub fn spread_of_sum(mut blocks: Vec<f64>) -> (f64, usize) {
    loop {
        let m = blocks.len() as f64;
        let mean = blocks.iter().sum::<f64>() / m;
        let squares: f64 = blocks.iter().map(|x| (x - mean).powi(2)).sum();
        let products: f64 = blocks.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
        // Independent blocks seem to go against each other by 1/m, since their mean is theirs.
        let together = if squares > 0.0 { products / squares + 1.0 / m } else { 0.0 };
        if blocks.len() / 2 < JOINED_MIN || together < 0.5 / m.sqrt() {
            // What is left of it counts, unless it may be nothing.
            let rest = if together > 1.0 / m.sqrt() { together } else { 0.0 };
            return (squares / (m - 1.0) * m * (1.0 + 2.0 * rest), blocks.len() - 1);
        }
        blocks = blocks.chunks_exact(2).map(|pair| pair[0] + pair[1]).collect();
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// The shares as far from `q` as `shift` on the logit scale.
fn around(q: f64, shift: f64) -> [f64; 2] {
    let odds = (q / (1.0 - q)).ln();
    [-shift, shift].map(|shift| 1.0 / (1.0 + (-shift - odds).exp()))
}

/// The percentile `to` of a tail that falls off by `slope` and has `value` at `from`; none where nothing is left beyond.
fn farther(value: f64, slope: f64, from: f64, to: f64) -> Option<f64> {
    let far = value + slope * ((1.0 - from) / (1.0 - to)).ln();
    far.is_finite().then_some(far)
}

/// How much wider an interval has to be for all that a run worth so many independent messages cannot know about how
/// they depend on each other.
fn caution(worth: f64) -> f64 {
    1.0 + (60.0 / worth).powf(1.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a starved host blocks may differ so much that the share beyond a percentile may be none at all.
    #[test]
    fn what_nothing_bounds_has_no_end() {
        assert_eq!(around(0.9999, 50.0)[1], 1.0);
        let far = farther(7.0, 2.0, 0.9, 0.99).expect("a tenth is left beyond");
        assert!((far - (7.0 + 2.0 * 10_f64.ln())).abs() < 1e-9, "{far}");
        assert_eq!(farther(7.0, 2.0, 0.9, 1.0), None);
        assert_eq!(farther(7.0, 0.0, 0.9, 1.0), None);
    }
}
