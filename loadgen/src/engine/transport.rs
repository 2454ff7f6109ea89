//! What stands between a session and its socket: the bytes that the kernel would not take yet, and TLS.

use std::io::{self, ErrorKind};

use crate::engine::network::Network;
use crate::protocol::tls::{Buffers, Tls};

/// A socket, what is to be written to it, and the TLS over it.
pub struct Transport<S> {
    /// `None` once it is closed, or when it could not even be made.
    socket: Option<S>,
    /// What an idle plain connection does without.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// There while something is in it: of the bytes a connection in TLS takes, few are ours.
    outbox: Option<Box<Outbox>>,
    tls: Option<Tls>,
}

/// Bytes that wait for the socket: plain ones, or records.
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of the message in it that is waited for, if there is one, before they became records.
    message: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Input {
    /// The server has ended the connection.
    Ended,
    /// Bytes, which may be none, and whether the socket has more.
    Bytes {
        /// How many.
        count: usize,
        /// How many the socket gave for them; more in TLS.
        taken: usize,
        /// Nothing is left.
        drained: bool,
    },
}

/// What is being sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The request, or a control frame: nobody asks when it went out.
    Aside,
    /// A message: when it has waited, [`Transport::flush`] says when it is out.
    Message,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flushed {
    /// Nothing waits, and nothing did.
    Empty,
    /// The kernel takes no more.
    Blocked,
    /// All that waited is written, a message of so many bytes among it (0: none).
    Message(usize),
}

impl<S> Transport<S> {
    /// Of a socket that is connecting, or `None` if it could not be made.
    pub fn new(socket: Option<S>) -> Transport<S> {
        Transport { socket, more: None }
    }

