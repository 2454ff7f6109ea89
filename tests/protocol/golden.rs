//! Conversations whose every byte is known, from RFC 6455 §5.7, the drafts and the clients of the day.
//!
//! Each is run whole, cut in two at every byte, byte by byte, and with something behind it. The server must say the same
//! each time: where the network cuts is nobody's business.

use support::config;
use support::conversation::Conversation;
use support::wire::{ANSWER, REQUEST, fault, masked};
use wsecho::reactor::config::Config;
use wsecho::reactor::listener::Role;

/// What a client says, what it hears, and whether the server ends the conversation then.
struct Golden {
    name: String,
    role: Role,
    said: Vec<u8>,
    heard: Vec<u8>,
    ended: bool,
}

/// Frames behind a handshake: name, bytes in, bytes out, ended. The key is 37 fa 21 3d unless it does not matter.
const FRAMES: &[(&str, &str, &str, bool)] = &[
    ("text Hello (§5.7)", "818537fa213d7f9f4d5158", "810548656c6c6f", false),
    ("Hello in two fragments (§5.7)", "018337fa213d7f9f4d 808237fa213d5b95", "010348656c 80026c6f", false),
    ("ping Hello (§5.7)", "898537fa213d7f9f4d5158", "8a0548656c6c6f", false),
    (
        "ping between two fragments",
        "018337fa213d7f9f4d 898537fa213d7f9f4d5158 808237fa213d5b95",
        "010348656c 8a0548656c6c6f 80026c6f",
        false,
    ),
    ("pong nobody asked for (§5.7)", "8a8537fa213d7f9f4d5158", "", false),
    ("pong between two texts", "818037fa213d 8a8037fa213d 818037fa213d", "8100 8100", false),
    ("empty text", "818037fa213d", "8100", false),
    ("empty binary", "828037fa213d", "8200", false),
    ("empty ping", "898037fa213d", "8a00", false),
    ("binary Hello", "828537fa213d7f9f4d5158", "820548656c6c6f", false),
    ("a key of zeros", "8185 00000000 48656c6c6f", "810548656c6c6f", false),
    ("kosme in Greek", "818a37fa213df940eeb1f879ef81f94f", "810acebacf8ccf83cebcceb5", false),
    ("euro sign cut inside", "018237fa213dd578 808137fa213d9b", "0102e282 8001ac", false),
    ("fragments that are empty", "018037fa213d 008037fa213d 808037fa213d", "0100 0000 8000", false),
    (
        "binary in three fragments",
        "0281000000000a 0081000000000b 8081000000000c",
        "02010a 00010b 80010c",
        false,
    ),
    ("quit", "818437fa213d468f4849", "880203e8", true),
    ("quit as binary is only data", "828437fa213d468f4849", "820471756974", false),
    ("Quit is only text", "818400000000 51756974", "8104 51756974", false),
    ("quit and more is only text", "818500000000 7175697421", "8105 7175697421", false),
    ("quit in two fragments", "018200000000 7175 808200000000 6974", "01027175 880203e8", true),
    ("quit with an empty end", "018400000000 71756974 808000000000", "010471756974 880203e8", true),
    (
        "quit and more in fragments is only text",
        "018400000000 71756974 808100000000 21",
        "010471756974 800121",
        false,
    ),
    (
        "quit in fragments of binary is only data",
        "028200000000 7175 808200000000 6974",
        "02027175 80026974",
        false,
    ),
    ("text, then quit", "818037fa213d 818437fa213d468f4849", "8100 880203e8", true),
    ("close without a body", "888037fa213d", "8800", true),
    ("close 1000", "888237fa213d3412", "880203e8", true),
    ("close 1000 bye", "888537fa213d3412434452", "880503e8627965", true),
    ("close 3999 after a text", "818037fa213d 888200000000 0f9f", "8100 88020f9f", true),
    ("close between fragments", "018037fa213d 888237fa213d3412", "0100 880203e8", true),
    ("close with a body of one byte", "888100000000 03", "fault: close body of one byte", true),
    ("close 1005", "888200000000 03ed", "fault: close code that may not be sent", true),
    ("close with a bad reason", "888300000000 03e8ce", "fault: not UTF-8", true),
    ("no mask", "810548656c6c6f", "fault: frame not masked", true),
    ("RSV1 without an extension", "c18537fa213d7f9f4d5158", "fault: reserved bit set", true),
    ("RSV2", "a18537fa213d7f9f4d5158", "fault: reserved bit set", true),
    ("RSV3", "918537fa213d7f9f4d5158", "fault: reserved bit set", true),
    ("opcode 3", "838037fa213d", "fault: unknown opcode", true),
    ("opcode B", "8b8037fa213d", "fault: unknown opcode", true),
    ("ping without FIN", "098037fa213d", "fault: fragmented control frame", true),
    ("ping of 126 bytes", "89fe007e37fa213d", "fault: control frame beyond 125 bytes", true),
    ("continuation of nothing", "808100000000 61", "fault: continuation without a message", true),
    (
        "text inside a message",
        "018100000000 61 818100000000 62",
        "010161 fault: new message inside a fragmented one",
        true,
    ),
    (
        "surrogate in text (Autobahn 6.3.1)",
        "819337fa213df940eeb1f879ef81f94fcc9db79f4554439f45",
        "fault: not UTF-8",
        true,
    ),
    ("text that ends inside a code point", "818200000000 e282", "fault: not UTF-8", true),
    (
        "an empty last fragment does not mend it",
        "018200000000 e282 808000000000",
        "0102e282 fault: not UTF-8",
        true,
    ),
    ("text, then a fault", "818037fa213d 838037fa213d", "8100 fault: unknown opcode", true),
    ("of two faults in a header the first", "0005", "fault: continuation without a message", true),
    ("of two faults in a header the first", "8305", "fault: unknown opcode", true),
    ("of two faults in a header the first", "0900", "fault: fragmented control frame", true),
    (
        "of two faults inside a message the first",
        "018100000000 61 8105",
        "010161 fault: new message inside a fragmented one",
        true,
    ),
    ("5 bytes written in 16 bits", "82fe000537fa213d", "fault: length not in its shortest form", true),
    (
        "64-bit length with its top bit",
        "82ff8000000000000000 00000000",
        "fault: 64-bit length with its top bit set",
        true,
    ),
    ("message beyond the limit", "82ff0000000000100001 37fa213d", "fault: message too big", true),
];

