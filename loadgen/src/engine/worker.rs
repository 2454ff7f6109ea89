//! One thread: its connections, and the loop that wires the schedule, the connector and the sessions to a network.
//!
//! The thread does what [`Command`]s say and tells what happened in [`Event`]s; the modes (`run`, `conns`, …) are
//! scripts of commands.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender as Channel};

use crate::engine::commands::{Command, Event, Outcome};
use crate::engine::connection::{Connection, Stage};
use crate::engine::connector::{Connector, Pace};
use crate::engine::in_flight::{Entry, NONE};
use crate::engine::network::{Network, Readiness};
use crate::engine::opened::{self, Failures};
use crate::engine::recorder::Recorder;
use crate::engine::recovery::Recovery;
use crate::engine::sender::Sender;
use crate::engine::spec::{Gauges, Spec};
use crate::engine::transport::{Flushed, Kind};
use crate::host::clock::{Moment, Nanos};
use crate::host::system_error::describe;
use crate::protocol::deflate::Inflater;
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::{self, Refusal};
use crate::protocol::session::{Received, Upgrade};

/// One read. Large enough for any message that is not itself large.
const SCRATCH: usize = 64 * 1024;

/// Bytes read from one connection before the others get their turn.
const TURN: usize = 1 << 20;

/// Sends in a row before replies are looked at again.
const SENDS: usize = 16;

/// Connects in a row before anything else is looked at.
const CONNECTS: usize = 16;

