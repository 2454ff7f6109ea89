//! The command line.

mod common;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use argh::FromArgs;

pub use common::{Common, Words};

use super::values::{
    Clock, Fault, Placed, Portion, Shard, Steps, arrival, fault, fragment, header, origin, pid, placed,
    positive, share, some_count, some_share, some_time, stamp, start_at, steps, subprotocols, threads,
};
use crate::engine::backoff::Backoff;
use crate::engine::schedule::{ArrivalProcess, Rate};
use crate::engine::size::Sizes;
use crate::engine::slow::SlowReaders;
use crate::engine::think::Think;
use crate::host::tls_config::{self, Version};
use crate::protocol::draft::Draft;
use crate::protocol::url::{Place, host_and_port};
use crate::report::units;
use crate::report::{Condition, Format};

/// An open-loop WebSocket load generator that counts latency from the schedule.
///
/// `loadgen [run] ws://HOST:PORT/PATH` measures a server; see `loadgen run --help`. `loadgen --version` says which this is.
#[derive(Debug, FromArgs)]
pub struct Args {
    /// what is to be done
    #[argh(subcommand)]
    pub command: Subcommand,
}

/// One a mode, and one a thing to do with reports and this host.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
#[expect(missing_docs, reason = "the options of each, whose help says what it does")]
pub enum Subcommand {
    Run(RunArgs),
    Conns(ConnsArgs),
    Find(FindArgs),
    Fanout(FanoutArgs),
    Listen(ListenArgs),
    Storm(StormArgs),
    Report(ReportArgs),
    Compare(CompareArgs),
    Merge(MergeArgs),
    Doctor(DoctorArgs),
    Calibrate(CalibrateArgs),
}

