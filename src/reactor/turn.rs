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
    pub boards: Boards,
    pub stats: Stats,
}

impl Shared {
    /// Bytes that one read takes at most.
    ///
    /// A message of a mebibyte comes and goes in pieces of this size, and each costs a read, a write and often a wake-up
    /// (`cargo bench --bench floor -- 1m`). An idle server never touches most of it.
    pub const SCRATCH: usize = 256 * 1024;

    /// For connections that go by `config`.
    pub fn new(config: &Config) -> Shared {
        let scratch = vec![0; HEADROOM + CARRY_MAX + Shared::SCRATCH + TAILROOM].into();
        let stats = Stats::within(Memory::new(config.max_buffered));
        Shared { scratch, response: Vec::new(), boards: Boards::new(config.boards), stats }
    }
}

/// Whose turn it is, by which rules, and when.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub id: ConnId,
    pub config: &'a Config,
    pub now: Moment,
}

/// What a turn leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing until the next event.
    Wait,
    /// More may be read at once.
    Again,
    /// The connection is over: drop it.
    Over(End),
}
