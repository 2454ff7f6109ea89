//! Faults of peers, each with the byte that proves it: one byte less, and the server still waits.

use support::config;
use support::conversation::Conversation;
use support::wire::{ANSWER, REQUEST, fault, masked};
use wsecho::proto::handshake::Routes;
use wsecho::proto::limits::{Limits, TEXT_MAX, WHOLE_MAX};
use wsecho::reactor::config::Config;
use wsecho::reactor::listener::Role;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Says `said` byte by byte in one conversation and in one piece in another; the last byte must bring `close`, behind
/// `before`, and no byte earlier may.
fn assert_proof(why: &str, said: &[u8], before: &[u8], close: &[u8]) {
    let config = config::config();
    let (front, last) = said.split_at(said.len() - 1);
    let drip: Vec<&[u8]> = front.chunks(1).collect();
    for pieces in [vec![front], drip] {
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        conversation.say(REQUEST.as_bytes());
        pieces.into_iter().filter(|piece| !piece.is_empty()).for_each(|piece| conversation.say(piece));
        assert_eq!(conversation.heard(), [ANSWER.as_bytes(), before].concat(), "{why}: one byte less");
        assert!(!conversation.ended(), "{why}: one byte less");
        conversation.say(last);
        assert_eq!(conversation.heard(), [ANSWER.as_bytes(), before, close].concat(), "{why}");
        assert!(conversation.ended(), "{why}");
    }
}

#[test]
fn framing() {
    for (why, said, words) in [
        ("RSV1", &[0xC1][..], "reserved bit set"),
        ("RSV2", &[0xA2], "reserved bit set"),
        ("RSV3", &[0x90], "reserved bit set"),
        ("all reserved bits", &[0xF1], "reserved bit set"),
        ("opcode 3", &[0x83], "unknown opcode"),
        ("opcode 7", &[0x07], "unknown opcode"),
        ("opcode B", &[0x8B], "unknown opcode"),
        ("opcode F", &[0x8F], "unknown opcode"),
        ("ping without FIN", &[0x09], "fragmented control frame"),
        ("pong without FIN", &[0x0A], "fragmented control frame"),
        ("close without FIN", &[0x08], "fragmented control frame"),
        ("text without a mask", &[0x81, 0x05], "frame not masked"),
        ("empty text without a mask", &[0x81, 0x00], "frame not masked"),
        ("ping without a mask", &[0x89, 0x00], "frame not masked"),
        ("close without a mask", &[0x88, 0x02], "frame not masked"),
        ("ping of more than 125 bytes", &[0x89, 0xFE], "control frame beyond 125 bytes"),
        ("pong of more than 125 bytes", &[0x8A, 0xFF], "control frame beyond 125 bytes"),
        ("close of more than 125 bytes", &[0x88, 0xFE], "control frame beyond 125 bytes"),
        ("5 in 16 bits", &[0x82, 0xFE, 0, 5], "length not in its shortest form"),
        ("125 in 16 bits", &[0x81, 0xFE, 0, 125], "length not in its shortest form"),
        ("65535 in 64 bits", &[0x82, 0xFF, 0, 0, 0, 0, 0, 0], "length not in its shortest form"),
        ("top bit of 64", &[0x82, 0xFF, 0x80], "64-bit length with its top bit set"),
        ("continuation of nothing", &[0x80], "continuation without a message"),
        ("open continuation of nothing", &[0x00], "continuation without a message"),
    ] {
        assert_proof(why, said, &[], &fault(words));
        let text = [&masked(0x81, KEY, b"first")[..], said].concat();
        assert_proof(&format!("{why}, behind a text"), &text, b"\x81\x05first", &fault(words));
    }
}

#[test]
fn fragments() {
    for (why, opening, next) in [
        ("text inside text", 0x01, 0x81),
        ("text inside binary", 0x02, 0x01),
        ("binary inside text", 0x01, 0x82),
        ("binary inside binary", 0x02, 0x02),
    ] {
        let said = [&masked(opening, KEY, b"a")[..], &[next]].concat();
        assert_proof(why, &said, &[opening, 1, b'a'], &fault("new message inside a fragmented one"));
    }
    let said = [&masked(0x01, KEY, b"a")[..], &masked(0x80, KEY, b"b"), &[0x80]].concat();
    assert_proof(
        "continuation of what has ended",
        &said,
        b"\x01\x01a\x80\x01b",
        &fault("continuation without a message"),
    );
}

