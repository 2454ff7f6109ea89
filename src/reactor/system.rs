//! The kernel in production: `mio`, the system's sockets, its clock and its signals.

use super::deadlines::Moment;
use super::kernel::{Event, Kernel, Stream};
use super::token::{ConnId, Source};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll};
use nix::libc::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Events taken from the system in one call.
const EVENTS: usize = 1024;
/// Such calls in one poll: enough for as many descriptors as a process may have (2^20).
const BATCHES: usize = 1024;
/// Clients that may wait to be accepted. mio's own `bind` has 128, which a burst of reconnects overflows; the system
/// lowers this to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// A silent peer is probed after this long, then every ten seconds.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A peer that acknowledges nothing for this long is gone. Keepalive does not see one that owes us acknowledgements.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// Unsent bytes the kernel takes per connection. A peer that does not read then pins this much instead of the 4 MB to
/// which send buffers grow by themselves.
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// Binds a listening socket with every option that accepted sockets inherit, so that none is set per client.
///
/// # Errors
/// The system's own for socket(2), bind(2) or listen(2).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(10)).with_retries(6),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The operating system.
pub struct System {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    signals: Signals,
    start: Instant,
}

impl System {
    /// Watches `listeners`, and SIGTERM and SIGINT.
    ///
    /// # Errors
    /// The system's own for epoll and for signal handlers.
    pub fn new(mut listeners: Vec<TcpListener>) -> io::Result<System> {
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Source::Listener(index).into(), Interest::READABLE)?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        poll.registry().register(&mut signals, Source::Signals.into(), Interest::READABLE)?;
        Ok(System { poll, events: Events::with_capacity(EVENTS), listeners, signals, start: Instant::now() })
    }
}

impl Kernel for System {
    type Stream = TcpStream;

    fn poll(&mut self, mut timeout: Option<Duration>, mut on_event: impl FnMut(Event)) -> io::Result<()> {
        for _ in 0..BATCHES {
            self.poll.poll(&mut self.events, timeout)?;
            let mut count = 0;
            for event in &self.events {
                count += 1;
                let source = event.token().into();
                let is_broken = event.is_error();
                let event = Event {
                    source,
                    // A broken connection is told by the next call on it, whichever that is.
                    readable: event.is_readable() || event.is_read_closed() || is_broken,
                    writable: event.is_writable() || is_broken,
                    read_closed: event.is_read_closed() || is_broken,
                };
                if source == Source::Signals {
                    self.signals.pending().for_each(|_| on_event(event));
                } else {
                    on_event(event);
                }
            }
            if count < EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment::default() + self.start.elapsed()
    }

    fn accept(&mut self, listener: usize) -> io::Result<TcpStream> {
        self.listeners[listener].accept().map(|(stream, _)| stream)
    }

    fn register(&mut self, stream: &mut TcpStream, id: ConnId) -> io::Result<()> {
        // Both interests, once: the writable edge costs one event in a lifetime, a change of interest one call each.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(stream, Source::Connection(id).into(), interest)
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}

impl Stream for TcpStream {
    fn shutdown_write(&self) -> io::Result<()> {
        // A peer that is gone already has shut everything down.
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}
