//! When each message is due.
//!
//! The schedule is a curve N(t), the number of messages due by time t. Message n goes out when N reaches n, whatever has
//! come back by then. Times are computed from n, never by adding intervals up, so that they do not drift.

use std::sync::Arc;
use std::time::Duration;

use crate::host::clock::{Moment, Nanos, SECOND};
use crate::report::units;

/// `--rate`: messages a second over all connections.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// Messages a second.
    Constant(f64),
    /// From one to the other over the duration, linearly.
    Ramp(f64, f64),
    /// One after the other, each for the same time.
    Steps(Vec<f64>, Duration),
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Rate::Constant(r) => write!(f, "{r}"),
            Rate::Ramp(a, b) => write!(f, "{a}:{b}"),
            Rate::Steps(steps, each) => {
                let steps: Vec<String> = steps.iter().map(f64::to_string).collect();
                write!(f, "{}@{}s", steps.join(","), each.as_secs_f64())
            }
        }
    }
}

impl Rate {
    /// Reads `50k`, `1k:50k` or `1k,2k,4k@10s`.
    ///
    /// # Errors
    /// A sentence that says what a rate looks like.
    pub fn parse(text: &str) -> Result<Rate, String> {
        if let Some((steps, each)) = text.split_once('@') {
            let steps = steps.split(',').map(units::rate).collect::<Result<_, _>>()?;
            let each = units::duration(each)?;
            return if each.is_zero() {
                Err("steps need a time above zero".into())
            } else {
                Ok(Rate::Steps(steps, each))
            };
        }
        if let Some((from, to)) = text.split_once(':') {
            return Ok(Rate::Ramp(units::rate(from)?, units::rate(to)?));
        }
        if text.contains(',') {
            return Err(format!("steps need a time each, such as {text}@10s"));
        }
        units::rate(text).map(Rate::Constant)
    }

    /// The mean over `duration`, and what steps make of that duration.
    pub fn mean(&self) -> f64 {
        match self {
            Rate::Constant(r) => *r,
            Rate::Ramp(a, b) => (a + b) / 2.0,
            Rate::Steps(steps, _) => steps.iter().sum::<f64>() / steps.len() as f64,
        }
    }

    /// The time it takes by itself; only steps say.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Rate::Steps(steps, each) => Some(*each * steps.len() as u32),
            _ => None,
        }
    }
}

/// A stretch of time over which the rate changes linearly or not at all.
#[derive(Clone, Debug)]
struct Segment {
    /// Seconds since the schedule began.
    start: f64,
    /// Payloads due by then.
    before: f64,
    from: f64,
    /// Change of the rate a second.
    slope: f64,
}

/// The schedule of all connections together, warm-up included.
#[derive(Clone, Debug)]
pub struct Curve {
    segments: Vec<Segment>,
}

impl Curve {
    /// `rate` for `duration` after a warm-up at the rate it begins with.
    pub fn new(rate: &Rate, warmup: Duration, duration: Duration) -> Curve {
        let warmup = warmup.as_secs_f64();
        let mut curve = Curve { segments: Vec::new() };
        match rate {
            Rate::Constant(r) => curve.push(0.0, *r, 0.0),
            Rate::Ramp(a, b) => {
                if warmup > 0.0 {
                    curve.push(0.0, *a, 0.0);
                }
                curve.push(warmup, *a, (b - a) / duration.as_secs_f64());
            }
            Rate::Steps(steps, each) => {
                let mut start = 0.0;
                for (i, r) in steps.iter().enumerate() {
                    curve.push(start, *r, 0.0);
                    start = warmup + (i + 1) as f64 * each.as_secs_f64();
                }
            }
        }
        curve
    }

    fn push(&mut self, start: f64, from: f64, slope: f64) {
        let before = self.segments.last().map_or(0.0, |last| last.due(start));
        self.segments.push(Segment { start, before, from, slope });
    }

    /// Payloads a second at `t` seconds.
    pub fn rate_at(&self, t: f64) -> f64 {
        let i = self.segments.partition_point(|s| s.start <= t).max(1) - 1;
        let s = &self.segments[i];
        s.from + s.slope * (t - s.start).max(0.0)
    }

