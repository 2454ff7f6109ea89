//! Time as the whole program counts it: nanoseconds of `CLOCK_MONOTONIC`, the clock the timers run on.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since some start, on a clock that never goes back.
///
/// A plain number inside rather than an `Instant`: timers are set to it, and payloads carry it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub u64);

/// A length of time, nanoseconds. Half the size of a `Duration`, and recording one divides nothing.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Nanos(pub u64);

impl Moment {
    /// Later than everything.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// Now, on `CLOCK_MONOTONIC`.
    pub fn now() -> Moment {
        let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC is always there");
        Moment(t.tv_sec() as u64 * SECOND + t.tv_nsec() as u64)
    }

    /// When the wall clock will show `wall` (or showed it, as far as the clock goes back).
    pub fn at_wall(wall: SystemTime) -> Moment {
        match wall.duration_since(SystemTime::now()) {
            Ok(ahead) => Moment::now() + Nanos::from(ahead),
            Err(behind) => Moment::now() - Nanos::from(behind.duration()),
        }
    }

    /// What the wall clock shows at this time, as it goes now.
    pub fn wall(self) -> SystemTime {
        let (now, wall) = (Moment::now(), SystemTime::now());
        match self > now {
            true => wall + Duration::from_nanos((self - now).0),
            false => wall - Duration::from_nanos((now - self).0),
        }
    }

    /// `steps` times `step` later, or earlier when they are negative.
    pub fn offset(self, steps: i64, step: Nanos) -> Moment {
        Moment(self.0.saturating_add_signed(steps.saturating_mul(step.0 as i64)))
    }
}

impl Nanos {
    /// Longer than everything.
    pub const MAX: Nanos = Nanos(u64::MAX);
    /// One second.
    pub const SECOND: Nanos = Nanos(SECOND);

    /// So many milliseconds.
    pub const fn millis(n: u64) -> Nanos {
        Nanos(n * 1_000_000)
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }
}

impl From<Duration> for Nanos {
    fn from(time: Duration) -> Nanos {
        Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// From the earlier to the later; nothing when they are in the other order.
impl Sub for Moment {
    type Output = Nanos;

    fn sub(self, earlier: Moment) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Nanos> for Moment {
    type Output = Moment;

    fn add(self, time: Nanos) -> Moment {
        Moment(self.0.saturating_add(time.0))
    }
}

impl Sub<Nanos> for Moment {
    type Output = Moment;

    fn sub(self, time: Nanos) -> Moment {
        Moment(self.0.saturating_sub(time.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;

    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Nanos>>(all: I) -> Nanos {
        all.fold(Nanos(0), Nanos::add)
    }
}

impl Sub for Nanos {
    type Output = Nanos;

    fn sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }
}

impl Mul<u64> for Nanos {
    type Output = Nanos;

    fn mul(self, n: u64) -> Nanos {
        Nanos(self.0.saturating_mul(n))
    }
}

impl Div<u64> for Nanos {
    type Output = Nanos;

    fn div(self, n: u64) -> Nanos {
        Nanos(self.0 / n)
    }
}

/// Now by the wall clock, nanoseconds since 1970.
pub fn wall_ns() -> u64 {
    unix_ns(SystemTime::now())
}

/// Nanoseconds from 1970 to `t`.
pub fn unix_ns(t: SystemTime) -> u64 {
    t.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// `t` as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(t: SystemTime) -> String {
    let since = t.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // Howard Hinnant's civil_from_days: eras of 400 years that begin in March, so that leap days come last.
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_stay_within_what_can_be_counted() {
        let late = Moment(u64::MAX - 5);
        assert_eq!(late + Nanos(9), Moment::NEVER);
        assert_eq!(Moment(3) - Nanos(9), Moment(0));
        assert_eq!(Moment(3) - Moment(9), Nanos(0));
        assert_eq!(Moment(10).offset(-3, Nanos(2)), Moment(4));
        assert_eq!(Nanos::from(Duration::MAX), Nanos::MAX);
    }

    #[test]
    fn the_calendar_agrees_with_known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_219_199, "2026-11-20T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
