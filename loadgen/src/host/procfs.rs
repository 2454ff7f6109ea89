//! What the kernel says about this host and about processes on it. Everything is absent rather than wrong where a file
//! is missing.

use std::collections::HashMap;
use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kernel ticks a second in `/proc/PID/stat`: USER_HZ, the same on every Linux this runs on.
const TICK_NS: u64 = 10_000_000;

/// A process's use of the processor, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

impl Cpu {
    /// Both.
    pub fn total(self) -> u64 {
        self.user + self.system
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The processor time of process `pid`.
pub fn cpu(pid: u32) -> Option<Cpu> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, but the last parenthesis is its end; utime and stime are fields 14 and 15.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut time = || Some(fields.next()?.parse::<u64>().ok()? * TICK_NS);
    Some(Cpu { user: time()?, system: time()? })
}

/// The resident memory of process `pid`, bytes.
pub fn rss(pid: u32) -> Option<u64> {
    status(pid, "VmRSS:").map(|kib| kib * 1024)
}

/// How often the process was made to wait for another.
pub fn involuntary_switches(pid: u32) -> Option<u64> {
    status(pid, "nonvoluntary_ctxt_switches:")
}

/// Open descriptors of process `pid`.
pub fn descriptors(pid: u32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

fn status(pid: u32, name: &str) -> Option<u64> {
    status_word(pid, name)?.parse().ok()
}

fn status_word(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next().map(str::to_owned)
}

/// Whether this process was started with `signal` ignored, or ignores it now.
pub fn ignores(signal: i32) -> bool {
    let mask =
        status_word(std::process::id(), "SigIgn:").and_then(|word| u64::from_str_radix(&word, 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Kernel memory of all TCP sockets of the host, bytes: buffers, and the socket structures themselves where the slab
/// statistics may be read.
pub fn tcp_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find(|l| l.starts_with("TCP:"))?;
    let pages: u64 = line.split_whitespace().skip_while(|w| *w != "mem").nth(1)?.parse().ok()?;
    let slabs = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            text.lines().find_map(|l| l.strip_prefix("Slab:"))?.split_whitespace().next()?.parse::<u64>().ok()
        })
        .unwrap_or(0);
    Some(pages * 4096 + slabs * 1024)
}

/// Counters of the whole host that tell on a server's backlog and on the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// TCPSynRetrans.
    pub syn_retransmits: u64,
    /// ListenOverflows.
    pub listen_overflows: u64,
    /// Time stolen by the hypervisor and time in all, ticks of all processors.
    pub steal: u64,
    /// All of /proc/stat's times, ticks.
    pub total: u64,
    /// How often the control group was made to wait.
    pub throttled: u64,
}

impl Counters {
    /// As they stand; 0 where one cannot be read.
    pub fn now() -> Counters {
        let net = netstat();
        let get = |name: &str| net.get(name).copied().unwrap_or(0);
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpu: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|n| n.parse().ok())
            .collect();
        let throttled = fs::read_to_string("/sys/fs/cgroup/cpu.stat")
            .ok()
            .and_then(|t| t.lines().find_map(|l| l.strip_prefix("nr_throttled ")?.parse().ok()));
        Counters {
            syn_retransmits: get("TCPSynRetrans"),
            listen_overflows: get("ListenOverflows") + get("ListenDrops"),
            steal: cpu.get(7).copied().unwrap_or(0),
            // Guest time, behind the first eight, is counted in user time already.
            total: cpu.iter().take(8).sum(),
            throttled: throttled.unwrap_or(0),
        }
    }

    /// What was counted since `earlier`.
    pub fn since(self, earlier: Counters) -> Counters {
        Counters {
            syn_retransmits: self.syn_retransmits - earlier.syn_retransmits,
            listen_overflows: self.listen_overflows - earlier.listen_overflows,
            steal: self.steal.saturating_sub(earlier.steal),
            total: self.total.saturating_sub(earlier.total),
            throttled: self.throttled.saturating_sub(earlier.throttled),
        }
    }
}

/// The `TcpExt` lines of `/proc/net/netstat`: one of names, one of numbers.
fn netstat() -> HashMap<String, u64> {
    let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter_map(|l| l.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Processors this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the soft limit on descriptors to the hard one and makes sure that `connections` fit.
///
/// # Errors
/// A sentence with the command that raises the hard limit.
pub fn allow_descriptors(connections: usize) -> Result<(), String> {
    // Polls, timers, files and what the standard library holds.
    let needed = connections as u64 + 64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| io::Error::from(e).to_string())?;
    if soft < hard && soft < needed.max(65_536) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|e| io::Error::from(e).to_string())?;
    }
    if hard < needed {
        return Err(format!(
            "{connections} connections need {needed} descriptors and the hard limit is {hard}: `ulimit -Hn {needed}` \
             as root, LimitNOFILE={needed} in a unit, or split the run with --shard"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let me = std::process::id();
        assert!(rss(me).unwrap() > 100_000);
        assert!(descriptors(me).unwrap() >= 3);
        let before = cpu(me).unwrap();
        let mut x = 1u64;
        while cpu(me).unwrap().since(before).total() < 30_000_000 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(rss(u32::MAX).is_none());
    }

    #[test]
    fn the_host_has_tcp_counters() {
        assert!(netstat().contains_key("ListenOverflows"));
        assert!(netstat().contains_key("TCPSynRetrans"));
        assert!(tcp_memory().unwrap() > 0);
    }

    #[test]
    fn too_many_connections_are_refused_with_the_remedy() {
        allow_descriptors(10).unwrap();
        assert!(allow_descriptors(1 << 40).unwrap_err().contains("ulimit -Hn"));
    }
}
