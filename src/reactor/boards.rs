//! Boards: what one member sends, all the others receive.
//!
//! Who is on which board, and what was said there since the last delivery. Sockets are the reactor's business: it delivers once
//! a tick, so that a burst costs one write per member, and nobody's turn waits for a room full of others. A room of thousands is
//! told in slices; until all of it was, nobody there is read, so everybody hears the same in the same order.

use super::memory::{Memory, grow};
use super::moment::Moment;
use super::slice::Slice;
use super::stats::Stats;
use super::token::ConnId;
use crate::proto::framing::member::translate_to_hixie;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// Bytes on no way yet beyond which a delivery does not wait for the end of the tick. A part of what a member may be behind: who
/// is slow to read once or twice, and then does, has not lost his seat.
const HEAVY: usize = 48 * 1024;
/// Bytes that one turn reads of a member, for the same reason.
pub const READ_MAX: usize = 80 * 1024;
/// What one board gets before the others do, in bytes: so much is written in about a tenth of a millisecond.
const PIECE: usize = 128 * 1024;
/// And all boards on which something was just said, together.
const PIECES: usize = 1 << 20;
/// Bytes as which each write counts at least, as it is a call.
const WRITE: usize = 2048;

/// What boards are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long a board exists; `None` for ever.
    pub lifetime: Option<Duration>,
    /// How many there may be at a time.
    pub max_boards: usize,
    /// How many may be on one.
    pub max_members: usize,
}

/// Names one board for as long as it lives, as [`ConnId`] does a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoardId {
    key: u32,
    serial: u32,
}

/// How a member's messages are framed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As Hixie's drafts have it.
    Hixie,
    /// As versions 7 to 13 have it.
    Hybi,
}

/// Why nobody else gets in.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct Board {
    serial: u32,
    name: Box<str>,
    members: Vec<(ConnId, Framing)>,
    /// How many of them speak Hixie's.
    hixies: usize,
    /// What was said since a delivery began.
    log: Log,
    /// The round in which the first of that was said.
    round: u32,
    /// What is under way, and how many of the members, from the first on, have been told. Empty once all are.
    under_way: Log,
    told: usize,
    /// Bytes that [`Memory`] knows of.
    counted: usize,
}

/// What was said, in both framings.
#[derive(Debug, Default)]
struct Log {
    hybi: Vec<u8>,
    hixie: Vec<u8>,
    posts: Vec<Post>,
}

#[derive(Debug)]
struct Post {
    sender: ConnId,
    messages: u32,
    hybi: Range<usize>,
    hixie: Range<usize>,
}

/// All boards.
#[derive(Debug)]
pub struct Boards {
    rules: Rules,
    boards: slab::Slab<Board>,
    names: HashMap<Box<str>, u32>,
    serial: u32,
    /// When each board ends, in that order: they all live equally long.
    ends: VecDeque<(Moment, BoardId)>,
    /// Boards on which something was said while nothing was under way: they get a piece each before all the others, so that a
    /// few never wait for a room of thousands.
    fresh: VecDeque<BoardId>,
    /// Boards of which a piece was told, and that was not all.
    begun: VecDeque<BoardId>,
    /// Bytes that were said and are not under way.
    undelivered: usize,
    /// Bytes that all of it, under way or not, has allocated.
    kept: usize,
    /// The round at hand, and what it has for each of the two.
    round: u32,
    slices: [Slice; 2],
    /// Members of a board that has ended, who are to be told.
    ended: Vec<ConnId>,
}

impl Boards {
    /// None yet.
    pub fn new(rules: Rules) -> Boards {
        Boards {
            rules,
            boards: slab::Slab::new(),
            names: HashMap::new(),
            serial: 0,
            ends: VecDeque::new(),
            fresh: VecDeque::new(),
            begun: VecDeque::new(),
            undelivered: 0,
            kept: 0,
            round: 0,
            slices: Default::default(),
            ended: Vec::new(),
        }
    }

