//! Points in time.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: microseconds since some start, on a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than everything.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// So long after the clock's start.
    pub fn at(since_start: Duration) -> Moment {
        Moment(0) + since_start
    }

    /// As a duration, for those who know no clock.
    pub fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// How long it is from `now` until then; zero when it has passed.
    pub fn after(self, now: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(microseconds))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, duration: Duration) -> Moment {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_sub(microseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_does_not_overflow() {
        assert_eq!(Moment(1) + Duration::MAX, Moment::NEVER);
        assert_eq!(Moment(1).after(Moment(2)), Duration::ZERO);
    }
}
