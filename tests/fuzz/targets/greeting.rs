//! The first bytes of a connection: whatever they are, they get one answer, however they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::config;
use support::conversation::Conversation;
use wsecho::reactor::listener::Role;

fn answer(role: Role, said: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let config = config::config();
    let mut conversation = Conversation::new(role, &config, None);
    said.chunks(piece.max(1)).for_each(|piece| conversation.say(piece));
    (conversation.heard(), conversation.ended())
}

fuzz_target!(|data: &[u8]| {
    let [role, cut, said @ ..] = data else { return };
    let role = [Role::Echo, Role::Policy, Role::Stats][usize::from(role % 3)];
    let whole = answer(role, said, usize::MAX);
    let pieces = answer(role, said, usize::from(*cut));
    // What is read behind the end of a head differs by the cut, where it is more than one may have.
    let same = match role {
        // Among the numbers are those of bytes and reads so far.
        Role::Stats => shape(&whole.0) == shape(&pieces.0) && whole.1 == pieces.1,
        _ => whole == pieces,
    };
    assert!(same, "whole {:?}\npieces of {cut} {:?}", text(&whole.0), text(&pieces.0));
    let heard = &whole.0;
    let is_answer = heard.is_empty() || heard.starts_with(b"HTTP/1.1 ") || heard.starts_with(b"<cross-domain-policy>");
    assert!(is_answer, "{:?}", text(heard));
});

/// Without its numbers.
fn shape(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split(|char: char| char.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
