//! How connections begin and end.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::commands::Event;
use crate::engine::connection::{Connection, Stage};
use crate::engine::conversation::{Next, Word};
use crate::engine::network::Network;
use crate::engine::opened;
use crate::engine::patience::GivenUp;
use crate::engine::recovery::Recovery;
use crate::engine::worker::{Bytes, Worker};
use crate::host::clock::Nanos;
use crate::host::system_error::describe;
use crate::protocol::frame::Opcode;
use crate::protocol::handshake::{self, Refusal};
use crate::protocol::pattern::Pattern;
use crate::protocol::session::Upgrade;
use crate::protocol::shown::{escaped, masked_values, secret_words};
use crate::protocol::template::{Template, Values};
use crate::protocol::url::encoded;

/// Connects in a row before anything else is looked at.
const CONNECTS: usize = 16;

/// How long closed connections may take to be closed by the server too.
const LINGER: Nanos = Nanos(2 * Nanos::SECOND.0);

/// Of a message that was not expected, bytes that are looked at, and characters that are shown.
const LOOKED_AT: usize = 4096;
const SHOWN: usize = 200;

/// A pattern in a reason.
fn shown(pattern: &Pattern) -> String {
    format!("`{}`", escaped(pattern.text()))
}

/// A header line that was filled in, with nothing in it that would end it (RFC 9110 section 5.5).
fn one_line(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl<N: Network> Worker<N> {
    /// Gives up the connections that took too long and starts those that are due.
    pub(super) fn open_connections(&mut self) {
        loop {
            let connections = &self.connections;
            let leaving = self.closing_until.is_none();
            let waits = |i: u32, attempt| {
                let connection = &connections[i as usize];
                connection.attempt == attempt
                    && (connection.is_under_way() || leaving && connection.stage == Stage::Closing)
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
            Ok(mut socket) => {
                if let Some(slow) = self.spec.slow.filter(|slow| slow.has(number)) {
                    self.network.narrow(&mut socket, slow.room());
                }
                (Some(socket), None)
            }
            Err(e) => (None, Some(e)),
        };
        self.silence.heard(i);
        let fresh = Connection::new(socket, self.now);
        match self.connections.get_mut(i) {
            Some(connection) => connection.renew(fresh),
            None => self.connections.push(fresh),
        }
        self.connector.began(i, self.connections[i].attempt, self.now);
        if let Some(e) = error {
            let connection = &mut self.connections[i];
            if e.kind() == ErrorKind::WouldBlock && self.connector.postpone(i, connection.attempt, self.now) {
                connection.stage = Stage::Gone;
                return;
            }
            self.broken(i, &e);
        }
    }

    /// The socket says something while connecting: connected, failed, or nothing yet.
    pub(super) fn connected(&mut self, i: usize) {
        match self.connections[i].transport.connected(&mut self.network) {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return self.broken(i, &e),
        }
        self.read_clock();
        let connection = &mut self.connections[i];
        connection.since = self.connector.connected(connection.since, self.now);
        match &self.spec.target(self.spec.number(self.me, i)).tls {
            None => self.ask(i),
            Some(secured) => {
                connection.stage = Stage::Securing;
                let tls = secured.begin().map_err(|why| io::Error::new(ErrorKind::InvalidData, why));
                let Worker { network, records, .. } = self;
                if let Err(e) = tls.and_then(|tls| connection.transport.secure(network, records, tls)) {
                    self.broken(i, &e);
                }
            }
        }
    }

    /// Connection `i` is secure, if it is by now.
    pub(super) fn secured(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        let Some(tls) = connection.transport.tls().filter(|tls| tls.is_established()) else { return };
        connection.since = self.connector.secured(connection.since, self.now, tls.agreed());
        self.ask(i);
    }

    /// Sends the request of connection `i`.
    fn ask(&mut self, i: usize) {
        let upgrade = self.upgrade(i);
        let request = handshake::request(&upgrade.url, &upgrade.extras, upgrade.nonce);
        self.connections[i].stage = Stage::Upgrading;
        self.put(i, Bytes::Request(&request));
    }

    /// What the answer to connection `i` is held against. The nonce is computed again when the answer comes rather than
    /// kept.
    pub(super) fn upgrade(&self, i: usize) -> Upgrade<'_> {
        let number = self.spec.number(self.me, i);
        let attempt = u64::from(self.connections[i].attempt);
        let mut rng = fastrand::Rng::with_seed(self.spec.seed ^ (number as u64) << 24 ^ attempt << 56);
        let target = self.spec.target(number);
        let nonce = rng.u128(..);
        let (mut url, mut extras) = (Cow::Borrowed(&target.url), Cow::Borrowed(&self.spec.rules.extras));
        if target.resource.is_some() || !self.spec.headers.is_empty() {
            let since = self.connections[i].since;
            let mut hidden: Vec<String> = Vec::new();
            let mut values = Values {
                conn: number as u64,
                seq: 0,
                shard: self.spec.shard as u64,
                // The same when the answer is looked at.
                now: self.spec.wall_offset.wrapping_add(since.0),
                stamp: &[],
                kept: self.conversations.kept(i),
                rng: &mut rng,
            };
            let mut filled = |template: &Template| {
                let mut text = Vec::new();
                template.write(&mut text, &mut values);
                hidden.extend(template.filled_secrets(&values));
                text
            };
            if let Some(resource) = &target.resource {
                url.to_mut().resource = encoded(&filled(resource));
            }
            for (at, line) in &self.spec.headers {
                extras.to_mut().headers[*at] = one_line(&filled(line));
            }
            let as_sent: Vec<String> = hidden.iter().map(|secret| encoded(secret.as_bytes())).collect();
            extras.to_mut().hidden = [hidden, as_sent].concat();
        }
        Upgrade { url, extras, nonce }
    }

    /// Connection `i` is a WebSocket: it says what is to be said first.
    pub(super) fn upgraded(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        connection.since = self.connector.upgraded(connection.since, self.now);
        if self.spec.target(self.spec.number(self.me, i)).script.is_empty() {
            return self.opened(i);
        }
        connection.stage = Stage::Greeting;
        self.conversations.begin(i);
        self.speak(i);
    }

    /// Says the opening words of connection `i` up to the next that are to be heard, or to the last.
    fn speak(&mut self, i: usize) {
        let script = self.script(i);
        while self.connections[i].stage == Stage::Greeting {
            match self.conversations.next(i, &script) {
                Next::Say(words) => {
                    self.put(i, Bytes::Words(words));
                }
                Next::Wait(_) => return,
                Next::Done => {
                    self.read_clock();
                    self.connector.greeted(self.connections[i].since, self.now);
                    return self.opened(i);
                }
            }
        }
    }

    /// Takes `message` as what connection `i` waits to hear, or as the end of it.
    pub(super) fn hear(&mut self, i: usize, message: &[u8]) {
        let script = self.script(i);
        match self.conversations.hear(i, &script, message) {
            Ok(()) => self.speak(i),
            Err(pattern) => {
                let reason = format!("hello: {} was expected and something else came", shown(pattern));
                let answer = self.first_bytes(i, &script, message);
                self.fail(i, Refusal { reason, answer: Some(answer) });
            }
        }
    }

    fn script(&self, i: usize) -> Arc<[Word]> {
        self.spec.target(self.spec.number(self.me, i)).script.clone()
    }

    /// The first bytes of a message that was not expected, without what connection `i` said or kept, nor what stands behind
    /// a telling name in it.
    fn first_bytes(&mut self, i: usize, script: &[Word], message: &[u8]) -> String {
        let kept = self.conversations.kept(i);
        let mut secrets: Vec<String> =
            kept.iter().map(|kept| String::from_utf8_lossy(kept).into_owned()).collect();
        for step in script {
            if let Word::Say(words) = step {
                secrets.extend(self.sender.secrets(i, words, kept));
            }
        }
        // A secret that is cut in two is none that is found: first it is hidden, then cut.
        let text = String::from_utf8_lossy(&message[..message.len().min(LOOKED_AT)]);
        secrets.extend(secret_words(&text, usize::MAX));
        escaped(&masked_values(&text, &secrets)).chars().take(SHOWN).collect()
    }

    /// Connection `i` is open: messages can be sent.
    fn opened(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        connection.stage = Stage::Open;
        self.connector.ready(connection.since, self.now);
        let messages = self.sender.opened(i, &self.connections[i].exchange, self.now);
        self.count_held(1);
        for _ in 0..messages {
            self.submit(i, self.now);
        }
    }

    /// Connection `i` has taken too long. A refusal whose body did not come is a refusal.
    fn time_out(&mut self, i: usize) {
        let refused = self.cut_short(i).filter(|refusal| refusal.reason.contains("HTTP "));
        let script = self.script(i);
        let waits = match self.connections[i].stage {
            Stage::Greeting => self.conversations.next(i, &script),
            _ => Next::Done,
        };
        match (refused, waits) {
            (Some(refusal), _) => self.fail(i, refusal),
            (None, Next::Wait(pattern)) => {
                self.fail_here(i, &format!("timed out waiting for {}", shown(pattern)));
            }
            (None, _) => self.fail_here(i, "timed out"),
        }
    }

    /// The server ended connection `i` without a Close.
    pub(super) fn ended(&mut self, i: usize) {
        match self.cut_short(i) {
            Some(refusal) => self.fail(i, refusal),
            None if self.connections[i].stage == Stage::Securing => {
                self.fail_here(i, "ended by the server within the handshake: does it speak TLS there?");
            }
            None => self.fail_here(i, "ended by the server without a Close"),
        }
    }

    /// An I/O error ended connection `i`.
    pub(super) fn broken(&mut self, i: usize, error: &io::Error) {
        let inside = self.connections[i].session.is_inside();
        match self.cut_short(i).filter(|_| inside) {
            Some(refusal) => self.fail(i, refusal),
            // In TLS 1.3 a server may say late that it wants a certificate.
            None if error.kind() == ErrorKind::InvalidData => self.fail(i, format!("tls: {error}").into()),
            None => self.fail_here(i, &describe(error)),
        }
    }

    /// What there is of the answer to connection `i`'s request, if it is waited for and nothing more comes.
    fn cut_short(&self, i: usize) -> Option<Refusal> {
        let connection = &self.connections[i];
        let session = Some(&connection.session).filter(|_| connection.stage == Stage::Upgrading)?;
        session.cut_short(self.upgrade(i))
    }

    /// Connection `i` is no more, because of what happened in the stage it is in.
    pub(super) fn fail_here(&mut self, i: usize, what: &str) {
        self.fail(i, format!("{}: {what}", self.connections[i].stage.name()).into());
    }

    /// Connection `i` is no more, for the reason given, which the report will show.
    pub(super) fn fail(&mut self, i: usize, refusal: Refusal) {
        let Refusal { reason, answer } = refusal;
        if let Some(answer) = answer {
            self.connector.refused(&reason, answer);
        }
        let connection = &mut self.connections[i];
        let stage = connection.stage;
        connection.close(&mut self.network, false);
        match stage {
            Stage::Connecting | Stage::Securing | Stage::Upgrading | Stage::Greeting => {
                let attempt = connection.attempt;
                self.read_clock();
                if self.connector.failed(i, attempt, self.now) {
                    return;
                }
                self.sender.not_opened(i);
                self.count_held(0);
            }
            Stage::Open if self.connector.watches() => {
                self.read_clock();
                self.sender.lose(i, &mut self.connections[i].exchange, self.now);
                self.connector.lose(i, self.sender.last_sign(), self.now);
                return self.count_held(-1);
            }
            Stage::Open => {
                self.sender.abandon(&connection.exchange);
                self.count_held(-1);
            }
            // The end of a connection that was to end is no failure.
            Stage::Closing => return self.left(i),
            Stage::Gone => return,
        }
        self.gauges.failed.fetch_add(1, Ordering::Relaxed);
        opened::count(&mut self.failures, reason);
    }

    /// In an outage: gives up the connections on which nothing comes any more.
    pub(super) fn lose_silent(&mut self) {
        while let Some(i) = self.silence.next(self.now) {
            // It may be that nothing was read because loadgen was late.
            let watches = self.connector.watches() && self.connections[i].stage == Stage::Open;
            if watches {
                self.read(i, false);
            }
            if watches && self.silence.waits(i) && self.connections[i].stage == Stage::Open {
                self.connections[i].transport.close(&mut self.network, true);
                self.connector.lose_silent();
                self.fail_here(i, "silent");
            }
            self.silence.heard(i);
        }
    }

    /// Closes connection `i` if it has sent all that a connection sends and has the replies; false if it has not. The server
    /// ends it, so that its port does not rest in TIME_WAIT on this side.
    pub(super) fn leave_if_done(&mut self, i: usize) -> bool {
        let Connection { stage, exchange, attempt, .. } = &mut self.connections[i];
        if *stage != Stage::Open || exchange.out.len > 0 || !self.sender.has_sent_all(i, exchange) {
            return false;
        }
        *stage = Stage::Closing;
        self.connector.leaves(i, *attempt, self.now);
        self.sender.leave(i);
        self.count_held(-1);
        self.put(i, Bytes::Control(Opcode::Close, &1000u16.to_be_bytes()));
        true
    }

    /// Connection `i` has ended after our Close: it begins anew if it was to.
    pub(super) fn left(&mut self, i: usize) {
        if self.closing_until.is_none() && self.sender.is_away(i) {
            self.connector.replace(i, self.now);
        }
    }

    /// Gives up messages that have waited longer than a closed loop does, and sends the next in their place.
    pub(super) fn give_up_overdue(&mut self) {
        for i in self.sender.to_look_at(self.now).into_iter().map(|i| i as usize) {
            while let connection = &mut self.connections[i]
                && connection.stage == Stage::Open
                && self.sender.is_overdue(&connection.exchange, self.now)
            {
                match self.sender.give_up(i, &mut connection.exchange, self.now) {
                    GivenUp::Message if self.leave_if_done(i) => break,
                    GivenUp::Message if self.sender.schedule_is_over(self.now) => {}
                    GivenUp::Message => self.submit(i, self.now),
                    GivenUp::Connection => {
                        self.connections[i].close(&mut self.network, true);
                        self.connector.replace(i, self.now);
                        self.count_held(-1);
                    }
                }
            }
        }
    }

    /// Keeps the number of open connections, and what others see of it. Who was dropped on purpose is not missing.
    fn count_held(&mut self, change: i64) {
        self.held = self.held.wrapping_add_signed(change);
        self.gauges.held.store(self.held, Ordering::Relaxed);
        self.sender.held(self.held + self.connector.away());
    }

    /// Drops the connections that do not send, and has them come back.
    pub(super) fn drop_idle(&mut self, recovery: Box<Recovery>) {
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
    pub(super) fn close_all(&mut self) {
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
                Stage::Connecting | Stage::Securing | Stage::Upgrading | Stage::Greeting => {
                    self.connections[i].close(&mut self.network, true)
                }
                Stage::Closing | Stage::Gone => {}
            }
        }
    }
}