#[test]
fn close_codes() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 9999, 65535u16] {
        assert_proof(
            &format!("{code}"),
            &masked(0x88, KEY, &code.to_be_bytes()),
            &[],
            &fault("close code that may not be sent"),
        );
    }
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999u16]
    {
        let body = [&code.to_be_bytes()[..], b"why"].concat();
        assert_proof(&format!("{code}"), &masked(0x88, KEY, &body), &[], &[&[0x88, 5], &body[..]].concat());
    }
    assert_proof("a body of one byte", &masked(0x88, KEY, &[3]), &[], &fault("close body of one byte"));
    let longest = [&1000u16.to_be_bytes()[..], &[b'x'; 123]].concat();
    assert_proof(
        "a reason of 123 bytes",
        &masked(0x88, KEY, &longest),
        &[],
        &[&[0x88, 125], &longest[..]].concat(),
    );
    for reason in [&b"\xFF"[..], b"ab\xCE", b"\xED\xA0\x80", b"\xC0\x80"] {
        let body = [&1000u16.to_be_bytes()[..], reason].concat();
        assert_proof("a reason that is not UTF-8", &masked(0x88, KEY, &body), &[], &fault("not UTF-8"));
    }
}

/// The last byte of each proves that no text will come of it.
const HOPELESS: [&[u8]; 13] = [
    b"\x80",
    b"\xBF",
    b"a\xC0",
    b"\xC1",
    b"\xF5",
    b"\xFF",
    b"ab\xCE\x20",
    b"\xE0\x9F",
    b"\xED\xA0",
    b"\xF0\x8F",
    b"\xF4\x90",
    b"\xF0\x9F\x98\x41",
    b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0",
];

#[test]
fn text_is_refused_at_its_first_hopeless_byte() {
    for hopeless in HOPELESS {
        for size in [hopeless.len(), 125, 1000, WHOLE_MAX] {
            let mut payload = hopeless.to_vec();
            payload.resize(size, b'.');
            let frame = masked(0x81, KEY, &payload);
            let proof = frame.len() - size + hopeless.len();
            assert_proof(
                &format!("{hopeless:x?} in {size} bytes"),
                &frame[..proof],
                &[],
                &fault("not UTF-8"),
            );
        }
    }
}

/// The same, with every fragment boundary inside: what came before in whole fragments has been echoed.
#[test]
fn text_is_refused_across_fragments() {
    for hopeless in HOPELESS {
        for cut in 0..hopeless.len() {
            let (front, back) = hopeless.split_at(cut);
            let said =
                [masked(0x01, KEY, front), masked(0x00, KEY, &[]), masked(0x80, [9, 8, 7, 6], back)].concat();
            let before = [&[0x01, front.len() as u8], front, &[0x00, 0]].concat();
            assert_proof(&format!("{hopeless:x?} cut at {cut}"), &said, &before, &fault("not UTF-8"));
        }
    }
}

#[test]
fn text_may_not_end_inside_a_code_point() {
    for unfinished in [&b"\xCE"[..], b"ab\xE2\x82", b"\xF0\x9F\x98"] {
        assert_proof("in one frame", &masked(0x81, KEY, unfinished), &[], &fault("not UTF-8"));
        let before = [&[0x01, unfinished.len() as u8], unfinished].concat();
        let said = [masked(0x01, KEY, unfinished), masked(0x80, KEY, &[])].concat();
        assert_proof("an empty last fragment", &said, &before, &fault("not UTF-8"));
    }
}