/// Defines a mode: its own options, and those that every mode has, which argh cannot share by itself.
macro_rules! mode {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(Debug, FromArgs)]
        $(#[$meta])*
        pub struct $name {
            $($own)*

            /// servers to measure, ws://HOST:PORT/PATH; connections take turns
            #[argh(positional, arg_name = "url")]
            pub urls: Vec<String>,

            /// connections to hold, as 100, 10k or 1M (100)
            #[argh(option, short = 'c', default = "100", from_str_fn(some_count))]
            pub connections: u64,
            /// threads (one per 1000 connections, at most CPUs - 1)
            #[argh(option, short = 't', from_str_fn(threads))]
            pub threads: Option<usize>,
            /// connections started a second (5k)
            #[argh(option, default = "5000.0", from_str_fn(units::rate), arg_name = "rate")]
            pub connect_rate: f64,
            /// connections under way at a time (256)
            #[argh(option, default = "256", from_str_fn(some_count), arg_name = "n")]
            pub connect_inflight: u64,
            /// time for connect and upgrade (10s)
            #[argh(option, default = "Duration::from_secs(10)", from_str_fn(some_time), arg_name = "time")]
            pub connect_timeout: Duration,
            /// connect there instead of to the URL's host, which is still asked for
            #[argh(option, from_str_fn(host_and_port), arg_name = "host:port")]
            pub connect_to: Option<Place>,
            /// local addresses to connect from: a list of addresses, A-B and A/LEN
            #[argh(option, arg_name = "addresses")]
            pub source: Option<String>,
            /// measure although not all connections open
            #[argh(switch)]
            pub allow_partial: bool,

            /// payload: 128, 64..4k, 90%:64,10%:1k or lognormal:p50=200,p99=8k (128)
            #[argh(option, default = "Sizes::Fixed(128)", from_str_fn(Sizes::parse), arg_name = "bytes")]
            pub size: Sizes,
            /// binary messages rather than text
            #[argh(switch)]
            pub binary: bool,
            /// send messages in fragments of so many bytes
            #[argh(option, from_str_fn(fragment), arg_name = "bytes")]
            pub fragment: Option<usize>,
            /// send the content of a file, or each line of FILE.jsonl; several are sent in turn, or by shares as 90%:FILE
            #[argh(option, arg_name = "file")]
            pub payload: Vec<String>,
            /// send a text, with {seq} and the like filled in (repeatable: in turn)
            #[argh(option, arg_name = "text")]
            pub message: Vec<String>,
            /// say first on every connection: a text, or the content of @FILE (repeatable, in order)
            #[argh(option, from_str_fn(placed), arg_name = "text")]
            pub hello: Vec<Placed>,
            /// wait then for a message that has this in it, where {name} stands for any value (repeatable)
            #[argh(option, from_str_fn(placed), arg_name = "pattern")]
            pub expect: Vec<Placed>,
            /// keep what {NAME} stands for in a pattern, for texts behind it (repeatable)
            #[argh(option, from_str_fn(placed), arg_name = "name=pattern")]
            pub capture: Vec<Placed>,
            /// what tells replies apart: the text around a number, '"id":{seq}', or any, when nothing does
            #[argh(option, long = "match", arg_name = "pattern")]
            pub matching: Option<String>,
            /// so many messages are the reply to one (1)
            #[argh(option, default = "1", from_str_fn(positive), arg_name = "n")]
            pub replies: u32,
            /// messages that have this in them are no replies: heartbeats, pushes (repeatable)
            #[argh(option, arg_name = "pattern")]
            pub ignore: Vec<String>,
            /// answer such messages at once: 'PATTERN=>TEXT' (repeatable)
            #[argh(option, arg_name = "pattern=>text")]
            pub answer: Vec<String>,
            /// no stamp in messages: replies are told apart by their content
            #[argh(switch)]
            pub no_stamp: bool,
            /// do not look at what replies say
            #[argh(switch)]
            pub no_verify: bool,
            /// when a reply ends: kernel, when the kernel has it, or read, when loadgen has (kernel)
            #[argh(option, default = "Clock::Kernel", from_str_fn(stamp), arg_name = "clock")]
            pub stamps: Clock,
            /// protocol version: 13 (RFC 6455), 8 or 7, or Hixie's 76 or 75 (13)
            #[argh(option, default = "Draft::Rfc6455", from_str_fn(Draft::parse), arg_name = "version")]
            pub draft: Draft,
            /// send messages compressed: permessage-deflate without context takeover
            #[argh(switch)]
            pub deflate: bool,
            /// header line of the upgrade request, 'Name: value', in place of loadgen's own of that name (repeatable)
            #[argh(option, short = 'H', from_str_fn(header), arg_name = "line")]
            pub header: Vec<String>,
            /// subprotocols to offer, comma-separated
            #[argh(option, from_str_fn(subprotocols), arg_name = "names")]
            pub subprotocol: Option<String>,
            /// origin header
            #[argh(option, from_str_fn(origin), arg_name = "origin")]
            pub origin: Option<String>,
            /// trust the certificates in a PEM file (the system's roots)
            #[argh(option, arg_name = "file")]
            pub cacert: Option<PathBuf>,
            /// take any certificate
            #[argh(switch)]
            pub insecure: bool,
            /// client certificate, a PEM file
            #[argh(option, arg_name = "file")]
            pub cert: Option<PathBuf>,
            /// its key, a PEM file (the file of --cert)
            #[argh(option, arg_name = "file")]
            pub key: Option<PathBuf>,
            /// name to ask the TLS server for, instead of the URL's host
            #[argh(option, arg_name = "name")]
            pub sni: Option<String>,
            /// the only version of TLS to speak: 1.2 or 1.3
            #[argh(option, from_str_fn(Version::parse), arg_name = "version")]
            pub tls: Option<Version>,
            /// take up earlier TLS sessions instead of a whole handshake each
            #[argh(switch)]
            pub tls_resume: bool,
            /// clients that read slowly, a share of all and bytes a second: 5%:10k/s; they are reported apart
            #[argh(option, from_str_fn(SlowReaders::parse), arg_name = "p%:n/s")]
            pub slow_readers: Option<SlowReaders>,
            /// ping every connection so often
            #[argh(option, from_str_fn(some_time), arg_name = "time")]
            pub ping: Option<Duration>,

            /// process id of the server, if it is on this host: its CPU and memory are sampled
            #[argh(option, from_str_fn(pid), arg_name = "pid")]
            pub server_pid: Option<u32>,
            /// stop sleeping so long before a message is due (50us with more than 2 CPUs, else 15us)
            #[argh(option, from_str_fn(units::duration), arg_name = "time")]
            pub spin: Option<Duration>,
            /// never sleep while replies are due, so that no wake-up of loadgen's is in what it shows
            #[argh(switch)]
            pub spin_read: bool,
            /// seed of everything random (a fresh one, which the report names)
            #[argh(option, default = "fresh_seed()", from_str_fn(units::count), arg_name = "n")]
            pub seed: u64,
            /// be process I of N that share connections, rate and source addresses: I/N, or auto or auto/N, as the launcher says
            #[argh(option, default = "Shard { index: 0, count: 1 }", from_str_fn(Shard::parse), arg_name = "i/n")]
            pub shard: Shard,
            /// begin at a time, in seconds since 1970 or as HH:MM:SS UTC
            #[argh(option, from_str_fn(start_at), arg_name = "time")]
            pub start_at: Option<SystemTime>,

            /// length of a row of the time series (1s)
            #[argh(option, default = "Duration::from_secs(1)", from_str_fn(some_time), arg_name = "time")]
            pub interval: Duration,
            /// a name for the report
            #[argh(option, arg_name = "text")]
            pub name: Option<String>,
            /// no progress on stderr
            #[argh(switch, short = 'q')]
            pub quiet: bool,
            /// form of the report on stdout: text, json, csv, hgrm, hlog, svg or html (text)
            #[argh(option, default = "Format::Text")]
            pub format: Format,
            /// write the report there rather than to stdout
            #[argh(option, short = 'o', arg_name = "file")]
            pub output: Option<PathBuf>,
            /// also write the report as JSON
            #[argh(option, arg_name = "file")]
            pub json: Option<PathBuf>,
            /// also write response times as .hgrm
            #[argh(option, arg_name = "file")]
            pub hdr: Option<PathBuf>,
            /// also write all histograms as .hlog
            #[argh(option, arg_name = "file")]
            pub hlog: Option<PathBuf>,
            /// also write the time series as CSV
            #[argh(option, arg_name = "file")]
            pub csv: Option<PathBuf>,
            /// write one line of JSON an interval while the run is under way
            #[argh(option, arg_name = "file")]
            pub ndjson: Option<PathBuf>,
            /// also write the plots as SVG
            #[argh(option, arg_name = "file")]
            pub svg: Option<PathBuf>,
            /// also write the report as one HTML page
            #[argh(option, arg_name = "file")]
            pub html: Option<PathBuf>,

            /// exit 3 if a condition holds or could not be judged, such as 'p99>5ms' or 'errors>0' (repeatable)
            #[argh(option, arg_name = "condition")]
            pub fail_if: Vec<Condition>,
            /// exit 3 if worse than an earlier report, JSON or HTML, 5 if that could not be judged
            #[argh(option, arg_name = "file")]
            pub baseline: Option<PathBuf>,
            /// change that is no regression (2%)
            #[argh(option, default = "0.02", from_str_fn(share), arg_name = "percent")]
            pub noise_threshold: f64,
            /// exit 4 if the verdict is INVALID or FAULTY
            #[argh(switch)]
            pub strict: bool,
        }

        impl $name {
            fn words(&self) -> Words {
                Words {
                    hello: self.hello.clone(),
                    expect: self.expect.clone(),
                    capture: self.capture.clone(),
                    ignore: self.ignore.clone(),
                    answer: self.answer.clone(),
                    matching: self.matching.clone(),
                    replies: self.replies,
                    payload: self.payload.clone(),
                    message: self.message.clone(),
                }
            }

            /// The options that every mode has, and what is left.
            pub fn common(&self) -> Common {
                Common {
                    urls: self.urls.clone(),
                    connections: self.connections as usize,
                    threads: self.threads,
                    connect_rate: self.connect_rate,
                    connect_inflight: self.connect_inflight as usize,
                    connect_timeout: self.connect_timeout,
                    connect_to: self.connect_to.clone(),
                    source: self.source.clone(),
                    allow_partial: self.allow_partial,
                    size: self.size.clone(),
                    binary: self.binary,
                    fragment: self.fragment,
                    words: self.words(),
                    no_stamp: self.no_stamp,
                    no_verify: self.no_verify,
                    stamps: self.stamps,
                    draft: self.draft,
                    deflate: self.deflate,
                    header: self.header.clone(),
                    subprotocol: self.subprotocol.clone(),
                    origin: self.origin.clone(),
                    tls: tls_config::Options {
                        cacert: self.cacert.clone(),
                        insecure: self.insecure,
                        cert: self.cert.clone(),
                        key: self.key.clone(),
                        sni: self.sni.clone(),
                        version: self.tls,
                        resume: self.tls_resume,
                    },
                    ping: self.ping,
                    server_pid: self.server_pid,
                    spin: self.spin,
                    spin_read: self.spin_read,
                    seed: self.seed,
                    shard: self.shard,
                    start_at: self.start_at,
                    interval: self.interval,
                    name: self.name.clone(),
                    quiet: self.quiet,
                    format: self.format,
                    output: self.output.clone(),
                    files: [
                        (Format::Json, &self.json),
                        (Format::Hgrm, &self.hdr),
                        (Format::Hlog, &self.hlog),
                        (Format::Csv, &self.csv),
                        (Format::Svg, &self.svg),
                        (Format::Html, &self.html),
                    ]
                    .into_iter()
                    .filter_map(|(format, path)| Some((format, path.clone()?)))
                    .collect(),
                    ndjson: self.ndjson.clone(),
                    fail_if: self.fail_if.clone(),
                    baseline: self.baseline.clone(),
                    noise_threshold: self.noise_threshold,
                    strict: self.strict,
                    slow_readers: self.slow_readers,
                    messages_each: None,
                    roles: None,
                    listening: None,
                    max_inflight: None,
                    timeout: None,
                    silence: None,
                }
            }
        }
    };
}

