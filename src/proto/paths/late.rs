//! An answer to a handshake that comes late, or never.

use core::time::Duration;

/// How late the answer to a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// So long.
    For(Duration),
    /// For as long as the client stays.
    Forever,
}

/// The answer, until it is due.
#[derive(Debug)]
pub struct Late<T> {
    delay: Delay,
    /// When it is due; `None` until the clock is known.
    until: Option<Duration>,
    response: Vec<u8>,
    /// What it leads to, once.
    then: Option<T>,
}

impl<T> Late<T> {
    /// Withholds `response` for `delay`; `then` is what follows it.
    pub fn new(delay: Delay, response: Vec<u8>, then: T) -> Late<T> {
        Late { delay, until: None, response, then: Some(then) }
    }

    /// Appends the answer to `response` if it is due, and says what it leads to.
    pub fn answer(&mut self, now: Duration, response: &mut Vec<u8>) -> Option<T> {
        let Delay::For(delay) = self.delay else { return None };
        if now < *self.until.get_or_insert(now + delay) {
            return None;
        }
        response.append(&mut self.response);
        self.then.take()
    }

    /// When it is due; `None` for never.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Whether it never comes; until the peer gives up, what it sends is thrown away.
    pub fn is_stalled(&self) -> bool {
        self.delay == Delay::Forever
    }

    /// Bytes that are allocated.
    pub fn kept(&self) -> usize {
        size_of::<Late<T>>() + self.response.capacity()
    }
}
