//! How the opening of connections went.

use std::collections::BTreeMap;

use crate::engine::recorder::Times;

/// How the opening of connections went.
#[derive(Default)]
pub struct Opening {
    /// SYN -> connected.
    pub connect: Times,
    /// GET -> 101.
    pub upgrade: Times,
    pub opened: u64,
    pub failures: Failures,
    /// Reason -> what the server said with it, once.
    pub answers: BTreeMap<String, String>,
    /// When the first connect began and the last upgrade ended.
    pub began: Option<u64>,
    pub ended: u64,
}

impl Opening {
    pub fn add(&mut self, other: &Opening) {
        self.connect.add(&other.connect);
        self.upgrade.add(&other.upgrade);
        self.opened += other.opened;
        add(&mut self.failures, &other.failures);
        for (reason, answer) in &other.answers {
            self.answers.entry(reason.clone()).or_insert_with(|| answer.clone());
        }
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
