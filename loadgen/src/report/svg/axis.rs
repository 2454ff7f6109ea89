//! Where values stand on a plot.

/// One direction of a plot: where a value stands, in pixels.
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// Linear from 0 to a round number at or above `high`.
    pub fn from_zero(high: f64, from: f64, to: f64) -> Axis {
        let step = round_step(high.max(1e-9) / 4.0);
        Axis { low: 0.0, high: (high.max(1e-9) / step).ceil() * step, log: false, from, to }
    }

    /// Linear, exactly from `low` to `high`.
    pub fn exact(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: if high > low { high } else { low + 1.0 }, log: false, from, to }
    }

    /// Logarithmic over at least the given values, at most six decades.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let high = high.max(10.0);
        let low = low.clamp(high / 1e6, high / 3.0);
        Axis { low: round_down(low), high: high * 1.15, log: true, from, to }
    }

    /// The pixel of `value`; values beyond the ends stay at the end.
    pub fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values to label, about one to 50 pixels and never more than fit.
    pub fn ticks(&self, pixels: f64) -> Vec<f64> {
        let most = ((self.to - self.from).abs() / pixels).max(2.0);
        if !self.log {
            let step = round_step((self.high - self.low) / most);
            let first = (self.low / step).ceil() as i64;
            return (first..)
                .map(|k| k as f64 * step)
                .take_while(|v| *v <= self.high * (1.0 + 1e-9))
                .collect();
        }
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let within = |marks: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|d| marks.iter().map(move |m| m * 10f64.powi(d)).collect::<Vec<_>>());
            all.filter(|v| (self.low * 0.999..=self.high).contains(v)).collect()
        };
        let fine = within(&[1.0, 2.0, 5.0]);
        if fine.len() as f64 <= most { fine } else { within(&[1.0]) }
    }
}

/// 1, 2 or 5 times a power of ten, at or above `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * decade)
        .find(|s| *s >= step * 0.999)
        .unwrap_or(10.0 * decade)
}

/// 1, 2 or 5 times a power of ten, at or below `value`.
fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|m| m * decade).find(|s| *s <= value * 1.001).unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_on_a_round_number() {
        let axis = Axis::from_zero(49_998.0, 0.0, 100.0);
        assert_eq!(axis.high, 60_000.0);
        assert_eq!(axis.at(30_000.0), 50.0);
        assert_eq!(axis.ticks(25.0), [0.0, 20_000.0, 40_000.0, 60_000.0]);
    }

    #[test]
    fn a_log_axis_labels_decades_or_finer() {
        let axis = Axis::log(3_000.0, 2e6, 300.0, 0.0);
        assert_eq!(axis.low, 2000.0);
        assert_eq!(axis.ticks(25.0)[..4], [2000.0, 5000.0, 10_000.0, 20_000.0]);
        assert_eq!(axis.ticks(100.0), [10_000.0, 100_000.0, 1_000_000.0]);
        assert_eq!(axis.at(0.0), 300.0);
        assert_eq!(axis.at(1e12), 0.0);
    }
}
