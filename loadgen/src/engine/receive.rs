//! What comes back: matched with what went out, and recorded.

use std::cmp::Reverse;

use crate::engine::connection::Stage;
use crate::engine::in_flight::{Entry, NONE};
use crate::engine::payload::Matching;
use crate::engine::recorder::Counts;
use crate::engine::running::Load;
use crate::engine::verify::{self, Reply};
use crate::engine::worker::Worker;
use crate::protocol::frame::Opcode;

/// Connections looked at in a row for messages that have waited too long.
const SWEEP: usize = 1024;

impl Worker {
    /// A read returned `n` bytes at `now`.
    pub fn read_at(&mut self, n: usize, now: u64) {
        let lag = now - self.woken;
        if let Some(running) = &mut self.running {
            let tally = running.tally_at(now);
            tally.read_lag.record(lag);
            tally.counts.bytes_received += n as u64;
        }
    }

    /// Where to count what happens at `now`; nowhere in particular when nothing is being measured.
    pub fn count(&mut self, now: u64) -> &mut Counts {
        match &mut self.running {
            Some(running) => &mut running.tally_at(now).counts,
            None => &mut self.uncounted,
        }
    }

    /// A message has come on connection `i`.
    pub fn message(&mut self, i: usize, opcode: Opcode, payload: &[u8], now: u64) {
        let number = self.spec.number(self.me, i) as u32;
        let messages = &self.spec.messages;
        let Some(running) = &mut self.running else { return };
        if let Some(collector) = &mut running.traffic.collector {
            return collector.delivered(number, messages.read_stamp(payload), now);
        }
        let conn = &mut self.conns[i];
        let newest = conn.pending.newest().map(|id| self.pending.get(id).due);
        let matching = self.spec.matching();
        let check = self.spec.verify;
        let reply = if matching == Matching::Order && !check {
            verify::next(&mut self.pending, conn)
        } else {
            verify::identify(messages, &mut self.pending, conn, number, opcode, payload, check)
        };
        match reply {
            Reply::Answer { entry, corrupt, reordered } => {
                let counts = &mut running.tally_at(entry.due).counts;
                counts.corrupt += u64::from(corrupt);
                counts.reordered += u64::from(reordered);
                if matching == Matching::Order {
                    self.bound(i, &entry, newest.unwrap_or(entry.due), now);
                }
                self.answered(i, &entry, now);
            }
            Reply::Duplicate(index) if running.patience.given_up.remove(&(i as u32, index)) => {
                running.tally_at(now).counts.late += 1;
            }
            Reply::Duplicate(_) => running.tally_at(now).counts.duplicated += 1,
            Reply::Stray => running.tally_at(now).counts.corrupt += 1,
            Reply::Unsolicited { alike } => {
                let counts = &mut running.tally_at(now).counts;
                counts.unsolicited += 1;
                counts.alike += u64::from(alike);
            }
        }
    }

    /// Replies that nothing tells apart: what the response of this one is at least, if it answers the newest message, and
    /// at most, if it answers the first since the connection last had none out.
    fn bound(&mut self, i: usize, entry: &Entry, newest: u64, now: u64) {
        let idle = self.conns[i].pending.len == 0;
        let Some(running) = &mut self.running else { return };
        let oldest = *running.busy_since.entry(i as u32).or_insert(entry.due);
        if idle {
            running.busy_since.remove(&(i as u32));
        }
        let tally = running.tally_at(entry.due);
        tally.counts.ambiguous += u64::from(newest != oldest);
        let bounds = tally.bounds.get_or_insert_default();
        bounds.low.record(now.saturating_sub(newest));
        bounds.high.record(now.saturating_sub(oldest));
    }

