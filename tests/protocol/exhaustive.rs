//! Every two bytes that a client can begin with, in every state that a connection can be in, against the model.

use support::config;
use support::conversation::Conversation;
use support::model;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::listener::Role;

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const KEY: [u8; 4] = *b"keyy";

/// What a client has said before: the state, and how many bytes of payload it has brought.
fn states() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("whole messages", [masked(0x81, KEY, b"a"), masked(0x82, KEY, b"")].concat()),
        ("in a text message", masked(0x01, KEY, b"a")),
        ("in a text message, in a code point", masked(0x01, KEY, &[0xCE])),
        ("in a binary message", masked(0x02, KEY, b"a")),
        ("in a binary message near the limit", masked(0x02, KEY, &vec![7; (1 << 20) - 100])),
        ("in a compressed text message", masked(0x41, KEY, b"a")),
        ("in a compressed binary message", masked(0x42, KEY, b"a")),
        ("behind a pong in a message", [masked(0x01, KEY, b"a"), masked(0x8A, KEY, b"b")].concat()),
        ("behind a Close", masked(0x88, KEY, &[3, 0xE8])),
    ]
}

/// What may follow those two bytes: nothing, part of a header, and enough for a frame of up to that length.
fn tails() -> Vec<Vec<u8>> {
    let mut good = KEY.to_vec();
    good.extend((0..126).map(|at| b'a' ^ KEY[at % 4]));
    let mut sixteen = vec![0, 200];
    sixteen.extend(&good);
    vec![Vec::new(), vec![0], vec![0x7F, 0xFF], vec![0, 0, 0, 0, 0, 1, 0, 0], sixteen, good]
}

#[test]
fn every_two_bytes_in_every_state_are_answered_as_the_model_says() {
    let config = config::config();
    let request = REQUEST.replacen("\r\n\r\n", &format!("\r\n{DEFLATE}\r\n"), 1);
    let answer = ANSWER.len() + DEFLATE.len();
    let max = config.routes.limits.max_message as usize;
    let (states, tails) = (states(), tails());
    for (number, (state, before)) in states.iter().enumerate() {
        for two in 0..=u16::MAX {
            // A tail each in turn: all of them come with every byte, and with every other byte six times over.
            let tail = &tails[(usize::from(two) + usize::from(two >> 8) + number) % tails.len()];
            // A mebibyte before each of them would take minutes.
            if before.len() > 1000 && two % 251 != 0 {
                continue;
            }
            let said = [before.as_slice(), &two.to_be_bytes(), tail].concat();
            let is_quit = said.windows(4).any(|window| window == b"quit");
            assert!(!is_quit, "{state}");
            let mut conversation = Conversation::new(Role::Echo, &config, None);
            conversation.say(request.as_bytes());
            conversation.say(&said);
            model::check(&said, &conversation.heard()[answer..], true, max);
        }
    }
}
