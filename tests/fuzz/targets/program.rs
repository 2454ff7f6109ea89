//! Paths under `/ws`: whatever a chain says and a client sends it, whole and in pieces it does the same, and bounds what it keeps.
//!
//! The first byte is how the rest is cut, the first line the path behind `/ws/`; then comes what the client says, in up to
//! three parts with time between them. Where the first byte is odd, its FIN stands behind them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::config;
use support::conversation::Conversation;
use support::wire::REQUEST;
use wsecho::reactor::listener::Role;

/// Bytes that may be kept for one client of a chain: latency's 1 MiB, and what else waits in a turn.
const KEPT_MAX: u64 = (1 << 20) + (256 << 10);
/// Between two parts, in milliseconds, and after the last.
const PAUSE: u64 = 300;
const REST: u64 = 12_000;
/// More than eight steps of ten seconds take, but for a trickle of much.
const ALL: u64 = 200_000;

fn converse(request: &str, parts: &[&[u8]], piece: usize, hangs_up: bool) -> (Vec<u8>, bool) {
    let config = config::config();
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.listen_to(request.as_bytes());
    for (index, part) in parts.iter().enumerate() {
        part.chunks(piece.max(1)).for_each(|piece| conversation.listen_to(piece));
        assert!(conversation.kept() <= KEPT_MAX, "{} bytes are kept", conversation.kept());
        conversation.wait((index as u64 + 1) * PAUSE);
    }
    if hangs_up {
        conversation.hang_up();
    }
    conversation.wait(parts.len() as u64 * PAUSE + REST);
    if hangs_up && !request.contains("trickle/") {
        conversation.wait(ALL);
        assert!(conversation.over().is_some(), "held for who says no more");
    }
    (conversation.heard(), conversation.over().is_some() || conversation.finished())
}

/// Chains that send so much of their own that a run takes seconds.
fn is_endless(path: &str) -> bool {
    let numbers = path.split(|char: char| !char.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
    path.contains("source/") && numbers.fold(1u64, |product, number| product.saturating_mul(number.max(1))) > 1_000_000
}

/// Text in frames of more than 32 KiB comes back in fragments, as it arrives.
fn has_large_frame(mut said: &[u8]) -> bool {
    while let [_, second, rest @ ..] = said {
        let (size, head) = match (second & 0x7F, rest) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
            (127, _) => return true,
            (size, _) => (usize::from(size), 2),
        };
        if size > 32 * 1024 {
            return true;
        }
        said = said.get(head + 4 + size..).unwrap_or_default();
    }
    false
}

fuzz_target!(|data: &[u8]| {
    let [cut, rest @ ..] = data else { return };
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let (Some(Ok(path)), Some(said)) = (lines.next().map(std::str::from_utf8), lines.next()) else { return };
    let is_target = path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('#');
    if !is_target || is_endless(path) || said.len() > 20_000 || has_large_frame(said) {
        return;
    }
    let request = REQUEST.replacen("/echo", &format!("/ws/{path}"), 1);
    let parts: Vec<&[u8]> = said.chunks(said.len().div_ceil(3).max(1)).collect();
    let hangs_up = cut % 2 == 1;
    let whole = converse(&request, &parts, usize::MAX, hangs_up);
    let pieces = converse(&request, &parts, usize::from(*cut), hangs_up);
    assert!(whole.0.is_empty() || path.contains("bad-handshake") || whole.0.starts_with(b"HTTP/1.1 "));
    // Where reading has a rate, its own or that of a trickle, what comes at once is taken at other times than what comes in pieces.
    let is_same = whole == pieces || path.contains("throttle/") || path.contains("trickle/");
    assert!(is_same, "/ws/{path}\nwhole {:?}\npieces of {cut} {:?}", shown(&whole), shown(&pieces));
});

fn shown((heard, ended): &(Vec<u8>, bool)) -> String {
    format!("{} bytes, ended {ended}: {}", heard.len(), heard[..heard.len().min(2_000)].escape_ascii())
}