mode! {
    /// Send messages on a schedule (or as fast as replies come) and time the replies.
    #[argh(subcommand, name = "run")]
    RunArgs {
        /// messages a second over all connections: 50k, a ramp 1k:50k, or steps 1k,2k@10s (1 a connection)
        #[argh(option, short = 'R', from_str_fn(Rate::parse))]
        pub rate: Option<Rate>,
        /// messages a second on each connection that sends, instead of --rate
        #[argh(option, from_str_fn(units::rate), arg_name = "rate")]
        pub per_conn_rate: Option<f64>,
        /// closed loop: a reply sends the next message (for the ceiling, not for latency)
        #[argh(switch)]
        pub closed: bool,
        /// messages in flight on each connection, closed loop (1)
        #[argh(option, short = 'p', default = "1", from_str_fn(positive))]
        pub pipeline: u32,
        /// close a connection after so many messages and open it anew
        #[argh(option, from_str_fn(positive), arg_name = "n")]
        pub messages_per_connection: Option<u32>,
        /// closed system: each connection sends its next message so long after a reply, as 200ms or exp:200ms (random)
        #[argh(option, from_str_fn(Think::parse), arg_name = "time")]
        pub think: Option<Think>,
        /// do not send while so many are in flight on the connection, but count it
        #[argh(option, from_str_fn(positive), arg_name = "n")]
        pub max_inflight: Option<u32>,
        /// connections that send, a number or a percentage (100%)
        #[argh(option, default = "Portion::Share(1.0)", from_str_fn(Portion::parse), arg_name = "n|p%")]
        pub active: Portion,
        /// even or poisson (even)
        #[argh(option, default = "ArrivalProcess::Even", from_str_fn(arrival), arg_name = "kind")]
        pub arrival: ArrivalProcess,
        /// time to measure (30s)
        #[argh(option, short = 'd', default = "Duration::from_secs(30)", from_str_fn(some_time))]
        pub duration: Duration,
        /// time before that, at the same load, that does not count (5s)
        #[argh(option, default = "Duration::from_secs(5)", from_str_fn(units::duration), arg_name = "time")]
        pub warmup: Duration,
        /// time for the last replies (2s)
        #[argh(option, default = "Duration::from_secs(2)", from_str_fn(units::duration), arg_name = "time")]
        pub drain: Duration,
        /// count replies later than that as timeouts; --closed gives the message up and sends the next (there 10s)
        #[argh(option, from_str_fn(some_time), arg_name = "time")]
        pub timeout: Option<Duration>,
    }
}

