//! How long each message is.

use std::fmt;

use crate::report::units;

/// `--size`: payload bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// Both ends included, every size as likely.
    Range(usize, usize),
    /// Cumulative shares of 1 and sizes.
    Mix(Vec<(f64, usize)>),
    /// By its median and 99th percentile.
    Lognormal {
        /// The median, bytes.
        p50: f64,
        /// The 99th percentile, bytes.
        p99: f64,
    },
}

/// As `--size` takes it.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bytes = |n: usize| match n {
            n if n > 0 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
            n if n > 0 && n.is_multiple_of(1 << 10) => format!("{}k", n >> 10),
            n => n.to_string(),
        };
        match self {
            Sizes::Fixed(n) => f.write_str(&bytes(*n)),
            Sizes::Range(low, high) => write!(f, "{}..{}", bytes(*low), bytes(*high)),
            Sizes::Lognormal { p50, p99 } => {
                write!(f, "lognormal:p50={},p99={}", bytes(*p50 as usize), bytes(*p99 as usize))
            }
            Sizes::Mix(mix) => {
                let mut before = 0.0;
                for (i, (upto, size)) in mix.iter().enumerate() {
                    // Sums of shares are not exact to the last digit.
                    let share = ((upto - before) * 1e8).round() / 1e6;
                    write!(f, "{}{share}%:{}", if i > 0 { "," } else { "" }, bytes(*size))?;
                    before = *upto;
                }
                Ok(())
            }
        }
    }
}

