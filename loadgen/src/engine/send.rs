//! Messages: sent when they are due, matched with what comes back, recorded.

use std::collections::HashSet;

use crate::engine::commands::{Event, Outcome, TickReport};
use crate::engine::connection::Stage;
use crate::engine::deliveries::Collector;
use crate::engine::in_flight::{Entry, NONE};
use crate::engine::payload::Name;
use crate::engine::recorder::{Counts, Tally, Times};
use crate::engine::schedule::Cursor;
use crate::engine::verify::{self, Reply};
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::protocol::frame::{self, Opcode};
use crate::protocol::hixie;
use crate::report::model::Slow;

/// Sends in a row before replies are looked at again.
const BURST: usize = 16;

/// The schedule's time is cut into pieces of this length to find stalls in.
const PEAK_NS: u64 = 10_000_000;

/// Pieces kept: an hour.
const PEAKS_MAX: usize = 360_000;

/// What to send, and for how long. Times are those of `clock::now`.
pub struct Traffic {
    pub load: Load,
    /// How many connections send.
    pub active: usize,
    /// Messages due before this are warm-up.
    pub from: u64,
    /// None is due after this.
    pub to: u64,
    /// Replies count until then.
    pub until: u64,
    /// Length of a tick.
    pub tick: u64,
    /// When the schedule begins.
    pub begin: u64,
    /// Replies go to everyone rather than to the sender.
    pub collector: Option<Box<Collector>>,
}

/// When to send.
pub enum Load {
    /// On a schedule, whatever comes back.
    Open(Cursor),
    /// As many as that in flight on each connection; a reply sends the next.
    Closed(u32),
}

/// A run under way.
pub struct Running {
    pub traffic: Traffic,
    /// The connections that send, in the order of their turns.
    order: Vec<u32>,
    /// Closed mode: the number of first messages sent.
    started: usize,
    /// When the next message is due.
    due: u64,
    measured: Box<Tally>,
    warmup: Box<Tally>,
    tick: i64,
    tick_end: u64,
    peaks: Vec<u32>,
    /// Messages without a reply, and how many of them never will have one.
    out: u64,
    pub abandoned: u64,
    pub held_min: u64,
}

impl Running {
    /// The tally of what belongs to time `t`.
    pub fn tally_at(&mut self, t: u64) -> &mut Tally {
        if t < self.traffic.from { &mut self.warmup } else { &mut self.measured }
    }

    /// Whether nothing more is waited for.
    fn is_answered(&self) -> bool {
        self.out <= self.abandoned && self.traffic.collector.as_ref().is_none_or(|c| c.is_complete())
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> u64 {
        let end = if self.is_answered() { self.traffic.to } else { self.traffic.until };
        self.due.min(self.tick_end).min(end)
    }
}

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
    fn submit(&mut self, i: usize, due: u64, now: u64) {
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
        let name = Name { conn: self.spec.number(self.me, i) as u32, index: conn.next_index };
        conn.next_index += 1;
        let size = self.spec.messages.size(name);
        let entry = Entry { due, sent: now, index: name.index, size: size as u32, next: NONE };
        let id = self.pending.push(&mut conn.pending, entry);
        running.out += 1;
        // Behind a message that waits, this one waits too; its frame is made when its turn comes.
        if conn.unsent == NONE && !self.transmit(i, id) {
            self.conns[i].unsent = id;
        }
    }

