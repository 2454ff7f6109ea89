//! The way out.

use super::config::Config;
use super::moment::Moment;
use super::token::ConnId;
use std::time::Duration;

/// The reason that the Close frames of a stop carry.
pub const STOPPING: &str = "server stopping";
/// How often clients are told to go while that is spread over time.
pub const SPREAD_STEP: Duration = Duration::from_millis(10);

/// Whether, and how, the server is ending.
#[derive(Debug)]
pub enum Stop {
    /// It goes on.
    No,
    /// Clients are told to leave.
    Draining(Drain),
    /// All is dropped.
    Now,
}

/// The way out.
#[derive(Debug)]
pub struct Drain {
    /// When it began.
    pub since: Moment,
    /// Clients that are still to be told, from the back.
    pub untold: Vec<ConnId>,
    /// How many there were.
    pub total: usize,
}

impl Drain {
    /// Whether somebody should have been told by now. Whoever has not been when the time is over is told then.
    pub fn is_due(&self, now: Moment, config: &Config) -> bool {
        self.untold.len() > self.untold_at(now, config.drain_spread.min(config.drain_timeout))
    }

    /// How many clients should not have been told yet: fewer and fewer, evenly over `spread`.
    fn untold_at(&self, now: Moment, spread: Duration) -> usize {
        let passed = now.after(self.since);
        if passed >= spread {
            return 0;
        }
        let left = (spread - passed).as_micros() * self.total as u128 / spread.as_micros();
        left as usize
    }
}
