//! The network of the operating system, through `mio`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::engine::network::{Network, Readiness};
use crate::engine::timer::Timer;
use crate::host::address::Address;
use crate::host::clock::{self, Moment};
use crate::host::source_addresses;
use crate::host::stamps::Stamps;
use crate::host::tcp_info;

const TIMER: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Events taken at a time; sends that fall due meanwhile go out between them.
const EVENTS: usize = 256;

/// A poll, and a timer for times that it could not keep.
pub struct System {
    poll: Poll,
    timer: Timer,
    events: Events,
    /// With `--stamps kernel`.
    stamps: Option<Stamps>,
    stamp: Option<Moment>,
}

impl System {
    /// The network, and what ends a wait from another thread. With `stamps`, reads say when the kernel had their bytes.
    ///
    /// # Errors
    /// When descriptors are exhausted.
    pub fn new(stamps: bool) -> io::Result<(System, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let events = Events::with_capacity(EVENTS);
        Ok((System { poll, timer, events, stamps: stamps.then(Stamps::new), stamp: None }, waker))
    }
}

impl Network for System {
    type Socket = TcpStream;

    fn now(&mut self) -> Moment {
        Moment::now()
    }

    fn wall(&mut self, at: Moment) -> u64 {
        clock::unix_ns(at.wall())
    }

    fn wait(&mut self, until: Option<Moment>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let timeout = match until {
            None => Some(Duration::ZERO),
            Some(alarm) => {
                self.timer.set(alarm)?;
                None
            }
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        if let Some(stamps) = &mut self.stamps {
            stamps.look();
        }
        for event in &self.events {
            match event.token() {
                TIMER => self.timer.fired(),
                WAKER => {}
                Token(connection) => ready.push(Readiness {
                    connection,
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    read_closed: event.is_read_closed(),
                }),
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        connection: usize,
        target: &Address,
        source: Option<IpAddr>,
    ) -> io::Result<TcpStream> {
        let mut stream = source_addresses::connect(target, source)?;
        if self.stamps.is_some() {
            Stamps::ask(&stream);
        }
        Registry::register(self.poll.registry(), &mut stream, Token(connection), BOTH)?;
        Ok(stream)
    }

    fn connected(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket2::SockRef::from(&*socket).peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stamps) = &mut self.stamps else { return socket.read(buffer) };
        let (count, stamp) = stamps.read(socket, buffer)?;
        self.stamp = stamp;
        Ok(count)
    }

    fn stamp(&mut self) -> Option<Moment> {
        self.stamp.take()
    }

    fn steps(&self) -> u64 {
        self.stamps.as_ref().map_or(0, |stamps| stamps.steps())
    }

    fn sent_again(&self, socket: &TcpStream) -> u64 {
        tcp_info::sent_again(socket)
    }

    fn narrow(&mut self, socket: &mut TcpStream, bytes: usize) {
        // Whoever cannot have it narrow has it wide: its reads are slow all the same.
        let _ = socket2::SockRef::from(&*socket).set_recv_buffer_size(bytes);
    }

    fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        socket.write(bytes)
    }

    fn tell_again(&mut self, connection: usize, socket: &mut TcpStream) -> io::Result<()> {
        Registry::reregister(self.poll.registry(), socket, Token(connection), BOTH)
    }

    fn close(&mut self, socket: TcpStream, reset: bool) {
        if reset {
            let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        } else {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
