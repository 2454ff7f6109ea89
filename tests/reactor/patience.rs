//! Who takes what it is sent is there, though it shows that in large steps only.

use crate::machine::Server;
use std::time::Duration;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::listener::Role;

const KEY: [u8; 4] = [1, 2, 3, 4];
/// A buffer of the default size.
const STEP: usize = 128 << 10;
/// What a reader of 16 kB a second takes to empty it.
const SECONDS: u64 = 8;

/// A client that has said as much and takes a step of the echo.
fn reader(says: &[u8], change: impl FnOnce(&mut wsecho::reactor::config::Config)) -> Server {
    let mut server = Server::new(&[Role::Echo], change);
    server.machine.borrow_mut().room = Some(ANSWER.len() + STEP);
    server.come(0, 1, REQUEST.as_bytes());
    while server.machine.borrow().peers.is_empty() || server.peer(0).heard.len() < ANSWER.len() {
        server.tick();
    }
    server.say(0, says);
    server
}

/// What is read at once: a message of more than a step, and a Close.
fn that_ends() -> Vec<u8> {
    [masked(0x82, KEY, &vec![7; 200_000]), masked(0x88, KEY, &[3, 0xE8])].concat()
}

/// Lets `seconds` pass, or less if the client is dropped in them.
fn pass(server: &mut Server, seconds: u64) {
    let until = server.machine.borrow().now + Duration::from_secs(seconds);
    let mut still = 0;
    while server.machine.borrow().now < until && !server.peer(0).gone {
        let before = server.machine.borrow().now;
        server.tick();
        // It may sleep for ever.
        still = if server.machine.borrow().now == before { still + 1 } else { 0 };
        if still == 10 {
            server.machine.borrow_mut().now = until;
        }
    }
}

/// The echo is taken in steps; whether all of it was.
fn takes_all(server: &mut Server, size: usize) -> bool {
    for _ in 1..size.div_ceil(STEP) {
        pass(server, SECONDS);
        server.take(0, STEP);
    }
    pass(server, 1);
    // Behind it may be a Ping, which this client does not answer.
    server.peer(0).heard.len() >= ANSWER.len() + size
}

#[test]
fn steps_of_a_slow_reader_are_waited_for() {
    let message = masked(0x82, KEY, &vec![7; 600_000]);
    let echo = message.len() - 4;
    let idle = Some(Duration::from_secs(2));
    let mut server = reader(&message, |config| config.idle_timeout = idle);
    assert!(takes_all(&mut server, echo) && !server.peer(0).gone, "closed as idle");

    let mut server = reader(&message, |config| config.ping_interval = idle);
    assert!(takes_all(&mut server, echo) && !server.peer(0).gone, "no answer to a Ping behind all that");

    let mut server = reader(&that_ends(), |_| {});
    assert!(takes_all(&mut server, that_ends().len() - 8), "an end that was not waited for");
}

#[test]
fn who_takes_nothing_is_dropped_by_the_options_that_say_so() {
    let message = masked(0x82, KEY, &vec![7; 600_000]);
    let idle = Some(Duration::from_secs(2));
    let mut server = reader(&message, |config| config.idle_timeout = idle);
    pass(&mut server, 60);
    assert!(server.peer(0).gone, "it takes nothing, and is not idle");

    let mut server = reader(&that_ends(), |_| {});
    pass(&mut server, 60);
    assert!(server.peer(0).gone, "its end is waited for without end");

    let mut server = reader(&message, |_| {});
    pass(&mut server, 600);
    assert!(!server.peer(0).gone, "dropped without an option");

    // And who has nothing to take, as soon as they say.
    let mut server = reader(&message[..0], |config| config.idle_timeout = idle);
    pass(&mut server, 5);
    assert!(server.peer(0).heard.ends_with(b"idle"), "not told that it is idle");
}

/// In the middle of a message that has no end, whose beginning is read with the end of another: that was answered.
#[test]
fn who_sends_no_more_still_takes_what_was_answered() {
    let whole = masked(0x82, KEY, &vec![7; 200_000]);
    for rest in [&masked(0x82, KEY, &[7; 100])[..50], &whole[..50_000], &masked(0x02, KEY, b"a")] {
        let mut server = reader(&[&whole[..], rest].concat(), |_| {});
        server.end(0);
        assert!(takes_all(&mut server, whole.len() - 4), "{} bytes were heard", server.peer(0).heard.len());
        server.take(0, STEP);
        pass(&mut server, 1);
        assert!(server.peer(0).gone, "nothing is left to say");
    }
}

/// By its own words, by those of others, by the clock.
#[test]
fn who_is_told_something_and_cannot_be_reached_is_dropped() {
    for path in ["/echo", "/board/a", "/ws/delay/10/message/x"] {
        let mut server = Server::new(&[Role::Echo], |_| {});
        server.come(0, 2, REQUEST.replace("/echo", path).as_bytes());
        while server.machine.borrow().peers.len() < 2 || server.machine.borrow().events() > 0 {
            server.tick();
        }
        if path != "/ws/delay/10/message/x" {
            // What was said so far has arrived, which is seen.
            pass(&mut server, 35);
        }
        server.machine.borrow_mut().peers[0].is_lost = true;
        let speaker = usize::from(path == "/board/a");
        server.say(speaker, &masked(0x81, KEY, b"hello"));
        pass(&mut server, 55);
        assert!(!server.peer(0).gone, "{path}: dropped in less than a minute");
        pass(&mut server, 75);
        assert!(server.peer(0).gone, "{path}: still there after two");
        assert!(!server.peer(1).gone, "{path}: it answers for what it is told");
    }
}
