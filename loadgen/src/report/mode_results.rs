//! What the modes of their own kind find out: `conns`, `find`, `fanout` and `storm`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judgement::Verdict;
use super::stat::Stat;
use super::stats::Slope;

/// `conns`: ramp and hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Conns {
    pub steps: Vec<ConnsStep>,
    /// Server memory a connection over the steps, user space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope: Option<Slope>,
    /// Kernel TCP memory a connection over the steps (both ends when the target is local).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_slope: Option<Slope>,
    /// Server memory after all connections closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_rss_bytes: Option<u64>,
    /// That, less what it was before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residue_bytes: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnsStep {
    pub asked: u64,
    pub held: u64,
    pub opened_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Stat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Stat>,
    pub syn_retransmits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes: Option<u64>,
    /// Response times of the messages sent while holding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Stat>,
}

/// `find`: the highest load that meets an objective.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Find {
    /// As given, `p99.9<5ms`.
    pub objective: String,
    /// What was searched: `rate` or `connections`.
    pub axis: String,
    /// In the order tried.
    pub steps: Vec<FindStep>,
    /// The highest load that met the objective; absent when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// The lowest load that did not; absent when all did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_failed: Option<f64>,
    /// Why the search ended.
    pub stopped: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FindStep {
    pub load: f64,
    /// What the objective names, at this load; nanoseconds for a latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub ok: bool,
    /// Absent in reports of schema 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What the server did instead of meeting the objective, or why that could not be told at this load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub achieved_rate: f64,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Stat>,
}

impl FindStep {
    /// The answer, also of reports that only said whether it was yes.
    pub fn answer(&self) -> Answer {
        self.answer.unwrap_or(match (self.ok, &self.note) {
            (true, _) => Answer::Met,
            (false, None) => Answer::Missed,
            (false, Some(_)) => Answer::Unknown,
        })
    }
}

/// Whether a load met the objective.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Met,
    Missed,
    /// This host could not tell: it did not make the load, or what was missed may be its own doing.
    Unknown,
}

impl Answer {
    /// As the tables have it.
    pub fn word(self) -> &'static str {
        match self {
            Answer::Met => "ok",
            Answer::Missed => "no",
            Answer::Unknown => "can't tell",
        }
    }
}

/// `fanout`: one sends, many receive.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Fanout {
    pub publishers: u64,
    pub receivers: u64,
    pub published: u64,
    /// Deliveries that should have been.
    pub expected: u64,
    pub received: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// Scheduled -> first, median and last receiver of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Stat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<Stat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Stat>,
    /// Last less first, by message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Stat>,
}

/// `listen`: what came while nothing was sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Listen {
    pub received: u64,
    /// Had no stamp in them.
    pub unstamped: u64,
    /// Had a stamp that was ahead of this host's clock.
    pub ahead: u64,
    /// `--stamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// Of the stamp: a message may be faster by that.
    pub resolution_ns: u64,
}

/// `storm`: drop all, reconnect.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Storm {
    /// How the connections were dropped, `rst` or `close`.
    pub fault: String,
    /// The reconnect policy as given.
    pub policy: String,
    /// From the start of measuring.
    pub dropped_at_ns: u64,
    pub dropped: u64,
    pub back: u64,
    /// Share back (`"50"`, `"90"`, `"99"`, `"100"`) -> time since the drop; a share never reached is absent.
    pub back_ns: BTreeMap<String, u64>,
    pub attempts: u64,
    pub syn_retransmits: u64,
    pub listen_overflows: u64,
    /// Connect and upgrade together, of the reconnects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Stat>,
    /// Connections left alone, and their response times by phase.
    pub survivors: u64,
    pub phases: Vec<StormPhase>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StormPhase {
    /// `before`, `during` or `after`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Stat>,
}
