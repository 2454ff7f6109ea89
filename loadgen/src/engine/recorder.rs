//! What is counted and timed, by thread and by stretch of time; recorders add up exactly.

use hdrhistogram::Histogram;

use crate::host::clock::Nanos;
use crate::report::model::{Slow, Stat};
use crate::report::stats;

/// The longest time a histogram tells from others; longer ones are counted at its end.
const RANGE_NS: u64 = 60_000_000_000;

/// A histogram of times: 1 ns to 60 s, three digits.
#[derive(Clone)]
pub struct Times {
    /// Nanoseconds.
    pub histogram: Histogram<u64>,
    /// How many were longer than it can tell.
    pub saturated: u64,
}

impl Default for Times {
    fn default() -> Times {
        let histogram = Histogram::new_with_bounds(1, RANGE_NS, 3).expect("bounds are in order");
        Times { histogram, saturated: 0 }
    }
}

impl Times {
    /// Records `time`; never fails and never allocates.
    pub fn record(&mut self, time: Nanos) {
        let Nanos(ns) = time;
        self.saturated += u64::from(ns > RANGE_NS);
        self.histogram.saturating_record(ns);
    }

    /// Adds another's samples, exactly.
    pub fn add(&mut self, other: &Times) {
        if !other.histogram.is_empty() {
            self.histogram.add(&other.histogram).expect("all have the same bounds");
            self.saturated += other.saturated;
        }
    }

    /// The p99, or of few samples the highest percentile that they carry, with its name; of a handful the longest time.
    pub fn high(&self) -> (&'static str, u64) {
        let carried = |(name, q)| Some((name, stats::percentile(&self.histogram, q)?));
        let found = [("p99", 0.99), ("p90", 0.9), ("p50", 0.5)].into_iter().find_map(carried);
        found.unwrap_or(("max", self.histogram.max()))
    }

    /// What is left without `part`, which must be in here.
    pub fn without(&self, part: &Times) -> Times {
        let mut rest = self.clone();
        rest.histogram.subtract(&part.histogram).expect("the part was recorded here too");
        Times { saturated: self.saturated - part.saturated, ..rest }
    }

    fn clear(&mut self) {
        if !self.histogram.is_empty() {
            self.histogram.reset();
            self.saturated = 0;
        }
    }

    /// With the histogram inside; `None` when nothing was recorded.
    pub fn stat(&self) -> Option<Stat> {
        (!self.histogram.is_empty()).then(|| Stat::new(&self.histogram, self.saturated))
    }

    /// Without the histogram.
    pub fn brief(&self) -> Option<Stat> {
        (!self.histogram.is_empty()).then(|| Stat::brief(&self.histogram, self.saturated))
    }

    /// The value at `quantile`, in nanoseconds; 0 when nothing was recorded.
    pub fn at(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }
}

/// Everything about the messages of one stretch of time.
#[derive(Clone, Default)]
pub struct Recorder {
    /// Due -> read.
    pub response: Times,
    /// Due -> the first of several messages that are one reply.
    pub first: Option<Box<Times>>,
    /// Due -> read, of clients that read slowly; they are in no other histogram.
    pub slow: Option<Box<Times>>,
    /// From one message to the next on one connection, where nothing is sent.
    pub gap: Option<Box<Times>>,
    /// Written -> read.
    pub wire: Times,
    /// The response less what loadgen itself added to it: its slip, and where no kernel stamp ends the reply, the time
    /// from its wake-up to the read.
    pub undisturbed: Times,
    /// Where replies cannot be told apart, what each response is at least and at most.
    pub bounds: Option<Box<BoundedTimes>>,
    /// Due -> first tried.
    pub own_slip: Times,
    /// First tried -> written, of those that had to wait.
    pub backpressure: Times,
    /// Stamped by the kernel -> read; without a stamp, woken -> read.
    pub read_lag: Times,
    /// From Ping to Pong.
    pub ping: Times,
    /// Messages and bytes.
    pub counts: Counts,
    /// The slowest replies one by one.
    pub slowest: Slowest,
}

impl Recorder {
    /// Adds another's, exactly.
    pub fn add(&mut self, other: &Recorder) {
        self.response.add(&other.response);
        if let Some(other) = &other.first {
            self.first.get_or_insert_default().add(other);
        }
        if let Some(other) = &other.slow {
            self.slow.get_or_insert_default().add(other);
        }
        if let Some(other) = &other.gap {
            self.gap.get_or_insert_default().add(other);
        }
        self.wire.add(&other.wire);
        self.undisturbed.add(&other.undisturbed);
        if let Some(other) = &other.bounds {
            let bounds = self.bounds.get_or_insert_default();
            bounds.low.add(&other.low);
            bounds.high.add(&other.high);
        }
        self.own_slip.add(&other.own_slip);
        self.backpressure.add(&other.backpressure);
        self.read_lag.add(&other.read_lag);
        self.ping.add(&other.ping);
        self.counts.add(&other.counts);
        self.slowest.add(&other.slowest);
    }

    /// Makes it as new, keeping its memory.
    pub fn clear(&mut self) {
        for times in [
            &mut self.response,
            &mut self.wire,
            &mut self.undisturbed,
            &mut self.own_slip,
            &mut self.backpressure,
            &mut self.read_lag,
            &mut self.ping,
        ] {
            times.clear();
        }
        for times in [&mut self.first, &mut self.gap, &mut self.slow].into_iter().flatten() {
            times.clear();
        }
        if let Some(bounds) = &mut self.bounds {
            bounds.low.clear();
            bounds.high.clear();
        }
        self.counts = Counts::default();
        self.slowest = Slowest::default();
    }
}

