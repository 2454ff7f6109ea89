//! Boards over real sockets: what one member sends, all the others receive.

use socket2::{Domain, SockRef, Socket, Type};
use support::client::*;
use support::process::wait_until;
use support::server::{PATIENCE, Server};
use support::wire::fault;

/// Longest message of a board, in bytes.
const MESSAGE_MAX: usize = 32 * 1024;

fn server(args: &[&str]) -> Server {
    Server::start(&[&["--policy", "off", "--log-level", "debug"], args].concat())
}

/// A member of version 13. It is on the board once this returns.
fn join(server: &Server, board: &str) -> Client {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(&format!("/board/{board}"), ""));
    client.expect(SWITCHING);
    client
}

/// The answer to whoever wants to be a member and is not let in: its status line.
fn refused(server: &Server, target: &str) -> String {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(target, ""));
    let answer = String::from_utf8(client.rest()).expect("HTTP text");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Fails unless the next thing the member hears is the answer to this ping: everything that was said before is read.
fn expect_nothing_before(client: &mut Client, pong: &str) {
    client.send(frame(FIN | PING, pong.as_bytes()));
    client.expect(reply(FIN | PONG, pong.as_bytes()));
}

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    reply(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[test]
fn the_other_hears_every_message_verbatim_and_the_sender_none() {
    let server = server(&[]);
    let (mut one, mut other) = (join(&server, "a"), join(&server, "a"));
    let mut stranger = join(&server, "b");
    for (opcode, message) in [
        (TEXT, &br##"{"x": 12.5, "y": -3, "c": "#d62728"}"##[..]),
        (TEXT, b"clear"),
        (TEXT, "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5} \0\t".as_bytes()),
        (TEXT, b""),
        (BINARY, b"\0\xff\xc3\x28"),
        (BINARY, &[7; MESSAGE_MAX]),
    ] {
        one.send(frame(FIN | opcode, message));
        other.expect(reply(FIN | opcode, message));
        other.send(frame(FIN | opcode, message));
        one.expect(reply(FIN | opcode, message));
    }
    // Fragments arrive as a whole, and a ping among them is answered at once.
    one.send([frame(TEXT, b"\xe2\x82"), frame(FIN | PING, b"amid"), frame(FIN, b"\xac")].concat());
    one.expect(reply(FIN | PONG, b"amid"));
    other.expect(reply(FIN | TEXT, "\u{20ac}".as_bytes()));
    for client in [&mut one, &mut other, &mut stranger] {
        expect_nothing_before(client, "last");
    }
    one.send([frame(FIN | TEXT, b"good bye"), frame(FIN | CLOSE, b"\x0f\xa0bye")].concat());
    one.expect(reply(FIN | CLOSE, b"\x0f\xa0bye"));
    one.expect_eof();
    other.expect(reply(FIN | TEXT, b"good bye"));
}

#[test]
fn a_hundred_members_hear_all_the_others_in_the_order_they_spoke() {
    const MEMBERS: usize = 100;
    const WORDS: usize = 20;
    let server = server(&[]);
    let mut members: Vec<Client> = (0..MEMBERS).map(|_| join(&server, "crowd")).collect();
    for word in 0..WORDS {
        for (at, member) in members.iter_mut().enumerate() {
            member.send(frame(FIN | TEXT, format!("{at} {word}").as_bytes()));
        }
    }
    for (at, member) in members.iter_mut().enumerate() {
        let mut heard = [0; MEMBERS];
        for _ in 0..(MEMBERS - 1) * WORDS {
            let (first, message) = member.frame();
            assert_eq!(first, FIN | TEXT);
            let message = String::from_utf8(message).expect("what was said is ASCII");
            let (from, word) = message.split_once(' ').expect("two numbers");
            let from: usize = from.parse().expect("a number");
            assert_ne!(from, at, "a member hears itself");
            assert_eq!(word, heard[from].to_string(), "the next word of {from}");
            heard[from] += 1;
        }
        expect_nothing_before(member, "last");
    }
}

#[test]
fn members_of_all_versions_meet_and_binary_reaches_those_that_have_it() {
    let server = server(&[]);
    let host = "Host: localhost\r\n";
    let hixie = format!(
        "GET /board/all?x HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{host}Origin: null\r\n"
    );
    let mut members = Vec::new();

    let mut client = Client::connect(server.echo);
    client.send(format!("{hixie}\r\n"));
    client.expect(
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         WebSocket-Origin: null\r\nWebSocket-Location: ws://localhost/board/all?x\r\n\r\n",
    );
    members.push(("75", client));

    // Draft 76's own example.
    let mut client = Client::connect(server.echo);
    client.send(format!(
        "{hixie}Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"
    ));
    client.expect(
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: ws://localhost/board/all?x\r\n\r\n",
    );
    client.send("^n:ds[4U");
    client.expect("8jKS'y:G*Co,Wxa-");
    members.push(("76", client));

    for version in ["7", "8", "13"] {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/board/all", "").replace("Version: 13", &format!("Version: {version}")));
        client.expect(SWITCHING);
        members.push((version, client));
    }

    for from in 0..members.len() {
        let text = format!("from {} \u{20ac}", members[from].0);
        let as_hixie = |text: &str| [b"\0", text.as_bytes(), b"\xff"].concat();
        let is_hixie = |version: &str| version.starts_with('7') && version.len() == 2;
        let said = match is_hixie(members[from].0) {
            true => as_hixie(&text),
            false => [frame(FIN | BINARY, b"\xff\0binary"), frame(FIN | TEXT, text.as_bytes())].concat(),
        };
        members[from].1.send(said);
        let has_binary = !is_hixie(members[from].0);
        for (at, (version, member)) in members.iter_mut().enumerate() {
            if at == from {
                continue;
            }
            if is_hixie(version) {
                member.expect(as_hixie(&text));
            } else {
                if has_binary {
                    member.expect(reply(FIN | BINARY, b"\xff\0binary"));
                }
                member.expect(reply(FIN | TEXT, text.as_bytes()));
            }
        }
    }
}

/// A client of draft 76 that has yet to send the last bytes of its challenge.
fn knock_76(server: &Server, board: &str) -> Client {
    let mut client = Client::connect(server.echo);
    client.send(format!(
        "GET /board/{board} HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost\r\n\
         Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"
    ));
    client.expect(format!(
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: ws://localhost/board/{board}\r\n\r\n"
    ));
    client
}

/// Its challenge is not answered yet, so anything else would be taken for the answer.
#[test]
fn a_member_of_draft_76_hears_nothing_before_its_digest() {
    let server = server(&[]);
    let mut speaker = join(&server, "a");
    let mut other = join(&server, "a");
    let mut late = knock_76(&server, "a");
    speaker.send(frame(FIN | TEXT, b"too early"));
    other.expect(reply(FIN | TEXT, b"too early"));
    late.send("^n:ds[4U");
    late.expect("8jKS'y:G*Co,Wxa-");
    speaker.send(frame(FIN | TEXT, b"in time"));
    late.expect(b"\0in time\xff");
}

#[test]
fn a_seat_is_for_who_has_finished_the_handshake() {
    let server = server(&["--max-board-members", "2", "--max-boards", "1"]);
    let mut knocking: Vec<Client> = (0..3).map(|_| knock_76(&server, "a")).collect();
    let (mut one, other) = (join(&server, "b"), join(&server, "b"));
    // There was room when they asked, and there is none now: they hear nothing that answers the challenge.
    for mut late in knocking.drain(..) {
        late.send("^n:ds[4U");
        late.expect_eof();
    }
    server.wait_for("503 no more boards");
    let mut refused = Client::connect(server.echo);
    refused.send(
        "GET /board/a HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost\r\n\
         Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n",
    );
    assert!(refused.rest().starts_with(b"HTTP/1.1 503 "), "told at once where there is no room");
    expect_nothing_before(&mut one, "undisturbed");
    drop(other);
    // Whoever finishes first has the seat.
    let server = self::server(&["--max-board-members", "1"]);
    let (mut second, mut first) = (knock_76(&server, "a"), knock_76(&server, "a"));
    first.send("^n:ds[4U");
    first.expect("8jKS'y:G*Co,Wxa-");
    second.send("^n:ds[4U");
    second.expect_eof();
}

#[test]
fn who_is_gone_makes_room_and_disturbs_nobody() {
    let server = server(&["--max-board-members", "3", "--max-boards", "1"]);
    let (mut one, mut other, dead) = (join(&server, "a"), join(&server, "a"), join(&server, "a"));
    assert_eq!(refused(&server, "/board/a"), "HTTP/1.1 503 Service Unavailable", "a fourth member");
    assert_eq!(refused(&server, "/board/b"), "HTTP/1.1 503 Service Unavailable", "a second board");
    server.wait_for("503");
    dead.reset();
    one.send(frame(FIN | TEXT, b"still there?"));
    other.expect(reply(FIN | TEXT, b"still there?"));
    wait_until("there is room for another member", || refused_is_over(&server, "/board/a"));
    // A member that only stops sending is gone as well: a WebSocket has no half-open state.
    other.finish();
    other.expect_eof();
    expect_nothing_before(&mut one, "alone");
    drop(one);
    wait_until("there is room for another board", || refused_is_over(&server, "/board/b"));
}

/// Whether somebody may become a member; who leaves again at once.
fn refused_is_over(server: &Server, target: &str) -> bool {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(target, ""));
    let mut status = vec![0; 12];
    std::io::Read::read_exact(&mut client, &mut status).expect("an answer");
    status == b"HTTP/1.1 101"
}

#[test]
fn a_member_that_does_not_keep_up_is_dropped_with_1008_and_the_others_go_on() {
    let server = server(&[]);
    let (mut sender, mut other) = (join(&server, "a"), join(&server, "a"));
    // Its kernel takes little on its behalf.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    socket.connect(&server.echo.into()).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    let mut slow = Client { stream: socket.into() };
    slow.send(upgrade("/board/a", ""));
    slow.expect(SWITCHING);

    let mut said = 0;
    while !server.lines().iter().any(|line| line.contains("closed 1008")) {
        let message = [said as u8; MESSAGE_MAX];
        sender.send(frame(FIN | BINARY, &message));
        other.expect(reply(FIN | BINARY, &message));
        said += 1;
        assert!(said < 1000, "{said} messages of {MESSAGE_MAX} bytes wait for a member that reads nothing");
    }
    // What it is behind it may still read, and why it had to go.
    let heard = slow.rest();
    let why = close_frame(1008, "too far behind");
    assert!(heard.ends_with(&why), "the last words are {}", shown(&heard[heard.len().saturating_sub(40)..]));
    let whole = (heard.len() - why.len()) / (MESSAGE_MAX + 4);
    for (at, message) in heard[..heard.len() - why.len()].chunks(MESSAGE_MAX + 4).enumerate() {
        assert!(
            message == reply(FIN | BINARY, &[at as u8; MESSAGE_MAX]),
            "message {at} of {whole} is another"
        );
    }
    assert!(whole < said, "not all of {said} messages, or it kept up");
    sender.send(frame(FIN | TEXT, b"without it"));
    other.expect(reply(FIN | TEXT, b"without it"));
}

#[test]
fn a_board_ends_with_its_lifetime_and_says_so() {
    for (lifetime, reason) in
        [("1", "Board can't exist for more than 1s"), ("0.5", "Board can't exist for more than 0.500s")]
    {
        let server = server(&["--board-lifetime", lifetime]);
        // The second time it is another board of that name.
        for _ in 0..2 {
            let (mut one, mut other) = (join(&server, "brief"), join(&server, "brief"));
            let mut hixie = Client::connect(server.echo);
            hixie.send(
                "GET /board/brief HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: a\r\n\r\n",
            );
            for client in [&mut one, &mut other] {
                client.expect(close_frame(1001, reason));
                client.finish();
                client.expect_eof();
            }
            let heard = hixie.rest();
            // Draft 75 knows no closing handshake.
            assert!(heard.ends_with(b"\r\n\r\n"), "{}", shown(&heard));
        }
    }
    for lifetime in ["300", "0"] {
        let server = server(&["--board-lifetime", lifetime]);
        let (mut one, mut other) = (join(&server, "a"), join(&server, "a"));
        one.send(frame(FIN | TEXT, b"hello"));
        other.expect(reply(FIN | TEXT, b"hello"));
        one.expect_nothing();
    }
}

#[test]
fn names_are_1_to_64_of_a_few_characters() {
    let boards = server(&[]);
    let longest = "a".repeat(64);
    for name in ["a", "Z-9._", "...", &longest] {
        let mut one = join(&boards, name);
        let mut other = join(&boards, &format!("{name}?a=b"));
        one.send(frame(FIN | TEXT, name.as_bytes()));
        other.expect(reply(FIN | TEXT, name.as_bytes()));
    }
    let too_long = "a".repeat(65);
    for name in ["", ".", "..", "a/b", "a/", "a%20b", "a+b", "\u{e9}", "a~", &too_long] {
        assert_eq!(refused(&boards, &format!("/board/{name}")), "HTTP/1.1 404 Not Found", "{name:?}");
    }
    assert_eq!(refused(&boards, "/board"), "HTTP/1.1 404 Not Found", "a page, not a board");
}

#[test]
fn without_boards_neither_board_nor_page_is_found() {
    let server = server(&["--no-boards"]);
    for target in ["/board", "/board/a"] {
        assert_eq!(refused(&server, target), "HTTP/1.1 404 Not Found", "{target}");
        let mut client = Client::connect(server.echo);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(client.rest().starts_with(b"HTTP/1.1 404 "), "the page of {target}");
    }
}

#[test]
fn a_message_that_cannot_be_kept_whole_is_refused_with_1009() {
    let server = server(&[]);
    let mut other = join(&server, "a");
    let longest = [b'a'; MESSAGE_MAX];
    for said in [
        // On the header alone: nothing of such a message is ever waited for.
        header(FIN | BINARY, MESSAGE_MAX as u64 + 1),
        header(FIN | TEXT, 1 << 62),
        [frame(TEXT, &longest), header(FIN, 1)].concat(),
    ] {
        let mut one = join(&server, "a");
        one.send(said);
        one.expect(fault("message too big"));
        one.expect_eof();
    }
    let mut one = join(&server, "a");
    one.send([frame(TEXT, &longest[1..]), frame(FIN, b"a")].concat());
    other.expect(reply(FIN | TEXT, &longest));
}

#[test]
fn bad_frames_reach_nobody() {
    let server = server(&[]);
    let mut other = join(&server, "a");
    for (said, words) in [
        (frame(FIN | TEXT, b"\xc3\x28"), "not UTF-8"),
        ([frame(TEXT, b"\xe2\x82"), frame(FIN, b"x")].concat(), "not UTF-8"),
        (frame(FIN, b"x"), "continuation without a message"),
        ([frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat(), "new message inside a fragmented one"),
        (frame(FIN | 0x40 | TEXT, b"x"), "reserved bit set"),
        (vec![0x81, 0x01, b'x'], "frame not masked"),
    ] {
        let mut one = join(&server, "a");
        one.send(&said);
        one.expect(fault(words));
        one.expect_eof();
    }
    expect_nothing_before(&mut other, "nothing");
}

#[test]
fn compression_is_not_agreed_to_where_several_compressors_would_mix() {
    let server = server(&[]);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/board/a", offer));
    client.expect(SWITCHING);
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", offer));
    client.expect(SWITCHING.replace("\r\n\r\n", &format!("\r\n{offer}\r\n")));
}

#[test]
fn members_are_told_when_the_server_goes() {
    let server = server(&[]);
    let (mut one, mut other) = (join(&server, "a"), join(&server, "a"));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    for client in [&mut one, &mut other] {
        client.expect(STOPPING);
    }
    SockRef::from(&one.stream).shutdown(std::net::Shutdown::Both).expect("a connection");
    drop((one, other));
    assert_eq!(server.ended().code(), Some(0));
}
