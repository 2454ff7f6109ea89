//! loadgen's client session: whatever a server says after its 101, whole and in pieces, is the same messages and the same
//! end, and what a plain reading of RFC 6455 makes of it.
//!
//! The first byte chooses the draft and whether messages are compressed, the second how the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::protocol::deflate::Inflater;
use loadgen::protocol::draft::Draft;
use loadgen::protocol::frame::Opcode;
use loadgen::protocol::handshake::{self, Extras};
use loadgen::protocol::hixie::Challenge;
use loadgen::protocol::session::{Received, Rules, Session, Upgrade};
use loadgen::protocol::url::Url;
use std::borrow::Cow;

/// Bytes of the longest message that is taken.
const LIMIT: usize = 20_000;

/// What was received: opcode and payload, in order, and why it ended.
type Heard = (Vec<(u8, Vec<u8>)>, Option<String>);

fn hear(rules: &Rules, said: &[u8], piece: usize) -> Heard {
    let url = Url::parse("ws://127.0.0.1/").expect("a URL");
    let upgrade =
        || Upgrade { url: Cow::Borrowed(&url), extras: Cow::Borrowed(&rules.extras), nonce: 1 };
    let mut session = Session::default();
    let mut inflater = rules.extras.deflate.then(Box::<Inflater>::default);
    let mut heard = Vec::new();
    for piece in said.chunks(piece.max(1)) {
        let mut incoming = session.receive(piece);
        loop {
            match incoming.next(rules, upgrade, &mut inflater) {
                Ok(None) => break,
                Ok(Some(received)) => heard.push(match received {
                    Received::Open => (0, Vec::new()),
                    Received::Message(opcode, payload, _) => (opcode as u8, payload.to_vec()),
                    Received::Ping(payload) => (9, payload.to_vec()),
                    Received::Pong(payload) => (10, payload.to_vec()),
                    Received::Close(payload) => (8, payload.to_vec()),
                }),
                Err(refusal) => return (heard, Some(refusal.reason)),
            }
            assert!(heard.len() <= 1 + said.len(), "more was heard than was said");
        }
        incoming.finish();
    }
    (heard, None)
}

/// The same from RFC 6455, sections 5.2 to 5.5, uncompressed: a reader who has all of it in front of him.
fn read(mut said: &[u8]) -> (Vec<(u8, Vec<u8>)>, bool) {
    let (mut heard, mut message) = (Vec::new(), None::<(u8, Vec<u8>)>);
    while let [first, second, rest @ ..] = said {
        let (fin, opcode, is_control) = (first & 0x80 != 0, first & 0x0F, first & 8 != 0);
        if first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) || second & 0x80 != 0 {
            return (heard, true);
        }
        let length = match second {
            126 => rest.split_first_chunk().map(|(size, behind)| (u64::from(u16::from_be_bytes(*size)), behind)),
            127 => rest.split_first_chunk().map(|(size, behind)| (u64::from_be_bytes(*size), behind)),
            size => Some((u64::from(*size), rest)),
        };
        let Some((size, behind)) = length else { return (heard, false) };
        let least = [0, 126, 65_536][usize::from(*second).saturating_sub(125)];
        if size < least || (is_control && (!fin || size > 125)) || size > LIMIT as u64 {
            return (heard, true);
        }
        let Some((payload, behind)) = behind.split_at_checked(size as usize) else { return (heard, false) };
        said = behind;
        if is_control {
            heard.push((opcode, payload.to_vec()));
            continue;
        }
        match &mut message {
            Some((_, so_far)) if opcode == 0 => so_far.extend(payload),
            None if opcode != 0 => message = Some((opcode, payload.to_vec())),
            _ => return (heard, true),
        }
        if message.as_ref().is_some_and(|(_, so_far)| so_far.len() > LIMIT) {
            return (heard, true);
        }
        if fin {
            heard.extend(message.take());
        }
    }
    (heard, false)
}

fuzz_target!(|data: &[u8]| {
    let [choice, cut, said @ ..] = data else { return };
    let draft = [Draft::Rfc6455, Draft::Hybi8, Draft::Hixie76, Draft::Hixie75][usize::from(choice % 4)];
    let deflate = choice & 4 != 0 && !draft.is_hixie();
    let rules = Rules { extras: Extras { draft, deflate, ..Extras::default() }, limit: LIMIT };
    let said = [&answer(&rules.extras)[..], said].concat();
    let whole = hear(&rules, &said, usize::MAX);
    let pieces = hear(&rules, &said, usize::from(*cut));
    assert_eq!(whole, pieces, "in pieces of {cut}");
    assert!(whole.0.first().is_some_and(|first| first.0 == 0), "{:?} {}", whole.1, said.escape_ascii());
    assert!(whole.0.iter().all(|(opcode, payload)| *opcode == Opcode::Text as u8 || payload.len() <= LIMIT));
    if !deflate && !draft.is_hixie() {
        let (owed, is_over) = read(&said[answer(&rules.extras).len()..]);
        assert_eq!(whole.0[1..], owed, "heard, and owed; {:?}", whole.1);
        assert_eq!(whole.1.is_some(), is_over, "{:?}", whole.1);
    }
});

/// The 101 that a server gives to the request.
fn answer(extras: &Extras) -> Vec<u8> {
    let url = Url::parse("ws://127.0.0.1/").expect("a URL");
    let request = handshake::request(&url, extras, 1);
    let switching = "HTTP/1.1 101 A\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    let from = |prefix| {
        format!("{prefix}WebSocket-Origin: http://127.0.0.1\r\n{prefix}WebSocket-Location: ws://127.0.0.1/\r\n")
    };
    let (lines, digest) = match extras.draft {
        Draft::Hixie75 => (from(""), Vec::new()),
        Draft::Hixie76 => (from("Sec-"), Challenge::new(1).digest().to_vec()),
        _ => {
            let request = std::str::from_utf8(&request).expect("no draft of these sends other bytes");
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";
            let answer = handshake::acceptance(key);
            return match extras.deflate {
                true => [answer.trim_end(), "\r\n", agreed].concat().into_bytes(),
                false => answer.into_bytes(),
            };
        }
    };
    [format!("{switching}{lines}\r\n").as_bytes(), &digest].concat()
}
