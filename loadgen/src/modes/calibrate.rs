//! `loadgen calibrate`: what this host can do when the server costs nothing.
//!
//! What loadgen reaches against the null server is this host's ceiling, and its latency the floor.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cli::args::{Args, CalibrateArgs, Subcommand};
use crate::cli::output;
use crate::cli::problem::Problem;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::host::ceiling::{Calibration, cache, kept};
use crate::modes::measurement::{Measurement, measure, plan};
use crate::modes::null_server::null_peer;
use crate::report::format;
use crate::report::model::{Mode, Status};

/// Connections at which the host is measured.
const SIZES: [usize; 3] = [1, 100, 1000];

/// How often a floor is measured until the run is VALID: that of a busy moment is no floor.
const TRIES: usize = 3;

/// The command.
///
/// # Errors
/// When the null peer cannot listen, or the result cannot be kept.
pub fn command(args: &CalibrateArgs) -> Result<u8, Problem> {
    let address = null_peer()?;
    let mut entries = Vec::new();
    output::print(&format!(
        "{:>12}  {:>10}  {:>10}  {:>10}\n",
        "connections", "ceiling/s", "floor p50", "floor p99"
    ))?;
    let shown = |ns: Option<u64>| ns.map_or("-".to_owned(), format::ns);
    for connections in SIZES {
        let url = format!("ws://{address}/");
        let entry = match measured(args, &url, connections)? {
            Ok(entry) => entry,
            Err(code) => return Ok(code),
        };
        output::print(&format!(
            "{connections:>12}  {:>10}  {:>10}  {:>10}\n",
            format::short(entry.ceiling),
            shown(entry.floor_p50_ns),
            shown(entry.floor_p99_ns)
        ))?;
        entries.push(entry);
    }
    if entries.iter().any(|entry| entry.floor_p50_ns.is_none()) {
        output::remark(
            "-: no run was VALID; this host is too busy for a floor: try again when it is quiet\n",
        );
    }
    keep(entries)
}

/// One line of the table, or the exit code after a signal.
fn measured(args: &CalibrateArgs, url: &str, connections: usize) -> Result<Result<Calibration, u8>, Problem> {
    let (count, size) = (connections.to_string(), args.size.to_string());
    let line = ["run", "-c", &count, "-t", "1", "--size", &size, url];
    let Ok(Args { command: Subcommand::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
        unreachable!("the line is a good one");
    };
    let mut common = run.common();
    common.quiet = args.quiet;
    let mut measurement = Measurement::new(common)?;
    let closed = Plan { warmup: Duration::from_secs(1), duration: args.duration, ..plan(&measurement) };
    let (fastest, _) = measure(&mut measurement, Mode::Closed, connections, &closed)?;
    let mut entry = Calibration {
        connections: connections as u64,
        size: args.size as u64,
        ceiling: fastest.messages.achieved_rate,
        ..Calibration::default()
    };
    let open = Plan { rate: Some(Rate::Constant(1000.0)), ..closed };
    for _ in 0..TRIES {
        let (floor, _) = measure(&mut measurement, Mode::Open, connections, &open)?;
        if measurement.signals.flag.load(Ordering::Relaxed) {
            return Ok(Err(measurement.signals.exit_code().unwrap_or(output::exit::FAILED)));
        }
        if floor.verdict.status == Status::Valid {
            // As far as the run can be trusted, and no further.
            let trusted = |key: &str| floor.verdict.trust.iter().any(|t| t.p == key && t.trusted);
            let at = |key: &str| floor.latency_ns.response.as_ref()?.p.get(key).copied();
            entry.floor_p50_ns = at("50").filter(|_| trusted("50"));
            entry.floor_p99_ns = at("99").filter(|_| trusted("99"));
        }
        if entry.floor_p50_ns.is_some() {
            break;
        }
    }
    Ok(Ok(entry))
}

/// Writes `entries`, and what was known of other sizes, where later runs look.
fn keep(entries: Vec<Calibration>) -> Result<u8, Problem> {
    let path = cache().ok_or_else(|| Problem::Failed("neither XDG_CACHE_HOME nor HOME is set".into()))?;
    let size = entries.first().map_or(0, |entry| entry.size);
    let mut all: Vec<Calibration> =
        kept().into_iter().filter(|entry| entry.size != size && entry.size > 0).collect();
    all.extend(entries);
    let json = serde_json::to_string_pretty(&all).expect("numbers become JSON");
    let kept =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, json));
    kept.map_err(|e| Problem::Failed(format!("{}: {e}", path.display())))?;
    output::print(&format!("kept in {}\n", path.display()))?;
    Ok(output::exit::OK)
}
