//! What TLS costs loadgen: CPU time a message beside plain, memory a connection, and how fast connections open.
//!
//! `cargo bench -p loadgen --bench tls` drives one echo server, in a process of its own, that takes plain connections and
//! TLS 1.3 on the same port (rustls' buffered API, nothing checked), by turns with `loadgen --closed` over each. What is
//! compared is the CPU time of this whole process a message, round by round; beside it stands what rustls takes of it, which
//! opens and seals the same records in memory. Before that as many TLS connections as this host's descriptors allow, up to
//! 19,000, are opened one after the other and held. Nothing is asserted: the aims are 1.25 and 4,000 bytes.

#[path = "tls/alone.rs"]
mod alone;
#[path = "tls/peer.rs"]
mod peer;
#[path = "common/process.rs"]
mod process;
#[path = "../../benches/common/turns.rs"]
mod turns;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use alone::Alone;
use loadgen::cli::args::{Args, Subcommand};
use loadgen::engine::plan::Plan;
use loadgen::host::procfs;
use loadgen::modes::measurement::{Measurement, plan};
use process::{Server, cpu};
use turns::{by_turns, quantile};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1500);
/// Connections, bytes of a message, those of the frames that come and go with it, and the aim.
const ROWS: [(usize, &str, (usize, usize), &str); 4] = [
    (1, "128", (132, 136), "1.25"),
    (100, "128", (132, 136), "1.25"),
    (1000, "128", (132, 136), "1.25"),
    (100, "16k", (16_388, 16_392), ""),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == "--peer") {
        return peer::serve(&arguments[at + 1]);
    }
    let peer = Peer::start();
    // First, while this process has no memory that it has let go of.
    let most = (nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(_, hard)| hard)
        - 500)
        .min(19_000) as usize;
    hold(&peer.options("wss"), most);
    println!(
        "{:24}{:>12}{:>12}{:>8}  {:13}{:>6}{:>14}",
        "CPU time a message", "plain", "TLS 1.3", "ratio", "quartiles", "aim", "rustls alone"
    );
    let (serving, asking) = peer::configurations();
    for (connections, size, frames, aim) in ROWS {
        let mut rustls = Alone::new(&serving, &asking, connections, frames);
        let mut alone = Vec::new();
        let mut turn = || {
            alone.push(rustls.cost(10));
            ["ws", "wss"].map(|scheme| cost(&peer.options(scheme), connections, size))
        };
        let Ok(comparison) = by_turns::<Infallible>(ROUNDS, || Ok(turn()));
        let title = format!("{connections} connections, {size}");
        println!("{title:24}{comparison}{aim:>6}{:>11.0} ns", quantile(&mut alone, 0.5));
    }
}

/// A measurement for `loadgen --closed` with these options.
fn measurement(options: &[String], connections: usize, size: &str) -> Measurement {
    let connections = connections.to_string();
    let mut line = vec![
        "run",
        "--closed",
        "-q",
        "-t",
        "1",
        "-c",
        &connections,
        "--size",
        size,
        "--connect-rate",
        "100k",
    ];
    line.extend(options.iter().map(String::as_str));
    let Ok(Args { command: Subcommand::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
        unreachable!("the line is a good one");
    };
    Measurement::new(run.common()).unwrap_or_else(|e| panic!("{e:?}"))
}

/// CPU time of this process a message, ns. Opening and reporting are not messages and do not count.
fn cost(options: &[String], connections: usize, size: &str) -> f64 {
    let mut measurement = measurement(options, connections, size);
    let engine = measurement.engine(connections).expect("an engine");
    engine.open(connections, &mut measurement.progress).expect("connections");
    let plan = Plan { duration: ROUND, ..plan(&measurement) };
    let before = cpu();
    let measured = engine.run(&plan, &mut measurement.progress).expect("a run");
    let cost = (cpu() - before) / measured.total.counts.received as f64;
    engine.close().expect("an end");
    cost
}

/// Opens connections and says what each takes of this process's memory, and how fast they opened.
fn hold(options: &[String], connections: usize) {
    let mut measurement = measurement(options, connections, "128");
    let engine = measurement.engine(connections).expect("an engine");
    // The threads and their buffers are there before the connections.
    engine.open(1, &mut measurement.progress).expect("a connection");
    let (rss, began, used) = (procfs::rss(std::process::id()), Instant::now(), cpu());
    let opening = engine.open(connections, &mut measurement.progress).expect("connections");
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    let grown =
        procfs::rss(std::process::id()).zip(rss).map_or(0, |(after, before)| after.saturating_sub(before));
    println!(
        "{} connections in TLS held: {} B each, opened in {seconds:.1} s ({:.0}/s), {:.0} us of loadgen's CPU each",
        opening.opened + 1,
        grown / connections as u64,
        opening.opened as f64 / seconds,
        used / 1000.0 / opening.opened.max(1) as f64
    );
    engine.close().expect("an end");
}

/// The server, and the certificate that it has made.
struct Peer {
    server: Server,
    certificate: PathBuf,
}

impl Peer {
    fn start() -> Peer {
        let certificate = std::env::temp_dir().join(format!("loadgen-bench-{}.pem", std::process::id()));
        Peer { server: Server::start(&["--peer".as_ref(), certificate.as_os_str()]), certificate }
    }

    fn options(&self, scheme: &str) -> Vec<String> {
        let mut options = vec![format!("{scheme}://{}/", self.server.address)];
        if scheme == "wss" {
            options.extend(["--cacert".to_owned(), self.certificate.display().to_string()]);
        }
        options
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}
