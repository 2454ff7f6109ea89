//! Rust's `tungstenite` against the server: a foreign client that needs nothing installed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use nix::sys::signal::Signal;
use support::server::{PATIENCE, Server};
use tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tungstenite::handshake::client::Response;
use tungstenite::http::{StatusCode, Uri};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

#[test]
fn every_message_comes_back() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = connect(&server, "/echo");
    for length in [0, 1, 125, 126, 127, 65535, 65536, 1 << 20] {
        echoes(&mut client, Message::text("x".repeat(length)));
        echoes(&mut client, Message::binary((0..length).map(|i| (i * 31) as u8).collect::<Vec<_>>()));
    }
    echoes(&mut client, Message::text("κόσμε ✓ 😀"));
    echoes(&mut client, Message::binary("quit"));
}

#[test]
fn many_messages_at_once_come_back_in_order() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = connect(&server, "/");
    let messages: Vec<_> = (0..2000).map(|i| Message::text(format!("{i} {}", "x".repeat(i)))).collect();
    for message in &messages {
        client.write(message.clone()).expect("the server takes it");
    }
    client.flush().expect("the server takes it");
    for message in messages {
        assert_eq!(client.read().expect("an echo"), message);
    }
}

#[test]
fn fragments_come_back_as_the_message_and_a_ping_amid_them_is_answered() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = connect(&server, "/echo");
    let frame =
        |bytes: &'static [u8], data, fin| Message::Frame(Frame::message(bytes, OpCode::Data(data), fin));
    client.send(frame("€".as_bytes().split_at(2).0, Data::Text, false)).expect("the server takes it");
    client.send(Message::Ping("amid".into())).expect("the server takes it");
    client.send(frame("€".as_bytes().split_at(2).1, Data::Continue, false)).expect("the server takes it");
    client.send(frame(b"", Data::Continue, true)).expect("the server takes it");
    assert_eq!(client.read().expect("a pong"), Message::Pong("amid".into()));
    assert_eq!(client.read().expect("an echo"), Message::text("€"));
}

#[test]
fn the_first_subprotocol_is_selected() {
    let server = Server::start(&["--policy", "off"]);
    let uri: Uri = format!("ws://{}/echo", server.echo).parse().expect("a URI");
    let offer = ClientRequestBuilder::new(uri).with_sub_protocol("superchat").with_sub_protocol("chat");
    let (_, response) = handshake(&server, offer).expect("a connection");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "superchat");
}

#[test]
fn close_code_and_reason_come_back() {
    let server = Server::start(&["--policy", "off"]);
    for (code, reason) in
        [(CloseCode::Normal, ""), (CloseCode::Away, "going"), (CloseCode::Library(4999), "tschüß")]
    {
        let mut client = connect(&server, "/echo");
        let close = CloseFrame { code, reason: reason.into() };
        client.close(Some(close.clone())).expect("the server takes it");
        assert_eq!(client.read().expect("a close frame"), Message::Close(Some(close)));
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)), "the server closes the connection");
    }
}

#[test]
fn quit_closes_with_1000() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = connect(&server, "/echo");
    client.send(Message::text("quit")).expect("the server takes it");
    assert_eq!(close_code(&mut client), CloseCode::Normal);
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)), "the server closes the connection");
}

#[test]
fn an_unknown_path_is_404() {
    let server = Server::start(&["--policy", "off"]);
    let request = format!("ws://{}/nowhere", server.echo);
    match handshake(&server, request).expect_err("no connection") {
        Error::Http(response) => assert_eq!(response.status(), StatusCode::NOT_FOUND),
        other => panic!("not an HTTP answer but {other}"),
    }
    server.wait_for("404 /nowhere");
}

#[test]
fn sigterm_closes_every_connection_with_1001_and_exits_with_0() {
    let server = Server::start(&["--policy", "off"]);
    let mut clients = [connect(&server, "/echo"), connect(&server, "/echo")];
    server.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(close_code(client), CloseCode::Away);
    }
    // Both answer, and hang up.
    for client in &mut clients {
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)), "the server closes the connection");
    }
    drop(clients);
    assert_eq!(server.ended().code(), Some(0));
}

/// Sends `message` and reads until it is back.
fn echoes(client: &mut WebSocket<Duplex>, message: Message) {
    client.send(message.clone()).expect("the server takes it");
    // Not assert_eq: a megabyte is no help to whoever reads the failure.
    assert!(
        client.read().expect("an echo") == message,
        "the echo of {} bytes is another message",
        message.len()
    );
}

/// The code of the close frame that has to come next.
fn close_code(client: &mut WebSocket<Duplex>) -> CloseCode {
    match client.read().expect("a close frame") {
        Message::Close(Some(close)) => close.code,
        other => panic!("not a close frame with a code but {other:?}"),
    }
}

fn connect(server: &Server, path: &str) -> WebSocket<Duplex> {
    handshake(server, format!("ws://{}{path}", server.echo)).expect("a connection").0
}

fn handshake(
    server: &Server,
    request: impl IntoClientRequest,
) -> Result<(WebSocket<Duplex>, Response), Error> {
    tungstenite::client(request, Duplex::connect(server)).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => unreachable!("the stream blocks"),
    })
}

/// A connection that takes what comes at any time. A client that only writes, and only then reads, would wait for
/// ever for a server that reads nothing from a peer that does not take its answers.
#[derive(Debug)]
struct Duplex {
    stream: TcpStream,
    inbox: Receiver<io::Result<Vec<u8>>>,
    unread: Vec<u8>,
}

impl Duplex {
    fn connect(server: &Server) -> Duplex {
        let stream = TcpStream::connect(server.echo).expect("the server listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a duration that is not zero");
        let mut reader = stream.try_clone().expect("a descriptor more");
        let (sender, inbox) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = vec![0; 65536];
            loop {
                let read = reader.read(&mut bytes).map(|count| bytes[..count].to_vec());
                let last = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || last {
                    break;
                }
            }
        });
        Duplex { stream, inbox, unread: Vec::new() }
    }
}

impl Read for Duplex {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            match self.inbox.recv_timeout(PATIENCE) {
                Ok(read) => self.unread = read?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let count = self.unread.as_slice().read(buffer)?;
        self.unread.drain(..count);
        Ok(count)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        // The reader's clone would keep the connection open. It fails only for one that is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
