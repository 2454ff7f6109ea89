//! Random conversations, cut at random, with writes cut short at random, against a reader of our own.

use fastrand::Rng;
use support::config;
use support::conversation::Conversation;
use support::reader::Reader;
use support::script;
use support::seeds;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::proto::limits::WHOLE_MAX;
use wsecho::reactor::listener::Role;
use wsecho::reactor::turn::Shared;

#[test]
fn random_conversations_get_what_they_are_owed() {
    seeds::each_seed(200, |mut rng| {
        let count = rng.usize(..8);
        let mut lines = script::messages(&mut rng, count, any_size);
        let ends = rng.bool();
        if ends {
            lines.extend(script::ending(&mut rng));
        }
        converse(&mut rng, lines, ends);
    });
}

/// Sizes where the length field changes its form or the server its ways, in one frame.
#[test]
fn frames_of_every_notable_size_come_back() {
    let notable =
        [0, 125, 126, 65535, 65536, WHOLE_MAX - 1, WHOLE_MAX, WHOLE_MAX + 1, Shared::SCRATCH - 8, 300_000];
    seeds::each_seed(20, |mut rng| {
        for size in notable {
            let lines = script::messages(&mut rng, 1, |_| size);
            converse(&mut rng, lines, false);
        }
    });
}

/// Payload sizes: mostly small, sometimes where something changes, now and then large.
fn any_size(rng: &mut Rng) -> usize {
    const EDGES: [usize; 5] = [125, 126, 65535, 65536, WHOLE_MAX];
    match rng.u8(..20) {
        0..8 => rng.usize(..=200),
        8..13 => rng.usize(..=5_000),
        13..18 => rng.choice(EDGES).expect("an edge") + rng.usize(..=2) - 1,
        _ => rng.usize(..=400_000),
    }
}

/// Says `lines` in random segments; the conversation must end exactly when `ends` says so.
fn converse(rng: &mut Rng, lines: Vec<script::Line>, ends: bool) {
    let mut said = REQUEST.as_bytes().to_vec();
    let mut reader = Reader::default();
    for line in lines {
        said.extend(line.said);
        line.owed.into_iter().for_each(|owed| reader.owe(owed));
    }
    let config = config::config();
    let miser = rng.bool().then(|| rng.fork());
    let mut conversation = Conversation::new(Role::Echo, &config, miser);
    // Drips only where it does not take all day: in short conversations.
    let most = *rng
        .choice(if said.len() < 5_000 { &[1, 3, 50][..] } else { &[1_400, 30_000, 70_000, usize::MAX] })
        .expect("one");
    let mut rest = &said[..];
    while !rest.is_empty() {
        let (segment, behind) = rest.split_at(rng.usize(1..=rest.len().min(most)));
        conversation.say(segment);
        rest = behind;
    }
    let heard = conversation.heard();
    let frames = heard.strip_prefix(ANSWER.as_bytes()).expect("the handshake");
    reader.take(frames).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(reader.missing(), None);
    assert!(!reader.in_mid_frame(), "a frame that never ends");
    assert_eq!(reader.pings(), 0, "nobody asked for pings");
    assert_eq!((reader.closed().is_some(), conversation.ended()), (ends, ends), "closed and ended");
    if ends {
        // The FIN comes behind the peer's Close, if that was not there.
        conversation.say(&masked(0x88, [1, 2, 3, 4], &[]));
        assert!(conversation.finished());
    }
}
