//! A server with known faults, and loadgen run against it.
//!
//! The frames here are written and read by code of its own, so that a mistake in loadgen's is not made twice; the
//! handshake's answer is tungstenite's.

#![allow(dead_code, reason = "every test program uses its own part")]

pub mod foreign;
pub mod frame;
pub mod front;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use frame::{frame, read_payload};
use loadgen::report::{self, Finding, Report};
use tungstenite::handshake::derive_accept_key;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every reply is so late.
    pub delay: Duration,
    /// Nothing is answered for so long at the beginning of every such period.
    pub stall: Option<(Duration, Duration)>,
    /// Every message takes the server so long, one after the other.
    pub work: Duration,
    /// One reply in so many is that late, and those behind it.
    pub late: Option<(u64, Duration)>,
    /// One reply in so many is left out …
    pub drop: Option<u64>,
    /// … comes after the next one …
    pub swap: Option<u64>,
    /// … comes twice …
    pub duplicate: Option<u64>,
    /// … has a bit changed.
    pub corrupt: Option<u64>,
    /// Pings are not answered.
    pub no_pong: bool,
    /// Replies come in frames of so many bytes.
    pub fragment: Option<usize>,
    /// Replies are written a few bytes at a time.
    pub dribble: bool,
    /// A message goes to all other connections instead of back.
    pub broadcast: bool,
    /// Connections end after so long, without a Close.
    pub cut: Option<Duration>,
    /// Nothing is read from a connection in its first so long.
    pub deaf: Option<Duration>,
    /// Clients pinged when they connect.
    pub ping: bool,
    /// Connections that fit in the backlog, and how long none is accepted from the first on.
    pub backlog: Option<(i32, Duration)>,
    /// Early hints before the 101, and more lines in it than most have.
    pub chatty: bool,
    /// The status instead of 101.
    pub refuse: Option<u16>,
    /// The answer to the key is the answer to another.
    pub wrong_accept: bool,
    /// What is said to permessage-deflate, whatever was offered.
    pub extensions: Option<&'static str>,
    /// Compressed messages go back as they were before that.
    pub inflate: bool,
    /// Every reply is this instead.
    pub payload: Option<&'static [u8]>,
}

/// A server on a port of its own; it lives as long as the test program.
pub struct Server {
    pub address: SocketAddr,
    /// Pongs received.
    pub pongs: Arc<AtomicU64>,
    /// Closes received.
    pub closes: Arc<AtomicU64>,
}

/// The bytes of a reply, and when to write them.
type Reply = (Instant, Vec<u8>);

struct State {
    faults: Faults,
    began: Instant,
    replies: AtomicU64,
    pongs: Arc<AtomicU64>,
    closes: Arc<AtomicU64>,
    busy_until: Mutex<Instant>,
    members: Mutex<Vec<(u64, mpsc::Sender<Reply>)>>,
}

impl Server {
    pub fn start(faults: Faults) -> Server {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(faults.backlog.map_or(1024, |(n, _)| n)).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let pongs = Arc::<AtomicU64>::default();
        let closes = Arc::<AtomicU64>::default();
        let state = Arc::new(State {
            faults,
            began: Instant::now(),
            replies: AtomicU64::new(0),
            pongs: pongs.clone(),
            closes: closes.clone(),
            busy_until: Mutex::new(Instant::now()),
            members: Mutex::default(),
        });
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if let (0, Some((_, busy))) = (number, faults.backlog) {
                    // The first client finds the server free, the others find it busy.
                    thread::sleep(busy);
                }
                let (stream, state) = (stream.unwrap(), state.clone());
                // A client that goes away is no fault of the server's.
                thread::spawn(move || drop(serve(&state, number as u64, stream)));
            }
        });
        Server { address, pongs, closes }
    }

    pub fn url(&self) -> String {
        format!("{}/echo", front::reach(self.address))
    }
}

