//! Messages: sent when they are due, matched with what comes back, recorded.

use std::collections::{HashMap, HashSet};

use crate::engine::commands::{Event, Outcome, TickReport};
use crate::engine::connection::Stage;
use crate::engine::in_flight::{Entry, NONE};
use crate::engine::payload::Name;
use crate::engine::recorder::{Tally, Times};
use crate::engine::running::{Flow, Load, Patience, Running, Traffic};
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::protocol::frame::{self, Opcode};
use crate::protocol::hixie;

/// Sends in a row before replies are looked at again.
const BURST: usize = 16;

impl Worker {
    /// Begins to send.
    pub fn begin(&mut self, mut traffic: Traffic, now: u64) {
        let open: Vec<u32> =
            (0..self.conns.len()).filter(|i| self.conns[*i].stage == Stage::Open).map(|i| i as u32).collect();
        let active = traffic.active.min(open.len());
        let mut order: Vec<u32> = (0..active).map(|a| open[a * open.len() / active]).collect();
        self.rng.shuffle(&mut order);
        let due = match &mut traffic.load {
            _ if order.is_empty() => u64::MAX,
            Load::Open(cursor) => cursor.due(),
            Load::Closed(_) => traffic.begin,
        };
        let patience = match traffic.load {
            Load::Closed(_) => Patience { limit: self.spec.timeout, ..Patience::default() },
            Load::Open(_) => Patience::default(),
        };
        if let Some(gap) = self.spec.ping {
            self.next_ping = now + gap / open.len().max(1) as u64;
        }
        let tick = -((traffic.from - traffic.begin).div_ceil(traffic.tick) as i64);
        let tick_end = traffic.from.saturating_add_signed((tick + 1) * traffic.tick as i64);
        let (measured, warmup) = (self.empty_tally(), self.empty_tally());
        let running = Running {
            order,
            started: 0,
            due,
            measured,
            warmup,
            tick,
            tick_end,
            peaks: Vec::new(),
            out: 0,
            abandoned: 0,
            held_min: self.held,
            flow: Flow::new(traffic.from, traffic.to),
            unanswered: Times::default(),
            patience,
            busy_since: HashMap::new(),
            traffic,
        };
        self.running = Some(Box::new(running));
    }

    /// Sends what is due, but no more than a burst; returns the time.
    pub fn send_due(&mut self, mut now: u64) -> u64 {
        for _ in 0..BURST {
            let Some(running) = &mut self.running else { break };
            if running.due > now {
                break;
            }
            let due = running.due;
            if due >= running.traffic.to {
                running.due = u64::MAX;
                break;
            }
            match &mut running.traffic.load {
                Load::Open(cursor) => {
                    let i = running.order[cursor.pick(running.order.len())];
                    cursor.advance();
                    running.due = cursor.due();
                    self.submit(i as usize, due, now);
                }
                Load::Closed(pipeline) => {
                    // The first messages, a connection at a time.
                    let i = running.order[running.started];
                    running.started += 1;
                    if running.started == running.order.len() {
                        running.due = u64::MAX;
                    }
                    for _ in 0..*pipeline {
                        self.submit(i as usize, now, now);
                    }
                }
            }
            now = clock::now();
        }
        now
    }

    /// Sends the next message of connection `i`, which was due at `due`, or queues it behind those that wait.
    pub fn submit(&mut self, i: usize, due: u64, now: u64) {
        let running = self.running.as_mut().expect("only a run sends");
        let tally = if due < running.traffic.from { &mut running.warmup } else { &mut running.measured };
        let conn = &mut self.conns[i];
        if conn.stage != Stage::Open {
            tally.counts.not_sent += 1;
            return;
        }
        if self.spec.max_inflight.is_some_and(|max| conn.pending.len >= max) {
            tally.counts.capped += 1;
            return;
        }
        if let Load::Open(_) = running.traffic.load {
            tally.own_slip.record(now - due);
        }
        let slip = u32::try_from((now - due) / 1000).unwrap_or(u32::MAX);
        let name = Name { conn: self.spec.number(self.me, i) as u32, index: conn.next_index };
        conn.next_index += 1;
        let size = self.spec.messages.size(name);
        let entry = Entry { due, sent: now, slip, index: name.index, size: size as u32, next: NONE };
        let id = self.pending.push(&mut conn.pending, entry);
        running.out += 1;
        // Behind a message that waits, this one waits too; its frame is made when its turn comes.
        if conn.unsent == NONE && !self.transmit(i, id, now) {
            self.conns[i].unsent = id;
        }
    }

