//! Conversations of Hixie-75 and Hixie-76 whose every byte is known, from the drafts and from clients that were captured.
//!
//! Each is run whole, cut in two at every byte, and byte by byte: the server says the same each time.

use support::client::{SWITCHING, shown};
use support::config;
use support::conversation::Conversation;
use support::wire::{ANSWER_75, REQUEST_75, fault};
use wsecho::reactor::listener::Role;

const ANSWER_76: &str =
    "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";

/// Sec-WebSocket-Key1 and -Key2, the eight bytes behind the head, the digest; computed twice, independently, or accepted by
/// the client they come from.
const CHALLENGES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "draft 76, \u{a7}1.3",
        "18x 6]8vM;54 *(5:  {   U1]8  z [  8",
        "1_ tx7X d  <  nW  334J702) 7]o}` 0",
        "546d5b4b20543275",
        "66514a2c664e2f344634217e4b7e4d48",
    ),
    (
        "draft 76, the example",
        "4 @1  46546xW%0l 1 5",
        "12998 5 Y3 1  .P00",
        "5e6e3a64735b3455",
        "386a4b5327793a472a436f2c5778612d",
    ),
    (
        "of the year 2010",
        "3e6b263  4 17 80",
        "17  9 G`ZD9   2 2b 7X 3 /r90",
        "576a4e7d7c4d2836",
        "6e603965426b397a245238704f745662",
    ),
    (
        "Safari 5.1.2, whose digits exceed 31 bits",
        "23 1 +V2 61z9 5 P[t B|34vE",
        "2  33 0w{z 55679 0",
        "8d07195bf934c649",
        "1feb892fcffe2ddae1e09e9f04c7003c",
    ),
    (
        "Perl's Protocol::WebSocket",
        "4 d6 .  )S0(37)8 0  v* 3  0",
        "3  .6&7) 8SF(hM 248!#016W",
        "bc668dee59d19daa",
        "61009766893b451d5a78e6cef08d9841",
    ),
    ("the ends of the range", "0 !", "4 294967295", "3030303030303030", "5f4a585c78dbbd61100478c2c8d82f4e"),
    (
        "eight bytes like the end of a head",
        "4 @1  46546xW%0l 1 5",
        "12998 5 Y3 1  .P00",
        "0d0a0d0a0d0a0d0a",
        "fbfe51467eeb432cd8579391dfbe2996",
    ),
    (
        "eight bytes like frames",
        "4 @1  46546xW%0l 1 5",
        "12998 5 Y3 1  .P00",
        "00ff00ff00ff00ff",
        "31172df348a8388c7bfca9668c4526e5",
    ),
    (
        "eight bytes like a request",
        "4 @1  46546xW%0l 1 5",
        "12998 5 Y3 1  .P00",
        "474554202f204854",
        "c7ef6fb0a463fe5ae933e91cf83b98bf",
    ),
];

