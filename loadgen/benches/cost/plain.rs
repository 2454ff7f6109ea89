//! The least a WebSocket client can do: epoll, read, write.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub struct Client {
    epoll: Epoll,
    streams: Vec<TcpStream>,
    /// One masked frame, the same every time.
    frame: Vec<u8>,
    answer: usize,
}

impl Client {
    pub fn open(address: SocketAddr, connections: usize, size: usize) -> Client {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        let mut frame = vec![0x82, 0x80 | 126];
        frame.extend((size as u16).to_be_bytes());
        frame.extend([0x37, 0xfa, 0x21, 0x3d]);
        frame.extend((0..size).map(|i| i as u8));
        let streams: Vec<TcpStream> = (0..connections)
            .map(|i| {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("an option");
                stream
                    .write_all(
                        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                    )
                    .expect("a request");
                let mut head = [0; 512];
                let n = stream.read(&mut head).expect("an answer");
                assert!(head[..n].starts_with(b"HTTP/1.1 101 "));
                stream.set_nonblocking(true).expect("an option");
                let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
                epoll.add(&stream, EpollEvent::new(flags, i as u64)).expect("room in the epoll");
                stream
            })
            .collect();
        Client { epoll, streams, frame, answer: 4 + size }
    }

    /// Keeps one message in flight on every connection; returns how many were answered.
    pub fn run(&mut self, time: Duration) -> u64 {
        for stream in &mut self.streams {
            stream.write_all(&self.frame).expect("room for a frame");
        }
        let end = Instant::now() + time;
        let mut events = vec![EpollEvent::empty(); 256];
        let mut buffer = vec![0; 64 * 1024];
        let (mut answered, mut out) = (0, self.streams.len());
        while out > 0 {
            let n = self.epoll.wait(&mut events, EpollTimeout::from(5000u16)).expect("events");
            assert!(n > 0, "the server has stopped");
            let over = Instant::now() >= end;
            for event in &events[..n] {
                let stream = &mut self.streams[event.data() as usize];
                let n = stream.read(&mut buffer).expect("an answer");
                assert_eq!(n, self.answer, "one answer, whole");
                answered += 1;
                if over {
                    out -= 1;
                } else {
                    stream.write_all(&self.frame).expect("room for a frame");
                }
            }
        }
        answered
    }
}
