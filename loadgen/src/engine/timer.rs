//! A timer that wakes a `mio::Poll` to the microsecond.
//!
//! `Poll`'s own timeout is rounded up to whole milliseconds, which would make every message half a millisecond late on
//! average. A timerfd with an absolute time has no such rounding and no drift.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::host::clock::SECOND;

/// One alarm, registered with a poll.
pub struct Timer {
    fd: TimerFd,
    /// What the alarm stands at, so that setting the same time again costs no system call.
    armed: u64,
}

impl Timer {
    /// A timer that reports on `registry` as `token`, not yet set.
    ///
    /// # Errors
    /// When descriptors are exhausted.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        SourceFd(&fd.as_fd().as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Timer { fd, armed: 0 })
    }

    /// Wakes the poll at `at` (nanoseconds of `clock::now`), at once when that has passed, never for `u64::MAX`.
    ///
    /// The expiry is not read: the poll is edge-triggered and setting the alarm anew clears it.
    pub fn set(&mut self, at: u64) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        self.armed = at;
        if at == u64::MAX {
            return Ok(self.fd.unset()?);
        }
        // Zero would mean "disarm".
        let at = at.max(1);
        let time = TimeSpec::new((at / SECOND) as i64, (at % SECOND) as i64);
        Ok(self.fd.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Says that the alarm went off, so that the same time can be set again.
    pub fn fired(&mut self) {
        self.armed = 0;
    }
}
