//! Everyone is dropped and comes back: what is found out about it.

use crate::engine::backoff::Backoff;
use crate::engine::recorder::Times;
use crate::host::clock::{Moment, Nanos};

/// One thread's part in a storm.
pub struct Recovery {
    /// When it is tried again.
    pub policy: Backoff,
    /// Cut the connections off (RST) rather than close them.
    pub reset: bool,
    /// When the connections were dropped.
    pub dropped_at: Moment,
    /// The server goes away by itself: when the last of it came before the first connection was lost.
    pub last_sign: Option<Moment>,
    /// Connections that are lost are taken for the server's going away.
    pub watches: bool,
    /// When each was lost, after the first.
    pub lost: Vec<Nanos>,
    /// How many.
    pub dropped: u64,
    /// Of them, those on which nothing came any more.
    pub silent: u64,
    /// How often one was tried.
    pub attempts: u64,
    /// When each came back, after the drop.
    pub back: Vec<Nanos>,
    /// SYN -> 101.
    pub handshake: Times,
}

impl Recovery {
    /// Nothing dropped yet; `reset` drops by RST.
    pub fn new(policy: Backoff, reset: bool) -> Recovery {
        let handshake = Times::default();
        Recovery {
            policy,
            reset,
            dropped_at: Moment(0),
            last_sign: None,
            watches: false,
            lost: Vec::new(),
            dropped: 0,
            silent: 0,
            attempts: 0,
            back: Vec::new(),
            handshake,
        }
    }

    /// One that waits for the server to go away.
    pub fn watching(policy: Backoff) -> Recovery {
        Recovery { watches: true, ..Recovery::new(policy, false) }
    }

    /// A connection is lost at `now`, after something of the server's came last at `sign`.
    pub fn lose(&mut self, sign: Moment, now: Moment) {
        if self.lost.is_empty() {
            (self.dropped_at, self.last_sign) = (now, Some(sign));
        }
        self.dropped += 1;
        self.lost.push(now - self.dropped_at);
    }

    /// When a connection that was started `attempt` times tries again. The first attempt of all came before the storm.
    pub fn retry_at(&self, attempt: u32, now: Moment, rng: &mut fastrand::Rng) -> Moment {
        // A refusal must not become a loop that starves everything else.
        let least = if attempt == 0 { Nanos(0) } else { Nanos::millis(1) };
        now + self.policy.delay(attempt, rng).max(least)
    }

    /// A connection is back after a handshake that took `took`.
    pub fn came_back(&mut self, took: Nanos, now: Moment) {
        self.handshake.record(took);
        self.back.push(now - self.dropped_at);
    }

    /// Connections that were dropped and are not back.
    pub fn away(&self) -> u64 {
        self.dropped - self.back.len() as u64
    }

    /// Adds another thread's part.
    pub fn add(&mut self, mut other: Recovery) {
        if self.watches && self.dropped > 0 && other.dropped > 0 {
            // What is told is told from the first loss of all.
            let first = self.dropped_at.min(other.dropped_at);
            for part in [&mut *self, &mut other] {
                let later = part.dropped_at - first;
                for time in part.lost.iter_mut().chain(&mut part.back) {
                    *time += later;
                }
                part.dropped_at = first;
            }
        }
        self.lost.append(&mut other.lost);
        self.last_sign = self.last_sign.max(other.last_sign);
        self.dropped_at = self.dropped_at.max(other.dropped_at);
        self.dropped += other.dropped;
        self.silent += other.silent;
        self.attempts += other.attempts;
        self.back.extend(other.back);
        self.handshake.add(&other.handshake);
    }

    /// After which time a share of those dropped was back.
    pub fn back_after(&self, share: f64) -> Option<Nanos> {
        let mut back = self.back.clone();
        back.sort_unstable();
        let needed = (self.dropped as f64 * share).ceil().max(1.0) as usize;
        back.get(needed - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_back_when_its_last_one_is() {
        let mut recovery = Recovery::new(Backoff::None, true);
        recovery.dropped = 10;
        for i in (1..=9).rev() {
            recovery.came_back(Nanos(1), Moment(i * 100));
        }
        assert_eq!(recovery.back_after(0.5), Some(Nanos(500)));
        assert_eq!(recovery.back_after(0.9), Some(Nanos(900)));
        assert_eq!(recovery.back_after(1.0), None);
    }
}