    /// Writes message `id` of connection `i`; false when it has to wait (its frame is in the outbox then).
    fn transmit(&mut self, i: usize, id: u32, now: u64) -> bool {
        let Entry { due, index, size, .. } = *self.pending.get(id);
        let messages = &self.spec.messages;
        let name = Name { conn: self.spec.number(self.me, i) as u32, index };
        messages.write(&mut self.payload, name, size as usize, due);
        self.frames.clear();
        let rng = &mut self.rng;
        let key = || rng.u32(..).to_ne_bytes();
        if self.spec.extras.draft.is_hixie() {
            hixie::write(&mut self.frames, &self.payload);
        } else {
            let (payload, compressed) = match &mut self.deflate {
                Some(deflate) => (deflate.compress(&self.payload), true),
                None => (&self.payload[..], false),
            };
            let (opcode, fragment) = (messages.opcode(), self.spec.fragment);
            frame::write_message(&mut self.frames, opcode, compressed, payload, fragment, key);
        }
        let frames = std::mem::take(&mut self.frames);
        let written = self.put(i, &frames);
        if written {
            self.sent(i, due, frames.len(), now);
        } else if let Some(outbox) = &mut self.conns[i].outbox {
            outbox.message = frames.len();
        }
        self.frames = frames;
        written
    }

    /// A message was written at `now`.
    fn sent(&mut self, i: usize, due: u64, bytes: usize, now: u64) {
        let Some(running) = &mut self.running else { return };
        let inflight = running.flow(1, now);
        self.gauges.set_inflight(inflight);
        let inside = running.inside(now);
        running.measured.counts.sent_inside += u64::from(inside);
        let tally = running.tally_at(due);
        tally.counts.sent += 1;
        tally.counts.bytes_sent += bytes as u64;
        if let Some(collector) = &mut running.traffic.collector {
            // No reply is owed to the sender.
            collector.published(due >= running.traffic.from);
            self.pending.take(&mut self.conns[i].pending, usize::MAX, |_| true);
            running.out -= 1;
            self.gauges.set_inflight(running.flow(-1, now));
        }
    }

    /// The outbox of connection `i` is empty: the message that waited, of `bytes` in all, is written, and those behind it
    /// may try.
    pub fn waited(&mut self, i: usize, bytes: usize) {
        let mut id = std::mem::replace(&mut self.conns[i].unsent, NONE);
        let mut written = true;
        while id != NONE {
            let now = clock::now();
            let entry = self.pending.get_mut(id);
            let Entry { due, sent: tried, next, .. } = *entry;
            entry.sent = now;
            if written {
                self.sent(i, due, bytes, now);
            } else if !self.transmit(i, id, now) {
                self.pending.get_mut(id).sent = tried;
                self.conns[i].unsent = id;
                return;
            }
            if let Some(running) = &mut self.running {
                running.tally_at(due).backpressure.record(now - tried);
            }
            (id, written) = (next, false);
        }
    }

    /// A pong: its payload says when the ping was sent.
    pub fn pong(&mut self, payload: &[u8], now: u64) {
        let sent = payload.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        if let (Some(running), Some(sent)) = (&mut self.running, sent)
            && payload.len() == 8
            && sent <= now
        {
            // It belongs to the time of its ping.
            let tally = running.tally_at(sent);
            tally.counts.pongs_received += 1;
            tally.ping.record(now - sent);
        }
    }

