//! What this host allows.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::host::procfs;
use crate::host::source_addresses::port_range;

/// The host as it is. A limit that cannot be read is absent, and then not judged.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Descriptors that a process may allow itself (RLIMIT_NOFILE).
    pub nofile_hard: u64,
    /// Descriptors that root may allow a process (fs.nr_open).
    pub nr_open: Option<u64>,
    /// Open files of the whole system (fs.file-max).
    pub file_max: Option<u64>,
    /// Ports for outgoing connections, those that are reserved left out.
    pub ports: usize,
    /// The first and the last (net.ipv4.ip_local_port_range).
    pub port_ends: [u16; 2],
    /// The longest queue of a listener (net.core.somaxconn).
    pub somaxconn: Option<u64>,
    /// Half-open connections (net.ipv4.tcp_max_syn_backlog).
    pub syn_backlog: Option<u64>,
    /// Pages at which the kernel begins to press TCP for memory.
    pub tcp_mem_pressure: Option<u64>,
    /// Bytes (MemAvailable).
    pub memory_available: Option<u64>,
    /// Entries in use, and most.
    pub conntrack: Option<(u64, u64)>,
    /// Sockets in TIME_WAIT.
    pub time_wait: u64,
    /// Processors.
    pub cpus: u64,
    /// The kernel's, `tsc` at best.
    pub clocksource: Option<String>,
    /// What sets the processors' frequency.
    pub governor: Option<String>,
}

impl Limits {
    /// Reads them.
    pub fn read() -> Limits {
        let text = |path: &str| fs::read_to_string(path).ok().map(|t| t.trim().to_owned());
        let number = |path: &str| text(path)?.parse::<u64>().ok();
        let net = "/proc/sys/net";
        let field = |path: &str, line: &str, key: &str| {
            let text = text(path)?;
            let line = text.lines().find(|l| l.starts_with(line))?.to_owned();
            line.split_whitespace().skip_while(|w| *w != key).nth(1)?.parse::<u64>().ok()
        };
        let cgroup = match (number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory.current")) {
            (Some(most), Some(now)) => Some(most.saturating_sub(now)),
            _ => None,
        };
        let machine = field("/proc/meminfo", "MemAvailable:", "MemAvailable:").map(|kib| kib * 1024);
        let conntrack = number(&format!("{net}/netfilter/nf_conntrack_count"));
        let (ports, port_ends) = port_range();
        Limits {
            nofile_hard: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard),
            nr_open: number("/proc/sys/fs/nr_open"),
            file_max: number("/proc/sys/fs/file-max"),
            ports,
            port_ends,
            somaxconn: number(&format!("{net}/core/somaxconn")),
            syn_backlog: number(&format!("{net}/ipv4/tcp_max_syn_backlog")),
            tcp_mem_pressure: text(&format!("{net}/ipv4/tcp_mem"))
                .and_then(|t| t.split_whitespace().nth(1)?.parse().ok()),
            memory_available: cgroup.into_iter().chain(machine).min(),
            conntrack: conntrack.zip(number(&format!("{net}/netfilter/nf_conntrack_max"))),
            time_wait: field("/proc/net/sockstat", "TCP:", "tw").unwrap_or(0),
            cpus: procfs::cpus() as u64,
            clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }
}
