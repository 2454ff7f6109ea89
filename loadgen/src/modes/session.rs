//! What every mode begins and ends with: the engine for its options, and the report from what was found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::args::Common;
use crate::cli::argv;
use crate::engine::connection::{self, Opening, Spec};
use crate::engine::payload::Messages;
use crate::engine::progress::Live;
use crate::engine::target::Target;
use crate::engine::{Engine, Measured};
use crate::host::clock::{self, SECOND};
use crate::host::procfs::{self, Counters};
use crate::host::source_addresses::{self, Sources};
use crate::modes::calibrate;
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::Extras;
use crate::protocol::url::Url;
use crate::report::model::{
    Checks, Client, Config, Connections, Latencies, Messages as Counted, Report, Run, SCHEMA, Server, Size,
    Target as Aim, Tool,
};
use crate::report::{self, Format};
use crate::verdict::pattern;
use crate::verdict::{self, Facts};

/// Why a command ends early.
#[derive(Debug, PartialEq)]
pub enum Problem {
    /// The command line asks for something that makes no sense: exit 2.
    Usage(String),
    /// It could not be done: exit 1.
    Failed(String),
}

impl From<std::io::Error> for Problem {
    fn from(e: std::io::Error) -> Problem {
        Problem::Failed(e.to_string())
    }
}

/// The signals that end a run early: the first writes a partial report, the second kills.
pub struct Signals {
    pub flag: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Signals> {
        let signals = Signals { flag: Arc::default(), which: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the second signal finds the flag set by the first.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, signals.flag.clone())?;
            signal_hook::flag::register(signal, signals.flag.clone())?;
            signal_hook::flag::register_usize(signal, signals.which.clone(), signal as usize)?;
        }
        Ok(signals)
    }

    /// 130 or 143 after a signal.
    pub fn exit_code(&self) -> Option<u8> {
        match self.which.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(128 + signal as u8),
        }
    }
}

/// Tries the files that the report will go to, and reads the baseline: a run must not be lost to a wrong path.
fn files(common: &Common) -> Result<Option<Report>, Problem> {
    let option = |format: &Format| match format {
        Format::Json => "--json",
        Format::Hgrm => "--hdr",
        Format::Hlog => "--hlog",
        Format::Csv => "--csv",
        Format::Svg => "--svg",
        Format::Html => "--html",
        Format::Text => "-o",
    };
    let output = common.output.iter().map(|path| ("-o", path));
    for (option, path) in common.files.iter().map(|(format, path)| (option(format), path)).chain(output) {
        report::try_path(path).map_err(|e| Problem::Failed(format!("{option} {}: {e}", path.display())))?;
    }
    let baseline = common.baseline.as_ref().map(|path| report::load(path));
    baseline.transpose().map_err(|e| Problem::Failed(format!("--baseline {e}")))
}

/// One command under way.
pub struct Session {
    pub common: Common,
    pub live: Live,
    pub signals: Signals,
    pub targets: Vec<Target>,
    /// What `--baseline` names.
    pub baseline: Option<Report>,
    started: SystemTime,
    before: Counters,
}

impl Session {
    /// Resolves the targets, takes the signals over, and makes sure that no file stands in the way of the report.
    ///
    /// # Errors
    /// When a URL is wrong or missing, options contradict each other, or a file cannot be written or read.
    pub fn new(common: Common) -> Result<Session, Problem> {
        if common.urls.is_empty() {
            return Err(Problem::Usage("no URL: name a server such as ws://127.0.0.1:8087/echo".into()));
        }
        if common.connections == 0 {
            return Err(Problem::Usage("-c takes a number of connections above zero".into()));
        }
        if common.connections < common.shard.count {
            return Err(Problem::Usage(format!(
                "{} connections are too few for --shard",
                common.connections
            )));
        }
        let beyond = [
            ("--binary", common.binary),
            ("--fragment", common.fragment.is_some()),
            ("--ping", common.ping.is_some()),
            ("--deflate", common.deflate),
        ];
        if let Some((option, _)) = beyond.iter().find(|(_, given)| *given && common.draft.is_hixie()) {
            let draft = common.draft.number();
            return Err(Problem::Usage(format!(
                "{option}: --draft {draft} has whole text messages and no more"
            )));
        }
        let urls: Result<Vec<Url>, String> = common.urls.iter().map(|url| Url::parse(url)).collect();
        let urls = urls.map_err(Problem::Usage)?;
        let reach = source_addresses::reach(common.source.as_deref()).map_err(Problem::Usage)?;
        let baseline = files(&common)?;
        let find = |url| Target::find(url, common.connect_to.as_ref(), &reach, common.connect_timeout);
        let targets: Result<Vec<Target>, String> = urls.into_iter().map(find).collect();
        Ok(Session {
            baseline,
            live: Live::new(common.quiet),
            signals: Signals::new()?,
            targets: targets.map_err(Problem::Failed)?,
            started: SystemTime::now(),
            before: Counters::now(),
            common,
        })
    }

