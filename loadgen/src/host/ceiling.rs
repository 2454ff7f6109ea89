//! What this host was found to reach against a server that costs nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a calibration found, one entry a number of connections.
#[derive(Debug, Deserialize, Serialize)]
pub struct Entry {
    pub connections: u64,
    /// Messages a second, closed loop.
    pub ceiling: f64,
    /// Response time at a thousand messages a second, ns.
    pub floor_p50_ns: u64,
    pub floor_p99_ns: u64,
}

/// The ceiling of this host at about `connections`, messages a second, if it was ever calibrated.
pub fn ceiling(connections: u64) -> Option<f64> {
    let entries: Vec<Entry> = serde_json::from_str(&std::fs::read_to_string(cache()?).ok()?).ok()?;
    let nearest = entries.iter().min_by_key(|e| e.connections.abs_diff(connections))?;
    Some(nearest.ceiling)
}

/// Where calibrations are kept; `None` without a home.
pub fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("loadgen").join("calibration.json"))
}