mode! {
    /// Open connections step by step, hold them, and measure what each costs the server.
    #[argh(subcommand, name = "conns")]
    ConnsArgs {
        /// numbers of connections, ascending, as 1k,10k,100k (a quarter, half and all of -c)
        #[argh(option, from_str_fn(steps), arg_name = "n,n,…")]
        pub steps: Option<Steps>,
        /// time to hold each step (5s)
        #[argh(option, default = "Duration::from_secs(5)", from_str_fn(some_time), arg_name = "time")]
        pub hold: Duration,
        /// messages a second on each connection while holding (1)
        #[argh(option, default = "1.0", from_str_fn(units::rate), arg_name = "rate")]
        pub per_conn_rate: f64,
    }
}

mode! {
    /// Search for the highest rate, or number of connections, that meets an objective; exit 3 if none does.
    #[argh(subcommand, name = "find")]
    FindArgs {
        /// objective, such as 'p99.9<5ms'
        #[argh(option, arg_name = "condition")]
        pub slo: Condition,
        /// search for connections, each with --per-conn-rate, instead of the rate
        #[argh(switch)]
        pub by_connections: bool,
        /// where to begin (1k messages a second, or 100 connections)
        #[argh(option, from_str_fn(units::rate), arg_name = "load")]
        pub min: Option<f64>,
        /// where to end (1M messages a second, or -c)
        #[argh(option, from_str_fn(units::rate), arg_name = "load")]
        pub max: Option<f64>,
        /// how close to come (5%)
        #[argh(option, default = "0.05", from_str_fn(some_share), arg_name = "percent")]
        pub precision: f64,
        /// messages a second on each connection, with --by-connections (1)
        #[argh(option, default = "1.0", from_str_fn(units::rate), arg_name = "rate")]
        pub per_conn_rate: f64,
        /// time to measure each load (5s)
        #[argh(option, short = 'd', default = "Duration::from_secs(5)", from_str_fn(some_time))]
        pub duration: Duration,
        /// time before that which does not count (1s)
        #[argh(option, default = "Duration::from_secs(1)", from_str_fn(units::duration), arg_name = "time")]
        pub warmup: Duration,
    }
}

