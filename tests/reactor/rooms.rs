//! Boards of thousands: what it costs the others, and that everybody hears the same.

use crate::machine::{CALL_COST, Server};
use std::time::Duration;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::listener::Role;

const KEY: [u8; 4] = [1, 2, 3, 4];
/// What every round has time for, at most: a slice for boards on which something was just said, one for those that have begun,
/// and one for farewells.
const ROUND: Duration = Duration::from_millis(15);

/// A server with so many members of each of these boards, who are numbered in this order, and behind them one who wants an echo.
fn with_members(boards: &[(&str, usize)]) -> Server {
    let most = boards.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let mut server = Server::new(&[Role::Echo], |config| {
        (config.boards.max_members, config.boards.lifetime) = (most, Some(Duration::from_secs(300)));
    });
    let mut count = 0;
    for (path, members) in boards.iter().chain(&[("/echo", 1)]) {
        server.come(0, *members, REQUEST.replace("/echo", path).as_bytes());
        count += members;
        while server.machine.borrow().peers.len() < count || server.machine.borrow().events() > 0 {
            server.tick();
        }
    }
    while (0..count).any(|peer| server.peer(peer).heard.len() < ANSWER.len()) {
        server.tick();
    }
    server
}

/// A round, which must not be long, nor leave the client unanswered who wants an echo.
fn round(server: &mut Server, innocent: usize) {
    let (calls, heard) = (server.work().calls(), server.peer(innocent).heard.len());
    server.say(innocent, &masked(0x81, KEY, b"hello"));
    server.tick();
    let took = (server.work().calls() - calls) as u32 * CALL_COST;
    assert!(took <= ROUND, "{took:?}");
    assert_eq!(server.peer(innocent).heard.len(), heard + 7, "answered in the same round");
}

/// What a member heard: messages of eight bytes.
fn heard(server: &Server, member: usize) -> Vec<Vec<u8>> {
    let heard = &server.peer(member).heard[ANSWER.len()..];
    heard.chunks(10).map(<[u8]>::to_vec).collect()
}

/// The `count`th word of a member, on the wire to the server, and from it.
fn word(member: usize, count: usize) -> (Vec<u8>, Vec<u8>) {
    let word = format!("{member:05} {count:02}");
    (masked(0x81, KEY, word.as_bytes()), [&[0x81, 8], word.as_bytes()].concat())
}

#[test]
fn a_room_of_thousands_is_told_in_slices() {
    const MEMBERS: usize = 5_000;
    let mut server = with_members(&[("/board/large", MEMBERS), ("/board/small", 2)]);
    let innocent = MEMBERS + 2;
    for count in 0..3 {
        server.say(0, &word(0, count).0);
    }
    let mut rounds = 0;
    while (1..MEMBERS).any(|member| heard(&server, member).len() < 3) {
        // Who is on a small board waits for none of that.
        server.say(MEMBERS, &word(MEMBERS, rounds).0);
        round(&mut server, innocent);
        rounds += 1;
        assert_eq!(heard(&server, MEMBERS + 1).len(), rounds, "heard in the same round");
    }
    assert!(rounds > 4, "or this is no test");
    let said: Vec<_> = (0..3).map(|count| word(0, count).1).collect();
    assert!((1..MEMBERS).all(|member| heard(&server, member) == said));
    assert!(heard(&server, 0).is_empty());
}

