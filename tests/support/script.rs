//! What a client says in the course of a conversation, drawn from a seed, and what it is owed for it.

use crate::reader::Owed;
use crate::wire::{fault, masked};
use fastrand::Rng;
use wsecho::proto::limits::WHOLE_MAX;

/// One frame, and what the server owes for it.
pub struct Line {
    pub said: Vec<u8>,
    pub owed: Vec<Owed>,
}

/// `count` messages in fragments, with control frames among them; `size` draws the bytes of each.
pub fn messages(rng: &mut Rng, count: usize, size: impl Fn(&mut Rng) -> usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..count {
        let is_text = rng.bool();
        let wanted = size(rng);
        let payload = if is_text { text(rng, wanted) } else { bytes(rng, wanted) };
        let fragments = if rng.bool() { 1 } else { rng.usize(1..=5) };
        let mut cuts: Vec<usize> = (1..fragments).map(|_| rng.usize(..=payload.len())).collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        for (at, cut) in cuts.windows(2).enumerate() {
            let opcode = if at > 0 { 0 } else { if is_text { 1 } else { 2 } };
            let fin = if at + 1 == fragments { 0x80 } else { 0 };
            lines.push(data(rng, fin | opcode, is_text, &payload[cut[0]..cut[1]]));
            while rng.u8(..4) == 0 {
                lines.push(control(rng));
            }
        }
    }
    lines
}

/// One of the ways to end a conversation by what is said, and things said after the end, which the server must ignore.
pub fn ending(rng: &mut Rng) -> Vec<Line> {
    let key = rng.u32(..).to_be_bytes();
    let frame = |first, payload: &[u8]| masked(first, key, payload);
    let mut lines = match rng.u8(..6) {
        0 => vec![ends(frame(0x88, &[]), &[])],
        1 => {
            let code = *rng.choice(&[1000u16, 1001, 1003, 1011, 1014, 3000, 4999]).expect("a code");
            let wanted = rng.usize(..=120);
            let body = [&code.to_be_bytes()[..], &text(rng, wanted)].concat();
            vec![ends(frame(0x88, &body), &body)]
        }
        2 => vec![ends(frame(0x81, b"quit"), &1000u16.to_be_bytes())],
        3 => {
            let (said, why) = match rng.u8(..8) {
                0 => (vec![0x83, 0x80], "unknown opcode"),
                1 => (vec![0x81, 0x05, b'H'], "frame not masked"),
                2 => (vec![0x91, 0x80], "reserved bit set"),
                3 => (vec![0x89, 0xFE, 0, 126], "control frame beyond 125 bytes"),
                4 => (frame(0x80, b"x"), "continuation without a message"),
                5 => (frame(0x88, b"x"), "close body of one byte"),
                6 => (frame(0x88, &[0x03, 0xED]), "close code that may not be sent"),
                _ => (vec![0x82, 0xFE, 0, 5], "length not in its shortest form"),
            };
            vec![fails(said, why)]
        }
        4 => {
            let size = *rng.choice(&[10, 1000, WHOLE_MAX, WHOLE_MAX + 1, 100_000]).expect("a size");
            vec![bad_text(rng, size)]
        }
        _ => {
            let header = [0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
            vec![fails(header.to_vec(), "message too big")]
        }
    };
    if rng.bool() {
        let size = rng.usize(..200);
        lines.push(Line { said: bytes(rng, size), owed: Vec::new() });
    }
    lines
}

/// Text of exactly `size` bytes, with code points of one to four bytes, that is not `quit`.
pub fn text(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size);
    while text.len() < size {
        let code_point = match rng.u8(..4) {
            0 => rng.char('\u{80}'..='\u{7ff}'),
            1 => rng.char('\u{800}'..='\u{ffff}'),
            2 => rng.char('\u{10000}'..=char::MAX),
            _ => rng.char(' '..='p'),
        };
        if text.len() + code_point.len_utf8() <= size {
            text.extend(code_point.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    text
}

fn bytes(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    bytes
}

fn data(rng: &mut Rng, first: u8, is_text: bool, payload: &[u8]) -> Line {
    let said = masked(first, rng.u32(..).to_be_bytes(), payload);
    let payload = payload.to_vec();
    let owed = if is_text && payload.len() > WHOLE_MAX {
        Owed::Text { first, good: payload.len(), payload }
    } else {
        Owed::Frame { first, payload }
    };
    Line { said, owed: vec![owed] }
}

fn control(rng: &mut Rng) -> Line {
    // Not empty: an empty Pong would look like nothing, an empty Ping is what the server itself sends.
    let size = rng.usize(1..=125);
    let payload = bytes(rng, size);
    let key = rng.u32(..).to_be_bytes();
    if rng.u8(..4) == 0 {
        Line { said: masked(0x8A, key, &payload), owed: Vec::new() }
    } else {
        Line { said: masked(0x89, key, &payload), owed: vec![Owed::Frame { first: 0x8A, payload }] }
    }
}

fn ends(said: Vec<u8>, body: &[u8]) -> Line {
    Line { said, owed: vec![Owed::Frame { first: 0x88, payload: body.to_vec() }] }
}

fn fails(said: Vec<u8>, why: &str) -> Line {
    ends(said, &fault(why)[2..])
}

/// A text of `size` bytes that stops being one somewhere; what the server may begin to echo, and its 1007.
fn bad_text(rng: &mut Rng, size: usize) -> Line {
    let mut payload = text(rng, size);
    let at = rng.usize(..size);
    payload[at] = 0xFF;
    let said = masked(0x81, rng.u32(..).to_be_bytes(), &payload);
    let close = Owed::Frame { first: 0x88, payload: fault("not UTF-8")[2..].to_vec() };
    let begun = (size > WHOLE_MAX).then_some(Owed::Text { first: 0x81, payload, good: at });
    Line { said, owed: begun.into_iter().chain([close]).collect() }
}
