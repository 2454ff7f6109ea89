//! The kernel in production: `mio`, the system's sockets, its clock and its signals.

use super::ffi;
use super::kernel::{InFlight, Kernel, Notice, Readiness, Stream, Vitals};
use super::moment::Moment;
use super::token::{ConnId, Source};
use crate::notify::Manager;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Events taken from the system at once; more stay there for the next poll.
const EVENTS: usize = 1024;
/// Clients that may wait to be accepted. mio's own `bind` has 128, which a burst of reconnects overflows; the system
/// lowers this to net.core.somaxconn.
pub const BACKLOG: i32 = 4096;
/// A silent peer is probed after this long, then every ten seconds.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Longest time between two attempts to reach a peer that owes us an answer, and between two questions about a closed window.
/// Whether it can be reached is judged by the answers, and not by the system's own patience (TCP_USER_TIMEOUT), which also ends
/// connections whose window is closed on purpose.
const RETRY: Duration = Duration::from_secs(30);
/// Unsent bytes the kernel takes per connection. A peer that does not read then pins this much instead of the 4 MB to
/// which send buffers grow by themselves.
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// In the file system, or passed to us.
    Unix(UnixListener, Option<SocketFile>),
}

/// The file of a Unix socket that was bound here. It goes when the listener closes, not later: by then another server may
/// have put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what is at `path` by then may be another server's.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), identity: SocketFile::identity(path) }
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && SocketFile::identity(&self.path) == self.identity {
            // It may be out of reach since privileges were dropped.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who else may bind a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else.
    Nobody,
    /// Other processes that share it, too (SO_REUSEPORT).
    Others,
    /// Only others serve there: it is bound, so that it stays theirs, and not listened on.
    OthersAlone,
}

/// Binds a TCP port.
///
/// # Errors
/// The system's own for socket(2), bind(2) or listen(2).
pub fn listen(address: SocketAddr, sharing: Sharing) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    bind_tcp(socket, address, sharing)
}

/// Binds a TCP port of every address, IPv6 and IPv4; of IPv4 alone where there is no IPv6.
///
/// # Errors
/// The system's own for socket(2), bind(2) or listen(2).
pub fn listen_any(port: u16, sharing: Sharing) -> io::Result<Listener> {
    match listen_both(port, sharing) {
        Err(error) if is_lacking(&error) => listen((Ipv4Addr::UNSPECIFIED, port).into(), sharing),
        result => result,
    }
}

/// Whether an address could not be bound because this host does not have it, or not its family.
pub fn is_lacking(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

fn listen_both(port: u16, sharing: Sharing) -> io::Result<Listener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    // The system's default (net.ipv6.bindv6only) may be another.
    socket.set_only_v6(false)?;
    bind_tcp(socket, (Ipv6Addr::UNSPECIFIED, port).into(), sharing)
}

fn bind_tcp(socket: Socket, address: SocketAddr, sharing: Sharing) -> io::Result<Listener> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing != Sharing::Nobody)?;
    socket.bind(&address.into())?;
    if sharing != Sharing::OthersAlone {
        socket.listen(BACKLOG)?;
    }
    adopt_tcp(socket.into())
}

/// Takes over a TCP socket that listens already, with every option that accepted sockets inherit, so that none is set per
/// client.
pub fn adopt_tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
    let socket = SockRef::from(&listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(10)).with_retries(6),
    )?;
    ffi::limit_retries(&listener, RETRY);
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    listener.set_nonblocking(true)?;
    Ok(Listener::Tcp(TcpListener::from_std(listener)))
}

/// Binds a Unix socket at `path`, which is removed again when the listener closes.
///
/// # Errors
/// The system's own for socket(2), bind(2) or listen(2).
pub fn listen_unix(path: &Path) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path);
    socket.listen(BACKLOG)?;
    own_unix(socket.into(), Some(file))
}

/// Takes over a Unix socket that listens already.
pub fn adopt_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
    own_unix(listener, None)
}

fn own_unix(listener: std::os::unix::net::UnixListener, file: Option<SocketFile>) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    Ok(Listener::Unix(UnixListener::from_std(listener), file))
}

impl Listener {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// The address, of a TCP socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }
}

/// A client's socket.
#[derive(Debug)]
pub enum Client {
    /// From a port.
    Tcp(TcpStream),
    /// From the file system.
    Unix(UnixStream),
}

/// The operating system.
pub struct System {
    poll: Poll,
    events: Events,
    listeners: Vec<Option<Listener>>,
    signals: SignalFd,
    manager: Manager,
}