/// A client of draft 75, of the year 2010.
const REQUEST_75: &str = "GET /echo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost:8087\r\n\
    Origin: null\r\n\r\n";
const ANSWER_75: &str = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    WebSocket-Origin: null\r\nWebSocket-Location: ws://localhost:8087/echo\r\n\r\n";

/// The keys of the example in draft 76.
const REQUEST_76: &str = "GET /echo?room=1 HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.com\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n";
const ANSWER_76: &str = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Origin: http://example.com\r\nSec-WebSocket-Location: ws://example.com/echo?room=1\r\n\r\n";

/// Last eight bytes of its challenge and the digest: the example's, then bytes that look like a head, frames, a request.
const DIGESTS_76: &[(&str, &str)] = &[
    ("5e6e3a64735b3455", "386a4b5327793a472a436f2c5778612d"),
    ("0d0a0d0a0d0a0d0a", "fbfe51467eeb432cd8579391dfbe2996"),
    ("00ff00ff00ff00ff", "31172df348a8388c7bfca9668c4526e5"),
    ("474554202f204854", "c7ef6fb0a463fe5ae933e91cf83b98bf"),
];

/// Frames of drafts 75 and 76.
const HIXIE_FRAMES: &[(&str, &str, &str, bool)] = &[
    ("Hello of draft 75", "0048656c6c6fff", "0048656c6c6fff", false),
    ("empty text of draft 75", "00ff", "00ff", false),
    ("two texts of draft 75", "0048656c6c6fff 0078ff", "0048656c6c6fff 0078ff", false),
    ("a frame with a length is skipped", "8003616263 0078ff", "0078ff", false),
    ("a length of zero", "8000 0078ff", "0078ff", false),
    ("a length with leading zeros", "80808001ff 0078ff", "0078ff", false),
    ("a type below 80 that is not text is skipped", "05616263ff 0078ff", "0078ff", false),
    ("quit of draft 75, which knows no closing handshake", "0078ff 0071756974ff", "0078ff", true),
    ("closed as draft 76 does", "0078ff ff00", "0078ff ff00", true),
];

/// Bytes in hexadecimal; behind `fault: `, a Close frame with these words.
fn answered(heard: &str) -> Vec<u8> {
    let (bytes, close) =
        heard.split_once("fault: ").map_or((heard, vec![]), |(bytes, why)| (bytes, fault(why)));
    [hex(bytes), close].concat()
}

