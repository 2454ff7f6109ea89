//! Bytes that are kept in order: what the kernel would not take yet, or what waits for the rest of its frame.

use super::memory::grow;
use std::collections::VecDeque;

/// Most bytes of one allocation. What was sent is given back in pieces of this size, however much stands behind it.
pub const PIECE_MAX: usize = 64 * 1024;
/// Fewer bytes are not worth a piece of their own.
const SMALL: usize = 4096;

/// A queue of bytes: pushed at the back as they come, gone at the front as they are taken.
///
/// Its allocations follow what is pending, not what ever passed through: a queue that is never quite empty grows no further
/// than one that is.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The piece in front. The queue is empty when all of it was sent.
    front: Vec<u8>,
    /// Bytes of `front` that were sent.
    sent: usize,
    /// Further pieces, each longer than [`SMALL`] but the last.
    rest: VecDeque<Vec<u8>>,
    /// Bytes that are still to be sent.
    len: usize,
    /// Bytes that all of the above have allocated.
    allocated: usize,
}

impl Outbox {
    /// An empty queue in which [`Self::push_front`] finds room for so many bytes.
    pub fn with_room(count: usize) -> Outbox {
        let front = vec![0; count];
        Outbox { allocated: front.capacity(), front, sent: count, ..Outbox::default() }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are still to be sent.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory it takes.
    pub fn allocated(&self) -> usize {
        self.allocated
    }

    /// Appends `bytes`.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        if self.rest.is_empty() && self.sent > SMALL && self.sent >= self.front.len() - self.sent {
            // No more is moved than was sent since the last time.
            self.front.drain(..self.sent);
            self.sent = 0;
        }
        while !bytes.is_empty() {
            if self.back().len() == PIECE_MAX {
                self.push_piece(Vec::new());
            }
            let back = self.rest.back_mut().unwrap_or(&mut self.front);
            let (piece, later) = bytes.split_at(bytes.len().min(PIECE_MAX - back.len()));
            let before = back.capacity();
            grow(back, piece.len());
            back.extend_from_slice(piece);
            self.allocated = self.allocated + back.capacity() - before;
            bytes = later;
        }
    }

    /// Puts a few bytes before everything, into the room that was left for them.
    pub fn push_front(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.sent, "no room in front");
        self.sent -= bytes.len();
        self.len += bytes.len();
        self.front[self.sent..self.sent + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts all of `other` behind what is here.
    pub fn append(&mut self, other: Outbox) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let Outbox { mut front, sent, rest, .. } = other;
        front.drain(..sent);
        for piece in std::iter::once(front).chain(rest) {
            if piece.len() <= SMALL {
                self.push(&piece);
            } else {
                self.len += piece.len();
                self.allocated += piece.capacity();
                self.push_piece(piece);
            }
        }
    }

    /// Notes that the first `count` bytes of [`Self::pieces`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        self.len -= count;
        if self.is_empty() {
            *self = Outbox::default();
            return;
        }
        while self.sent >= self.front.len() {
            self.sent -= self.front.len();
            self.allocated -= self.front.capacity();
            self.front = self.rest.pop_front().unwrap_or_default();
        }
    }

    /// Everything that is still to be sent, in pieces; the first is empty only when the queue is.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.front[self.sent..]).chain(self.rest.iter().map(Vec::as_slice))
    }

    fn back(&self) -> &Vec<u8> {
        self.rest.back().unwrap_or(&self.front)
    }

    fn push_piece(&mut self, piece: Vec<u8>) {
        let before = self.rest.capacity();
        self.rest.push_back(piece);
        self.allocated += (self.rest.capacity() - before) * size_of::<Vec<u8>>();
    }

    /// Panics unless what the fields promise each other holds.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let pieces = || std::iter::once(&self.front).chain(&self.rest);
        let list = self.rest.capacity() * size_of::<Vec<u8>>();
        assert_eq!(self.allocated, pieces().map(Vec::capacity).sum::<usize>() + list);
        assert_eq!(self.len, pieces().map(Vec::len).sum::<usize>() - self.sent);
        assert!(pieces().all(|piece| piece.len() <= PIECE_MAX));
        assert!(self.len == 0 || self.sent < self.front.len(), "nothing in front of something");
        let bound = self.len + self.len / 2 + 2 * PIECE_MAX;
        assert!(self.allocated <= bound, "{} bytes allocated for {}", self.allocated, self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut outbox, mut expected) = (Outbox::default(), VecDeque::new());
        for round in 0..5_000 {
            let most = if rng.u8(..8) == 0 { 200_000 } else { 300 };
            let bytes = vec![round as u8; rng.usize(..most)];
            expected.extend(&bytes);
            if rng.bool() {
                outbox.push(&bytes);
            } else {
                let mut other = Outbox::default();
                other.push(&bytes);
                outbox.append(other);
            }
            outbox.assert_invariants();
            while !outbox.is_empty() && rng.u8(..16) > 0 {
                let front = outbox.pieces().next().map_or(0, <[u8]>::len);
                let most = if rng.bool() { front } else { outbox.len() };
                let count = rng.usize(1..=most);
                let sent = outbox.pieces().flatten().take(count);
                assert!(sent.copied().eq(expected.drain(..count)));
                outbox.sent(count);
                outbox.assert_invariants();
            }
            assert_eq!(outbox.len(), expected.len());
        }
    }

    #[test]
    fn what_is_pushed_byte_by_byte_allocates_little_more() {
        let mut outbox = Outbox::default();
        for count in 1..PIECE_MAX {
            outbox.push(b"a");
            assert!(outbox.allocated() <= 2 * count && outbox.allocated() <= count + SMALL, "{outbox:?}");
        }
    }
}
