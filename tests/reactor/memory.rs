//! One budget for everything that is kept, whoever fills it and with what.

use crate::machine::Server;
use std::time::Duration;
use support::allocator;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::listener::Role;

const CLIENTS: usize = 2_000;
const BUDGET: usize = 4 << 20;
/// What a client may cost beyond the budget: one small read, what holds it, its place and its alarms.
const EACH: usize = 4096;
/// What the server costs by itself, and the growth of its lists.
const FIXED: usize = 2 << 20;

/// A server with that many clients, each of whom has opened a connection and takes `room` bytes of echo.
fn crowd(room: Option<usize>) -> Server {
    let mut server = allocator::counted(|| Server::new(&[Role::Echo], |config| config.max_buffered = BUDGET));
    server.machine.borrow_mut().room = room.map(|room| ANSWER.len() + room);
    server.come(0, CLIENTS, REQUEST.as_bytes());
    while server.machine.borrow().peers.len() < CLIENTS || server.machine.borrow().events() > 0 {
        server.tick();
    }
    assert!((0..CLIENTS).all(|peer| server.peer(peer).heard == ANSWER.as_bytes()));
    server
}

/// Lets `seconds` pass, and whatever is to happen in them.
fn pass(server: &mut Server, seconds: u64) {
    let until = server.machine.borrow().now + Duration::from_secs(seconds);
    // A tick in which nothing is called takes no time; so many of them mean that it sleeps for ever.
    let mut still = 0;
    while server.machine.borrow().now < until && still < CLIENTS {
        let before = server.machine.borrow().now;
        server.tick();
        still = if server.machine.borrow().now == before { still + 1 } else { 0 };
    }
    let mut machine = server.machine.borrow_mut();
    machine.now = machine.now.max(until);
}

fn assert_bounded(what: &str) {
    let (peak, most) = (allocator::take_peak() as usize, BUDGET + CLIENTS * EACH + FIXED);
    assert!(peak <= most, "{what}: {peak} bytes allocated, of at most {most}");
}

fn gone(server: &Server) -> usize {
    (0..CLIENTS).filter(|peer| server.peer(*peer).gone).count()
}

#[test]
fn frames_that_never_end_are_given_up_with_1013_and_only_as_many_as_need_be() {
    let mut server = crowd(None);
    allocator::take_peak();
    // 31 KiB of 32 each: 62 MB in all.
    let frame = masked(0x82, [1, 2, 3, 4], &[0; 32 << 10]);
    for piece in frame[..31 << 10].chunks(8 << 10) {
        for peer in 0..CLIENTS {
            server.say(peer, piece);
        }
        while server.machine.borrow().events() > 0 {
            server.tick();
        }
        assert_bounded("as they come");
    }
    pass(&mut server, 300);
    assert_bounded("in the end");
    let told = (0..CLIENTS)
        .filter(|peer| server.peer(*peer).heard.ends_with(b"\x88\x11\x03\xf5memory is short"))
        .count();
    assert!(told > 0 && told < CLIENTS, "{told} were told to try again later");
    // Whoever was not is still served.
    let spared =
        (0..CLIENTS).find(|peer| server.peer(*peer).heard.len() == ANSWER.len()).expect("one of them");
    server.say(spared, &frame[31 << 10..]);
    pass(&mut server, 1);
    assert_eq!(server.peer(spared).heard.len(), ANSWER.len() + frame.len() - 4);
}

#[test]
fn text_that_waits_for_its_end_goes_out_and_nobody_is_given_up() {
    let mut server = crowd(None);
    allocator::take_peak();
    // 400 KiB of a frame of 512, from each of fifty: 20 MB.
    let frame = masked(0x81, [1, 2, 3, 4], &[b'a'; 512 << 10]);
    for piece in frame[..400 << 10].chunks(64 << 10) {
        for peer in 0..50 {
            server.say(peer, piece);
        }
        while server.machine.borrow().events() > 0 {
            server.tick();
        }
    }
    pass(&mut server, 10);
    assert_bounded("text");
    assert_eq!(gone(&server), 0);
    for peer in 0..50 {
        server.say(peer, &frame[400 << 10..]);
    }
    pass(&mut server, 10);
    for peer in 0..50 {
        let heard = server.peer(peer).heard.len();
        assert!(heard >= ANSWER.len() + (512 << 10) + 4, "client {peer} heard {heard} bytes");
    }
}

