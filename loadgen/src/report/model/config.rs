//! What was asked for, as a report says it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of run a report is of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `run`: messages go out by a schedule.
    #[default]
    Open,
    /// `run --closed`: replies send the next messages.
    Closed,
    /// Connections step by step.
    Conns,
    /// The highest load that meets an objective.
    Find,
    /// Everyone receives what a few send.
    Fanout,
    /// Connections are dropped and come back.
    Storm,
    /// `listen`: nothing is sent.
    Listen,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Mode::Open => "open",
            Mode::Closed => "closed",
            Mode::Conns => "conns",
            Mode::Find => "find",
            Mode::Fanout => "fanout",
            Mode::Storm => "storm",
            Mode::Listen => "listen",
        })
    }
}

/// What was asked for, enough to run it again. Of a shard: its own share, so that shards add up.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Config {
    /// What kind of run.
    pub mode: Mode,
    /// How many were asked for.
    pub connections: u64,
    /// How many of the connections send.
    pub active: u64,
    /// Messages a second over all connections; absent in closed mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// `A:B` or `steps` as given, when the rate is not constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_plan: Option<String>,
    /// Messages in flight a connection, closed mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
    /// `--think`: a closed system, in which each connection waits so long after a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<String>,
    /// `even` or `poisson`.
    pub arrival: String,
    /// How many shared them.
    pub threads: u64,
    /// Sent before the measured time.
    pub warmup_ns: u64,
    /// The measured time.
    pub duration_ns: u64,
    /// How long the last replies were waited for.
    pub drain_ns: u64,
    /// Payloads.
    pub size: Size,
    /// `text` or `binary`.
    pub opcode: String,
    /// Payload bytes a fragment; absent for whole messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<u64>,
    /// 13 (RFC 6455), 8, 7, 76 or 75.
    pub draft: u64,
    /// Messages were sent compressed (RFC 7692).
    pub deflate: bool,
    /// How the thread waits: `sleep`, `hybrid` (awake just before a message is due) or `spin` (and while replies are due).
    pub idle: String,
    /// How long before a message is due sleeping stops.
    pub spin_ns: u64,
    /// Which clock ended a reply: `kernel` (the stamp the kernel gave its last segment) or `read` (when loadgen had
    /// read it). Figures of one are not to be compared with figures of the other.
    pub stamps: String,
    /// How replies were told from each other: `stamp`, `content`, `number` (`--match`), or `order` where nothing else was
    /// left.
    pub matching: String,
    /// `--timeout`, or its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ns: Option<u64>,
    /// `--max-inflight`, messages a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_inflight: Option<u64>,
    /// What was said and heard beside the messages; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<WordCounts>,
}

/// How many words of a conversation were given. What they say is a secret.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct WordCounts {
    /// `--hello`.
    pub hello: u64,
    /// `--expect`.
    pub expect: u64,
    /// `--capture`.
    pub capture: u64,
    /// `--ignore`.
    pub ignore: u64,
    /// `--answer`.
    pub answer: u64,
    /// `--match`.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// Messages that are the reply to one.
    pub replies: u64,
}

/// Message sizes, payload bytes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Size {
    /// `fixed`, `range`, `mix`, `lognormal`, `file`, or `given` for several.
    pub kind: String,
    /// The size if fixed, else the mean.
    pub bytes: u64,
    /// As given on the command line, when not fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TargetInfo {
    /// Without what is secret in them.
    pub urls: Vec<String>,
    /// The addresses behind them that were connected to. Absent from older reports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Client and server share this host.
    pub local: bool,
}