    /// The part of `n` connections that is this process's.
    pub fn share(&self, n: usize) -> usize {
        self.common.shard.part(n).1
    }

    /// The engine for `connections` in all.
    ///
    /// # Errors
    /// When this host does not allow so many, or a file cannot be read.
    pub fn engine(&self, connections: usize) -> Result<Engine, Problem> {
        let common = &self.common;
        let (first, mine) = common.shard.part(connections);
        procfs::allow_descriptors(mine).map_err(Problem::Failed)?;
        let (range, _) = source_addresses::port_range();
        let per_target = connections.div_ceil(self.targets.len());
        let sources = Sources::plan(common.source.as_deref(), &self.targets[0].address, per_target, range)
            .map_err(Problem::Usage)?;
        let opcode = if common.binary { Opcode::Binary } else { Opcode::Text };
        let messages = match &common.payload {
            None => Messages::random(opcode, common.size.clone(), !common.no_stamp, common.seed),
            Some(path) => {
                let content = std::fs::read(path)
                    .map_err(|e| Problem::Failed(format!("--payload {}: {e}", path.display())))?;
                if opcode == Opcode::Text && std::str::from_utf8(&content).is_err() {
                    let text = format!("--payload {}: not UTF-8, so it needs --binary", path.display());
                    return Err(Problem::Usage(text));
                }
                Messages::file(opcode, content)
            }
        };
        let threads = self.threads(mine);
        let spin = common.spin.map(|t| t.as_nanos() as u64);
        let spec = Spec {
            targets: self.targets.clone(),
            extras: Extras {
                draft: common.draft,
                deflate: common.deflate,
                headers: common.header.clone(),
                subprotocols: common.subprotocol.clone(),
                origin: common.origin.clone(),
            },
            sources,
            messages,
            fragment: common.fragment,
            verify: !common.no_verify,
            max_inflight: common.max_inflight,
            timeout: common.timeout.map(|t| t.as_nanos() as u64),
            ping: common.ping.map(|t| t.as_nanos() as u64),
            connect_rate: common.connect_rate / threads as f64,
            connect_inflight: common.connect_inflight.div_ceil(threads),
            connect_timeout: common.connect_timeout.as_nanos() as u64,
            // An alarm takes about 20 µs to become a return from the poll; that much earlier costs no time at all. With
            // processors to spare, more of it makes up for slow wake-ups too.
            spin: spin.unwrap_or(if procfs::cpus() > 2 { 50_000 } else { 15_000 }),
            seed: common.seed,
            threads,
            first,
        };
        Ok(Engine::start(spec, self.signals.flag.clone())?)
    }

    fn threads(&self, connections: usize) -> usize {
        let most = procfs::cpus().saturating_sub(1).max(1);
        self.common.threads.unwrap_or((connections / 1000).clamp(1, most)).min(connections)
    }

    /// When to begin, on the monotonic clock.
    pub fn start_at(&self) -> Option<u64> {
        self.common.start_at.map(clock::at_wall)
    }

    /// Client and server share this host.
    pub fn local(&self) -> bool {
        self.targets.iter().any(|target| target.address.is_local())
    }

    /// The frame of a report: everything that does not depend on what was measured.
    pub fn report(&self, config: Config, engine: &Engine) -> Report {
        let common = &self.common;
        let counted = Counters::now().since(self.before);
        let size = match &common.payload {
            Some(path) => Size {
                kind: "file".into(),
                bytes: engine.spec.messages.max_size() as u64,
                spec: Some(path.display().to_string()),
            },
            None => Size {
                kind: common.size.kind().into(),
                bytes: common.size.mean().round() as u64,
                spec: (common.size.kind() != "fixed").then(|| format!("{:?}", common.size)),
            },
        };
        let spin = engine.spec.spin;
        Report {
            schema: SCHEMA.into(),
            tool: Tool { name: "loadgen".into(), version: env!("CARGO_PKG_VERSION").into(), commit: None },
            run: Run {
                id: format!("{:06x}", fastrand::u32(..1 << 24)),
                name: common.name.clone(),
                started: clock::rfc3339(self.started),
                seed: common.seed,
                command: Some(argv::quoted(std::env::args_os().skip(1))),
                interrupted: engine.interrupted(),
                shard: (common.shard.count > 1)
                    .then(|| [common.shard.index as u32 + 1, common.shard.count as u32]),
                ..Run::default()
            },
            target: Aim {
                urls: self.targets.iter().map(|target| target.url.shown.clone()).collect(),
                local: self.local(),
            },
            config: Config {
                threads: engine.spec.threads as u64,
                size,
                opcode: if common.binary { "binary" } else { "text" }.into(),
                draft: common.draft.number(),
                deflate: common.deflate,
                fragment: common.fragment.map(|n| n as u64),
                idle: if spin > 0 { "hybrid" } else { "sleep" }.into(),
                spin_ns: spin,
                ..config
            },
            host: procfs::describe(&counted),
            connections: Connections {
                sources: engine.spec.sources.count() as u64,
                syn_retransmits: counted.syn_retransmits,
                listen_overflows: if self.local() { counted.listen_overflows } else { 0 },
                ..Connections::default()
            },
            ..Report::default()
        }
    }

