//! A client of the tests' own: a blocking socket that says exactly the bytes it is told to, and a framing (RFC 6455 §5.2)
//! that shares nothing with the server's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::server::{PATIENCE, Server};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;

/// The answer to the key of [`upgrade`], which is RFC 6455's own example (§1.3).
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The request and the answer of Flash's socket policy (Adobe; the answer is the one that the servers of 2011 gave).
/// The Close of a server that stops.
pub const STOPPING: &[u8; 19] = b"\x88\x11\x03\xe9server stopping";
pub const POLICY_REQUEST: &[u8; 23] = b"<policy-file-request/>\0";
pub const POLICY: &[u8; 89] =
    b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\0";

/// A good opening handshake for `target`, with `more` header lines (each with its CR LF).
pub fn upgrade(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A masked frame; `first` is FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    let key = [0x37, 0xFA, 0x21, 0x3D];
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a frame that is masked with the key 37fa213d and announces `len` bytes of payload.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        126..=0xFFFF => {
            bytes.push(0xFE);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xFF);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend([0x37, 0xFA, 0x21, 0x3D]);
    bytes
}

/// A frame as the server sends it: the same without a mask.
pub fn reply(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(len as u8),
        len @ 126..=0xFFFF => {
            bytes.push(126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// One connection. Every wait ends after [`PATIENCE`], with a panic.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Connects, and says nothing.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("a duration that is not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Client { stream }
    }

    /// Connects, and is let in on `/echo`.
    pub fn open(server: &Server) -> Client {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/echo", ""));
        client.expect(SWITCHING);
        client
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Reads as many bytes as `bytes` has, which have to be those.
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut got = vec![0; bytes.len()];
        let mut count = 0;
        while count < got.len() {
            match self.read(&mut got[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) => panic!("{error}, after {}", shown(&got[..count])),
            }
        }
        got.truncate(count);
        assert!(got == bytes, "the server says {} and not {}", shown(&got), shown(bytes));
    }

    /// Reads the FIN that has to come next.
    pub fn expect_eof(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "before its FIN the server says {}", shown(&rest));
    }

    /// Everything up to the server's FIN. A reset is a failure: it may have eaten what the server said last.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let result = self.stream.read_to_end(&mut rest);
        result.unwrap_or_else(|error| panic!("{error} instead of a FIN, after {}", shown(&rest)));
        rest
    }

    /// Reads the end of a connection that the server drops without ceremony: a FIN or a reset.
    pub fn expect_dropped(&mut self) {
        match self.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(_) => panic!("the server still talks"),
            Err(error) => panic!("the server does not hang up: {error}"),
        }
    }

    /// Panics if the server says something or hangs up within a short while. Nothing to come is no matter of time, so
    /// this never fails for a server that is only slow.
    pub fn expect_nothing(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a duration that is not zero");
        match self.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("the server does not keep still: {other:?}"),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    }

    /// Sends a text message and reads it back.
    pub fn echo(&mut self, text: &str) {
        self.send(frame(FIN | TEXT, text.as_bytes()));
        self.expect(reply(FIN | TEXT, text.as_bytes()));
    }

    /// Reads one frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a frame");
        let [first, short] = head;
        assert!(short < 0x80, "a server does not mask");
        let mut long = [0; 8];
        let len = match short {
            126 => {
                self.stream.read_exact(&mut long[6..]).expect("a length of 16 bits");
                u64::from_be_bytes(long)
            }
            127 => {
                self.stream.read_exact(&mut long).expect("a length of 64 bits");
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).expect("the payload");
        (first, payload)
    }

    /// Reads a whole message, however it is fragmented: its opcode and its payload.
    pub fn message(&mut self) -> (u8, Vec<u8>) {
        let (mut first, mut message) = self.frame();
        let opcode = first & 0x0F;
        while first & FIN == 0 {
            let (next, payload) = self.frame();
            assert_eq!(next & 0x7F, CONTINUATION, "a continuation follows an unfinished message");
            first = next;
            message.extend(payload);
        }
        (opcode, message)
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Another handle on the same connection.
    pub fn twin(&self) -> Client {
        Client { stream: self.stream.try_clone().expect("a descriptor more") }
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }

    /// Writes `bytes` again and again until neither the server nor the kernel takes any more, though the server had
    /// every occasion to, since it served `witness` meanwhile; how many bytes went out. Panics at `limit` bytes.
    ///
    /// Leaves the socket non-blocking no longer than the call.
    pub fn stuff(&mut self, bytes: &[u8], limit: usize, witness: &mut Client) -> usize {
        self.stream.set_nonblocking(true).expect("a socket");
        let mut sent = 0;
        let mut rounds_in_vain = 0;
        while rounds_in_vain < 30 {
            let before = sent;
            loop {
                match self.stream.write(&bytes[sent % bytes.len()..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}, after {sent} bytes"),
                }
                assert!(sent < limit, "{sent} bytes were taken from a client that reads nothing");
            }
            witness.echo("are you there?");
            rounds_in_vain = if sent == before { rounds_in_vain + 1 } else { 0 };
        }
        self.stream.set_nonblocking(false).expect("a socket");
        sent
    }
}

impl Read for Client {
    /// A read with a timeout fails with EINTR when the test itself is stopped and continued; that is no news.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        }
    }
}

/// Bytes for whoever reads a failure, and not a megabyte of them.
pub fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(600)];
    format!("{} bytes \"{}\"", bytes.len(), cut.escape_ascii())
}
