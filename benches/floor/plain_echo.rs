//! The floor: what any echo server on one epoll has to do, and nothing else.
//!
//! Edge-triggered, because level-triggered measured no cheaper, and as wsecho is.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use socket2::{Domain, Socket, Type};

/// One read. Messages of 1 MiB take half as long again with 64 KiB; more than this gains no more than the noise.
const SCRATCH: usize = 256 * 1024;

/// One wait's worth of events, as in wsecho.
const EVENTS: usize = 1024;

/// Serves 127.0.0.1 on a free port until killed; says on stderr which, in wsecho's own words. With `spin` it never sleeps.
pub fn run(spin: bool) -> std::io::Result<()> {
    let timeout = if spin { EpollTimeout::ZERO } else { EpollTimeout::NONE };
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_tcp_nodelay(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    eprintln!("listening on {}", listener.local_addr()?);

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, event(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, &listener))?;
    let mut connections = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let ready = match epoll.wait(&mut events, timeout) {
            // A tracer that attaches does this.
            Err(Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in &events[..ready] {
            let fd = event.data() as RawFd;
            if fd == listener.as_raw_fd() {
                accept(&epoll, &listener, &mut connections)?;
            } else {
                let slot: &mut Option<Connection> = &mut connections[fd as usize];
                let connection = slot.as_mut().expect("an event belongs to an open connection");
                let hangup = event.events().intersects(EpollFlags::EPOLLRDHUP);
                if connection.turn(&epoll, hangup, &mut scratch).is_err() {
                    *slot = None;
                }
            }
        }
    }
}

fn event(flags: EpollFlags, socket: &impl AsFd) -> EpollEvent {
    EpollEvent::new(flags, socket.as_fd().as_raw_fd() as u64)
}

/// Takes everyone out of the backlog; the edge does not come twice.
fn accept(
    epoll: &Epoll,
    listener: &TcpListener,
    connections: &mut Vec<Option<Connection>>,
) -> nix::Result<()> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: accept4 has just made this descriptor, and nobody else has it.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                epoll.add(&socket, event(Connection::READ, &socket))?;
                let slot = fd as usize;
                if connections.len() <= slot {
                    connections.resize_with(slot + 1, || None);
                }
                connections[slot] = Some(Connection { socket, unsent: Vec::new() });
            }
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Connection {
    socket: OwnedFd,
    /// What the kernel would not take; nothing is read before it is gone.
    unsent: Vec<u8>,
}

impl Connection {
    const READ: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLET);
    const READ_WRITE: EpollFlags = Self::READ.union(EpollFlags::EPOLLOUT);

    /// One recv and one send, again only while the scratch comes back full. An error is the end, EOF too.
    fn turn(&mut self, epoll: &Epoll, hangup: bool, scratch: &mut [u8]) -> nix::Result<()> {
        let fd = self.socket.as_raw_fd();
        if !self.unsent.is_empty() {
            let sent = or_none(send(fd, &self.unsent, MsgFlags::MSG_NOSIGNAL))?.unwrap_or(0);
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return Ok(());
            }
        }
        loop {
            let read = match or_none(recv(fd, scratch, MsgFlags::empty()))? {
                None => return Ok(()),
                Some(0) => return Err(Errno::ECONNRESET),
                Some(read) => read,
            };
            let sent = or_none(send(fd, &scratch[..read], MsgFlags::MSG_NOSIGNAL))?.unwrap_or(0);
            if sent < read {
                self.unsent.extend_from_slice(&scratch[sent..read]);
                return epoll.modify(&self.socket, &mut event(Self::READ_WRITE, &self.socket));
            }
            if read < scratch.len() && !hangup {
                return Ok(());
            }
        }
    }
}

/// `None` where the kernel says "not now".
fn or_none(result: nix::Result<usize>) -> nix::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}
