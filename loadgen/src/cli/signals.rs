//! The signals that end a run early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::host::procfs;

/// The signals that end a run early: the first writes a partial report, the second kills.
pub struct Signals {
    /// Set by the first signal.
    pub flag: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over, and SIGHUP (a terminal or an ssh that goes away) unless it was ignored before
    /// (`nohup`).
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Signals> {
        let signals = Signals { flag: Arc::default(), which: Arc::default() };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && procfs::ignores(signal) {
                continue;
            }
            // The order matters: the second signal finds the flag set by the first.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, signals.flag.clone())?;
            signal_hook::flag::register(signal, signals.flag.clone())?;
            signal_hook::flag::register_usize(signal, signals.which.clone(), signal as usize)?;
        }
        Ok(signals)
    }

    /// 128 and the number of the signal that came.
    pub fn exit_code(&self) -> Option<u8> {
        match self.which.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(128 + signal as u8),
        }
    }
}