fn goldens() -> Vec<Golden> {
    let mut goldens = Vec::new();
    let mut add = |name: &str, role, said: Vec<u8>, heard: Vec<u8>, ended| {
        goldens.push(Golden { name: name.to_owned(), role, said, heard, ended });
    };
    for (name, said, heard, ended) in FRAMES {
        let (said, heard) = (glue(REQUEST, &hex(said)), glue(ANSWER, &answered(heard)));
        add(name, Role::Echo, said, heard, *ended);
    }
    for (len, header, answer) in
        [(125, "82fd", "827d"), (126, "82fe007e", "827e007e"), (256, "82fe0100", "827e0100")]
    {
        let body = vec![0x5A; len];
        let said = glue(REQUEST, &[&hex(header)[..], &[0; 4], &body].concat());
        let heard = glue(ANSWER, &[&hex(answer)[..], &body].concat());
        add(&format!("binary of {len} bytes"), Role::Echo, said, heard, false);
    }
    for (name, said, heard, ended) in HIXIE_FRAMES {
        add(name, Role::Echo, glue(REQUEST_75, &hex(said)), glue(ANSWER_75, &hex(heard)), *ended);
    }
    for (key3, digest) in DIGESTS_76 {
        let said = glue(REQUEST_76, &[&hex(key3)[..], b"\0Hello\xFF"].concat());
        let heard = glue(ANSWER_76, &[&hex(digest)[..], b"\0Hello\xFF"].concat());
        add(&format!("draft 76, {key3}"), Role::Echo, said.clone(), heard.clone(), false);
        let closed = |bytes: &[u8]| [bytes, b"\xFF\0"].concat();
        add("draft 76, closed", Role::Echo, closed(&said), closed(&heard), true);
    }
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let compressed = "f248cdc9c90700";
    add(
        "compressed Hello (RFC 7692 \u{a7}7.2.3.1)",
        Role::Echo,
        glue(&with_line(REQUEST, offer), &hex(&format!("c18700000000{compressed}"))),
        glue(&with_line(ANSWER, agreed), &hex(&format!("c107{compressed}"))),
        false,
    );
    let policy = hex(
        "3c63726f73732d646f6d61696e2d706f6c6963793e3c616c6c6f772d6163636573732d66726f6d20646f6d61696e3d222a2220\
         746f2d706f7274733d222a22202f3e3c2f63726f73732d646f6d61696e2d706f6c6963793e00",
    );
    for role in [Role::Policy, Role::Echo] {
        for (name, request) in [
            ("policy", "<policy-file-request/>\0"),
            ("policy without NUL", "<policy-file-request/>"),
            ("policy as the manual prints it", "<policy-file-request />\0"),
        ] {
            add(name, role, request.into(), policy.clone(), true);
        }
        add("not the policy", role, "<policy-file-request>".into(), Vec::new(), true);
        add(
            "a policy request that never ends",
            role,
            format!("<policy-file-request{:108}", "").into(),
            Vec::new(),
            true,
        );
    }
    add("HTTP where only the policy is", Role::Policy, REQUEST.into(), Vec::new(), true);
    goldens
}

#[test]
fn every_conversation_is_the_same_wherever_it_is_cut() {
    let config = config::config();
    for golden in goldens() {
        let check = |pieces: &[&[u8]], how: &str| {
            let (heard, ended) = run(&config, golden.role, pieces);
            let why = format!("{} ({:?}), {how}", golden.name, golden.role);
            assert_eq!(show(&heard), show(&golden.heard), "{why}");
            assert_eq!(ended, golden.ended, "{why}: ended");
        };
        let said = &golden.said[..];
        check(&[said], "whole");
        for at in 1..said.len() {
            check(&[&said[..at], &said[at..]], &format!("cut at {at}"));
        }
        check(&said.chunks(1).collect::<Vec<_>>(), "byte by byte");
    }
}

#[test]
fn what_follows_a_conversation_changes_nothing_in_it() {
    let config = config::config();
    let ping = masked(0x89, [1, 2, 3, 4], b"still there");
    let (hybi, hixie) =
        ((&ping[..], &b"\x8a\x0bstill there"[..]), (&b"\0still\xFF"[..], &b"\0still\xFF"[..]));
    for golden in goldens() {
        let is_hixie = golden.heard.windows(18).any(|bytes| bytes == b"Upgrade: WebSocket");
        let (more, answer) = if is_hixie { hixie } else { hybi };
        let heard = if golden.ended { golden.heard.clone() } else { [&golden.heard[..], answer].concat() };
        let glued = [&golden.said[..], more].concat();
        for pieces in [vec![&glued[..]], vec![&golden.said, more], glued.chunks(1).collect()] {
            let (said, ended) = run(&config, golden.role, &pieces);
            assert_eq!(show(&said), show(&heard), "{}", golden.name);
            assert_eq!(ended, golden.ended, "{}", golden.name);
        }
    }
}

