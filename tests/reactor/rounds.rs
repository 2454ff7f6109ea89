//! What others have to wait for: the work between two looks at who became ready.

use crate::machine::{ACCEPT_COST, CALL_COST, Server};
use std::time::Duration;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::listener::Role;
use wsecho::reactor::turn::Shared;

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A server with so many clients that are open.
fn with_clients(count: usize) -> Server {
    with_clients_at("/echo", count)
}

fn with_clients_at(path: &str, count: usize) -> Server {
    let mut server = Server::new(&[Role::Echo], |config| {
        config.routes.limits.max_message = 0;
        config.boards.max_members = count;
    });
    server.come(0, count, REQUEST.replace("/echo", path).as_bytes());
    for _ in 0..100 {
        server.tick();
    }
    let machine = server.machine.borrow();
    assert!(machine.peers.len() == count && machine.peers.iter().all(|peer| peer.heard == ANSWER.as_bytes()));
    drop(machine);
    server
}

#[test]
fn a_message_is_one_read_and_one_write() {
    let mut server = with_clients(1);
    let (reads, writes) = (server.peer(0).reads, server.peer(0).writes);
    for size in [0, 20, 4000, 32_000] {
        server.say(0, &masked(0x82, KEY, &vec![7; size]));
        server.tick();
    }
    assert_eq!((server.peer(0).reads - reads, server.peer(0).writes - writes), (4, 4));
}

#[test]
fn one_who_is_alone_may_read_much_at_once() {
    let mut server = with_clients(1);
    server.say(0, &masked(0x82, KEY, &vec![7; 1_000_000]));
    server.tick();
    assert_eq!(server.peer(0).longest_read, Shared::SCRATCH);
}

/// The worst there is: fragments of one byte, seven bytes each on the wire.
#[test]
fn however_much_lies_there_a_round_is_short() {
    const CLIENTS: usize = 1_500;
    let mut server = with_clients(CLIENTS + 1);
    let pile = [masked(0x01, KEY, b"x"), masked(0x00, KEY, b"x").repeat(4_000)].concat();
    for client in 0..CLIENTS {
        server.say(client, &pile);
    }
    let mut waits = 0;
    let mut rounds = 0;
    while server.machine.borrow().peers.iter().any(|peer| !peer.says.is_empty()) {
        let before = server.work();
        let ready = server.machine.borrow().events();
        let innocent = server.peer(CLIENTS).heard.len();
        // It speaks in every second round.
        if rounds % 2 == 0 {
            server.say(CLIENTS, &masked(0x81, KEY, b"hello"));
        }
        server.tick();
        let after = server.work();
        let (turns, bytes) = (after.reads - before.reads, after.bytes - before.bytes);
        // The unfinished get sixteen turns, or a quarter of what those who became ready get.
        let most = ready + 1 + (ready / 4).max(16);
        assert!(turns <= most, "{turns} turns for {ready} who became ready");
        let most = 2 * Shared::ROUND_BYTES + (ready + ready / 4) * Shared::TURN_BYTES_MIN;
        assert!(
            bytes <= most,
            "{bytes} bytes, of which each seven are a frame, for {ready} who became ready"
        );
        if rounds % 2 == 0 && server.peer(CLIENTS).heard.len() == innocent {
            waits += 1;
        }
        rounds += 1;
    }
    assert_eq!(waits, 0, "rounds in which one who said little was not answered, of {rounds}");
    let heard = |client: usize| server.peer(client).heard.len() - ANSWER.len();
    assert!((0..CLIENTS).all(|client| heard(client) == 3 * 4_001), "everybody hears all of his own");
}

/// By time, not by number, so that a long queue does not wait for many rounds, nor the others for a long queue.
#[test]
fn newcomers_are_let_in_for_a_slice_of_each_round() {
    let mut server = Server::new(&[Role::Echo], |_| {});
    server.come(0, 1_000, b"");
    let mut rounds = 0;
    while !server.machine.borrow().queues[0].is_empty() {
        let (accepts, now) = (server.machine.borrow().accepts, server.machine.borrow().now);
        server.tick();
        let accepts = server.machine.borrow().accepts - accepts;
        let took = server.machine.borrow().now - now;
        assert!(took <= Duration::from_millis(5), "{accepts} accepts in {took:?}");
        rounds += 1;
    }
    assert!(rounds <= 10, "{rounds} rounds for a thousand clients of {ACCEPT_COST:?} each");
}

/// Alarms may ring all at once, after a pause of the whole process for one.
#[test]
fn patience_that_ends_for_all_ends_in_slices() {
    let mut server = Server::new(&[Role::Echo], |config| config.handshake_timeout = Duration::from_secs(1));
    server.come(0, 2_000, b"");
    while server.open() < 2_000 {
        server.tick();
    }
    server.machine.borrow_mut().now += Duration::from_secs(10);
    let mut rounds = 0;
    while server.open() > 0 {
        let calls = server.work().calls();
        server.tick();
        let took = (server.work().calls() - calls) as u32 * CALL_COST;
        assert!(took <= Duration::from_millis(5), "{took:?}");
        rounds += 1;
    }
    assert!(rounds > 1, "or this is no test");
}