#[test]
fn answers_that_nobody_takes_are_given_up_and_those_that_drain_are_not() {
    let mut server = crowd(Some(1_000));
    allocator::take_peak();
    // A message of 256 KiB each, of which they take 1,000 bytes: 25 MB from a hundred.
    let frame = masked(0x82, [1, 2, 3, 4], &[0; 256 << 10]);
    for peer in 0..100 {
        server.say(peer, &frame);
    }
    for second in 0..60 {
        // Every second one goes on to take a little, which its system shows in steps.
        for peer in (0..100).step_by(2).filter(|_| second % 8 == 7) {
            server.take(peer, 8_000);
        }
        pass(&mut server, 1);
        assert_bounded("untaken");
    }
    for peer in 0..100 {
        assert!(peer % 2 == 1 || !server.peer(peer).gone, "client {peer} took what it got");
    }
    assert!(gone(&server) > 0, "nobody was given up");
    // Room again: who is still there gets all of it.
    for peer in (0..100).step_by(2) {
        server.take(peer, 1 << 20);
    }
    pass(&mut server, 60);
    for peer in (0..100).step_by(2) {
        assert_eq!(server.peer(peer).heard.len(), ANSWER.len() + frame.len() - 4, "client {peer}");
    }
}

/// Who says little is heard at the bound as well, and loses nothing by it: to give that up would help nobody.
#[test]
fn newcomers_who_want_little_are_served_whatever_fills_the_memory() {
    for is_draining in [false, true] {
        let mut server = crowd(Some(1_000));
        let frame = masked(0x82, [1, 2, 3, 4], &[0; 256 << 10]);
        let (greedy, newcomers) = (0..100, 100..200);
        greedy.clone().for_each(|peer| server.say(peer, &frame));
        pass(&mut server, 1);
        assert!(server.reactor.stats().memory.is_short());
        // One message that is all there, and half of another.
        let (hello, later) = (masked(0x81, [5, 6, 7, 8], b"hello"), masked(0x82, [1, 2, 3, 4], &[9; 300]));
        for peer in newcomers.clone() {
            server.say(peer, &[&hello[..], &later[..150]].concat());
        }
        for second in 0..10 {
            if is_draining {
                greedy.clone().for_each(|peer| server.take(peer, 100));
            }
            pass(&mut server, 1);
            for peer in newcomers.clone() {
                let (heard, gone) = (server.peer(peer).heard.len(), server.peer(peer).gone);
                assert_eq!((heard, gone), (ANSWER.len() + 7, false), "client {peer} in second {second}");
            }
            assert!(!is_draining || server.reactor.stats().memory.is_short(), "or this is no test");
        }
        newcomers.clone().for_each(|peer| server.say(peer, &later[150..]));
        pass(&mut server, 1);
        for peer in newcomers {
            assert_eq!(server.peer(peer).heard.len(), ANSWER.len() + 7 + 304, "client {peer}");
        }
        if !is_draining {
            // That they take nothing is certain when no step of theirs can be due any more.
            pass(&mut server, 25);
        }
        assert_eq!(gone(&server) > 0, !is_draining, "{} are gone", gone(&server));
    }
}

/// What a path under `/ws` has kept for later is said when it is due, and then kept no longer.
#[test]
fn what_is_due_is_said_whatever_fills_the_memory() {
    let mut server = crowd(Some(1_000));
    server.machine.borrow_mut().room = None;
    server.come(0, 1, REQUEST.replace("/echo", "/ws/latency/1500ms").as_bytes());
    pass(&mut server, 1);
    server.say(CLIENTS, &masked(0x82, [1, 2, 3, 4], &[7; 20_000]));
    server.tick();
    let frame = masked(0x82, [1, 2, 3, 4], &[0; 256 << 10]);
    (0..100).for_each(|peer| server.say(peer, &frame));
    pass(&mut server, 1);
    assert!(server.reactor.stats().memory.is_short(), "or this is no test");
    pass(&mut server, 1);
    assert!(server.reactor.stats().memory.is_short(), "or this is no test");
    assert_eq!(server.peer(CLIENTS).heard.len(), ANSWER.len() + 20_004);
}

