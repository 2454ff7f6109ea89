//! The closed-loop client of both servers: one epoll, and less work a message than any server can do.
//!
//! Every connection has one batch of messages in flight and sends the next when the last byte of the answer is there.
//! The first answer on each connection is compared byte for byte; after that the answers are counted, and the kernel
//! throws them away (MSG_TRUNC), so that the client copies nothing and stays ahead of the server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::frame;

/// How many connections are between `connect` and their first answer at a time.
const OPENING: usize = 100;

/// One recv takes all that is there: no row has more than this in flight on a connection.
const SINK: usize = 2 * 1024 * 1024;

/// A server this silent is broken, and the bench ends with an error rather than hang.
const SILENCE_MS: u16 = 5_000;

/// What is said to a server, and what it has to answer.
pub struct Script {
    /// `None`: no handshake, the message is the first thing said.
    pub upgrade: Option<&'static [u8]>,
    /// The messages of one batch, back to back.
    pub batch: Vec<u8>,
    pub answer: Vec<u8>,
    pub messages: u64,
}

const UPGRADE: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const UPGRADE_DEFLATE: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 101 ";

impl Script {
    /// Binary messages of `size` bytes, `in_flight` at a time.
    pub fn web_socket(size: usize, in_flight: usize) -> Script {
        let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
        Script::frames(frame::BINARY, &payload, in_flight)
    }

    /// The same, of text that is not all ASCII.
    pub fn text(size: usize, in_flight: usize) -> Script {
        let payload = "λόγος, ".repeat(size / 12) + &" ".repeat(size % 12);
        Script::frames(frame::TEXT, payload.as_bytes(), in_flight)
    }

    fn frames(opcode: u8, payload: &[u8], in_flight: usize) -> Script {
        Script {
            upgrade: Some(UPGRADE),
            batch: frame::masked(opcode, payload).repeat(in_flight),
            answer: frame::plain(opcode, payload).repeat(in_flight),
            messages: in_flight as u64,
        }
    }

    /// The same bytes to a server that knows no WebSocket: they come back as they are, four a message more.
    pub fn plain(size: usize, in_flight: usize) -> Script {
        let script = Script::web_socket(size, in_flight);
        Script { upgrade: None, answer: script.batch.clone(), ..script }
    }

    /// The same in messages that are marked as compressed (RFC 7692 §6); what is in them, an echo does not look at.
    pub fn deflate(size: usize, in_flight: usize) -> Script {
        const RSV1: u8 = 0x40;
        let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
        Script {
            upgrade: Some(UPGRADE_DEFLATE),
            batch: frame::masked(RSV1 | frame::BINARY, &payload).repeat(in_flight),
            answer: frame::plain(RSV1 | frame::BINARY, &payload).repeat(in_flight),
            messages: in_flight as u64,
        }
    }
}

pub struct Client {
    server: SocketAddr,
    script: Script,
    epoll: Epoll,
    links: Vec<Link>,
    events: Vec<EpollEvent>,
    sink: Vec<u8>,
}

struct Link {
    socket: Socket,
    stage: Stage,
    sent: usize,
    received: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Upgrade,
    /// The answer is compared.
    First,
    /// The answer is counted.
    Steady,
}

impl Client {
    pub fn new(server: SocketAddr, script: Script) -> io::Result<Client> {
        Ok(Client {
            server,
            script,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            links: Vec::new(),
            events: vec![EpollEvent::empty(); 1024],
            sink: vec![0; SINK],
        })
    }

