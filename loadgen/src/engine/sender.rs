//! Messages: taken off the schedule when they are due, matched with what comes back, recorded. No I/O and no clock:
//! whoever has a socket writes what [`Sender::encode`] gives and says when that was.

mod talk;

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::commands::{Outcome, TickReport, Traffic};
use crate::engine::deliveries::locked;
use crate::engine::in_flight::{Entry, Exchange, InFlight, NONE};
use crate::engine::patience::GivenUp;
use crate::engine::payload::{Matched, Matching, MessageId};
use crate::engine::recorder::{Counts, Recorder};
use crate::engine::running::{Arrival, Due, Running};
use crate::engine::spec::{Gauges, Spec};
use crate::engine::verify::{self, Reply};
use crate::host::clock::{Moment, Nanos};
use crate::protocol::encoder::Encoder;
use crate::protocol::frame::Opcode;

/// One thread's messages.
pub struct Sender {
    me: usize,
    spec: Arc<Spec>,
    gauges: Arc<Gauges>,
    rng: fastrand::Rng,
    encoder: Encoder,
    in_flight: InFlight,
    /// The payload and the frames of the message being sent.
    payload: Vec<u8>,
    frames: Vec<u8>,
    /// Messages of which a part of the reply has come, by connection and index: how many.
    partly: HashMap<(u32, u32), u32>,
    /// Where nothing is sent: when each connection heard something last.
    heard: Vec<Moment>,
    /// What the wall clock shows more than the engine's, nanoseconds.
    wall_offset: u64,
    /// Where connections are opened anew: what each had sent before.
    sent_before: Vec<u32>,
    /// When something of the server's came last.
    last_sign: Moment,
    running: Option<Box<Running>>,
    /// What happens while no run is under way.
    uncounted: Counts,
    /// The next ping and the connection it goes to.
    next_ping: Moment,
    ping_turn: usize,
    /// Recorders that came back empty, to be used again.
    #[expect(clippy::vec_box, reason = "they come and go as boxes")]
    spare: Vec<Box<Recorder>>,
}

impl Sender {
    /// Of thread `me`, with nothing to send yet.
    pub fn new(me: usize, spec: Arc<Spec>, gauges: Arc<Gauges>) -> Sender {
        let extras = &spec.rules.extras;
        Sender {
            me,
            // No two processes of a sharded run draw the same.
            rng: fastrand::Rng::with_seed(spec.seed ^ (spec.number(me, 0) as u64) << 40),
            encoder: Encoder::new(extras.draft, extras.deflate, spec.fragment),
            spec,
            gauges,
            in_flight: InFlight::default(),
            payload: Vec::new(),
            frames: Vec::new(),
            partly: HashMap::new(),
            heard: Vec::new(),
            wall_offset: 0,
            sent_before: Vec::new(),
            last_sign: Moment(0),
            running: None,
            uncounted: Counts::default(),
            next_ping: Moment::NEVER,
            ping_turn: 0,
            spare: Vec::new(),
        }
    }

    /// Begins a run on the connections `open`, of which as many as `traffic` says send.
    pub fn begin(&mut self, traffic: Traffic, open: &[u32], now: Moment) {
        let active = traffic.active.min(open.len());
        let mut order: Vec<u32> = match self.spec.publishers {
            Some(n) => open.iter().copied().filter(|i| self.spec.number(self.me, *i as usize) < n).collect(),
            None => (0..active).map(|a| open[a * open.len() / active]).collect(),
        };
        // The seed alone says whose turn it is, not what was sent before.
        fastrand::Rng::with_seed(self.seed()).shuffle(&mut order);
        if let Some(gap) = self.spec.ping {
            self.next_ping = now + gap / open.len().max(1) as u64;
        }
        let recorders = self.empty_recorders();
        self.running =
            Some(Box::new(Running::new(traffic, order, open.len() as u64, self.spec.timeout, recorders)));
        self.begin_to_think();
    }

