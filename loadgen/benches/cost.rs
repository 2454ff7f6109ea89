//! loadgen's CPU time a message, beside a client that does nothing but send and read.
//!
//! `cargo bench -p loadgen` drives one null server, in a process of its own, by turns with `loadgen --closed` (the
//! engine, as the program runs it: verification, four histograms, time series and watch thread) and with a plain epoll
//! client that writes a ready-made frame and looks only at the length of the answer. What is compared is the CPU time
//! of this whole process a message, round by round; the quartiles of the ratio say how far to trust its median. With
//! two CPUs or more, the clients have the first and the server the second. Nothing is asserted: the aim is 1.3.

#[path = "cost/plain.rs"]
mod plain;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadgen::cli::args::{Args, Subcommand};
use loadgen::engine::plan::Plan;
use loadgen::modes::measurement::Measurement;
use loadgen::modes::measurement::plan;
use loadgen::modes::null_server::null_peer;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1500);
const SIZE: usize = 128;

fn main() {
    if std::env::args().any(|arg| arg == "--null-peer") {
        println!("{}", null_peer().expect("a listener on loopback"));
        loop {
            std::thread::park();
        }
    }
    println!(
        "{:24}{:>12}{:>12}{:>8}  {:12}{:>5}",
        "client's CPU time", "plain epoll", "loadgen", "ratio", "quartiles", "aim"
    );
    for connections in [1, 100, 1000] {
        let server = Server::start();
        let (mut floor, mut ours, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        // The first round of each does not count.
        for round in 0..=ROUNDS {
            let a = plain_cost(&server.address, connections);
            let b = loadgen_cost(&server.address, connections);
            if round > 0 {
                floor.push(a);
                ours.push(b);
                ratio.push(b / a);
            }
        }
        let spread = format!("{:.2}-{:.2}", quantile(&mut ratio, 0.25), quantile(&mut ratio, 0.75));
        println!(
            "{:24}{:>9.0} ns{:>9.0} ns{:>8.2}  {spread:12}{:>5}",
            format!("{connections} connections"),
            quantile(&mut floor, 0.5),
            quantile(&mut ours, 0.5),
            quantile(&mut ratio, 0.5),
            "1.3"
        );
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

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// The null server in a process of its own, until dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child = command.arg("--null-peer").stdout(Stdio::piped()).spawn().expect("a process");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("its address");
        if loadgen::host::procfs::cpus() > 1 {
            pin(child.id(), 1);
            pin(0, 0);
        }
        Server { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the threads of a process that are to come on one CPU, and the one that is there.
fn pin(pid: u32, cpu: usize) {
    let root = format!("/proc/{}/task", if pid == 0 { std::process::id() } else { pid });
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU number");
    for task in std::fs::read_dir(root).expect("a process").flatten() {
        let task: i32 = task.file_name().to_string_lossy().parse().expect("a thread's number");
        sched_setaffinity(Pid::from_raw(task), &set).expect("this CPU is ours");
    }
}

/// The value below which `part` of the values lie (nearest rank).
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