/// How long closed connections may take to be closed by the server too.
const LINGER: Nanos = Nanos(2 * Nanos::SECOND.0);

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
    reader: Reader,
    /// What the last wait told.
    ready: Vec<Readiness>,
    /// What the clock said last, and when the last wait ended.
    now: Moment,
    woken: Moment,

    /// Open connections.
    held: u64,
    failures: Failures,
    /// When to stop waiting for the server to close, once we did.
    closing_until: Option<Moment>,
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Bytes<'a> {
    Request(&'a [u8]),
    Control(Opcode, &'a [u8]),
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
        network: N,
        commands: Receiver<Command>,
        events: Channel<(usize, Event)>,
        spare: Receiver<Box<Recorder>>,
    ) -> Worker<N> {
        let pace =
            Pace { rate: spec.connect_rate, under_way: spec.connect_inflight, timeout: spec.connect_timeout };
        let inflater = spec.rules.extras.deflate.then(Box::default);
        Worker {
            me,
            connector: Connector::new(pace, spec.seed ^ (me as u64) << 48),
            sender: Sender::new(me, spec.clone(), gauges.clone()),
            reader: Reader { scratch: vec![0; SCRATCH], inflater },
            spec,
            gauges,
            network,
            commands,
            events,
            spare,
            connections: Vec::new(),
            ready: Vec::new(),
            now: Moment(0),
            woken: Moment(0),
            held: 0,
            failures: Failures::new(),
            closing_until: None,
        }
    }

    /// Works until told to close.
    pub fn work(mut self) {
        // The default slack of 50 µs would be own slip in every message.
        let _ = nix::sys::prctl::set_timerslack(1);
        self.read_clock();
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

    /// Waits for the network or the next alarm; for less than `spin` it looks at the network without sleeping.
    fn wait(&mut self) -> io::Result<()> {
        let (before, spin) = (self.now, self.spec.spin);
        let mut alarm = self.connector.alarm().min(self.sender.alarm());
        if let Some(until) = self.closing_until {
            alarm = alarm.min(until);
        }
        let until = match alarm {
            Moment::NEVER => Some(Moment::NEVER),
            _ => (alarm > before + spin).then(|| alarm - spin),
        };
        self.ready.clear();
        self.network.wait(until, &mut self.ready)?;
        self.read_clock();
        self.woken = self.now;
        // A look that finds nothing while spinning is waiting, too.
        if until.is_some() || self.ready.is_empty() {
            self.sender.idle(self.now - before, self.now);
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
            }
            Command::Storm(recovery) => self.drop_idle(recovery),
            Command::Stop => self.finish(),
            Command::Close => self.close_all(),
        }
    }

    fn numbers(&self, which: impl Fn(&Connection<N::Socket>) -> bool) -> Vec<u32> {
        let all = self.connections.iter().enumerate();
        all.filter(|(_, connection)| which(connection)).map(|(i, _)| i as u32).collect()
    }

    /// Gives up the connections that took too long and starts those that are due.
    fn open_connections(&mut self) {
        loop {
            let connections = &self.connections;
            let waits = |i: u32, attempt| {
                let connection = &connections[i as usize];
                connection.attempt == attempt && connection.is_under_way()
            };
            let Some(i) = self.connector.expired(self.now, waits) else { break };
            self.time_out(i);
        }
        for _ in 0..CONNECTS {
            let Some(i) = self.connector.next(self.now) else { break };
            self.start(i);
            self.read_clock();
        }
        if let Some(mut opening) = self.connector.opened() {
            opening.failures = std::mem::take(&mut self.failures);
            self.tell(Event::Opened(Box::new(opening)));
        }
    }

    /// Starts connection `i`, for the first time or anew.
    fn start(&mut self, i: usize) {
        let number = self.spec.number(self.me, i);
        let target = &self.spec.target(number).address;
        let (socket, error) = match self.network.connect(i, target, self.spec.sources.of(number)) {
            Ok(socket) => (Some(socket), None),
            Err(e) => (None, Some(e)),
        };
        let fresh = Connection::new(socket, self.now);
        match self.connections.get_mut(i) {
            Some(connection) => connection.renew(fresh),
            None => self.connections.push(fresh),
        }
        self.connector.began(i, self.connections[i].attempt, self.now);
        if let Some(e) = error {
            self.broken(i, &e);
        }
    }

    /// The socket says something while connecting: connected, failed, or nothing yet.
    fn connected(&mut self, i: usize) {
        match self.connections[i].transport.connected(&mut self.network) {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return self.broken(i, &e),
        }
        self.read_clock();
        let upgrade = self.upgrade(i);
        let request = handshake::request(upgrade.url, &self.spec.rules.extras, upgrade.nonce);
        let connection = &mut self.connections[i];
        connection.stage = Stage::Upgrading;
        connection.since = self.connector.connected(connection.since, self.now);
        self.put(i, Bytes::Request(&request));
    }

    /// What the answer to connection `i` is held against. The nonce is computed again when the answer comes rather than
    /// kept.
    fn upgrade(&self, i: usize) -> Upgrade<'_> {
        let number = self.spec.number(self.me, i);
        let attempt = u64::from(self.connections[i].attempt);
        let mut rng = fastrand::Rng::with_seed(self.spec.seed ^ (number as u64) << 24 ^ attempt << 56);
        Upgrade { url: &self.spec.target(number).url, nonce: rng.u128(..) }
    }

    /// Connection `i` is a WebSocket.
    fn opened(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        connection.stage = Stage::Open;
        self.connector.upgraded(connection.since, self.now);
        self.count_held(1);
    }

    /// Connection `i` has taken too long. A refusal whose body did not come is a refusal.
    fn time_out(&mut self, i: usize) {
        let refused = self.cut_short(i).filter(|refusal| refusal.reason.contains("HTTP "));
        match refused {
            Some(refusal) => self.fail(i, refusal),
            None => self.fail_here(i, "timed out"),
        }
    }

    /// The server ended connection `i` without a Close.
    fn ended(&mut self, i: usize) {
        match self.cut_short(i) {
            Some(refusal) => self.fail(i, refusal),
            None => self.fail(i, "open: ended by the server without a Close".to_owned().into()),
        }
    }

    /// An I/O error ended connection `i`.
    fn broken(&mut self, i: usize, error: &io::Error) {
        let inside = self.connections[i].session.is_inside();
        match self.cut_short(i).filter(|_| inside) {
            Some(refusal) => self.fail(i, refusal),
            None => self.fail_here(i, &describe(error)),
        }
    }

    /// What there is of the answer to connection `i`'s request, if it is waited for and nothing more comes.
    fn cut_short(&self, i: usize) -> Option<Refusal> {
        let connection = &self.connections[i];
        let session = Some(&connection.session).filter(|_| connection.stage == Stage::Upgrading)?;
        session.cut_short(&self.spec.rules, self.upgrade(i))
    }

    /// Connection `i` is no more, because of what happened in the stage it is in.
    fn fail_here(&mut self, i: usize, what: &str) {
        let stage = match self.connections[i].stage {
            Stage::Connecting => "connect",
            Stage::Upgrading => "upgrade",
            _ => "open",
        };
        self.fail(i, format!("{stage}: {what}").into());
    }

    /// Connection `i` is no more, for the reason given, which the report will show.
    fn fail(&mut self, i: usize, refusal: Refusal) {
        let Refusal { reason, answer } = refusal;
        if let Some(answer) = answer {
            self.connector.refused(&reason, answer);
        }
        let connection = &mut self.connections[i];
        let stage = connection.stage;
        connection.close(&mut self.network, false);
        match stage {
            Stage::Connecting | Stage::Upgrading => {
                let now = self.network.now();
                if self.connector.failed(i, connection.attempt, now) {
                    return;
                }
            }
            Stage::Open => {
                self.sender.abandon(&connection.exchange);
                self.count_held(-1);
            }
            // The end of a connection that was to end is no failure.
            Stage::Closing | Stage::Gone => return,
        }
        self.gauges.failed.fetch_add(1, Ordering::Relaxed);
        opened::count(&mut self.failures, reason);
    }

    /// Keeps the number of open connections, and what others see of it. Who was dropped on purpose is not missing.
    fn count_held(&mut self, change: i64) {
        self.held = self.held.wrapping_add_signed(change);
        self.gauges.held.store(self.held, Ordering::Relaxed);
        self.sender.held(self.held + self.connector.away());
    }

    /// Drops the connections that do not send, and has them come back.
    fn drop_idle(&mut self, recovery: Box<Recovery>) {
        let reset = recovery.reset;
        let senders: HashSet<u32> = self.sender.senders().iter().copied().collect();
        let mut idle = self.numbers(|connection| connection.stage == Stage::Open);
        idle.retain(|i| !senders.contains(i));
        self.connector.recover(recovery, &idle, self.now);
        for i in idle.into_iter().map(|i| i as usize) {
            if !reset {
                self.put(i, Bytes::Control(Opcode::Close, &1001u16.to_be_bytes()));
            }
            if self.connections[i].stage == Stage::Open {
                self.connections[i].close(&mut self.network, reset);
                self.count_held(-1);
            }
            // Those who stay go on meanwhile.
            self.read_clock();
            self.send_due();
        }
    }

    /// Says Close 1000 everywhere (RFC 6455 section 7.4.1) and leaves it to the server to end the connections, so that
    /// their ports do not rest in TIME_WAIT on this side.
    fn close_all(&mut self) {
        self.connector.stop();
        self.closing_until = Some(self.now + LINGER);
        for i in 0..self.connections.len() {
            match self.connections[i].stage {
                Stage::Open => {
                    self.put(i, Bytes::Control(Opcode::Close, &1000u16.to_be_bytes()));
                    if self.connections[i].stage == Stage::Open {
                        self.connections[i].stage = Stage::Closing;
                        self.count_held(-1);
                    }
                }
                Stage::Connecting | Stage::Upgrading => self.connections[i].close(&mut self.network, true),
                Stage::Closing | Stage::Gone => {}
            }
        }
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
        let connection = &mut self.connections[i];
        let open = connection.stage == Stage::Open;
        let Some(message) = self.sender.submit(i, &mut connection.exchange, open, due, self.now) else {
            return;
        };
        match self.put(i, Bytes::Message(message)) {
            Some(bytes) => self.sender.written(&mut self.connections[i].exchange, due, bytes),
            None => self.connections[i].exchange.unsent = message,
        }
    }

    /// Writes to connection `i`; returns how many bytes these were, or `None` when not all of them are written yet, or
    /// never will be.
    fn put(&mut self, i: usize, bytes: Bytes) -> Option<usize> {
        let (bytes, kind) = match bytes {
            Bytes::Request(bytes) => (bytes, Kind::Aside),
            Bytes::Control(opcode, payload) => (self.sender.control(opcode, payload), Kind::Aside),
            Bytes::Message(message) => (self.sender.encode(i, message), Kind::Message),
        };
        match self.connections[i].transport.send(&mut self.network, bytes, kind) {
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
            self.sender.written(&mut self.connections[i].exchange, due, bytes);
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
        if readable || read_closed { self.read(i, read_closed) } else { self.read_clock() }
    }

    /// Reads what has come on connection `i`; to its end when that is there.
    fn read(&mut self, i: usize, read_closed: bool) {
        let mut reader = std::mem::take(&mut self.reader);
        let mut taken = 0;
        loop {
            let result = self.connections[i].transport.read(&mut self.network, &mut reader.scratch);
            self.read_clock();
            match result {
                Ok(0) => {
                    self.ended(i);
                    break;
                }
                Ok(n) => {
                    taken += n;
                    self.sender.read(n, self.now - self.woken, self.now);
                    self.receive(i, &mut reader, n);
                    // A short read means that the socket is empty: no need to be told so by another call.
                    if n < reader.scratch.len() && !read_closed {
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

    /// Takes the first `n` bytes of the scratch, just read on connection `i`.
    fn receive(&mut self, i: usize, reader: &mut Reader, n: usize) {
        let Reader { scratch, inflater } = reader;
        // The session leaves its connection while what it says is acted on.
        let mut session = std::mem::take(&mut self.connections[i].session);
        let mut incoming = session.receive(&scratch[..n]);
        loop {
            match incoming.next(&self.spec.rules, || self.upgrade(i), inflater) {
                Ok(Some(received)) => self.take(i, received),
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
    fn take(&mut self, i: usize, received: Received) {
        match received {
            Received::Open => self.opened(i),
            Received::Message(opcode, payload) => {
                let exchange = &mut self.connections[i].exchange;
                if self.sender.reply(i, exchange, opcode, payload, self.now) {
                    self.submit(i, self.now);
                }
            }
            Received::Ping(payload) => {
                self.sender.count(self.now).pings_answered += 1;
                self.put(i, Bytes::Control(Opcode::Pong, payload));
            }
            Received::Pong(payload) => self.sender.pong(payload, self.now),
            Received::Close(payload) => self.closed_by_server(i, payload),
        }
    }

    /// The server closes (RFC 6455 section 5.5.1): answer with its own code, then it ends the connection.
    fn closed_by_server(&mut self, i: usize, payload: &[u8]) {
        self.sender.count(self.now).closes_received += 1;
        if self.connections[i].stage == Stage::Open {
            let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            let name = code.map_or("no code".to_owned(), |code| code.to_string());
            self.put(i, Bytes::Control(Opcode::Close, &payload[..payload.len().min(2)]));
            self.fail(i, format!("open: closed by the server ({name})").into());
        } else {
            self.connections[i].close(&mut self.network, false);
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
        let exchanges = self.connections.iter_mut().map(|connection| &mut connection.exchange);
        let Some((report, outcome)) = self.sender.finish(exchanges, self.now) else { return };
        self.tell(Event::Tick(Box::new(report)));
        let failures = std::mem::take(&mut self.failures);
        self.tell(Event::Finished(Box::new(Outcome { failures, recovery, ..outcome })));
    }

    fn read_clock(&mut self) {
        self.now = self.network.now();
    }

    fn tell(&self, event: Event) {
        // Whoever listened has gone only when the program ends.
        let _ = self.events.send((self.me, event));
    }
}
