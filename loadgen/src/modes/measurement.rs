//! What every mode begins and ends with: the engine for its options, and the report from what was found.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cli::args::{Common, Words};
use crate::cli::destinations::Destinations;
use crate::cli::problem::Problem;
use crate::cli::signals::Signals;
use crate::cli::values::Placed;
use crate::cli::values::{Clock, Shard};
use crate::cli::{argv, output};
use crate::engine::Engine;
use crate::engine::conversation::Word;
use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::payload::Payloads;
use crate::engine::plan::Plan;
use crate::engine::progress::Progress;
use crate::engine::schedule::{ArrivalProcess, Rate};
use crate::engine::spec::Spec;
use crate::engine::target::{Secured, Target};
use crate::host::ceiling;
use crate::host::clock::{self, Moment, Nanos};
use crate::host::procfs::{self, Counters};
use crate::host::source_addresses::{self, Sources};
use crate::modes::conversation::Conversation;
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::Extras;
use crate::protocol::session::Rules;
use crate::protocol::template::Template;
use crate::protocol::url::Url;
use crate::report::compare::{self, Decision};
use crate::report::model::{
    Config, Connections, Mode, Run, SCHEMA, Size, SlowClients, TargetInfo, ThresholdResult, TlsInfo, Tool,
};
use crate::report::{self, Condition, Format, Report, Status};
use crate::verdict::assemble;
use crate::verdict::facts::Facts;

/// Beyond the longest message sent, what a server may say in one message of its own.
const COURTESY: usize = 1 << 20;

/// One command under way.
pub struct Measurement {
    /// The options that every mode has.
    pub common: Common,
    /// What is said meanwhile.
    pub progress: Progress,
    /// What ends it early.
    pub signals: Signals,
    /// What is measured.
    pub targets: Vec<Target>,
    /// It keeps what it has read.
    conversation: RefCell<Conversation>,
    /// What `--baseline` names.
    pub baseline: Option<Report>,
    /// Where the report goes.
    pub destinations: Destinations,
    started: SystemTime,
    before: Counters,
}

