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
    /// In ascending order.
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

/// So many connections, and what they cost.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnsStep {
    /// How many should have been open.
    pub asked: u64,
    /// How many were.
    pub held: u64,
    /// How fast the new ones opened.
    pub opened_per_s: f64,
    /// From the SYN to the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Stat>,
    /// From the request to the 101.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Stat>,
    /// Growth of the host's TCPSynRetrans counter.
    pub syn_retransmits: u64,
    /// Resident memory of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
    /// What the host's TCP holds beyond what it held at first.
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

/// A load that was tried.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FindStep {
    /// Messages a second, or connections.
    pub load: f64,
    /// What the objective names, at this load; nanoseconds for a latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// It met the objective.
    pub ok: bool,
    /// Absent in reports of schema 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What the server did instead of meeting the objective, or why that could not be told at this load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Messages a second that were sent.
    pub achieved_rate: f64,
    /// Of its report.
    pub verdict: Verdict,
    /// Its times.
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
    /// It did.
    Met,
    /// It did not.
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
    /// Connections that sent.
    pub publishers: u64,
    /// Connections that each message should reach.
    pub receivers: u64,
    /// Messages sent.
    pub published: u64,
    /// Deliveries that should have been.
    pub expected: u64,
    /// Deliveries that came.
    pub received: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// Deliveries that overtook an earlier one of their publisher's.
    pub reordered: u64,
    /// Scheduled -> first, median and last receiver of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Stat>,
    /// To half of the receivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<Stat>,
    /// To the last receiver.
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
    /// Messages that came while measuring.
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

/// `--slow-readers`: clients that read slowly.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SlowClients {
    /// How many of the connections.
    pub connections: u64,
    /// Bytes a second that each reads.
    pub rate: u64,
    /// Replies that they read while measuring.
    pub received: u64,
    /// Their messages without a reply to the end; they are in no other count.
    pub unanswered: u64,
    /// What they read while messages were sent, warm-up and drain left out.
    pub bytes_read: u64,
    /// Bytes a second that each has read, on average: fewer than its rate where less came for it.
    pub achieved_rate: f64,
}

impl SlowClients {
    /// Sets what was achieved in so many nanoseconds.
    pub fn achieve(&mut self, measured_ns: u64) {
        let seconds = self.connections as f64 * measured_ns as f64 / 1e9;
        self.achieved_rate = if seconds > 0.0 { self.bytes_read as f64 / seconds } else { 0.0 };
    }
}

/// `storm`: drop all, reconnect.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Storm {
    /// `--server`: from the last that came of the server to the first connection that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_ns: Option<u64>,
    /// `--server`: from the first connection that was lost to the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_ns: Option<u64>,
    /// From the drop to the first that was back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_back_ns: Option<u64>,
    /// How the connections were dropped, `rst` or `close`, or `server` where the server went away by itself.
    pub fault: String,
    /// The reconnect policy as given.
    pub policy: String,
    /// From the start of measuring.
    pub dropped_at_ns: u64,
    /// Connections that were dropped.
    pub dropped: u64,
    /// `--server`: of them, those on which nothing came any more, rather than their end.
    pub silent: u64,
    /// Those that came back.
    pub back: u64,
    /// Share back (`"50"`, `"90"`, `"99"`, `"100"`) -> time since the drop; a share never reached is absent.
    pub back_ns: BTreeMap<String, u64>,
    /// How often one was tried.
    pub attempts: u64,
    /// Growth of the host's TCPSynRetrans counter.
    pub syn_retransmits: u64,
    /// Growth of the host's ListenOverflows counter.
    pub listen_overflows: u64,
    /// Connect and upgrade together, of the reconnects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Stat>,
    /// Connections left alone, and their response times by phase.
    pub survivors: u64,
    /// Before, meanwhile and afterwards.
    pub phases: Vec<StormPhase>,
}

/// A stretch of a storm.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StormPhase {
    /// `before`, `during` or `after`.
    pub name: String,
    /// Response times of those that stayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Stat>,
}
