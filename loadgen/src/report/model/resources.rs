//! What the machines were, and what was used of them.

use serde::{Deserialize, Serialize};

use crate::report::stats::Slope;

/// The load generator's host during the run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Host {
    /// Absent in reports of one machine that did not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its release.
    pub kernel: String,
    /// Those that loadgen may use.
    pub cpus: u64,
    /// The kernel's.
    pub clocksource: String,
    /// The most that its wall clock may be wrong by, says its kernel; absent where nobody keeps it right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_error_ns: Option<u64>,
    /// What sets the processors' frequency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// Descriptors that loadgen may open.
    pub nofile: u64,
    /// The first and the last port for outgoing connections.
    pub port_range: [u16; 2],
    /// Processor time that the hypervisor took.
    pub steal_pct: f64,
    /// Times the cgroup was throttled.
    pub throttled: u64,
}

/// What the server's process used in the measured time.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Server {
    /// Its process.
    pub pid: u32,
    /// Of one CPU, over the measured time.
    pub cpu_pct: f64,
    /// Of one processor, in user mode.
    pub cpu_user_pct: f64,
    /// Of one processor, in the kernel.
    pub cpu_sys_pct: f64,
    /// At the end of the measured time.
    pub rss_bytes: u64,
    /// Open descriptors.
    pub fds: u64,
    /// Resident memory a connection, user space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_connection: Option<Slope>,
    /// Kernel memory a connection, as far as the host tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes_per_connection: Option<f64>,
}

/// What loadgen used in the measured time.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Client {
    /// Of one CPU, over the measured time.
    pub cpu_pct: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// Involuntary context switches.
    pub ctx_involuntary: u64,
}

/// What the server's process used in an interval.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerSample {
    /// Of one CPU, over the interval.
    pub cpu_pct: f64,
    /// At its end.
    pub rss_bytes: u64,
}
