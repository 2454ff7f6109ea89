//! What a process uses.

use crate::host::clock::Nanos;
use crate::host::procfs::{self, Cpu};

/// What a process used while measuring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub cpu: Cpu,
    /// Over how long.
    pub wall_ns: u64,
    /// Resident memory at the end, bytes.
    pub rss: u64,
    /// Open ones at the end.
    pub descriptors: u64,
    /// Context switches that were forced on it.
    pub involuntary: u64,
}

impl Usage {
    /// What was used between `earlier` and now, `wall` apart.
    pub fn since(self, earlier: Usage, wall: Nanos) -> Usage {
        let involuntary = self.involuntary.saturating_sub(earlier.involuntary);
        Usage { cpu: self.cpu.since(earlier.cpu), wall_ns: wall.0, involuntary, ..self }
    }

    /// Of one processor.
    pub fn cpu_pct(&self) -> f64 {
        100.0 * self.cpu.total() as f64 / self.wall_ns.max(1) as f64
    }
}

/// What process `pid` has used so far; absent when it is gone, since zero would be a figure.
pub fn usage(pid: u32) -> Option<Usage> {
    Some(Usage {
        cpu: procfs::cpu(pid)?,
        wall_ns: 0,
        rss: procfs::rss(pid)?,
        // Another user's process does not show these.
        descriptors: procfs::descriptors(pid).unwrap_or(0),
        involuntary: procfs::involuntary_switches(pid).unwrap_or(0),
    })
}
