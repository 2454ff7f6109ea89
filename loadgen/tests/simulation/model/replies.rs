//! What comes back, and what it answers.

use super::*;

impl Model {
    /// The server has a message: is it the one that it must be?
    pub(super) fn message_arrived(&mut self, c: usize, opcode: u8, payload: Vec<u8>, wire: usize) {
        let connection = &mut self.connections[c];
        let index = connection.heard.len();
        assert_eq!(opcode, self.rules.opcode, "what was asked for");
        let due = connection.out.iter().find(|message| message.index == index).map(|message| message.due);
        if let Some(text) = self.content(c, index) {
            assert_eq!(String::from_utf8(payload.clone()), Ok(text), "what {c} says");
        } else if let (true, Some(due)) = (self.rules.stamped && payload.len() >= self.rules.stamp, due) {
            let digits: Vec<u8> = match opcode {
                1 => payload[..32]
                    .chunks(2)
                    .map(|pair| {
                        u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
                    })
                    .collect(),
                _ => payload[..16].to_vec(),
            };
            let number = u32::from_be_bytes(digits[..4].try_into().expect("four"));
            let stamped_index = u32::from_be_bytes(digits[4..8].try_into().expect("four"));
            let clock = u64::from_be_bytes(digits[8..].try_into().expect("eight")) >> 16;
            let expected = self.rules.first_number + c * self.rules.step;
            assert_eq!((number as usize, stamped_index as usize), (expected, index), "who it is");
            assert_eq!(clock, due & ((1 << 48) - 1), "when it was due");
        }
        if self.rules.answers == Answers::Echo && self.rules.stamped && payload.len() >= self.rules.stamp {
            self.stamps.insert(payload[..self.rules.stamp].to_vec(), (c, index));
        }
        let connection = &mut self.connections[c];
        connection.heard.push((payload, wire));
        connection.wire = wire;
        while let Some((_, upto)) = connection.gaps.front().copied().filter(|(after, _)| *after == index) {
            connection.gaps.pop_front();
            connection.heard.resize(upto, Default::default());
        }
    }

    /// Acts on what was read on `c`, up to the next thing that makes the worker write.
    pub(super) fn act(&mut self, c: usize) {
        // What was said waits while the worker speaks.
        assert_eq!(self.connections[c].speaking, 0, "{c} is to speak");
        while let Some(said) = self.connections[c].said.pop_front() {
            let several = self.begun || !self.connections[c].said.is_empty();
            self.arrival.since = (self.stamped && several).then_some(self.looked);
            let now = self.clock;
            let blocked = self.connections[c].blocked;
            match said {
                Said::Open => {
                    let since = std::mem::replace(&mut self.connections[c].since, now);
                    self.opening.upgrade.get_or_insert_with(histogram).saturating_record(now - since);
                    if self.upgraded(c) {
                        return;
                    }
                }
                Said::Refusal(why) | Said::Garbage(why) => {
                    self.connections[c].cause = Some(why.into());
                    self.connections[c].said.clear();
                    return;
                }
                Said::Push(Push::Tick, _) if self.rules.ignores => {
                    self.count_if_running(|counts| counts.ignored += 1);
                }
                Said::Push(Push::Beat(n), _) if self.rules.heartbeats => {
                    if self.answer_heartbeat(c, n) {
                        return;
                    }
                }
                Said::Word(spoken, payload) => {
                    if self.word(c, &spoken, &payload) {
                        return;
                    }
                }
                Said::Message(opcode, payload, number) => {
                    if self.message(c, opcode, &payload, number) {
                        return;
                    }
                }
                Said::Push(push, payload) => {
                    let number = if let Push::News(number) = push { number } else { None };
                    if self.message(c, 1, &payload, number) {
                        return;
                    }
                }
                Said::Ping => {
                    self.count_if_running(|counts| counts.pings_answered += 1);
                    if !blocked {
                        return;
                    }
                }
                Said::Pong(payload) => {
                    let at = u64::from_be_bytes(payload.try_into().expect("our own"));
                    let came = self.arrival.at;
                    if self.run.is_some() && at <= came {
                        let figures = self.figures(at);
                        figures.counts.pongs_received += 1;
                        figures.ping.saturating_record(came - at);
                    }
                }
                Said::Close(code) => {
                    self.count_if_running(|counts| counts.closes_received += 1);
                    self.connections[c].cause = Some(format!("open: closed by the server ({code})"));
                    self.connections[c].said.clear();
                    return;
                }
            }
        }
    }

    pub(super) fn count_if_running(&mut self, count: impl FnOnce(&mut Counts)) {
        if self.run.is_some() {
            let now = self.clock;
            count(&mut self.figures(now).counts);
        }
    }

    /// A message has come: whose answer is it? True when the next is to be sent for it.
    pub(super) fn reply(&mut self, c: usize, opcode: u8, payload: &[u8], number: Option<u64>) -> bool {
        let now = self.arrival.read;
        if self.rules.replies > 1 && self.more_come(c, number) {
            return false;
        }
        let newest = self.connections[c].out.last().map(|message| message.due);
        let verify = self.rules.verify && self.rules.answers == Answers::Echo;
        match self.identify(c, opcode, payload, number) {
            Identity::Answer { at, known, whole } => {
                let connection = &mut self.connections[c];
                let message = connection.out.remove(at);
                let late = known && message.index < connection.seen;
                connection.seen = connection.seen.max(message.index + 1);
                let counts = &mut self.figures(message.due).counts;
                counts.corrupt += u64::from(verify && !(known && whole));
                counts.reordered += u64::from(late);
                if self.rules.by_order()
                    && !self.rules.is_slow(c)
                    && let Some(newest) = newest
                {
                    self.bound(c, message.due, newest);
                }
                return self.answered(c, &message);
            }
            Identity::Duplicate => self.figures(now).counts.duplicated += 1,
            Identity::Stray => self.figures(now).counts.corrupt += 1,
            Identity::Unsolicited { alike } => {
                let by_order = self.rules.by_order();
                let counts = &mut self.figures(now).counts;
                counts.unsolicited += 1;
                counts.alike += u64::from(alike);
                counts.pushed += u64::from(by_order);
            }
        }
        false
    }

