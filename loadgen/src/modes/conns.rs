//! `loadgen conns`: open connections step by step and see what each costs the server.

use crate::cli::args::ConnsArgs;
use crate::cli::problem::Problem;
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
    let empty = (pid.and_then(procfs::rss), procfs::tcp_memory());

    let mut found = Conns::default();
    let mut all = Opening::default();
    let mut last = Measured::nothing(engine.held(), engine.interrupted());
    let (mut asked, mut opening_ns) = (0, 0);
    for &step in &steps {
        asked = measurement.share(step);
        let before = Counters::now();
        let held = engine.held();
        let opening = engine.open(asked, &mut measurement.progress)?;
        let opened = opening.opened;
        let took = (opening.ended - opening.began.unwrap_or(opening.ended)).0.max(1);
        all.add(&opening);
        if engine.interrupted() {
            last = Measured::nothing(engine.held(), engine.interrupted());
            break;
        }
        opening_ns += took;
        let rate = args.per_conn_rate * step as f64;
        let plan = Plan { rate: Some(Rate::Constant(rate)), duration: args.hold, ..plan(&measurement) };
        last = engine.run(&plan, &mut measurement.progress)?;
        let memory = (pid.and_then(procfs::rss), procfs::tcp_memory());
        let row = ConnsStep {
            asked: asked as u64,
            held: engine.held(),
            opened_per_s: opened as f64 * 1e9 / took as f64,
            connect: opening.connect.stat(),
            upgrade: opening.upgrade.stat(),
            syn_retransmits: Counters::now().since(before).syn_retransmits,
            server_rss_bytes: memory.0,
            kernel_bytes: memory.1.zip(empty.1).map(|(now, then)| now.saturating_sub(then)),
            echo: last.total.response.stat(),
        };
        measurement
            .progress
            .say(&format!("{} connections held, {:.0} opened a second", row.held, row.opened_per_s));
        found.steps.push(row);
        // A step that could not be reached will not be passed.
        if engine.held() < held + (asked as u64).saturating_sub(held) && !measurement.common.allow_partial {
            break;
        }
    }
    fit(&mut found);

    let rate = args.per_conn_rate * most as f64;
    let plan = Plan { rate: Some(Rate::Constant(rate)), duration: args.hold, ..plan(&measurement) };
    let mut report = measurement.report(config(Mode::Conns, most, &plan), &engine);
    measurement.fill(&mut report, asked, &all, &last);
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
        found.residue_bytes = found.closed_rss_bytes.zip(empty.0).map(|(now, then)| now as i64 - then as i64);
    }
    memory::note(&mut report.verdict, &found, empty.0);
    report.conns = Some(found);
    Ok((measurement, report))
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