    /// Whether one more member would be seated now.
    pub fn has_room(&self, name: &str) -> bool {
        match self.names.get(name) {
            Some(key) => self.boards[*key as usize].members.len() < self.rules.max_members,
            None => self.boards.len() < self.rules.max_boards && self.rules.max_members > 0,
        }
    }

    /// Seats a member, on a new board if there is none of that name.
    pub fn join(
        &mut self,
        name: &str,
        member: ConnId,
        framing: Framing,
        now: Moment,
    ) -> Result<BoardId, Full> {
        let key = match self.names.get(name) {
            Some(key) => *key,
            None if self.boards.len() >= self.rules.max_boards => return Err(Full),
            None => self.open(name, now),
        };
        let board = &mut self.boards[key as usize];
        if board.members.len() >= self.rules.max_members {
            return Err(Full);
        }
        board.members.push((member, framing));
        board.hixies += usize::from(framing == Framing::Hixie);
        Ok(BoardId { key, serial: board.serial })
    }

    fn open(&mut self, name: &str, now: Moment) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        let board = Board {
            serial: self.serial,
            name: name.into(),
            members: Vec::new(),
            hixies: 0,
            log: Log::default(),
            round: 0,
            under_way: Log::default(),
            told: 0,
            counted: 0,
        };
        let key = self.boards.insert(board) as u32;
        self.names.insert(name.into(), key);
        if let Some(lifetime) = self.rules.lifetime {
            // Boards that emptied early leave their ends behind; a pile of those is cleared away.
            if self.ends.len() > 2 * self.boards.len() + 1024 {
                let boards = &self.boards;
                self.ends.retain(|(_, id)| is_alive(boards, *id));
            }
            self.ends.push_back((now + lifetime, BoardId { key, serial: self.serial }));
        }
        key
    }

    /// A member is gone; the last one takes the board with it.
    pub fn leave(&mut self, id: BoardId, member: ConnId, memory: &mut Memory) {
        let Some(board) = self.find(id) else { return };
        if let Some(mut at) = board.members.iter().position(|(each, _)| *each == member) {
            if at < board.told {
                // Who takes its place must be one who was told as well.
                board.told -= 1;
                board.members.swap(at, board.told);
                at = board.told;
            }
            let (_, framing) = board.members.swap_remove(at);
            board.hixies -= usize::from(framing == Framing::Hixie);
        }
        if board.members.is_empty() {
            self.remove(id, memory);
        }
    }

    fn remove(&mut self, id: BoardId, memory: &mut Memory) {
        let mut board = self.boards.remove(id.key as usize);
        self.kept -= board.counted;
        memory.recount(&mut board.counted, 0);
        self.names.remove(&board.name);
        self.undelivered -= board.log.len();
    }

    /// Notes what a member says to the others: `messages` whole frames of a server, as `proto::member` writes them.
    pub fn publish(
        &mut self,
        id: BoardId,
        sender: ConnId,
        frames: &[u8],
        messages: u32,
        memory: &mut Memory,
    ) {
        let round = self.round;
        let Some(board) = self.find(id) else { return };
        let was_quiet = board.log.posts.is_empty();
        if was_quiet {
            board.round = round;
        }
        let is_fresh = was_quiet && board.under_way.posts.is_empty();
        let before = board.log.len();
        board.log.push(sender, frames, messages, board.hixies > 0);
        let added = board.log.len() - before;
        let (counted, allocated) = (board.counted, board.recount(memory));
        self.kept = self.kept - counted + allocated;
        self.undelivered += added;
        if is_fresh {
            self.fresh.push_back(id);
        }
    }

    /// Another round begins.
    #[inline]
    pub fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.slices = Default::default();
    }

    /// Whether anything waits to be delivered, now or once there is memory for it.
    #[inline]
    pub fn is_busy(&self) -> bool {
        !self.fresh.is_empty() || !self.begun.is_empty()
    }

    /// Whether any of that can be delivered now.
    #[inline]
    pub fn can_deliver(&self, memory: &Memory) -> bool {
        self.is_busy() && !self.is_short_of_others(memory)
    }

    /// Whether the members of a board are not to be read: what was said there in an earlier round, or is much, goes to all
    /// of them first.
    pub fn holds(&self, id: BoardId) -> bool {
        let Some(board) = self.boards.get(id.key as usize).filter(|board| board.serial == id.serial) else {
            return false;
        };
        let is_old = board.round != self.round || self.is_heavy();
        !board.under_way.posts.is_empty() || (is_old && !board.log.posts.is_empty())
    }

    /// Whether so much waits that it should be delivered before more is read.
    pub fn is_heavy(&self) -> bool {
        self.undelivered > HEAVY
    }

    /// Hands everything said since the last delivery, and how many messages that is, to `deliver`, once per member who is to
    /// hear any of it; for as long as the round has time for that, by `clock`.
    ///
    /// When memory is short the rest of them wait: what one of them cannot take would be kept for it. No member is read
    /// meanwhile, so what they wait for does not grow. Where it is short for what they wait for alone, waiting would not end.
    pub fn deliver(
        &mut self,
        stats: &mut Stats,
        clock: impl Fn() -> Moment,
        mut deliver: impl FnMut(ConnId, &[u8], u32, &mut Stats),
    ) {
        let mut others = Vec::new();
        let [mut first, mut rest] = std::mem::take(&mut self.slices);
        let share = (PIECES / self.fresh.len().max(1)).min(PIECE);
        while !first.is_over()
            && !self.is_short_of_others(&stats.memory)
            && let Some(id) = self.fresh.pop_front()
        {
            first.at(clock());
            self.tell(id, share, &mut others, stats, &mut deliver);
        }
        while !rest.is_over()
            && !self.is_short_of_others(&stats.memory)
            && let Some(id) = self.begun.pop_front()
        {
            rest.at(clock());
            self.tell(id, PIECE, &mut others, stats, &mut deliver);
        }
        self.slices = [first, rest];
    }

    /// Tells members of a board what is to be said there, as many as `piece` bytes are enough for and at least one.
    fn tell(
        &mut self,
        id: BoardId,
        piece: usize,
        others: &mut Vec<u8>,
        stats: &mut Stats,
        deliver: &mut impl FnMut(ConnId, &[u8], u32, &mut Stats),
    ) {
        let own = self.kept;
        let Some(board) = self.find(id) else { return };
        let mut begun = 0;
        if board.under_way.posts.is_empty() {
            (board.under_way, board.told) = (std::mem::take(&mut board.log), 0);
            begun = board.under_way.len();
        }
        let mut cost = 0;
        while cost < piece
            && !stats.memory.is_short_beside(own)
            && let Some((member, framing)) = board.members.get(board.told)
        {
            board.told += 1;
            let (bytes, messages) = board.under_way.for_member(*member, *framing, others);
            if !bytes.is_empty() {
                cost += bytes.len().max(WRITE);
                deliver(*member, bytes, messages, stats);
            }
        }
        if board.told == board.members.len() {
            board.under_way = Log::default();
        }
        let (counted, allocated) = (board.counted, board.recount(&mut stats.memory));
        let is_over = board.under_way.posts.is_empty() && board.log.posts.is_empty();
        self.kept = self.kept - counted + allocated;
        self.undelivered -= begun;
        if !is_over {
            self.begun.push_back(id);
        }
    }

    /// Whether memory is short, and not only for what was said here.
    fn is_short_of_others(&self, memory: &Memory) -> bool {
        memory.is_short_beside(self.kept)
    }

    /// Bytes allocated for what was said and is not delivered; panics unless they are counted right.
    #[doc(hidden)]
    pub fn allocated(&self) -> usize {
        let allocated =
            self.boards.iter().map(|(_, board)| board.log.allocated() + board.under_way.allocated()).sum();
        assert_eq!(self.kept, allocated, "what boards keep is not the sum");
        allocated
    }

    /// When the next board ends.
    #[inline]
    pub fn next_end(&self) -> Option<Moment> {
        if self.ended.is_empty() { self.ends.front().map(|(at, _)| *at) } else { Some(Moment::default()) }
    }

    /// The next member of a board whose time has come, of which nothing is left but those who are to be told. What was said
    /// there is heard first, unless there is no memory for it.
    pub fn end(&mut self, now: Moment, memory: &mut Memory) -> Option<ConnId> {
        while self.ended.is_empty() && self.next_end()? <= now {
            let (_, id) = *self.ends.front()?;
            if let Some(board) = self.find(id) {
                if !memory.is_short() && (!board.log.posts.is_empty() || !board.under_way.posts.is_empty()) {
                    return None;
                }
                let members = std::mem::take(&mut board.members);
                self.ended = members.into_iter().rev().map(|(member, _)| member).collect();
                self.remove(id, memory);
            }
            self.ends.pop_front();
        }
        self.ended.pop()
    }

    /// What the members of a board that ended are told, with the time as it is set.
    pub fn end_reason(&self) -> String {
        let lifetime = self.rules.lifetime.unwrap_or_default();
        let (seconds, milliseconds) = (lifetime.as_secs(), lifetime.subsec_millis());
        match milliseconds {
            0 if seconds.is_multiple_of(60) => format!("Board can't exist for more than {}mn", seconds / 60),
            0 => format!("Board can't exist for more than {seconds}s"),
            _ => format!("Board can't exist for more than {seconds}.{milliseconds:03}s"),
        }
    }

    fn find(&mut self, id: BoardId) -> Option<&mut Board> {
        self.boards.get_mut(id.key as usize).filter(|board| board.serial == id.serial)
    }
}