    /// Has every connection that sends think before its first messages.
    fn begin_to_think(&mut self) {
        let Some(running) = self.running.as_mut().filter(|running| running.thinks()) else { return };
        let (begin, pipeline) = (running.traffic.begin, running.pipeline().unwrap_or(1));
        for connection in running.senders().to_vec() {
            let before = self.sent_before.get(connection as usize).copied().unwrap_or(0);
            for _ in 0..pipeline {
                running.begin_to_think(connection, before, begin, &mut self.rng);
            }
        }
    }

    fn seed(&self) -> u64 {
        self.spec.seed ^ (self.me as u64) << 32
    }

    /// The connections that send.
    pub fn senders(&self) -> &[u32] {
        self.running.as_ref().map_or(&[], |running| running.senders())
    }

    /// Takes the next thing off the schedule that is due by `now`. What a connection thought of before it was opened anew is
    /// forgotten.
    pub fn next_due(&mut self, now: Moment) -> Option<Due> {
        loop {
            let due = self.running.as_mut()?.next_due(now)?;
            if due.thought_after.is_none_or(|before| before == self.sent_before(due.connection as usize)) {
                return Some(due);
            }
        }
    }

    /// How many messages connection `i` had sent before it was opened anew.
    pub(super) fn sent_before(&self, i: usize) -> u32 {
        self.sent_before.get(i).copied().unwrap_or(0)
    }

