//! What the paths under `/ws` do: bytes in, bytes out, and at which time.

mod answers;

use std::collections::HashSet;
use std::time::Duration;
use support::config;
use support::conversation::{Conversation, Seen};
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::proto::paths::bad_frame::BadFrame;
use wsecho::proto::paths::bad_handshake::BadHandshake;
use wsecho::proto::paths::steps::{STEPS, When};
use wsecho::reactor::config::Config;
use wsecho::reactor::end::End;
use wsecho::reactor::listener::Role;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The request for another path.
fn request(path: &str) -> Vec<u8> {
    REQUEST.replacen("/echo", path, 1).into_bytes()
}

fn frame(first: u8, payload: &str) -> Vec<u8> {
    masked(first, KEY, payload.as_bytes())
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload)
}

fn close(code: u16) -> Vec<u8> {
    masked(0x88, KEY, &code.to_be_bytes())
}

/// One line a write, FIN or RST, with its time in milliseconds where that is not 0; `101` stands for the usual answer.
fn told(seen: &[Seen]) -> Vec<String> {
    let line = |time: &u64, what: String| if *time > 0 { format!("{time} {what}") } else { what };
    let told = seen.iter().map(|seen| match seen {
        Seen::Bytes(time, bytes) => line(
            time,
            match bytes.strip_prefix(ANSWER.as_bytes()) {
                Some(rest) => format!("101 {}", rest.escape_ascii()).trim_end().to_owned(),
                None => bytes.escape_ascii().to_string(),
            },
        ),
        Seen::Fin(time) => line(time, "FIN".to_owned()),
        Seen::Reset(time) => line(time, "RST".to_owned()),
    });
    told.collect()
}

/// What a client says that says no more: its FIN.
const FIN: Vec<u8> = Vec::new();

/// A conversation with `path`: what the client says and when, in milliseconds, and what it has seen by `until`.
fn converse(request: &[u8], says: &[(u64, Vec<u8>)], until: u64) -> Vec<String> {
    converse_with(&config::config(), request, says, until)
}

fn converse_with(config: &Config, request: &[u8], says: &[(u64, Vec<u8>)], until: u64) -> Vec<String> {
    let mut conversation = Conversation::new(Role::Echo, config, None);
    conversation.answer_close();
    conversation.listen_to(request);
    for (at, bytes) in says {
        conversation.wait(*at);
        if *bytes == FIN {
            conversation.hang_up();
        } else {
            conversation.listen_to(bytes);
        }
    }
    conversation.wait(until);
    told(&conversation.seen())
}