/// Of a frame too large to come back as one, what is good is passed on in fragments of 32 KiB and more; the one with the fault
/// is not. Of any other nothing is.
#[test]
fn a_fault_late_in_a_long_text_is_still_told() {
    let config = Config {
        routes: Routes { limits: Limits { max_message: 0 }, ..config::config().routes },
        ..config::config()
    };
    for (size, passed_on) in [(TEXT_MAX, 0), (TEXT_MAX + 1, WHOLE_MAX)] {
        let mut payload = vec![b'x'; size];
        payload[WHOLE_MAX + 500] = 0xFF;
        let frame = masked(0x81, KEY, &payload);
        let header = frame.len() - payload.len();
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        conversation.say(REQUEST.as_bytes());
        for piece in frame[..header + WHOLE_MAX + 500].chunks(100) {
            conversation.say(piece);
        }
        let heard = conversation.heard();
        let before = &heard[ANSWER.len()..];
        assert!(before.len() >= passed_on && before.len() < passed_on + 100 && !conversation.ended());
        assert!(before.ends_with(&payload[..passed_on]));
        conversation.say(&frame[header + WHOLE_MAX + 500..header + WHOLE_MAX + 501]);
        assert_eq!(conversation.heard(), [&heard[..], &fault("not UTF-8")].concat());
        assert!(conversation.finished());
    }
}

/// Clients give up on a message of too many fragments: 128 in Perl's Protocol::WebSocket, 16,384 in Node's ws.
#[test]
fn text_that_drips_comes_back_whole_or_in_large_fragments() {
    let config = Config {
        routes: Routes { limits: Limits { max_message: 0 }, ..config::config().routes },
        ..config::config()
    };
    for (size, most) in [(70_000, 1), (TEXT_MAX, 1), (2_400_000, 74), (4 << 20, 128)] {
        let payload = "zürich ".repeat(size / 8).into_bytes();
        let mut conversation = Conversation::new(Role::Echo, &config, None);
        conversation.say(REQUEST.as_bytes());
        masked(0x81, KEY, &payload).chunks(100).for_each(|piece| conversation.say(piece));
        let heard = conversation.heard();
        let (mut rest, mut text, mut fragments) = (&heard[ANSWER.len()..], Vec::new(), 0);
        while !rest.is_empty() {
            let (len, start) = match rest[1] {
                126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                127 => (u64::from_be_bytes(rest[2..10].try_into().expect("eight bytes")) as usize, 10),
                len => (usize::from(len), 2),
            };
            text.extend_from_slice(&rest[start..start + len]);
            let is_last = text.len() == size;
            let expected = if fragments == 0 { 0x01 } else { 0 } | if is_last { 0x80 } else { 0 };
            assert_eq!(rest[0], expected, "fragment {fragments}");
            assert!(is_last || len >= WHOLE_MAX, "a fragment of {len} bytes");
            rest = &rest[start + len..];
            fragments += 1;
        }
        assert!(text == payload && fragments <= most, "{fragments} fragments of {size} bytes");
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_on_its_header() {
    // The limit of the configuration: 1 MiB.
    let header = |first: u8, len: u64| [&[first, 0xFF][..], &len.to_be_bytes(), &KEY].concat();
    for len in [(1 << 20) + 1, 1 << 40, u64::MAX >> 1] {
        assert_proof(&format!("{len}"), &header(0x82, len), &[], &fault("message too big"));
        assert_proof(&format!("{len}, text"), &header(0x01, len), &[], &fault("message too big"));
    }
    let said = [masked(0x02, KEY, b"abc"), header(0x80, (1 << 20) - 2)].concat();
    assert_proof("over two fragments", &said, b"\x02\x03abc", &fault("message too big"));
    let config = config::config();
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation
        .say(&[REQUEST.as_bytes(), &masked(0x02, KEY, b"abc"), &header(0x80, (1 << 20) - 3)].concat());
    assert!(!conversation.ended(), "a message of exactly the limit is welcome");
}

#[test]
fn quit_is_known_at_its_last_byte() {
    assert_proof("quit", &masked(0x81, KEY, b"quit"), &[], b"\x88\x02\x03\xE8");
    let said = [masked(0x01, KEY, b"a"), masked(0x80, KEY, b"quit"), masked(0x81, KEY, b"quit")].concat();
    assert_proof("only as a message of its own", &said, b"\x01\x01a\x80\x04quit", b"\x88\x02\x03\xE8");
}
