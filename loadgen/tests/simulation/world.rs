//! The network and the clock of a simulation.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;

use fastrand::Rng;
use loadgen::engine::network::{Network, Readiness};
use loadgen::host::address::Address;
use loadgen::host::clock::Moment;
use nix::errno::Errno;

use crate::model::{Model, Writing};
use crate::peer::{Connecting, Heard, Manners, Peer, Wall};

/// Shorter than any buffer but a slow reader's.
const LITTLE: usize = 32 * 1024;

/// What the network does of itself, in thousandths of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whims {
    /// Writes that take only a part, or nothing.
    pub short_writes: u32,
    pub interrupts: u32,
    /// Waits that end early, with nothing.
    pub early: u32,
    /// Waits that end milliseconds late.
    pub late: u32,
    /// Readiness that is none.
    pub spurious: u32,
    /// Readiness that is told at the next wait only.
    pub postponed: u32,
    /// Reads that the kernel stamps, and of those the ones with a stamp that cannot be.
    pub stamps: [u32; 2],
    /// Connects that fail at once, fail later, and never end.
    pub no_connect: [u32; 3],
}

pub struct World {
    pub now: u64,
    rng: Rng,
    whims: Whims,
    /// By connection, as the worker counts them; the last of each is the one in use.
    peers: Vec<Peer>,
    /// The manners of connections to come.
    manners: Vec<Manners>,
    pub model: Model,
    /// What a connection said last, for those that answer with another's words.
    stranger: Vec<u8>,
    pub open_sockets: usize,
    pub wall: Wall,
    stamp: Option<u64>,
    stuck: u32,
}

impl World {
    pub fn new(now: u64, rng: Rng, whims: Whims, manners: Vec<Manners>, model: Model) -> World {
        World {
            now,
            rng,
            whims,
            peers: Vec::new(),
            manners,
            model,
            stranger: Vec::new(),
            open_sockets: 0,
            wall: Wall::default(),
            stamp: None,
            stuck: 0,
        }
    }

    fn whim(&mut self, thousandths: u32) -> bool {
        self.rng.u32(..1000) < thousandths
    }

    /// A call takes its time.
    fn spend(&mut self) {
        self.now += match self.rng.u8(..) {
            0 => self.rng.u64(5_000..400_000),
            1..20 => self.rng.u64(1_000..20_000),
            _ => self.rng.u64(100..3_000),
        };
    }

    fn wait(&mut self, until: Option<u64>, ready: &mut Vec<Readiness>) {
        self.model.on_wait(until);
        let next = self.peers.iter().filter_map(Peer::next).min();
        if let Some(until) = until {
            let at = next.unwrap_or(u64::MAX).min(until);
            if at == u64::MAX {
                // Only another thread can end this wait, as it does with a command.
                self.stuck += 1;
                assert!(self.stuck < 100, "nothing will ever happen again");
                return self.model.after_wait(&[]);
            }
            let at = at.max(self.now);
            if self.whim(self.whims.early) {
                self.now = self.rng.u64(self.now..=at);
                return self.model.after_wait(&[]);
            }
            self.now = at
                + if self.whim(self.whims.late) {
                    self.rng.u64(100_000..30_000_000)
                } else {
                    self.rng.u64(..4_000)
                };
        } else {
            // A look takes little time, but for those that the scheduler makes long.
            self.now += if self.whim(50) { self.rng.u64(..400_000) } else { self.rng.u64(..2_000) };
        }
        for connection in 0..self.peers.len() {
            if self.whim(self.whims.postponed) {
                continue;
            }
            if let Some((readable, writable, read_closed)) = self.peers[connection].edges(self.now) {
                ready.push(Readiness { connection, readable, writable, read_closed });
            } else if self.whim(self.whims.spurious) {
                let readable = self.rng.bool();
                ready.push(Readiness { connection, readable, writable: true, read_closed: false });
            }
        }
        self.rng.shuffle(ready);
        self.model.after_wait(ready);
    }

    fn connect(&mut self, connection: usize) -> io::Result<usize> {
        self.spend();
        let [at_once, later, never] = self.whims.no_connect;
        let fails = self.rng.u32(..1000);
        let wait = self.rng.u64(10_000..2_000_000);
        let connecting = match fails {
            n if n < at_once + later => Connecting::Until(self.now + wait, Some(Errno::ECONNREFUSED as i32)),
            n if n < at_once + later + never => Connecting::Until(u64::MAX, None),
            _ => Connecting::Until(self.now + wait, None),
        };
        let manners = self.manners[connection % self.manners.len()].clone();
        let mut peer = Peer::new(connecting, manners, self.rng.fork());
        peer.closed = fails < at_once;
        match self.peers.get_mut(connection) {
            Some(old) => *old = peer,
            None => self.peers.push(peer),
        }
        if fails < at_once {
            let code = Errno::EHOSTUNREACH as i32;
            self.model.on_connect(connection, Some("connect: No route to host"));
            return Err(io::Error::from_raw_os_error(code));
        }
        self.model.on_connect(connection, None);
        self.open_sockets += 1;
        Ok(connection)
    }