    /// Writes message `id` of connection `i`; false when it has to wait (its frame is in the outbox then).
    fn transmit(&mut self, i: usize, id: u32) -> bool {
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
            self.sent(i, due, frames.len());
        } else if let Some(outbox) = &mut self.conns[i].outbox {
            outbox.message = frames.len();
        }
        self.frames = frames;
        written
    }

    /// A message is written.
    fn sent(&mut self, i: usize, due: u64, bytes: usize) {
        self.inflight += 1;
        self.gauges.set_inflight(self.inflight);
        let Some(running) = &mut self.running else { return };
        let tally = running.tally_at(due);
        tally.counts.sent += 1;
        tally.counts.bytes_sent += bytes as u64;
        if let Some(collector) = &mut running.traffic.collector {
            // No reply is owed to the sender.
            collector.published(due >= running.traffic.from);
            self.pending.take(&mut self.conns[i].pending, usize::MAX, |_| true);
            running.out -= 1;
            self.inflight -= 1;
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
                self.sent(i, due, bytes);
            } else if !self.transmit(i, id) {
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
        let reply = if self.spec.verify {
            verify::identify(messages, &mut self.pending, conn, number, opcode, payload)
        } else {
            match self.pending.take(&mut conn.pending, 1, |_| true) {
                Some(entry) => Reply::Answer { entry, corrupt: false, reordered: false },
                None => Reply::Stray,
            }
        };
        match reply {
            Reply::Answer { entry, corrupt, reordered } => {
                let counts = &mut running.tally_at(entry.due).counts;
                counts.corrupt += u64::from(corrupt);
                counts.reordered += u64::from(reordered);
                self.answered(i, &entry, now);
            }
            Reply::Duplicate => running.tally_at(now).counts.duplicated += 1,
            Reply::Stray => running.tally_at(now).counts.corrupt += 1,
        }
    }

    /// The reply to `entry` was read at `now`.
    fn answered(&mut self, i: usize, entry: &Entry, now: u64) {
        let late = self.spec.timeout.is_some_and(|limit| now - entry.sent > limit);
        let conn = self.spec.number(self.me, i) as u64;
        let Some(running) = &mut self.running else { return };
        running.out -= 1;
        self.inflight -= 1;
        self.gauges.set_inflight(self.inflight);
        running.record(entry, conn, now, true);
        running.peak(entry, now);
        let counts = &mut running.tally_at(entry.due).counts;
        counts.received += 1;
        counts.timeouts += u64::from(late);
        if matches!(running.traffic.load, Load::Closed(_)) && now < running.traffic.to {
            self.submit(i, now, now);
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
        let mut unanswered = Times::default();
        for i in 0..self.conns.len() {
            let conn = &mut self.conns[i];
            let number = self.spec.number(self.me, i) as u64;
            let mut written = true;
            while conn.pending.head != NONE {
                written &= conn.pending.head != conn.unsent;
                let Some(entry) = self.pending.take(&mut conn.pending, 1, |_| true) else { break };
                running.record(&entry, number, now, written);
                if written && entry.due >= running.traffic.from {
                    unanswered.record(now - entry.sent);
                }
                let counts = &mut running.tally_at(entry.due).counts;
                match entry.index < conn.seen {
                    true => counts.lost += 1,
                    false => counts.unanswered += 1,
                }
            }
            conn.unsent = NONE;
        }
        self.inflight = 0;
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
            unanswered,
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

impl Running {
    /// Records the times of a message that ended at `now`, by its reply or by our patience.
    fn record(&mut self, entry: &Entry, conn: u64, now: u64, written: bool) {
        let Traffic { from, to, .. } = self.traffic;
        let response = now - entry.due;
        let tally = if entry.due < from { &mut self.warmup } else { &mut self.measured };
        tally.response.record(response);
        if written {
            tally.wire.record(now - entry.sent);
        }
        tally.slowest.offer(response, || Slow {
            t_ns: entry.due.saturating_sub(from),
            conn,
            response_ns: response,
            own_slip_ns: entry.sent - entry.due,
            size: u64::from(entry.size),
        });
        // For Little's law only time within the measured window counts, whichever message it is.
        if written {
            self.measured.counts.flight_ns += now.min(to).saturating_sub(entry.sent.max(from));
        }
    }

    /// Keeps the longest response of each piece of the schedule; of replies only, since what never came is no stall.
    fn peak(&mut self, entry: &Entry, now: u64) {
        let from = self.traffic.from;
        if entry.due >= from {
            let piece = ((entry.due - from) / PEAK_NS) as usize;
            if piece < PEAKS_MAX {
                if self.peaks.len() <= piece {
                    self.peaks.resize(piece + 1, 0);
                }
                let micros = u32::try_from((now - entry.due) / 1000).unwrap_or(u32::MAX);
                self.peaks[piece] = self.peaks[piece].max(micros);
            }
        }
    }
}
