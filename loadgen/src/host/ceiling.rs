//! What this host was found to reach against a server that costs nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Messages of more than so many times another's size, or fewer, say nothing about each other.
const SIZES_APART: u64 = 2;

/// What a calibration found, one entry a number of connections and a size of message.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Calibration {
    /// How many were open.
    pub connections: u64,
    /// Payload bytes.
    pub size: u64,
    /// Messages a second, closed loop.
    pub ceiling: f64,
    /// Response time at a thousand messages a second, ns; absent when the host never let it be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p50_ns: Option<u64>,
    /// Its 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p99_ns: Option<u64>,
}

/// What is known of this host at about `connections` and messages of about `size` bytes, if it was ever calibrated so.
pub fn known(connections: u64, size: u64) -> Option<Calibration> {
    nearest(&kept(), connections, size)
}

fn nearest(entries: &[Calibration], connections: u64, size: u64) -> Option<Calibration> {
    let alike = |e: &&Calibration| e.size.max(size) <= SIZES_APART * e.size.min(size).max(1);
    entries.iter().filter(alike).min_by_key(|e| e.connections.abs_diff(connections)).copied()
}

/// Every entry there is.
pub fn kept() -> Vec<Calibration> {
    let read = || serde_json::from_str(&std::fs::read_to_string(cache()?).ok()?).ok();
    read().unwrap_or_default()
}

/// Where calibrations are kept; `None` without a home.
pub fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("loadgen").join("calibration.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_about_the_same_size_tell() {
        let entry = |connections, size| Calibration { connections, size, ..Calibration::default() };
        let entries = [entry(1, 128), entry(1000, 128), entry(100, 16_384)];
        let found = |connections, size| nearest(&entries, connections, size).map(|e| (e.connections, e.size));
        assert_eq!(found(900, 128), Some((1000, 128)));
        assert_eq!(found(100, 250), Some((1, 128)));
        assert_eq!(found(1, 10_000), Some((100, 16_384)));
        assert_eq!(found(100, 1_000), None);
        // A file of before sizes were kept says nothing.
        assert_eq!(nearest(&[entry(1, 0)], 1, 128).map(|e| e.size), None);
    }
}
