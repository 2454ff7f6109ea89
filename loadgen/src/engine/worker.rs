//! One thread: its connections, and the loop that wires the schedule, the connector and the sessions to a network.
//!
//! The thread does what [`Command`]s say and tells what happened in [`Event`]s; the modes (`run`, `conns`, …) are
//! scripts of commands.

mod lifecycle;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Channel};

use crate::engine::commands::{Command, Event, Outcome};
use crate::engine::connection::{Connection, Stage};
use crate::engine::connector::{Connector, Pace};
use crate::engine::conversation::{Aside, Conversations};
use crate::engine::in_flight::{Entry, NONE};
use crate::engine::network::{Network, Readiness};
use crate::engine::opened::Failures;
use crate::engine::recorder::Recorder;
use crate::engine::running::Arrival;
use crate::engine::sender::Sender;
use crate::engine::silence::Silence;
use crate::engine::slow::Rests;
use crate::engine::spec::{Gauges, Spec};
use crate::engine::transport::{Flushed, Input, Kind};
use crate::host::clock::Moment;
use crate::protocol::deflate::Inflater;
use crate::protocol::frame::Opcode;
use crate::protocol::session::Received;
use crate::protocol::template::Template;
use crate::protocol::tls::Buffers;

/// One read. Large enough for any message that is not itself large.
const SCRATCH: usize = 64 * 1024;

/// Bytes read from one connection before the others get their turn.
const TURN: usize = 1 << 20;

/// What a read of records without any text in them counts as.
const RECORD: usize = 4096;

/// Connections that are asked whether they can send in the place of one that is opened anew.
const STAND_INS: usize = 64;

/// Sends in a row before replies are looked at again.
const SENDS: usize = 16;

/// The thread.
pub struct Worker<N: Network> {
    me: usize,
    spec: Arc<Spec>,
    gauges: Arc<Gauges>,
    network: N,
    commands: Receiver<Command>,
    events: Channel<(usize, Event)>,
    /// Recorders that come back empty.
    spare: Receiver<Box<Recorder>>,

    connections: Vec<Connection<N::Socket>>,
    connector: Connector,
    sender: Sender,
    conversations: Conversations,
    /// With `--slow-readers`.
    rests: Rests,
    silence: Silence,
    /// With `wss://`.
    records: Buffers,
    reader: Reader,
    /// What the last wait told.
    ready: Vec<Readiness>,
    /// What the clock said last, and when the last wait ended and the one before it.
    now: Moment,
    woken: Moment,
    looked: Moment,