/// RFC 6455 §1.3 for the first; the others were computed twice, independently, or captured.
#[test]
fn accepts_are_the_hash_of_the_key() {
    for (version, key, accept) in [
        ("13", "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("13", "x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
        ("7", "AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
        ("8", "AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
        ("8", "bSx0jCPoEls+74xcNoCtdw==", "NApMi4g/qM96CTNI9Wbn2ZcdJbk="),
        ("8", "DUdfFfRVGM652bg0lmpc0Q==", "N+OAorq8L5ydouB45c89oBEGNIQ="),
    ] {
        let request = REQUEST
            .replace("dGhlIHNhbXBsZSBub25jZQ==", key)
            .replace("Version: 13", &format!("Version: {version}"));
        let answer = ANSWER.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accept);
        assert_answer(&request, &answer, false);
    }
}

/// Requests as clients of the day send them: what was captured, with short names and the key of RFC 6455 §1.3.
#[test]
fn requests_of_real_clients_open() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (client, head, line) in [
        (
            "ws (Node) as version 8",
            format!(
                "GET /echo HTTP/1.1\r\nSec-WebSocket-Version: 8\r\n{key}Connection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                 Sec-WebSocket-Origin: http://a.example\r\nHost: 127.0.0.1:18087\r\n\r\n"
            ),
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        ),
        (
            "websocket-driver (Ruby) as draft 7",
            format!(
                "GET /echo HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: 127.0.0.1:18087\r\n\
                 Sec-WebSocket-Origin: http://a.example\r\nSec-WebSocket-Version: 7\r\n{key}\r\n"
            ),
            "",
        ),
        (
            "autobahn (Python) writes WebSocket",
            format!(
                "GET / HTTP/1.1\r\nHost: 127.0.0.1:18087\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
                 Cache-Control: no-cache\r\n{key}Sec-WebSocket-Version: 13\r\n\r\n"
            ),
            "",
        ),
        (
            "ws4py offers two subprotocols",
            format!(
                "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:18087\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: http-only,chat\r\nOrigin: ws://127.0.0.1:18087\r\n\r\n"
            ),
            "Sec-WebSocket-Protocol: http-only\r\n",
        ),
        (
            "Firefox keeps alive",
            format!(
                "GET /echo?room=1 HTTP/1.1\r\nHost: [::1]:8087\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                 Origin: null\r\n{key}Sec-WebSocket-Version: 13\r\n\r\n"
            ),
            "",
        ),
        (
            "web-socket-js, the Flash bridge, at its last",
            format!(
                "GET /echo HTTP/1.1\r\nHost: localhost:8087\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\
                 Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\nCookie: \r\nSec-WebSocket-Protocol: a,b\r\n\r\n"
            ),
            "Sec-WebSocket-Protocol: a\r\n",
        ),
    ] {
        let answer = format!("{}{line}\r\n", ANSWER.strip_suffix("\r\n").expect("an empty line"));
        assert!(head.ends_with("\r\n\r\n"), "{client}");
        assert_answer(&head, &answer, false);
    }
}

/// Status lines and headers of every refusal; the text below them is for people and may change.
#[test]
fn requests_that_are_refused_are_told_why() {
    let versions = "426 Upgrade Required|Sec-WebSocket-Version: 13, 8, 7|Upgrade: websocket";
    let with = |from: &str, to: &str| {
        assert!(REQUEST.contains(from), "{from}");
        REQUEST.replacen(from, to, 1)
    };
    let head = |lines: &str| format!("{lines}\r\nHost: localhost\r\n\r\n");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (request, answer) in [
        (with("/echo", "/nope"), "404 Not Found"),
        (head("GET /nope HTTP/1.1"), "404 Not Found"),
        (head("GET /echo HTTP/1.1"), "426 Upgrade Required|Upgrade: websocket"),
        (with("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required|Upgrade: websocket"),
        (with("Connection: Upgrade", "Connection: close"), "426 Upgrade Required|Upgrade: websocket"),
        (with("Version: 13", "Version: 9"), versions),
        (with("Version: 13", "Version: 0"), versions),
        (with("Version: 13", "Version: 4"), versions),
        (with("Version: 13", "Version: 10"), versions),
        (with("Version: 13", "Version: 14"), versions),
        (with("Version: 13", "Version: 13, 8"), versions),
        (with("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"), versions),
        (with("Sec-WebSocket-Version: 13\r\n", ""), versions),
        (with(key, "//////////////////////8="), "400 Bad Request"),
        (with(key, "AAAA"), "400 Bad Request"),
        (with(key, ""), "400 Bad Request"),
        (with("Version: 13", "Draft: 2"), versions),
        (REQUEST_76.replace("Key1", "Key3"), "400 Bad Request"),
        (REQUEST_76.replacen("Host", "Sec-WebSocket-Draft: 2\r\nHost", 1), "400 Bad Request"),
        (REQUEST_76.replace("4 @1  46546xW%0l 1 5", "4@146546xW%0l15"), "400 Bad Request"),
        (REQUEST_76.replace("4 @1  46546xW%0l 1 5", "1 2 3"), "400 Bad Request"),
        (REQUEST_76.replace("4 @1  46546xW%0l 1 5", "4294967296 x"), "400 Bad Request"),
        (REQUEST_76.replace("4 @1  46546xW%0l 1 5", "abc d"), "400 Bad Request"),
        (with("Sec-WebSocket-Key: ", "X-Key: "), "400 Bad Request"),
        (with(key, &format!("{key}\r\nSec-WebSocket-Key: {key}")), "400 Bad Request"),
        (with("Host: localhost\r\n", ""), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\nHost: localhost"), "400 Bad Request"),
        (with("Host: localhost", "Host: a b"), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\nContent-Length: 5"), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\nTransfer-Encoding: chunked"), "400 Bad Request"),
        (with("Host: localhost", "Host : localhost"), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\n: x"), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\n folded"), "400 Bad Request"),
        (with("Host: localhost\r\n", "Host: localhost\n"), "400 Bad Request"),
        (with("Host: localhost", "Host: local\0host"), "400 Bad Request"),
        (with("Host: localhost", "Host: localhost\r\nSec-WebSocket-Protocol: a b"), "400 Bad Request"),
        (with("GET", "POST"), "405 Method Not Allowed|Allow: GET, HEAD"),
        (with("HTTP/1.1", "HTTP/1.0"), "505 HTTP Version Not Supported"),
        (with("HTTP/1.1", "HTTP/2.0"), "505 HTTP Version Not Supported"),
        ("\x16\x03\x01\x02".to_owned(), "400 Bad Request"),
        ("\r\n\n".to_owned(), "400 Bad Request"),
        (with("Host:", &("A: b\r\n".repeat(60) + "Host:")), "431 Request Header Fields Too Large"),
        (
            with("Host: localhost", &format!("Host: localhost\r\nA: {}", "b".repeat(8192))),
            "431 Request Header Fields Too Large",
        ),
    ] {
        assert_answer(&request, &format!("HTTP/1.1 {}\r\n\r\n", answer.replace('|', "\r\n")), true);
    }
}

fn run(config: &Config, role: Role, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut conversation = Conversation::new(role, config, None);
    for piece in pieces {
        conversation.say(piece);
    }
    (conversation.heard(), conversation.ended())
}

/// Says `request` whole, byte by byte and in two pieces; compares status line and headers, and the length of the body.
fn assert_answer(request: &str, answer: &str, ended: bool) {
    let config = config::config();
    let said = request.as_bytes();
    let step = if said.len() > 1000 { 97 } else { 1 };
    let halves = (0..said.len()).step_by(step).map(|at| vec![&said[..at], &said[at..]]);
    let mut first = None;
    for pieces in halves.chain([said.chunks(1).collect()]) {
        let (heard, has_ended) = run(&config, Role::Echo, &pieces);
        let text = String::from_utf8(heard).expect("HTTP text");
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
        let mut lines: Vec<_> = head.split("\r\n").collect();
        if ended {
            let length = format!("Content-Length: {}", body.len());
            // Who names another protocol in Upgrade says so here (RFC 9110 section 7.8).
            let is_offer = lines[0].starts_with("HTTP/1.1 426 ");
            let connection = if is_offer { "Connection: close, Upgrade" } else { "Connection: close" };
            for expected in [&length[..], connection] {
                let at = lines.iter().position(|line| *line == expected);
                lines.remove(at.unwrap_or_else(|| panic!("no {expected} in {head:?}")));
            }
            lines.retain(|line| body.is_empty() || *line != "Content-Type: text/plain; charset=utf-8");
        } else {
            assert_eq!(body, "", "nothing behind a 101");
        }
        assert_eq!(lines.join("\r\n") + "\r\n\r\n", answer, "{request:?}");
        assert_eq!(has_ended, ended, "{request:?}");
        assert_eq!(
            first.get_or_insert_with(|| text.clone()),
            &text,
            "{request:?}: the same wherever it is cut"
        );
    }
}

/// `head` with one more header.
fn with_line(head: &str, line: &str) -> String {
    format!("{}{line}\r\n", head.strip_suffix("\r\n").expect("an empty line"))
}

fn glue(head: &str, frames: &[u8]) -> Vec<u8> {
    [head.as_bytes(), frames].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