/// Two sides of what is known as an interval only.
#[derive(Clone, Default)]
pub struct BoundedTimes {
    /// Not longer than the truth.
    pub low: Times,
    /// Not shorter than it.
    pub high: Times,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Numbers of messages, bytes and nanoseconds.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64),* }

        impl Counts {
            /// Adds another's.
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Messages due in the time this is about that were written.
    sent,
    /// Of those, written while measuring.
    sent_inside,
    /// Replies to them.
    received,
    /// Replies read while measuring, whatever message they answer.
    answered_inside,
    /// Never came back although a later one did.
    lost,
    /// Replies that came again.
    duplicated,
    /// Replies that overtook an earlier message's.
    reordered,
    /// Replies that are not what was sent.
    corrupt,
    /// Still out at the end, or for longer than a closed loop waits.
    unanswered,
    /// Came when they had been counted as unanswered.
    late,
    /// The server's own: they answer nothing.
    unsolicited,
    /// Matched `--ignore`.
    ignored,
    /// Matched `--answer` and were answered.
    answered,
    /// Of those received, by clients that read slowly …
    slow_received,
    /// … their messages without a reply …
    slow_unanswered,
    /// … and the bytes that they read.
    slow_bytes,
    /// Heard with a stamp that is ahead of this host's clock.
    ahead,
    /// Of those unsolicited, where nothing tells replies from them.
    pushed,
    /// Of those unsolicited, as long as a message that was out, and of its kind.
    alike,
    /// Replies of which nobody can tell which message they answer.
    ambiguous,
    /// Due on a connection that was gone.
    not_sent,
    /// Later than `--timeout`.
    timeouts,
    /// Not sent because `--max-inflight` were out.
    capped,
    /// Reads that brought something,
    reads,
    /// and those of them that the kernel stamped.
    reads_stamped,
    /// In frames, headers included.
    bytes_sent,
    /// In frames, headers included.
    bytes_received,
    /// `--ping`.
    pings_sent,
    /// Those of them that a Pong came to.
    pings_answered,
    /// All Pongs.
    pongs_received,
    /// Close frames that the server sent first.
    closes_received,
    /// Time messages spent in flight, summed over them, within the measured time.
    flight_ns,
    /// The number of messages in flight, summed over time …
    inflight_ns,
    /// … and over the measured time alone.
    inflight_inside_ns,
    /// Time spent waiting for events …
    idle_ns,
    /// … and of the measured time alone.
    idle_inside_ns,
}

impl Counts {
    /// What went wrong with messages.
    pub fn errors(&self) -> u64 {
        self.lost + self.duplicated + self.corrupt + self.unanswered + self.not_sent
    }
}

/// The slowest messages, as many as are worth looking at.
#[derive(Clone, Default)]
pub struct Slowest {
    kept: Vec<Slow>,
    /// Faster ones are not among the slowest any more.
    floor: u64,
}

impl Slowest {
    const KEEP: usize = 100;

    /// Keeps the reply that `slow` describes if it is one of the slowest.
    pub fn offer(&mut self, Nanos(response_ns): Nanos, slow: impl FnOnce() -> Slow) {
        if response_ns > self.floor {
            self.kept.push(slow());
            if self.kept.len() >= 4 * Slowest::KEEP {
                self.trim();
            }
        }
    }

    fn trim(&mut self) {
        self.kept.sort_by_key(|s| std::cmp::Reverse(s.response_ns));
        self.kept.truncate(Slowest::KEEP);
        if self.kept.len() == Slowest::KEEP {
            self.floor = self.kept[Slowest::KEEP - 1].response_ns;
        }
    }

    fn add(&mut self, other: &Slowest) {
        self.kept.extend_from_slice(&other.kept);
        self.trim();
    }

    /// Slowest first.
    pub fn list(&self) -> Vec<Slow> {
        let mut all = self.clone();
        all.trim();
        all.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_kept_whatever_the_order() {
        let mut halves = [Slowest::default(), Slowest::default()];
        for i in 0..10_000u64 {
            let response_ns = i * 7_919 % 10_000;
            halves[(i % 2) as usize].offer(Nanos(response_ns), || Slow { response_ns, ..Slow::default() });
        }
        let mut all = halves[0].clone();
        all.add(&halves[1]);
        let values: Vec<u64> = all.list().iter().map(|s| s.response_ns).collect();
        assert_eq!(values, (9_900..10_000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn few_samples_carry_a_lower_percentile() {
        let high = |n: u64| {
            let mut times = Times::default();
            (1..=n).for_each(|ns| times.record(Nanos(ns)));
            times.high()
        };
        assert_eq!(high(1000), ("p99", 990));
        assert_eq!(high(999).0, "p90");
        assert_eq!(high(20), ("p50", 10));
        assert_eq!(high(19), ("max", 19));
        assert_eq!(high(0), ("max", 0));
    }

    #[test]
    fn times_beyond_the_range_are_counted_at_its_end() {
        let mut times = Times::default();
        times.record(Nanos(RANGE_NS * 2));
        times.record(Nanos(5));
        assert_eq!((times.saturated, times.histogram.len()), (1, 2));
        assert!(times.at(1.0) >= RANGE_NS);
    }
}
