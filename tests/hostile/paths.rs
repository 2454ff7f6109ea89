//! Paths under `/ws`, which fail on demand: what they do for a client must cost the others nothing.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::wait;
use crate::talk::answer;
use std::time::Duration;
use support::client::{BINARY, Client, FIN, SWITCHING, frame, upgrade};

pub const CASES: &[Case] = &[
    Case::new(
        "P01",
        "200 clients ask for a gigabyte each (source), and never read",
        "what their windows hold",
        "what is sent for a path waits until the peer has taken what was sent before",
        |scene| {
            let part = Part { reads: false, ..asking("/ws/source/1048576/1024") };
            let crowd = Crowd::start(scene.server.echo, 200, part);
            wait("all are let in", || scene.clients() == 201);
            crowd.until_stuck();
            assert_eq!(crowd.gone(), 0, "they asked for no deadline");
        },
    )
    .memory(64),
    Case::new(
        "P02",
        "100 clients ask for a gigabyte each, and read as fast as they can",
        "their messages",
        "a path that sends without end is one client among others",
        |scene| {
            let crowd = Crowd::start(scene.server.echo, 100, asking("/ws/source/1048576/1024"));
            let before = scene.cpu();
            wait("a second of work is done", || scene.cpu() - before > Duration::from_secs(1));
            assert!(crowd.heard() > 1 << 26, "{} bytes were heard", crowd.heard());
            drop(crowd);
        },
    )
    .memory(64),
    Case::new(
        "P03",
        "500 clients want a message a millisecond (repeat): half of them read, half never do",
        "their messages; of the others, what their windows hold",
        "alarms that ring all the time are heard in slices",
        |scene| {
            let deaf = Part { reads: false, ..asking("/ws/repeat/xxxxxxxxxxxxxxxx/1") };
            let deaf = Crowd::start(scene.server.echo, 250, deaf);
            let crowd = Crowd::start(scene.server.echo, 250, asking("/ws/repeat/x/1"));
            let before = scene.cpu();
            wait("a second of work is done", || scene.cpu() - before > Duration::from_secs(1));
            assert!(crowd.heard() > 250 * SWITCHING.len() as u64 + 10_000, "they are told something");
            drop((crowd, deaf));
        },
    )
    .memory(32),
    Case::new(
        "P04",
        "50 clients send 4 MiB each to be sent back ten seconds later (latency)",
        "1 MiB of each is read",
        "what waits for its time is kept, so it is bounded, and counted",
        |scene| {
            let part = Part {
                refrain: frame(FIN | BINARY, &[7; 4_000]),
                times: Some(1_000),
                reads: false,
                ..asking("/ws/latency/10")
            };
            let crowd = Crowd::start(scene.server.echo, 50, part);
            wait("all are let in", || scene.clients() == 51);
            crowd.until_stuck();
            let kept = scene.numbers()["buffered_bytes"];
            assert!(kept > 40e6 && kept < 80e6, "{kept} bytes are kept of 50 clients");
        },
    )
    .memory(96),
    Case::new(
        "P05",
        "5,000 redirects, and 2,000 chains that are none",
        "302 with one redirect fewer; 400, and which step is wrong",
        "an answer costs an answer",
        |scene| {
            for _ in 0..100 {
                for left in (1..=50).rev() {
                    let heard =
                        answer(Client::connect(scene.server.echo), &ask(&format!("/ws/redirect/{left}")));
                    assert!(heard.starts_with(b"HTTP/1.1 302 "), "{}", heard.escape_ascii());
                }
            }
            let long = format!("/ws/{}", "delay/1/".repeat(100));
            for chain in ["/ws/redirect/99999999999", "/ws/source/1G/2", "/ws/nothing", &long] {
                for _ in 0..500 {
                    let heard = answer(Client::connect(scene.server.echo), &ask(chain));
                    assert!(heard.starts_with(b"HTTP/1.1 4"), "{chain}: {}", heard.escape_ascii());
                }
            }
        },
    ),
    Case::new(
        "P06",
        "2,000 clients are never answered (handshake-stall), and go",
        "nothing",
        "who waits for an answer that was asked not to come holds a place, and no more",
        |scene| {
            let crowd = Crowd::start(scene.server.echo, 2_000, asking("/ws/handshake-stall"));
            wait("all are held", || scene.clients() == 2_001);
            assert_eq!(crowd.heard(), 0);
            drop(crowd);
        },
    ),
    Case::new(
        "P07",
        "300 clients are sent a byte a millisecond (trickle)",
        "their bytes",
        "the smallest writes there are, at the highest rate",
        |scene| {
            let crowd = Crowd::start(scene.server.echo, 300, asking("/ws/trickle/1/source/1000000/1"));
            let before = scene.cpu();
            wait("a second of work is done", || scene.cpu() - before > Duration::from_secs(1));
            assert!(crowd.heard() > 300 * SWITCHING.len() as u64 + 10_000, "they are told something");
            drop(crowd);
        },
    )
    .memory(32),
];

fn ask(path: &str) -> Vec<u8> {
    upgrade(path, "").into_bytes()
}

fn asking(path: &str) -> Part {
    Part::saying(ask(path))
}
