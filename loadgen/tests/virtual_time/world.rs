//! A network, a clock and a server that are made up, and quick: hours pass in seconds.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;

use loadgen::engine::network::{Network, Readiness};
use loadgen::host::address::Address;
use loadgen::host::clock::Moment;
use nix::libc::ECONNREFUSED;

use crate::host::Host;
use crate::servers::Server;
use crate::wire::{accepted, frame, take_frame};

/// From one end of a connection to the other, nanoseconds.
const WAY: u64 = 5_000;

/// What a system call takes.
const CALL: u64 = 1_500;

/// A message as its server saw it.
#[derive(Clone, Copy, Debug)]
pub struct Logged {
    pub arrived: u64,
    pub left: u64,
}

#[derive(Default)]
struct Peer {
    accepted: bool,
    upgraded: bool,
    /// Bytes from the client that are no whole frame yet.
    inbox: Vec<u8>,
    /// Bytes to the client: when they are there.
    coming: VecDeque<(u64, Vec<u8>)>,
}

/// All of it.
pub struct World {
    pub now: u64,
    pub server: Server,
    /// Of the client's thread, and of the server's.
    hosts: [Host; 2],
    peers: Vec<Peer>,
    /// When something happens, and on which connection.
    events: BinaryHeap<Reverse<(u64, usize)>>,
    stamp: u64,
    /// Time in which the client's thread does not run.
    pub stopped: Option<(u64, u64)>,
    pub log: Vec<Logged>,
    stuck: u32,
    /// The server and the client share a processor that is theirs alone: what one does, the other waits for.
    served_until: u64,
}

impl World {
    pub fn new(server: Server, hosts: [Host; 2]) -> World {
        World {
            now: 1_000_000_000,
            server,
            hosts,
            peers: Vec::new(),
            events: BinaryHeap::new(),
            stamp: 0,
            stopped: None,
            log: Vec::new(),
            stuck: 0,
            served_until: 0,
        }
    }

    /// All connections are gone; the server still has what it has to do.
    pub fn hang_up(&mut self) {
        self.peers.clear();
        self.events.clear();
        self.log.clear();
        self.now += 1_000_000;
    }

    fn wait(&mut self, until: Option<Moment>, ready: &mut Vec<Readiness>) {
        let next = self.events.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        if let Some(Moment(until)) = until {
            let at = next.min(until);
            if at == u64::MAX {
                // Only another thread can end this wait, as it does with a command.
                self.stuck += 1;
                assert!(self.stuck < 100, "nothing will ever happen again");
            } else if at > self.now {
                self.now = at + self.hosts[0].late(at);
            }
        }
        if let Some((from, to)) = self.stopped
            && (from..to).contains(&self.now)
        {
            self.now = to;
        }
        self.now += CALL;
        while let Some(Reverse((at, connection))) = self.events.peek().copied()
            && at <= self.now
        {
            self.events.pop();
            ready.push(Readiness { connection, readable: true, writable: true, read_closed: false });
        }
    }

    fn read(&mut self, connection: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.now += CALL;
        let peer = &mut self.peers[connection];
        let mut n = 0;
        while let Some((at, bytes)) = peer.coming.front_mut()
            && *at <= self.now
            && n < buffer.len()
        {
            let part = bytes.len().min(buffer.len() - n);
            buffer[n..n + part].copy_from_slice(&bytes[..part]);
            n += part;
            self.stamp = *at;
            if part == bytes.len() {
                peer.coming.pop_front();
            } else {
                bytes.drain(..part);
            }
        }
        if n == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn write(&mut self, connection: usize, bytes: &[u8]) -> usize {
        self.now += 2 * CALL;
        self.peers[connection].inbox.extend_from_slice(bytes);
        if !self.peers[connection].upgraded {
            self.upgrade(connection);
        }
        // A server that has just been at work is awake.
        let there = self.now + WAY;
        let late = if there < self.served_until { 0 } else { self.hosts[1].late(there) };
        let begin = there.max(self.served_until) + late;
        while self.peers[connection].upgraded
            && let Some((first, payload, _)) = take_frame(&mut self.peers[connection].inbox)
        {
            match first & 0x0F {
                0x8 => self.say(connection, self.now + WAY, frame(0x88, &payload)),
                0x9 => self.say(connection, self.now + WAY, frame(0x8A, &payload)),
                opcode => {
                    self.served_until = begin + 2 * CALL;
                    let replies = self.server.serve(begin, connection, self.peers.len(), payload);
                    let arrived = there;
                    // Of a message to everyone each delivery counts, of an answer that comes twice the last.
                    let skipped = if self.server.passes_on.is_some() { 0 } else { replies.len().max(1) - 1 };
                    let left = replies.iter().skip(skipped).map(|reply| reply.at + 2 * CALL);
                    self.log.extend(left.map(|left| Logged { arrived, left }));
                    for reply in replies {
                        let bytes = frame(0x80 | opcode, &reply.payload);
                        self.say(reply.connection, reply.at + 2 * CALL + WAY, bytes);
                    }
                }
            }
        }
        bytes.len()
    }

    fn upgrade(&mut self, connection: usize) {
        let inbox = &mut self.peers[connection].inbox;
        let Some(end) = inbox.windows(4).position(|w| w == b"\r\n\r\n") else { return };
        let head: Vec<u8> = inbox.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a request is text");
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        self.peers[connection].upgraded = true;
        self.say(connection, self.now + 10 * WAY, accepted(key));
    }

    /// Sends `bytes`, which are there at `at`; where replies overtake each other, in the order in which they leave.
    fn say(&mut self, connection: usize, at: u64, bytes: Vec<u8>) {
        let coming = &mut self.peers[connection].coming;
        let behind = coming.iter().rev().take_while(|(other, _)| *other > at).count();
        coming.insert(coming.len() - behind, (at, bytes));
        self.events.push(Reverse((at, connection)));
    }
}

/// The network of the world that it shares with the test.
pub struct Shared(pub Rc<RefCell<World>>);

impl Network for Shared {
    type Socket = usize;

    fn now(&mut self) -> Moment {
        Moment(self.0.borrow().now)
    }

    fn wait(&mut self, until: Option<Moment>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.0.borrow_mut().wait(until, ready);
        Ok(())
    }

    fn connect(&mut self, connection: usize, _: &Address, _: Option<IpAddr>) -> io::Result<usize> {
        let world = &mut *self.0.borrow_mut();
        world.peers.resize_with(world.peers.len().max(connection + 1), Peer::default);
        world.events.push(Reverse((world.now + 10 * WAY, connection)));
        Ok(connection)
    }

    fn connected(&mut self, socket: &mut usize) -> io::Result<bool> {
        let world = &mut *self.0.borrow_mut();
        let peer = &mut world.peers[*socket];
        if !peer.accepted && world.server.room == 0 {
            return Err(io::Error::from_raw_os_error(ECONNREFUSED));
        }
        world.server.room -= usize::from(!std::mem::replace(&mut peer.accepted, true));
        Ok(true)
    }

    fn read(&mut self, socket: &mut usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(*socket, buffer)
    }

    fn stamp(&mut self) -> Option<Moment> {
        Some(Moment(self.0.borrow().stamp))
    }

    fn write(&mut self, socket: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.borrow_mut().write(*socket, bytes))
    }

    fn tell_again(&mut self, connection: usize, _: &mut usize) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        world.events.push(Reverse((world.now, connection)));
        Ok(())
    }

    fn close(&mut self, socket: usize, _: bool) {
        self.0.borrow_mut().peers[socket] = Peer::default();
    }
}
