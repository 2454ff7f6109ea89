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

use crate::host::clock::{Moment, SECOND};

/// One alarm, registered with a poll.
pub struct Timer {
    fd: TimerFd,
    /// What the alarm stands at, so that setting the same time again costs no system call.
    armed: Moment,
}

impl Timer {
    /// A timer that reports on `registry` as `token`, not yet set.
    ///
    /// # Errors
    /// When descriptors are exhausted.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        SourceFd(&fd.as_fd().as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Timer { fd, armed: Moment(0) })
    }

    /// Wakes the poll at `at`, at once when that has passed, never for [`Moment::NEVER`].
    ///
    /// The expiry is not read: the poll is edge-triggered and setting the alarm anew clears it.
    pub fn set(&mut self, at: Moment) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        self.armed = at;
        if at == Moment::NEVER {
            return Ok(self.fd.unset()?);
        }
        // Zero would mean "disarm".
        let Moment(at) = at.max(Moment(1));
        let time = TimeSpec::new((at / SECOND) as i64, (at % SECOND) as i64);
        Ok(self.fd.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Says that the alarm went off, so that the same time can be set again.
    pub fn fired(&mut self) {
        self.armed = Moment(0);
    }
}