mode! {
    /// Measure a server that passes each message on to every other connection.
    #[argh(subcommand, name = "fanout")]
    FanoutArgs {
        /// connections that send (1)
        #[argh(option, default = "1", from_str_fn(some_count), arg_name = "n")]
        pub publishers: u64,
        /// where the publishers connect to; --hello and the like behind it are theirs (with --subscribe, instead of a URL)
        #[argh(option, from_str_fn(placed), arg_name = "url")]
        pub publish: Option<Placed>,
        /// where all others connect to; --hello and the like behind it are theirs
        #[argh(option, from_str_fn(placed), arg_name = "url")]
        pub subscribe: Option<Placed>,
        /// messages a second over all publishers (10)
        #[argh(option, short = 'R', default = "Rate::Constant(10.0)", from_str_fn(Rate::parse))]
        pub rate: Rate,
        /// time to measure (10s)
        #[argh(option, short = 'd', default = "Duration::from_secs(10)", from_str_fn(some_time))]
        pub duration: Duration,
        /// time before that which does not count (1s)
        #[argh(option, default = "Duration::from_secs(1)", from_str_fn(units::duration), arg_name = "time")]
        pub warmup: Duration,
        /// time for the last deliveries (2s)
        #[argh(option, default = "Duration::from_secs(2)", from_str_fn(units::duration), arg_name = "time")]
        pub drain: Duration,
    }
}

mode! {
    /// Send nothing, and time what comes to many subscribers.
    #[argh(subcommand, name = "listen")]
    ListenArgs {
        /// where the sender's clock stands in a message, as '"ts":{ms}' or '"ts":{ns}', since 1970: one-way latency
        #[argh(option, arg_name = "pattern")]
        pub stamp: Option<String>,
        /// time to measure (30s)
        #[argh(option, short = 'd', default = "Duration::from_secs(30)", from_str_fn(some_time))]
        pub duration: Duration,
        /// time before that which does not count (1s)
        #[argh(option, default = "Duration::from_secs(1)", from_str_fn(units::duration), arg_name = "time")]
        pub warmup: Duration,
    }
}