#[test]
fn where_all_of_a_thousand_talk_everybody_hears_the_same() {
    const MEMBERS: usize = 1_000;
    const WORDS: usize = 3;
    let mut server = with_members(&[("/board/large", MEMBERS + 1)]);
    // One is silent, and hears everything.
    let (silent, innocent) = (MEMBERS, MEMBERS + 1);
    let writes = server.work().writes;
    for count in 0..WORDS {
        (0..MEMBERS).for_each(|member| server.say(member, &word(member, count).0));
        round(&mut server, innocent);
    }
    let mut rounds = WORDS;
    while heard(&server, silent).len() < MEMBERS * WORDS
        || (0..MEMBERS).any(|member| heard(&server, member).len() < (MEMBERS - 1) * WORDS)
    {
        round(&mut server, innocent);
        rounds += 1;
        assert!(rounds < 1_000, "no end in sight");
    }
    let all = heard(&server, silent);
    for member in 0..MEMBERS {
        let own: Vec<_> = (0..WORDS).map(|count| word(member, count).1).collect();
        let others: Vec<_> = all.iter().filter(|word| !own.contains(word)).cloned().collect();
        assert!(heard(&server, member) == others, "member {member}");
        let own_words: Vec<_> = all.iter().filter(|word| own.contains(word)).cloned().collect();
        assert_eq!(own_words, own, "in the order in which it said them");
    }
    // What many say goes out together: not a write for each word.
    let writes = server.work().writes - writes - rounds;
    assert!(writes <= MEMBERS * 30, "{writes} writes for {WORDS} words of each");
}

/// All talk, all read, and none of them as much at once as is said.
#[test]
fn nobody_who_reads_is_sent_away_however_much_all_of_them_say() {
    const MEMBERS: usize = 60;
    const WORDS: usize = 100;
    let mut server = with_members(&[("/board/large", MEMBERS)]);
    let message = masked(0x82, KEY, &[7; 2_000]);
    (0..MEMBERS).for_each(|member| server.machine.borrow_mut().peers[member].room = Some(0));
    (0..MEMBERS).for_each(|member| (0..WORDS).for_each(|_| server.say(member, &message)));
    let all = ANSWER.len() + (MEMBERS - 1) * WORDS * 2_004;
    let mut rounds = 0;
    while (0..MEMBERS).any(|member| server.peer(member).heard.len() < all) {
        for member in (0..MEMBERS).filter(|member| member % 4 == rounds % 4) {
            let left = server.peer(member).room.unwrap_or_default();
            server.take(member, 100_000 - left);
        }
        server.tick();
        assert_eq!((0..MEMBERS).find(|member| server.peer(*member).gone), None, "round {rounds}");
        rounds += 1;
        assert!(rounds < 5_000, "no end in sight");
    }
    assert!((0..MEMBERS).all(|member| server.peer(member).heard.len() == all), "nothing was added");
}

/// Who speaks no more holds up nobody, and is not held up.
#[test]
fn who_has_left_a_large_room_is_gone_while_the_others_are_told() {
    const MEMBERS: usize = 3_000;
    let mut server = with_members(&[("/board/large", MEMBERS)]);
    server.say(0, &masked(0x88, KEY, &1000u16.to_be_bytes()));
    round(&mut server, MEMBERS);
    assert!(server.peer(0).ended && !server.peer(0).gone);
    server.say(1, &word(1, 0).0);
    round(&mut server, MEMBERS);
    assert!((2..MEMBERS).any(|member| heard(&server, member).is_empty()), "or this is no test");
    server.end(0);
    round(&mut server, MEMBERS);
    assert!(server.peer(0).gone);
}

/// The end of a room is a farewell to each of them.
#[test]
fn the_end_of_a_large_room_is_told_in_slices_and_behind_what_was_said() {
    const MEMBERS: usize = 5_000;
    let mut server = with_members(&[("/board/large", MEMBERS)]);
    server.machine.borrow_mut().now += Duration::from_secs(301);
    server.say(0, &word(0, 0).0);
    let mut rounds = 0;
    while (0..MEMBERS).any(|member| !server.peer(member).heard.ends_with(b"than 5mn")) {
        round(&mut server, MEMBERS);
        rounds += 1;
        assert!(rounds < 100, "no end in sight");
    }
    assert!(rounds > 8, "or this is no test");
    let words = word(0, 0).1;
    assert!((1..MEMBERS).all(|member| server.peer(member).heard[ANSWER.len()..].starts_with(&words)));
}
