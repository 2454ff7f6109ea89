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
use crate::host::clock::{self, SECOND};

/// What was seen between two times.
#[derive(Default)]
pub struct Seen {
    /// How late the thread woke.
    pub hiccup: Times,
    samples: u64,
    sum: f64,
    squares: f64,
}

impl Seen {
    /// Mean number of messages in flight and the standard error of it; `None` without samples.
    pub fn inflight(&self) -> Option<(f64, f64)> {
        let n = self.samples as f64;
        let mean = self.sum / n;
        let variance = (self.squares / n - mean * mean).max(0.0);
        (self.samples > 0).then(|| (mean, (variance / n).sqrt()))
    }
}

/// The thread.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    /// Watches `gauges` from one time to another.
    pub fn start(gauges: Vec<Arc<Gauges>>, from: u64, to: u64, seed: u64) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || watch(&gauges, from, to, seed, &flag));
        Watch { stop, thread }
    }

    /// Ends the thread and takes what it saw.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(gauges: &[Arc<Gauges>], from: u64, to: u64, seed: u64, stop: &AtomicBool) -> Seen {
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut seen = Seen::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    // While nothing is measured, wake seldom enough not to matter.
    while !stop.load(Ordering::Relaxed) && clock::now() + SECOND / 10 < from {
        thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut at = from.max(clock::now());
    while !stop.load(Ordering::Relaxed) && at < to {
        // An even grid would always look at the same point of an even schedule.
        at += rng.u64(500_000..1_500_000);
        let time = TimeSpec::new((at / SECOND) as i64, (at % SECOND) as i64);
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &time);
        let inflight = gauges.iter().map(|g| g.inflight.load(Ordering::Relaxed)).sum::<i64>() as f64;
        let now = clock::now();
        seen.hiccup.record(now.saturating_sub(at));
        seen.samples += 1;
        seen.sum += inflight;
        seen.squares += inflight * inflight;
        // After a long sleep, go on from now: the past cannot be looked at any more.
        at = at.max(now.saturating_sub(1_500_000));
    }
    seen
}
