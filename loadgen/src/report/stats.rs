//! The little statistics the reports need: percentiles with intervals from ranks, and a slope with its interval.

use hdrhistogram::Histogram;

use super::model::Slope;

/// A percentile and how far to trust it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: u64,
    /// 95 % confidence interval.
    pub ci95: [u64; 2],
}

/// The quantile `q` (0 to 1) of `h`, or `None` when fewer than ten samples lie beyond it.
///
/// The interval is non-parametric: the number of samples below the true quantile is binomial, so the values at ranks
/// `nq ± 1.96 √(nq(1−q))` enclose it 19 times in 20, whatever the shape of the distribution (Hahn and Meeker,
/// *Statistical Intervals*, section 5.2). Samples that depend on each other, as in a stall, make it too narrow.
pub fn percentile(h: &Histogram<u64>, q: f64) -> Option<Estimate> {
    let n = h.len() as f64;
    // A hair below ten: 1,000 samples carry p99, though 1000 * (1 - 0.99) is 10.000000000000009 or 9.99…
    if n * (1.0 - q) < 10.0 - 1e-6 {
        return None;
    }
    let half = 1.96 * (n * q * (1.0 - q)).sqrt();
    let rank = |r: f64| (r.clamp(1.0, n)) as u64;
    let [low, value, high] = values_at_ranks(
        h,
        [
            rank((n * q - half).floor()),
            rank((n * q - 1e-6).ceil()),
            rank((n * q + half).ceil()),
        ],
    );
    Some(Estimate {
        value,
        ci95: [low, high],
    })
}

/// The values of the samples of the given ranks (1 is the smallest); the ranks must ascend.
fn values_at_ranks<const N: usize>(h: &Histogram<u64>, ranks: [u64; N]) -> [u64; N] {
    let mut values = [h.max(); N];
    let mut next = 0;
    let mut seen = 0;
    for bucket in h.iter_recorded() {
        seen += bucket.count_since_last_iteration();
        while next < N && ranks[next] <= seen {
            values[next] = bucket.value_iterated_to();
            next += 1;
        }
        if next == N {
            break;
        }
    }
    values
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
        let slope = points
            .iter()
            .map(|p| (p.0 - mean_x) * (p.1 - mean_y))
            .sum::<f64>()
            / sxx;
        let residual: f64 = points
            .iter()
            .map(|p| (p.1 - mean_y - slope * (p.0 - mean_x)).powi(2))
            .sum();
        let half = student_t(points.len() - 2) * (residual / (n - 2.0) / sxx).sqrt();
        Some(Slope {
            slope,
            ci95: [slope - half, slope + half],
        })
    }
}

/// The two-sided 95 % quantile of Student's t.
fn student_t(degrees: usize) -> f64 {
    const TABLE: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=10 => TABLE[degrees - 1],
        // Good to 0.2 % from 11 degrees on.
        _ => 1.96 + 2.5 / degrees as f64,
    }
}