    /// Open connections.
    held: u64,
    failures: Failures,
    /// How many segments had been sent again when the run began.
    sent_again: u64,
    /// When to stop waiting for the server to close, once we did.
    closing_until: Option<Moment>,
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Bytes<'a> {
    Request(&'a [u8]),
    Control(Opcode, &'a [u8]),
    /// One of the opening words, or the answer to a heartbeat.
    Words(&'a Template),
    /// A message in flight.
    Message(u32),
}

/// What takes the bytes of one read. It leaves the worker while its content is looked at.
#[derive(Default)]
struct Reader {
    scratch: Vec<u8>,
    /// With `--deflate`.
    inflater: Option<Box<Inflater>>,
}

impl<N: Network> Worker<N> {
    /// Thread number `me`, which takes `commands` and answers with `events`; `spare` gives its recorders back to it.
    pub fn new(
        me: usize,
        spec: Arc<Spec>,
        gauges: Arc<Gauges>,
        mut network: N,
        commands: Receiver<Command>,
        events: Channel<(usize, Event)>,
        spare: Receiver<Box<Recorder>>,
    ) -> Worker<N> {
        let pace =
            Pace { rate: spec.connect_rate, under_way: spec.connect_inflight, timeout: spec.connect_timeout };
        let inflater = spec.rules.extras.deflate.then(Box::default);
        Worker {
            me,
            connector: Connector::new(pace, spec.seed ^ (spec.number(me, 0) as u64) << 44),
            sender: Sender::new(me, spec.clone(), gauges.clone()),
            conversations: Conversations::default(),
            rests: Rests::default(),
            silence: Silence::new(spec.silence),
            records: Buffers::default(),
            reader: Reader { scratch: vec![0; SCRATCH], inflater },
            now: network.now(),
            spec,
            gauges,
            network,
            commands,
            events,
            spare,
            connections: Vec::new(),
            ready: Vec::new(),
            woken: Moment(0),
            looked: Moment(0),
            held: 0,
            failures: Failures::new(),
            sent_again: 0,
            closing_until: None,
        }
    }

    /// Works until told to close.
    pub fn work(mut self) {
        // The default slack of 50 µs would be own slip in every message.
        let _ = nix::sys::prctl::set_timerslack(1);
        let end = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Event::Closed,
                Err(e) => break Event::Failed(e),
            }
        };
        self.tell(end);
    }

    /// Does what is due, waits, and takes what has come; false when all is closed.
    ///
    /// # Errors
    /// When the network can wait no more.
    pub fn turn(&mut self) -> io::Result<bool> {
        while let Ok(command) = self.commands.try_recv() {
            self.run_command(command);
        }
        self.open_connections();
        self.send_due();
        self.send_ping();
        self.give_up_overdue();
        self.read_slowly();
        self.lose_silent();
        self.end_ticks();
        if let Some(until) = self.closing_until
            && (until <= self.now || !self.connections.iter().any(|c| c.transport.is_open()))
        {
            return Ok(false);
        }
        self.wait()?;
        let ready = std::mem::take(&mut self.ready);
        for readiness in &ready {
            self.take_turn(*readiness);
            self.send_due();
        }
        self.ready = ready;
        Ok(true)
    }

    /// Waits for the network or the next alarm; for less than `spin`, and with `spin_read` while
    /// replies are due, it looks at the network without sleeping.
    fn wait(&mut self) -> io::Result<()> {
        let (before, spin) = (self.now, self.spec.spin);
        let mut alarm = self.connector.alarm().min(self.sender.alarm());
        alarm = alarm.min(self.rests.alarm()).min(self.silence.alarm());
        if let Some(until) = self.closing_until {
            alarm = alarm.min(until);
        }
        let until = match alarm {
            _ if self.sender.looks_out() => None,
            Moment::NEVER => Some(Moment::NEVER),
            _ => (alarm > before + spin).then(|| alarm - spin),
        };
        self.ready.clear();
        self.network.wait(until, &mut self.ready)?;
        self.read_clock();
        (self.looked, self.woken) = (self.woken, self.now);
        // A look that finds nothing while spinning is waiting, too.
        if until.is_some() || self.ready.is_empty() {
            self.sender.idle(before, self.now);
        }
        Ok(())
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::Open(upto) => {
                let all = self.connector.open(upto, self.now);
                self.connections.reserve_exact(all - self.connections.len());
            }
            Command::Run(traffic) => {
                let open: Vec<u32> = self.numbers(|connection| connection.stage == Stage::Open);
                self.sender.begin(*traffic, &open, self.now);
                self.sent_again = self.count_sent_again();
            }
            Command::Storm(recovery) if recovery.watches => self.connector.watch(recovery),
            Command::Storm(recovery) => self.drop_idle(recovery),
            Command::Stop => self.finish(),
            Command::Close => self.close_all(),
        }
    }

    fn numbers(&self, which: impl Fn(&Connection<N::Socket>) -> bool) -> Vec<u32> {
        let all = self.connections.iter().enumerate();
        all.filter(|(_, connection)| which(connection)).map(|(i, _)| i as u32).collect()
    }

    /// Sends what is due, but no more than so many in a row.
    fn send_due(&mut self) {
        for _ in 0..SENDS {
            let Some(due) = self.sender.next_due(self.now) else { break };
            for _ in 0..due.messages {
                self.submit(due.connection as usize, due.at);
            }
            self.read_clock();
        }
    }

    /// Sends the next message of connection `i`, which was due at `due`, unless it has to wait or cannot be sent.
    fn submit(&mut self, i: usize, due: Moment) {
        let Some((i, can)) = self.who_sends(i) else { return };
        let exchange = &mut self.connections[i].exchange;
        let Some(message) = self.sender.submit(i, exchange, can, due, self.now) else { return };
        let written = self.put(i, Bytes::Message(message));
        self.sender.tried(message, self.now);
        match written {
            Some(bytes) => self.sender.written(i, &mut self.connections[i].exchange, due, bytes, self.now),
            None => self.connections[i].exchange.unsent = message,
        }
    }

