//! How far a peer has come.

use super::kernel::Vitals;
use std::time::Duration;

/// How far the peer had come when it was last seen to come anywhere.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mark {
    pub acked: u32,
    pub edge: u32,
}

impl Mark {
    /// Bytes as which a Ping is acknowledged: no sign that anybody reads it.
    pub const PING: u32 = 2;
    /// By this much the window of a peer may seem to move although nobody reads there: its size is told in coarse units.
    const READ: i32 = 1024;

    pub fn of(vitals: &Vitals) -> Mark {
        Mark { acked: vitals.acked, edge: vitals.edge }
    }

    /// Since when the peer has been taking nothing, as far as can be told.
    pub fn silence(self, vitals: &Vitals) -> Duration {
        // Not yet as far: the Ping itself is on its way.
        let has_taken = ![0, Mark::PING.wrapping_neg()].contains(&vitals.acked.wrapping_sub(self.acked));
        let has_read = vitals.edge.wrapping_sub(self.edge).cast_signed() > Mark::READ;
        if has_taken || has_read { vitals.heard } else { Duration::MAX }
    }
}