fn serve(state: &State, number: u64, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let faults = &state.faults;
    let head = read_head(&mut stream)?;
    if let Some(status) = faults.refuse {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
    }
    let hixie = answer(faults, &head, &mut stream)?;
    let frame = |first, payload: &[u8]| match (hixie, first) {
        (false, _) => frame(first, payload),
        (true, 0x88) => vec![0xFF, 0x00],
        (true, _) => [b"\x00", payload, b"\xFF"].concat(),
    };
    if faults.ping {
        stream.write_all(b"\x89\x02hi")?;
    }
    let (replies, queue) = mpsc::channel();
    state.members.lock().unwrap().push((number, replies.clone()));
    let mut writer = stream.try_clone()?;
    let dribble = faults.dribble;
    thread::spawn(move || drop(write_replies(&mut writer, &queue, dribble)));
    if let Some(after) = faults.cut {
        let socket = stream.try_clone()?;
        thread::spawn(move || {
            thread::sleep(after);
            socket.shutdown(Shutdown::Both)
        });
    }
    if let Some(deaf) = faults.deaf {
        thread::sleep(deaf);
    }

    let mut held_back: Option<Vec<u8>> = None;
    loop {
        let (first, payload) = if hixie { read_hixie(&mut stream)? } else { read_frame(&mut stream)? };
        let now = Instant::now();
        match first & 0x0F {
            0x8 => {
                state.closes.fetch_add(1, Ordering::Relaxed);
                let _ = replies.send((now, frame(0x88, &payload)));
                thread::sleep(Duration::from_millis(20));
                return stream.shutdown(Shutdown::Both);
            }
            0x9 if faults.no_pong => {}
            0x9 => drop(replies.send((now, frame(0x8A, &payload)))),
            0xA => drop(state.pongs.fetch_add(1, Ordering::Relaxed)),
            _ => {
                let n = state.replies.fetch_add(1, Ordering::Relaxed) + 1;
                let when = reply_at(state, n, now);
                let (first, payload) = altered(faults, n, first, payload);
                let reply = match faults.fragment {
                    None => frame(first, &payload),
                    Some(size) => fragments(first, &payload, size),
                };
                state.send(number, n, (when, reply), &replies, &mut held_back);
            }
        }
    }
}

/// Lets the client of a request in; whether it is one of draft 75 or 76.
fn answer(faults: &Faults, head: &str, stream: &mut TcpStream) -> io::Result<bool> {
    let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    // Without any key it is 75, which 76 is like from there on.
    let Some(key) = line("Sec-WebSocket-Key: ") else {
        let origin = line("Origin: ").unwrap_or("none");
        write!(
            stream,
            "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             WebSocket-Origin: {origin}\r\nWebSocket-Location: ws://{}/echo\r\n\r\n",
            stream.local_addr()?
        )?;
        return Ok(true);
    };
    let key = if faults.wrong_accept { "another" } else { key };
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    write!(
        stream,
        "{}HTTP/1.1 101 Switching Protocols\r\n{}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{}\r\n",
        if faults.chatty { hints } else { "" },
        if faults.chatty { "X-Line: 1\r\n".repeat(100) } else { String::new() },
        derive_accept_key(key.as_bytes()),
        faults.extensions.map(|e| format!("Sec-WebSocket-Extensions: {e}\r\n")).unwrap_or_default()
    )?;
    Ok(false)
}

/// Whether something befalls the reply of this number.
fn hit(n: u64, every: Option<u64>) -> bool {
    every.is_some_and(|every| n.is_multiple_of(every))
}

/// When the reply of this number goes, to a message that has come now.
fn reply_at(state: &State, n: u64, now: Instant) -> Instant {
    let faults = &state.faults;
    let mut when = now + faults.delay;
    if let Some((stall, period)) = faults.stall {
        let into = (now - state.began).as_nanos() % period.as_nanos();
        when += stall.saturating_sub(Duration::from_nanos(into as u64));
    }
    if let Some((every, late)) = faults.late
        && hit(n, Some(every))
    {
        when += late;
    }
    if faults.work > Duration::ZERO {
        let mut busy_until = state.busy_until.lock().unwrap();
        *busy_until = (*busy_until).max(now) + faults.work;
        when = when.max(*busy_until);
    }
    when
}

/// What a message comes back as: the first byte of its frame and its payload.
fn altered(faults: &Faults, n: u64, mut first: u8, mut payload: Vec<u8>) -> (u8, Vec<u8>) {
    if faults.inflate {
        assert_ne!(first & 0x40, 0, "messages are compressed");
        first &= !0x40;
        payload.extend([0, 0, 0xFF, 0xFF]);
        let mut plain = Vec::with_capacity(1 << 20);
        let mut inflate = flate2::Decompress::new(false);
        inflate.decompress_vec(&payload, &mut plain, flate2::FlushDecompress::Sync).unwrap();
        payload = plain;
    }
    if let Some(other) = faults.payload {
        payload = other.to_vec();
    }
    if hit(n, faults.corrupt) {
        let at = (n as usize / 7) % payload.len();
        payload[at] ^= 1;
    }
    (first, payload)
}

