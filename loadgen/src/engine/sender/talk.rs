//! What of a thread's messages is no echo: words that are said and heard, deliveries, and replies of several messages.

use super::Sender;
use crate::engine::deliveries::locked;
use crate::engine::in_flight::{Entry, Exchange, NONE};
use crate::engine::payload::MessageId;
use crate::engine::running::Arrival;
use crate::host::clock::Moment;
use crate::protocol::frame::Opcode;
use crate::protocol::template::Template;

impl Sender {
    /// The frames of one of the opening words of connection `i`, or of an answer to a heartbeat.
    pub fn words(&mut self, i: usize, words: &Template, wall: u64, kept: &[Vec<u8>]) -> &[u8] {
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index: 0 };
        self.payload.clear();
        let rng = &mut self.rng;
        words.write(&mut self.payload, &mut self.spec.values(id, 0, wall, &[], kept, rng));
        self.frames.clear();
        let key = || rng.u32(..).to_ne_bytes();
        self.encoder.message(&mut self.frames, Opcode::Text, &self.payload, key);
        &self.frames
    }

    /// What of `words`, said on connection `i`, nobody else may see.
    pub fn secrets(&mut self, i: usize, words: &Template, kept: &[Vec<u8>]) -> Vec<String> {
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index: 0 };
        words.secrets(&self.spec.values(id, 0, 0, &[], kept, &mut self.rng))
    }

    /// The wall clock shows so much more than the engine's, nanoseconds.
    pub fn set_wall_offset(&mut self, offset: u64) {
        self.wall_offset = offset;
    }

    /// Whether a message is a delivery: one that was passed on, or that came while nothing is sent. Then it is no reply.
    pub(super) fn is_delivery(&mut self, i: usize, number: u32, payload: &[u8], arrival: Arrival) -> bool {
        let payloads = &self.spec.payloads;
        let Some(running) = &mut self.running else { return false };
        if let Some(listening) = &self.spec.listening {
            if self.heard.len() <= i {
                self.heard.resize(i + 1, Moment(0));
            }
            let last = std::mem::replace(&mut self.heard[i], arrival.at);
            let gap = (last > running.traffic.from).then(|| arrival.at - last);
            let wall = arrival.at.0.wrapping_add(self.wall_offset);
            running.record_heard(gap, listening.sent(payload), wall, arrival);
            return true;
        }
        if let Some(collector) = &running.traffic.collector {
            let stamp = payloads.find_stamp(payload);
            let delivered = locked(collector).delivered(number, stamp, arrival.at);
            if let Some((due, delay, slip)) = delivered {
                running.record_delivery(due, delay, slip, arrival);
            }
            return true;
        }
        false
    }

    /// Several messages are the reply to one: whether this is not the last of them. It is one of those for the message
    /// `named`, or where nothing names any, for the oldest.
    pub(super) fn more_come(
        &mut self,
        i: usize,
        exchange: &Exchange,
        named: Option<Option<u32>>,
        arrival: Arrival,
    ) -> bool {
        let entry = match named {
            Some(index) => index.and_then(|index| self.in_flight.find_index(exchange, index)),
            None => self.in_flight.oldest_written(exchange).copied(),
        };
        let slow = self.is_slow(i);
        let (Some(entry), Some(running)) = (entry, &mut self.running) else { return false };
        let message = (i as u32, entry.index);
        let so_far = self.partly.entry(message).or_default();
        *so_far += 1;
        if *so_far == 1 && !slow {
            running.record_first(&entry, arrival);
        }
        let more = *so_far < self.spec.replies;
        if !more {
            self.partly.remove(&message);
        }
        more
    }

    /// When something of the server's came last.
    pub fn last_sign(&self) -> Moment {
        self.last_sign
    }

    /// A client that reads slowly has read so many bytes: those count that it reads while messages are sent.
    pub fn read_slowly(&mut self, bytes: usize, now: Moment) {
        if let Some(running) = self.running.as_mut().filter(|running| now < running.traffic.to) {
            running.recorder_at(now).counts.slow_bytes += bytes as u64;
        }
    }

    /// Connection `i` reads slowly: its times are told apart.
    pub(super) fn is_slow(&self, i: usize) -> bool {
        self.spec.is_slow(self.spec.number(self.me, i))
    }

    /// A message of connection `i` has no reply: it is `lost` if a later one had.
    pub(super) fn count_missing(&mut self, i: usize, entry: &Entry, lost: bool) {
        let slow = self.is_slow(i);
        let counts = self.count(entry.due);
        match (slow, lost) {
            (true, _) => counts.slow_unanswered += 1,
            (false, true) => counts.lost += 1,
            (false, false) => counts.unanswered += 1,
        }
    }

    /// Connection `i` is lost and will be opened anew: what is out on it will have no reply.
    pub fn lose(&mut self, i: usize, exchange: &mut Exchange, now: Moment) {
        let mut written = true;
        while exchange.out.len > 0 {
            written &= exchange.out.head != exchange.unsent;
            let Some(entry) = self.in_flight.take_oldest(&mut exchange.out) else { break };
            self.partly.remove(&(i as u32, entry.index));
            self.never_answered(i, &entry, written, now);
            self.count_missing(i, &entry, false);
            if let Some(running) = &mut self.running {
                running.out -= 1;
            }
        }
        exchange.unsent = NONE;
        if let Some(running) = &mut self.running {
            running.forget(i as u32);
        }
    }

    /// Connection `i` has sent all the messages that a connection sends.
    pub fn has_sent_all(&self, i: usize, exchange: &Exchange) -> bool {
        let Some(each) = self.spec.messages_each else { return false };
        exchange.next_index - self.sent_before(i) >= each
    }

    /// Another connection that sends by the schedule, in the place of one that is not there.
    pub fn stand_in(&mut self) -> Option<usize> {
        let running = self.running.as_mut().filter(|running| running.is_open_loop())?;
        Some(running.stand_in() as usize)
    }

    /// Connection `i` closes, to be opened anew.
    pub fn leave(&mut self, i: usize) {
        if let Some(running) = &mut self.running {
            running.patience.leave(i as u32);
        }
    }

    /// Connection `i` closed to be opened anew, and is not back.
    pub fn is_away(&self, i: usize) -> bool {
        self.running.as_ref().is_some_and(|running| running.patience.is_away(i as u32))
    }
}
