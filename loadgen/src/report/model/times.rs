//! What was timed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::resources::ServerSample;
use crate::report::stat::Stat;

/// What a stretch of a run was for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Connections are opened.
    Connect,
    /// Messages go that do not count.
    Warmup,
    /// What is measured.
    #[default]
    Run,
    /// Waiting for the last replies.
    Drain,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Phase::Connect => "connect",
            Phase::Warmup => "warmup",
            Phase::Run => "run",
            Phase::Drain => "drain",
        })
    }
}

/// The latency histograms, each absent when the run has no such thing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Latencies {
    /// Scheduled -> read. The headline; in closed mode the same as `wire`, in a fan-out of every delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Stat>,
    /// Scheduled -> the first of several messages that are one reply (`--replies`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_reply: Option<Stat>,
    /// Written -> read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Stat>,
    /// The response of each message less what loadgen itself is known to have added to it: what the verdict trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undisturbed: Option<Stat>,
    /// Where replies cannot be told apart, what the response is at least and at most; `response` and `wire` are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_low: Option<Stat>,
    /// Where a reply cannot be told from another: not shorter than the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_high: Option<Stat>,
    /// Scheduled -> written, as far as it is loadgen's own lateness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_slip: Option<Stat>,
    /// Waiting for room in the socket buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backpressure: Option<Stat>,
    /// From the kernel's stamp to the read; with `read` stamps, from the wake-up to the read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_lag: Option<Stat>,
    /// SYN -> connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Stat>,
    /// Scheduled -> read, of the clients that read slowly; they are in no other histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_readers: Option<Stat>,
    /// `listen`: from one message to the next on one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Stat>,
    /// The TLS handshake: connected -> finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Stat>,
    /// GET -> 101.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Stat>,
    /// 101 -> the end of the opening words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<Stat>,
    /// Ping -> Pong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<Stat>,
    /// Lateness of a 1 kHz timer on a thread of its own: what this host does to anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hiccup: Option<Stat>,
}

impl Latencies {
    /// The histograms that are there, by their JSON name, in order of presentation.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &Stat)> {
        [
            ("response", &self.response),
            ("first_reply", &self.first_reply),
            ("wire", &self.wire),
            ("undisturbed", &self.undisturbed),
            ("response_low", &self.response_low),
            ("response_high", &self.response_high),
            ("own_slip", &self.own_slip),
            ("backpressure", &self.backpressure),
            ("read_lag", &self.read_lag),
            ("slow_readers", &self.slow_readers),
            ("gap", &self.gap),
            ("connect", &self.connect),
            ("tls", &self.tls),
            ("upgrade", &self.upgrade),
            ("hello", &self.hello),
            ("ping", &self.ping),
            ("hiccup", &self.hiccup),
        ]
        .into_iter()
        .filter_map(|(name, stat)| Some((name, stat.as_ref()?)))
    }
}

/// One of the slowest replies.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Slow {
    /// Scheduled time, from the start of measuring.
    pub t_ns: u64,
    /// Which connection.
    pub conn: u64,
    /// From when it was due to the reply.
    pub response_ns: u64,
    /// From when it was due to the write.
    pub own_slip_ns: u64,
    /// Payload bytes.
    pub size: u64,
}

/// One row of the time series.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Interval {
    /// From the start of measuring; negative while warming up.
    pub start_ns: i64,
    /// How long it lasted.
    pub len_ns: u64,
    /// What was going on.
    pub phase: Phase,
    /// Messages a second that the schedule asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// Sent a second.
    pub achieved_rate: f64,
    /// Messages due in it that were sent.
    pub sent: u64,
    /// Replies to those.
    pub received: u64,
    /// Open connections at the end of the interval.
    pub held: u64,
    /// Mean number of messages in flight.
    pub inflight: f64,
    /// Messages that went wrong.
    pub errors: u64,
    /// Carries its histogram, so that bands, `compare` and `.hlog` are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Stat>,
    /// The response less what loadgen itself added to it, with its histogram: what `compare` goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undisturbed: Option<Stat>,
    /// From the write to the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Stat>,
    /// From when a message was due to the write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_slip: Option<Stat>,
    /// Time in which the threads had something to do.
    pub loop_busy_pct: f64,
    /// What the server used, where its process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSample>,
}