impl Measurement {
    /// Resolves the targets, takes the signals over, and makes sure that no file stands in the way of the report.
    ///
    /// # Errors
    /// When a URL is wrong or missing, options contradict each other, or a file cannot be written or read.
    pub fn new(common: Common) -> Result<Measurement, Problem> {
        if common.urls.is_empty() {
            return Err(Problem::Usage("no URL: name a server such as ws://127.0.0.1:8087/echo".into()));
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
        let urls: Result<Vec<Url>, String> = common.urls.iter().map(|url| Url::with_places(url)).collect();
        let urls = urls.map_err(Problem::Usage)?;
        let reach = source_addresses::reach(common.source.as_deref()).map_err(Problem::Usage)?;
        let destinations = Destinations::of(&common).map_err(Problem::Usage)?;
        destinations.check()?;
        let mut conversation = Conversation::of(&common.words).map_err(Problem::Usage)?;
        let scripts = scripts(&mut conversation, &common).map_err(Problem::Usage)?;
        let baseline = common.baseline.as_ref().map(|path| report::load(path));
        let baseline = baseline.transpose().map_err(|e| Problem::Failed(format!("--baseline {e}")))?;
        let find = |url| Target::find(url, common.connect_to.as_ref(), &reach, common.connect_timeout);
        let secured = secured(&urls, &common).map_err(Problem::Usage)?;
        let targets: Result<Vec<Target>, String> = urls.into_iter().map(find).collect();
        let targets = targets.map_err(Problem::Failed)?.into_iter().zip(secured);
        let mut targets: Vec<Target> =
            targets.map(|(target, tls)| Target { tls, script: scripts[0].clone(), ..target }).collect();
        if let ([.., subscribed], [_, script]) = (&mut targets[..], &scripts[..]) {
            subscribed.script = script.clone();
        }
        for target in &mut targets {
            if target.url.resource.contains('{') {
                let resource = conversation.template("URL", &target.url.resource, false);
                target.resource = Some(resource.map_err(Problem::Usage)?);
            }
        }
        Ok(Measurement {
            baseline,
            progress: Progress::new(common.quiet, destinations.open_ndjson()?),
            destinations,
            signals: Signals::new()?,
            targets,
            conversation: RefCell::new(conversation),
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
        let mut conversation = self.conversation.borrow_mut();
        let given = conversation.payloads(opcode, common.seed).map_err(Problem::Usage)?;
        let random = || {
            let random = Payloads::random(opcode, common.size.clone(), !common.no_stamp, common.seed);
            // Random bytes would be sent as they are, whatever deflate costs.
            if common.deflate { random.compressible() } else { random }
        };
        let payloads = given.unwrap_or_else(random);
        let headers = common.header.iter().enumerate().filter(|(_, line)| line.contains('{'));
        let headers: Result<Vec<(usize, Template)>, String> =
            headers.map(|(at, line)| Ok((at, conversation.template("-H", line, false)?))).collect();
        let threads = self.threads(mine);
        let spin = common.spin.map(Nanos::from);
        let spec = Spec {
            targets: self.targets.clone(),
            rules: Rules {
                extras: Extras {
                    draft: common.draft,
                    deflate: common.deflate,
                    headers: common.header.clone(),
                    subprotocols: common.subprotocol.clone(),
                    origin: common.origin.clone(),
                    hidden: Vec::new(),
                },
                limit: payloads.max_size() + COURTESY,
            },
            headers: headers.map_err(Problem::Usage)?,
            talk: conversation.talk.clone(),
            messages_each: common.messages_each,
            slow: common.slow_readers,
            listening: common.listening.clone(),
            publishers: common.roles.as_ref().map(|(_, publishers)| *publishers),
            matched: conversation.matched.clone(),
            replies: conversation.replies,
            sources,
            payloads,
            fragment: common.fragment,
            verify: !common.no_verify,
            kernel_stamps: common.stamps == Clock::Kernel,
            max_inflight: common.max_inflight,
            timeout: common.timeout.map(Nanos::from),
            silence: common.silence.map(Nanos::from),
            ping: common.ping.map(Nanos::from),
            connect_rate: common.connect_rate / threads as f64,
            connect_inflight: common.connect_inflight.div_ceil(threads),
            connect_timeout: common.connect_timeout.into(),
            // An alarm takes about 20 µs to become a return from the poll; that much earlier costs no time at all. With
            // processors to spare, more of it makes up for slow wake-ups too.
            spin_read: common.spin_read,
            spin: spin.unwrap_or(if procfs::cpus() > 2 { Nanos(50_000) } else { Nanos(15_000) }),
            seed: common.seed,
            threads,
            first,
            shard: common.shard.index + 1,
            wall_offset: clock::wall_ns().wrapping_sub(Moment::now().0),
        };
        Ok(Engine::start(spec, self.signals.flag.clone())?)
    }

    fn threads(&self, connections: usize) -> usize {
        let most = procfs::cpus().saturating_sub(1).max(1);
        self.common.threads.unwrap_or((connections / 1000).clamp(1, most)).min(connections)
    }

    /// When to begin, on the monotonic clock.
    pub fn start_at(&self) -> Option<Moment> {
        self.common.start_at.map(Moment::at_wall)
    }

    /// Client and server share this host.
    pub fn local(&self) -> bool {
        self.targets.iter().any(|target| target.address.is_local())
    }

    /// The frame of a report: everything that does not depend on what was measured.
    pub fn report(&self, config: Config, engine: &Engine) -> Report {
        let common = &self.common;
        let counted = Counters::now().since(self.before);
        let spin = engine.spec.spin;
        Report {
            schema: SCHEMA.into(),
            tool: Tool { name: "loadgen".into(), version: env!("CARGO_PKG_VERSION").into() },
            run: Run {
                id: format!("{:06x}", fastrand::u32(..1 << 24)),
                name: common.name.clone(),
                started: clock::rfc3339(self.started),
                seed: common.seed,
                command: Some(argv::repeating(std::env::args_os().skip(1), common.seed)),
                interrupted: engine.interrupted(),
                shard: (common.shard.count > 1)
                    .then(|| [common.shard.index as u32 + 1, common.shard.count as u32]),
                ..Run::default()
            },
            target: TargetInfo {
                urls: self.targets.iter().map(|target| target.url.shown.clone()).collect(),
                addresses: self.targets.iter().map(|target| target.address.to_string()).collect(),
                local: self.local(),
            },
            config: Config {
                threads: engine.spec.threads as u64,
                size: size(common, &engine.spec),
                opcode: if common.binary { "binary" } else { "text" }.into(),
                draft: common.draft.number(),
                deflate: common.deflate,
                fragment: common.fragment.map(|n| n as u64),
                idle: match spin {
                    _ if common.spin_read => "spin",
                    Nanos(0) => "sleep",
                    _ => "hybrid",
                }
                .into(),
                spin_ns: spin.0,
                matching: engine.spec.matching().to_string(),
                timeout_ns: engine.spec.timeout.map(|limit| limit.0),
                max_inflight: engine.spec.max_inflight.map(u64::from),
                conversation: self.conversation.borrow().shown(),
                ..config
            },
            tls: self
                .targets
                .iter()
                .any(|target| target.tls.is_some())
                .then(|| TlsInfo { verified: !common.tls.insecure, ..TlsInfo::default() }),
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
        let counted = Counters::now().since(self.before);
        let config = &report.config;
        let calibrated = ceiling::known(config.connections, config.size.bytes).filter(|_| self.local());
        let facts = Facts {
            closed: report.config.mode == Mode::Closed,
            listening: report.config.mode == Mode::Listen,
            thinks: report.config.think.clone(),
            fanout: report.config.mode == Mode::Fanout,
            local: self.local(),
            asked: asked as u64,
            allow_partial: self.common.allow_partial,
            kernel_stamps: self.common.stamps == Clock::Kernel,
            syn_retransmits: counted.syn_retransmits,
            throttled: report.host.throttled,
            steal_pct: report.host.steal_pct,
            ceiling: calibrated.map(|entry| entry.ceiling),
            floor_p50_ns: calibrated.and_then(|entry| entry.floor_p50_ns),
        };
        let from = if measured.from == Moment::default() { self.started } else { measured.from.wall() };
        report.slow_readers = self.common.slow_readers.map(|slow| {
            let (first, mine) = self.common.shard.part(self.common.connections);
            let counts = &measured.total.counts;
            SlowClients {
                connections: (first..first + mine).filter(|number| slow.has(*number)).count() as u64,
                rate: slow.rate,
                received: counts.slow_received,
                unanswered: counts.slow_unanswered,
                bytes_read: counts.slow_bytes,
                achieved_rate: 0.0,
            }
        });
        report.run.measured_from_unix_ns = clock::unix_ns(from);
        assemble::fill(report, opening, measured, &facts, self.common.server_pid);
    }
}

/// The opening words of every connection, or those of who sends and of who listens: what stands in front of both is said
/// by both.
fn scripts(conversation: &mut Conversation, common: &Common) -> Result<Vec<Arc<[Word]>>, String> {
    let Some(([publish, subscribe], _)) = &common.roles else {
        return Ok(vec![conversation.script(0..usize::MAX)?]);
    };
    let (first, second) = (publish.place.min(subscribe.place), publish.place.max(subscribe.place));
    let mut of = |role: &Placed| -> Result<Arc<[Word]>, String> {
        let own = if role.place == first { first..second } else { second..usize::MAX };
        Ok([conversation.script(0..first)?, conversation.script(own)?].concat().into())
    };
    Ok(vec![of(publish)?, of(subscribe)?])
}

/// `2 files and 1 message`
fn given(files: usize, texts: usize) -> String {
    let several = |n: usize, kind| match n {
        0 => None,
        1 => Some(format!("1 {kind}")),
        n => Some(format!("{n} {kind}s")),
    };
    let parts: Vec<String> =
        [several(files, "file"), several(texts, "message")].into_iter().flatten().collect();
    parts.join(" and ")
}

/// What messages are sent, as a report has it.
fn size(common: &Common, spec: &Spec) -> Size {
    let Words { payload, message, .. } = &common.words;
    match (&payload[..], message.len()) {
        ([path], 0) => {
            Size { kind: "file".into(), bytes: spec.payloads.max_size() as u64, spec: Some(path.clone()) }
        }
        (files, texts) if files.len() + texts > 0 => Size {
            kind: "given".into(),
            bytes: spec.payloads.max_size() as u64,
            // What a text says may be a secret.
            spec: Some(given(files.len(), texts)),
        },
        _ => Size {
            kind: common.size.kind().into(),
            bytes: common.size.mean().round() as u64,
            spec: (common.size.kind() != "fixed").then(|| common.size.to_string()),
        },
    }
}

/// How the connections to each of `urls` are made secure.
fn secured(urls: &[Url], common: &Common) -> Result<Vec<Option<Secured>>, String> {
    if !urls.iter().any(|url| url.secure) {
        return match common.tls.given() {
            Some(option) => Err(format!("{option}: no URL begins with wss://")),
            None => Ok(vec![None; urls.len()]),
        };
    }
    let config = common.tls.config()?;
    let secured = |url: &Url| Ok(Secured { config: config.clone(), name: common.tls.name(&url.host())? });
    urls.iter().map(|url| url.secure.then(|| secured(url)).transpose()).collect()
}

/// A plan that sends nothing in particular, for modes to fill in.
pub fn plan(measurement: &Measurement) -> Plan {
    let common = &measurement.common;
    Plan {
        rate: None,
        pipeline: 1,
        think: None,
        arrival: ArrivalProcess::Even,
        active: common.connections,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        drain: Duration::from_secs(2),
        interval: common.interval,
        shard: (common.shard.index, common.shard.count),
        start_at: measurement.start_at(),
        fanout: None,
        storm: None,
        server_pid: common.server_pid,
    }
}

/// What a plan looks like in a report.
///
/// Of a shard it says its own share, so that the reports of all shards add up to what was asked for.
pub fn config(mode: Mode, connections: usize, plan: &Plan) -> Config {
    let (index, count) = plan.shard;
    let connections = Shard { index, count }.part(connections).1;
    let length = plan.rate.as_ref().and_then(Rate::length).unwrap_or(plan.duration);
    Config {
        mode,
        connections: connections as u64,
        active: plan.active.min(connections) as u64,
        rate: plan.rate.as_ref().map(|rate| rate.mean() / count as f64),
        rate_plan: match &plan.rate {
            Some(rate @ (Rate::Ramp(..) | Rate::Steps(..))) => Some(rate.to_string()),
            _ => None,
        },
        pipeline: plan.rate.is_none().then_some(u64::from(plan.pipeline)),
        think: plan.think.map(|think| think.to_string()),
        arrival: match plan.arrival {
            ArrivalProcess::Even => "even".into(),
            ArrivalProcess::Poisson => "poisson".into(),
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
    measurement: &mut Measurement,
    mode: Mode,
    connections: usize,
    plan: &Plan,
) -> Result<(Report, Measured), Problem> {
    let engine = measurement.engine(connections)?;
    let asked = measurement.share(connections);
    let opening = engine.open(asked, &mut measurement.progress)?;
    let measured = if engine.interrupted() || short(measurement, asked, &opening) {
        Measured::nothing(engine.held(), engine.interrupted())
    } else {
        engine.run(plan, &mut measurement.progress)?
    };
    measurement.progress.clear();
    let mut report = measurement.report(config(mode, connections, plan), &engine);
    measurement.fill(&mut report, asked, &opening, &measured);
    engine.close()?;
    Ok((report, measured))
}

/// Whether too few connections opened to go on.
fn short(measurement: &Measurement, asked: usize, opening: &Opening) -> bool {
    let enough = if measurement.common.allow_partial { 1 } else { asked as u64 };
    opening.opened < enough
}

/// Judges the thresholds of `report`, writes it wherever it was asked for, and says how to exit.
///
/// # Errors
/// When a file cannot be written, or has not what a format needs.
pub fn finish(mut measurement: Measurement, mut report: Report) -> Result<u8, Problem> {
    let common = &measurement.common;
    report::judge(&mut report, &common.fail_if);
    measurement.progress.clear();
    // What one file cannot hold must not keep the rest from being written.
    let mut written = Ok(());
    let to = &measurement.destinations;
    for (_, format, path) in &to.files {
        written = written.and(report::save(&report, *format, path).map_err(Problem::Failed));
    }
    let unreachable = unreachable(&report).filter(|_| measurement.signals.exit_code().is_none());
    // A page of zeros would hide the one line that says what is wrong.
    if let Some(format) = to.stdout.filter(|format| unreachable.is_none() || *format != Format::Text) {
        output::show(&report, format, None)?;
    }
    written?;

    let mut failures: Vec<String> = report.thresholds.iter().filter(|t| !t.ok).map(missed).collect();
    let mut unjudged = None;
    if let Some(baseline) = &measurement.baseline
        && !report.run.interrupted
    {
        let comparison = compare::reports(baseline, &report, common.noise_threshold);
        match measurement.destinations.takes_tables() {
            true => output::print(&comparison.text(output::colors(&std::io::stdout())))?,
            false => output::remark(&comparison.text(output::colors(&std::io::stderr()))),
        }
        match comparison.decision() {
            Decision::Fine => {}
            Decision::Worse(why) => failures.push(why),
            Decision::NotJudged(why) => unjudged = Some(why),
        }
    }
    if let Some(find) = report.find.as_ref().filter(|find| find.best.is_none()) {
        let why = format!("no load met {}: {}", find.objective, find.stopped);
        match find.next_failed.is_some() {
            true => failures.push(why),
            false => unjudged = Some(why),
        }
    }
    if let Some(code) = measurement.signals.exit_code() {
        return Ok(code);
    }
    let asked = report.connections.asked;
    let held = report.connections.held_min.min(report.connections.opened);
    let (code, why) = if let Some(why) = unreachable {
        (output::exit::FAILED, why)
    } else if held < asked && !common.allow_partial {
        (output::exit::FAILED, format!("held {held} of {asked} connections"))
    } else if let Some(why) = unheard(&report) {
        (output::exit::FAILED, why)
    } else if common.strict && report.verdict.status >= Status::Faulty {
        let reasons: Vec<&str> = report.verdict.reasons.iter().map(|r| r.text.as_str()).collect();
        (
            output::exit::INVALID,
            format!("{}: {}", report::status_word(report.verdict.status), reasons.join("; ")),
        )
    } else if !failures.is_empty() {
        (output::exit::THRESHOLD, failures.into_iter().chain(unjudged).collect::<Vec<_>>().join("; "))
    } else if let Some(why) = unjudged {
        (output::exit::NOT_JUDGED, why)
    } else {
        return Ok(output::exit::OK);
    };
    // The report may be in a file that nobody looks at.
    output::complain(&why);
    Ok(code)
}

/// Why nothing came, if nothing did that was waited for.
fn unheard(report: &Report) -> Option<String> {
    let unsent = report.verdict.reasons.iter().find(|reason| reason.code == "nothing_sent");
    match report.messages.sent {
        _ if report.messages.received > 0 => None,
        0 if report.listen.is_some() => Some("nothing came".to_owned()),
        0 => unsent.map(|reason| reason.text.clone()),
        sent => Some(format!("no replies to {sent} messages")),
    }
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
        None => {
            let value = result.value.zip(result.expr.parse::<Condition>().ok());
            let value = value
                .map_or(String::new(), |(value, condition)| format!(": it is {}", condition.show(value)));
            format!("failed: {}{value}", result.expr)
        }
    }
}
