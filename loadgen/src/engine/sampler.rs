//! A thread that sleeps a millisecond at a time.
//!
//! How late it wakes is what this host does to anybody, and while awake it looks how many messages are in flight: a
//! count that owes nothing to the recorded latencies and so can contradict them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use crate::engine::recorder::Times;
use crate::engine::spec::Gauges;
use crate::host::clock::{Moment, Nanos, SECOND};

/// What was seen between two times.
#[derive(Default)]
pub struct Samples {
    /// How late the thread woke.
    pub hiccup: Times,
    samples: u64,
    sum: f64,
    squares: f64,
}

impl Samples {
    /// Mean number of messages in flight and the standard error of it; `None` without samples.
    pub fn inflight(&self) -> Option<(f64, f64)> {
        let n = self.samples as f64;
        let mean = self.sum / n;
        let variance = (self.squares / n - mean * mean).max(0.0);
        (self.samples > 0).then(|| (mean, (variance / n).sqrt()))
    }
}

/// The thread.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Samples `gauges` from one time to another.
    pub fn start(gauges: Vec<Arc<Gauges>>, from: Moment, to: Moment, seed: u64) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || sample(&gauges, from, to, seed, &flag));
        Sampler { stop, thread }
    }

    /// Ends the thread and takes what it saw.
    pub fn finish(self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn sample(gauges: &[Arc<Gauges>], from: Moment, to: Moment, seed: u64, stop: &AtomicBool) -> Samples {
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut samples = Samples::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    // While nothing is measured, wake seldom enough not to matter.
    while !stop.load(Ordering::Relaxed) && Moment::now() + Nanos::millis(100) < from {
        thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut at = from.max(Moment::now());
    while !stop.load(Ordering::Relaxed) && at < to {
        // An even grid would always look at the same point of an even schedule.
        at = at + Nanos(rng.u64(500_000..1_500_000));
        let time = TimeSpec::new((at.0 / SECOND) as i64, (at.0 % SECOND) as i64);
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &time);
        let inflight = gauges.iter().map(|g| g.inflight.load(Ordering::Relaxed)).sum::<i64>() as f64;
        let now = Moment::now();
        samples.hiccup.record(now - at);
        samples.samples += 1;
        samples.sum += inflight;
        samples.squares += inflight * inflight;
        // After a long sleep, go on from now: the past cannot be looked at any more.
        at = at.max(now - Nanos(1_500_000));
    }
    samples
}