    /// Payloads due between two times, seconds.
    pub fn due_between(&self, from: f64, to: f64) -> f64 {
        let due = |t: f64| {
            let i = self.segments.partition_point(|s| s.start <= t).max(1) - 1;
            self.segments[i].due(t)
        };
        due(to) - due(from)
    }
}

impl Segment {
    /// N(t): messages due by `t`, counted from the beginning of the schedule.
    fn due(&self, t: f64) -> f64 {
        let dt = t - self.start;
        self.before + self.from * dt + self.slope * dt * dt / 2.0
    }

    /// The time at which N is `n`; infinite when a falling ramp never gets there.
    fn when(&self, n: f64) -> f64 {
        let n = n - self.before;
        // The root of slope/2 t² + from t = n, in the form that keeps its digits when the slope is small.
        let root = (self.from * self.from + 2.0 * self.slope * n).sqrt();
        if root.is_nan() { f64::INFINITY } else { self.start + 2.0 * n / (self.from + root) }
    }
}

/// How the messages of one thread are spread over the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArrivalProcess {
    /// Every n-th message of the curve is this thread's.
    Even,
    /// Random and memoryless, as many independent users are.
    Poisson,
}

/// One thread's way along the curve.
pub struct Cursor {
    curve: Arc<Curve>,
    segment: usize,
    t0: Moment,
    /// This thread is number `me` of `all`, over all processes of a sharded run.
    me: u64,
    all: u64,
    arrival: ArrivalProcess,
    rng: fastrand::Rng,
    /// The position on the curve the next message has: a number of messages.
    n: f64,
    count: u64,
}

