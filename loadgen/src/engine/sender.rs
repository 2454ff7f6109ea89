//! Messages: taken off the schedule when they are due, matched with what comes back, recorded. No I/O and no clock:
//! whoever has a socket writes what [`Sender::encode`] gives and says when that was.

use std::sync::Arc;

use crate::engine::commands::{Outcome, TickReport, Traffic};
use crate::engine::in_flight::{Entry, Exchange, InFlight, NONE};
use crate::engine::payload::MessageId;
use crate::engine::recorder::{Counts, Recorder, Times};
use crate::engine::running::{Due, Running};
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
    /// Messages written and not answered.
    written: i64,
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
            rng: fastrand::Rng::with_seed(spec.seed ^ (me as u64) << 40),
            encoder: Encoder::new(extras.draft, extras.deflate, spec.fragment),
            spec,
            gauges,
            in_flight: InFlight::default(),
            payload: Vec::new(),
            frames: Vec::new(),
            written: 0,
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
        let mut order: Vec<u32> = (0..active).map(|a| open[a * open.len() / active]).collect();
        // The seed alone says whose turn it is, not what was sent before.
        fastrand::Rng::with_seed(self.seed()).shuffle(&mut order);
        if let Some(gap) = self.spec.ping {
            self.next_ping = now + gap / open.len().max(1) as u64;
        }
        let recorders = self.empty_recorders();
        self.running = Some(Box::new(Running::new(traffic, order, open.len() as u64, recorders)));
    }

    fn seed(&self) -> u64 {
        self.spec.seed ^ (self.me as u64) << 32
    }

    /// The connections that send.
    pub fn senders(&self) -> &[u32] {
        self.running.as_ref().map_or(&[], |running| running.senders())
    }

    /// Takes the next thing off the schedule that is due by `now`.
    pub fn next_due(&mut self, now: Moment) -> Option<Due> {
        self.running.as_mut()?.next_due(now)
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
        let open_loop = running.is_open_loop();
        let recorder = running.recorder_at(due);
        if !open {
            recorder.counts.not_sent += 1;
            return None;
        }
        if self.spec.max_inflight.is_some_and(|max| exchange.out.len >= max) {
            recorder.counts.capped += 1;
            return None;
        }
        if open_loop {
            recorder.own_slip.record(now - due);
        }
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index: exchange.next_index };
        exchange.next_index += 1;
        let size = self.spec.payloads.size(id);
        let entry = Entry { due, sent: now, index: id.index, size: size as u32, next: NONE };
        let message = self.in_flight.push(&mut exchange.out, entry);
        running.out += 1;
        (exchange.unsent == NONE).then_some(message)
    }

    /// The frames of `message`, of connection `i`.
    pub fn encode(&mut self, i: usize, message: u32) -> &[u8] {
        let Entry { due, index, size, .. } = *self.in_flight.get(message);
        let payloads = &self.spec.payloads;
        let id = MessageId { conn: self.spec.number(self.me, i) as u32, index };
        payloads.write(&mut self.payload, id, size as usize, due);
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
    pub fn written(&mut self, exchange: &mut Exchange, due: Moment, bytes: usize) {
        self.count_written(1);
        let Some(running) = &mut self.running else { return };
        let counts = &mut running.recorder_at(due).counts;
        counts.sent += 1;
        counts.bytes_sent += bytes as u64;
        let from = running.traffic.from;
        if let Some(collector) = &mut running.traffic.collector {
            // No reply is owed to the sender.
            collector.published(due >= from);
            self.in_flight.take_oldest(&mut exchange.out);
            running.out -= 1;
            self.count_written(-1);
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

    /// A read returned `n` bytes at `now`, `lag` after the wait before it.
    pub fn read(&mut self, n: usize, lag: Nanos, now: Moment) {
        if let Some(running) = &mut self.running {
            let recorder = running.recorder_at(now);
            recorder.read_lag.record(lag);
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

    /// The thread waited for `time`, until `now`.
    pub fn idle(&mut self, time: Nanos, now: Moment) {
        self.count(now).idle_ns += time.0;
    }

    /// A message has come on connection `i`; true when the next is to be sent for it.
    pub fn reply(
        &mut self,
        i: usize,
        exchange: &mut Exchange,
        opcode: Opcode,
        payload: &[u8],
        now: Moment,
    ) -> bool {
        let number = self.spec.number(self.me, i) as u32;
        let payloads = &self.spec.payloads;
        let Some(running) = &mut self.running else { return false };
        if let Some(collector) = &mut running.traffic.collector {
            collector.delivered(number, payloads.read_stamp(payload), now);
            return false;
        }
        let reply = if self.spec.verify {
            verify::identify(payloads, &mut self.in_flight, exchange, number, opcode, payload)
        } else {
            match self.in_flight.take_written(exchange, 1, |_| true) {
                Some(entry) => Reply::Answer { entry, corrupt: false, reordered: false },
                None => Reply::Stray,
            }
        };
        match reply {
            Reply::Answer { entry, corrupt, reordered } => {
                let counts = &mut running.recorder_at(entry.due).counts;
                counts.corrupt += u64::from(corrupt);
                counts.reordered += u64::from(reordered);
                return self.answered(number, &entry, now);
            }
            Reply::Duplicate => running.recorder_at(now).counts.duplicated += 1,
            Reply::Stray => running.recorder_at(now).counts.corrupt += 1,
        }
        false
    }

    /// The reply to `entry` was read at `now`; true when the next is to be sent for it.
    fn answered(&mut self, number: u32, entry: &Entry, now: Moment) -> bool {
        let late = self.spec.timeout.is_some_and(|limit| now - entry.sent > limit);
        self.count_written(-1);
        let Some(running) = &mut self.running else { return false };
        running.out -= 1;
        running.record(entry, u64::from(number), now, true);
        running.peak(entry, now);
        let counts = &mut running.recorder_at(entry.due).counts;
        counts.received += 1;
        counts.timeouts += u64::from(late);
        !running.is_open_loop() && now < running.traffic.to
    }

    /// A connection is gone: what is out on it will have no reply.
    pub fn abandon(&mut self, exchange: &Exchange) {
        if let Some(running) = &mut self.running {
            running.abandoned += u64::from(exchange.out.len);
        }
    }

    /// So many connections are open, or will be again.
    pub fn held(&mut self, held: u64) {
        if let Some(running) = &mut self.running {
            running.held_min = running.held_min.min(held);
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

    /// Ends the run on all connections' `exchanges`: messages without a reply are recorded at the age they have, since
    /// leaving them out would flatter. Returns the last tick, and what is known now; `None` when nothing ran.
    pub fn finish<'a>(
        &mut self,
        exchanges: impl Iterator<Item = &'a mut Exchange>,
        now: Moment,
    ) -> Option<(TickReport, Outcome)> {
        let mut running = self.running.take()?;
        let mut unanswered = Times::default();
        for (i, exchange) in exchanges.enumerate() {
            let number = self.spec.number(self.me, i) as u64;
            let mut written = true;
            while exchange.out.head != NONE {
                written &= exchange.out.head != exchange.unsent;
                let Some(entry) = self.in_flight.take_oldest(&mut exchange.out) else { break };
                running.record(&entry, number, now, written);
                if written && entry.due >= running.traffic.from {
                    unanswered.record(now - entry.sent);
                }
                let counts = &mut running.recorder_at(entry.due).counts;
                match entry.index < exchange.seen {
                    true => counts.lost += 1,
                    false => counts.unanswered += 1,
                }
            }
            exchange.unsent = NONE;
        }
        self.count_written(-self.written);
        self.next_ping = Moment::NEVER;
        let outcome = Outcome {
            held_min: running.held_min,
            peaks: running.take_peaks(),
            unanswered,
            collector: running.traffic.collector.take(),
            ..Outcome::default()
        };
        let recorders = self.empty_recorders();
        Some((running.end_tick(recorders), outcome))
    }

    /// Keeps the number of messages written and not answered, and what others see of it.
    fn count_written(&mut self, change: i64) {
        self.written += change;
        self.gauges.set_inflight(self.written);
    }
}