/// A message in frames of `size` bytes.
fn fragments(first: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let last = payload.len().div_ceil(size) - 1;
    let piece =
        |(i, bytes)| frame(if i == 0 { first & 0x7F } else { 0 } | if i == last { 0x80 } else { 0 }, bytes);
    payload.chunks(size).enumerate().flat_map(piece).collect()
}

impl State {
    /// Sends the reply of number `n`, to a message on the connection `number`, to whom it is for, as often as it is to come.
    fn send(
        &self,
        number: u64,
        n: u64,
        (when, reply): Reply,
        replies: &mpsc::Sender<Reply>,
        held_back: &mut Option<Vec<u8>>,
    ) {
        let faults = &self.faults;
        if faults.broadcast {
            for (_, member) in self.members.lock().unwrap().iter().filter(|(other, _)| *other != number) {
                let _ = member.send((when, reply.clone()));
            }
            return;
        }
        if hit(n, faults.drop) {
            return;
        }
        if hit(n, faults.swap) && held_back.is_none() {
            *held_back = Some(reply);
            return;
        }
        if hit(n, faults.duplicate) {
            let _ = replies.send((when, reply.clone()));
        }
        let _ = replies.send((when, reply));
        if let Some(before) = held_back.take() {
            let _ = replies.send((when, before));
        }
    }
}

fn write_replies(stream: &mut TcpStream, queue: &Receiver<Reply>, dribble: bool) -> io::Result<()> {
    for (when, bytes) in queue {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        if dribble {
            for piece in bytes.chunks(7) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_micros(50));
            }
        } else {
            stream.write_all(&bytes)?;
        }
    }
    Ok(())
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

/// The first byte of a client's message or control frame, and its payload; fragments are put together.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut message = Vec::new();
    let mut opcode = 0;
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        message.extend(read_payload(stream, head[1])?);
        // With RSV1, which the first frame alone may have.
        opcode |= head[0] & 0x4F;
        if head[0] & 0x80 != 0 {
            return Ok((0x80 | opcode, message));
        }
    }
}

/// The same for what a 75 client sends: as if it were text, or a Close.
fn read_hixie(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut message = Vec::new();
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte == [0xFF] {
        stream.read_exact(&mut byte)?;
        assert_eq!(byte, [0x00], "a Close has no length");
        return Ok((0x88, message));
    }
    assert_eq!(byte, [0x00], "clients send text");
    loop {
        stream.read_exact(&mut byte)?;
        if byte == [0xFF] {
            return Ok((0x81, message));
        }
        message.push(byte[0]);
    }
}

/// Two runs at a time on two processors would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// loadgen with `line`, words separated by spaces.
pub fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command.args(front::trust(line));
    // A calibration of this host is none of the tests' business.
    command.env("XDG_CACHE_HOME", "/nonexistent");
    command
}

/// A path in the folder of the build.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{n}-{name}", std::process::id()))
}

/// Runs loadgen and returns its report and what it printed.
pub fn measure(line: &str) -> (Report, Output) {
    let _alone = alone();
    let path = scratch("report.json");
    let output = loadgen(&format!("{line} -q --json {}", path.display())).output().unwrap();
    let report = report::load(&path)
        .unwrap_or_else(|e| panic!("{e}: {}\n{}", line, String::from_utf8_lossy(&output.stderr)));
    std::fs::remove_file(&path).unwrap();
    (report, output)
}

/// The codes of `findings`.
pub fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code.as_str()).collect()
}

/// The kinds of the signatures of a report.
pub fn signatures(report: &Report) -> Vec<&str> {
    report.signatures.iter().map(|s| s.kind.as_str()).collect()
}

/// What this host did to the run by itself: no limit below it can be asserted.
pub fn disturbance(report: &Report) -> u64 {
    let max = |stat: &Option<loadgen::report::Stat>| stat.as_ref().map_or(0, |s| s.max);
    max(&report.latency_ns.hiccup) + max(&report.latency_ns.own_slip) + max(&report.latency_ns.read_lag)
}
