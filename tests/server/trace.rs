//! `--log-level trace`: what was said and heard, a line a header and a line a frame.

use support::client::*;
use support::server::Server;

fn lines_of(server: &Server, last: &str) -> Vec<String> {
    server.wait_for(last);
    let lines = server.lines();
    let at = lines.iter().position(|line| line.contains("received GET")).expect("a request");
    let mine = lines[at..].iter().filter(|line| line.contains(" (127.0.0.1:"));
    mine.map(|line| line.split(" (127.0.0.1:").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_conversation_is_told_in_its_order_without_its_secrets() {
    let server = Server::start(&["--policy", "off", "--log-level", "trace"]);
    let mut client = Client::connect(server.echo);
    client.send(upgrade(
        "/echo",
        "Authorization: Basic c2VjcmV0\r\nCookie: id=secret\r\nSec-WebSocket-Protocol: chat, b\r\n",
    ));
    client.expect(SWITCHING.trim_end());
    client.expect("\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
    client.send([frame(FIN | TEXT, b"Hello"), frame(FIN | PING, b"\x1b[2J")].concat());
    client.expect([reply(FIN | TEXT, b"Hello"), reply(FIN | PONG, b"\x1b[2J")].concat());
    client.send(frame(FIN | CLOSE, b"\x03\xe8bye"));
    client.expect(reply(FIN | CLOSE, b"\x03\xe8bye"));
    let lines = lines_of(&server, "sent close");
    let expected = [
        "wsecho: received GET /echo HTTP/1.1",
        "wsecho: received Host: localhost",
        "wsecho: received Upgrade: websocket",
        "wsecho: received Connection: Upgrade",
        "wsecho: received Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "wsecho: received Sec-WebSocket-Version: 13",
        "wsecho: received Authorization: (masked)",
        "wsecho: received Cookie: (masked)",
        "wsecho: received Sec-WebSocket-Protocol: chat, b",
        "wsecho: opened: version 13",
        "wsecho: sent HTTP/1.1 101 Switching Protocols",
        "wsecho: sent Upgrade: websocket",
        "wsecho: sent Connection: Upgrade",
        "wsecho: sent Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "wsecho: sent Sec-WebSocket-Protocol: chat",
        "wsecho: agreed: version 13, subprotocol chat, no extensions",
        "wsecho: received text, FIN, masked, 5 bytes: \"Hello\"",
        r#"wsecho: received ping, FIN, masked, 4 bytes: "\x1b[2J""#,
        "wsecho: sent text, FIN, 5 bytes: \"Hello\"",
        r#"wsecho: sent pong, FIN, 4 bytes: "\x1b[2J""#,
        "wsecho: received close, FIN, masked, 5 bytes: 1000 \"bye\"",
        "wsecho: closed by the peer: 1000",
        "wsecho: sent close, FIN, 5 bytes: 1000 \"bye\"",
    ];
    // The order of a request's own lines is the test client's.
    let sorted = |lines: &[&str]| {
        let mut lines = lines.to_vec();
        lines.sort_unstable();
        lines.join("\n")
    };
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(sorted(&lines[..9]), sorted(&expected[..9]));
    assert_eq!(lines[9..], expected[9..]);
    assert!(!server.lines().concat().contains("secret"));
}

#[test]
fn a_close_that_a_path_asks_for_is_told() {
    let server = Server::start(&["--policy", "off", "--log-level", "debug"]);
    for (path, line) in [("4000", "closed 4000: its path asks for it"), ("", "closed: its path asks for it")]
    {
        let mut client = Client::connect(server.echo);
        client.send(upgrade(format!("/ws/close/{path}").trim_end_matches('/'), ""));
        client.expect(SWITCHING);
        server.wait_for(line);
    }
}

#[test]
fn what_arrives_in_pieces_and_in_large_is_one_line() {
    let server = Server::start(&["--policy", "off", "--log-level", "trace"]);
    let mut client = Client::open(&server);
    for byte in frame(FIN | TEXT, b"dripping") {
        client.send([byte]);
    }
    client.expect(reply(FIN | TEXT, b"dripping"));
    let large = vec![b'x'; 300_000];
    client.send(frame(FIN | BINARY, &large));
    client.expect(reply(FIN | BINARY, &large));
    client.send(frame(FIN | PING, b"end"));
    client.expect(reply(FIN | PONG, b"end"));
    let lines = lines_of(&server, "sent pong");
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("received text, FIN, masked, 8 bytes: \"dripping\""), 1, "{lines:?}");
    assert_eq!(count("received binary, FIN, masked, 300000 bytes: \"xxx"), 1);
    assert_eq!(count("sent binary, FIN, 300000 bytes: \"xxx"), 1);
    // What never becomes frames is shown as far as it came.
    let mut client = Client::connect(server.echo);
    client.send("SSH-2.0-x\r\n");
    client.rest();
    server.wait_for(r#"received 11 bytes: "SSH-2.0-x\r\n""#);
    server.wait_for("sent HTTP/1.1 400 Bad Request");
}

#[test]
fn nothing_of_it_is_told_below_and_the_time_only_where_it_is_asked_for() {
    let server = Server::start(&["--policy", "off", "--log-level", "debug", "--log-time"]);
    let mut client = Client::open(&server);
    client.echo("quiet");
    let line = server.wait_for("opened: version 13");
    assert!(!server.lines().iter().any(|line| line.contains("received")), "{:?}", server.lines());
    let (stamp, rest) = line.split_once(' ').expect("a time and a line");
    assert!(rest.starts_with("wsecho: opened"), "{line}");
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99T99:99:99.999999Z", "{line}");
    let server = Server::start(&["--policy", "off", "--log-format", "json", "--log-time"]);
    let line = server.wait_for("listening on");
    assert!(line.starts_with("{\"time\":"), "which JSON has anyway: {line}");
}
