//! One of several processes behind one port: what makes it one.

use crate::args::Worker;
use crate::failure::Failure;
use crate::log;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, raise};
use nix::unistd::{Pid, getppid};

/// Makes this process worker `number`: its lines say so, it stops when `parent` is gone, and with `pin` it stays on one
/// processor.
///
/// Only after it has become the user it is to be: that takes the signal back (prctl(2), PR_SET_PDEATHSIG).
///
/// # Errors
/// When it cannot be kept on a processor.
pub fn settle(Worker { number, parent }: Worker, pin: bool) -> Result<(), Failure> {
    log::set_worker(number);
    // Without it, it would serve on, for nobody to stop: no reason not to serve at all.
    let _ = set_pdeathsig(Signal::SIGTERM);
    if getppid() != Pid::from_raw(parent) {
        // It was gone before the signal was asked for.
        let _ = raise(Signal::SIGTERM);
    }
    if pin {
        stay(number).map_err(|error| Failure::system(format!("cannot stay on one processor: {error}")))?;
    }
    Ok(())
}

/// The processors that may be used, by turns.
fn stay(number: usize) -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let processors: Vec<usize> = (0..CpuSet::count()).filter(|at| allowed.is_set(*at) == Ok(true)).collect();
    let mut one = CpuSet::new();
    one.set(processors[number % processors.len()])?;
    sched_setaffinity(this, &one)
}