    /// The socket is there.
    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Something waits to be written.
    pub fn waits(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.outbox.is_some())
    }

    /// The TLS over it.
    pub fn tls(&self) -> Option<&Tls> {
        self.more.as_ref()?.tls.as_ref()
    }

    /// Begins TLS over a socket that is connected.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn secure(
        &mut self,
        network: &mut impl Network<Socket = S>,
        buffers: &mut Buffers,
        mut tls: Tls,
    ) -> io::Result<()> {
        buffers.outgoing.clear();
        let opened = tls.open(&mut [], &mut [], &mut buffers.outgoing);
        self.more.get_or_insert_default().tls = Some(tls);
        self.write(network, &buffers.outgoing, 0)?;
        opened.map(drop).map_err(tls_error)
    }

    /// Whether the socket is connected by now.
    ///
    /// # Errors
    /// Why it will not be.
    pub fn connected(&mut self, network: &mut impl Network<Socket = S>) -> io::Result<bool> {
        self.socket.as_mut().map_or(Ok(false), |socket| network.connected(socket))
    }

    /// Reads what is there, no more than `most` bytes; of TLS what is in its records, of which each is read when it is whole.
    /// `WouldBlock` when nothing is there or the socket is closed.
    ///
    /// # Errors
    /// The network's; `InvalidData` with a sentence when TLS fails.
    pub fn read(
        &mut self,
        network: &mut impl Network<Socket = S>,
        buffer: &mut [u8],
        most: usize,
        records: &mut Buffers,
    ) -> io::Result<Input> {
        if self.tls().is_some() {
            return self.read_records(network, buffer, most, records);
        }
        let socket = self.socket.as_mut().ok_or(ErrorKind::WouldBlock)?;
        let room = most.min(buffer.len());
        let count = network.read(socket, &mut buffer[..room])?;
        Ok(if count == 0 {
            Input::Ended
        } else {
            Input::Bytes { count, taken: count, drained: count < room }
        })
    }

    fn read_records(
        &mut self,
        network: &mut impl Network<Socket = S>,
        buffer: &mut [u8],
        most: usize,
        records: &mut Buffers,
    ) -> io::Result<Input> {
        let (Some(socket), Some(More { tls: Some(tls), .. })) = (&mut self.socket, self.more.as_deref_mut())
        else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if tls.has_ended() {
            return Ok(Input::Ended);
        }
        let kept = tls.partial().len();
        let room = records.room(kept, buffer.len());
        if room <= kept {
            return Err(tls_error("a handshake message is longer than any".into()));
        }
        let room = room.min(kept.saturating_add(most));
        let taken = network.read(socket, &mut records.incoming[kept..room])?;
        if taken == 0 {
            return Ok(Input::Ended);
        }
        let drained = kept + taken < room;
        records.incoming[..kept].copy_from_slice(tls.partial());
        records.outgoing.clear();
        let opened = tls.open(&mut records.incoming[..kept + taken], buffer, &mut records.outgoing);
        let ended = tls.has_ended();
        // Also of one that failed: the server is told why.
        let written = self.write(network, &records.outgoing, 0);
        let count = opened.map_err(tls_error)?;
        written?;
        Ok(Input::Bytes { count, taken, drained: drained && !ended })
    }

    /// Makes the network tell of this socket again.
    ///
    /// # Errors
    /// The network's.
    pub fn tell_again(
        &mut self,
        network: &mut impl Network<Socket = S>,
        connection: usize,
    ) -> io::Result<()> {
        self.socket.as_mut().map_or(Ok(()), |socket| network.tell_again(connection, socket))
    }

    /// Writes `bytes`, behind what waits already; true when all of them are written. What is not waits.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn send(
        &mut self,
        network: &mut impl Network<Socket = S>,
        bytes: &[u8],
        kind: Kind,
        records: &mut Buffers,
    ) -> io::Result<bool> {
        let message = if kind == Kind::Message { bytes.len() } else { 0 };
        if let Some(tls) = self.more.as_mut().and_then(|more| more.tls.as_mut()) {
            records.outgoing.clear();
            tls.seal(bytes, &mut records.outgoing);
            return self.write(network, &records.outgoing, message);
        }
        self.write(network, bytes, message)
    }

    /// Writes `bytes` as they are; a `message` of so many bytes is in them.
    fn write(
        &mut self,
        network: &mut impl Network<Socket = S>,
        bytes: &[u8],
        message: usize,
    ) -> io::Result<bool> {
        if let Some(More { outbox: Some(outbox), .. }) = self.more.as_deref_mut() {
            outbox.bytes.extend_from_slice(bytes);
            if message > 0 {
                outbox.message = message;
            }
            return Ok(false);
        }
        let Some(socket) = &mut self.socket else { return Ok(false) };
        let written = loop {
            match network.write(socket, bytes) {
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break 0,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        if written == bytes.len() {
            return Ok(true);
        }
        let outbox = Outbox { bytes: bytes[written..].to_vec(), written: 0, message };
        self.more.get_or_insert_default().outbox = Some(Box::new(outbox));
        Ok(false)
    }

    /// Writes what waits, as far as the kernel takes it.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn flush(&mut self, network: &mut impl Network<Socket = S>) -> io::Result<Flushed> {
        let Some(More { outbox: waits, tls }) = self.more.as_deref_mut() else { return Ok(Flushed::Empty) };
        let Some(outbox) = waits else { return Ok(Flushed::Empty) };
        let Some(socket) = &mut self.socket else { return Ok(Flushed::Blocked) };
        while outbox.written < outbox.bytes.len() {
            match network.write(socket, &outbox.bytes[outbox.written..]) {
                Ok(n) => outbox.written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(e) => return Err(e),
            }
        }
        let message = outbox.message;
        *waits = None;
        if tls.is_none() {
            self.more = None;
        }
        Ok(Flushed::Message(message))
    }

    /// How many segments had to be sent again on this socket so far.
    pub fn sent_again(&self, network: &impl Network<Socket = S>) -> u64 {
        self.socket.as_ref().map_or(0, |socket| network.sent_again(socket))
    }

    /// Lets the socket go, and what waits for it; with `reset`, unread data and the peer's view are cut off at once.
    pub fn close(&mut self, network: &mut impl Network<Socket = S>, reset: bool) {
        let more = self.more.take();
        let Some(mut socket) = self.socket.take() else { return };
        if let Some(More { outbox: None, tls: Some(mut tls) }) = more.map(|more| *more)
            && !reset
        {
            // A courtesy, for which nobody waits.
            let mut goodbye = Vec::new();
            tls.close(&mut goodbye);
            let _ = network.write(&mut socket, &goodbye);
        }
        network.close(socket, reset);
    }
}

/// A failure of TLS as what ends a connection.
fn tls_error(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
