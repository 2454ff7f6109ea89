//! How long a client thinks between a reply and its next message.

use std::fmt;
use std::time::Duration;

use crate::host::clock::Nanos;
use crate::report::units;

/// `--think`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Think {
    /// Always the same.
    Fixed(Duration),
    /// Drawn from an exponential distribution of this mean.
    Exponential(Duration),
}

impl fmt::Display for Think {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Think::Fixed(time) => write!(f, "{time:?}"),
            Think::Exponential(mean) => write!(f, "exp:{mean:?}"),
        }
    }
}

impl Think {
    /// Reads `200ms` or `exp:200ms`.
    ///
    /// # Errors
    /// A sentence that says what it looks like.
    pub fn parse(text: &str) -> Result<Think, String> {
        let (exponential, time) = match text.strip_prefix("exp:") {
            Some(mean) => (true, mean),
            None => (false, text),
        };
        let time = units::duration(time).map_err(|_| format!("`{text}` is neither a time nor exp:TIME"))?;
        Ok(if exponential { Think::Exponential(time) } else { Think::Fixed(time) })
    }

    /// One such time.
    pub fn draw(self, rng: &mut fastrand::Rng) -> Nanos {
        match self {
            Think::Fixed(time) => time.into(),
            Think::Exponential(mean) => Nanos((Nanos::from(mean).0 as f64 * -(1.0 - rng.f64()).ln()) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_mean_that_was_asked_for() {
        let mut rng = fastrand::Rng::with_seed(3);
        let think = Think::parse("exp:200ms").unwrap();
        let mean = (0..20_000).map(|_| think.draw(&mut rng).0 as f64).sum::<f64>() / 20_000.0;
        assert!((mean / 2e8 - 1.0).abs() < 0.03, "{mean}");
        assert_eq!(Think::parse("5ms").unwrap().draw(&mut rng), Nanos::millis(5));
        assert_eq!(
            (think.to_string(), Think::parse("1s").unwrap().to_string()),
            ("exp:200ms".into(), "1s".into())
        );
        assert!(Think::parse("exp:").unwrap_err().contains("neither a time"));
    }
}
