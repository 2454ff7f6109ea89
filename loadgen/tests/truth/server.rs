//! A server whose truth is known: it does what it is told and keeps a log of every message.
//!
//! Handshake apart (the answer to the key is tungstenite's), nothing here is loadgen's or wsecho's: a mistake made in
//! both would hide. Times are nanoseconds of `CLOCK_MONOTONIC`, the clock loadgen counts in, so that the log and a
//! report can be held against each other message by message.

use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::frame::{frame, read_payload};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SetSockOpt, TimestampingFlag, Timestamps, recvmsg, sockopt,
};
use nix::time::{ClockId, clock_gettime};
use tungstenite::handshake::derive_accept_key;

const SECOND: u64 = 1_000_000_000;

/// How long something takes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Time {
    #[default]
    None,
    Fixed(Duration),
    /// Drawn from an exponential distribution of this mean.
    Exponential(Duration),
    /// Drawn evenly between two times.
    Between(Duration, Duration),
}

/// What the server's replies say.
#[derive(Clone, Copy, Debug, Default)]
pub enum Speech {
    /// What was sent.
    #[default]
    Echo,
    /// JSON-RPC: so many messages, so long after each other, that name the id of the request.
    Rpc(u32, Duration),
    /// The same for whoever has logged in: `{"login":"NAME"}` is answered with a token that requests have to carry.
    Guarded,
    /// Who says `{"sub":…}` gets what others say in `{"pub":…,"data":…}`, each so long after the one before.
    Topic(Duration),
}

/// What the server does to messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nature {
    /// Each reply is so late, whatever the others do.
    pub delay: Time,
    /// Replies overtake each other; else each waits for those before it on its connection.
    pub overtakes: bool,
    /// Each message occupies the one worker so long: a queue.
    pub work: Time,
    /// Nothing is answered for so long at the beginning of every such period.
    pub stall: Option<(Duration, Duration)>,
    /// One message in so many has no reply …
    pub drop: Option<u64>,
    /// … has two …
    pub duplicate: Option<u64>,
    /// … has one that is wrong in a bit.
    pub corrupt: Option<u64>,
    /// Nothing of any reply is as it was, but its length.
    pub inverts: bool,
    /// A message nobody asked for, on every connection, so often.
    pub push: Option<Duration>,
    /// What is pushed, and said first on a connection that greets.
    pub said: &'static str,
    pub greets: bool,
    /// Every other connection is read and never answered.
    pub half_silent: bool,
    /// All connections are cut so long after the first message.
    pub restart: Option<Duration>,
    /// So many connections are taken in all.
    pub room: Option<usize>,
    pub speech: Speech,
}

/// What became of one message.
#[derive(Clone, Copy, Debug)]
pub struct Handled {
    /// When it was due by its stamp; 0 without one.
    pub due: u64,
    /// When the kernel had its first bytes.
    pub arrived: u64,
    /// The kernel had it no earlier: of messages that wait together in a socket it keeps the last one's stamp.
    pub earliest: u64,
    /// When the write of its reply began, of several the last; 0 when there was none.
    pub left: u64,
    /// When the write of the first began.
    pub first: u64,
}

/// A server on a port of its own; it lives as long as the program.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    nature: Nature,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    log: Vec<Handled>,
    /// Replies by the time they are to go, soonest first, and those of one time in order.
    queue: BinaryHeap<Reply>,
    queued: u64,
    streams: HashMap<u64, TcpStream>,
    /// When the last reply queued on a connection goes.
    last: HashMap<u64, u64>,
    /// The last message of a connection in the log.
    newest: HashMap<u64, usize>,
    busy_until: u64,
    rng: fastrand::Rng,
    began: u64,
    /// Who has logged in on a connection.
    tokens: HashMap<u64, String>,
    subscribers: Vec<u64>,
    pongs: u64,
    /// The numbers of JSON-RPC requests.
    ids: Vec<u64>,
    /// The requests of all connections.
    heads: Vec<String>,
}

#[derive(Eq, PartialEq)]
struct Reply {
    when: u64,
    number: u64,
    connection: u64,
    bytes: Vec<u8>,
    /// Its entry in the log.
    entry: Option<usize>,
}

impl Ord for Reply {
    fn cmp(&self, other: &Reply) -> std::cmp::Ordering {
        (other.when, other.number).cmp(&(self.when, self.number))
    }
}

