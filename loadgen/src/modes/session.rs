//! What every mode begins and ends with: the engine for its options, and the report from what was found.

use std::time::{Duration, SystemTime};

use crate::cli::args::Common;
use crate::cli::problem::Problem;
use crate::cli::signals::Signals;
use crate::cli::{argv, output};
use crate::engine::Engine;
use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::payload::Messages;
use crate::engine::plan::Plan;
use crate::engine::progress::Live;
use crate::engine::schedule::{Arrival, Rate};
use crate::engine::spec::Spec;
use crate::engine::target::Target;
use crate::host::ceiling::ceiling;
use crate::host::clock;
use crate::host::procfs::{self, Counters};
use crate::host::source_addresses::{self, Sources};
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::Extras;
use crate::protocol::url::Url;
use crate::report::model::{
    Config, Connections, Mode, Run, SCHEMA, Size, Target as Aim, ThresholdResult, Tool,
};
use crate::report::{self, Format, Report, Status, compare};
use crate::verdict::{Facts, assemble};

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
            tool: Tool { name: "loadgen".into(), version: env!("CARGO_PKG_VERSION").into() },
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
                addresses: self.targets.iter().map(|target| target.address.to_string()).collect(),
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
            host: assemble::host(&counted),
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
        let facts = Facts {
            closed: report.config.rate.is_none() && report.config.rate_plan.is_none(),
            fanout: report.config.mode == Mode::Fanout,
            local: self.local(),
            asked: asked as u64,
            throttled: report.host.throttled,
            steal_pct: report.host.steal_pct,
            ceiling: ceiling(report.config.connections).filter(|_| self.local()),
        };
        assemble::fill(report, opening, measured, &facts, self.common.server_pid);
    }
}

/// A plan that sends nothing in particular, for modes to fill in.
pub fn plan(session: &Session) -> Plan {
    let common = &session.common;
    Plan {
        rate: None,
        pipeline: 1,
        arrival: Arrival::Even,
        active: common.connections,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        drain: Duration::from_secs(2),
        interval: common.interval,
        shard: (common.shard.index, common.shard.count),
        start_at: session.start_at(),
        fanout: false,
        storm: None,
        server_pid: common.server_pid,
    }
}

/// What a plan looks like in a report.
pub fn config(mode: Mode, connections: usize, plan: &Plan) -> Config {
    let length = plan.rate.as_ref().and_then(Rate::length).unwrap_or(plan.duration);
    Config {
        mode,
        connections: connections as u64,
        active: plan.active.min(connections) as u64,
        rate: plan.rate.as_ref().map(Rate::mean),
        rate_plan: match &plan.rate {
            Some(rate @ (Rate::Ramp(..) | Rate::Steps(..))) => Some(rate.to_string()),
            _ => None,
        },
        pipeline: plan.rate.is_none().then_some(u64::from(plan.pipeline)),
        arrival: match plan.arrival {
            Arrival::Even => "even".into(),
            Arrival::Poisson => "poisson".into(),
        },
        warmup_ns: plan.warmup.as_nanos() as u64,
        duration_ns: length.as_nanos() as u64,
        drain_ns: plan.drain.as_nanos() as u64,
        ..Config::default()
    }
}

/// Opens `connections`, runs `plan`, closes, and reports.
///
/// # Errors
/// When not all connections opened and that was not allowed, or the engine could not go on.
pub fn measure(
    session: &mut Session,
    mode: Mode,
    connections: usize,
    plan: &Plan,
) -> Result<(Report, Measured), Problem> {
    let engine = session.engine(connections)?;
    let asked = session.share(connections);
    let opening = engine.open(asked, &mut session.live)?;
    let measured = if engine.interrupted() || short(session, asked, &opening) {
        Measured::nothing(engine.held(), engine.interrupted())
    } else {
        engine.run(plan, &mut session.live)?
    };
    session.live.clear();
    let mut report = session.report(config(mode, connections, plan), &engine);
    session.fill(&mut report, asked, &opening, &measured);
    engine.close()?;
    Ok((report, measured))
}

/// Whether too few connections opened to go on.
fn short(session: &Session, asked: usize, opening: &Opening) -> bool {
    let enough = if session.common.allow_partial { 1 } else { asked as u64 };
    opening.opened < enough
}

/// Judges the thresholds of `report`, writes it wherever it was asked for, and says how to exit.
///
/// # Errors
/// When a file cannot be written, or has not what a format needs.
pub fn finish(mut session: Session, mut report: Report) -> Result<u8, Problem> {
    let common = &session.common;
    report::judge(&mut report, &common.fail_if);
    session.live.clear();
    // What one file cannot hold must not keep the rest from being written.
    let mut written = Ok(());
    for (format, path) in &common.files {
        written = written.and(report::save(&report, *format, path).map_err(Problem::Failed));
    }
    let unreachable = unreachable(&report).filter(|_| session.signals.exit_code().is_none());
    // A page of zeros would hide the one line that says what is wrong.
    if unreachable.is_none() || common.format != Format::Text || common.output.is_some() {
        output::show(&report, common.format, common.output.as_deref())?;
    }
    written?;

    let mut failures: Vec<String> = report.thresholds.iter().filter(|t| !t.ok).map(missed).collect();
    if let Some(baseline) = &session.baseline
        && !report.run.interrupted
    {
        let comparison = compare::reports(baseline, &report, common.noise_threshold);
        output::print(&comparison.text())?;
        failures.extend(comparison.failure());
    }
    if let Some(find) = report.find.as_ref().filter(|find| find.best.is_none()) {
        failures.push(format!("no load met {}: {}", find.objective, find.stopped));
    }
    if let Some(code) = session.signals.exit_code() {
        return Ok(code);
    }
    let (asked, messages) = (report.connections.asked, &report.messages);
    let held = report.connections.held_min.min(report.connections.opened);
    let (code, why) = if let Some(why) = unreachable {
        (output::exit::FAILED, why)
    } else if held < asked && !common.allow_partial {
        (output::exit::FAILED, format!("held {held} of {asked} connections"))
    } else if messages.sent > 0 && messages.received == 0 {
        (output::exit::FAILED, format!("no replies to {} messages", messages.sent))
    } else if common.strict && report.verdict.status == Status::Invalid {
        let reasons: Vec<&str> = report.verdict.reasons.iter().map(|r| r.text.as_str()).collect();
        (output::exit::INVALID, format!("INVALID: {}", reasons.join("; ")))
    } else if !failures.is_empty() {
        (output::exit::THRESHOLD, failures.join("; "))
    } else {
        return Ok(output::exit::OK);
    };
    // The report may be in a file that nobody looks at.
    output::complain(&why);
    Ok(code)
}

/// Why not one connection opened, if none did.
fn unreachable(report: &Report) -> Option<String> {
    let connections = &report.connections;
    let (reason, n) = connections.failed.iter().max_by_key(|(_, n)| **n)?;
    if connections.opened > 0 {
        return None;
    }
    let mut why = format!("{}: {reason}", report.target.urls.join(" "));
    if *n < connections.asked {
        why += &format!(" ({n} of {} connections)", connections.asked);
    }
    if let Some(answer) = connections.answers.get(reason) {
        why += &format!("; it said: {answer}");
    }
    Some(why)
}

/// Why a threshold was not met.
fn missed(result: &ThresholdResult) -> String {
    match &result.note {
        Some(why) => format!("{} was not judged: {why}", result.expr),
        None => format!("{} holds", result.expr),
    }
}
