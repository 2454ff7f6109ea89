//! The report as data: schema `loadgen.report/2`.
//!
//! Everything a run found out is in one [`Report`]; every output (text, JSON, CSV, plots) is a view of it, and so is
//! every judgement made later (`compare`, `merge`, thresholds). Field names are the JSON's names and never change; new
//! fields may come, so readers ignore what they do not know and take a default for what is missing. The published JSON
//! Schema is `loadgen/schema/report-2.json`; reports of schema 1 are read too, and are schema 2 once read.
//!
//! Times are integer nanoseconds (`_ns`), rates are per second, sizes are bytes, shares are per cent (`_pct`). Floating
//! point fields must be finite: JSON has no other numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::config::{Config, Mode, Size, WordCounts};
use super::format;
pub use super::judgement::{Finding, Status, Trust, Verdict};
pub use super::mode_results::{Answer, Conns, ConnsStep, Fanout, Find, FindStep, Listen, Storm, StormPhase};
pub use super::stat::{PERCENTILES, Stat};
use super::stats::Slope;

/// The value of [`Report::schema`].
pub const SCHEMA: &str = "loadgen.report/2";

/// The schema before: nothing in it said what the server answered, how far the percentiles hold, or by which clock a
/// reply ended.
pub const SCHEMA_1: &str = "loadgen.report/1";

/// One run, or several merged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    pub tool: Tool,
    pub run: Run,
    pub verdict: Verdict,
    pub target: TargetInfo,
    pub config: Config,
    pub host: Host,
    pub connections: Connections,
    /// Present when connections went over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsInfo>,
    pub messages: Messages,
    pub latency_ns: Latencies,
    pub checks: Checks,
    /// Present when `--server-pid` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    pub client: Client,
    pub signatures: Vec<Signature>,
    /// The slowest messages, slowest first.
    pub slowest: Vec<Slow>,
    pub thresholds: Vec<ThresholdResult>,
    /// The measured time cut into `--interval` pieces, in order; warm-up and drain carry their own `phase`.
    pub intervals: Vec<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conns: Option<Conns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<Fanout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
    /// The reports this one was merged from; empty for a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

impl Report {
    /// The intervals whose messages count: not those of connecting and warming up.
    pub fn measured_intervals(&self) -> impl Iterator<Item = &Interval> {
        self.intervals.iter().filter(|i| matches!(i.phase, Phase::Run | Phase::Drain))
    }