    /// Connection `i`, or by the schedule another in its place while it is opened anew, and whether it can; nobody in a closed
    /// loop, which goes on when it is back.
    fn who_sends(&mut self, i: usize) -> Option<(usize, bool)> {
        if self.spec.messages_each.is_none() {
            return Some((i, self.connections[i].stage == Stage::Open));
        }
        let mut who = i;
        for _ in 0..STAND_INS {
            let Connection { stage, exchange, .. } = &self.connections[who];
            if *stage == Stage::Open && !self.sender.has_sent_all(who, exchange) {
                return Some((who, true));
            }
            who = self.sender.stand_in()?;
        }
        Some((i, false))
    }

    /// Writes to connection `i`; returns how many bytes these were, or `None` when not all of them are written yet, or
    /// never will be.
    fn put(&mut self, i: usize, bytes: Bytes) -> Option<usize> {
        if matches!(bytes, Bytes::Message(_) | Bytes::Control(Opcode::Ping, _)) {
            self.silence.asked(i, self.now);
        }
        let (bytes, kind) = match bytes {
            Bytes::Request(bytes) => (bytes, Kind::Aside),
            Bytes::Control(opcode, payload) => (self.sender.control(opcode, payload), Kind::Aside),
            Bytes::Words(words) => {
                let wall = if words.has_time() { self.network.wall(self.now) } else { 0 };
                (self.sender.words(i, words, wall, self.conversations.kept(i)), Kind::Aside)
            }
            Bytes::Message(message) => {
                let wall = if self.spec.payloads.can_check() { 0 } else { self.network.wall(self.now) };
                (self.sender.encode(i, message, wall, self.conversations.kept(i)), Kind::Message)
            }
        };
        if kind == Kind::Message {
            // As late as can be: whatever comes between this and the write would count as the server's.
            self.now = self.network.now();
        }
        match self.connections[i].transport.send(&mut self.network, bytes, kind, &mut self.records) {
            Ok(written) => written.then_some(bytes.len()),
            Err(e) => {
                self.broken(i, &e);
                None
            }
        }
    }

    /// Connection `i` takes bytes again: those that wait go out, and then the messages that waited behind them.
    fn flush(&mut self, i: usize) {
        loop {
            let connection = &mut self.connections[i];
            match connection.transport.flush(&mut self.network) {
                Ok(Flushed::Message(bytes)) if connection.exchange.unsent != NONE => {
                    self.send_waiting(i, bytes)
                }
                Ok(Flushed::Message(_) | Flushed::Empty | Flushed::Blocked) => return,
                Err(e) => return self.broken(i, &e),
            }
        }
    }

    /// The message that waited in the outbox of connection `i` is written, in so many `bytes`; those behind it may try.
    fn send_waiting(&mut self, i: usize, bytes: usize) {
        let mut message = std::mem::replace(&mut self.connections[i].exchange.unsent, NONE);
        let mut first = Some(bytes);
        while message != NONE {
            self.read_clock();
            let Entry { due, sent: tried, next, .. } = self.sender.sent_at(message, self.now);
            let Some(bytes) = first.take().or_else(|| self.put(i, Bytes::Message(message))) else {
                self.sender.sent_at(message, tried);
                self.connections[i].exchange.unsent = message;
                return;
            };
            self.sender.written(i, &mut self.connections[i].exchange, due, bytes, self.now);
            self.sender.waited(due, self.now - tried);
            message = next;
        }
    }

    /// Sends the ping that is due.
    fn send_ping(&mut self) {
        let Some(i) = self.sender.next_ping(self.connections.len(), self.now) else { return };
        if self.connections.get(i).is_some_and(|connection| connection.stage == Stage::Open) {
            self.sender.count(self.now).pings_sent += 1;
            self.put(i, Bytes::Control(Opcode::Ping, &self.now.0.to_be_bytes()));
        }
    }

