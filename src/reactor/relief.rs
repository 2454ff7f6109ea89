//! What is done about memory when it is short, and when it is plentiful again.

use super::connection::{Burden, Connection};
use super::kernel::Stream;
use super::memory::Memory;
use super::moment::Moment;
use super::stats::{GivenUp, Stats};
use super::token::ConnId;
use super::turn::Turn;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::VecDeque;
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
    /// The most that was kept since memory was given back to the system, and when that may be done.
    peak: usize,
    give_back_at: Moment,
}

impl Default for Relief {
    fn default() -> Relief {
        Relief { short_since: None, work_at: Moment::NEVER, peak: 0, give_back_at: Moment::NEVER }
    }
}

impl Relief {
    /// When something is to be done.
    pub fn next(&self) -> Moment {
        self.work_at.min(self.give_back_at)
    }

    /// Whether memory was short when it was last seen to.
    pub fn is_at_work(&self) -> bool {
        self.short_since.is_some()
    }

    /// Makes room if memory is short; what is left to do for some connections.
    ///
    /// In this order: text that waits for the rest of its frame goes out, which costs nobody anything. Then, once it was seen for a
    /// while who takes what waits for him, and only as much as is needed: the largest unfinished pieces, then the largest
    /// answers that nobody takes. Who takes his, however slowly, loses nothing.
    pub fn work<S: Stream>(
        &mut self,
        connections: &mut Slab<Connection<S>>,
        stats: &mut Stats,
        queue: &mut VecDeque<ConnId>,
        now: Moment,
    ) -> Vec<(ConnId, Turn)> {
        if !stats.memory.is_short() {
            if self.short_since.take().is_some() {
                wake(connections, queue);
            }
            self.work_at = Moment::NEVER;
            return Vec::new();
        }
        if now < self.work_at && self.short_since.is_some() {
            return Vec::new();
        }
        let since = *self.short_since.get_or_insert(now);
        self.work_at = now + PACE;
        let mut fallen = Vec::new();
        let mut burdens = Vec::new();
        for (key, connection) in connections.iter_mut() {
            let id = ConnId { key: key as u32, serial: connection.serial };
            if connection.give_out(stats).is_err() {
                // The next turn meets the error itself.
                continue;
            }
            burdens.extend(connection.burden(now).map(|burden| (burden, id)));
        }
        if since + OBSERVED > now {
            return fallen;
        }
        burdens.sort_unstable_by_key(|(Burden { what, bytes }, _)| {
            (*what != GivenUp::Unfinished, Reverse(*bytes))
        });
        let mut excess = stats.memory.excess();
        for (Burden { what, bytes }, id) in burdens {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            fallen.push((id, connections[id.key as usize].give_up(what, stats, now)));
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

/// Gives everybody a turn who may have something to read: nothing was read while memory was short, and no event will tell.
fn wake<S: Stream>(connections: &mut Slab<Connection<S>>, queue: &mut VecDeque<ConnId>) {
    for (key, connection) in connections.iter_mut() {
        if connection.transport.is_readable() && !connection.transport.queued {
            connection.transport.queued = true;
            queue.push_back(ConnId { key: key as u32, serial: connection.serial });
        }
    }
}
