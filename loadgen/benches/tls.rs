//! What TLS costs loadgen: CPU time a message beside plain, memory a connection, and how fast connections open.
//!
//! `cargo bench -p loadgen --bench tls` drives one echo server, in a process of its own, that takes plain connections and
//! TLS 1.3 on the same port (rustls' buffered API, nothing checked), by turns with `loadgen --closed` over each. What is
//! compared is the CPU time of this whole process a message, round by round. Then as many TLS connections as this host's
//! descriptors allow, up to 19,000, are opened one after the other and held. Nothing is asserted: the aims are 1.25 and
//! 4,000 bytes.

#[path = "tls/peer.rs"]
mod peer;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::cli::args::{Args, Subcommand};
use loadgen::engine::plan::Plan;
use loadgen::host::procfs;
use loadgen::modes::measurement::{Measurement, plan};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1500);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == "--peer") {
        return peer::serve(&arguments[at + 1]);
    }
    let server = Server::start();
    println!(
        "{:24}{:>12}{:>12}{:>8}  {:12}{:>6}",
        "CPU time a message", "plain", "TLS 1.3", "ratio", "quartiles", "aim"
    );
    for (connections, size) in [(1, "128"), (100, "128"), (1000, "128"), (100, "16k")] {
        let (mut plain, mut tls, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        // The first round of each does not count.
        for round in 0..=ROUNDS {
            let a = cost(&server.options("ws"), connections, size);
            let b = cost(&server.options("wss"), connections, size);
            if round > 0 {
                plain.push(a);
                tls.push(b);
                ratio.push(b / a);
            }
        }
        let spread = format!("{:.2}-{:.2}", quantile(&mut ratio, 0.25), quantile(&mut ratio, 0.75));
        println!(
            "{:24}{:>9.0} ns{:>9.0} ns{:>8.2}  {spread:12}{:>6}",
            format!("{connections} connections, {size}"),
            quantile(&mut plain, 0.5),
            quantile(&mut tls, 0.5),
            quantile(&mut ratio, 0.5),
            if size == "128" { "1.25" } else { "" }
        );
    }
    let most = (nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(_, hard)| hard)
        - 500)
        .min(19_000) as usize;
    for scheme in ["ws", "wss"] {
        hold(&server.options(scheme), scheme, most);
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
fn hold(options: &[String], scheme: &str, connections: usize) {
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
        "{scheme:4} {} connections held: {} B each, opened in {seconds:.1} s ({:.0}/s), {:.0} us of loadgen's CPU each",
        opening.opened + 1,
        grown / connections as u64,
        opening.opened as f64 / seconds,
        used / 1000.0 / opening.opened.max(1) as f64
    );
    engine.close().expect("an end");
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// The server in a process of its own, until dropped.
struct Server {
    child: Child,
    address: String,
    certificate: PathBuf,
}

impl Server {
    fn start() -> Server {
        let certificate = std::env::temp_dir().join(format!("loadgen-bench-{}.pem", std::process::id()));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child =
            command.arg("--peer").arg(&certificate).stdout(Stdio::piped()).spawn().expect("a process");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut address)
            .expect("its address");
        if procfs::cpus() > 1 {
            pin(child.id(), 1);
            pin(std::process::id(), 0);
        }
        Server { child, address: address.trim().to_owned(), certificate }
    }

    fn options(&self, scheme: &str) -> Vec<String> {
        let mut options = vec![format!("{scheme}://{}/", self.address)];
        if scheme == "wss" {
            options.extend(["--cacert".to_owned(), self.certificate.display().to_string()]);
        }
        options
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.certificate);
    }
}

/// Keeps the threads of a process on one CPU, and those that are to come.
fn pin(pid: u32, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU number");
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten() {
        let task: i32 = task.file_name().to_string_lossy().parse().expect("a thread's number");
        sched_setaffinity(Pid::from_raw(task), &set).expect("this CPU is ours");
    }
}

/// The value below which `part` of the values lie (nearest rank).
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
