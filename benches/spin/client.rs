//! A client that never sleeps: what it shows of a round trip is the server's wake-up, and not its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::frame;

const SIZE: usize = 20;
const UPGRADE: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// A server this silent is broken.
const SILENCE: Duration = Duration::from_secs(5);

/// Connections that have each one message of 20 bytes in flight.
pub struct Client {
    epoll: Epoll,
    links: Vec<Link>,
    message: Vec<u8>,
    answer: Vec<u8>,
}

struct Link {
    socket: TcpStream,
    sent: Instant,
    received: usize,
}

impl Client {
    /// Opens so many connections, with a handshake if the server is `web_socket`, and else sends the same bytes bare.
    pub fn open(server: SocketAddr, web_socket: bool, count: usize) -> io::Result<Client> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut links = Vec::new();
        for key in 0..count {
            let mut socket = TcpStream::connect(server)?;
            socket.set_nodelay(true)?;
            if web_socket {
                upgrade(&mut socket)?;
            }
            socket.set_nonblocking(true)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, key as u64))?;
            links.push(Link { socket, sent: Instant::now(), received: 0 });
        }
        let message = frame::masked(frame::BINARY, &[7; SIZE]);
        let answer = if web_socket { frame::plain(frame::BINARY, &[7; SIZE]) } else { message.clone() };
        Ok(Client { epoll, links, message, answer })
    }

    /// Keeps every connection busy for `time`; after an answer it waits for `gap`, awake, before its next message. Gives
    /// every round trip, in nanoseconds.
    pub fn round_trips(&mut self, time: Duration, gap: Duration) -> io::Result<Vec<u64>> {
        let mut times = Vec::new();
        let start = Instant::now();
        for key in 0..self.links.len() {
            self.send(key)?;
        }
        let mut busy = self.links.len();
        let mut events = [EpollEvent::empty(); 128];
        let mut heard = start;
        while busy > 0 {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            let now = Instant::now();
            if ready == 0 && now - heard > SILENCE {
                return Err(io::Error::other("the server says nothing"));
            }
            for event in &events[..ready] {
                heard = now;
                let key = event.data() as usize;
                let Some(sent) = self.receive(key)? else { continue };
                let now = Instant::now();
                times.push((now - sent).as_nanos() as u64);
                if now - start >= time {
                    busy -= 1;
                    continue;
                }
                while now.elapsed() < gap {
                    std::hint::spin_loop();
                }
                self.send(key)?;
            }
        }
        Ok(times)
    }

    fn send(&mut self, key: usize) -> io::Result<()> {
        let link = &mut self.links[key];
        link.received = 0;
        link.sent = Instant::now();
        link.socket.write_all(&self.message)
    }

    /// Reads what is there; when that completes the answer, when its message was sent.
    fn receive(&mut self, key: usize) -> io::Result<Option<Instant>> {
        let link = &mut self.links[key];
        let mut answer = [0; 128];
        let read = match link.socket.read(&mut answer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => read?,
        };
        if self.answer.get(link.received..link.received + read) != Some(&answer[..read]) {
            return Err(io::Error::other("the answer is not the echo"));
        }
        link.received += read;
        Ok((link.received == self.answer.len()).then_some(link.sent))
    }
}

fn upgrade(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(UPGRADE)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        Ok(())
    } else {
        Err(io::Error::other("the upgrade was refused"))
    }
}
