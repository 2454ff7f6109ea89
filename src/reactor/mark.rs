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
    /// How long a peer that has much to read may show nothing, although it reads all the time: its system tells of room only when
    /// a large part of its buffer has become free.
    ///
    /// Linux 6.18 over loopback, of who reads 16 kB a second: every 8 s where the buffer has its default size (128 KiB), every
    /// 16 s with twice that, every 20.5 s with the most that it lets anybody ask for by default (416 KiB); at 40 kB a second
    /// every 3 to 8 s. Buffers that have grown for a fast reader, who is slow then, may take longer.
    pub const STEP: Duration = Duration::from_secs(25);
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
        if self.is_passed(vitals, ping) { vitals.heard } else { Duration::MAX }
    }

    /// Whether the peer has come further: it has acknowledged more, beside the Ping, or made room for more.
    pub fn is_passed(self, vitals: &Vitals, ping: u32) -> bool {
        // Not yet as far: the Ping itself is on its way.
        let has_taken = ![0, ping.wrapping_neg()].contains(&vitals.acked.wrapping_sub(self.acked));
        has_taken || vitals.edge.wrapping_sub(self.edge).cast_signed() > Mark::READ
    }
}