impl System {
    /// Watches `listeners`, and the signals that mean something.
    ///
    /// # Errors
    /// The system's own for epoll and for signal handlers.
    pub fn new(mut listeners: Vec<Listener>, manager: Manager) -> io::Result<System> {
        ffi::keep_some();
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Source::Listener(index).into())?;
        }
        // SIGHUP is caught in any case, so that it does not kill.
        let caught = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP]);
        caught.thread_block()?;
        let signals = SignalFd::with_flags(&caught, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        poll.registry().register(
            &mut SourceFd(&signals.as_raw_fd()),
            Source::Stop.into(),
            Interest::READABLE,
        )?;
        let listeners = listeners.into_iter().map(Some).collect();
        let events = Events::with_capacity(EVENTS);
        Ok(System { poll, events, listeners, signals, manager })
    }
}

/// A signal that came. What is left there will not be announced again, so an interrupted read is no reason to go.
fn next_signal(signals: &SignalFd) -> Option<siginfo> {
    loop {
        match signals.read_signal() {
            Err(Errno::EINTR) => {}
            result => return result.ok().flatten(),
        }
    }
}

impl Kernel for System {
    type Stream = Client;

    fn poll(&mut self, timeout: Option<Duration>, mut on_event: impl FnMut(Readiness)) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)?;
        for event in &self.events {
            let is_broken = event.is_error();
            let event = Readiness {
                source: event.token().into(),
                // A broken connection is told by the next call on it, whichever that is.
                readable: event.is_readable() || event.is_read_closed() || event.is_priority() || is_broken,
                writable: event.is_writable() || is_broken,
                read_closed: event.is_read_closed() || event.is_priority() || is_broken,
            };
            if event.source != Source::Stop {
                on_event(event);
                continue;
            }
            while let Some(signal) = next_signal(&self.signals) {
                match Signal::try_from(signal.ssi_signo as i32) {
                    Ok(Signal::SIGUSR1) => on_event(Readiness { source: Source::Report, ..event }),
                    Ok(Signal::SIGHUP) => on_event(Readiness { source: Source::Reload, ..event }),
                    _ => on_event(event),
                }
            }
        }
        Ok(())
    }

    /// Since the system started, straight from its clock: this is asked twice a tick, and the standard library's way through
    /// instants and durations takes three times as long.
    #[inline]
    fn now(&self) -> Moment {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
        Moment(now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1000)
    }

    fn accept(&mut self, listener: usize) -> io::Result<Client> {
        match &self.listeners[listener] {
            Some(Listener::Tcp(listener)) => listener.accept().map(|(stream, _)| Client::Tcp(stream)),
            Some(Listener::Unix(listener, _)) => listener.accept().map(|(stream, _)| Client::Unix(stream)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn register(&mut self, stream: &mut Client, id: ConnId) -> io::Result<()> {
        // Both interests, once: the writable edge costs one event in a lifetime, a change of interest one call each.
        // Urgent data is nobody's business here, but reads end in front of it: see `Readiness::read_closed`.
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let token = Source::Connection(id).into();
        match stream {
            Client::Tcp(stream) => self.poll.registry().register(stream, token, interest),
            Client::Unix(stream) => self.poll.registry().register(stream, token, interest),
        }
    }

    fn close_listener(&mut self, listener: usize) {
        self.listeners[listener] = None;
    }

    fn give_back(&mut self) {
        ffi::give_back();
    }

    fn notify(&mut self, notice: Notice) {
        self.manager.tell(match notice {
            Notice::Alive => "WATCHDOG=1",
            Notice::Stopping => "STOPPING=1\nSTATUS=Telling clients to go",
        });
    }
}

impl Read for Client {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Client::Tcp(stream) => stream.read(buf),
            Client::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Client {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Client::Tcp(stream) => stream.write(buf),
            Client::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Client::Tcp(stream) => stream.as_fd(),
            Client::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream for Client {
    fn write_pieces(&mut self, pieces: &[IoSlice]) -> io::Result<usize> {
        match self {
            Client::Tcp(stream) => stream.write_vectored(pieces),
            Client::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        // A peer that is gone already has shut everything down.
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn reset(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }

    fn peer(&self) -> Option<SocketAddr> {
        match self {
            // A client of IPv4 at a port of both families has an address of IPv6 that maps its own.
            Client::Tcp(stream) => {
                stream.peer_addr().ok().map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()))
            }
            Client::Unix(_) => None,
        }
    }

    fn vitals(&self) -> Vitals {
        let vitals = match self {
            Client::Tcp(stream) => ffi::tcp_vitals(stream),
            Client::Unix(stream) => ffi::unix_vitals(stream),
        };
        // Nothing is known: no sign of life, and nothing on its way either.
        vitals.unwrap_or(Vitals {
            acked: 0,
            edge: 0,
            unsent: 0,
            unread: false,
            in_flight: InFlight::Nothing,
            heard: Duration::MAX,
            spoke: Duration::MAX,
        })
    }
}
