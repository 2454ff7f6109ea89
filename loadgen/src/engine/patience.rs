//! How long a closed loop waits for a reply.

use std::collections::HashSet;
use std::ops::Range;

use crate::host::clock::{Moment, Nanos};

/// Connections looked at in a row.
const SLICE: usize = 1024;

/// A message is late for its loop when it has waited for so many looks.
const LOOKS: u64 = 16;

/// What became of a message that waited too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GivenUp {
    /// Its reply will be known should it come: the loop goes on.
    Message,
    /// Its reply could not be told from the next one's: the connection goes with it, and all that is out on it.
    Connection,
}

/// The patience of one thread.
#[derive(Default)]
pub struct Patience {
    /// `None` waits for ever.
    limit: Option<Nanos>,
    /// When to look next, and from which connection on.
    next: Moment,
    turn: usize,
    /// Given up: connection, index.
    given_up: HashSet<(u32, u32)>,
    /// Connections given up and not yet open again.
    replacing: HashSet<u32>,
    replaced: u64,
}

impl Patience {
    /// Waits for `limit`, or for ever.
    pub fn new(limit: Option<Nanos>) -> Patience {
        Patience { limit, ..Patience::default() }
    }

    /// It has an end.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// When there is something to look at.
    pub fn alarm(&self) -> Moment {
        if self.is_limited() { self.next } else { Moment::NEVER }
    }

    /// Which of `all` senders to look at now.
    pub fn slice(&mut self, all: usize, now: Moment) -> Range<usize> {
        let Some(limit) = self.limit.filter(|_| self.next <= now) else { return 0..0 };
        let slices = all.div_ceil(SLICE).max(1) as u64;
        self.next = now + (limit / LOOKS / slices).max(Nanos::millis(1));
        let from = self.turn;
        let to = (from + SLICE).min(all);
        self.turn = if to == all { 0 } else { to };
        from..to
    }

    /// A message written at `sent` has waited too long.
    pub fn is_over(&self, sent: Moment, now: Moment) -> bool {
        self.limit.is_some_and(|limit| now - sent > limit)
    }

    /// A message is given up.
    pub fn give_up(&mut self, connection: u32, index: u32) {
        self.given_up.insert((connection, index));
    }

    /// Its reply has come: true for one that was given up, once.
    pub fn came_late(&mut self, connection: u32, index: u32) -> bool {
        self.given_up.remove(&(connection, index))
    }

    /// A connection is given up and will be opened anew.
    pub fn replace(&mut self, connection: u32) {
        self.replaced += 1;
        self.replacing.insert(connection);
    }

    /// A connection is to be opened anew and is not back.
    pub fn is_away(&self, connection: u32) -> bool {
        self.replacing.contains(&connection)
    }

    /// A connection has had its messages and will be opened anew.
    pub fn leave(&mut self, connection: u32) {
        self.replacing.insert(connection);
    }

    /// It is open again, or will never be; true when it was given up.
    pub fn is_back(&mut self, connection: u32) -> bool {
        self.replacing.remove(&connection)
    }

    /// Connections given up and not yet open again.
    pub fn away(&self) -> u64 {
        self.replacing.len() as u64
    }

    /// Connections given up in all.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_looked_at_before_its_message_is_much_too_late() {
        let limit = Nanos::millis(1600);
        let mut patience = Patience::new(Some(limit));
        let (mut seen, mut at) = (vec![0; 3000], Moment(0));
        while at < Moment(0) + limit {
            patience.slice(seen.len(), at).for_each(|i| seen[i] += 1);
            at = patience.alarm();
        }
        assert!(seen.iter().all(|n| *n >= LOOKS - 1), "{seen:?}");
        assert_eq!(Patience::new(None).slice(10, at), 0..0);
    }

    #[test]
    fn a_late_reply_is_late_once() {
        let mut patience = Patience::new(Some(Nanos(5)));
        assert!(!patience.is_over(Moment(1), Moment(6)) && patience.is_over(Moment(1), Moment(7)));
        patience.give_up(3, 9);
        assert!(patience.came_late(3, 9) && !patience.came_late(3, 9) && !patience.came_late(3, 8));
    }
}
