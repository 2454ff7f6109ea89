//! `loadgen calibrate`: what this host can do when the server costs nothing.
//!
//! The null peer is a thread that answers every byte stream with frames of the same payload and nothing else: no
//! checks, no buffers, no fairness. What loadgen reaches against it is this host's ceiling, and its latency the floor.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use crate::cli::args::{Args, Calibrate, Command};
use crate::cli::output;
use crate::engine::Plan;
use crate::engine::schedule::Rate;
use crate::modes::run::{measure, plan};
use crate::modes::session::{Problem, Session};
use crate::report::units::{short_rate, short_time};

/// Connections at which the host is measured.
const SIZES: [usize; 3] = [1, 100, 1000];

/// What a calibration found, one entry a number of connections.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    connections: u64,
    /// Messages a second, closed loop.
    ceiling: f64,
    /// Response time at a thousand messages a second, ns.
    floor_p50_ns: u64,
    floor_p99_ns: u64,
}

/// The command.
///
/// # Errors
/// When the null peer cannot listen, or the result cannot be kept.
pub fn command(args: &Calibrate) -> Result<u8, Problem> {
    let address = null_peer()?;
    let mut entries = Vec::new();
    output::print(&format!(
        "{:>12}  {:>10}  {:>10}  {:>10}\n",
        "connections", "ceiling/s", "floor p50", "floor p99"
    ))?;
    for connections in SIZES {
        let url = format!("ws://{address}/");
        let line = ["run", "-c", &connections.to_string(), "-t", "1", &url].map(str::to_owned);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let Ok(Args { command: Command::Run(run) }) = argh::FromArgs::from_args(&["loadgen"], &line) else {
            unreachable!("the line is a good one");
        };
        let mut common = run.common();
        common.quiet = args.quiet;
        let mut session = Session::new(common)?;
        let closed = Plan { warmup: Duration::from_secs(1), duration: args.duration, ..plan(&session) };
        let (ceiling, _) = measure(&mut session, "closed", connections, &closed)?;
        let open = Plan { rate: Some(Rate::Constant(1000.0)), ..closed };
        let (floor, _) = measure(&mut session, "open", connections, &open)?;
        if session.signals.flag.load(Ordering::Relaxed) {
            return Ok(session.signals.exit_code().unwrap_or(output::exit::FAILED));
        }
        let at =
            |key: &str| floor.latency_ns.response.as_ref().and_then(|s| s.p.get(key)).copied().unwrap_or(0);
        let entry = Entry {
            connections: connections as u64,
            ceiling: ceiling.messages.achieved_rate,
            floor_p50_ns: at("50"),
            floor_p99_ns: at("99"),
        };
        output::print(&format!(
            "{connections:>12}  {:>10}  {:>10}  {:>10}\n",
            short_rate(entry.ceiling),
            short_time(entry.floor_p50_ns),
            short_time(entry.floor_p99_ns)
        ))?;
        entries.push(entry);
    }
    let path = cache().ok_or_else(|| Problem::Failed("neither XDG_CACHE_HOME nor HOME is set".into()))?;
    let json = serde_json::to_string_pretty(&entries).expect("numbers become JSON");
    let kept =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, json));
    kept.map_err(|e| Problem::Failed(format!("{}: {e}", path.display())))?;
    output::print(&format!("kept in {}\n", path.display()))?;
    Ok(output::exit::OK)
}

/// The ceiling of this host at about `connections`, messages a second, if it was ever calibrated.
pub fn ceiling(connections: u64) -> Option<f64> {
    let entries: Vec<Entry> = serde_json::from_str(&std::fs::read_to_string(cache()?).ok()?).ok()?;
    let nearest = entries.iter().min_by_key(|e| e.connections.abs_diff(connections))?;
    Some(nearest.ceiling)
}

fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("loadgen").join("calibration.json"))
}

/// Starts the null peer on a thread that lives as long as the program, and says where it listens.
///
/// # Errors
/// The system's.
pub fn null_peer() -> std::io::Result<SocketAddr> {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    let address = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    std::thread::spawn(move || {
        let mut events = Events::with_capacity(256);
        let mut streams: Vec<Option<(TcpStream, bool)>> = vec![None];
        let mut buffer = vec![0; 64 * 1024];
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                if event.token() == Token(0) {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let _ = stream.set_nodelay(true);
                        if poll
                            .registry()
                            .register(&mut stream, Token(streams.len()), Interest::READABLE)
                            .is_ok()
                        {
                            streams.push(Some((stream, false)));
                        }
                    }
                } else if let Some(slot) = streams.get_mut(event.token().0)
                    && let Some((stream, open)) = slot
                    && !serve(stream, open, &mut buffer)
                {
                    *slot = None;
                }
            }
        }
    });
    Ok(address)
}

/// Answers what has come; false when the connection is over.
fn serve(stream: &mut TcpStream, open: &mut bool, buffer: &mut [u8]) -> bool {
    let n = match stream.read(buffer) {
        Ok(0) => return false,
        Ok(n) => n,
        Err(e) => return e.kind() == ErrorKind::WouldBlock,
    };
    if !*open {
        *open = true;
        let head = std::str::from_utf8(&buffer[..n]).unwrap_or_default();
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        return stream.write_all(crate::protocol::handshake::acceptance(key).as_bytes()).is_ok();
    }
    // Messages here are 128 bytes and never split: two bytes of header, two of length, four of mask.
    let (mut from, mut to) = (0, 0);
    while from + 8 <= n && buffer[from + 1] == 0x80 | 126 {
        let len = usize::from(u16::from_be_bytes([buffer[from + 2], buffer[from + 3]]));
        let key = [buffer[from + 4], buffer[from + 5], buffer[from + 6], buffer[from + 7]];
        if from + 8 + len > n {
            return false;
        }
        buffer.copy_within(from..from + 4, to);
        buffer[to + 1] = 126;
        buffer.copy_within(from + 8..from + 8 + len, to + 4);
        for (byte, k) in buffer[to + 4..to + 4 + len].iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= k;
        }
        from += 8 + len;
        to += 4 + len;
    }
    // Anything else is the end: a Close.
    from == n && stream.write_all(&buffer[..to]).is_ok()
}
