//! What the benches have in common: a server in a process of its own, the engine as the program runs it, and rounds by turns.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadgen::cli::args::{Args, Subcommand};
use loadgen::engine::plan::Plan;
use loadgen::host::procfs;
use loadgen::modes::measurement::{Measurement, plan};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

const ROUNDS: usize = 9;
/// How long each of them lasts.
pub const ROUND: Duration = Duration::from_millis(1500);

/// Columns of [`Medians`], under the names of what is compared.
pub fn columns(base: &str, ours: &str) -> String {
    format!("{base:>12}{ours:>12}{:>8}  {:12}", "ratio", "quartiles")
}

/// Of rounds by turns: what each took, and one divided by the other.
pub struct Medians {
    base: f64,
    ours: f64,
    ratio: f64,
    quartiles: String,
}

/// Both by turns, each in nanoseconds; the first round of each does not count.
pub fn by_turns(mut base: impl FnMut() -> f64, mut ours: impl FnMut() -> f64) -> Medians {
    let mut rounds: Vec<(f64, f64)> = (0..=ROUNDS).map(|_| (base(), ours())).collect();
    rounds.remove(0);
    let mut ratio: Vec<f64> = rounds.iter().map(|(base, ours)| ours / base).collect();
    let (mut base, mut ours): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    let quartiles = format!("{:.2}-{:.2}", quantile(&mut ratio, 0.25), quantile(&mut ratio, 0.75));
    Medians {
        base: quantile(&mut base, 0.5),
        ours: quantile(&mut ours, 0.5),
        ratio: quantile(&mut ratio, 0.5),
        quartiles,
    }
}

impl fmt::Display for Medians {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Medians { base, ours, ratio, quartiles } = self;
        write!(f, "{base:>9.0} ns{ours:>9.0} ns{ratio:>8.2}  {quartiles:12}")
    }
}

/// The value below which `part` of the values lie (nearest rank).
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// A measurement by `loadgen run --closed` with these words behind it.
pub fn measurement(words: &[&str]) -> Measurement {
    let line = [&["run", "--closed", "-q", "-t", "1"], words].concat();
    let Ok(Args { command: Subcommand::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
        unreachable!("the line is a good one");
    };
    Measurement::new(run.common()).unwrap_or_else(|e| panic!("{e:?}"))
}

/// CPU time of this process a message, ns. Opening and reporting are not messages and do not count.
pub fn cost(mut measurement: Measurement, connections: usize) -> f64 {
    let engine = measurement.engine(connections).expect("an engine");
    engine.open(connections, &mut measurement.progress).expect("connections");
    let plan = Plan { duration: ROUND, ..plan(&measurement) };
    let before = cpu();
    let measured = engine.run(&plan, &mut measurement.progress).expect("a run");
    let cost = (cpu() - before) / measured.total.counts.received as f64;
    engine.close().expect("an end");
    cost
}

/// CPU time of this process, ns.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// This program as a server in a process of its own, until dropped.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Run with `words`, it says where it listens.
    pub fn start(words: &[&str]) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child = command.args(words).stdout(Stdio::piped()).spawn().expect("a process");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("its address");
        if procfs::cpus() > 1 {
            pin(child.id(), 1);
            pin(std::process::id(), 0);
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

/// Keeps the threads of a process on one CPU, and those that are to come.
fn pin(pid: u32, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU number");
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten() {
        let task: i32 = task.file_name().to_string_lossy().parse().expect("a thread's number");
        sched_setaffinity(Pid::from_raw(task), &set).expect("this CPU is ours");
    }
}