mode! {
    /// Drop all connections but a few, have them come back, and watch both.
    #[argh(subcommand, name = "storm")]
    StormArgs {
        /// connections that are left alone and send, a number or a percentage (5%)
        #[argh(option, default = "Portion::Share(0.05)", from_str_fn(Portion::parse), arg_name = "n|p%")]
        pub survivors: Portion,
        /// messages a second on each survivor (10)
        #[argh(option, default = "10.0", from_str_fn(units::rate), arg_name = "rate")]
        pub per_conn_rate: f64,
        /// how connections are dropped: rst or close (rst)
        #[argh(option, default = "Fault::Rst", from_str_fn(fault), arg_name = "kind")]
        pub fault: Fault,
        /// nothing is dropped: the server goes away and comes back by itself meanwhile; all that is lost is told
        #[argh(switch)]
        pub server: bool,
        /// with --server: a connection is lost on which nothing comes for so long though a message or a ping waits; unless
        /// --ping is given, pings go twice in that time (5s)
        #[argh(option, default = "Duration::from_secs(5)", from_str_fn(some_time), arg_name = "time")]
        pub timeout: Duration,
        /// how they come back: none, fixed:TIME or exp:TIME..TIME with full jitter (exp:100ms..5s)
        #[argh(option, default = "default_backoff()", from_str_fn(Backoff::parse), arg_name = "policy")]
        pub backoff: Backoff,
        /// time before the storm that is measured (5s)
        #[argh(option, default = "Duration::from_secs(5)", from_str_fn(some_time), arg_name = "time")]
        pub before: Duration,
        /// time from the storm to the end (15s)
        #[argh(option, default = "Duration::from_secs(15)", from_str_fn(some_time), arg_name = "time")]
        pub after: Duration,
    }
}

/// Show a report again, in any form.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "report")]
pub struct ReportArgs {
    /// JSON or HTML that loadgen wrote
    #[argh(positional)]
    pub file: PathBuf,
    /// form: text, json, csv, hgrm, hlog, svg or html (text)
    #[argh(option, default = "Format::Text")]
    pub format: Format,
    /// write there rather than to stdout
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<PathBuf>,
}

/// Say what changed from one report to another; exit 3 if it got worse, 5 if that could not be judged.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "compare")]
pub struct CompareArgs {
    /// the report to compare with, and the report in question
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// instead of reports: a command line such as '-R1k ws://HOST/'; the first is A, the second B, and they run by turns
    #[argh(option, arg_name = "line")]
    pub run: Vec<String>,
    /// how many pairs of runs (7)
    #[argh(option, default = "7", arg_name = "n")]
    pub repeat: usize,
    /// change that is no regression (2%)
    #[argh(option, default = "0.02", from_str_fn(share), arg_name = "percent")]
    pub noise_threshold: f64,
}

/// Add the reports of a sharded run up, exactly.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "merge")]
pub struct MergeArgs {
    /// reports
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// where the sum goes, JSON
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: PathBuf,
}

/// Say what this host allows, and how to allow more.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "doctor")]
pub struct DoctorArgs {
    /// server to be measured
    #[argh(positional)]
    pub url: Option<String>,
    /// connections to be held (100)
    #[argh(option, short = 'c', default = "100", from_str_fn(some_count))]
    pub connections: u64,
    /// connect there instead of to the URL's host
    #[argh(option, from_str_fn(host_and_port), arg_name = "host:port")]
    pub connect_to: Option<Place>,
    /// local addresses to connect from
    #[argh(option, arg_name = "addresses")]
    pub source: Option<String>,
}

/// Measure this host's own floor and ceiling against a null server; later runs say how much of it they used.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "calibrate")]
pub struct CalibrateArgs {
    /// time for each measurement (3s)
    #[argh(option, short = 'd', default = "Duration::from_secs(3)", from_str_fn(some_time))]
    pub duration: Duration,
    /// payload: what is known of one size is used up to twice and down to half of it (128)
    #[argh(option, default = "128", from_str_fn(units::message_size), arg_name = "bytes")]
    pub size: usize,
    /// no progress on stderr
    #[argh(switch, short = 'q')]
    pub quiet: bool,
}

fn default_backoff() -> Backoff {
    Backoff::Jitter { base: Duration::from_millis(100), max: Duration::from_secs(5) }
}

/// Repeats of a run must not be one draw of its arrivals. Short enough to be typed.
fn fresh_seed() -> u64 {
    u64::from(fastrand::u32(1..1_000_000))
}

#[cfg(test)]
mod tests;