impl Sizes {
    /// Reads `128`, `64..4k`, `90%:64,9%:1k,1%:64k` or `lognormal:p50=200,p99=8k`.
    ///
    /// # Errors
    /// A sentence that says what sizes look like.
    pub fn parse(text: &str) -> Result<Sizes, String> {
        if let Some(shape) = text.strip_prefix("lognormal:") {
            let wrong = || format!("`{text}` is not of the form lognormal:p50=200,p99=8k");
            let (p50, p99) = shape.split_once(',').ok_or_else(wrong)?;
            let value = |part: &str, name| units::message_size(part.strip_prefix(name).ok_or_else(wrong)?);
            let (p50, p99) = (value(p50, "p50=")? as f64, value(p99, "p99=")? as f64);
            return if p50 >= 1.0 && p99 > p50 { Ok(Sizes::Lognormal { p50, p99 }) } else { Err(wrong()) };
        }
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (units::message_size(low)?, units::message_size(high)?);
            return if low <= high {
                Ok(Sizes::Range(low, high))
            } else {
                Err(format!("`{text}` runs backwards"))
            };
        }
        if text.contains('%') {
            let mut mix = Vec::new();
            let mut sum = 0.0;
            for part in text.split(',') {
                let (share, size) = part
                    .split_once("%:")
                    .and_then(|(share, size)| {
                        let percent = 100.0 * units::share(&format!("{share}%")).ok()?;
                        Some((percent, units::message_size(size).ok()?))
                    })
                    .filter(|(share, _)| *share > 0.0)
                    .ok_or_else(|| format!("`{part}` is not a share of the messages such as 90%:64"))?;
                sum += share;
                mix.push((sum / 100.0, size));
            }
            return if (sum - 100.0).abs() < 0.01 {
                Ok(Sizes::Mix(mix))
            } else {
                Err(format!("shares add up to {sum}%"))
            };
        }
        units::message_size(text).map(Sizes::Fixed)
    }

    /// The size that two random numbers stand for.
    pub fn pick(&self, random: u64) -> usize {
        // 53 bits make a float in [0, 1).
        let unit = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
        match self {
            Sizes::Fixed(n) => *n,
            Sizes::Range(low, high) => low + (unit(random) * (high - low + 1) as f64) as usize,
            Sizes::Mix(mix) => {
                let u = unit(random);
                mix.iter().find(|(upto, _)| u < *upto).unwrap_or(&mix[mix.len() - 1]).1
            }
            Sizes::Lognormal { p50, p99 } => {
                // Box and Muller's transform; 2.3263 is the normal distribution's 99th percentile.
                let (a, b) =
                    (1.0 - unit(random), unit(random.wrapping_mul(0xD134_2543_DE82_EF95).rotate_left(32)));
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                let size = (p50.ln() + normal * (p99 / p50).ln() / 2.326_347_9).exp();
                (size.round() as usize).min(self.max())
            }
        }
    }

    /// The largest size there can be. A log-normal tail is cut where one message in a billion would be longer.
    pub fn max(&self) -> usize {
        match self {
            Sizes::Fixed(n) => *n,
            Sizes::Range(_, high) => *high,
            Sizes::Mix(mix) => mix.iter().map(|(_, size)| *size).max().unwrap_or(0),
            Sizes::Lognormal { p50, p99 } => {
                ((p50 * (p99 / p50).powf(6.0 / 2.326_347_9)) as usize).min(units::MAX_BYTES)
            }
        }
    }

    /// The smallest size there can be.
    pub fn min(&self) -> usize {
        match self {
            Sizes::Fixed(n) => *n,
            Sizes::Range(low, _) => *low,
            Sizes::Mix(mix) => mix.iter().map(|(_, size)| *size).min().unwrap_or(0),
            Sizes::Lognormal { p50, p99 } => (p50 / (p99 / p50).powf(6.0 / 2.326_347_9)) as usize,
        }
    }

    /// The mean size.
    pub fn mean(&self) -> f64 {
        match self {
            Sizes::Fixed(n) => *n as f64,
            Sizes::Range(low, high) => (low + high) as f64 / 2.0,
            Sizes::Mix(mix) => {
                let mut before = 0.0;
                mix.iter()
                    .map(|(upto, size)| (upto - std::mem::replace(&mut before, *upto)) * *size as f64)
                    .sum()
            }
            Sizes::Lognormal { p50, p99 } => p50 * (((p99 / p50).ln() / 2.326_347_9).powi(2) / 2.0).exp(),
        }
    }

    /// The name of the distribution, as the report has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Sizes::Fixed(_) => "fixed",
            Sizes::Range(..) => "range",
            Sizes::Mix(_) => "mix",
            Sizes::Lognormal { .. } => "lognormal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(text: &str) -> Vec<usize> {
        let sizes = Sizes::parse(text).unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut all: Vec<usize> = (0..100_000).map(|_| sizes.pick(rng.u64(..))).collect();
        assert!(all.iter().all(|n| *n <= sizes.max()));
        let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
        assert!((mean / sizes.mean() - 1.0).abs() < 0.05, "{text}: {mean} is not {}", sizes.mean());
        all.sort_unstable();
        all
    }

    #[test]
    fn a_report_says_sizes_as_the_option_takes_them() {
        for text in [
            "128",
            "0",
            "64..4k",
            "1..70000",
            "90%:64,9%:1k,1%:64k",
            "0.5%:0,99.5%:1M",
            "lognormal:p50=200,p99=8k",
        ] {
            assert_eq!(Sizes::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes_follow_their_distribution() {
        assert!(picks("128").iter().all(|n| *n == 128));
        let range = picks("10..19");
        assert_eq!((range[0], range[99_999]), (10, 19));
        let mix = picks("90%:64,9%:1k,1%:64k");
        assert_eq!((mix[50_000], mix[95_000], mix[99_500]), (64, 1024, 65_536));
        let log = picks("lognormal:p50=200,p99=8k");
        assert!((190..210).contains(&log[50_000]), "{}", log[50_000]);
        assert!((7_500..8_900).contains(&log[99_000]), "{}", log[99_000]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "5..1", "50%:1", "90%:64,20%:1k", "lognormal:p50=9", "lognormal:p50=9,p99=9", "x"] {
            assert!(Sizes::parse(bad).is_err(), "{bad}");
        }
    }
}
