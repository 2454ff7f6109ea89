//! One speaker and many listeners, on one epoll, doing less work a message than any server can.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv};

use crate::frame;

/// A server this silent is broken, and the bench ends with an error rather than hang.
const SILENCE_MS: u16 = 5_000;

const UPGRADE: &[u8] =
    b"GET /board/bench HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a server is spoken to in.
pub enum Language {
    /// No handshake; the listeners hear the very bytes that were said.
    Plain,
    /// Members of one board.
    WebSocket,
}

pub struct Room {
    speaker: TcpStream,
    listeners: Vec<TcpStream>,
    /// Bytes that each listener has yet to hear of the current burst.
    unheard: Vec<usize>,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    said: Vec<u8>,
    heard: Vec<u8>,
    sink: Vec<u8>,
    burst: u64,
}

impl Room {
    /// Connects everybody. Both languages have every listener hear the same bytes.
    pub fn open(
        server: SocketAddr,
        language: Language,
        listeners: usize,
        size: usize,
        burst: usize,
    ) -> io::Result<Room> {
        let payload: Vec<u8> = (0..size).map(|at| b' ' + (at % 64) as u8).collect();
        let heard = frame::plain(frame::TEXT, &payload).repeat(burst);
        let (said, upgrade) = match language {
            Language::Plain => (heard.clone(), None),
            Language::WebSocket => (frame::masked(frame::TEXT, &payload).repeat(burst), Some(UPGRADE)),
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let listeners = (0..listeners).map(|_| connect(server, upgrade)).collect::<io::Result<Vec<_>>>()?;
        for (key, listener) in listeners.iter().enumerate() {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(listener, EpollEvent::new(flags, key as u64))?;
        }
        Ok(Room {
            speaker: connect(server, upgrade)?,
            unheard: vec![0; listeners.len()],
            events: vec![EpollEvent::empty(); 1024],
            listeners,
            epoll,
            said,
            sink: vec![0; heard.len()],
            heard,
            burst: burst as u64,
        })
    }

    /// One burst, compared byte for byte.
    pub fn check(&mut self) -> io::Result<()> {
        self.speaker.write_all(&self.said)?;
        let mut bytes = vec![0; self.heard.len()];
        for listener in &mut self.listeners {
            listener.set_read_timeout(Some(Duration::from_millis(SILENCE_MS.into())))?;
            listener.read_exact(&mut bytes)?;
            if bytes != self.heard {
                return Err(io::Error::other("a listener heard something else than was said"));
            }
        }
        Ok(())
    }

    /// Burst after burst for `time`; how many messages were delivered.
    pub fn run(&mut self, time: Duration) -> io::Result<u64> {
        let end = Instant::now() + time;
        let mut bursts = 0;
        while Instant::now() < end {
            self.speaker.write_all(&self.said)?;
            self.hear()?;
            bursts += 1;
        }
        Ok(bursts * self.burst * self.listeners.len() as u64)
    }

    /// Waits until everybody has heard the whole burst; the kernel throws it away (MSG_TRUNC).
    fn hear(&mut self) -> io::Result<()> {
        self.unheard.fill(self.heard.len());
        let mut waiting = self.listeners.len();
        while waiting > 0 {
            let ready = self.epoll.wait(&mut self.events, SILENCE_MS)?;
            if ready == 0 {
                return Err(io::Error::other(format!(
                    "{waiting} listeners heard nothing for {SILENCE_MS} ms"
                )));
            }
            for event in &self.events[..ready] {
                let key = event.data() as usize;
                let unheard = &mut self.unheard[key];
                while *unheard > 0 {
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
                    match recv(self.listeners[key].as_raw_fd(), &mut self.sink, flags) {
                        Ok(0) => return Err(io::Error::other("the server closed a connection")),
                        Ok(count) => *unheard -= count,
                        Err(Errno::EAGAIN) => break,
                        Err(error) => return Err(error.into()),
                    }
                    waiting -= usize::from(*unheard == 0);
                }
            }
        }
        Ok(())
    }
}

fn connect(server: SocketAddr, upgrade: Option<&[u8]>) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    if let Some(upgrade) = upgrade {
        stream.write_all(upgrade)?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
    }
    Ok(stream)
}
