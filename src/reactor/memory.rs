//! What is kept for peers, in all.

/// A buffer that grows does so in steps of this, or of less as long as it is shorter.
const STEP: usize = 4096;
/// Of one that is shorter.
const SMALL_STEP: usize = 1024;

/// What a client may cost beyond the budget: its place, its alarms, and one small read with what holds it. To give up no more
/// than that helps nobody.
pub const EACH: usize = 4096;
/// Bytes that one read takes while memory is short: what a client can then add to what is kept for it.
pub const SHORT_READ: usize = EACH - SMALL_STEP;

/// How much of the whole is to be free again before reading goes on as usual, once memory was short: one part in so many.
const SLACK: usize = 16;

/// One budget for everything that is kept for peers: the beginnings of frames, text that waits for its end, answers that are
/// not taken, messages of boards that are not delivered; counted in the bytes that are allocated for it.
///
/// Each owner of such memory says what it holds whenever that changes ([`Self::recount`]), so the total is a field and never
/// summed up.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: usize,
    is_short: bool,
    /// It is, or was, if only for a moment, since [`Self::take_note`].
    was_short: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(usize::MAX)
    }
}

impl Memory {
    /// Nothing kept, and at most `limit` bytes to be.
    pub fn new(limit: usize) -> Memory {
        Memory { limit, used: 0, is_short: false, was_short: false }
    }

    /// Bytes that may be kept.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are kept.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether the limit was reached, and not enough has been given back since. Then nothing is read from who has something kept
    /// for it, and little from everybody else.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether it is short, or was since this was asked last: some were not read then, and no event will tell of them.
    pub fn was_short(&self) -> bool {
        self.was_short
    }

    /// Those who were not read for want of it have their turn.
    pub fn take_note(&mut self) {
        self.was_short = false;
    }

    /// Whether it would be short without `own` of what is kept.
    pub fn is_short_beside(&self, own: usize) -> bool {
        self.is_short && self.used.saturating_sub(own) > self.low()
    }

    /// Bytes to be given back before memory is no longer short.
    pub fn excess(&self) -> usize {
        if self.is_short { self.used - self.low().min(self.used) } else { 0 }
    }

    /// An owner that held `counted` bytes holds `now`.
    pub fn recount(&mut self, counted: &mut usize, now: usize) {
        self.used = self.used + now - *counted;
        *counted = now;
        self.is_short = self.used >= if self.is_short { self.low() + 1 } else { self.limit };
        self.was_short |= self.is_short;
    }

    fn low(&self) -> usize {
        (self.limit - self.limit / SLACK).saturating_sub(1)
    }
}

/// Makes room for `count` more bytes: as much again as has come already, but only up to the next 4 KiB
/// (1 KiB while it is shorter than that).
///
/// Where the standard library doubles, half of what a peer makes us allocate may be for nothing.
pub fn grow(bytes: &mut Vec<u8>, count: usize) {
    if bytes.capacity() - bytes.len() < count {
        let needed = bytes.len() + count;
        let step = if needed < STEP { SMALL_STEP } else { STEP };
        let spare = bytes.len().min(needed.next_multiple_of(step) - needed);
        bytes.reserve_exact(count + spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_drips_allocates_no_more_than_the_step_it_is_in() {
        for drip in [1, 7, 1000, 3000] {
            let mut bytes = Vec::new();
            while bytes.len() < 40_000 {
                grow(&mut bytes, drip);
                bytes.resize(bytes.len() + drip, 0);
                let (len, capacity) = (bytes.len(), bytes.capacity());
                assert!(
                    capacity <= len.next_multiple_of(STEP) && capacity <= 2 * len,
                    "{capacity} for {len}"
                );
                assert!(len > SHORT_READ || capacity <= SHORT_READ, "{capacity} for {len}");
            }
        }
    }

    #[test]
    fn memory_is_short_from_the_limit_until_a_part_of_it_is_free() {
        let mut memory = Memory::new(1600);
        let (mut one, mut other) = (0, 0);
        memory.recount(&mut one, 1599);
        assert!(!memory.is_short());
        memory.recount(&mut other, 1);
        assert!(memory.is_short() && memory.used() == 1600);
        memory.recount(&mut one, 1499);
        assert!(memory.is_short() && memory.excess() == 1);
        memory.recount(&mut one, 1498);
        assert!(!memory.is_short() && memory.excess() == 0);
        memory.recount(&mut other, 0);
        memory.recount(&mut one, 0);
        assert_eq!(memory.used(), 0);
    }
}
