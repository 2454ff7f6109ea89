//! Nobody is cut off who should not be: slow readers, late readers, and who is in the middle of something.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockRef;
use support::client::*;
use support::server::{PATIENCE, Server};

/// First byte of a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

fn server(args: &[&str]) -> Server {
    Server::start(&[&["--policy", "off", "--log-level", "debug"], args].concat())
}

fn noise(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..size).map(|_| rng.u8(..)).collect()
}

/// A client whose system keeps little of what it does not read.
fn narrow(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    SockRef::from(&client.stream).set_recv_buffer_size(2304).expect("a TCP socket");
    client.send(upgrade("/echo", ""));
    client.expect(SWITCHING);
    client
}

/// Reads `size` bytes at about `rate` bytes a second.
fn read_slowly(client: &mut Client, expected: &[u8], rate: usize) {
    let step = rate / 10;
    for piece in expected.chunks(step) {
        sleep(Duration::from_millis(100));
        client.expect(piece);
    }
}

#[test]
fn who_says_everything_before_it_listens_gets_everything() {
    let server = server(&[]);
    let message = noise(64 << 20);
    let mut client = Client::open(&server);
    client.send(frame(FIN | BINARY, &message));
    assert!(client.frame() == (FIN | BINARY, message), "64 MiB in one frame");

    let text = "zürich ".repeat(8 << 20);
    client.send(frame(FIN | TEXT, text.as_bytes()));
    let (mut back, mut fragments) = (Vec::new(), 0);
    while back.len() < text.len() {
        back.extend(client.frame().1);
        fragments += 1;
    }
    assert!(back == text.as_bytes() && fragments <= 2048, "{fragments} fragments");

    let pieces: Vec<u8> = (0..4_000u32)
        .flat_map(|at| frame(if at == 0 { BINARY } else { CONTINUATION }, &at.to_be_bytes().repeat(1_000)))
        .chain(frame(FIN | CONTINUATION, b""))
        .collect();
    client.send(pieces);
    assert_eq!(client.message().1.len(), 16_000_000);
}

#[test]
fn a_busy_client_that_does_not_read_is_not_silent() {
    let server = server(&["--ping-interval", "1", "--idle-timeout", "2"]);
    let mut client = narrow(server.echo);
    let message = noise(300_000);
    client.send(frame(FIN | BINARY, &message));
    for _ in 0..20 {
        sleep(Duration::from_millis(250));
        client.send(frame(FIN | BINARY, b"busy"));
    }
    assert!(client.frame() == (FIN | BINARY, message));
    for _ in 0..20 {
        while client.frame() == (FIN | PING, vec![]) {}
    }
}

#[test]
fn who_takes_its_answers_is_there_however_slowly() {
    for option in ["--ping-interval", "--idle-timeout"] {
        let server = server(&[option, "1"]);
        let mut client = narrow(server.echo);
        let message = noise(250_000);
        client.send(frame(FIN | BINARY, &message));
        read_slowly(&mut client, &reply(FIN | BINARY, &message), 40_000);
        client.send(frame(FIN | CLOSE, &[]));
        while client.frame().0 == FIN | PING {}
        client.expect_eof();
    }
}

#[test]
fn a_close_behind_much_to_read_is_read_too() {
    let server = server(&[]);
    let mut client = narrow(server.echo);
    let message = noise(1_000);
    let said = [frame(FIN | BINARY, &message).repeat(200), frame(FIN | CLOSE, &[3, 232])].concat();
    client.send(said);
    let heard = [reply(FIN | BINARY, &message).repeat(200), reply(FIN | CLOSE, &[3, 232])].concat();
    read_slowly(&mut client, &heard, 16_000);
    client.expect_eof();
}

/// The system of such a reader tells nothing of it before all of its buffer has been read: for three seconds.
#[test]
fn a_slow_reader_with_a_buffer_of_the_usual_size_is_there_all_the_time() {
    let message = noise(300_000);
    let close = frame(FIN | CLOSE, &[3, 232]);
    let reads_slowly = |args: &[&str], closes_at_once: bool| {
        let server = server(args);
        let mut client = Client::open(&server);
        let said = frame(FIN | BINARY, &message);
        client.send(if closes_at_once { [&said[..], &close].concat() } else { said });
        read_slowly(&mut client, &reply(FIN | BINARY, &message), 40_000);
        if !closes_at_once {
            client.send(&close);
        }
        while client.frame().0 == FIN | PING {}
        client.expect_eof();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| reads_slowly(&["--idle-timeout", "2"], false));
        scope.spawn(|| reads_slowly(&["--ping-interval", "2"], false));
        scope.spawn(|| reads_slowly(&[], true));
    });
}

#[test]
fn behind_its_own_close_the_server_waits_for_the_clients() {
    for round in 0..20 {
        let lifetime = if round % 4 == 0 { "1" } else { "0" };
        let idle = if round % 4 == 3 { "1" } else { "0" };
        let server = server(&["--board-lifetime", lifetime, "--idle-timeout", idle]);
        let mut client = Client::connect(server.echo);
        let target = if round % 4 == 0 { "/board/a" } else { "/echo" };
        client.send(upgrade(target, ""));
        client.expect(SWITCHING);
        match round % 4 {
            0 | 3 => {}
            1 => server.signal(Signal::SIGTERM),
            _ => client.send(frame(FIN | TEXT, b"quit")),
        }
        let (first, body) = client.frame();
        assert!(first == FIN | CLOSE && body[..2] == [3, if round % 4 == 2 { 0xE8 } else { 0xE9 }]);
        client.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
        let early = client.stream.peek(&mut [0]);
        assert!(early.is_err(), "a FIN before the client has closed: {early:?}");
        client.stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        client.send(frame(FIN | CLOSE, &body));
        client.expect_eof();
    }
}

#[test]
fn a_fault_is_answered_with_a_close_and_a_fin() {
    let server = server(&[]);
    let mut client = Client::open(&server);
    client.send([0x81, 0x05]);
    assert_eq!(client.frame().0, FIN | CLOSE);
    client.expect_eof();
}

/// `head` is what the client asks for besides, `first` begins its frame.
fn stop_in_mid_frame(head: &str, first: u8) {
    let server = server(&["--drain-timeout", "30"]);
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", head));
    // An offer without parameters is agreed to in the same words.
    client.expect(SWITCHING.replace("\r\n\r\n", &format!("\r\n{head}\r\n")));
    let message = noise(1 << 20);
    let said = frame(first, &message);
    let (front, back) = said.split_at(said.len() / 3);
    client.send(front);
    let begun = reply(first, &message);
    client.expect(&begun[..front.len() / 2]);
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    for piece in back.chunks(100_000) {
        sleep(Duration::from_millis(20));
        client.send(piece);
    }
    client.expect(&begun[front.len() / 2..]);
    client.expect(STOPPING);
    client.send(frame(FIN | CLOSE, &[3, 0xE9]));
    client.expect_eof();
    assert!(server.ended().success());
}

#[test]
fn a_stop_lets_the_frame_at_hand_end() {
    stop_in_mid_frame("", FIN | BINARY);
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    stop_in_mid_frame(deflate, FIN | RSV1 | BINARY);
    stop_in_mid_frame(deflate, FIN | RSV1 | TEXT);
}