    fn connected(&mut self, connection: usize) -> io::Result<bool> {
        self.spend();
        match self.peers[connection].connecting {
            Connecting::Done => {
                self.model.on_connected(connection);
                Ok(true)
            }
            Connecting::Until(u64::MAX, Some(code)) => {
                self.model.on_cause(connection, "connect: Connection refused");
                Err(io::Error::from_raw_os_error(code))
            }
            Connecting::Until(..) => {
                self.model.on_not_connected(connection);
                Ok(false)
            }
        }
    }

    fn read(&mut self, connection: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.spend();
        // Who reads slowly reads little at a time.
        let slow = buffer.len() < LITTLE;
        if self.whim(self.whims.interrupts) {
            match slow {
                true => self.model.on_slow_read(connection, 0, buffer.len(), Vec::new(), None),
                false => self.model.on_read(connection, 0, (Vec::new(), false), None, None),
            }
            return Err(ErrorKind::Interrupted.into());
        }
        let peer = &mut self.peers[connection];
        let n = peer.take(self.now, buffer);
        let said = peer.understood();
        let at = peer.there_at;
        let [stamped, wrong] = self.whims.stamps;
        self.stamp = match () {
            () if !self.whim(stamped) => None,
            () if self.whim(wrong) => Some(if self.rng.bool() {
                self.now + 5_000_000
            } else {
                self.now.saturating_sub(5_000_000_000)
            }),
            () => Some(at),
        };
        let peer = &mut self.peers[connection];
        let ended = if n > 0 { None } else { peer.ended(self.now) };
        match slow {
            true => self.model.on_slow_read(connection, n, buffer.len(), said.0, ended),
            false => self.model.on_read(connection, n, said, ended, self.stamp),
        }
        match (n, ended) {
            (0, None) => Err(ErrorKind::WouldBlock.into()),
            (0, Some(true)) => Err(io::Error::from_raw_os_error(Errno::ECONNRESET as i32)),
            (n, _) => Ok(n),
        }
    }

    fn write(&mut self, connection: usize, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "nothing is written");
        let writing = self.model.before_write(connection, bytes);
        // Other writes are not followed by a look at the clock. If they took time, it would show only later, and the model
        // could not tell when a message that is not written at once left the schedule.
        if writing == Writing::Scheduled {
            self.spend();
        }
        if self.whim(self.whims.interrupts) {
            return Err(ErrorKind::Interrupted.into());
        }
        let peer = &self.peers[connection];
        if peer.end.is_some_and(|(at, reset)| reset && at <= self.now) {
            self.model.on_cause(connection, "Connection reset by peer");
            return Err(io::Error::from_raw_os_error(Errno::ECONNRESET as i32));
        }
        let mut room = peer.room;
        // The request is short; real kernels take it.
        if writing != Writing::Request && self.whim(self.whims.short_writes) {
            room = room.min(self.rng.usize(..=bytes.len()));
        }
        let taken = room.min(bytes.len());
        let peer = &mut self.peers[connection];
        peer.room = room - taken;
        if taken < bytes.len() {
            peer.room = 0;
            peer.room_at = Some(self.now + self.rng.u64(10_000..5_000_000));
        }
        peer.stranger(&self.stranger);
        for heard in self.peers[connection].hear(&bytes[..taken], self.now) {
            if let Heard::Message(_, payload, _) = &heard {
                self.stranger.clone_from(payload);
            }
            self.model.on_heard(connection, heard);
        }
        self.model.after_write(connection, writing, taken == bytes.len());
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }
}

/// The network of the world that it shares with the test.
pub struct Shared(pub Rc<RefCell<World>>);

impl Network for Shared {
    type Socket = usize;

    fn now(&mut self) -> Moment {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.model.on_clock(now);
        Moment(now)
    }

    fn wall(&mut self, at: Moment) -> u64 {
        let mut world = self.0.borrow_mut();
        let wall = world.wall.at(at.0);
        world.model.on_wall(at.0, wall);
        wall
    }

    fn wait(&mut self, until: Option<Moment>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.0.borrow_mut().wait(until.map(|at| at.0), ready);
        Ok(())
    }

    fn connect(&mut self, connection: usize, _: &Address, source: Option<IpAddr>) -> io::Result<usize> {
        assert_eq!(source, None, "none was asked for");
        self.0.borrow_mut().connect(connection)
    }

    fn connected(&mut self, socket: &mut usize) -> io::Result<bool> {
        self.0.borrow_mut().connected(*socket)
    }

    fn read(&mut self, socket: &mut usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(*socket, buffer)
    }

    fn stamp(&mut self) -> Option<Moment> {
        self.0.borrow().stamp.map(Moment)
    }

    fn write(&mut self, socket: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(*socket, bytes)
    }

    fn tell_again(&mut self, connection: usize, socket: &mut usize) -> io::Result<()> {
        assert_eq!(connection, *socket, "one name for both");
        self.0.borrow_mut().peers[connection].again = true;
        Ok(())
    }

    fn close(&mut self, socket: usize, reset: bool) {
        let world = &mut *self.0.borrow_mut();
        assert!(!world.peers[socket].closed, "closed twice");
        world.peers[socket].closed = true;
        world.open_sockets -= 1;
        world.model.on_close(socket, reset);
    }
}
