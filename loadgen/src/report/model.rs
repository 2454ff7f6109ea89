//! The report as data: schema `loadgen.report/2`.
//!
//! Everything a run found out is in one [`Report`]; every output (text, JSON, CSV, plots) is a view of it, and so is
//! every judgement made later (`compare`, `merge`, thresholds). Field names are the JSON's names and never change; new
//! fields may come, so readers ignore what they do not know and take a default for what is missing. The published JSON
//! Schema is `loadgen/schema/report-2.json`; reports of schema 1 are read too, and are schema 2 once read.
//!
//! Times are integer nanoseconds (`_ns`), rates are per second, sizes are bytes, shares are per cent (`_pct`). Floating
//! point fields must be finite: JSON has no other numbers.

mod config;
mod counts;
mod resources;
mod times;

use serde::{Deserialize, Serialize};

pub use config::{Config, Mode, Size, TargetInfo, WordCounts};
pub use counts::{Connections, Messages, TlsInfo, TlsSessions};
pub use resources::{Client, Host, Server, ServerSample};
pub use times::{Interval, Latencies, Phase, Slow};

pub use super::judgement::{Finding, Status, Trust, Verdict};
pub use super::mode_results::{
    Answer, Conns, ConnsStep, Fanout, Find, FindStep, Listen, SlowClients, Storm, StormPhase,
};
pub use super::stat::{PERCENTILES, Stat};

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
    /// What wrote it.
    pub tool: Tool,
    /// When, and by which command.
    pub run: Run,
    /// Whether the numbers are the server's.
    pub verdict: Verdict,
    /// What was measured.
    pub target: TargetInfo,
    /// What was asked for.
    pub config: Config,
    /// Where loadgen ran.
    pub host: Host,
    /// What came of opening and holding them.
    pub connections: Connections,
    /// Present when connections went over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsInfo>,
    /// What was sent and came back.
    pub messages: Messages,
    /// The times.
    pub latency_ns: Latencies,
    /// What speaks for the numbers or against them.
    pub checks: Checks,
    /// Present when `--server-pid` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// What loadgen used.
    pub client: Client,
    /// Patterns in the times.
    pub signatures: Vec<Signature>,
    /// The slowest messages, slowest first.
    pub slowest: Vec<Slow>,
    /// What `--fail-if` found.
    pub thresholds: Vec<ThresholdResult>,
    /// The measured time cut into `--interval` pieces, in order; warm-up and drain carry their own `phase`.
    pub intervals: Vec<Interval>,
    /// Of `conns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conns: Option<Conns>,
    /// Of `find`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    /// Of `fanout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<Fanout>,
    /// Of `storm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// With `--slow-readers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_readers: Option<SlowClients>,
    /// Of `listen`.
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

/// The program.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tool {
    /// `loadgen`.
    pub name: String,
    /// Of the package.
    pub version: String,
}

/// One run.
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
    /// Of everything random.
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

/// Consistency checks behind the verdict.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Checks {
    /// Whether counting and timing agree.
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
    /// What rate times latency gives.
    pub lambda_w: f64,
    /// How far the two are apart.
    pub gap_pct: f64,
}

/// A pattern recognised in the latencies, such as `delayed_ack`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Signature {
    /// Its short name.
    pub kind: String,
    /// Of the samples, 0 to 1.
    pub share: f64,
    /// One sentence: what it looks like and what to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One `--fail-if`, judged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ThresholdResult {
    /// As given: it describes the failure, `p99>5ms`.
    pub expr: String,
    /// Nanoseconds, per second, a share or a count, by what the expression names; absent when it could not be judged.
    pub value: Option<f64>,
    /// It did not hold, so that nothing fails.
    pub ok: bool,
    /// Why it could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One of the reports that were merged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Part {
    /// Its [`Run::id`].
    pub id: String,
    /// Where it ran.
    pub host: Option<String>,
    /// Its `--shard`, index and count.
    pub shard: Option<[u32; 2]>,
    /// Its verdict.
    pub status: Status,
    /// Its [`Run::measured_from_unix_ns`].
    pub started_unix_ns: u64,
    /// Its [`Host::clock_error_ns`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_error_ns: Option<u64>,
    /// Its [`Run::command`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