type Row<'a> = (&'a str, &'a [(u64, Vec<u8>)], u64, &'a [&'a str]);

fn check(rows: &[Row]) {
    for (path, says, until, expected) in rows {
        assert_eq!(converse(&request(path), says, *until), *expected, "{path}");
    }
}

#[test]
fn steps_are_done_in_order() {
    let hi = [(5, text("hi"))];
    check(&[
        ("/ws", &hi, 9, &["101", r"5 \x81\x02hi"]),
        ("/ws/message/hello", &hi, 9, &[r"101 \x81\x05hello", r"5 \x81\x02hi"]),
        (
            "/ws/message/hello/close/4000?reason=bye",
            &[],
            2001,
            &[r"101 \x81\x05hello\x88\x05\x0f\xa0bye", "FIN"],
        ),
        ("/ws/close", &[], 9, &[r"101 \x88\x00", "FIN"]),
        (
            "/ws/after/2/message/done/sink",
            &[(1, text("a")), (2, [text("b"), text("c")].concat()), (3, text("d"))],
            9,
            &["101", r"1 \x81\x01a", r"2 \x81\x01b\x81\x04done"],
        ),
        ("/ws/delay/250ms/message/late", &hi, 999, &["101", r"250 \x81\x04late", r"250 \x81\x02hi"]),
        ("/ws/stall/1", &hi, 1999, &["101", r"1000 \x81\x02hi"]),
        (
            "/ws/repeat/x/10/after/1/close",
            &[(25, text("y"))],
            99,
            &["101", r"10 \x81\x01x", r"20 \x81\x01x", r"25 \x81\x01y\x88\x00", "25 FIN"],
        ),
        ("/ws/repeat/x/10/delay/25ms/fin", &[], 99, &["101", r"10 \x81\x01x", r"20 \x81\x01x", "25 FIN"]),
        ("/ws/source/3/2/fin", &[], 9, &[r"101 \x82\x03***\x82\x03***", "FIN"]),
        (
            "/ws/ping/2/message/done",
            &[(1, frame(0x8A, "1")), (2, frame(0x8A, "0")), (3, text("hi")), (4, frame(0x8A, "2"))],
            9,
            &[r"101 \x89\x011", r"1 \x89\x012", r"3 \x81\x02hi", r"4 \x81\x04done"],
        ),
        ("/ws/ping/1", &[], 11_000, &[r"101 \x89\x011", r"10000 \x88\t\x03\xeano pong", "10000 FIN"]),
    ]);
}

#[test]
fn some_hold_from_their_place_on() {
    check(&[
        (
            "/ws/latency/50ms",
            &[(1, text("a")), (20, text("b")), (30, close(1000))],
            99,
            &["101", r"51 \x81\x01a", r"70 \x81\x01b", r"80 \x88\x02\x03\xe8", "80 FIN"],
        ),
        (
            "/ws/after/1/latency/10ms",
            &[(1, [text("a"), text("b")].concat())],
            99,
            &["101", r"1 \x81\x01a", r"11 \x81\x01b"],
        ),
        (
            "/ws/fragment/2",
            &[(1, [text("abc"), frame(0x01, "de"), frame(0x89, "p"), frame(0x80, "f"), text("")].concat())],
            9,
            &["101", r"1 \x01\x02ab\x80\x01c\x01\x02de\x8a\x01p\x80\x01f\x81\x00"],
        ),
        (
            "/ws/unfinished",
            &[(1, text("ab")), (2, text("c")), (3, close(1000))],
            9,
            &["101", r"1 \x01\x02ab", r"2 \x00\x01c", r"3 \x88\x02\x03\xe8", "3 FIN"],
        ),
        ("/ws/trickle/2/message/hi/close", &[], 9, &[r"101 \x81\x02", "1 hi", r"2 \x88\x00", "2 FIN"]),
        (
            "/ws/limit/3",
            &[(1, text("abc")), (2, text("abcd"))],
            9,
            &["101", r"1 \x81\x03abc", r"2 \x88\x02\x03\xf1", "2 FIN"],
        ),
        (
            "/ws/limit/3",
            &[(1, [frame(0x01, "ab"), frame(0x80, "cd")].concat())],
            9,
            &["101", r"1 \x01\x02ab\x88\x02\x03\xf1", "1 FIN"],
        ),
        ("/ws/limit/3/size", &[(1, text("abcd"))], 9, &["101", r"1 \x88\x02\x03\xf1", "1 FIN"]),
        ("/ws/mute", &[(1, frame(0x89, "p")), (2, text("a"))], 9, &["101", r"2 \x81\x01a"]),
        ("/ws/no-close", &[(1, close(1000)), (2, text("a"))], 99_999, &["101"]),
        (
            "/ws/close-late/2",
            &[(1, [text("a"), close(4001)].concat())],
            9_999,
            &["101", r"1 \x81\x01a", r"2001 \x88\x02\x0f\xa1", "2001 FIN"],
        ),
        // Both 16 bytes, read one by one at 10 a second.
        ("/ws/throttle/10", &[(0, text("abcdefghij"))], 1499, &["101"]),
        ("/ws/throttle/10", &[(0, text("abcdefghij"))], 1500, &["101", r"1500 \x81\nabcdefghij"]),
    ]);
}

#[test]
fn the_last_decides_what_becomes_of_messages() {
    check(&[
        ("/ws/sink", &[(1, text("a")), (2, frame(0x89, "p"))], 9, &["101", r"2 \x8a\x01p"]),
        (
            "/ws/size",
            &[(1, [frame(0x01, "ab"), frame(0x80, "c"), frame(0x82, "")].concat())],
            9,
            &["101", r"1 \x81\x013\x81\x010"],
        ),
        ("/ws/fin", &[], 9, &["101", "FIN"]),
        ("/ws/half-close", &[(1, text("a"))], 99_999, &["101", "FIN"]),
        ("/ws/reset", &[], 9, &["101", "RST"]),
        ("/ws/after/1/reset", &[(1, text("a"))], 9, &["101", r"1 \x81\x01a", "1 RST"]),
        ("/ws/echo", &[(1, text("quit"))], 9, &["101", r"1 \x88\x02\x03\xe8", "1 FIN"]),
        ("/ws/mute/echo", &[(1, text("quit"))], 9, &["101", r"1 \x88\x02\x03\xe8", "1 FIN"]),
        (
            "/ws/mute/echo",
            &[(1, frame(0x81, "a")), (2, vec![0x81, 1])],
            9,
            &["101", r"1 \x81\x01a", r"2 \x88\x12\x03\xeaframe not masked", "2 FIN"],
        ),
        (
            "/ws/after/1/bad-frame/utf8",
            &[(1, text("a")), (2, text("b")), (3, close(1007))],
            9,
            &["101", r"1 \x81\x01a\x81\x06ws\xc3(ho", r"3 \x88\x02\x03\xef", "3 FIN"],
        ),
        ("/ws/bad-frame/truncated", &[], 9, &[r"101 \x81\nwsecho", "FIN"]),
    ]);
}

#[test]
fn who_says_no_more_is_still_told_what_was_to_come() {
    let end = |at: u64| (at, FIN);
    let hi = (1, text("hi"));
    let rows: &[Row] = &[
        ("/ws/latency/50ms", &[hi.clone(), end(2)], 99, &["101", r"51 \x81\x02hi", "51 FIN"]),
        (
            "/ws/latency/50ms",
            &[hi.clone(), (9, frame(0x89, "p")), (20, close(1000)), end(30)],
            99,
            &["101", r"51 \x81\x02hi", r"59 \x8a\x01p", r"70 \x88\x02\x03\xe8", "70 FIN"],
        ),
        (
            "/ws/close-late/1",
            &[(1, close(1000)), end(2)],
            9999,
            &["101", r"1001 \x88\x02\x03\xe8", "1001 FIN"],
        ),
        (
            "/ws/delay/250ms/message/late",
            &[hi.clone(), end(2)],
            999,
            &["101", r"250 \x81\x04late", r"250 \x81\x02hi"],
        ),
        (
            "/ws/latency/20ms/after/1/delay/30ms/message/late",
            &[hi.clone(), end(2)],
            999,
            &["101", r"21 \x81\x02hi", r"51 \x81\x04late", "51 FIN"],
        ),
        (
            "/ws/repeat/x/10/delay/25ms/message/y",
            &[end(1)],
            99,
            &["101", r"10 \x81\x01x", r"20 \x81\x01x", r"25 \x81\x01y", r"30 \x81\x01x", "30 FIN"],
        ),
        ("/ws/repeat/x/10", &[end(15)], 99, &["101", r"10 \x81\x01x", r"20 \x81\x01x", "20 FIN"]),
        ("/ws/trickle/1/message/x", &[end(0)], 9, &[r"101 \x81", r"1 \x01", "2 x"]),
        (
            "/ws/handshake-delay/1/latency/1",
            &[hi.clone(), end(2)],
            9999,
            &["1000 101", r"2000 \x81\x02hi", "2000 FIN"],
        ),
        // What can only follow on what it says does not.
        ("/ws/after/2/message/x", &[hi.clone(), end(2)], 99_999, &["101", r"1 \x81\x02hi"]),
        ("/ws/ping/1/message/x", &[end(1)], 99_999, &[r"101 \x89\x011"]),
        ("/ws/after/1/message/x", &[(1, frame(0x01, "a")), end(2)], 99_999, &["101", r"1 \x01\x01a"]),
        ("/ws/no-close", &[(1, close(1000)), end(2)], 99_999, &["101"]),
        ("/ws/half-close", &[end(1)], 99_999, &["101", "FIN"]),
    ];
    check(rows);
    // Nor is it asked whether it is there.
    let config = Config { ping_interval: Some(Duration::from_secs(1)), ..config::config() };
    let told = converse_with(&config, &request("/ws/latency/5"), &[hi, end(1_500)], 9_999);
    assert_eq!(told, ["101", r"1001 \x89\x00", r"5001 \x81\x02hi", "5001 FIN"]);
}

#[test]
fn a_rst_waits_for_what_was_said_to_arrive_but_not_for_ever() {
    let config = config::config();
    for (what, change, expected) in [
        (
            "late by the time of a step",
            (|conversation| conversation.lose(0, 1)) as fn(&mut Conversation),
            "5 RST",
        ),
        ("later", |conversation| conversation.lose(0, 501), "640 RST"),
        ("never", |conversation| conversation.lose(0, u64::MAX), "2000 RST"),
        ("not even to its system", |conversation| conversation.take_at_most(ANSWER.len()), "2000 RST"),
    ] {
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        change(&mut conversation);
        conversation.listen_to(&request("/ws/message/a/reset"));
        conversation.wait(1_000);
        // Whatever it says meanwhile.
        conversation.listen_to(&text("b"));
        conversation.wait(60_000);
        let seen = told(&conversation.seen());
        assert_eq!(seen[1..], [expected], "{what}");
        assert_eq!(conversation.over(), Some(End::Reset), "{what}");
    }
}

#[test]
fn a_pong_counts_from_when_it_came() {
    check(&[
        // It is acted on when its turn comes, and has not been missing for that.
        (
            "/ws/latency/10/ping/1/message/done",
            &[(500, frame(0x8A, "1"))],
            60_000,
            &[r"101 \x89\x011", r"10500 \x81\x04done"],
        ),
        (
            "/ws/latency/10/ping/1",
            &[(9_000, text("a"))],
            60_000,
            &[r"101 \x89\x011", r"19000 \x81\x01a\x88\t\x03\xeano pong", "19000 FIN"],
        ),
        // 7 bytes at 1 a second are read when there is reason to ask for them.
        (
            "/ws/throttle/1/ping/1/message/done",
            &[(5_000, frame(0x8A, "1"))],
            60_000,
            &[r"101 \x89\x011", r"11000 \x81\x04done"],
        ),
    ]);
}

/// The head of the answer, and what stands behind it.
fn answer(request: &[u8], routes: impl FnOnce(&mut Config)) -> (String, Vec<u8>) {
    let mut config = config::config();
    routes(&mut config);
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.listen_to(request);
    let heard = conversation.heard();
    let end = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(heard.len(), |at| at + 4);
    (String::from_utf8_lossy(&heard[..end]).into_owned(), heard[end..].to_vec())
}

/// A request with more header lines.
fn with(request: &[u8], lines: &str) -> Vec<u8> {
    [&request[..request.len() - 2], lines.as_bytes(), b"\r\n"].concat()
}

#[test]
fn every_bad_handshake_differs_from_a_good_one_as_its_rule_says() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n";
    let connection = "Connection: Upgrade\r\n";
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let wrong = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n";
    let long = format!("{upgrade}{connection}{accept}X-Wsecho: {}\r\n\r\n", "x".repeat(65536));
    let good = format!("{upgrade}{connection}{accept}");
    let good_and = |line: &str| format!("{good}{line}\r\n\r\n");
    let expected = [
        ("accept", format!("{upgrade}{connection}{wrong}\r\n")),
        ("no-accept", format!("{upgrade}{connection}\r\n")),
        ("two-accepts", format!("{good}{accept}\r\n")),
        ("upgrade", format!("HTTP/1.1 101 Switching Protocols\r\n{connection}{accept}Upgrade: h2c\r\n\r\n")),
        ("no-upgrade", format!("HTTP/1.1 101 Switching Protocols\r\n{connection}{accept}\r\n")),
        ("connection", format!("{upgrade}{accept}Connection: close\r\n\r\n")),
        ("no-connection", format!("{upgrade}{accept}\r\n")),
        ("protocol", good_and("Sec-WebSocket-Protocol: wsecho-not-offered")),
        ("two-protocols", good_and("Sec-WebSocket-Protocol: wsecho-1\r\nSec-WebSocket-Protocol: wsecho-2")),
        ("extension", good_and("Sec-WebSocket-Extensions: x-wsecho-not-offered")),
        (
            "extension-parameter",
            good_and("Sec-WebSocket-Extensions: permessage-deflate; wsecho_no_such_parameter=1"),
        ),
        ("two-extensions", good_and("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate")),
        (
            "status-line",
            good_and("").replacen("HTTP/1.1 101 ", "HTTP/1.1101", 1).replacen("\r\n\r\n\r\n", "\r\n\r\n", 1),
        ),
        ("version", format!("{good}\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1)),
        ("nul", good_and("X-Wsecho: a\0b")),
        ("no-cr", format!("{good}\r\n").replace('\r', "")),
        ("non-ascii", good_and("X-Wsecho: \u{fffd}\u{fffd}")),
        ("long-header", long),
        ("folded", good_and("X-Wsecho: a\r\n b")),
        ("truncated", good.clone()),
    ];
    let names: Vec<&str> = BadHandshake::table().map(|(name, _)| name).collect();
    assert_eq!(names, expected.each_ref().map(|(name, _)| *name), "all of the table");
    assert!(BadHandshake::table().all(|(_, rule)| rule.contains("(\u{a7}") || rule.contains("(RFC ")));
    for (name, head) in expected {
        let mut conversation_config = config::config();
        conversation_config.routes.origins.clear();
        let mut conversation = Conversation::new(Role::Echo, &conversation_config, None);
        conversation.listen_to(&request(&format!("/ws/bad-handshake/{name}/message/hi")));
        let heard = conversation.heard();
        let is_cut = name == "truncated";
        let said = if is_cut { head } else { format!("{head}\u{fffd}\u{2}hi") };
        assert_eq!(String::from_utf8_lossy(&heard), said, "{name}");
        assert_eq!(conversation.ended(), is_cut, "{name}");
    }
}

#[test]
fn every_bad_frame_is_one_that_our_own_reader_would_refuse() {
    let names: Vec<&str> = BadFrame::table().map(|(name, _)| name).collect();
    assert!(BadFrame::table().all(|(_, rule)| rule.contains('(') && rule.contains('\u{a7}')));
    let mut seen = HashSet::new();
    for name in names {
        let (_, bytes) = answer(&request(&format!("/ws/bad-frame/{name}")), |_| {});
        assert!(seen.insert(bytes.clone()), "{name} is another one too");
        let is_bad = match (bytes[0], bytes[1]) {
            (0x81, 0x86) => name == "masked",
            (0x81, 10) => name == "truncated" && bytes.len() < 12,
            (first, second) => {
                // As a client would send it, but for what is wrong with it: the server itself is the judge.
                let mut masked = bytes.clone();
                masked[1] = second | 0x80;
                let size = match second {
                    126 => 4,
                    127 => 10,
                    _ => 2,
                };
                masked.splice(size..size, [0; 4]);
                if name == "interleaved" {
                    masked.splice(8.., [0x81, 0x84, 0, 0, 0, 0, b'e', b'c', b'h', b'o']);
                }
                let deflated = name == "deflate" && first == 0xC1;
                let refused = converse(REQUEST.as_bytes(), &[(1, masked)], 9);
                deflated || refused.last().is_some_and(|line| line == "1 FIN")
            }
        };
        assert!(is_bad, "{name}: {}", bytes.escape_ascii());
    }
    for (path, bytes) in [
        ("/ws/bad-frame/opcode-15", &b"\x8f\x06wsecho"[..]),
        ("/ws/bad-frame/close-0", b"\x88\x02\0\0"),
        ("/ws/bad-frame/close-65535", b"\x88\x02\xff\xff"),
    ] {
        assert_eq!(answer(&request(path), |_| {}).1, bytes, "{path}");
    }
}

#[test]
fn headers_tells_what_was_seen_and_agreed() {
    let lines =
        "Sec-WebSocket-Protocol: a, b\r\nX-Name: \u{e9} \"q\"\r\nX-Bytes: \u{1}\r\n".replace('\u{1}', "x");
    let lines = format!("{lines}Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    let (_, frame) = answer(&with(&request("/ws/headers/subprotocol/c?d=%20"), &lines), |_| {});
    assert_eq!(frame[..2], [0x81, 126], "one text message");
    let told: serde_json::Value = serde_json::from_slice(&frame[4..]).expect("JSON");
    assert_eq!(told["request"], "GET /ws/headers/subprotocol/c?d=%20 HTTP/1.1");
    assert_eq!(told["headers"][0], serde_json::json!(["Host", "localhost"]));
    assert_eq!(told["headers"][6], serde_json::json!(["X-Name", "\u{e9} \"q\""]));
    assert_eq!(told["version"], "13");
    assert_eq!(told["subprotocols"], serde_json::json!({ "offered": ["a", "b"], "agreed": "c" }));
    let offer = "permessage-deflate; client_max_window_bits";
    assert_eq!(told["extensions"], serde_json::json!({ "offered": [offer], "agreed": "permessage-deflate" }));
    let (_, frame) = answer(&request("ws://localhost/ws/headers"), |_| {});
    let told_of_proxy: serde_json::Value = serde_json::from_slice(&frame[4..]).expect("JSON");
    assert_eq!(told_of_proxy["request"], "GET ws://localhost/ws/headers HTTP/1.1", "as a proxy sent it");
    assert_eq!(
        (&told["address"], &told["proxied"], &told["tls"]),
        (&serde_json::Value::Null, &serde_json::Value::Null, &serde_json::Value::Null)
    );
}

#[test]
fn hixie_is_told_what_it_cannot_have_and_has_the_rest() {
    let old = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: a\r\n\r\n")
            .into_bytes()
    };
    for path in [
        "/ws/ping/1",
        "/ws/fragment/2",
        "/ws/mute",
        "/ws/bad-frame/utf8",
        "/ws/bad-handshake/accept",
        "/ws/close/1000",
        "/ws/deflate/",
    ] {
        let (head, body) = answer(&old(path), |_| {});
        assert!(head.starts_with("HTTP/1.1 400 "), "{path}: {head}");
        assert!(String::from_utf8_lossy(&body).contains("Hixie-75 and -76 have no such thing"), "{path}");
    }
    for (path, status) in [("/ws/status/503", 503), ("/ws/redirect/1", 302), ("/ws/bearer/t", 401)] {
        let (head, _) = answer(&old(path), |_| {});
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
    }
    let hi = [(1, b"\0hi\xff".to_vec())];
    let bye = [(2, b"\xff\0".to_vec())];
    for (path, says, until, expected) in [
        ("/ws/message/a/close", &[][..], 9, &[r"\x00a\xff", "FIN"][..]),
        ("/ws/size", &[hi[0].clone(), bye[0].clone()], 9, &["", r"1 \x002\xff", r"2 \xff\x00", "2 FIN"]),
        ("/ws/sink", &hi, 9, &[""]),
        ("/ws/unfinished", &[hi[0].clone(), hi[0].clone()], 9, &["", r"1 \x00hi", "1 hi"]),
        (
            "/ws/latency/20ms",
            &[hi[0].clone(), bye[0].clone()],
            99,
            &["", r"21 \x00hi\xff", r"22 \xff\x00", "22 FIN"],
        ),
        ("/ws/latency/20ms", &[hi[0].clone(), (2, FIN)], 99, &["", r"21 \x00hi\xff", "21 FIN"]),
        ("/ws/limit/1", &hi, 99, &["", "1 \\x00", "1 FIN"]),
        ("/ws/limit/1/sink", &hi, 99, &["", "1 FIN"]),
        (
            "/ws/source/2/1/no-close",
            &[hi[0].clone(), bye[0].clone(), (3, hi[0].1.clone())],
            9999,
            &[r"\x00**\xff", r"1 \x00hi\xff"],
        ),
        ("/ws/close-late/1", &bye, 9999, &["", r"1002 \xff\x00", "1002 FIN"]),
        ("/ws/half-close", &hi, 9999, &["", "FIN"]),
    ] {
        let mut seen = converse(&old(path), says, until);
        let behind = seen[0].split_once(r"\r\n\r\n").map(|(_, behind)| behind.to_owned());
        seen[0] = behind.unwrap_or_else(|| panic!("{path}: {seen:?}"));
        assert_eq!(seen, *expected, "{path}");
    }
    // The answer to the challenge of draft 76, and the first message, in one write.
    let new = "GET /ws/message/a HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: a\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
        Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n";
    let seen = converse(new.as_bytes(), &[(1, b"^n:ds[4U".to_vec()), hi[0].clone()], 9);
    assert_eq!(seen[1..], [r"1 8jKS\'y:G*Co,Wxa-\x00a\xff", r"1 \x00hi\xff"]);
    let late = new.replace("/message", "/handshake-delay/1/message");
    let seen = converse(&[late.as_bytes(), b"^n:ds[4U\0hi\xff"].concat(), &[], 1999);
    assert_eq!(seen[1..], [r"1000 8jKS\'y:G*Co,Wxa-\x00a\xff", r"1000 \x00hi\xff"]);
}

#[test]
fn what_is_kept_is_bounded_and_told() {
    let config = config::config();
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.listen_to(&request("/ws/latency/10"));
    let message = masked(0x82, KEY, &[0; 30_000]);
    for _ in 0..100 {
        conversation.listen_to(&message);
    }
    let kept = conversation.kept();
    assert!((1 << 20..(1 << 20) + 200_000).contains(&kept), "{kept}");
    assert!(conversation.unread() > 1_500_000, "{} unread", conversation.unread());
    conversation.wait(60_000);
    assert_eq!(conversation.unread(), 0);
    assert!(conversation.kept() < 4096, "{}", conversation.kept());
    assert_eq!(conversation.heard().len(), ANSWER.len() + 100 * 30_004);
    // During a delay nothing is read.
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.listen_to(&request("/ws/delay/1"));
    conversation.listen_to(&message);
    assert_eq!(conversation.unread(), message.len());
    conversation.wait(1_000);
    assert_eq!(conversation.unread(), 0);
    // A source waits for the peer, who takes little at a time.
    let mut conversation = Conversation::new(Role::Echo, &config, Some(fastrand::Rng::with_seed(1)));
    conversation.listen_to(&request("/ws/source/1m/4/fin"));
    assert!(conversation.ended());
    assert_eq!(conversation.heard().len(), ANSWER.len() + 4 * ((1 << 20) + 10));
}

#[test]
fn the_readme_lists_every_step_as_the_page_does() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/proto/paths/README.md"))
        .expect("it is there");
    for step in &STEPS {
        let arguments: String = step.takes.iter().map(|name| format!("/<{name}>")).collect();
        let when = match step.when {
            When::Opening => "before the 101, wherever it stands",
            When::InOrder => "in its turn",
            When::FromHereOn => "from there on",
            When::Last => "last",
        };
        let row = format!("| `{}{arguments}` | {when} | {} |\n", step.name, step.text);
        assert!(readme.contains(&row), "{row}");
    }
    assert_eq!(readme.matches("| last |").count(), 9, "and no others");
}
