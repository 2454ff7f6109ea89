//! The paths under `/ws` over real sockets: what only a kernel can show of them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, process};

use nix::sys::signal::Signal;
use socket2::SockRef;
use support::client::*;
use support::server::{PATIENCE, Server};

fn connect(server: &Server, path: &str) -> Client {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(path, ""));
    client
}

fn open(server: &Server, path: &str) -> Client {
    let mut client = connect(server, path);
    client.expect(SWITCHING);
    client
}

fn expect_reset(client: &mut Client) {
    match client.stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?} instead of a RST"),
    }
}

/// A number of the server's.
fn sample(server: &Server, name: &str) -> u64 {
    let mut client = Client::connect(server.echo);
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let page = String::from_utf8(client.rest()).expect("text");
    let number = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    number.and_then(|number| number.parse().ok()).expect("a number")
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not before patience ends: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The JSON text message that comes next.
fn report(client: &mut Client) -> serde_json::Value {
    let (first, payload) = client.frame();
    assert_eq!(first, FIN | TEXT);
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn the_first_message_stands_in_one_segment_with_the_answer() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = connect(&server, "/ws/message/hello");
    // One read takes what one write brought.
    let mut bytes = [0; 4096];
    let count = client.stream.read(&mut bytes).expect("an answer");
    assert_eq!(shown(&bytes[..count]), shown(&[SWITCHING.as_bytes(), b"\x81\x05hello"].concat()));
}

#[test]
fn a_connection_ends_as_its_path_says() {
    let server = Server::start(&["--policy", "off"]);
    let mut reset = open(&server, "/ws/after/1/reset");
    reset.send(frame(FIN | TEXT, b"a"));
    reset.expect(reply(FIN | TEXT, b"a"));
    expect_reset(&mut reset);
    open(&server, "/ws/fin").expect_eof();
    let mut half = open(&server, "/ws/half-close");
    half.expect_eof();
    // Behind its FIN it still takes all that comes, far beyond what would lie in buffers, and for longer than it lingers.
    let message = frame(FIN | BINARY, &vec![0; 1 << 20]);
    for _ in 0..32 {
        half.send(&message);
    }
    let mut stalled = connect(&server, "/ws/handshake-stall");
    stalled.expect_nothing();
    server.signal(Signal::SIGTERM);
    stalled.expect_dropped();
    drop(half);
    assert_eq!(server.ended().code(), Some(0));
}

/// A client whose system has room for little, and what its path asks for.
fn narrow(server: &Server, path: &str) -> Client {
    let mut client = Client::connect(server.echo);
    SockRef::from(&client.stream).set_recv_buffer_size(2304).expect("a TCP socket");
    client.send(upgrade(path, ""));
    client
}

#[test]
fn a_rst_comes_behind_what_was_said_or_when_that_has_had_its_time() {
    let server = Server::start(&["--policy", "off", "--stats", "page"]);
    let mut taking = narrow(&server, "/ws/source/16k/8/reset");
    taking.expect(SWITCHING);
    for _ in 0..8 {
        assert_eq!(taking.frame(), (FIN | BINARY, vec![b'*'; 16 << 10]));
    }
    expect_reset(&mut taking);
    // Who takes nothing is reset without it: what arrived is there, and then no FIN.
    let mut deaf = narrow(&server, "/ws/source/60k/1/reset");
    let resets = || sample(&server, "wsecho_ends_total{reason=\"reset\"}");
    until("both are reset", || resets() == 2);
    let mut said = Vec::new();
    let error = deaf.stream.read_to_end(&mut said).expect_err("a RST");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(said.starts_with(SWITCHING.as_bytes()) && said.len() < 60 << 10, "{} bytes", said.len());
}

#[test]
fn who_says_no_more_hears_the_rest_and_then_a_fin() {
    let server = Server::start(&["--policy", "off"]);
    let mut late = open(&server, "/ws/latency/300ms/trickle/3");
    late.send([frame(FIN | TEXT, b"hello"), frame(FIN | CLOSE, &[])].concat());
    late.finish();
    assert_eq!(late.rest(), [reply(FIN | TEXT, b"hello"), reply(FIN | CLOSE, &[])].concat());
    let mut fed = open(&server, "/ws/source/64k/100/message/done");
    fed.finish();
    for _ in 0..100 {
        assert_eq!(fed.frame(), (FIN | BINARY, vec![b'*'; 65536]));
    }
    fed.expect(reply(FIN | TEXT, b"done"));
    fed.expect_eof();
}

#[test]
fn headers_tells_who_is_there() {
    let server = Server::start(&["--policy", "off", "--proxy-protocol"]);
    let mut client = Client::connect(server.echo);
    client.send("PROXY TCP4 192.0.2.1 127.0.0.1 4711 8087\r\n");
    client.send(upgrade("/ws/headers", ""));
    client.expect(SWITCHING);
    let told = report(&mut client);
    let own = client.stream.local_addr().expect("it is connected").to_string();
    assert_eq!((told["address"].as_str(), told["proxied"].as_str()), (Some(&*own), Some("192.0.2.1:4711")));
}

#[test]
fn a_unix_socket_has_them_too() {
    let path = env::temp_dir().join(format!("wsecho-paths-{}", process::id()));
    let address = format!("unix:{}", path.display());
    let server = Server::start(&["--policy", "off", "--listen", &address]);
    server.wait_for(&format!("listening on {address}"));
    let mut stream = UnixStream::connect(&path).expect("the server listens there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    stream.write_all(upgrade("/ws/message/hello/reset", "").as_bytes()).expect("the server takes it");
    let mut said = Vec::new();
    // There is no RST there: it is an end.
    stream.read_to_end(&mut said).expect("an end");
    assert_eq!(shown(&said), shown(&[SWITCHING.as_bytes(), b"\x81\x05hello"].concat()));
}

#[test]
fn a_source_sends_no_more_than_is_taken() {
    let server = Server::start(&["--policy", "off", "--stats", "page"]);
    let mut greedy: Vec<Client> = (0..8).map(|_| connect(&server, "/ws/source/16m/64/close/1000")).collect();
    until("eight sources that nobody takes block", || sample(&server, "wsecho_blocked") == 8);
    let kept = sample(&server, "wsecho_buffered_bytes");
    assert!(kept < 8 * 256 * 1024, "{kept} bytes are kept for eight");
    // Who takes it gets all of it, and others are served meanwhile.
    Client::open(&server).echo("beside");
    let mut taking = connect(&server, "/ws/source/64k/100/close/1000");
    taking.expect(SWITCHING);
    for _ in 0..100 {
        assert_eq!(taking.frame(), (FIN | BINARY, vec![b'*'; 65536]));
    }
    taking.expect(b"\x88\x02\x03\xe8");
    greedy.clear();
}