    /// Does what `readiness` says is possible. Of a connection that ended in the same round it means nothing.
    fn take_turn(&mut self, readiness: Readiness) {
        let Readiness { connection: i, readable, writable, read_closed } = readiness;
        if self.connections[i].stage == Stage::Connecting && (writable || read_closed) {
            self.connected(i);
        }
        if matches!(self.connections[i].stage, Stage::Connecting | Stage::Gone) {
            return self.read_clock();
        }
        if writable && self.connections[i].transport.waits() {
            self.flush(i);
        }
        if !(readable || read_closed) {
            self.read_clock();
        } else if self.connections[i].stage == Stage::Open && self.spec.is_slow(self.spec.number(self.me, i))
        {
            self.read_clock();
            self.rests.wants(i, self.now);
        } else {
            self.read(i, read_closed);
        }
    }

    /// Has the slow ones read that may, each some bytes.
    fn read_slowly(&mut self) {
        let Some(slow) = self.spec.slow else { return };
        while let Some(i) = self.rests.next(self.now) {
            let mut reader = std::mem::take(&mut self.reader);
            let most = slow.most().min(SCRATCH);
            let Worker { network, records, .. } = self;
            let result = self.connections[i].transport.read(network, &mut reader.scratch, most, records);
            self.read_clock();
            match result {
                Ok(Input::Ended) => self.ended(i),
                Ok(Input::Bytes { count, taken, .. }) => {
                    self.rests.took(i, taken, slow.rate, self.now);
                    // A short read may have the end behind it: it is the next that says so.
                    self.rests.wants(i, self.now);
                    self.silence.heard(i);
                    let arrival = Arrival::new(None, [self.now; 2], self.now);
                    self.sender.read_slowly(taken, self.now);
                    self.look_at_wall();
                    self.receive(i, &mut reader, count, arrival);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => self.rests.wants(i, self.now),
                Err(e) => self.broken(i, &e),
            }
            self.reader = reader;
        }
    }

    /// Reads what has come on connection `i`; to its end when that is there.
    fn read(&mut self, i: usize, read_closed: bool) {
        let mut reader = std::mem::take(&mut self.reader);
        let mut taken = 0;
        loop {
            let Worker { network, records, .. } = self;
            let result = self.connections[i].transport.read(network, &mut reader.scratch, SCRATCH, records);
            self.read_clock();
            match result {
                Ok(Input::Ended) => {
                    self.ended(i);
                    break;
                }
                Ok(Input::Bytes { count, drained, .. }) => {
                    taken += count.max(RECORD);
                    if self.connections[i].stage == Stage::Securing {
                        self.secured(i);
                    }
                    if count > 0 {
                        self.silence.heard(i);
                        let stamp = self.network.stamp();
                        let arrival = Arrival::new(stamp, [self.looked, self.woken], self.now);
                        self.sender.read(count, arrival);
                        self.look_at_wall();
                        self.receive(i, &mut reader, count, arrival);
                    }
                    // A short read means that the socket is empty: no need to be told so by another call.
                    if drained && !read_closed {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.broken(i, &e);
                    break;
                }
            }
            if taken >= TURN {
                if let Err(e) = self.connections[i].transport.tell_again(&mut self.network, i) {
                    self.broken(i, &e);
                }
                break;
            }
        }
        self.reader = reader;
    }

    /// Where stamps of another clock are to come, looks at it, again and again: clocks are set, and go at rates of their own.
    fn look_at_wall(&mut self) {
        if self.spec.listening.is_some() {
            let offset = self.network.wall(self.now).wrapping_sub(self.now.0);
            self.sender.set_wall_offset(offset);
        }
    }

    /// Takes the first `n` bytes of the scratch, just read on connection `i`.
    fn receive(&mut self, i: usize, reader: &mut Reader, n: usize, arrival: Arrival) {
        let Reader { scratch, inflater } = reader;
        // The session leaves its connection while what it says is acted on.
        let mut session = std::mem::take(&mut self.connections[i].session);
        let mut incoming = session.receive(&scratch[..n]);
        loop {
            match incoming.next(&self.spec.rules, || self.upgrade(i), inflater) {
                Ok(Some(received)) => self.take(i, received, arrival),
                Ok(None) => break,
                Err(refusal) => self.fail(i, refusal),
            }
            if self.connections[i].stage == Stage::Gone {
                return;
            }
        }
        incoming.finish();
        self.connections[i].session = session;
    }

    /// Acts on what the server said on connection `i`.
    fn take(&mut self, i: usize, received: Received, arrival: Arrival) {
        let spec = self.spec.clone();
        match received {
            Received::Open => self.upgraded(i),
            Received::Message(_, payload, _) if let Some(aside) = spec.talk.aside(payload) => {
                self.aside(i, aside, payload);
            }
            Received::Message(_, payload, _) if self.connections[i].stage == Stage::Greeting => {
                self.hear(i, payload);
            }
            Received::Message(opcode, payload, more) => {
                let exchange = &mut self.connections[i].exchange;
                let goes_on = self.sender.reply(i, exchange, opcode, payload, arrival.with_more(more));
                if !self.leave_if_done(i) && goes_on {
                    self.submit(i, self.now);
                }
            }
            Received::Ping(payload) => {
                self.sender.count(self.now).pings_answered += 1;
                self.put(i, Bytes::Control(Opcode::Pong, payload));
            }
            Received::Pong(payload) => self.sender.pong(payload, arrival.at),
            Received::Close(payload) => self.closed_by_server(i, payload),
        }
    }

    /// A message has come that is no reply: a heartbeat, or what is not of interest.
    fn aside(&mut self, i: usize, aside: Aside, message: &[u8]) {
        match aside {
            Aside::Ignored => self.sender.count(self.now).ignored += 1,
            // Behind a Close nothing is said (RFC 6455 section 5.5.1).
            Aside::Answered(_) if self.connections[i].stage == Stage::Closing => {}
            Aside::Answered(answer) => {
                self.sender.count(self.now).answered += 1;
                self.conversations.keep_for(i, answer, message);
                self.put(i, Bytes::Words(&answer.text));
            }
        }
    }

    /// The server closes (RFC 6455 section 5.5.1): answer with its own code, then it ends the connection.
    fn closed_by_server(&mut self, i: usize, payload: &[u8]) {
        self.sender.count(self.now).closes_received += 1;
        if let stage @ (Stage::Open | Stage::Greeting) = self.connections[i].stage {
            let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            let name = code.map_or("no code".to_owned(), |code| code.to_string());
            self.put(i, Bytes::Control(Opcode::Close, &payload[..payload.len().min(2)]));
            self.fail(i, format!("{}: closed by the server ({name})", stage.name()).into());
        } else {
            self.connections[i].close(&mut self.network, false);
            self.left(i);
        }
    }

    /// Hands over what was recorded in the ticks that are over, and ends the run when nothing more can come.
    fn end_ticks(&mut self) {
        for recorder in self.spare.try_iter() {
            self.sender.recycle(recorder);
        }
        if self.sender.is_over(self.now) {
            return self.finish();
        }
        while let Some(report) = self.sender.next_tick(self.now) {
            self.tell(Event::Tick(Box::new(report)));
        }
    }

    /// Ends the run.
    fn finish(&mut self) {
        let recovery = self.connector.end_recovery();
        // Who was dropped on purpose is missing if it is not back when all is over.
        if recovery.is_some() && self.sender.schedule_is_over(self.now) {
            self.sender.held(self.held);
        }
        let exchanges = self.connections.iter_mut();
        let exchanges = exchanges.map(|c| (&mut c.exchange, c.stage == Stage::Open));
        let Some((report, outcome)) = self.sender.finish(exchanges, self.now) else { return };
        self.tell(Event::Tick(Box::new(report)));
        let failures = std::mem::take(&mut self.failures);
        let clock_steps = self.network.steps();
        let reopened = Box::new(self.connector.take_opening());
        // Of connections that are gone nobody knows any more.
        let sent_again = self.count_sent_again().saturating_sub(self.sent_again);
        let outcome = Outcome { failures, recovery, clock_steps, sent_again, reopened, ..outcome };
        self.tell(Event::Finished(Box::new(outcome)));
    }

    fn count_sent_again(&self) -> u64 {
        self.connections.iter().map(|connection| connection.transport.sent_again(&self.network)).sum()
    }

    fn read_clock(&mut self) {
        self.now = self.network.now();
    }

    fn tell(&self, event: Event) {
        // Whoever listened has gone only when the program ends.
        let _ = self.events.send((self.me, event));
    }
}
