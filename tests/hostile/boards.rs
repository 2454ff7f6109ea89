//! Boards: what one says, many are told, and memory with it.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use std::thread::sleep;
use std::time::Duration;
use support::client::{BINARY, Client, FIN, SWITCHING, frame, upgrade};

pub const CASES: &[Case] = &[
    Case::new(
        "BD12",
        "100 members of a board never read, and 16 MiB are said there",
        "1008, and the others hear all of it",
        "who is behind is not waited for, and what is kept for him is bounded",
        |scene| {
            let deaf = members(scene, "deaf", 100, false);
            let listening = members(scene, "deaf", 5, true);
            says(scene, "deaf", 1_024);
            wait("all is heard", || listening.heard() as usize >= 5 * (SWITCHING.len() + 1_024 * 16_388));
            drop((deaf, listening));
        },
    )
    .memory(64),
    Case::new(
        "BD15",
        "1,000 members on 100 boards never read, and 1 MiB is said on each",
        "the same",
        "what is kept for one is little, and what is kept for all is bounded",
        |scene| {
            let deaf: Vec<Crowd> =
                (0..100).map(|number| members(scene, &number.to_string(), 10, false)).collect();
            (0..100).for_each(|number| says(scene, &number.to_string(), 64));
            drop(deaf);
        },
    )
    .memory(320),
    Case::new(
        "BD17",
        "one member of a board talks, and another reads as much as is said but stays behind",
        "what is said",
        "an outbox that was never quite empty grew without end",
        |scene| {
            let late = members(scene, "late", 1, true);
            says(scene, "late", 2_048);
            wait("all is heard", || late.heard() as usize >= SWITCHING.len() + 2_048 * 16_388);
            drop(late);
        },
    ),
    Case::new(
        "BD18",
        "20 members read all the time, and one says 32 MiB as fast as it can",
        "all of it, and nobody is sent away",
        "who speaks waits until the others could read",
        |scene| {
            let crowd = members(scene, "flood", 20, true);
            says(scene, "flood", 2_048);
            let all = 20 * (SWITCHING.len() + 2_048 * 16_388);
            wait("all is heard", || crowd.heard() as usize >= all || crowd.gone() > 0);
            assert_eq!((crowd.gone(), crowd.heard() as usize), (0, all));
        },
    )
    .memory(64),
    Case::new(
        "BD20",
        "50 members of one board all talk at once, and all read",
        "what the others said",
        "each message is written 49 times",
        |scene| {
            let opening = upgrade("/board/all", "").into_bytes();
            let part = Part {
                refrain: frame(FIN | BINARY, &[7; 1_000]),
                times: Some(200),
                waits: true,
                ..Part::saying(opening)
            };
            let crowd = Crowd::start(scene.server.echo, 50, part);
            wait("all are seated", || crowd.heard() as usize == 50 * SWITCHING.len());
            crowd.go();
            let all = 50 * SWITCHING.len() + 50 * 49 * 200 * 1_004;
            wait("all is heard", || crowd.heard() as usize >= all || crowd.gone() > 0);
            assert_eq!((crowd.gone(), crowd.heard() as usize), (0, all));
        },
    )
    .memory(128),
    Case::new(
        "BD21",
        "1,200 clients want a board each, of 1,000 that there may be",
        "503 for the others",
        "a name costs memory, too",
        |scene| {
            let mut refused = 0;
            let mut held = Vec::new();
            for number in 0..1_200 {
                let mut client = Client::connect(scene.server.echo);
                client.send(upgrade(&format!("/board/b{number}"), ""));
                let mut answer = [0; 12];
                std::io::Read::read_exact(&mut client.stream, &mut answer).expect("an answer");
                refused += usize::from(&answer[9..] == b"503");
                held.push(client);
            }
            assert_eq!(refused, 200);
            held.into_iter().for_each(Client::reset);
        },
    ),
    Case::new(
        "BD22",
        "2,000 members of one board read, and one says 512 KiB as fast as it can",
        "all of it",
        "a room of thousands is told in slices",
        |scene| {
            let crowd = members(scene, "large", 2_000, true);
            says(scene, "large", 32);
            let all = 2_000 * (SWITCHING.len() + 32 * 16_388);
            wait("all is heard", || crowd.heard() as usize >= all || crowd.gone() > 0);
            assert_eq!((crowd.gone(), crowd.heard() as usize), (0, all));
        },
    )
    .memory(128),
];

/// So many members of a board, who read or do not.
fn members(scene: &Scene, board: &str, count: usize, reads: bool) -> Crowd {
    let before = scene.clients();
    let opening = upgrade(&format!("/board/{board}"), "").into_bytes();
    let crowd = Crowd::start(scene.server.echo, count, Part { reads, ..Part::saying(opening) });
    wait("all are seated", || {
        scene
            .numbers()
            .iter()
            .filter(|(name, _)| name.starts_with("open{role=\"board\""))
            .map(|(_, count)| count)
            .sum::<f64>()
            >= 1.0
            && scene.clients() == before + count
    });
    sleep(Duration::from_millis(20));
    crowd
}

/// Another member says so many messages of 16 KiB.
fn says(scene: &Scene, board: &str, messages: usize) {
    let mut client = Client::connect(scene.server.echo);
    client.send(upgrade(&format!("/board/{board}"), ""));
    client.expect(SWITCHING);
    let message = frame(FIN | BINARY, &vec![7; 16_384]);
    (0..messages).for_each(|_| client.send(&message));
    client.send(frame(FIN | support::client::PING, b"end"));
    client.expect(support::client::reply(FIN | support::client::PONG, b"end"));
    client.reset();
}