    /// Sends the pings that are due, connection after connection.
    pub fn send_pings(&mut self, now: u64) {
        let Some(gap) = self.spec.ping.filter(|_| self.next_ping <= now) else { return };
        let Some(running) = &mut self.running else { return };
        if now >= running.traffic.to {
            self.next_ping = u64::MAX;
            return;
        }
        self.next_ping += gap / self.conns.len().max(1) as u64;
        self.ping_turn = (self.ping_turn + 1) % self.conns.len().max(1);
        let i = self.ping_turn;
        if self.conns.get(i).is_some_and(|conn| conn.stage == Stage::Open) {
            running.tally_at(now).counts.pings_sent += 1;
            self.control(i, Opcode::Ping, &now.to_be_bytes());
        }
    }

    /// Hands over the tallies of the ticks that are over, and ends the run when nothing more can come.
    pub fn tick(&mut self, now: u64) {
        self.sweep(now);
        let Some(running) = &self.running else { return };
        let over = now >= running.traffic.until || now >= running.traffic.to && running.is_answered();
        if over {
            return self.finish(now);
        }
        while let Some(running) = &mut self.running
            && running.tick_end <= now
        {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let (measured, warmup) = (self.empty_tally(), self.empty_tally());
        let Some(running) = &mut self.running else { return };
        running.flow(0, running.tick_end);
        let report = TickReport {
            number: running.tick,
            measured: std::mem::replace(&mut running.measured, measured),
            warmup: std::mem::replace(&mut running.warmup, warmup),
        };
        running.tick += 1;
        running.tick_end += running.traffic.tick;
        self.tell(Event::Tick(Box::new(report)));
    }

    fn empty_tally(&self) -> Box<Tally> {
        self.spare.try_recv().unwrap_or_default()
    }

    /// The connections that send.
    pub fn senders(&self) -> HashSet<u32> {
        self.running.iter().flat_map(|running| &running.order).copied().collect()
    }

    /// Ends the run: messages without a reply are recorded at the age they have, since leaving them out would flatter.
    pub fn finish(&mut self, now: u64) {
        let Some(mut running) = self.running.take() else { return };
        running.flow(0, now);
        // What is still out when a run ends early might have been answered.
        let waited = now >= running.traffic.until;
        let closed = matches!(running.traffic.load, Load::Closed(_));
        let (mut silent, mut stuck) = (0, 0);
        for i in 0..self.conns.len() {
            let conn = &mut self.conns[i];
            let number = self.spec.number(self.me, i) as u64;
            silent += u64::from(waited && conn.seen == 0 && conn.pending.len > 0);
            if closed && waited && conn.stage == Stage::Open {
                stuck += u64::from(conn.pending.len);
            }
            let mut written = true;
            while conn.pending.head != NONE {
                written &= conn.pending.head != conn.unsent;
                let Some(entry) = self.pending.take(&mut conn.pending, 1, |_| true) else { break };
                running.record(&entry, number, now, now, 0, written);
                if written && entry.due >= running.traffic.from {
                    running.unanswered.record(now - entry.sent);
                }
                let counts = &mut running.tally_at(entry.due).counts;
                match entry.index < conn.seen {
                    true => counts.lost += 1,
                    false => counts.unanswered += 1,
                }
            }
            conn.unsent = NONE;
        }
        self.gauges.set_inflight(0);
        self.next_ping = u64::MAX;
        // Who was dropped on purpose is missing if it is not back when all is over.
        if self.recovery.is_some() && now >= running.traffic.to {
            running.held_min = running.held_min.min(self.held);
        }
        let outcome = Outcome {
            failures: std::mem::take(&mut self.failures),
            held_min: running.held_min,
            peaks: std::mem::take(&mut running.peaks),
            unanswered: std::mem::take(&mut running.unanswered),
            in_flight: running.flow.least(),
            silent,
            stuck,
            replaced: running.patience.replaced,
            recovery: self.recovery.take(),
            collector: running.traffic.collector.take(),
        };
        self.retries.clear();
        self.running = Some(running);
        self.hand_over();
        self.running = None;
        self.tell(Event::Finished(Box::new(outcome)));
    }
}