impl Cursor {
    /// The schedule of thread `me` of `all`, beginning at `t0` .
    pub fn new(
        curve: Arc<Curve>,
        t0: Moment,
        me: u64,
        all: u64,
        arrival: ArrivalProcess,
        seed: u64,
    ) -> Cursor {
        let rng = fastrand::Rng::with_seed(seed ^ (me + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut cursor = Cursor { curve, segment: 0, t0, me, all, arrival, rng, n: 0.0, count: 0 };
        cursor.n = cursor.first();
        cursor
    }

    fn first(&mut self) -> f64 {
        match self.arrival {
            ArrivalProcess::Even => self.me as f64,
            ArrivalProcess::Poisson => self.gap(),
        }
    }

    /// When the next message is due; [`Moment::NEVER`] when none ever is.
    pub fn due(&mut self) -> Moment {
        let segments = &self.curve.segments;
        while segments.get(self.segment + 1).is_some_and(|next| next.before <= self.n) {
            self.segment += 1;
        }
        let seconds = segments[self.segment].when(self.n);
        // A cast from a float saturates, so never stays never.
        self.t0 + Nanos((seconds * SECOND as f64).round() as u64)
    }

    /// Moves on to the message after.
    pub fn advance(&mut self) {
        self.count += 1;
        self.n = match self.arrival {
            ArrivalProcess::Even => (self.count * self.all + self.me) as f64,
            ArrivalProcess::Poisson => self.n + self.gap(),
        };
    }

    /// A random choice, for the connection of a Poisson message.
    pub fn pick(&mut self, below: usize) -> usize {
        match self.arrival {
            ArrivalProcess::Even => (self.count % below as u64) as usize,
            ArrivalProcess::Poisson => self.rng.usize(..below),
        }
    }

    /// An exponential gap. A thread that has one of `all` equal shares meets its next message `all` times as far on.
    fn gap(&mut self) -> f64 {
        -(1.0 - self.rng.f64()).ln() * self.all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    fn times(rate: &Rate, warmup: f64, duration: f64, n: usize) -> Vec<u64> {
        let curve = Arc::new(Curve::new(rate, secs(warmup), secs(duration)));
        let mut cursor = Cursor::new(curve, Moment(0), 0, 1, ArrivalProcess::Even, 1);
        (0..n)
            .map(|_| {
                let t = cursor.due().0;
                cursor.advance();
                t
            })
            .collect()
    }

    #[test]
    fn an_odd_rate_does_not_drift() {
        // 700,000 a second is 1428.571… ns apart; a thousand seconds on, the error is still below a nanosecond.
        let curve = Arc::new(Curve::new(&Rate::Constant(700_000.0), secs(0.0), secs(1000.0)));
        let mut cursor = Cursor::new(curve, Moment(0), 0, 1, ArrivalProcess::Even, 1);
        cursor.n = 700_000_000.0;
        assert_eq!(cursor.due(), Moment(1_000_000_000_000));
        cursor.n = 7.0 + 700_000.0 * 3600.0;
        assert_eq!(cursor.due(), Moment(3_600_000_010_000));
    }

    #[test]
    fn threads_interleave_without_gap_or_overlap() {
        let curve = Arc::new(Curve::new(&Rate::Ramp(1000.0, 5000.0), secs(1.0), secs(10.0)));
        let mut merged: Vec<u64> = (0..3)
            .flat_map(|me| {
                let mut cursor = Cursor::new(curve.clone(), Moment(5), me, 3, ArrivalProcess::Even, 1);
                (0..1000)
                    .map(|_| {
                        let t = cursor.due().0;
                        cursor.advance();
                        t
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        merged.sort_unstable();
        let mut single = times(&Rate::Ramp(1000.0, 5000.0), 1.0, 10.0, 3000);
        single.iter_mut().for_each(|t| *t += 5);
        assert_eq!(merged, single);
    }

    #[test]
    fn a_ramp_sends_the_area_under_it() {
        let due = times(&Rate::Ramp(100.0, 300.0), 0.0, 10.0, 2001);
        assert_eq!(due[0], 0);
        // 2000 messages in ten seconds; half of the time takes 750 of them.
        assert_eq!(due[750], 5_000_000_000);
        assert_eq!(due[2000], 10_000_000_000);
        // A falling ramp comes to rest.
        let curve = Arc::new(Curve::new(&Rate::Ramp(100.0, 0.001), secs(0.0), secs(1.0)));
        let mut cursor = Cursor::new(curve, Moment(0), 0, 1, ArrivalProcess::Even, 1);
        cursor.n = 60.0;
        assert_eq!(cursor.due(), Moment::NEVER);
    }

    #[test]
    fn steps_begin_after_the_warm_up() {
        let rate = Rate::parse("10,20@2s").unwrap();
        let curve = Curve::new(&rate, secs(1.0), secs(4.0));
        assert_eq!([0.0, 2.9, 3.0, 9.0].map(|t| curve.rate_at(t)), [10.0, 10.0, 20.0, 20.0]);
        assert_eq!(curve.due_between(1.0, 5.0), 60.0);
        assert_eq!(times(&rate, 1.0, 4.0, 41)[30..33], [3_000_000_000, 3_050_000_000, 3_100_000_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_are_as_spread_as_theory_says() {
        let curve = Arc::new(Curve::new(&Rate::Constant(1000.0), secs(0.0), secs(100.0)));
        let mut cursor = Cursor::new(curve, Moment(0), 1, 2, ArrivalProcess::Poisson, 42);
        let n = 50_000;
        let mut gaps = Vec::new();
        let mut last = 0;
        for _ in 0..n {
            let t = cursor.due().0;
            gaps.push((t - last) as f64);
            last = t;
            cursor.advance();
        }
        // This thread's share is 500 a second: 2 ms apart with a deviation as large as the mean.
        let mean = gaps.iter().sum::<f64>() / n as f64;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        assert!((mean - 2e6).abs() < 4e4, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.03, "{}", deviation / mean);
    }

    #[test]
    fn rates_are_read_in_three_forms() {
        assert_eq!(Rate::parse("50k"), Ok(Rate::Constant(50_000.0)));
        assert_eq!(Rate::parse("1k:2k"), Ok(Rate::Ramp(1000.0, 2000.0)));
        assert_eq!(Rate::parse("1k,2k@10s"), Ok(Rate::Steps(vec![1000.0, 2000.0], secs(10.0))));
        for bad in ["0", "-1", "1k,2k", "1k:", "1k@0s", "fast"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }
}
