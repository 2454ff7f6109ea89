//! How the opening of connections went.

use std::collections::BTreeMap;

use crate::engine::recorder::Times;
use crate::host::clock::Moment;

/// How the opening of connections went.
#[derive(Default)]
pub struct Opening {
    /// SYN -> connected.
    pub connect: Times,
    /// GET -> 101.
    pub upgrade: Times,
    pub opened: u64,
    pub failures: Failures,
    /// When the first connect began and the last upgrade ended.
    pub began: Option<Moment>,
    pub ended: Moment,
}

impl Opening {
    pub fn add(&mut self, other: &Opening) {
        self.connect.add(&other.connect);
        self.upgrade.add(&other.upgrade);
        self.opened += other.opened;
        add(&mut self.failures, &other.failures);
        self.began = self.began.into_iter().chain(other.began).min();
        self.ended = self.ended.max(other.ended);
    }
}

/// Reason -> number of connections.
pub type Failures = BTreeMap<String, u64>;

/// Adds `more` to `all`.
pub fn add(all: &mut Failures, more: &Failures) {
    for (reason, n) in more {
        *all.entry(reason.clone()).or_default() += n;
    }
}