fn is_alive(boards: &slab::Slab<Board>, id: BoardId) -> bool {
    boards.get(id.key as usize).is_some_and(|board| board.serial == id.serial)
}

impl Board {
    /// Says what is allocated for what was said here; how much that is.
    fn recount(&mut self, memory: &mut Memory) -> usize {
        let allocated = self.log.allocated() + self.under_way.allocated();
        memory.recount(&mut self.counted, allocated);
        allocated
    }
}

impl Log {
    fn allocated(&self) -> usize {
        self.hybi.capacity() + self.hixie.capacity() + self.posts.capacity() * size_of::<Post>()
    }

    fn len(&self) -> usize {
        self.hybi.len() + self.hixie.len()
    }

    fn push(&mut self, sender: ConnId, frames: &[u8], messages: u32, has_hixie: bool) {
        let (hybi, hixie) = (self.hybi.len(), self.hixie.len());
        grow(&mut self.hybi, frames.len());
        self.hybi.extend_from_slice(frames);
        if has_hixie {
            translate_to_hixie(frames, &mut self.hixie);
        }
        self.posts.push(Post {
            sender,
            messages,
            hybi: hybi..self.hybi.len(),
            hixie: hixie..self.hixie.len(),
        });
    }

    /// Everything but the member's own words, and how many messages that is; `others` is where it is put together if they
    /// are among them.
    fn for_member<'a>(
        &'a self,
        member: ConnId,
        framing: Framing,
        others: &'a mut Vec<u8>,
    ) -> (&'a [u8], u32) {
        let all = match framing {
            Framing::Hixie => &self.hixie,
            Framing::Hybi => &self.hybi,
        };
        let heard = || self.posts.iter().filter(|post| post.sender != member);
        let messages = heard().map(|post| post.messages).sum();
        if heard().count() == self.posts.len() {
            return (all, messages);
        }
        others.clear();
        for post in heard() {
            others.extend_from_slice(match framing {
                Framing::Hixie => &all[post.hixie.clone()],
                Framing::Hybi => &all[post.hybi.clone()],
            });
        }
        (others, messages)
    }
}

#[cfg(test)]
mod tests;