impl PartialOrd for Reply {
    fn partial_cmp(&self, other: &Reply) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Now, on loadgen's clock.
pub fn now() -> u64 {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    t.tv_sec() as u64 * SECOND + t.tv_nsec() as u64
}

impl Time {
    fn draw(self, rng: &mut fastrand::Rng) -> u64 {
        let ns = |d: Duration| d.as_nanos() as f64;
        (match self {
            Time::None => 0.0,
            Time::Fixed(d) => ns(d),
            Time::Exponential(mean) => ns(mean) * -(1.0 - rng.f64()).ln(),
            Time::Between(from, to) => ns(from) + (ns(to) - ns(from)) * rng.f64(),
        }) as u64
    }
}

impl Server {
    pub fn start(nature: Nature) -> Server {
        Server::on("127.0.0.1:0".parse().unwrap(), nature)
    }

    pub fn on(address: SocketAddr, nature: Nature) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            log: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            streams: HashMap::new(),
            last: HashMap::new(),
            newest: HashMap::new(),
            busy_until: 0,
            rng: fastrand::Rng::with_seed(7),
            began: now(),
            tokens: HashMap::new(),
            subscribers: Vec::new(),
            pongs: 0,
            ids: Vec::new(),
            heads: Vec::new(),
        };
        let shared = Arc::new(Shared { nature, state: Mutex::new(state), changed: Condvar::new() });
        let (clerk, pusher, door) = (shared.clone(), shared.clone(), shared.clone());
        thread::spawn(move || clerk.send_replies());
        if let Some(period) = nature.push {
            thread::spawn(move || pusher.push(period));
        }
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (stream, shared) = (stream.unwrap(), door.clone());
                if shared.nature.room.is_some_and(|room| number >= room) {
                    continue;
                }
                // A client that goes away is no fault of the server's.
                thread::spawn(move || drop(shared.serve(number as u64, stream)));
            }
        });
        Server { address, shared }
    }

    pub fn url(&self) -> String {
        format!("{}/truth", crate::reach(self.address))
    }

    /// The numbers of the JSON-RPC requests, as they came.
    pub fn ids(&self) -> Vec<u64> {
        self.shared.lock().ids.clone()
    }

    /// The requests of all connections, in order.
    pub fn heads(&self) -> Vec<String> {
        self.shared.lock().heads.clone()
    }

    /// Answers to its heartbeats so far.
    pub fn pongs(&self) -> u64 {
        self.shared.lock().pongs
    }

    /// What became of every message so far, in the order they came.
    pub fn log(&self) -> Vec<Handled> {
        self.shared.lock().log.clone()
    }
}

impl State {
    /// Another message of `connection` has the same stamp as the last one, which may have come since it was due.
    fn doubt_last(&mut self, connection: u64) {
        if let Some(handled) = self.newest.get(&connection).and_then(|entry| self.log.get_mut(*entry)) {
            handled.earliest = if handled.due > 0 { handled.due } else { handled.arrived };
        }
    }

