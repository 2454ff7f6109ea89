//! What is known of a run beside what was measured.

/// Everything the judgement rests on besides the measurement.
#[derive(Default)]
pub struct Facts {
    /// The load was a closed loop.
    pub closed: bool,
    /// Messages go to everyone: no replies are owed.
    pub fanout: bool,
    /// Nothing is sent: what comes is timed.
    pub listening: bool,
    /// How long each client of a closed system thinks.
    pub thinks: Option<String>,
    /// Client and server share this host.
    pub local: bool,
    /// Connections asked for.
    pub asked: u64,
    /// `--allow-partial`: what could not be opened was not asked for.
    pub allow_partial: bool,
    /// Kernel stamps were asked for.
    pub kernel_stamps: bool,
    /// How often a cgroup held loadgen back.
    pub throttled: u64,
    /// Processor time that the hypervisor took.
    pub steal_pct: f64,
    /// Messages a second this host was calibrated to reach.
    pub ceiling: Option<f64>,
    /// The median response of this host's own null server, as calibrated.
    pub floor_p50_ns: Option<u64>,
    /// SYNs that this host sent again while connections were opened.
    pub syn_retransmits: u64,
}