    /// How long messages were sent and counted: what was asked for, or what there was of it when interrupted.
    pub fn measured_ns(&self) -> u64 {
        if self.run.interrupted && !self.intervals.is_empty() {
            self.intervals.iter().filter(|i| i.phase == Phase::Run).map(|i| i.len_ns).sum()
        } else {
            self.config.duration_ns
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tool {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Run {
    /// Short, random, for telling files apart.
    pub id: String,
    /// `--name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RFC 3339, UTC: `2026-11-21T00:00:00.000Z`.
    pub started: String,
    /// Wall clock at the start of measuring, the zero of [`Interval::start_ns`].
    pub measured_from_unix_ns: u64,
    pub seed: u64,
    /// The command line, quoted for a shell: it repeats the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Stopped by a signal: the numbers cover only what ran, and thresholds were not judged.
    pub interrupted: bool,
    /// `[I, N]` of `--shard I/N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<[u32; 2]>,
}

/// What a stretch of a run was for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Connect,
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

/// The load generator's host during the run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Host {
    /// Absent in reports of one machine that did not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub kernel: String,
    pub cpus: u64,
    pub clocksource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    pub nofile: u64,
    pub port_range: [u16; 2],
    pub steal_pct: f64,
    /// Times the cgroup was throttled.
    pub throttled: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Connections {
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
    pub syn_retransmits: u64,
    /// Growth of the host's ListenOverflows counter; local targets only.
    pub listen_overflows: u64,
    /// From the first connect to the last upgrade.
    pub open_ns: u64,
    /// Sent messages and never had an answer to one.
    pub silent: u64,
    /// Given up and opened anew, since a reply without a stamp could not have been told from the next.
    pub replaced: u64,
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
    pub sent: u64,
    pub received: u64,
    /// Never came back although a later one on the same connection did.
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupt: u64,
    /// Still out when the drain ended, or in a closed loop for longer than `--timeout`; recorded in the histograms at
    /// their age then.
    pub unanswered: u64,
    /// Came back after they had been counted as unanswered.
    pub late: u64,
    /// Messages of the server's own: pushes, heartbeats, greetings. They answer nothing.
    pub unsolicited: u64,
    /// Were to be ignored (`--ignore`), or were answered (`--answer`).
    pub ignored: u64,
    pub heartbeats_answered: u64,
    /// Replies of which it cannot be told which message they answer.
    pub ambiguous: u64,
    /// Closed loop: slots whose message was still out at the end.
    pub stuck: u64,
    /// Were due on connections that were gone.
    pub not_sent: u64,
    /// Came back later than `--timeout`; they are in the histograms too.
    pub timeouts: u64,
    pub capped_inflight: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub pings_sent: u64,
    pub pings_answered: u64,
    pub pongs_received: u64,
    pub closes_received: u64,
}

impl Messages {
    /// Everything that went wrong with a message: the `errors` of a threshold.
    pub fn errors(&self) -> u64 {
        self.lost + self.duplicated + self.corrupt + self.unanswered + self.not_sent
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
    /// `listen`: from one message to the next on one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Stat>,
    /// SYN -> connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Stat>,
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

/// Consistency checks behind the verdict.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Checks {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub littles_law: Option<LittlesLaw>,
    /// Share of the time the busiest loop was not waiting.
    pub loop_busy_pct: f64,
    /// Share of this host's calibrated ceiling that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_used_pct: Option<f64>,
    /// The median response of this host's own null server, as calibrated with such messages and connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p50_ns: Option<u64>,
}

/// Messages in flight, counted, against arrival rate times mean latency.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LittlesLaw {
    /// Mean over the measured time.
    #[serde(alias = "inflight_sampled")]
    pub inflight: f64,
    pub lambda_w: f64,
    pub gap_pct: f64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Server {
    pub pid: u32,
    /// Of one CPU, over the measured time.
    pub cpu_pct: f64,
    pub cpu_user_pct: f64,
    pub cpu_sys_pct: f64,
    /// At the end of the measured time.
    pub rss_bytes: u64,
    pub fds: u64,
    /// Resident memory a connection, user space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_connection: Option<Slope>,
    /// Kernel memory a connection, as far as the host tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes_per_connection: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Client {
    /// Of one CPU, over the measured time.
    pub cpu_pct: f64,
    pub rss_bytes: u64,
    /// Involuntary context switches.
    pub ctx_involuntary: u64,
}

/// A pattern recognised in the latencies, such as `delayed_ack`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Signature {
    pub kind: String,
    /// Of the samples, 0 to 1.
    pub share: f64,
    /// One sentence: what it looks like and what to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Slow {
    /// Scheduled time, from the start of measuring.
    pub t_ns: u64,
    pub conn: u64,
    pub response_ns: u64,
    pub own_slip_ns: u64,
    pub size: u64,
}

/// One `--fail-if`, judged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ThresholdResult {
    /// As given: it describes the failure, `p99>5ms`.
    pub expr: String,
    /// Nanoseconds, per second, a share or a count, by what the expression names; absent when it could not be judged.
    pub value: Option<f64>,
    pub ok: bool,
    /// Why it could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One row of the time series.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Interval {
    /// From the start of measuring; negative while warming up.
    pub start_ns: i64,
    pub len_ns: u64,
    pub phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// Sent a second.
    pub achieved_rate: f64,
    pub sent: u64,
    pub received: u64,
    /// Open connections at the end of the interval.
    pub held: u64,
    /// Mean number of messages in flight.
    pub inflight: f64,
    pub errors: u64,
    /// Carries its histogram, so that bands, `compare` and `.hlog` are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Stat>,
    /// The response less what loadgen itself added to it, with its histogram: what `compare` goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undisturbed: Option<Stat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Stat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_slip: Option<Stat>,
    pub loop_busy_pct: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSample>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerSample {
    /// Of one CPU, over the interval.
    pub cpu_pct: f64,
    pub rss_bytes: u64,
}

/// One of the reports that were merged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Part {
    pub id: String,
    pub host: Option<String>,
    pub shard: Option<[u32; 2]>,
    pub status: Status,
    /// Its [`Run::measured_from_unix_ns`].
    pub started_unix_ns: u64,
    /// Its [`Run::command`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
