//! Work that others have to wait for.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use std::time::Duration;
use support::client::{BINARY, FIN, SWITCHING, TEXT, frame, upgrade};

pub const CASES: &[Case] = &[
    Case::new(
        "R01",
        "2,000 clients, each with as many fragments of one byte as the kernel holds (some 60 KiB), all there at once",
        "their fragments",
        "a turn is bounded by what it costs, not by what lies there",
        |scene| pile(scene, &frame(0x00, b"x"), 17_000, &frame(TEXT, b"x")),
    ),
    Case::new(
        "R02",
        "the same with empty messages",
        "their messages",
        "an empty message is the most work for the fewest bytes",
        |scene| pile(scene, &frame(FIN | TEXT, b""), 20_000, b""),
    ),
    Case::new(
        "R03",
        "the same with messages of 16 KiB",
        "their messages",
        "bytes cost as well as frames",
        |scene| pile(scene, &frame(FIN | BINARY, &[7; 16384]), 7, b""),
    )
    .memory(80),
    Case::new(
        "R04",
        "300 clients that send messages of 4 KiB and read as fast as they can",
        "their messages",
        "who is never done waits in a queue of its own",
        |scene| greedy(scene, &frame(FIN | BINARY, &[7; 4096])),
    )
    .memory(40),
    Case::new(
        "R05",
        "the same with fragments of one byte",
        "their fragments",
        "as before, with frames for bytes",
        |scene| {
            let message = [frame(TEXT, b"x"), frame(0x00, b"x").repeat(1000), frame(FIN, b"")];
            greedy(scene, &message.concat());
        },
    )
    .memory(40),
    Case::new(
        "R06",
        "1,000 clients come at once, with their first message behind the request",
        "101 and their echo",
        "newcomers are let in for a time, and nobody waits for all of them",
        |scene| {
            let opening = [upgrade("/echo", "").into_bytes(), frame(FIN | TEXT, b"hello")].concat();
            let mut crowd = None;
            scene.while_stopped(|| {
                crowd = Some(Crowd::start(scene.server.echo, 1_000, Part::saying(opening)));
            });
            let all = 1_000 * (SWITCHING.len() + 7) as u64;
            wait("all are served", || crowd.as_ref().is_some_and(|crowd| crowd.heard() == all));
        },
    ),
];

/// Many clients whose bytes have all come before the first of them is read: as many as the kernel holds for each.
fn pile(scene: &Scene, refrain: &[u8], times: usize, first: &[u8]) {
    const CLIENTS: usize = 2_000;
    let opening = [upgrade("/echo", "").as_bytes(), first].concat();
    let part = Part { refrain: refrain.to_vec(), times: Some(times), waits: true, ..Part::saying(opening) };
    let crowd = Crowd::start(scene.server.echo, CLIENTS, part);
    wait("all are open", || scene.clients() == CLIENTS + 1);
    scene.while_stopped(|| {
        crowd.go();
        crowd.until_stuck();
    });
    wait("all is said", || crowd.done() == CLIENTS || crowd.gone() > 0);
    crowd.until_stuck();
    assert_eq!(crowd.gone(), 0, "nobody is dropped");
}

fn greedy(scene: &Scene, refrain: &[u8]) {
    const CLIENTS: usize = 300;
    let opening = upgrade("/echo", "").into_bytes();
    let part = Part { refrain: refrain.to_vec(), times: None, waits: true, ..Part::saying(opening) };
    let crowd = Crowd::start(scene.server.echo, CLIENTS, part);
    wait("all are open", || scene.clients() == CLIENTS + 1);
    let before = scene.cpu();
    crowd.go();
    wait("a second of work is done", || scene.cpu() - before > Duration::from_secs(1));
    assert_eq!(crowd.gone(), 0, "nobody is dropped");
}
