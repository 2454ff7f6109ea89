//! A server in a process of its own, and what the kernel says it costs.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    /// Held, not read: a server that logs to a closed pipe would be measured doing something else.
    _stderr: BufReader<ChildStderr>,
}

impl Server {
    /// Starts `command` and waits for its line `… listening on ADDR:PORT…`, or `… TLS on ADDR:PORT…`.
    pub fn start(mut command: Command) -> io::Result<Server> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            if stderr.read_line(&mut said)? == 0 {
                let _ = child.wait();
                return Err(io::Error::other(format!("{command:?} ended without listening: {said}")));
            }
            let line = &said[start..];
            let after = line
                .split_once("listening on ")
                .or_else(|| line.split_once("TLS on "))
                .map(|(_, after)| after);
            if let Some(address) = after.and_then(|text| text.split([',', ' ', '\n']).next()?.parse().ok()) {
                break address;
            }
        };
        Ok(Server { address, child, _stderr: stderr })
    }

    pub fn pin(&self, cpu: usize) -> nix::Result<()> {
        pin(Pid::from_raw(self.child.id() as i32), cpu)
    }

    /// Stops it, so that it takes no time from another on the same CPU, or lets it go on.
    pub fn send(&self, signal: Signal) -> nix::Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal)
    }

    /// CPU time of its only thread so far, in nanoseconds. Exact while the server sleeps, which it does once every
    /// message is answered and the wait here is over.
    pub fn cpu(&self) -> io::Result<u64> {
        std::thread::sleep(Duration::from_millis(5));
        cpu_of(self.child.id())
    }

    /// Resident memory in bytes, counted page by page (VmRSS lags behind by up to 64 pages a CPU).
    pub fn resident(&self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(first_number).ok_or_else(|| io::Error::other("smaps_rollup without Rss"))?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process's first thread so far, in nanoseconds.
pub fn cpu_of(process: u32) -> io::Result<u64> {
    let schedstat = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    first_number(&schedstat).ok_or_else(|| io::Error::other("schedstat without a number"))
}

/// Keeps a process (0 = this one) on one CPU.
pub fn pin(process: Pid, cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(process, &set)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
