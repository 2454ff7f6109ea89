//! What is done about memory when it is short, and when it is plentiful again.

use super::connection::{Burden, Connection};
use super::kernel::Stream;
use super::mark::Mark;
use super::memory::{EACH, Memory};
use super::moment::Moment;
use super::slice::Slice;
use super::stats::{GivenUp, Stats};
use super::token::ConnId;
use super::turn::Turn;
use slab::Slab;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// How long memory is short before anything is given up. Who has answers to take is seen for longer, as long as he may need to
/// show that he does.
const OBSERVED: Duration = Duration::from_secs(2);
/// How often it is seen to while memory is short.
const PACE: Duration = Duration::from_millis(500);
/// So much must have been given back to the allocator before it is told to give that back to the system: it takes a while.
const GIVE_BACK: usize = 4 * 1024 * 1024;
/// And no more often than this, nor before what is needed now has settled for as long.
const GIVE_BACK_PACE: Duration = Duration::from_secs(1);

/// Where it stands with what is kept for clients.
#[derive(Debug)]
pub struct Relief {
    /// Since when memory has been short.
    short_since: Option<Moment>,
    /// When it is to be seen to again, while it is.
    work_at: Moment,
    /// The look at everybody that is under way.
    look: Option<Look>,
    /// The most that was kept since memory was given back to the system, and when that may be done.
    peak: usize,
    give_back_at: Moment,
}

/// A look at everybody, of which each round takes a slice.
#[derive(Debug, Default)]
struct Look {
    /// Who comes next, by the place in the list of all.
    next: usize,
    /// What could be given up.
    found: BinaryHeap<(Rank, ConnId)>,
    /// Bytes of it that are small pieces.
    small: usize,
    /// There are large answers of which it is not known yet that nobody takes them: small pieces wait for that.
    observes: bool,
}

/// What goes before what: large pieces of something unfinished, large answers that nobody takes, small pieces; and of each the
/// largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_large: bool,
    is_unfinished: bool,
    bytes: usize,
}

impl Rank {
    /// Who has not opened yet wants little, though a handshake of TLS may take more.
    fn of(Burden { what, bytes }: Burden, is_new: bool) -> Rank {
        Rank { is_large: bytes > EACH && !is_new, is_unfinished: what == GivenUp::Unfinished, bytes }
    }
}

impl Default for Relief {
    fn default() -> Relief {
        let never = Moment::NEVER;
        Relief { short_since: None, work_at: never, look: None, peak: 0, give_back_at: never }
    }
}

impl Relief {
    /// When something is to be done.
    pub fn next(&self) -> Moment {
        self.work_at.min(self.give_back_at)
    }

    /// Makes room if memory is short, for a slice of the round; what is left to do for some connections.
    ///
    /// In this order: text that waits for the rest of its frame goes out, which costs nobody anything. Then, once it was seen for a
    /// while who takes what waits for him, and only as much as is needed: the largest unfinished pieces, then the largest
    /// answers that nobody takes. Who takes his, however slowly, loses nothing; nor does who wants little, as newcomers do,
    /// unless it is such as they who fill the memory.
    pub fn work<S: Stream>(
        &mut self,
        connections: &mut Slab<Connection<S>>,
        stats: &mut Stats,
        queue: &mut VecDeque<ConnId>,
        now: Moment,
        clock: impl Fn() -> Moment,
    ) -> Vec<(ConnId, Turn)> {
        if !stats.memory.is_short() {
            stats.memory.take_note();
            wake(connections, queue);
            (self.short_since, self.work_at, self.look) = (None, Moment::NEVER, None);
            return Vec::new();
        }
        if now < self.work_at && self.short_since.is_some() {
            return Vec::new();
        }
        let since = *self.short_since.get_or_insert(now);
        let mut slice = Slice::default();
        let look = self.look.get_or_insert_default();
        look.go_on(connections, stats, now, || slice.has_time(clock()));
        let mut fallen = Vec::new();
        look.observes &= since + Mark::STEP > now;
        if !slice.is_over() && since + OBSERVED <= now {
            look.give_up(connections, stats, now, &mut fallen, || slice.has_time(clock()));
        }
        // What is left of it, the next round does.
        self.work_at = now;
        if !slice.is_over() {
            (self.work_at, self.look) = (now + PACE, None);
        }
        fallen
    }