    /// Opens connections until there are `count`; each has had its batch answered when this returns.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        let mut answered = self.links.len();
        while answered < count {
            while self.links.len() < count && self.links.len() - answered < OPENING {
                self.connect()?;
            }
            for at in 0..self.wait()? {
                let event = self.events[at];
                answered += usize::from(self.advance(event)?);
            }
        }
        Ok(())
    }

    /// Opens `count` connections, one echo each, and closes them all. They close with a RST: nothing of them lingers
    /// in TIME_WAIT to slow the next round down.
    pub fn come_and_go(&mut self, count: usize) -> io::Result<u64> {
        self.open(count)?;
        self.links.clear();
        Ok(count as u64)
    }

    /// Keeps every connection busy for `time`, lets the last answers come, and says how many messages went round.
    pub fn run(&mut self, time: Duration) -> io::Result<u64> {
        for key in 0..self.links.len() {
            self.start(key)?;
        }
        let end = Instant::now() + time;
        let mut batches = 0;
        let mut busy = self.links.len();
        while busy > 0 {
            let ready = self.wait()?;
            let over = Instant::now() >= end;
            for at in 0..ready {
                let event = self.events[at];
                if !self.advance(event)? {
                    continue;
                }
                batches += 1;
                if over {
                    busy -= 1;
                } else {
                    self.start(event.data() as usize)?;
                }
            }
        }
        Ok(batches * self.script.messages)
    }

    fn wait(&mut self) -> io::Result<usize> {
        match self.epoll.wait(&mut self.events, SILENCE_MS)? {
            0 => Err(io::Error::other(format!("{} said nothing for {SILENCE_MS} ms", self.server))),
            ready => Ok(ready),
        }
    }

    /// On loopback a blocking connect returns at once while the backlog has room; what follows never blocks.
    fn connect(&mut self) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        // Four source addresses: with one, the search for a free port would slow down as they run short.
        let source = Ipv4Addr::new(127, 0, 0, 1 + (self.links.len() % 4) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        socket.connect(&self.server.into())?;

        let key = self.links.len();
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let stage = if self.script.upgrade.is_some() { Stage::Upgrade } else { Stage::First };
        self.links.push(Link { socket, stage, sent: 0, received: 0 });
        self.start(key)?;
        self.epoll.add(&self.links[key].socket, EpollEvent::new(flags, key as u64))?;
        Ok(())
    }

    fn start(&mut self, key: usize) -> io::Result<()> {
        let link = &mut self.links[key];
        link.sent = 0;
        link.received = 0;
        link.send(&self.script)
    }

    /// Does what an event allows; true when it brought the last byte of a batch's answer.
    fn advance(&mut self, event: EpollEvent) -> io::Result<bool> {
        let key = event.data() as usize;
        let link = &mut self.links[key];
        if event.events().intersects(EpollFlags::EPOLLOUT) {
            link.send(&self.script)?;
        }
        if !event.events().intersects(!EpollFlags::EPOLLOUT) {
            return Ok(false);
        }
        let read = link.receive(&mut self.sink)?;
        let answer = &self.script.answer;
        match link.stage {
            Stage::Upgrade if read == 0 => Ok(false),
            Stage::Upgrade if self.sink.starts_with(ACCEPTED) && self.sink[..read].ends_with(b"\r\n\r\n") => {
                link.stage = Stage::First;
                self.start(key)?;
                Ok(false)
            }
            Stage::Upgrade => Err(io::Error::other("the upgrade was refused, or answered in pieces")),
            Stage::First if answer.get(link.received..link.received + read) != Some(&self.sink[..read]) => {
                Err(io::Error::other("the answer is not the echo"))
            }
            Stage::First | Stage::Steady => {
                link.received += read;
                if link.received > answer.len() {
                    return Err(io::Error::other("the answer is longer than the echo"));
                }
                // An event for the free buffer space alone brings nothing, and is no answer either.
                let complete = read > 0 && link.received == answer.len();
                if complete {
                    link.stage = Stage::Steady;
                }
                Ok(complete)
            }
        }
    }
}

impl Link {
    /// Sends what is left to send, as far as the kernel takes it.
    fn send(&mut self, script: &Script) -> io::Result<()> {
        let bytes = match (self.stage, script.upgrade) {
            (Stage::Upgrade, Some(upgrade)) => upgrade,
            _ => &script.batch,
        };
        while self.sent < bytes.len() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), &bytes[self.sent..], flags) {
                Ok(sent) => self.sent += sent,
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// One recv; 0 means nothing was there.
    fn receive(&mut self, sink: &mut [u8]) -> io::Result<usize> {
        let discard = if self.stage == Stage::Steady { MsgFlags::MSG_TRUNC } else { MsgFlags::empty() };
        match recv(self.socket.as_raw_fd(), sink, MsgFlags::MSG_DONTWAIT | discard) {
            Ok(0) => Err(io::Error::other("the server closed a connection")),
            Ok(read) => Ok(read),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