    /// Which message of `c` is meant. What was not written cannot be answered.
    pub(super) fn identify(&self, c: usize, opcode: u8, payload: &[u8], number: Option<u64>) -> Identity {
        let (rules, connection) = (&self.rules, &self.connections[c]);
        let out = &connection.out[..connection.out.partition_point(|m| m.sent.is_some())];
        if rules.answers == Answers::Number {
            let Some(index) = self.meant(c, number) else { return Identity::Unsolicited { alike: false } };
            return match out.binary_search_by_key(&index, |m| m.index) {
                Ok(at) => Identity::Answer { at, known: true, whole: true },
                Err(_) => Identity::Duplicate,
            };
        }
        let sent = |message: &Message| connection.heard[message.index].0.as_slice();
        if rules.by_order() {
            return match out {
                [] => Identity::Unsolicited { alike: false },
                // The oldest: none is out of order.
                _ => Identity::Answer { at: 0, known: true, whole: true },
            };
        }
        let stamp = if rules.stamped && payload.len() >= rules.stamp { rules.stamp } else { 0 };
        if stamp > 0
            && let Some((other, index)) = self.named(payload)
        {
            if other != c {
                return Identity::Stray;
            }
            return match out.binary_search_by_key(&index, |m| m.index) {
                Ok(at) => Identity::Answer {
                    at,
                    known: true,
                    whole: opcode == rules.opcode && sent(&out[at]) == payload,
                },
                Err(_) => Identity::Duplicate,
            };
        }
        let near = || out.iter().take(REACH);
        // Messages are all of one size: with a stamp or without.
        let stampless = !(rules.stamped && rules.size >= rules.stamp);
        if stampless && let Some(at) = near().position(|m| sent(m) == payload) {
            return Identity::Answer { at, known: true, whole: opcode == rules.opcode };
        }
        let last = connection.seen.checked_sub(1).filter(|_| stampless && stamp == 0);
        if last.is_some_and(|index| connection.heard[index].0 == payload) {
            return Identity::Duplicate;
        }
        let fits = |m: &Message| {
            let sent = sent(m);
            payload.len() >= stamp + 4 && sent.len() == payload.len() && sent[stamp..] == payload[stamp..]
        };
        let resembles = |m: &Message| {
            let sent = sent(m);
            let same = payload.iter().zip(sent).filter(|(a, b)| a == b).count();
            same * 2 >= payload.len().max(sent.len()).max(1)
        };
        match near().position(|m| fits(m) || resembles(m)) {
            Some(at) => Identity::Answer { at, known: false, whole: false },
            None => Identity::Unsolicited {
                alike: opcode == rules.opcode && out.first().is_some_and(|m| sent(m).len() == payload.len()),
            },
        }
    }

    /// Where nothing tells replies apart, a response is between those of the newest and the first message out.
    pub(super) fn bound(&mut self, c: usize, due: u64, newest: u64) {
        let at = self.arrival.at;
        let connection = &mut self.connections[c];
        let first = *connection.busy_since.get_or_insert(due);
        if connection.out.is_empty() {
            connection.busy_since = None;
        }
        let figures = self.figures(due);
        figures.counts.ambiguous += u64::from(newest != first);
        figures.low.saturating_record(at.saturating_sub(newest));
        figures.high.saturating_record(at.saturating_sub(first));
    }

    /// The reply to `message` has come; true when the next is to be sent for it.
    pub(super) fn answered(&mut self, c: usize, message: &Message) -> bool {
        let Arrival { at, read, .. } = self.arrival;
        self.out -= 1;
        let slow = self.rules.is_slow(c);
        if !slow {
            self.flow(-1);
        }
        let sent = message.sent.expect("an answered message was written");
        let timeout = self.rules.timeout.is_some_and(|limit| at.saturating_sub(sent) > limit);
        self.record(c, message, self.arrival);
        let counts = &mut self.figures(message.due).counts;
        counts.received += 1;
        counts.slow_received += u64::from(slow);
        counts.timeouts += u64::from(timeout);
        let run = self.run.as_ref().expect("it runs");
        self.measured.counts.answered_inside += u64::from((run.from..run.to).contains(&read));
        if message.due >= run.from && !slow {
            let piece = ((message.due - run.from) / 10_000_000) as usize;
            if self.peaks.len() <= piece {
                self.peaks.resize(piece + 1, 0);
            }
            let micros = u32::try_from(at.saturating_sub(message.due) / 1000).unwrap_or(u32::MAX);
            self.peaks[piece] = self.peaks[piece].max(micros);
        }
        if let Some(think) = run.think {
            self.thoughts.push(Reverse((read + think, c)));
            return false;
        }
        run.schedule.is_none() && read < run.to
    }

    /// The message whose stamp stands at the front of `payload`: connection and index.
    pub(super) fn named(&self, payload: &[u8]) -> Option<(usize, usize)> {
        self.stamps.get(&payload[..self.rules.stamp]).copied()
    }
}
