//! The options that every mode has.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::cli::values::{Clock, Placed, Shard};
use crate::engine::conversation::Listening;
use crate::engine::size::Sizes;
use crate::engine::slow::SlowReaders;
use crate::host::tls_config;
use crate::protocol::draft::Draft;
use crate::protocol::url::Place;
use crate::report::{Condition, Format};

/// The options that every mode has.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the option of its name, whose help says what it does")]
pub struct Common {
    pub urls: Vec<String>,
    pub connections: usize,
    pub threads: Option<usize>,
    pub connect_rate: f64,
    pub connect_inflight: usize,
    pub connect_timeout: Duration,
    pub connect_to: Option<Place>,
    pub source: Option<String>,
    pub allow_partial: bool,
    pub size: Sizes,
    pub binary: bool,
    pub fragment: Option<usize>,
    pub words: Words,
    pub no_stamp: bool,
    pub no_verify: bool,
    pub stamps: Clock,
    pub draft: Draft,
    pub deflate: bool,
    pub header: Vec<String>,
    pub subprotocol: Option<String>,
    pub origin: Option<String>,
    pub tls: tls_config::Options,
    pub ping: Option<Duration>,
    pub server_pid: Option<u32>,
    pub spin: Option<Duration>,
    pub spin_read: bool,
    pub seed: u64,
    pub shard: Shard,
    pub start_at: Option<SystemTime>,
    /// `storm --server`: a connection on which nothing comes for so long is lost.
    pub silence: Option<Duration>,
    pub interval: Duration,
    pub name: Option<String>,
    pub quiet: bool,
    pub format: Format,
    pub output: Option<PathBuf>,
    pub files: Vec<(Format, PathBuf)>,
    pub ndjson: Option<PathBuf>,
    pub fail_if: Vec<Condition>,
    pub baseline: Option<PathBuf>,
    pub noise_threshold: f64,
    pub strict: bool,
    /// `--slow-readers`.
    pub slow_readers: Option<SlowReaders>,
    /// `run` only.
    pub messages_each: Option<u32>,
    /// `fanout` only: where those who send connect to and where the others do, and how many send.
    pub roles: Option<([Placed; 2], usize)>,
    /// `listen` only: nothing is sent.
    pub listening: Option<Listening>,
    /// `run` only.
    pub max_inflight: Option<u32>,
    /// `run` only.
    pub timeout: Option<Duration>,
}

/// The options of a conversation, as they were given.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the option of its name, whose help says what it does")]
pub struct Words {
    pub hello: Vec<Placed>,
    pub expect: Vec<Placed>,
    pub capture: Vec<Placed>,
    pub ignore: Vec<String>,
    pub answer: Vec<String>,
    pub matching: Option<String>,
    pub replies: u32,
    pub payload: Vec<String>,
    pub message: Vec<String>,
}
