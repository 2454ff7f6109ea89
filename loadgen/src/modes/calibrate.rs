//! `loadgen calibrate`: what this host can do when the server costs nothing.
//!
//! What loadgen reaches against the null server is this host's ceiling, and its latency the floor.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cli::args::{Args, Calibrate, Command};
use crate::cli::output;
use crate::cli::problem::Problem;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::host::ceiling::{Entry, cache};
use crate::modes::null_server::null_peer;
use crate::modes::session::{Session, measure, plan};
use crate::report::format;
use crate::report::model::Mode;

/// Connections at which the host is measured.
const SIZES: [usize; 3] = [1, 100, 1000];

/// The command.
///
/// # Errors
/// When the null peer cannot listen, or the result cannot be kept.
pub fn command(args: &Calibrate) -> Result<u8, Problem> {
    let address = null_peer()?;
    let mut entries = Vec::new();
    output::print(&format!(
        "{:>12}  {:>10}  {:>10}  {:>10}\n",
        "connections", "ceiling/s", "floor p50", "floor p99"
    ))?;
    for connections in SIZES {
        let url = format!("ws://{address}/");
        let line = ["run", "-c", &connections.to_string(), "-t", "1", &url].map(str::to_owned);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let Ok(Args { command: Command::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
            unreachable!("the line is a good one");
        };
        let mut common = run.common();
        common.quiet = args.quiet;
        let mut session = Session::new(common)?;
        let closed = Plan { warmup: Duration::from_secs(1), duration: args.duration, ..plan(&session) };
        let (ceiling, _) = measure(&mut session, Mode::Closed, connections, &closed)?;
        let open = Plan { rate: Some(Rate::Constant(1000.0)), ..closed };
        let (floor, _) = measure(&mut session, Mode::Open, connections, &open)?;
        if session.signals.flag.load(Ordering::Relaxed) {
            return Ok(session.signals.exit_code().unwrap_or(output::exit::FAILED));
        }
        let at =
            |key: &str| floor.latency_ns.response.as_ref().and_then(|s| s.p.get(key)).copied().unwrap_or(0);
        let entry = Entry {
            connections: connections as u64,
            ceiling: ceiling.messages.achieved_rate,
            floor_p50_ns: at("50"),
            floor_p99_ns: at("99"),
        };
        output::print(&format!(
            "{connections:>12}  {:>10}  {:>10}  {:>10}\n",
            format::short(entry.ceiling),
            format::ns(entry.floor_p50_ns),
            format::ns(entry.floor_p99_ns)
        ))?;
        entries.push(entry);
    }
    let path = cache().ok_or_else(|| Problem::Failed("neither XDG_CACHE_HOME nor HOME is set".into()))?;
    let json = serde_json::to_string_pretty(&entries).expect("numbers become JSON");
    let kept =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, json));
    kept.map_err(|e| Problem::Failed(format!("{}: {e}", path.display())))?;
    output::print(&format!("kept in {}\n", path.display()))?;
    Ok(output::exit::OK)
}
