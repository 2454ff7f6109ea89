//! What was counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::format;

/// What came of opening connections, and of holding them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Connections {
    /// How many should have been open.
    pub asked: u64,
    /// Upgraded to WebSocket.
    pub opened: u64,
    /// Fewest held at any time while measuring.
    pub held_min: u64,
    /// Reason -> how many connections never opened or were lost to it.
    pub failed: BTreeMap<String, u64>,
    /// Reason -> what the server said with it, the first time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Growth of the host's TCPSynRetrans counter.
    pub syn_retransmits: u64,
    /// Growth of the host's ListenOverflows counter; local targets only.
    pub listen_overflows: u64,
    /// From the first connect to the last upgrade.
    pub open_ns: u64,
    /// Sent messages and never had an answer to one.
    pub silent: u64,
    /// Given up and opened anew, since a reply without a stamp could not have been told from the next.
    pub replaced: u64,
    /// Opened anew while measuring, with `--messages-per-connection` and in the place of those replaced.
    pub reopened: u64,
    /// Source addresses used.
    pub sources: u64,
}

/// What the TLS handshakes agreed on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsInfo {
    /// Certificates were checked; not with `--insecure`.
    pub verified: bool,
    /// Connections by what they agreed on.
    pub sessions: Vec<TlsSessions>,
    /// Processor time loadgen used while it opened connections, of one processor; handshakes are most of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening_cpu_pct: Option<f64>,
}

/// Connections whose TLS handshakes agreed on the same.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsSessions {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: String,
    /// By IANA's name.
    pub suite: String,
    /// The group, by IANA's name.
    pub key_exchange: String,
    /// From a ticket or session of an earlier one.
    pub resumed: bool,
    /// How many.
    pub connections: u64,
}

impl TlsInfo {
    /// A line a kind of session.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let all: u64 = self.sessions.iter().map(|session| session.connections).sum();
        self.sessions.iter().map(move |session| {
            let TlsSessions { version, suite, key_exchange, resumed, connections } = session;
            let share = 100.0 * *connections as f64 / all.max(1) as f64;
            let how = if *resumed { "resumed" } else { "whole handshakes" };
            let checked = if self.verified { "" } else { "  certificates not checked (--insecure)" };
            let n = format::count(*connections);
            format!("{version}  {suite}  {key_exchange}   {n} {how} ({share:.0}%){checked}")
        })
    }
}

/// Counts over the measured time (warm-up excluded): a message belongs to the time it was scheduled for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Messages {
    /// Absent in closed mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// Written while measuring, a second.
    pub achieved_rate: f64,
    /// Replies read while measuring, a second: what the server did.
    pub answered_rate: f64,
    /// How fast the messages in flight became more over the measured time, a second; absent when they did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_growth: Option<f64>,
    /// In the measured time.
    pub sent: u64,
    /// Replies to those.
    pub received: u64,
    /// Never came back although a later one on the same connection did.
    pub lost: u64,
    /// Replies that came again.
    pub duplicated: u64,
    /// Replies that overtook an earlier one's.
    pub reordered: u64,
    /// Replies that are not what was sent.
    pub corrupt: u64,
    /// Still out when the drain ended, or in a closed loop for longer than `--timeout`; recorded in the histograms at
    /// their age then.
    pub unanswered: u64,
    /// Came back after they had been counted as unanswered.
    pub late: u64,
    /// Messages of the server's own: pushes, heartbeats, greetings. They answer nothing.
    pub unsolicited: u64,
    /// Were to be ignored (`--ignore`).
    pub ignored: u64,
    /// Were answered (`--answer`).
    pub heartbeats_answered: u64,
    /// Replies of which it cannot be told which message they answer.
    pub ambiguous: u64,
    /// Closed loop: slots whose message was still out at the end.
    pub stuck: u64,
    /// Were due on connections that were gone, or that waited for replies.
    pub not_sent: u64,
    /// Came back later than `--timeout`; they are in the histograms too.
    pub timeouts: u64,
    /// Not sent since `--max-inflight` were out.
    pub capped_inflight: u64,
    /// In frames, headers included.
    pub bytes_sent: u64,
    /// In frames, headers included.
    pub bytes_received: u64,
    /// `--ping`.
    pub pings_sent: u64,
    /// Those of them that a Pong came to.
    pub pings_answered: u64,
    /// All Pongs.
    pub pongs_received: u64,
    /// Close frames that the server sent first.
    pub closes_received: u64,
}

impl Messages {
    /// Everything that went wrong with a message: the `errors` of a threshold.
    pub fn errors(&self) -> u64 {
        self.lost + self.duplicated + self.corrupt + self.unanswered + self.not_sent
    }
}
