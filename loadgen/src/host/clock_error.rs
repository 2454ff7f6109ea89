//! How far the wall clock may be from the true time, as the kernel has it from whoever keeps it right (adjtimex(2)).

use std::mem::MaybeUninit;

use nix::libc::{self, STA_UNSYNC, TIME_ERROR};

use crate::host::clock::Nanos;

/// The most that the wall clock may be wrong by; `None` where nobody keeps it right.
pub fn clock_error() -> Option<Nanos> {
    let mut answer = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeros are a timex, and one that asks for nothing to be changed; the kernel fills it in.
    let (state, answer) = unsafe { (libc::adjtimex(answer.as_mut_ptr()), answer.assume_init()) };
    of(state, answer.status, answer.maxerror)
}

/// What an answer of the kernel's means: the state of the clock, its status bits, and microseconds.
fn of(state: i32, status: i32, most: libc::c_long) -> Option<Nanos> {
    let kept = (0..TIME_ERROR).contains(&state) && status & STA_UNSYNC == 0;
    u64::try_from(most).ok().filter(|_| kept).map(|micros| Nanos(micros * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_has_no_bound() {
        assert_eq!(of(0, 0, 1_500), Some(Nanos(1_500_000)));
        // Within a leap second it is still kept.
        assert_eq!(of(libc::TIME_OOP, libc::STA_PLL, 20), Some(Nanos(20_000)));
        assert_eq!(of(0, STA_UNSYNC, 1_500), None);
        assert_eq!(of(TIME_ERROR, 0, 1_500), None);
        assert_eq!(of(-1, 0, 0), None, "a sandbox that does not let us ask");
        assert!(clock_error().is_none_or(|most| most < Nanos::SECOND * 1000));
    }
}
