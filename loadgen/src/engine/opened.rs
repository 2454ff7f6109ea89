//! How the opening of connections went.

use std::collections::BTreeMap;

use crate::engine::recorder::Times;
use crate::host::clock::Moment;
use crate::protocol::tls::Agreed;

/// How the opening of connections went.
#[derive(Default)]
pub struct Opening {
    /// SYN -> connected.
    pub connect: Times,
    /// Connected -> TLS handshake over.
    pub tls: Times,
    /// What the TLS handshakes agreed on -> number of connections.
    pub agreed: BTreeMap<Agreed, u64>,
    /// GET -> 101.
    pub upgrade: Times,
    /// 101 -> the end of the opening words.
    pub hello: Times,
    /// Connections that were upgraded.
    pub opened: u64,
    /// Processor time used while it lasted, of one processor.
    pub cpu_pct: f64,
    /// Why the others were not.
    pub failures: Failures,
    /// Reason -> what the server said with it, once.
    pub answers: BTreeMap<String, String>,
    /// When the first connect began and the last upgrade ended.
    pub began: Option<Moment>,
    /// When the last was open or given up.
    pub ended: Moment,
}

impl Opening {
    /// Adds what another thread, or a later step, opened.
    pub fn add(&mut self, other: &Opening) {
        self.connect.add(&other.connect);
        self.tls.add(&other.tls);
        for (agreed, n) in &other.agreed {
            *self.agreed.entry(agreed.clone()).or_default() += n;
        }
        self.upgrade.add(&other.upgrade);
        self.hello.add(&other.hello);
        self.opened += other.opened;
        add(&mut self.failures, &other.failures);
        for (reason, answer) in &other.answers {
            self.answers.entry(reason.clone()).or_insert_with(|| answer.clone());
        }
        self.began = self.began.into_iter().chain(other.began).min();
        self.ended = self.ended.max(other.ended);
    }
}

/// Different reasons of failures that are kept apart: a server can make up as many as there are connections.
pub const REASONS: usize = 64;

/// Reason -> number of connections.
pub type Failures = BTreeMap<String, u64>;

/// Adds `more` to `all`.
pub fn add(all: &mut Failures, more: &Failures) {
    for (reason, n) in more {
        *all.entry(reason.clone()).or_default() += n;
    }
}

/// Counts one more failure for `reason`.
pub fn count(all: &mut Failures, reason: String) {
    let known = all.len() < REASONS || all.contains_key(&reason);
    *all.entry(if known { reason } else { "other reasons".into() }).or_default() += 1;
}
