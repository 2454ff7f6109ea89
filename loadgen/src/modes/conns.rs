//! `loadgen conns`: open connections step by step and see what each costs the server.

use crate::cli::args::ConnsArgs;
use crate::cli::problem::Problem;
use crate::engine::Engine;
use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::host::procfs::{self, Counters};
use crate::modes::measurement::{Measurement, config, plan};
use crate::report::Report;
use crate::report::model::{Conns, ConnsStep, Mode};
use crate::report::stats::Slope;
use crate::verdict::memory;

/// The command.
///
/// # Errors
/// When the host does not allow so many connections, or the engine cannot go on.
pub fn command(args: &ConnsArgs) -> Result<(Measurement, Report), Problem> {
    let mut common = args.common();
    let steps = match &args.steps {
        Some(steps) => steps.0.clone(),
        None => default_steps(common.connections),
    };
    common.connections = *steps.last().expect("parsing made sure of one");
    let most = common.connections;
    let mut measurement = Measurement::new(common)?;
    let engine = measurement.engine(most)?;
    let pid = measurement.common.server_pid;
    let empty = Memory::now(pid);

    let mut climb = Climb {
        found: Conns::default(),
        opening: Opening::default(),
        last: Measured::nothing(engine.held(), engine.interrupted()),
        asked: 0,
        opening_ns: 0,
    };
    for &step in &steps {
        if !climb.step(args, step, &mut measurement, &engine, empty)? {
            break;
        }
    }
    let Climb { mut found, opening, last, asked, opening_ns } = climb;
    fit(&mut found);

    let plan = hold(args, most, &measurement);
    let mut report = measurement.report(config(Mode::Conns, most, &plan), &engine);
    measurement.fill(&mut report, asked, &opening, &last);
    report.connections.open_ns = opening_ns;
    if let Some(server) = &mut report.server {
        server.bytes_per_connection = found.slope;
        server.kernel_bytes_per_connection = found.kernel_slope.map(|s| s.slope);
    }
    engine.close()?;
    if let Some(pid) = pid {
        // The server frees what it frees when it has seen the last connection end.
        std::thread::sleep(std::time::Duration::from_millis(500));
        found.closed_rss_bytes = procfs::rss(pid);
        found.residue_bytes =
            found.closed_rss_bytes.zip(empty.server).map(|(now, then)| now as i64 - then as i64);
    }
    memory::note(&mut report.verdict, &found, empty.server);
    report.conns = Some(found);
    Ok((measurement, report))
}

/// What is in use at a moment, as far as it can be read, bytes.
#[derive(Clone, Copy)]
struct Memory {
    server: Option<u64>,
    kernel: Option<u64>,
}

impl Memory {
    fn now(pid: Option<u32>) -> Memory {
        Memory { server: pid.and_then(procfs::rss), kernel: procfs::tcp_memory() }
    }
}

/// The way up the steps so far.
struct Climb {
    found: Conns,
    opening: Opening,
    /// What was measured at the last step.
    last: Measured,
    asked: usize,
    opening_ns: u64,
}

impl Climb {
    /// Opens connections up to `step` in all processes together and measures with them; `empty` is what was in use
    /// before the first. Returns whether there is a way further up.
    fn step(
        &mut self,
        args: &ConnsArgs,
        step: usize,
        measurement: &mut Measurement,
        engine: &Engine,
        empty: Memory,
    ) -> Result<bool, Problem> {
        let asked = measurement.share(step);
        self.asked = asked;
        let (before, held) = (Counters::now(), engine.held());
        let opening = engine.open(asked, &mut measurement.progress)?;
        let took = (opening.ended - opening.began.unwrap_or(opening.ended)).0.max(1);
        self.opening.add(&opening);
        if engine.interrupted() {
            self.last = Measured::nothing(engine.held(), engine.interrupted());
            return Ok(false);
        }
        self.opening_ns += took;
        self.last = engine.run(&hold(args, step, measurement), &mut measurement.progress)?;
        let memory = Memory::now(measurement.common.server_pid);
        let row = ConnsStep {
            asked: asked as u64,
            held: engine.held(),
            opened_per_s: opening.opened as f64 * 1e9 / took as f64,
            connect: opening.connect.stat(),
            upgrade: opening.upgrade.stat(),
            syn_retransmits: Counters::now().since(before).syn_retransmits,
            server_rss_bytes: memory.server,
            kernel_bytes: memory.kernel.zip(empty.kernel).map(|(now, then)| now.saturating_sub(then)),
            echo: self.last.total.response.stat(),
        };
        let line = format!("{} connections held, {:.0} opened a second", row.held, row.opened_per_s);
        measurement.progress.say(&line);
        self.found.steps.push(row);
        // A step that could not be reached will not be passed.
        let reached = engine.held() >= held + (asked as u64).saturating_sub(held);
        Ok(reached || measurement.common.allow_partial)
    }
}

/// What is sent while so many connections are held.
fn hold(args: &ConnsArgs, connections: usize, measurement: &Measurement) -> Plan {
    let rate = Rate::Constant(args.per_conn_rate * connections as f64);
    Plan { rate: Some(rate), duration: args.hold, ..plan(measurement) }
}

/// What a connection costs, as the slope of a line through the steps.
fn fit(found: &mut Conns) {
    let points = |bytes: fn(&ConnsStep) -> Option<u64>, base: Option<u64>| {
        let zero = base.map(|b| (0.0, b as f64));
        let steps = found.steps.iter().filter_map(|s| Some((s.held as f64, bytes(s)? as f64)));
        zero.into_iter().chain(steps).collect::<Vec<_>>()
    };
    let slope = Slope::fit(&points(|s| s.server_rss_bytes, None));
    let kernel_slope = Slope::fit(&points(|s| s.kernel_bytes, Some(0)));
    (found.slope, found.kernel_slope) = (slope, kernel_slope);
}

/// A quarter, half, three quarters and all: enough points for a line.
fn default_steps(most: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = (1..=4).map(|i| (most * i / 4).max(1)).collect();
    steps.dedup();
    steps
}