/// It was short between two turns of one round, and who was to be read then is told of by no other event.
#[test]
fn who_was_not_read_for_a_moment_of_want_is_read_behind_it() {
    let mut server = Server::new(&[Role::Echo], |config| config.max_buffered = 1 << 20);
    server.machine.borrow_mut().room = Some(ANSWER.len());
    server.come(0, 3, REQUEST.as_bytes());
    pass(&mut server, 1);
    let large = masked(0x82, [1, 2, 3, 4], &[7; 900 << 10]);
    let other = masked(0x82, [1, 2, 3, 4], &[7; 250 << 10]);
    let small = masked(0x82, [1, 2, 3, 4], &[7; 32 << 10]);
    server.machine.borrow_mut().peers[1].room = None;
    server.say(0, &large[..700 << 10]);
    server.say(1, &small[..20 << 10]);
    server.say(2, &other);
    pass(&mut server, 1);
    assert!(!server.reactor.stats().memory.is_short());
    server.say(0, &large[700 << 10..]);
    server.say(1, &small[20 << 10..]);
    server.break_off(2);
    server.take(2, 0);
    server.tick();
    assert!(!server.reactor.stats().memory.is_short() && server.peer(1).heard.len() == ANSWER.len());
    pass(&mut server, 5);
    assert_eq!(server.peer(1).heard.len(), ANSWER.len() + small.len() - 4);
}

/// Where it is they who fill the memory, there is nobody else.
#[test]
fn small_pieces_are_given_up_where_there_are_no_others() {
    let mut server = crowd(None);
    allocator::take_peak();
    // 3 KiB of 32 each: 6 MB in all.
    let frame = masked(0x82, [1, 2, 3, 4], &[0; 32 << 10]);
    (0..CLIENTS).for_each(|peer| server.say(peer, &frame[..3 << 10]));
    pass(&mut server, 10);
    assert_bounded("small pieces");
    let told = (0..CLIENTS).filter(|peer| server.peer(*peer).ended).count();
    assert!(told > 0 && told < CLIENTS, "{told} were told to try again later");
    assert!(!server.reactor.stats().memory.is_short());
}

#[test]
fn members_of_a_board_who_take_what_they_are_told_are_not_given_up_for_want_of_memory() {
    const MEMBERS: usize = 300;
    let mut server = allocator::counted(|| {
        Server::new(&[Role::Echo], |config| {
            config.max_buffered = BUDGET;
            config.boards.max_members = MEMBERS;
        })
    });
    server.machine.borrow_mut().room = Some(ANSWER.len());
    server.come(0, MEMBERS, REQUEST.replace("/echo", "/board/a").as_bytes());
    while server.machine.borrow().peers.len() < MEMBERS || server.machine.borrow().events() > 0 {
        server.tick();
    }
    allocator::take_peak();
    // 100 KiB for each, 30 MB in all, of which they take 2,000 bytes a second each.
    let message = masked(0x82, [1, 2, 3, 4], &[7; 1 << 10]);
    for second in 0..60 {
        for _ in 0..if second < 10 { 10 } else { 0 } {
            server.say(0, &message);
        }
        (1..MEMBERS).for_each(|peer| server.take(peer, 2_000));
        pass(&mut server, 1);
        assert_bounded("a board");
    }
    let owed = ANSWER.len() + 100 * (message.len() - 4);
    for peer in 1..MEMBERS {
        let heard = server.peer(peer).heard.len();
        assert_eq!((heard, server.peer(peer).gone), (owed, false), "member {peer}");
    }
}