    /// The reply to `entry` was read at `now`.
    fn answered(&mut self, i: usize, entry: &Entry, now: u64) {
        let conn = self.spec.number(self.me, i) as u64;
        let lag = now - self.woken;
        let Some(running) = &mut self.running else { return };
        let limit = self.spec.timeout.filter(|_| running.patience.limit.is_none());
        let late = limit.is_some_and(|limit| now - entry.sent > limit);
        running.out -= 1;
        running.record(entry, conn, now, now, lag, true);
        running.peak(entry, now);
        let inside = running.inside(now);
        running.measured.counts.answered_inside += u64::from(inside);
        let counts = &mut running.tally_at(entry.due).counts;
        counts.received += 1;
        counts.timeouts += u64::from(late);
        let inflight = running.flow(-1, now);
        self.gauges.set_inflight(inflight);
        self.refill(i, now);
    }

    /// In a closed loop, sends the next message in the place of one that is done.
    fn refill(&mut self, i: usize, now: u64) {
        if let Some(running) = &self.running
            && matches!(running.traffic.load, Load::Closed(_))
            && now < running.traffic.to
        {
            self.submit(i, now, now);
        }
    }

    /// Looks for messages of a closed loop that have waited too long, a few connections at a time.
    pub fn sweep(&mut self, now: u64) {
        let Some(running) = &mut self.running else { return };
        let Some(limit) = running.patience.limit.filter(|_| running.patience.next <= now) else { return };
        let all = running.order.len();
        let turns = all.div_ceil(SWEEP).max(1) as u64;
        running.patience.next = now + (limit / 16 / turns).max(1_000_000);
        let from = running.patience.turn;
        let to = (from + SWEEP).min(all);
        running.patience.turn = if to == all { 0 } else { to };
        for n in from..to {
            let Some(running) = &self.running else { return };
            let i = running.order[n] as usize;
            while self.waits_longer(i, now, limit) {
                self.give_up(i, now);
            }
        }
    }

    /// Whether the oldest message of connection `i` was written longer ago than `limit`.
    fn waits_longer(&self, i: usize, now: u64, limit: u64) -> bool {
        let conn = &self.conns[i];
        let oldest = self.pending.first(&conn.pending);
        let written = conn.stage == Stage::Open && conn.pending.head != conn.unsent;
        written && oldest.is_some_and(|e| now.saturating_sub(e.sent) > limit)
    }

    /// The oldest message of connection `i` has waited too long. Where a late reply could not be told from the next one's,
    /// the connection goes with it.
    fn give_up(&mut self, i: usize, now: u64) {
        let told_apart = self.spec.matching() == Matching::Stamp;
        let unsent = self.conns[i].unsent;
        let first_unsent = if unsent == NONE { u32::MAX } else { self.pending.get(unsent).index };
        let mut written = true;
        while let Some(entry) = self.pending.take(&mut self.conns[i].pending, 1, |_| true) {
            let number = self.spec.number(self.me, i) as u64;
            let Some(running) = &mut self.running else { return };
            written &= entry.index != first_unsent;
            running.out -= 1;
            running.record(&entry, number, now, now, 0, written);
            running.tally_at(entry.due).counts.unanswered += 1;
            if written && entry.due >= running.traffic.from {
                running.unanswered.record(now - entry.sent);
            }
            self.gauges.set_inflight(running.flow(-i64::from(written), now));
            if told_apart {
                running.patience.given_up.insert((i as u32, entry.index));
                return self.refill(i, now);
            }
        }
        let Some(running) = &mut self.running else { return };
        running.patience.replaced += 1;
        running.patience.replacing.insert(i as u32);
        self.conns[i].unsent = NONE;
        self.conns[i].drop_stream(true);
        self.count_held(-1);
        self.retries.push(Reverse((now, i as u32)));
    }

    /// Connection `i` is open again in the place of one that was given up, and takes up its messages.
    pub fn replaced(&mut self, i: usize, now: u64) {
        let Some(running) = &mut self.running else { return };
        running.busy_since.remove(&(i as u32));
        if running.patience.replacing.remove(&(i as u32))
            && let Load::Closed(pipeline) = running.traffic.load
        {
            for _ in 0..pipeline {
                self.refill(i, now);
            }
        }
    }
}
