//! What the reactor asks of the operating system: the seam where a simulation takes its place.

use super::moment::Moment;
use super::token::{ConnId, Source};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

/// What is told about readiness. A hint, and possibly a spurious one: only the result of an I/O call is a fact.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// Which socket.
    pub source: Source,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer sends no more, or has sent urgent data, in front of which a read ends: a short read no longer means that
    /// nothing is left, so read on to the end.
    pub read_closed: bool,
}

/// A kernel: `mio` and the system's sockets in production, a script in the simulation.
///
/// Readiness is edge-triggered: an event comes when something becomes possible, and not again until a call has said
/// `WouldBlock` (or has moved fewer bytes than it was offered, which says the same).
pub trait Kernel {
    /// A connected socket of this kernel.
    type Stream: Stream;

    /// Waits for events, at most `timeout`, and hands each to `on_event`.
    fn poll(&mut self, timeout: Option<Duration>, on_event: impl FnMut(Readiness)) -> io::Result<()>;

    /// The time now, on a clock that never goes back.
    fn now(&self) -> Moment;

    /// Takes one connection out of the queue of a listener.
    fn accept(&mut self, listener: usize) -> io::Result<Self::Stream>;

    /// Asks for events about `stream`, under the name `id`, until it is dropped.
    fn register(&mut self, stream: &mut Self::Stream, id: ConnId) -> io::Result<()>;

    /// Stops listening there; clients still in the queue are turned away.
    fn close_listener(&mut self, listener: usize);

    /// Has the allocator give back to the system what nothing uses any more.
    fn give_back(&mut self);

    /// Tells the service manager, if there is one.
    fn notify(&mut self, notice: Notice);
}

/// What a service manager wants to know (sd_notify(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The loop goes round.
    Alive,
    /// It is on its way out.
    Stopping,
}

/// A connected socket; dropping it closes it.
pub trait Stream: io::Read + io::Write {
    /// Writes `pieces` behind each other, as one write of all their bytes would be: how many of those were taken.
    ///
    /// By itself this is a write for each, until one is short; a system has one call for all.
    fn write_pieces(&mut self, pieces: &[IoSlice]) -> io::Result<usize> {
        let mut taken = 0;
        for piece in pieces {
            let count = loop {
                match self.write(piece) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock && taken > 0 => break 0,
                    result => break result?,
                }
            };
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        Ok(taken)
    }

    /// Says that nothing more will be written: a FIN behind what was.
    fn shutdown_write(&self) -> io::Result<()>;

    /// Has dropping it send a RST where the system knows that, and throw away what is still to be sent.
    fn reset(&self) -> io::Result<()>;

    /// Who is at the other end, if the system still knows.
    fn peer(&self) -> Option<SocketAddr>;

    /// What the system knows of the other end beside what can be read: asked when a patience ends, never for a message.
    fn vitals(&self) -> Vitals;
}

/// What was sent, must be answered, and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// All is acknowledged.
    Nothing,
    /// A question about a closed window, which may have been asked just now and is asked seldom.
    Question,
    /// Bytes are on their way, or a question about a closed window that had no answer when it was asked before.
    Data,
}

/// Signs of life that no read and no write shows. Counts of bytes wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Bytes that the other end has acknowledged: that its system has, whether or not anybody reads them.
    pub acked: u32,
    /// How far the other end lets us go: `acked` and its window. Grows as somebody there reads.
    pub edge: u32,
    /// Bytes that our system has taken and not sent yet.
    pub unsent: u32,
    /// Bytes may lie at the other end, or wait for room there, that nobody has read: whoever reads those shows nothing of it for
    /// a while.
    pub unread: bool,
    /// What is not acknowledged.
    pub in_flight: InFlight,
    /// Since the last acknowledgement.
    pub heard: Duration,
    /// Since bytes came, whether they were read or not.
    pub spoke: Duration,
}
