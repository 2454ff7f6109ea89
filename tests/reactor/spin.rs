//! `--spin`: awake for a while after the last event, and nothing else changes.

use crate::machine::{CALL_COST, Server};
use std::time::Duration;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::config::Config;
use wsecho::reactor::listener::Role;

const KEY: [u8; 4] = [1, 2, 3, 4];
const SPIN: Duration = Duration::from_millis(20);

fn server(change: impl FnOnce(&mut Config)) -> Server {
    Server::new(&[Role::Echo], |config| {
        config.spin = SPIN;
        change(config);
    })
}

/// Ticks until the machine has slept, and returns how often it looked before that.
fn looks_until_it_sleeps(server: &mut Server) -> u64 {
    let (looks, sleeps) = (server.machine.borrow().looks, server.machine.borrow().sleeps);
    while server.machine.borrow().sleeps == sleeps {
        server.tick();
    }
    server.machine.borrow().looks - looks
}

#[test]
fn after_the_last_event_it_looks_for_as_long_as_was_asked_and_then_sleeps() {
    let mut server = server(|_| {});
    server.come(0, 1, REQUEST.as_bytes());
    looks_until_it_sleeps(&mut server);
    assert_eq!(server.peer(0).heard, ANSWER.as_bytes());
    let most = SPIN.as_micros() as u64 / CALL_COST.as_micros() as u64;
    for _ in 0..3 {
        // Asleep, it stays so.
        assert!(looks_until_it_sleeps(&mut server) <= 1);
        server.say(0, &masked(0x82, KEY, b"again"));
        let looks = looks_until_it_sleeps(&mut server);
        assert!((most - 2..=most + 2).contains(&looks), "{looks} looks of {most}");
    }
}

#[test]
fn a_message_is_still_one_read_and_one_write() {
    let mut server = server(|_| {});
    server.come(0, 1, REQUEST.as_bytes());
    looks_until_it_sleeps(&mut server);
    let before = server.work();
    for _ in 0..100 {
        server.say(0, &masked(0x82, KEY, b"0123456789"));
        server.tick();
    }
    let after = server.work();
    assert_eq!((after.reads - before.reads, after.writes - before.writes), (100, 100));
}

#[test]
fn patience_ends_in_time_although_the_loop_is_awake() {
    const TIMEOUT: Duration = Duration::from_millis(12);
    let mut server = server(|config| {
        config.handshake_timeout = TIMEOUT;
        config.spin = Duration::from_secs(60);
    });
    server.come(0, 1, b"GET /echo HTTP/1.1\r\n");
    while server.machine.borrow().peers.first().is_none_or(|peer| !peer.gone) {
        server.tick();
    }
    let late = server.machine.borrow().now.saturating_sub(TIMEOUT);
    assert!(late < Duration::from_millis(2), "{late:?} late");
    assert_eq!(server.machine.borrow().sleeps, 0);
}

#[test]
fn the_watchdog_hears_from_a_loop_that_is_awake() {
    let mut server = server(|config| {
        config.watchdog = Some(Duration::from_millis(5));
        config.spin = Duration::from_secs(60);
    });
    server.come(0, 1, REQUEST.as_bytes());
    while server.machine.borrow().now < Duration::from_millis(100) {
        server.tick();
    }
    let machine = server.machine.borrow();
    assert!((19..=21).contains(&machine.notices), "{} notices", machine.notices);
    assert_eq!(machine.sleeps, 0);
}

#[test]
fn a_signal_is_heard_by_a_loop_that_is_awake() {
    let mut server = server(|config| config.spin = Duration::from_secs(60));
    server.come(0, 1, REQUEST.as_bytes());
    server.tick();
    server.signal();
    while server.tick() {}
    assert!(server.peer(0).heard.starts_with(ANSWER.as_bytes()) && server.peer(0).heard.len() > ANSWER.len());
}