    /// Adds the next message of connection `i`, which was due at `due`, to those in flight. Returns it when it is to be
    /// written now: not when the connection is not `open`, has too many out, or when an earlier one still waits for the
    /// socket, behind which this one does then.
    pub fn submit(
        &mut self,
        i: usize,
        exchange: &mut Exchange,
        open: bool,
        due: Moment,
        now: Moment,
    ) -> Option<u32> {
        let running = self.running.as_mut()?;
        let recorder = running.recorder_at(due);
        if !open {
            recorder.counts.not_sent += 1;
            return None;
        }
        if self.spec.max_inflight.is_some_and(|max| exchange.out.len >= max) {
            recorder.counts.capped += 1;
            return None;
        }
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index: exchange.next_index };
        exchange.next_index += 1;
        let size = self.spec.payloads.size(id);
        let entry = Entry { due, sent: now, slip: 0, index: id.index, size: size as u32, next: NONE };
        let message = self.in_flight.push(&mut exchange.out, entry);
        running.out += 1;
        if exchange.unsent != NONE {
            self.tried(message, now);
            return None;
        }
        Some(message)
    }

    /// Message `message` was tried first at `now`: up to then it was late because of loadgen.
    pub fn tried(&mut self, message: u32, now: Moment) {
        let entry = self.in_flight.get_mut(message);
        let (due, slip) = (entry.due, now - entry.due);
        entry.sent = now;
        entry.slip = u32::try_from(slip.0 / 1000).unwrap_or(u32::MAX);
        if let Some(running) = &mut self.running
            && (running.is_open_loop() || running.thinks())
        {
            running.recorder_at(due).own_slip.record(slip);
        }
    }

    /// The frames of `message`, of connection `i`, which keeps `kept`; `wall` is the time for people.
    pub fn encode(&mut self, i: usize, message: u32, wall: u64, kept: &[Vec<u8>]) -> &[u8] {
        let Entry { due, index, size, .. } = *self.in_flight.get(message);
        let payloads = &self.spec.payloads;
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index };
        match payloads.template(id) {
            None => payloads.write(&mut self.payload, id, size as usize, due),
            Some(template) => {
                let before = self.sent_before(i);
                let (seq, stamp) = (u64::from(index - before), payloads.stamp_digits(id, due));
                self.payload.clear();
                let rng = &mut self.rng;
                template.write(&mut self.payload, &mut self.spec.values(id, seq, wall, &stamp, kept, rng));
                self.in_flight.get_mut(message).size = self.payload.len() as u32;
            }
        }
        self.frames.clear();
        let rng = &mut self.rng;
        let key = || rng.u32(..).to_ne_bytes();
        self.encoder.message(&mut self.frames, payloads.opcode(), &self.payload, key);
        &self.frames
    }

    /// A control frame.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8]) -> &[u8] {
        self.frames.clear();
        let key = self.rng.u32(..).to_ne_bytes();
        self.encoder.control(&mut self.frames, opcode, payload, key);
        &self.frames
    }

    /// The message that was due at `due` is written, in so many `bytes`.
    pub fn written(&mut self, i: usize, exchange: &mut Exchange, due: Moment, bytes: usize, now: Moment) {
        let slow = self.is_slow(i);
        self.count_written(i64::from(!slow), now);
        let Some(running) = &mut self.running else { return };
        running.count_sent(now);
        let counts = &mut running.recorder_at(due).counts;
        counts.sent += 1;
        counts.bytes_sent += bytes as u64;
        let from = running.traffic.from;
        if let Some(collector) = &running.traffic.collector {
            // No reply is owed to the sender.
            let entry = self.in_flight.take_oldest(&mut exchange.out);
            let (index, slip) = entry.map_or((0, 0), |entry| (entry.index, entry.slip));
            let message = (self.spec.number(self.me, i) as u32, index);
            locked(collector).published(message, Nanos(u64::from(slip) * 1000), due >= from);
            running.out -= 1;
            self.count_written(-i64::from(!slow), now);
        }
    }

    /// Says that `message` was written at `sent`, and returns what was said of it before.
    pub fn sent_at(&mut self, message: u32, sent: Moment) -> Entry {
        let entry = self.in_flight.get_mut(message);
        let before = *entry;
        entry.sent = sent;
        before
    }

    /// A message that was due at `due` had to wait `time` for the socket.
    pub fn waited(&mut self, due: Moment, time: Nanos) {
        if let Some(running) = &mut self.running {
            running.recorder_at(due).backpressure.record(time);
        }
    }

    /// A read returned `n` bytes.
    pub fn read(&mut self, n: usize, arrival: Arrival) {
        self.last_sign = self.last_sign.max(arrival.at);
        if let Some(running) = &mut self.running {
            let recorder = running.recorder_at(arrival.read);
            recorder.read_lag.record(arrival.lag);
            recorder.counts.reads += 1;
            recorder.counts.reads_stamped += u64::from(arrival.stamped);
            recorder.counts.bytes_received += n as u64;
        }
    }

    /// Where to count what happens at `now`; nowhere in particular when nothing is being measured.
    pub fn count(&mut self, now: Moment) -> &mut Counts {
        match &mut self.running {
            Some(running) => &mut running.recorder_at(now).counts,
            None => &mut self.uncounted,
        }
    }

    /// The thread waited from one time to another.
    pub fn idle(&mut self, from: Moment, to: Moment) {
        if let Some(running) = &mut self.running {
            running.idle(from, to);
        }
    }

    /// A message has come on connection `i`; true when the next is to be sent for it.
    pub fn reply(
        &mut self,
        i: usize,
        exchange: &mut Exchange,
        opcode: Opcode,
        payload: &[u8],
        arrival: Arrival,
    ) -> bool {
        let now = arrival.read;
        let number = self.spec.number(self.me, i) as u32;
        if self.is_delivery(i, number, payload, arrival) {
            return false;
        }
        let slow = self.is_slow(i);
        let payloads = &self.spec.payloads;
        let (matching, matched) = (self.spec.matching(), self.spec.matched.as_ref());
        let check = self.spec.verify && payloads.can_check() && matched.is_none();
        let named = match matched {
            Some(Matched::Number { pattern, hole }) => {
                let before = self.sent_before.get(i).copied().unwrap_or(0);
                let index = |number| u32::try_from(number).ok()?.checked_add(before);
                Some(pattern.number(payload, *hole).and_then(index))
            }
            None if matching == Matching::Stamp && (!payloads.can_check() || self.spec.replies > 1) => {
                let stamp = payloads.find_stamp(payload).filter(|stamp| stamp.id.conn == number);
                Some(stamp.map(|stamp| stamp.id.index))
            }
            _ => None,
        };
        if self.spec.replies > 1 && self.more_come(i, exchange, named, arrival) {
            return false;
        }
        let payloads = &self.spec.payloads;
        let Some(running) = &mut self.running else { return false };
        let newest = self.in_flight.newest(&exchange.out).map(|e| e.due);
        let reply = match named {
            Some(index) => verify::numbered(&mut self.in_flight, exchange, index),
            None if matching == Matching::Order && !check => verify::next(&mut self.in_flight, exchange),
            None => verify::identify(payloads, &mut self.in_flight, exchange, number, opcode, payload, check),
        };
        match reply {
            Reply::Answer { entry, corrupt, reordered } => {
                let counts = &mut running.recorder_at(entry.due).counts;
                counts.corrupt += u64::from(corrupt);
                counts.reordered += u64::from(reordered);
                if let (Matching::Order, Some(newest), false) = (matching, newest, slow) {
                    running.bound(i as u32, entry.due, newest, exchange.out.len == 0, arrival.at);
                }
                return self.answered(i, number, &entry, arrival);
            }
            Reply::Duplicate(index) if running.patience.came_late(i as u32, index) => {
                running.recorder_at(now).counts.late += 1;
            }
            Reply::Duplicate(_) => running.recorder_at(now).counts.duplicated += 1,
            Reply::Stray => running.recorder_at(now).counts.corrupt += 1,
            Reply::Unsolicited { alike } => {
                let counts = &mut running.recorder_at(now).counts;
                counts.unsolicited += 1;
                counts.alike += u64::from(alike);
                counts.pushed += u64::from(matching == Matching::Order && !check);
            }
        }
        false
    }

    /// The reply to `entry` has come; true when the next is to be sent for it.
    fn answered(&mut self, i: usize, number: u32, entry: &Entry, arrival: Arrival) -> bool {
        let slow = self.is_slow(i);
        self.count_written(-i64::from(!slow), arrival.read);
        let limit = self.spec.timeout;
        let Some(running) = &mut self.running else { return false };
        let limit = limit.filter(|_| !running.patience.is_limited());
        let late = limit.is_some_and(|limit| arrival.at - entry.sent > limit);
        running.out -= 1;
        if slow {
            running.record_slow(entry, arrival);
        } else {
            running.record(entry, u64::from(number), arrival, true);
            running.peak(entry, arrival.at);
        }
        running.count_answered(arrival.read);
        let counts = &mut running.recorder_at(entry.due).counts;
        counts.received += 1;
        counts.slow_received += u64::from(slow);
        counts.timeouts += u64::from(late);
        if running.thinks() {
            let before = self.sent_before.get(i).copied().unwrap_or(0);
            running.begin_to_think(i as u32, before, arrival.read, &mut self.rng);
            return false;
        }
        self.goes_on(arrival.read)
    }

    /// A closed loop sends the next message for one that is done at `now`.
    fn goes_on(&self, now: Moment) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_open_loop() && now < running.traffic.to)
    }

    /// The connections to look at for messages that have waited too long.
    pub fn to_look_at(&mut self, now: Moment) -> Vec<u32> {
        let Some(running) = &mut self.running else { return Vec::new() };
        let slice = running.patience.slice(running.senders().len(), now);
        running.senders()[slice].to_vec()
    }

    /// The oldest message out was written longer ago than a closed loop waits.
    pub fn is_overdue(&self, exchange: &Exchange, now: Moment) -> bool {
        let oldest = self.in_flight.oldest_written(exchange);
        let patience = self.running.as_ref().map(|running| &running.patience);
        patience.zip(oldest).is_some_and(|(patience, oldest)| patience.is_over(oldest.sent, now))
    }

    /// Gives up the oldest message of connection `i`, and the connection where a late reply could not be told from the
    /// next one's.
    pub fn give_up(&mut self, i: usize, exchange: &mut Exchange, now: Moment) -> GivenUp {
        let told_apart = matches!(self.spec.matching(), Matching::Stamp | Matching::Number);
        let connection = i as u32;
        let mut written = true;
        while exchange.out.len > 0 {
            written &= exchange.out.head != exchange.unsent;
            let Some(entry) = self.in_flight.take_oldest(&mut exchange.out) else { break };
            self.partly.remove(&(connection, entry.index));
            self.never_answered(i, &entry, written, now);
            let Some(running) = &mut self.running else { break };
            running.out -= 1;
            self.count_missing(i, &entry, false);
            let Some(running) = &mut self.running else { break };
            if told_apart {
                running.patience.give_up(connection, entry.index);
                return GivenUp::Message;
            }
        }
        exchange.unsent = NONE;
        if let Some(running) = &mut self.running {
            running.forget(connection);
            running.patience.replace(connection);
        }
        GivenUp::Connection
    }

    /// Connection `i` is open. In the place of one that was given up it takes up so many messages, at once or after it has
    /// thought.
    pub fn opened(&mut self, i: usize, exchange: &Exchange, now: Moment) -> u32 {
        if self.spec.messages_each.is_some() {
            self.sent_before.resize(self.sent_before.len().max(i + 1), 0);
            self.sent_before[i] = exchange.next_index;
        }
        let (goes_on, before) = (self.goes_on(now), self.sent_before(i));
        let Some(running) = &mut self.running else { return 0 };
        let back = running.patience.is_back(i as u32);
        let messages = running.pipeline().filter(|_| back && goes_on).unwrap_or(0);
        if !running.thinks() {
            return messages;
        }
        for _ in 0..messages {
            running.begin_to_think(i as u32, before, now, &mut self.rng);
        }
        0
    }

    /// Connection `i` will not be open again.
    pub fn not_opened(&mut self, i: usize) {
        if let Some(running) = &mut self.running {
            running.patience.is_back(i as u32);
        }
    }

    /// A message had no reply until `now`: it is recorded at the age it has, since leaving it out would flatter.
    fn never_answered(&mut self, i: usize, entry: &Entry, written: bool, now: Moment) {
        let slow = self.is_slow(i);
        self.count_written(-i64::from(written && !slow), now);
        let number = self.spec.number(self.me, i) as u64;
        let Some(running) = &mut self.running else { return };
        if slow {
            return running.record_slow(entry, Arrival::never(now));
        }
        running.record(entry, number, Arrival::never(now), written);
        if written && entry.due >= running.traffic.from {
            running.unanswered.record(now - entry.sent);
        }
    }

    /// A connection is gone: what is out on it will have no reply.
    pub fn abandon(&mut self, exchange: &Exchange) {
        if let Some(running) = &mut self.running {
            running.abandoned += u64::from(exchange.out.len);
        }
    }

    /// So many connections are open, or will be again, besides those that were given up and are being opened anew.
    pub fn held(&mut self, held: u64) {
        if let Some(running) = &mut self.running {
            running.held_min = running.held_min.min(held + running.patience.away());
        }
    }

    /// A pong: its payload says when the ping was sent.
    pub fn pong(&mut self, payload: &[u8], now: Moment) {
        let sent = payload.try_into().ok().map(|bytes| Moment(u64::from_be_bytes(bytes)));
        if let (Some(running), Some(sent)) = (&mut self.running, sent.filter(|sent| *sent <= now)) {
            // It belongs to the time of its ping.
            let recorder = running.recorder_at(sent);
            recorder.counts.pongs_received += 1;
            recorder.ping.record(now - sent);
        }
    }

    /// The connection that is to be pinged now, of `connections`.
    pub fn next_ping(&mut self, connections: usize, now: Moment) -> Option<usize> {
        let gap = self.spec.ping.filter(|_| self.next_ping <= now)?;
        let running = self.running.as_ref()?;
        if now >= running.traffic.to {
            self.next_ping = Moment::NEVER;
            return None;
        }
        self.next_ping = self.next_ping + gap / connections.max(1) as u64;
        self.ping_turn = (self.ping_turn + 1) % connections.max(1);
        Some(self.ping_turn)
    }

    /// Whether a reply is to be looked for without sleeping.
    pub fn looks_out(&self) -> bool {
        self.spec.spin_read && self.running.as_ref().is_some_and(|running| running.awaits_replies())
    }

    /// When something is to be done though no event comes.
    pub fn alarm(&self) -> Moment {
        let run = self.running.as_ref().map_or(Moment::NEVER, |running| running.alarm());
        run.min(self.next_ping)
    }

    /// Nothing more can come.
    pub fn is_over(&self, now: Moment) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_over(now))
    }

    /// No message is due any more.
    pub fn schedule_is_over(&self, now: Moment) -> bool {
        self.running.as_ref().is_some_and(|running| now >= running.traffic.to)
    }

    /// The next tick that is over by `now`.
    pub fn next_tick(&mut self, now: Moment) -> Option<TickReport> {
        if !self.running.as_ref()?.tick_is_over(now) {
            return None;
        }
        let recorders = self.empty_recorders();
        Some(self.running.as_mut()?.end_tick(recorders))
    }

    /// Takes an empty recorder back.
    pub fn recycle(&mut self, recorder: Box<Recorder>) {
        self.spare.push(recorder);
    }

    fn empty_recorders(&mut self) -> [Box<Recorder>; 2] {
        std::array::from_fn(|_| self.spare.pop().unwrap_or_default())
    }

    /// Ends the run on the `exchanges` of all connections, with whether each is open. Returns the last tick, and what is
    /// known now; `None` when nothing ran.
    pub fn finish<'a>(
        &mut self,
        exchanges: impl Iterator<Item = (&'a mut Exchange, bool)>,
        now: Moment,
    ) -> Option<(TickReport, Outcome)> {
        // What is still out when a run ends early might have been answered.
        let waited = now >= self.running.as_ref()?.traffic.until;
        let closed = !self.running.as_ref()?.is_open_loop();
        let (mut silent, mut stuck) = (0, 0);
        for (i, (exchange, open)) in exchanges.enumerate() {
            let waited = waited && !self.is_slow(i);
            silent += u64::from(waited && exchange.seen == 0 && exchange.out.len > 0);
            stuck += u64::from(if waited && closed && open { exchange.out.len } else { 0 });
            let mut written = true;
            while exchange.out.head != NONE {
                written &= exchange.out.head != exchange.unsent;
                let Some(entry) = self.in_flight.take_oldest(&mut exchange.out) else { break };
                self.never_answered(i, &entry, written, now);
                self.count_missing(i, &entry, entry.index < exchange.seen);
            }
            exchange.unsent = NONE;
        }
        self.gauges.set_inflight(0);
        self.partly.clear();
        self.next_ping = Moment::NEVER;
        let mut running = self.running.take()?;
        running.flow(0, now);
        let outcome = Outcome {
            held_min: running.held_min,
            peaks: running.take_peaks(),
            unanswered: std::mem::take(&mut running.unanswered),
            in_flight: running.least_in_flight(),
            silent,
            stuck,
            replaced: running.patience.replaced(),
            ..Outcome::default()
        };
        let recorders = self.empty_recorders();
        Some((running.end_tick(recorders), outcome))
    }

    /// Keeps the number of messages written and not answered, and what others see of it.
    fn count_written(&mut self, change: i64, now: Moment) {
        if let Some(running) = &mut self.running {
            self.gauges.set_inflight(running.flow(change, now));
        }
    }
}
