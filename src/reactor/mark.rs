//! How far a peer has come.

use super::kernel::Vitals;
use std::time::Duration;

/// How far the peer had come when it was last seen to come anywhere.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mark {
    /// Bytes that the peer has acknowledged, modulo 2³².
    pub acked: u32,
    /// The last byte that was written, counted so.
    pub edge: u32,
}

impl Mark {
    /// Bytes of a Ping; that they are acknowledged is no sign that anybody reads them.
    pub const PING: u32 = 2;
    /// By this much the window of a peer may seem to move although nobody reads there: its size is told in coarse units.
    const READ: i32 = 1024;

    /// As the system has it now.
    pub fn of(vitals: &Vitals) -> Mark {
        Mark { acked: vitals.acked, edge: vitals.edge }
    }

    /// Since when the peer has been taking nothing, as far as can be told; a Ping takes so many bytes on the wire.
    pub fn silence(self, vitals: &Vitals, ping: u32) -> Duration {
        // Not yet as far: the Ping itself is on its way.
        let has_taken = ![0, ping.wrapping_neg()].contains(&vitals.acked.wrapping_sub(self.acked));
        let has_read = vitals.edge.wrapping_sub(self.edge).cast_signed() > Mark::READ;
        if has_taken || has_read { vitals.heard } else { Duration::MAX }
    }
}