    /// Fills in what `measured` found, and judges it. `asked` connections were to be opened by this process.
    pub fn fill(&self, report: &mut Report, asked: usize, opening: &Opening, measured: &Measured) {
        let total = &measured.total;
        let counts = &total.counts;
        let window = if measured.interrupted { clock::now().min(measured.to) } else { measured.to };
        let seconds = window.saturating_sub(measured.from).max(1) as f64 / SECOND as f64;
        let achieved_rate = counts.sent as f64 / seconds;
        let closed = report.config.rate.is_none() && report.config.rate_plan.is_none();

        self.connections(report, asked, opening);
        connection::add(&mut report.connections.failed, &measured.failures);
        report.connections.held_min = measured.held_min.min(opening.opened);
        report.messages = Counted {
            target_rate: (!closed).then(|| measured.scheduled * 1e9 / (measured.to - measured.from) as f64),
            achieved_rate,
            sent: counts.sent,
            received: counts.received,
            lost: counts.lost,
            duplicated: counts.duplicated,
            reordered: counts.reordered,
            corrupt: counts.corrupt,
            unanswered: counts.unanswered,
            not_sent: counts.not_sent,
            timeouts: counts.timeouts,
            shed_deadline: 0,
            capped_inflight: counts.capped,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            pings_sent: counts.pings_sent,
            pings_answered: counts.pings_answered,
            pongs_received: counts.pongs_received,
            closes_received: counts.closes_received,
        };
        report.latency_ns = Latencies {
            response: total.response.stat(),
            wire: total.wire.stat(),
            own_slip: if closed { None } else { total.own_slip.stat() },
            backpressure: total.backpressure.stat(),
            read_lag: total.read_lag.stat(),
            ping: total.ping.stat(),
            hiccup: measured.seen.hiccup.stat(),
            ..std::mem::take(&mut report.latency_ns)
        };
        let ceiling = calibrate::ceiling(report.config.connections).filter(|_| self.local());
        report.checks = Checks {
            littles_law: verdict::littles_law(measured).map(|(law, _)| law),
            loop_busy_pct: measured.busy_pct,
            ceiling_used_pct: ceiling.map(|ceiling| 100.0 * achieved_rate / ceiling),
        };
        report.server = measured.server.zip(self.common.server_pid).map(|(usage, pid)| Server {
            pid,
            cpu_pct: usage.cpu_pct(),
            cpu_user_pct: 100.0 * usage.cpu.user as f64 / usage.wall_ns.max(1) as f64,
            cpu_sys_pct: 100.0 * usage.cpu.system as f64 / usage.wall_ns.max(1) as f64,
            rss_bytes: usage.rss,
            fds: usage.descriptors,
            bytes_per_connection: None,
            kernel_bytes_per_connection: None,
        });
        report.client = Client {
            cpu_pct: measured.own.cpu_pct(),
            rss_bytes: measured.own.rss,
            ctx_involuntary: measured.own.involuntary,
        };
        report.signatures = pattern::find(measured, opening);
        report.slowest = total.slowest.list();
        report.intervals = measured.intervals.clone();
        report.verdict = verdict::judge(
            measured,
            opening,
            &Facts {
                closed,
                fanout: report.config.mode == "fanout",
                local: self.local(),
                asked: asked as u64,
                throttled: report.host.throttled,
                steal_pct: report.host.steal_pct,
                ceiling,
            },
        );
        // Of a fan-out, the collector knows what came.
        if report.config.mode != "fanout" {
            verdict::replies(&mut report.verdict, &report.messages);
        }
    }

    /// Fills in how the opening of `asked` connections went.
    pub fn connections(&self, report: &mut Report, asked: usize, opening: &Opening) {
        let connections = &mut report.connections;
        connections.asked = asked as u64;
        connections.opened = opening.opened;
        connections.held_min = opening.opened;
        connections.failed = opening.failures.clone();
        connections.open_ns = opening.began.map_or(0, |began| opening.ended.saturating_sub(began));
        report.latency_ns.connect = opening.connect.stat();
        report.latency_ns.upgrade = opening.upgrade.stat();
    }
}
