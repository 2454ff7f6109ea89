//! One connection.

use mio::net::TcpStream;

use crate::engine::in_flight::{Exchange, NONE};
use crate::engine::network::Network;
use crate::engine::transport::Transport;
use crate::host::clock::Moment;
use crate::protocol::session::Session;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The TCP handshake, and that of TLS.
    Connecting,
    /// The TLS handshake.
    Securing,
    /// The request is out, the answer is not there.
    Upgrading,
    /// The opening words.
    Greeting,
    /// Messages go to and fro.
    Open,
    /// Our Close is sent.
    Closing,
    /// It ended.
    Gone,
}

impl Stage {
    /// How reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Connecting => "connect",
            Stage::Securing => "tls",
            Stage::Upgrading => "upgrade",
            Stage::Greeting => "hello",
            Stage::Open | Stage::Closing | Stage::Gone => "open",
        }
    }
}

/// One connection. Small, since there may be a million: whatever only a busy one needs is in a box or in the thread's
/// [`InFlight`](crate::engine::in_flight::InFlight) table.
pub struct Connection<S> {
    /// Its byte stream.
    pub transport: Transport<S>,
    /// What the bytes mean.
    pub session: Session,
    /// Its messages in flight.
    pub exchange: Exchange,
    /// How far it has come.
    pub stage: Stage,
    /// Counts connects, so that each has its own key.
    pub attempt: u32,
    /// When the stage began.
    pub since: Moment,
}

const _: () = assert!(
    size_of::<Connection<TcpStream>>() <= 80,
    "the promise is 256 bytes, and the kernel's structures are not small"
);

impl<S> Connection<S> {
    /// One that begins to connect at `now`.
    pub fn new(socket: Option<S>, now: Moment) -> Connection<S> {
        Connection {
            transport: Transport::new(socket),
            session: Session::default(),
            exchange: Exchange::default(),
            stage: Stage::Connecting,
            attempt: 0,
            since: now,
        }
    }

    /// Between SYN and the end of the opening words.
    pub fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Securing | Stage::Upgrading | Stage::Greeting)
    }

    /// Becomes `fresh`, the next attempt. Indices go on, so that a late echo is never taken for a new one.
    pub fn renew(&mut self, fresh: Connection<S>) {
        let (attempt, exchange) = (self.attempt + 1, Exchange { unsent: NONE, ..self.exchange });
        *self = Connection { attempt, exchange, ..fresh };
    }

    /// Ends it; with `reset`, at once (RST).
    pub fn close(&mut self, network: &mut impl Network<Socket = S>, reset: bool) {
        self.transport.close(network, reset);
        self.session = Session::default();
        self.stage = Stage::Gone;
    }
}
