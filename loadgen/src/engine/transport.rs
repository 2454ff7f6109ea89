//! What stands between a session and its socket: the bytes that the kernel would not take yet.

use std::io::{self, ErrorKind};

use crate::engine::network::Network;

/// A socket and what is to be written to it.
pub struct Transport<S> {
    /// `None` once it is closed, or when it could not even be made.
    socket: Option<S>,
    outbox: Option<Box<Outbox>>,
}

/// Bytes that wait for the socket.
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of the message in it that is waited for, if there is one.
    message: usize,
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
        Transport { socket, outbox: None }
    }

    /// The socket is there.
    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Something waits to be written.
    pub fn waits(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether the socket is connected by now.
    ///
    /// # Errors
    /// Why it will not be.
    pub fn connected(&mut self, network: &mut impl Network<Socket = S>) -> io::Result<bool> {
        self.socket.as_mut().map_or(Ok(false), |socket| network.connected(socket))
    }

    /// Reads what is there; 0 is the end. `WouldBlock` when nothing is there or the socket is closed.
    ///
    /// # Errors
    /// The network's.
    pub fn read(&mut self, network: &mut impl Network<Socket = S>, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket.as_mut().ok_or(ErrorKind::WouldBlock)?;
        network.read(socket, buffer)
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
    ) -> io::Result<bool> {
        let message = if kind == Kind::Message { bytes.len() } else { 0 };
        if let Some(outbox) = &mut self.outbox {
            outbox.bytes.extend_from_slice(bytes);
            if kind == Kind::Message {
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
        self.outbox = Some(Box::new(Outbox { bytes: bytes[written..].to_vec(), written: 0, message }));
        Ok(false)
    }

    /// Writes what waits, as far as the kernel takes it.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn flush(&mut self, network: &mut impl Network<Socket = S>) -> io::Result<Flushed> {
        let Some(outbox) = &mut self.outbox else { return Ok(Flushed::Empty) };
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
        self.outbox = None;
        Ok(Flushed::Message(message))
    }

    /// Lets the socket go, and what waits for it; with `reset`, unread data and the peer's view are cut off at once.
    pub fn close(&mut self, network: &mut impl Network<Socket = S>, reset: bool) {
        if let Some(socket) = self.socket.take() {
            network.close(socket, reset);
        }
        self.outbox = None;
    }
}
