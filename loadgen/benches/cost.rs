//! loadgen's CPU time a message, beside a client that does nothing but send and read.
//!
//! `cargo bench -p loadgen` drives one null server, in a process of its own, by turns with `loadgen --closed` (the
//! engine, as the program runs it: verification, four histograms, time series and watch thread) and with a plain epoll
//! client that writes a ready-made frame and looks only at the length of the answer. What is compared is the CPU time
//! of this whole process a message, round by round; the quartiles of the ratio say how far to trust its median. With
//! two CPUs or more, the clients have the first and the server the second. Nothing is asserted: the aim is 1.3.

#[path = "cost/plain.rs"]
mod plain;
#[path = "common/process.rs"]
mod process;
#[path = "../../benches/common/turns.rs"]
mod turns;

use std::convert::Infallible;
use std::time::Duration;

use loadgen::cli::args::{Args, Subcommand};
use loadgen::engine::plan::Plan;
use loadgen::modes::measurement::Measurement;
use loadgen::modes::measurement::plan;
use loadgen::modes::null_server::null_peer;
use process::{Server, cpu};
use turns::by_turns;

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1500);
const SIZE: usize = 128;
/// Has this program be the null server.
const NULL_PEER: &str = "--null-peer";

fn main() {
    if std::env::args().any(|arg| arg == NULL_PEER) {
        println!("{}", null_peer().expect("a listener on loopback"));
        loop {
            std::thread::park();
        }
    }
    println!(
        "{:24}{:>12}{:>12}{:>8}  {:13}{:>5}",
        "client's CPU time", "plain epoll", "loadgen", "ratio", "quartiles", "aim"
    );
    for connections in [1, 100, 1000] {
        let server = Server::start(&[NULL_PEER.as_ref()]);
        let address = &server.address;
        let turn = || [plain_cost(address, connections), loadgen_cost(address, connections)];
        let Ok(comparison) = by_turns::<Infallible>(ROUNDS, || Ok(turn()));
        println!("{:24}{comparison}{:>5}", format!("{connections} connections"), "1.3");
    }
}

/// CPU time of this process a message of the plain client, ns.
fn plain_cost(address: &str, connections: usize) -> f64 {
    let mut client = plain::Client::open(address.parse().expect("an address"), connections, SIZE);
    let before = cpu();
    let messages = client.run(ROUND);
    (cpu() - before) / messages as f64
}

/// CPU time of this process a message of loadgen, ns. Opening and reporting are not messages and do not count.
fn loadgen_cost(address: &str, connections: usize) -> f64 {
    let (connections, url) = (connections.to_string(), format!("ws://{address}/"));
    let line = ["run", "--closed", "-q", "-t", "1", "-c", &connections, &url];
    let Ok(Args { command: Subcommand::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
        unreachable!("the line is a good one");
    };
    let mut measurement = Measurement::new(run.common()).expect("a measurement");
    let engine = measurement.engine(run.connections as usize).expect("an engine");
    engine.open(run.connections as usize, &mut measurement.progress).expect("connections");
    let plan = Plan { duration: ROUND, ..plan(&measurement) };
    let before = cpu();
    let measured = engine.run(&plan, &mut measurement.progress).expect("a run");
    let cost = (cpu() - before) / measured.total.counts.received as f64;
    engine.close().expect("an end");
    cost
}
