//! How long a client waits before it tries to come back.

use std::time::Duration;

use crate::host::clock::Nanos;
use crate::report::units;

/// How long a client waits before it tries to come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// Not at all.
    None,
    /// Always the same wait.
    Fixed(Duration),
    /// Anywhere up to a limit that doubles with every failure ("full jitter").
    Jitter {
        /// The longest first wait.
        base: Duration,
        /// No wait is longer.
        max: Duration,
    },
}

impl std::fmt::Display for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Backoff::None => f.write_str("none"),
            Backoff::Fixed(time) => write!(f, "fixed:{time:?}"),
            Backoff::Jitter { base, max } => write!(f, "exp:{base:?}..{max:?}"),
        }
    }
}

impl Backoff {
    /// Reads `none`, `fixed:1s` or `exp:100ms..5s`.
    ///
    /// # Errors
    /// A sentence that says what a policy looks like.
    pub fn parse(text: &str) -> Result<Backoff, String> {
        let wrong = || format!("`{text}` is not none, fixed:TIME or exp:TIME..TIME");
        if text == "none" {
            Ok(Backoff::None)
        } else if let Some(time) = text.strip_prefix("fixed:") {
            Ok(Backoff::Fixed(units::duration(time)?))
        } else {
            let (base, max) = text.strip_prefix("exp:").and_then(|t| t.split_once("..")).ok_or_else(wrong)?;
            Ok(Backoff::Jitter { base: units::duration(base)?, max: units::duration(max)? })
        }
    }

    /// How long to wait after `failures` attempts.
    pub fn delay(&self, failures: u32, rng: &mut fastrand::Rng) -> Nanos {
        match self {
            Backoff::None => Nanos(0),
            Backoff::Fixed(time) => Nanos::from(*time),
            Backoff::Jitter { base, max } => {
                let limit = base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(*max);
                Nanos((rng.f64() * limit.as_nanos() as f64) as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_doubles_its_limit_up_to_the_most() {
        let policy = Backoff::parse("exp:100ms..1s").unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        for (failures, limit) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let most = (0..2000).map(|_| policy.delay(failures, &mut rng)).max().unwrap().0;
            assert!(most <= limit * 1_000_000 && most > limit * 950_000, "{failures}: {most}");
        }
        assert_eq!(Backoff::parse("fixed:1s"), Ok(Backoff::Fixed(Duration::from_secs(1))));
        assert!(Backoff::parse("exp:1s").is_err());
    }
}