/// Frames and what they are answered with, in both drafts; and whether that is the end.
fn frames() -> Vec<(&'static str, Vec<u8>, Vec<u8>, bool)> {
    let skipped = |length: &[u8], count: usize| [&[0x80], length, &vec![0xFF; count], b"\0x\xff"].concat();
    let x = b"\0x\xff";
    vec![
        ("a text", b"\0Hello\xff".into(), b"\0Hello\xff".into(), false),
        ("an empty text", b"\0\xff".into(), b"\0\xff".into(), false),
        ("NUL in a text", b"\0\0a\0\xff".into(), b"\0\0a\0\xff".into(), false),
        ("two texts", b"\0Hello\xff\0x\xff".into(), b"\0Hello\xff\0x\xff".into(), false),
        (
            "what is not UTF-8 is none of the server's business",
            b"\0\xc3\x28\xff".into(),
            b"\0\xc3\x28\xff".into(),
            false,
        ),
        ("a length of 0", skipped(&[0], 0), x.into(), false),
        ("a length of 127", skipped(&[0x7F], 127), x.into(), false),
        ("a length of 128", skipped(&[0x81, 0], 128), x.into(), false),
        ("a length of 200", skipped(&[0x81, 0x48], 200), x.into(), false),
        ("a length of 3 in five bytes", skipped(&[0x80, 0x80, 0x80, 0x80, 3], 3), x.into(), false),
        ("type FF with a length", b"\xff\x02\xff\0\0x\xff".into(), x.into(), false),
        ("another type up to FF", b"\x7f\0\x80abc\xff\0x\xff".into(), x.into(), false),
        (
            "texts around what is skipped",
            b"\0a\xff\x80\x02\0\xff\0b\xff".into(),
            b"\0a\xff\0b\xff".into(),
            false,
        ),
        (
            "nearly quit",
            b"\0quit!\xff\0qui\xff\0Quit\xff".into(),
            b"\0quit!\xff\0qui\xff\0Quit\xff".into(),
            false,
        ),
        ("quit", b"\0a\xff\0quit\xff\0b\xff".into(), b"\0a\xff\xff\0".into(), true),
        ("the closing frame", b"\0a\xff\xff\0\0b\xff".into(), b"\0a\xff\xff\0".into(), true),
        ("a length without end", b"\0a\xff\x80\x80\x80\x80\x80\x80".into(), b"\0a\xff\xff\0".into(), true),
        ("a length beyond the limit", b"\0a\xff\x80\xc0\x80\x01a".into(), b"\0a\xff\xff\0".into(), true),
        // Of other dialects. 81 is a type with a length here, 85 of two bytes; the end of the text that follows ends it.
        ("a frame of RFC 6455", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".into(), b"".into(), false),
        ("GET", b"GET / HTTP/1.1\r\n\r\n\xff\0x\xff".into(), x.into(), false),
    ]
}

/// Runs a conversation with every cut.
fn check(name: &str, said: &[u8], heard: &[u8], ended: bool) {
    let config = config::config();
    let run = |pieces: &[&[u8]], how: &str| {
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        for piece in pieces {
            conversation.say(piece);
        }
        assert_eq!(shown(&conversation.heard()), shown(heard), "{name}, {how}");
        assert_eq!(conversation.ended(), ended, "{name}, {how}: ended");
    };
    run(&[said], "whole");
    for at in 1..said.len() {
        run(&[&said[..at], &said[at..]], &format!("cut at {at}"));
    }
    run(&said.chunks(1).collect::<Vec<_>>(), "byte by byte");
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}

#[test]
fn frames_are_answered_in_draft_75() {
    for (name, said, heard, ended) in frames() {
        let head = format!("{REQUEST_75}Origin: http://a\r\n\r\n");
        let answer = format!(
            "{ANSWER_75}WebSocket-Origin: http://a\r\nWebSocket-Location: ws://example.com:8087/echo?a=b&c\r\n\r\n"
        );
        // It knows no closing handshake: there is one only for whoever begins it.
        let heard = match heard.strip_suffix(b"\xff\0") {
            Some(before) if ended && name != "the closing frame" => before,
            _ => &heard,
        };
        check(name, &[head.as_bytes(), &said].concat(), &[answer.as_bytes(), heard].concat(), ended);
    }
}

/// A frame that ends at FF is skipped, and may be no longer than a message.
#[test]
fn what_is_skipped_has_the_limit_of_a_message() {
    let config = config::config();
    let limit = config.routes.limits.max_message as usize;
    for (size, is_too_long) in [(limit, false), (limit + 1, true)] {
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        conversation.say(format!("{REQUEST_75}\r\n").as_bytes());
        let before = conversation.heard().len();
        conversation.say(&[0x05]);
        vec![b'x'; size].chunks(10_000).for_each(|piece| conversation.say(piece));
        assert_eq!(conversation.ended(), is_too_long, "{size}");
        if !is_too_long {
            conversation.say(b"\xff\0a\xff");
            assert_eq!(conversation.heard()[before..], *b"\0a\xff");
        }
    }
}

#[test]
fn frames_are_answered_in_draft_76_behind_every_challenge() {
    for (name, key1, key2, last, digest) in CHALLENGES {
        let head = format!(
            "{REQUEST_75}Sec-WebSocket-Key2: {key2}\r\nOrigin: http://a\r\nSec-WebSocket-Key1: {key1}\r\n\r\n"
        );
        let answer = format!(
            "{ANSWER_76}Sec-WebSocket-Origin: http://a\r\nSec-WebSocket-Location: ws://example.com:8087/echo?a=b&c\r\n\r\n"
        );
        let said = [head.as_bytes(), &bytes_of(last)].concat();
        let heard = [answer.as_bytes(), &bytes_of(digest)].concat();
        // The answer's head waits for nothing: proxies keep the eight bytes until they have seen it.
        check(name, head.as_bytes(), answer.as_bytes(), false);
        check(name, &said, &heard, false);
        check(
            name,
            &[&said[..], b"\0Hello\xff\xff\0"].concat(),
            &[&heard[..], b"\0Hello\xff\xff\0"].concat(),
            true,
        );
    }
    let (_, key1, key2, last, digest) = CHALLENGES[1];
    let head = format!("{REQUEST_75}Sec-WebSocket-Key1: {key1}\r\nSec-WebSocket-Key2: {key2}\r\n\r\n");
    let answer = format!(
        "{ANSWER_76}Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: ws://example.com:8087/echo?a=b&c\r\n\r\n"
    );
    for (name, said, heard, ended) in frames() {
        let said = [head.as_bytes(), &bytes_of(last), &said].concat();
        check(name, &said, &[answer.as_bytes(), &bytes_of(digest), &heard].concat(), ended);
    }
}

#[test]
fn origin_location_and_subprotocol_are_answered_as_they_were_sent() {
    let (_, key1, key2, last, digest) = CHALLENGES[1];
    let keys = format!("Sec-WebSocket-Key1: {key1}\r\nSec-WebSocket-Key2: {key2}\r\n");
    // Request lines of drafts 75 and 76 and the answers to them; the draft's clients of 75 compare their one string, those
    // of 76 want one of a list.
    for (lines, answer_75, answer_76) in [
        ("Host: a\r\nOrigin: null\r\n", "Origin: null|Location: ws://a/", "Origin: null|Location: ws://a/"),
        ("Host: A.b:80\r\n", "Origin: null|Location: ws://A.b:80/", "Origin: null|Location: ws://A.b:80/"),
        (
            "Cookie: \r\nOrigin: http://Flash.Example\r\nHost: [::1]:8087\r\n",
            "Origin: http://Flash.Example|Location: ws://[::1]:8087/",
            "Origin: http://Flash.Example|Location: ws://[::1]:8087/",
        ),
        (
            "WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c,d\r\nHost: a\r\n",
            "Origin: null|Location: ws://a/|Protocol: a, b",
            "Origin: null|Location: ws://a/|Protocol: c",
        ),
        (
            "Sec-WebSocket-Protocol: sample\r\nHost: a\r\n",
            "Origin: null|Location: ws://a/",
            "Origin: null|Location: ws://a/|Protocol: sample",
        ),
    ] {
        let head = format!("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{lines}");
        let named = |prefix: &str, answer: &str| {
            answer.split('|').map(|line| format!("{prefix}WebSocket-{line}\r\n")).collect::<String>()
        };
        let heard = format!("{ANSWER_75}{}\r\n", named("", answer_75));
        check(lines, format!("{head}\r\n").as_bytes(), heard.as_bytes(), false);
        let said = [format!("{head}{keys}\r\n").as_bytes(), &bytes_of(last)].concat();
        let heard = format!("{ANSWER_76}{}\r\n", named("Sec-", answer_76));
        check(lines, &said, &[heard.as_bytes(), &bytes_of(digest)].concat(), false);
    }
}

/// Which dialect is spoken follows from the request alone, whatever it mixes.
#[test]
fn requests_that_mix_drafts_have_one_answer() {
    let (_, key1, key2, last, digest) = CHALLENGES[1];
    let head = |lines: &str| {
        format!("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: a\r\n{lines}\r\n")
    };
    let keys = format!("Sec-WebSocket-Key1: {key1}\r\nSec-WebSocket-Key2: {key2}\r\n");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    // A version decides; without one, two keys are draft 76, and one key is a draft that had versions.
    check(
        "both kinds of keys and a version",
        &[head(&format!("{keys}{key}Sec-WebSocket-Version: 13\r\n")).as_bytes(), b"\x81\x80\0\0\0\0"]
            .concat(),
        &[SWITCHING.as_bytes(), b"\x81\0"].concat(),
        false,
    );
    let null = "Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: ws://a/\r\n\r\n";
    check(
        "both kinds of keys",
        &[head(&format!("{key}{keys}")).as_bytes(), &bytes_of(last)].concat(),
        &[format!("{ANSWER_76}{null}").as_bytes(), &bytes_of(digest)].concat(),
        false,
    );
    for (lines, status) in [
        (key.to_owned(), "426"),
        (format!("{keys}Sec-WebSocket-Draft: 1\r\n"), "400"),
        ("Sec-WebSocket-Draft: 2\r\n".to_owned(), "400"),
        (format!("Sec-WebSocket-Key1: {key1}\r\n"), "400"),
        (format!("Sec-WebSocket-Key2: {key2}\r\n"), "400"),
        (format!("{keys}Sec-WebSocket-Key1: {key1}\r\n"), "400"),
        // No space, no digit, a remainder, beyond 32 bits, beyond 64.
        (keys.replace(key1, "4@146546xW%0l15"), "400"),
        (keys.replace(key2, "abc d"), "400"),
        (keys.replace(key1, "1 2 3"), "400"),
        (keys.replace(key2, "4294967296 x"), "400"),
        (keys.replace(key1, "99999999999999999999 9"), "400"),
        (keys.replace(key1, &format!("1{:100}1", "")), "400"),
    ] {
        let config = config::config();
        let said = head(&lines);
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        conversation.say(said.as_bytes());
        let heard = conversation.heard();
        assert!(heard.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{lines}: {}", shown(&heard));
        check(&lines, said.as_bytes(), &heard, true);
    }
    // A client of RFC 6455 that then talks like one of 2010: 00 is an unmasked continuation.
    check(
        "draft 75's frames behind version 13",
        &[head(&format!("{key}Sec-WebSocket-Version: 13\r\n")).as_bytes(), b"\0Hello\xff"].concat(),
        &[SWITCHING.as_bytes(), &fault("continuation without a message")].concat(),
        true,
    );
}