/// Everybody is looked at, and many are given up: either is more than one round has time for.
#[test]
fn want_of_memory_is_seen_to_in_slices() {
    const CLIENTS: usize = 4_000;
    /// Who takes no answer. Of each of them the system is asked at every look.
    const DEAF: usize = 1_200;
    let mut server = Server::new(&[Role::Echo], |config| config.max_buffered = 10 << 20);
    server.come(0, CLIENTS + DEAF, REQUEST.as_bytes());
    while server.machine.borrow().peers.len() < CLIENTS + DEAF || server.machine.borrow().events() > 0 {
        server.tick();
    }
    for client in CLIENTS..CLIENTS + DEAF {
        server.machine.borrow_mut().peers[client].room = Some(0);
        server.say(client, &masked(0x82, KEY, &[7; 100]));
    }
    // 5 KiB of 32 each, twice what there is room for.
    let frame = masked(0x82, KEY, &[7; 32 << 10]);
    for client in 0..CLIENTS {
        server.say(client, &frame[..5 << 10]);
        if client % 100 == 0 {
            server.tick();
        }
    }
    let mut longest = Duration::ZERO;
    let until = server.machine.borrow().now + Duration::from_secs(5);
    while server.machine.borrow().now < until {
        let calls = server.work().calls();
        server.tick();
        longest = longest.max((server.work().calls() - calls) as u32 * CALL_COST);
        assert!(longest <= Duration::from_millis(5), "{longest:?}");
    }
    let told = (0..CLIENTS).filter(|client| server.peer(*client).ended).count();
    assert!(
        told > 1_200 && longest > Duration::from_millis(3),
        "or this is no test: {told} told, {longest:?}"
    );
}

#[test]
fn a_stop_is_told_in_slices() {
    const CLIENTS: usize = 4_000;
    let mut server = with_clients(CLIENTS);
    server.signal();
    let mut rounds = 0;
    while (0..CLIENTS).any(|client| !server.peer(client).heard.ends_with(b"server stopping")) {
        let calls = server.work().calls();
        assert!(server.tick(), "they are still there");
        let took = (server.work().calls() - calls) as u32 * CALL_COST;
        assert!(took <= Duration::from_millis(5), "{took:?}");
        rounds += 1;
    }
    assert!(rounds > 4, "or this is no test");
}

/// A handshake is more work than an echo, and they come in storms.
#[test]
fn who_is_open_does_not_wait_for_a_storm_of_newcomers() {
    let mut server = with_clients(1);
    server.come(0, 4_000, b"");
    while server.open() < 4_001 {
        server.tick();
    }
    (1..=4_000).for_each(|newcomer| server.say(newcomer, REQUEST.as_bytes()));
    let mut rounds = 0;
    while (1..=4_000).any(|newcomer| server.peer(newcomer).heard.is_empty()) {
        let (calls, heard) = (server.work().calls(), server.peer(0).heard.len());
        server.say(0, &masked(0x81, KEY, b"hello"));
        server.tick();
        assert_eq!(server.peer(0).heard.len(), heard + 7, "answered in the same round");
        let took = (server.work().calls() - calls) as u32 * CALL_COST;
        assert!(took <= Duration::from_millis(5), "{took:?}");
        rounds += 1;
    }
    assert!(rounds > 5, "or this is no test");
}

/// One member talks as fast as it can; the others read all the time, but not that much at once.
#[test]
fn a_flood_on_a_board_costs_nobody_a_seat_who_reads() {
    const MEMBERS: usize = 20;
    let message = vec![7; 16_000];
    let mut server = with_clients_at("/board/flood", 1 + MEMBERS);
    for _ in 0..500 {
        server.say(0, &masked(0x82, KEY, &message));
    }
    let all = ANSWER.len() + 500 * (4 + message.len());
    let mut rounds = 0;
    while (1..=MEMBERS).any(|member| server.peer(member).heard.len() < all) {
        // Each reads in a round of its own.
        (1..=MEMBERS)
            .filter(|member| member % 3 == rounds % 3)
            .for_each(|member| make_room(&server, member, 64_000));
        server.tick();
        let gone = (1..=MEMBERS).find(|member| server.peer(*member).gone);
        assert_eq!(gone, None, "dropped in round {rounds}");
        assert!(rounds < 5_000, "no end in sight");
        rounds += 1;
    }
    assert!((1..=MEMBERS).all(|member| server.peer(member).heard.len() == all), "nothing was added");
}

/// One who never reads holds up the others for a moment, and is sent away.
#[test]
fn who_does_not_read_on_a_board_is_not_waited_for() {
    let message = vec![7; 16_000];
    let mut server = with_clients_at("/board/flood", 3);
    make_room(&server, 1, 10_000);
    for _ in 0..500 {
        server.say(0, &masked(0x82, KEY, &message));
    }
    let (from, all) = (server.machine.borrow().now, ANSWER.len() + 500 * (4 + message.len()));
    while server.peer(2).heard.len() < all {
        server.tick();
    }
    let took = server.machine.borrow().now - from;
    assert!(took < Duration::from_millis(200), "the others waited for {took:?}");
    assert!(server.peer(1).heard.len() == 10_000 + ANSWER.len(), "it took what it had room for");
}

/// The client reads what its socket holds: there is room for so much.
fn make_room(server: &Server, peer: usize, room: usize) {
    let left = *server.machine.borrow_mut().peers[peer].room.get_or_insert(0);
    server.take(peer, room - left);
}
