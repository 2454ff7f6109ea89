//! The part of a tick that crowds get.

use super::moment::Moment;
use std::time::Duration;

/// Work of one kind that a tick does at most before it looks for events again: that of some milliseconds, however much there
/// is. Where there is none, no clock is read.
#[derive(Debug, Default)]
pub struct Slice {
    until: Option<Moment>,
    now: Moment,
}

impl Slice {
    const LENGTH: Duration = Duration::from_millis(4);

    /// Another piece of work begins.
    pub fn at(&mut self, now: Moment) {
        self.now = now;
        self.until.get_or_insert(now + Slice::LENGTH);
    }

    /// Another piece of work is to begin, as far as there is time for it.
    pub fn has_time(&mut self, now: Moment) -> bool {
        self.at(now);
        !self.is_over()
    }

    /// Whether no other should begin.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| self.now >= until)
    }
}
