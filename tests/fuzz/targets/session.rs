//! An open connection: whatever a client says, whole and in pieces, gets what the model says, in either cut.
//!
//! The first byte chooses the dialect, the second how the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::config;
use support::conversation::Conversation;
use support::model;
use support::wire::{ANSWER, ANSWER_75, REQUEST, REQUEST_75};
use wsecho::reactor::listener::Role;

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// The challenge of the example in draft 76, whose last eight bytes stand behind the head.
const KEYS_76: &str = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";

/// Everything that is said to one client.
fn converse(request: &str, said: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let config = config::config();
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.say(request.as_bytes());
    said.chunks(piece.max(1)).for_each(|piece| conversation.say(piece));
    (conversation.heard(), conversation.ended())
}

fuzz_target!(|data: &[u8]| {
    let [dialect, cut, said @ ..] = data else { return };
    if said.len() > 30_000 {
        return; // beyond that, text comes back in as many fragments as it arrived in pieces
    }
    let (request, hybi) = match dialect % 5 {
        0 => (REQUEST.to_owned(), Some((ANSWER.len(), false))),
        1 => (
            REQUEST.replacen("\r\n\r\n", &format!("\r\n{DEFLATE}\r\n"), 1),
            Some((ANSWER.len() + DEFLATE.len(), true)),
        ),
        2 => (REQUEST.replacen("/echo", "/board/fuzz", 1), None),
        3 => (format!("{REQUEST_75}Origin: http://example.com\r\n\r\n"), None),
        _ => (format!("{REQUEST_75}{KEYS_76}Origin: http://example.com\r\n\r\n^n:ds[4U"), None),
    };
    let whole = converse(&request, said, usize::MAX);
    let pieces = converse(&request, said, usize::from(*cut));
    assert!(whole == pieces, "whole {:02x?}\npieces of {cut} {:02x?}", whole, pieces);
    match hybi {
        Some((answer, deflate)) => model::check(said, &whole.0[answer..], deflate, 1 << 20),
        None => assert!(whole.0.starts_with(b"HTTP/1.1 101 "), "{}", ANSWER_75),
    }
});
