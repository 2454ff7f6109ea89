//! What goes out, and when.

use super::*;

impl Model {
    /// A message leaves the schedule and is written to `c`.
    pub(super) fn take(&mut self, c: usize) {
        self.handling = false;
        loop {
            match self.due_write() {
                Some(expected) => {
                    assert_eq!(c, expected, "whose turn it is, at {}", self.clock);
                    self.submit(c);
                    return;
                }
                None => {
                    let point = self.points.front().copied();
                    self.leave(point.unwrap_or_else(|| panic!("at {} nothing is due on {c}", self.clock)));
                    self.handling = false;
                }
            }
        }
    }

    /// The connection to which a message must be written now. Those that need no write leave the schedule first.
    pub(super) fn due_write(&mut self) -> Option<usize> {
        loop {
            if let Some((c, left, due)) = self.burst.filter(|(_, left, _)| *left > 0) {
                if self.sender.is_none() {
                    self.sender = self.who_sends(c);
                }
                let Some((who, can)) = self.sender else {
                    self.burst = Some((c, left - 1, due));
                    continue;
                };
                let connection = &self.connections[who];
                let capped =
                    self.rules.max_inflight.is_some_and(|most| connection.out.len() >= most as usize);
                if !can || capped {
                    let counts = &mut self.figures(due).counts;
                    if can {
                        counts.capped += 1
                    } else {
                        counts.not_sent += 1
                    }
                    (self.burst, self.sender) = (Some((c, left - 1, due)), None);
                } else if connection.blocked {
                    self.submit(who);
                } else {
                    return Some(who);
                }
                continue;
            }
            let run = self.run.as_mut()?;
            if self.budget == 0 {
                return None;
            }
            if let Some(schedule) = &mut run.schedule {
                let (due, turn) = self.next.filter(|(due, _)| *due <= self.clock && *due < run.to)?;
                self.next = Some(schedule());
                self.burst = Some((run.order[turn % run.order.len()], 1, due));
            } else if run.think.is_some() {
                let Reverse((due, c)) = *self.thoughts.peek()?;
                if due > self.clock || due >= run.to {
                    return None;
                }
                self.thoughts.pop();
                self.burst = Some((c, 1, due));
            } else {
                if self.clock < run.begin || run.begin >= run.to {
                    return None;
                }
                let c = *run.order.get(self.started)?;
                self.started += 1;
                self.burst = Some((c, run.pipeline, self.clock));
            }
            self.budget -= 1;
        }
    }

    /// The message of the burst is tried.
    pub(super) fn submit(&mut self, c: usize) {
        let (turn, left, due) = self.burst.expect("a message is due");
        (self.burst, self.sender) = (Some((turn, left - 1, due)), None);
        self.push(c, due);
    }

    pub(super) fn push(&mut self, c: usize, due: u64) {
        if self.run.as_ref().is_some_and(|run| run.schedule.is_some() || run.think.is_some()) {
            let slip = self.clock - due;
            self.figures(due).own_slip.saturating_record(slip);
        }
        let (waited, index) = (self.connections[c].blocked, self.connections[c].next_index);
        let sizes = match self.content(c, index) {
            Some(text) => (message_text("", "", "").len(), text.len()),
            None => (self.rules.size, self.rules.size),
        };
        let connection = &mut self.connections[c];
        let message = Message { index, due, tried: self.clock, sent: None, waited, sizes, parts: 0 };
        connection.out.push(message);
        connection.next_index += 1;
        self.out += 1;
    }

    /// The ping that may be due at the end of a turn.
    pub(super) fn ping(&mut self) {
        let (Some(run), Some(gap)) = (&self.run, self.rules.ping) else { return };
        if self.next_ping > self.clock {
            return;
        }
        if self.clock >= run.to {
            self.next_ping = u64::MAX;
            return;
        }
        self.next_ping += gap / self.connections.len() as u64;
        self.ping_turn = (self.ping_turn + 1) % self.connections.len();
        let connection = &self.connections[self.ping_turn];
        if connection.open {
            self.ping_expected = (!connection.blocked).then_some(self.ping_turn);
            let now = self.clock;
            self.figures(now).counts.pings_sent += 1;
        }
    }

    /// The oldest message of `c` that is not written.
    pub(super) fn unsent(&self, c: usize) -> Option<usize> {
        let out = &self.connections[c].out;
        Some(out.partition_point(|message| message.sent.is_some())).filter(|at| *at < out.len())
    }

    /// The oldest message of `c` that was not written is.
    pub(super) fn written(&mut self, c: usize) {
        let Some(at) = self.unsent(c) else { return };
        let (clock, wire) = (self.clock, self.connections[c].wire);
        let message = &mut self.connections[c].out[at];
        message.sent = Some(clock);
        let Message { due, tried, waited, .. } = *message;
        let inside = self.run.as_ref().is_some_and(|run| (run.from..run.to).contains(&clock));
        self.measured.counts.sent_inside += u64::from(inside);
        let figures = self.figures(due);
        figures.counts.sent += 1;
        figures.counts.bytes_sent += wire as u64;
        if waited {
            figures.backpressure.saturating_record(clock - tried);
        }
        if !self.rules.is_slow(c) {
            self.flow(1);
        }
    }
}
