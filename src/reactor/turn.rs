//! What a connection's turn works with, and what comes of it.

use super::boards::Boards;
use super::config::Config;
use super::end::End;
use super::memory::Memory;
use super::moment::Moment;
use super::stats::Stats;
use super::token::ConnId;
use crate::proto::limits::CARRY_MAX;
use crate::proto::progress::{HEADROOM, TAILROOM};

/// What the turns share: one read at a time needs one buffer. And where members say what the others are to hear.
#[derive(Debug)]
pub struct Shared {
    /// Where input is read and becomes the reply, with room on either side.
    pub scratch: Box<[u8]>,
    /// Where a reply is put together that is not made of its input.
    pub response: Vec<u8>,
    /// Who hears whom.
    pub boards: Boards,
    /// What is counted.
    pub stats: Stats,
    /// What the ports of TLS show.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::certificate::Service>,
    /// Connections in TLS that have expanded keys, in the order in which they got them.
    #[cfg(feature = "tls")]
    pub expanded: std::collections::VecDeque<ConnId>,
    /// Bytes that a turn may read now.
    turn_bytes: usize,
}

impl Shared {
    /// Bytes that one read takes at most.
    ///
    /// A message of a mebibyte comes and goes in pieces of this size, and each costs a read, a write and often a wake-up
    /// (`cargo bench --bench floor -- 1m`). An idle server never touches most of it.
    pub const SCRATCH: usize = 256 * 1024;
    /// Bytes that turns behind each other may read together, which bounds how long the last one waits. The worst bytes are
    /// frames of nothing, six bytes each: a mebibyte of those takes 3 ms of a processor of 2020.
    pub const ROUND_BYTES: usize = 1 << 20;
    /// What a turn may read however many wait: less would be spent on calls. It bounds its frames as well, at some 350.
    pub const TURN_BYTES_MIN: usize = 2048;

    /// For connections that go by `config`.
    pub fn new(config: &Config) -> Shared {
        let scratch = vec![0; HEADROOM + CARRY_MAX + Shared::SCRATCH + TAILROOM].into();
        let stats = Stats::within(Memory::new(config.max_buffered));
        let boards = Boards::new(config.boards);
        Shared {
            scratch,
            response: Vec::new(),
            boards,
            stats,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            expanded: std::collections::VecDeque::new(),
            turn_bytes: Shared::SCRATCH,
        }
    }

    /// So many turns are taken now: each may read its part.
    pub fn share_out(&mut self, turns: usize) {
        // Few, as most rounds have it, take no division.
        self.turn_bytes = if turns <= Shared::ROUND_BYTES / Shared::SCRATCH {
            Shared::SCRATCH
        } else {
            (Shared::ROUND_BYTES / turns).max(Shared::TURN_BYTES_MIN)
        };
    }

    /// Bytes that a turn may read now.
    pub fn turn_bytes(&self) -> usize {
        self.turn_bytes
    }
}

/// Whose turn it is, by which rules, and when.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose turn it is.
    pub id: ConnId,
    /// What the server goes by.
    pub config: &'a Config,
    /// When the tick began.
    pub now: Moment,
}

/// What the first half of a turn that goes by the clock leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// At most so many bytes are to be read; with none, what was kept is acted on.
    Read(usize),
    /// Nothing in this turn.
    Turn(Turn),
}

/// What a turn leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing until the next event.
    Wait,
    /// More may be read at once, when those who just became ready have had their turn.
    Again,
    /// The connection is over: drop it.
    Over(End),
}
