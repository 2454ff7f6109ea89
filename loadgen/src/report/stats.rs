//! The little statistics the reports need: percentiles, Student's t, and a slope with its interval.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The quantile `q` (0 to 1) of `h`, or `None` when fewer than ten samples lie beyond it: it would be an anecdote.
pub fn percentile(h: &Histogram<u64>, q: f64) -> Option<u64> {
    let n = h.len() as f64;
    // A hair below ten: 1,000 samples carry p99, though 1000 * (1 - 0.99) is 10.000000000000009 or 9.99…
    if n * (1.0 - q) < 10.0 - 1e-6 {
        return None;
    }
    let rank = (n * q - 1e-6).ceil().max(1.0) as u64;
    let mut seen = 0;
    let bucket = h.iter_recorded().find(|bucket| {
        seen += bucket.count_since_last_iteration();
        seen >= rank
    });
    bucket.map(|bucket| bucket.value_iterated_to())
}

/// A point of the percentile distribution.
#[derive(Clone, Copy, Debug)]
pub struct PercentilePoint {
    /// 0 to 1.
    pub quantile: f64,
    /// The largest value the histogram cannot tell from the sample at `quantile`.
    pub value: u64,
    /// Samples up to and including `value`.
    pub total: u64,
}

/// The percentile distribution of `h`, five points to each halving of the distance to 100 %, the last at exactly 1.
///
/// The points are those of HdrHistogram_c and of Java. (The crate's own `iter_quantiles` passes a level that a sample
/// meets exactly on to the next sample: of 2,000 samples it puts 0.3 at the 601st.)
pub fn distribution(h: &Histogram<u64>) -> Vec<PercentilePoint> {
    let mut points = Vec::new();
    let mut total = 0;
    let mut level = 0.0; // in per cent, as the C code counts, so that rounding agrees
    for bucket in h.iter_recorded() {
        total += bucket.count_since_last_iteration();
        let value = bucket.value_iterated_to();
        while level <= 100.0 * total as f64 / h.len() as f64 {
            points.push(PercentilePoint { quantile: level / 100.0, value, total });
            let halvings = (100.0 / (100.0 - level)).log2() as i32 + 1;
            level += 100.0 / (5.0 * 2f64.powi(halvings));
            if total == h.len() {
                points.push(PercentilePoint { quantile: 1.0, value, total });
                break;
            }
        }
    }
    points
}

/// A least-squares slope with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Slope {
    /// What one x more adds.
    pub slope: f64,
    /// Where the truth is in 19 of 20 cases.
    pub ci95: [f64; 2],
}

impl Slope {
    /// The least-squares slope through `points`, or `None` with fewer than three, or when all x are equal.
    pub fn fit(points: &[(f64, f64)]) -> Option<Slope> {
        let n = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
        let sxx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        if sxx == 0.0 {
            return None;
        }
        let slope = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum::<f64>() / sxx;
        let residual: f64 = points.iter().map(|p| (p.1 - mean_y - slope * (p.0 - mean_x)).powi(2)).sum();
        let half = student_t(0.975, points.len() - 2) * (residual / (n - 2.0) / sxx).sqrt();
        Some(Slope { slope, ci95: [slope - half, slope + half] })
    }
}

/// The quantile `p` (0.5 to 1) of Student's t with so many degrees of freedom, to 1 %.
pub fn student_t(p: f64, degrees: usize) -> f64 {
    let (z, d) = (normal(p), degrees as f64);
    match degrees {
        0 => f64::INFINITY,
        1 => (std::f64::consts::PI * (p - 0.5)).tan(),
        2 => (2.0 * p - 1.0) * (2.0 / (4.0 * p * (1.0 - p))).sqrt(),
        // Abramowitz and Stegun, 26.7.5.
        _ => {
            let odd = |c: [f64; 5]| c.iter().rev().fold(0.0, |sum, c| sum * z * z + c) * z;
            z + odd([1.0, 1.0, 0.0, 0.0, 0.0]) / (4.0 * d)
                + odd([3.0, 16.0, 5.0, 0.0, 0.0]) / (96.0 * d.powi(2))
                + odd([-15.0, 17.0, 19.0, 3.0, 0.0]) / (384.0 * d.powi(3))
                + odd([-945.0, -1920.0, 1482.0, 776.0, 79.0]) / (92_160.0 * d.powi(4))
        }
    }
}

/// The quantile `p` (0.5 to 1) of the normal distribution, to 0.0005 (Abramowitz and Stegun, 26.2.23).
fn normal(p: f64) -> f64 {
    let t = (-2.0 * (1.0 - p).ln()).sqrt();
    t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        for value in values {
            h.record(value).unwrap();
        }
        h
    }

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        assert!(percentile(&histogram(1..=999), 0.99).is_none());
        assert_eq!(percentile(&histogram(1..=1000), 0.99), Some(990));
        assert!(percentile(&histogram(1..=99_999), 0.9999).is_none());
        assert!(percentile(&histogram(1..=100_000), 0.9999).is_some());
        assert!(percentile(&histogram([]), 0.5).is_none());
    }

    /// By hand: mean y 5.15, Sxy 10, Sxx 5, residuals ±0.05, so s² = 0.01/2, and t = 4.303 at 2 degrees of freedom.
    #[test]
    fn a_slope_through_known_points() {
        let fit = Slope::fit(&[(1.0, 2.1), (2.0, 4.2), (3.0, 6.2), (4.0, 8.1)]).unwrap();
        assert!((fit.slope - 2.0).abs() < 1e-9, "{fit:?}");
        let half = (fit.ci95[1] - fit.ci95[0]) / 2.0;
        assert!((half / (4.303 * 0.001f64.sqrt()) - 1.0).abs() < 1e-3, "{half}");
    }

    /// The tables of any textbook.
    #[test]
    fn student_and_the_normal_distribution_agree_with_tables() {
        for (p, degrees, t) in [
            (0.975, 1, 12.706),
            (0.975, 2, 4.303),
            (0.975, 3, 3.182),
            (0.975, 10, 2.228),
            (0.975, 10_000, 1.960),
            (0.99, 4, 3.747),
            (0.995, 3, 5.841),
            (0.9875, 29, 2.364),
            (0.95, 5, 2.015),
        ] {
            let found = student_t(p, degrees);
            assert!((found / t - 1.0).abs() < 0.01, "{p} {degrees}: {found}");
        }
    }

    #[test]
    fn no_slope_without_points_apart() {
        assert!(Slope::fit(&[(1.0, 1.0), (2.0, 2.0)]).is_none());
        assert!(Slope::fit(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]).is_none());
    }
}
