//! What a worker asks of the operating system: the seam where a simulation takes its place.

use std::io;
use std::net::IpAddr;

use crate::host::address::Address;
use crate::host::clock::Moment;

/// What is told about a connection. A hint, and possibly of one that is no more: only the result of a call is a fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// What [`Network::connect`] was told.
    pub connection: usize,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The server sends no more: read on to the end, a short read no longer means that nothing is left.
    pub read_closed: bool,
}

/// Sockets, readiness and time: those of the system, or a script's.
///
/// Readiness is edge-triggered: it is told when something becomes possible, and not again until a call has said
/// `WouldBlock` (or has moved fewer bytes than it was offered, which says the same).
pub trait Network {
    /// A connection that is under way or open.
    type Socket;

    /// The time now, on a clock that never goes back.
    fn now(&mut self) -> Moment;

    /// What the wall clock shows at `at`, nanoseconds since 1970.
    fn wall(&mut self, at: Moment) -> u64 {
        at.0
    }

    /// Waits until something is ready or `until` is there, whichever comes first, or returns at once if that is `None`;
    /// appends what is ready to `ready`. It may return early, with nothing.
    ///
    /// # Errors
    /// When the system can wait no more.
    fn wait(&mut self, until: Option<Moment>, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Starts to connect from `source` to `target`; readiness is told of as `connection`.
    ///
    /// # Errors
    /// The system's, such as that source ports are used up.
    fn connect(
        &mut self,
        connection: usize,
        target: &Address,
        source: Option<IpAddr>,
    ) -> io::Result<Self::Socket>;

    /// Whether `socket` is connected by now.
    ///
    /// # Errors
    /// Why it will not be.
    fn connected(&mut self, socket: &mut Self::Socket) -> io::Result<bool>;

    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, `Interrupted`, and what ends a connection.
    fn read(&mut self, socket: &mut Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;

    /// When the last of what the last `read` returned had come, where the network knows.
    fn stamp(&mut self) -> Option<Moment> {
        None
    }

    /// How often the clock behind [`Network::stamp`] was stepped.
    fn steps(&self) -> u64 {
        0
    }

    /// How many segments had to be sent again on `socket` so far, where the network knows.
    fn sent_again(&self, _socket: &Self::Socket) -> u64 {
        0
    }

    /// Gives `socket` room for no more than so many `bytes` that come, so that the server notices who does not read.
    fn narrow(&mut self, _socket: &mut Self::Socket, _bytes: usize) {}

    /// Writes as much of `bytes` as fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits, `Interrupted`, and what ends a connection.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Makes `wait` tell again of a `socket` that was not read to its end.
    ///
    /// # Errors
    /// The system's.
    fn tell_again(&mut self, connection: usize, socket: &mut Self::Socket) -> io::Result<()>;

    /// Ends a connection; with `reset`, unread data and the peer's view are cut off at once (RST).
    fn close(&mut self, socket: Self::Socket, reset: bool);
}
