//! A thread that sleeps a millisecond at a time: how late it wakes is what this host does to anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use crate::engine::recorder::Times;
use crate::host::clock::{Moment, Nanos, SECOND};

/// The thread.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Times>,
}

impl Sampler {
    /// Watches this host from one time to another.
    pub fn start(from: Moment, to: Moment, seed: u64) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || sample(from, to, seed, &flag));
        Sampler { stop, thread }
    }

    /// Ends the thread and takes what it saw.
    pub fn finish(self) -> Times {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn sample(from: Moment, to: Moment, seed: u64, stop: &AtomicBool) -> Times {
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut late = Times::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    // While nothing is measured, wake seldom enough not to matter.
    while !stop.load(Ordering::Relaxed) && Moment::now() + Nanos::millis(100) < from {
        thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut at = from.max(Moment::now());
    while !stop.load(Ordering::Relaxed) && at < to {
        // An even grid would always meet the same point of an even schedule.
        at = at + Nanos(rng.u64(500_000..1_500_000));
        let time = TimeSpec::new((at.0 / SECOND) as i64, (at.0 % SECOND) as i64);
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &time);
        let now = Moment::now();
        late.record(now - at);
        // After a long sleep, go on from now: the past cannot be looked at any more.
        at = at.max(now - Nanos(1_500_000));
    }
    late
}
