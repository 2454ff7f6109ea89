//! What /proc tells about a server (proc(5)).

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::server::PATIENCE;

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// Resident memory, in bytes.
pub fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("proc(5) has VmRSS");
    let kibibytes: usize =
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kibibytes * 1024
}

/// Processor time spent so far.
pub fn processor_time(pid: u32) -> Duration {
    let schedstat =
        fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("the kernel has CONFIG_SCHED_INFO");
    let nanoseconds = schedstat.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    Duration::from_nanos(nanoseconds)
}

/// The local ports on which the process listens, in ascending order.
pub fn listening_ports(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]) {
                let port = fields[1].rsplit(':').next().unwrap_or_default();
                ports.push(u16::from_str_radix(port, 16).expect("a port"));
            }
        }
    }
    ports.sort();
    ports
}

/// Waits until `condition` holds. Panics, with `what`, if it does not come to that.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it does not happen: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// The state of the process: `S` while it waits for something, `T` once SIGSTOP has taken effect.
pub fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The state follows the command's name, which is in parentheses.
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("proc(5) has a state")
}
