//! Clients that read slowly: some bytes, then a rest, however much has come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::host::clock::{Moment, Nanos, SECOND};
use crate::report::units;

/// Reads a second of one that has enough to read.
const READS: u64 = 20;

/// How much of what it could not read a client makes up for: a server whose window was shut comes back late.
const CREDIT: Nanos = Nanos(SECOND);

/// Bytes of the smallest receive buffer. On loopback a segment has 64 kB, and a window that holds none of them opens only
/// when the server probes it, by seconds.
const ROOM: u64 = 64 * 1024;

/// `--slow-readers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowReaders {
    /// Of all connections.
    pub share: f64,
    /// Bytes a second that each of them reads.
    pub rate: u64,
}

impl SlowReaders {
    /// Reads `5%:10k/s`.
    ///
    /// # Errors
    /// A sentence that says what it looks like.
    pub fn parse(text: &str) -> Result<SlowReaders, String> {
        let wrong = || format!("`{text}` is not a share and a rate such as 5%:10k/s");
        let (share, rate) = text.split_once(':').ok_or_else(wrong)?;
        let rate = rate.strip_suffix("/s").ok_or_else(wrong)?;
        let share =
            units::share(share).ok().filter(|share| *share > 0.0 && *share < 1.0).ok_or_else(wrong)?;
        let rate = units::message_size(rate).ok().filter(|rate| *rate > 0).ok_or_else(wrong)?;
        Ok(SlowReaders { share, rate: rate as u64 })
    }

    /// Whether connection number `number` is one of them: they stand evenly among the others.
    pub fn has(&self, number: usize) -> bool {
        // 29 % of 100 are 28.999… by the arithmetic of floats.
        let upto = |n: usize| (n as f64 * self.share + 1e-6) as u64;
        upto(number + 1) > upto(number)
    }

    /// Bytes of one read.
    pub fn most(&self) -> usize {
        (self.rate / READS).max(1) as usize
    }

    /// Bytes of its receive buffer, which the kernel doubles.
    pub fn room(&self) -> usize {
        (self.rate / 4).max(ROOM) as usize
    }
}

/// When the slow ones of a thread read next.
#[derive(Default)]
pub struct Rests {
    due: BinaryHeap<Reverse<(Moment, u32)>>,
    waiting: HashSet<u32>,
    /// When each may read again.
    free: HashMap<u32, Moment>,
}

impl Rests {
    /// There is something to read on connection `i`.
    pub fn wants(&mut self, i: usize, now: Moment) {
        let connection = i as u32;
        if self.waiting.insert(connection) {
            let at = self.free.get(&connection).map_or(now, |free| now.max(*free));
            self.due.push(Reverse((at, connection)));
        }
    }

    /// The next connection that may read by `now`.
    pub fn next(&mut self, now: Moment) -> Option<usize> {
        let Reverse((at, connection)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        self.waiting.remove(&connection);
        Some(connection as usize)
    }

    /// Connection `i` has read so many bytes, of so many that it reads a second. What it read late it reads sooner next.
    pub fn took(&mut self, i: usize, bytes: usize, rate: u64, now: Moment) {
        let free = self.free.entry(i as u32).or_insert(now);
        let since = (*free).max(Moment(now.0.saturating_sub(CREDIT.0)));
        *free = since + Nanos(bytes as u64 * SECOND / rate);
    }

    /// When somebody may read.
    pub fn alarm(&self) -> Moment {
        self.due.peek().map_or(Moment::NEVER, |Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_and_a_rate_are_read() {
        assert_eq!(SlowReaders::parse("5%:10k/s"), Ok(SlowReaders { share: 0.05, rate: 10_240 }));
        for bad in ["", "5%", "5%:10k", "0%:10k/s", "100%:10k/s", "5%:0/s", "x:1/s"] {
            assert!(SlowReaders::parse(bad).unwrap_err().contains("5%:10k/s"), "{bad}");
        }
    }

    #[test]
    fn the_share_stands_evenly_among_all() {
        let slow = SlowReaders { share: 0.05, rate: 100 };
        let numbers: Vec<usize> = (0..1000).filter(|n| slow.has(*n)).collect();
        assert_eq!(numbers.len(), 50);
        assert!(numbers.windows(2).all(|pair| (19..=21).contains(&(pair[1] - pair[0]))), "{numbers:?}");
    }

    /// However much there is to read, and however often that is said, a second sees its bytes and one read more.
    #[test]
    fn nobody_reads_faster_than_its_rate() {
        let slow = SlowReaders { share: 0.5, rate: 1000 };
        let (mut pace, mut read) = (Rests::default(), 0);
        let mut now = Moment(0);
        while now < Moment(10 * SECOND) {
            pace.wants(7, now);
            pace.wants(7, now);
            while let Some(i) = pace.next(now) {
                assert_eq!(i, 7);
                read += slow.most();
                pace.took(i, slow.most(), slow.rate, now);
                pace.wants(i, now);
            }
            now = pace.alarm();
        }
        assert!((10_000..=10_050).contains(&read), "{read}");
    }

    /// Reads that come late, by less than what is made up for, cost nothing of the rate; a longer pause is no debt.
    #[test]
    fn what_is_read_late_is_made_up_for() {
        let slow = SlowReaders { share: 0.5, rate: 1000 };
        let (mut pace, mut read) = (Rests::default(), 0);
        let mut second = |pace: &mut Rests, now: Moment| {
            let before = read;
            pace.wants(7, now);
            while let Some(i) = pace.next(now) {
                read += slow.most();
                pace.took(i, slow.most(), slow.rate, now);
                pace.wants(i, now);
            }
            read - before
        };
        let late: usize = (0..50).map(|n| second(&mut pace, Moment(n * SECOND * 4 / 5))).sum();
        assert!((39_200..=39_300).contains(&late), "{late}");
        let after = second(&mut pace, Moment(1000 * SECOND));
        assert!((1000..=1050).contains(&after), "{after}");
    }
}