    /// When the answer goes to a message that has come.
    fn answer_at(&mut self, nature: &Nature, connection: u64, arrived: u64) -> u64 {
        let mut when = arrived + nature.delay.draw(&mut self.rng);
        if !matches!(nature.work, Time::None) {
            let work = nature.work.draw(&mut self.rng);
            self.busy_until = self.busy_until.max(arrived) + work;
            when = when.max(self.busy_until);
        }
        if let Some((stall, period)) = nature.stall {
            let into = (arrived - self.began) % period.as_nanos() as u64;
            when = when.max(arrived + (stall.as_nanos() as u64).saturating_sub(into));
        }
        if !nature.overtakes {
            let last = self.last.entry(connection).or_default();
            when = when.max(*last);
            *last = when;
        }
        when
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One connection: the handshake, then message after message.
    fn serve(&self, connection: u64, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let flags =
            TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        sockopt::Timestamping.set(&stream, &flags)?;
        let head = read_head(&mut stream)?;
        self.lock().heads.push(head.clone());
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or("none");
        // In one piece: some clients take no other.
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        stream.write_all(answer.as_bytes())?;
        if self.nature.greets {
            stream.write_all(&frame(0x81, self.nature.said.as_bytes()))?;
        }
        self.lock().streams.insert(connection, stream.try_clone()?);
        let mut stamped = 0;
        let end = loop {
            match read_message(&mut stream) {
                Err(e) => break Err(e),
                Ok((0x88, payload, ..)) => {
                    let _ = stream.write_all(&frame(0x88, &payload));
                    break stream.shutdown(Shutdown::Both);
                }
                Ok((0x89, payload, ..)) => self.queue(connection, now(), frame(0x8A, &payload), None),
                Ok((0x8A, ..)) => {}
                Ok((first, payload, arrived, stamp)) => {
                    if stamp > 0 && stamp == stamped {
                        self.lock().doubt_last(connection);
                    }
                    stamped = stamp;
                    self.take(connection, first, payload, arrived);
                }
            }
        };
        self.lock().streams.remove(&connection);
        end
    }

    /// Decides what becomes of a message that has come whole.
    fn take(&self, connection: u64, first: u8, mut payload: Vec<u8>, arrived: u64) {
        let nature = &self.nature;
        // In an envelope the stamp stands behind `"data":"`.
        let envelope = b"\"data\":\"";
        let inside =
            payload.windows(envelope.len()).position(|w| w == envelope).map_or(0, |at| at + envelope.len());
        let due = due(&payload[inside..], arrived);
        if self.is_aside(connection, &payload) {
            return;
        }
        let mut state = self.lock();
        state.log.push(Handled { due, arrived, earliest: arrived, left: 0, first: 0 });
        let n = state.log.len() as u64;
        state.newest.insert(connection, n as usize - 1);
        if n == 1
            && let Some(after) = nature.restart
        {
            state.queue.push(Reply {
                when: arrived + after.as_nanos() as u64,
                number: 0,
                connection: u64::MAX,
                bytes: Vec::new(),
                entry: None,
            });
        }
        let entry = Some(n as usize - 1);
        let hit = |every: Option<u64>| every.is_some_and(|every| n.is_multiple_of(every));
        if hit(nature.drop) || nature.half_silent && connection % 2 == 1 {
            return;
        }
        let when = state.answer_at(nature, connection, arrived);
        if let Speech::Topic(apart) = nature.speech {
            let subscribers = state.subscribers.clone();
            drop(state);
            let text = format!("{{\"ch\":\"x\",\"was\":{}}}", String::from_utf8_lossy(&payload));
            for (turn, subscriber) in subscribers.into_iter().enumerate() {
                let when = when + turn as u64 * apart.as_nanos() as u64;
                self.queue(subscriber, when, frame(0x81, text.as_bytes()), entry);
            }
            return;
        }
        let token = state.tokens.get(&connection).cloned();
        drop(state);
        if let Some((payload, parts, apart)) = self.reply(&payload, token.as_deref()) {
            for part in 0..parts {
                let when = when + u64::from(part) * apart.as_nanos() as u64;
                self.queue(connection, when, frame(0x81, payload.as_bytes()), entry);
            }
            return;
        }
        if hit(nature.corrupt) {
            let at = n as usize / 7 % payload.len();
            payload[at] ^= 1;
        }
        if nature.inverts {
            payload.iter_mut().for_each(|byte| *byte = b'~' - (*byte - b' '));
        }
        let bytes = frame(first, &payload);
        if hit(nature.duplicate) {
            self.queue(connection, when, bytes.clone(), entry);
        }
        self.queue(connection, when, bytes, entry);
    }

    /// Whether a message is a login, which is answered at once, or the answer to a heartbeat.
    fn is_aside(&self, connection: u64, payload: &[u8]) -> bool {
        let text = String::from_utf8_lossy(payload);
        if text.starts_with("{\"type\":\"pong\"") {
            self.lock().pongs += 1;
            return true;
        }
        if text.starts_with("{\"sub\":") {
            self.lock().subscribers.push(connection);
            self.queue(connection, now(), frame(0x81, b"{\"subscribed\":true}"), None);
            return true;
        }
        let Some(name) =
            text.strip_prefix("{\"login\":\"").filter(|_| matches!(self.nature.speech, Speech::Guarded))
        else {
            return false;
        };
        let name = name.split('"').next().unwrap_or_default();
        let answer = if name.starts_with("mallory") {
            // As servers do that say too much.
            format!("{{\"error\":\"not you\",\"you_said\":{text:?}}}")
        } else {
            self.lock().tokens.insert(connection, format!("{name}-{connection}"));
            format!("{{\"ok\":true,\"token\":\"{name}-{connection}\"}}")
        };
        self.queue(connection, now(), frame(0x81, answer.as_bytes()), None);
        true
    }

    /// What a request is answered with, how often and how long after each other; `None` where it is an echo.
    fn reply(&self, payload: &[u8], token: Option<&str>) -> Option<(String, u32, Duration)> {
        let text = String::from_utf8_lossy(payload);
        let id = text.split("\"id\":").nth(1)?.split([',', '}']).next()?;
        match self.nature.speech {
            Speech::Echo | Speech::Topic(_) => None,
            Speech::Rpc(parts, apart) => {
                self.lock().ids.extend(id.parse::<u64>());
                Some((format!("{{\"result\":[\"id\",0],\"id\":{id},\"jsonrpc\":\"2.0\"}}"), parts, apart))
            }
            Speech::Guarded => {
                let known = token.is_some_and(|token| text.contains(&format!("\"token\":\"{token}\"")));
                let word = if known { "result" } else { "error" };
                Some((format!("{{\"{word}\":1,\"id\":{id}}}"), 1, Duration::ZERO))
            }
        }
    }

    fn queue(&self, connection: u64, when: u64, bytes: Vec<u8>, entry: Option<usize>) {
        let mut state = self.lock();
        state.queued += 1;
        let number = state.queued;
        state.queue.push(Reply { when, number, connection, bytes, entry });
        self.changed.notify_one();
    }

    /// Writes replies when their time has come.
    fn send_replies(&self) {
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut state = self.lock();
        loop {
            let next = state.queue.peek().map(|reply| reply.when);
            let wait = next.map_or(SECOND, |when| when.saturating_sub(now()));
            if next.is_none() || wait > 0 {
                let wait = Duration::from_nanos(wait);
                state =
                    self.changed.wait_timeout(state, wait).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                continue;
            }
            let reply = state.queue.pop().expect("just seen");
            if reply.connection == u64::MAX {
                for (_, stream) in state.streams.drain() {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                continue;
            }
            let Some(stream) = state.streams.get(&reply.connection).and_then(|s| s.try_clone().ok()) else {
                continue;
            };
            let left = now();
            if let Some(entry) = reply.entry {
                state.log[entry].left = left;
                if state.log[entry].first == 0 {
                    state.log[entry].first = left;
                }
            }
            drop(state);
            let _ = (&stream).write_all(&reply.bytes);
            state = self.lock();
        }
    }

    /// Says something to everyone, so often.
    fn push(&self, period: Duration) {
        loop {
            thread::sleep(period);
            let connections: Vec<u64> = self.lock().streams.keys().copied().collect();
            for connection in connections {
                // Stamped now by the wall clock, and sent so much later.
                let now = now();
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                let said = self.nature.said.replace("@NS", &wall.to_string());
                let said = said.replace("@MS", &(wall / 1_000_000).to_string());
                let mut state = self.lock();
                let delay = if said == self.nature.said { 0 } else { self.nature.delay.draw(&mut state.rng) };
                state.log.push(Handled { due: now, arrived: now, earliest: now, left: 0, first: 0 });
                let entry = (said != self.nature.said).then(|| state.log.len() - 1);
                if entry.is_none() {
                    state.log.pop();
                }
                drop(state);
                self.queue(connection, now + delay, frame(0x81, said.as_bytes()), entry);
            }
        }
    }
}

/// When a message was due, by the low 48 bits of the clock in its stamp: 32 digits, of which the last four are a check.
fn due(payload: &[u8], arrived: u64) -> u64 {
    let digits = payload.get(16..28).and_then(|d| std::str::from_utf8(d).ok());
    let Some(clock) = digits.and_then(|d| u64::from_str_radix(d, 16).ok()) else { return 0 };
    let ago = arrived.wrapping_sub(clock) & ((1 << 48) - 1);
    // What reads as a time of yesterday is no stamp.
    if ago < 3600 * SECOND { arrived - ago } else { 0 }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The first bytes of a frame, and when the kernel had them; where it does not say, now. And its stamp, or 0.
fn read_first(stream: &mut TcpStream) -> io::Result<([u8; 2], u64, u128)> {
    let mut head = [0; 2];
    let mut space = nix::cmsg_space!(Timestamps);
    let mut into = [IoSliceMut::new(&mut head)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::empty())?;
    let wall = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
        _ => None,
    });
    let count = message.bytes;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // The stamp is of the wall clock, which is so long ago by both.
    let (mut ago, mut stamp) = (Duration::ZERO, 0);
    if let Some(wall) = wall.filter(|wall| wall.tv_sec() > 0) {
        let since = Duration::new(wall.tv_sec() as u64, wall.tv_nsec() as u32);
        (ago, stamp) =
            (SystemTime::now().duration_since(UNIX_EPOCH + since).unwrap_or_default(), since.as_nanos());
    }
    let arrived = now().saturating_sub(ago.as_nanos() as u64);
    stream.read_exact(&mut head[count..])?;
    Ok((head, arrived, stamp))
}

/// The first byte of an unfragmented frame, its payload without the mask, when it came, and by which stamp.
fn read_message(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>, u64, u128)> {
    let (head, arrived, stamp) = read_first(stream)?;
    Ok((head[0], read_payload(stream, head[1])?, arrived, stamp))
}
