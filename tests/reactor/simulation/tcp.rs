//! One TCP connection between a client and the server, as the kernel keeps it.

use super::said::Said;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use wsecho::reactor::token::ConnId;

/// Bytes that may wait for the server: more than one read takes.
const WINDOW: usize = 200_000;

/// Bytes for which a client's system has room. It tells of more only when all of them were read.
const RECEIVE_BUFFER: usize = 1_000;

/// Both directions of a connection, and what the server was told about them.
#[derive(Default)]
pub struct Wire {
    /// Everything the client has put on the wire.
    pub sent: Vec<u8>,
    /// How much of it has arrived, and how much of that the server has read.
    pub arrived: usize,
    pub read: usize,
    /// The client's FIN has arrived.
    pub fin: bool,
    pub reset: Reset,
    /// The client is gone without a RST: the next bytes of the server bring one.
    pub nobody_there: bool,
    /// The way to the client is cut: nothing arrives any more, in either direction.
    pub cut_at: Option<u64>,
    /// Since when something that the server sent could not arrive.
    pub lost_since: Option<u64>,
    /// By how much the clock had leapt by then.
    pub lost_leapt: u64,
    /// Where in `sent` no message is under way.
    pub ends: BTreeSet<usize>,

    /// What the server wrote and the client has not taken, and how much of that the kernel holds.
    pub out: Vec<u8>,
    /// All that it wrote.
    pub said: Said,
    pub room: usize,
    /// The server was told that there is no room: an edge is due once there is (SOCK_NOSPACE in Linux).
    pub no_space: bool,
    /// When the server sent its FIN.
    pub server_fin: Option<u64>,
    /// The server closed its end.
    pub closed: bool,

    /// Its name, once registered.
    pub id: Option<ConnId>,
    /// Stands in the kernel's list of ready sockets.
    pub listed: bool,

    pub accepted_at: u64,
    /// When the server last read something.
    pub heard_at: u64,
    /// When a write of the server last moved something.
    pub wrote_at: u64,
    /// Bytes that the server wrote, ever; and that the client had taken when its system last told of room.
    pub written: usize,
    pub told_taken: usize,
    /// When the server last wrote something that it had not offered before.
    pub spoke_at: u64,
    /// When the client last took something; and when last something that its system could not have taken without it.
    pub taken_at: u64,
    pub surely_taken_at: u64,
    /// When the server said Close.
    pub said_close_at: Option<u64>,
    /// When the server last sent a Ping of its own.
    pub pinged_at: Option<u64>,
    /// The server has tried to write something.
    pub has_answered: bool,
    /// The last write was short: the server holds the rest, and may not read.
    pub blocked: bool,
    /// So was one since the last read.
    pub was_blocked: bool,
    /// A read or write told the server that the connection is over.
    pub told_end: bool,
    /// The server has reason to read: an event, or a read that filled its buffer.
    pub cause: bool,
    /// An event said that the client's FIN is there.
    pub fin_was_told: bool,
    /// The server owes it a call in this round.
    pub waits: bool,
    /// The round of its last read.
    pub read_round: u64,
}

/// How far a reset has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reset {
    #[default]
    No,
    /// The next call fails with it.
    Pending,
    /// Reads find the end, writes a broken pipe.
    Told,
}

impl Wire {
    /// What a call gets that finds a reset: the reset itself once, then `later`.
    pub fn tell_reset(&mut self, later: io::Result<usize>) -> Option<io::Result<usize>> {
        let told = match self.reset {
            Reset::No => return None,
            Reset::Pending => Err(ErrorKind::ConnectionReset.into()),
            Reset::Told => later,
        };
        self.reset = Reset::Told;
        self.told_end = true;
        Some(told)
    }

    /// Bytes that the server could read.
    pub fn unread(&self) -> usize {
        self.arrived - self.read
    }

    /// Whether a read would tell something.
    pub fn is_readable(&self) -> bool {
        self.unread() > 0 || self.fin || self.reset != Reset::No
    }

    /// Whether what has arrived ends in the middle of a frame: clients put whole ones on the wire.
    pub fn is_in_mid_frame(&self) -> bool {
        self.arrived < self.sent.len()
    }

    /// Whether the server has read a message half.
    pub fn is_in_mid_message(&self) -> bool {
        self.read > 0 && !self.ends.contains(&self.read)
    }

    /// Bytes of the server that the client's system has not acknowledged: there is not room for all of them.
    pub fn unacknowledged(&self) -> usize {
        if self.cut_at.is_some() {
            self.out.len()
        } else {
            self.written.saturating_sub(self.told_taken + RECEIVE_BUFFER).min(self.out.len())
        }
    }

    /// Whether there is more to read for the client than its system has room for.
    pub fn has_backlog(&self) -> bool {
        self.cut_at.is_none() && self.unacknowledged() > 0
    }

    /// Has the client's system tell of room.
    pub fn tell(&mut self) {
        let taken = self.written - self.out.len();
        if self.out.is_empty() || taken >= self.told_taken + RECEIVE_BUFFER {
            self.told_taken = taken;
        }
    }

    pub fn free(&self) -> usize {
        self.room.saturating_sub(self.out.len())
    }

    /// A third must be free before Linux calls a socket writable again.
    pub fn is_writable(&self) -> bool {
        self.free() * 3 >= self.room || self.reset != Reset::No
    }

    /// Bytes on the wire that may arrive now.
    pub fn deliverable(&self) -> usize {
        (self.sent.len() - self.arrived).min(WINDOW - self.unread().min(WINDOW))
    }

    /// The client resets the connection: whatever was on its way is lost.
    pub fn break_off(&mut self) {
        self.reset = Reset::Pending;
        self.sent.truncate(self.arrived);
        self.read = self.arrived;
        self.out.clear();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "sent {}, arrived {}, read {}; fin {}, {:?}; unsaid {} of {}, blocked {}, no space {}; accepted at {}, heard at {}, \
             wrote at {}, taken at {}, pinged at {:?}, close at {:?}, server's fin at {:?}, cut at {:?}, message under way {}",
            self.sent.len(),
            self.arrived,
            self.read,
            self.fin,
            self.reset,
            self.out.len(),
            self.room,
            self.blocked,
            self.no_space,
            self.accepted_at,
            self.heard_at,
            self.wrote_at,
            self.taken_at,
            self.pinged_at,
            self.said_close_at,
            self.server_fin,
            self.cut_at,
            self.is_in_mid_message(),
        )
    }
}
