//! What is counted and timed.

use super::*;

impl Model {
    pub(super) fn fails(&mut self, cause: &str) {
        *self.failing.entry(cause.to_owned()).or_default() += 1;
    }

    /// The number of messages in flight changes.
    pub(super) fn flow(&mut self, change: i64) {
        let now = self.clock;
        let run = self.run.as_ref().expect("it runs");
        let count = self.inflight as u64;
        let since = self.inflight_since;
        self.inflight_ns += count * (now - since);
        self.measured.counts.inflight_inside_ns += count * overlap(run, since, now);
        let edge = |n: u64| run.from + (run.to - run.from) * n / 4;
        for n in 0..4 {
            // What the number was at any time in the quarter, up to now.
            if edge(n) <= now && since < edge(n + 1) {
                let least = &mut self.quarters[n as usize];
                *least = Some(least.map_or(self.inflight, |least| least.min(self.inflight)));
            }
        }
        self.inflight_since = now;
        self.inflight += change;
    }

    /// The fewest messages in flight in each quarter of the measured time.
    pub fn least_in_flight(&self) -> [i64; 4] {
        self.quarters.map(|least| least.unwrap_or(0))
    }

    /// Records the times of a message that ended so.
    pub(super) fn record(&mut self, c: usize, message: &Message, end: Arrival) {
        let run = self.run.as_ref().expect("it runs");
        let (from, flight) = (run.from, message.sent.map_or(0, |sent| overlap(run, sent, end.read)));
        let number = self.rules.number(c) as u64;
        if self.rules.is_slow(c) {
            return self.figures(message.due).slowly.saturating_record(end.at - message.due);
        }
        // A stamp from before the message was written is none.
        let sent = message.sent.unwrap_or(message.tried);
        let since = end.since.filter(|_| run.schedule.is_some()).map_or(end.at, |since| since.max(sent));
        let (at, ours) = match end.at < sent {
            true => (end.read, end.lag),
            false => (end.at, end.ours + end.at.saturating_sub(since)),
        };
        let slip = (message.tried - message.due) / 1000 * 1000;
        let response = at - message.due;
        let figures = self.figures(message.due);
        figures.response.saturating_record(response);
        figures.undisturbed.saturating_record(response.saturating_sub(slip).saturating_sub(ours));
        let size = if message.sent.is_some() { message.sizes.1 } else { message.sizes.0 } as u64;
        let figures = self.figures(message.due);
        figures.slow.push((response, number, message.due.saturating_sub(from), slip, size));
        if let Some(sent) = message.sent {
            figures.wire.saturating_record(at - sent);
            self.measured.counts.flight_ns += flight;
        }
    }

    /// The run ends: messages without a reply have the age they have.
    pub(super) fn finish(&mut self) {
        let now = self.clock;
        let run = self.run.as_ref().expect("it runs");
        let (from, closed, waited) = (run.from, run.schedule.is_none(), now >= run.until);
        let never = Arrival { at: now, read: now, ours: 0, lag: 0, since: None };
        for c in 0..self.connections.len() {
            if let Some(at) = self.unsent(c) {
                let connection = &mut self.connections[c];
                // It is made when it is first tried, and those behind it are not.
                connection.out[at].sizes.0 = connection.out[at].sizes.1;
                connection.gaps.push_back((connection.out[at].index, connection.next_index));
            }
            let out = std::mem::take(&mut self.connections[c].out);
            let connection = &self.connections[c];
            let slow = self.rules.is_slow(c);
            let waited = waited && !slow;
            self.silent += u64::from(waited && connection.seen == 0 && !out.is_empty());
            self.stuck += if waited && closed && connection.open { out.len() as u64 } else { 0 };
            for message in out {
                if message.sent.is_some() && !slow {
                    self.flow(-1);
                }
                self.record(c, &message, never);
                if let Some(sent) = message.sent.filter(|_| message.due >= from && !slow) {
                    self.unanswered.saturating_record(now - sent);
                }
                let lost = message.index < self.connections[c].seen;
                let counts = &mut self.figures(message.due).counts;
                match (slow, lost) {
                    (true, _) => counts.slow_unanswered += 1,
                    (false, true) => counts.lost += 1,
                    (false, false) => counts.unanswered += 1,
                }
            }
        }
        self.flow(0);
        self.run = None;
        self.failures = std::mem::take(&mut self.failing);
        self.opened = std::mem::take(&mut self.opening);
        self.finished = true;
    }

    pub(super) fn figures(&mut self, at: u64) -> &mut Figures {
        let from = self.run.as_ref().expect("it runs").from;
        if at < from { &mut self.warmup } else { &mut self.measured }
    }
}