    /// Whether so much less is kept than was, and for so long, that memory should go back to the system; true once.
    pub fn has_to_give_back(&mut self, memory: &Memory, now: Moment) -> bool {
        let used = memory.used();
        self.peak = self.peak.max(used);
        if self.peak - used < GIVE_BACK.max(self.peak / 2) {
            self.give_back_at = Moment::NEVER;
            return false;
        }
        if self.give_back_at == Moment::NEVER {
            self.give_back_at = now + GIVE_BACK_PACE;
        }
        if now < self.give_back_at {
            return false;
        }
        self.peak = used;
        self.give_back_at = Moment::NEVER;
        true
    }
}

impl Look {
    /// Looks at who comes next, and has gathered text go out, as long as `may` says so.
    fn go_on<S: Stream>(
        &mut self,
        connections: &mut Slab<Connection<S>>,
        stats: &mut Stats,
        now: Moment,
        mut may: impl FnMut() -> bool,
    ) {
        while self.next < connections.capacity() {
            // Most keep nothing, and are not worth a look at the clock.
            let keeps = connections.get_mut(self.next).filter(|each| each.transport.keeps_something());
            let Some(connection) = keeps else {
                self.next += 1;
                continue;
            };
            if !may() {
                return;
            }
            let id = ConnId { key: self.next as u32, serial: connection.serial };
            self.next += 1;
            if connection.give_out(stats).is_err() {
                // The next turn meets the error itself.
                continue;
            }
            match connection.burden(now) {
                Some(burden) => self.note(Rank::of(burden, connection.is_new()), id),
                None => self.observes |= connection.transport.untaken() > EACH,
            }
        }
    }

    fn note(&mut self, rank: Rank, id: ConnId) {
        self.small += if rank.is_large { 0 } else { rank.bytes };
        self.found.push((rank, id));
    }

    /// Gives up what goes first, as long as there is need and `may` says so. Some of it may have gone since it was found.
    fn give_up<S: Stream>(
        &mut self,
        connections: &mut Slab<Connection<S>>,
        stats: &mut Stats,
        now: Moment,
        fallen: &mut Vec<(ConnId, Turn)>,
        mut may: impl FnMut() -> bool,
    ) {
        let mut excess = stats.memory.excess();
        while excess > 0
            && let Some((rank, id)) = self.found.peek().copied()
            // Small pieces are given up only where that makes an end of it.
            && (rank.is_large || (self.small >= excess && !self.observes))
            && may()
        {
            self.found.pop();
            self.small -= if rank.is_large { 0 } else { rank.bytes };
            let connection = connections.get_mut(id.key as usize).filter(|each| each.serial == id.serial);
            let Some(connection) = connection else { continue };
            let Some(burden) = connection.burden(now) else { continue };
            let rank_now = Rank::of(burden, connection.is_new());
            if rank_now < rank {
                self.note(rank_now, id);
                continue;
            }
            excess = excess.saturating_sub(burden.bytes);
            fallen.push((id, connection.give_up(burden.what, stats, now)));
        }
    }
}

/// Gives everybody a turn who may have something to read: nothing was read while memory was short, and no event will tell.
fn wake<S: Stream>(connections: &mut Slab<Connection<S>>, queue: &mut VecDeque<ConnId>) {
    for (key, connection) in connections.iter_mut() {
        if connection.transport.is_readable() && !connection.transport.queued {
            connection.transport.queued = true;
            queue.push_back(ConnId { key: key as u32, serial: connection.serial });
        }
    }
}
