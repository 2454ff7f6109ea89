//! Work that others have to wait for.

use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::{CPU, Case};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;
use support::client::{BINARY, FIN, TEXT, frame, upgrade};

pub const CASES: &[Case] = &[
    Case {
        id: "R01",
        does: "2,000 clients, each with as many fragments of one byte as the kernel holds (some 60 KiB), all there at once",
        gets: "fragments",
        why: "a turn is bounded by what it costs, not by what lies there",
        args: &[],
        cpu: CPU,
        run: |scene| pile(scene, 2_000, frame(0x00, b"x"), 17_000, Some(frame(TEXT, b"x"))),
    },
    Case {
        id: "R02",
        does: "the same with empty messages",
        gets: "empty messages",
        why: "an empty message is the most work for the fewest bytes",
        args: &[],
        cpu: CPU,
        run: |scene| pile(scene, 2_000, frame(FIN | TEXT, b""), 20_000, None),
    },
    Case {
        id: "R03",
        does: "the same with messages of 16 KiB",
        gets: "the messages",
        why: "bytes cost as well as frames",
        args: &[],
        cpu: CPU,
        run: |scene| pile(scene, 2_000, frame(FIN | BINARY, &[7; 16384]), 7, None),
    },
    Case {
        id: "R04",
        does: "300 clients that send and read as fast as they can",
        gets: "what they send",
        why: "who is never done waits in a queue of its own",
        args: &[],
        cpu: CPU,
        run: |scene| greedy(scene, 300, frame(FIN | BINARY, &[7; 4096])),
    },
    Case {
        id: "R05",
        does: "300 clients that send fragments of one byte as fast as they can",
        gets: "fragments",
        why: "the same, with frames for bytes",
        args: &[],
        cpu: CPU,
        run: |scene| {
            greedy(scene, 300, [frame(TEXT, b"x"), frame(0x00, b"x").repeat(1000), frame(FIN, b"")].concat())
        },
    },
    Case {
        id: "R06",
        does: "1,000 clients come at once",
        gets: "101 and their echo",
        why: "newcomers are let in for a time, not by number, and nobody waits for all of them",
        args: &[],
        cpu: CPU,
        run: |scene| {
            let mut crowd = None;
            let part = Part {
                opening: [upgrade("/echo", "").into_bytes(), frame(FIN | TEXT, b"hello")].concat(),
                refrain: Vec::new(),
                times: None,
                reads: true,
                waits: false,
            };
            scene.while_stopped(|| crowd = Some(Crowd::start(scene.server.echo, 1_000, part)));
            wait("all are served", || {
                crowd.as_ref().is_some_and(|crowd| crowd.heard.load(Relaxed) == 136_000)
            });
        },
    },
];

/// That many clients whose bytes have all come before the first of them is read: as many as the kernel holds for each.
fn pile(scene: &Scene, count: usize, refrain: Vec<u8>, times: usize, first: Option<Vec<u8>>) {
    let opening = [upgrade("/echo", "").into_bytes(), first.unwrap_or_default()].concat();
    let part = Part { opening, refrain, times: Some(times), reads: true, waits: true };
    let crowd = Crowd::start(scene.server.echo, count, part);
    wait("all are open", || scene.clients() == count + 1);
    scene.while_stopped(|| {
        crowd.go();
        crowd.until_stuck();
    });
    wait("all is answered", || crowd.done.load(Relaxed) == count as u64 || crowd.gone.load(Relaxed) > 0);
    assert_eq!(crowd.gone.load(Relaxed), 0, "nobody is dropped");
    sleep(Duration::from_millis(500));
}

fn greedy(scene: &Scene, count: usize, refrain: Vec<u8>) {
    let part =
        Part { opening: upgrade("/echo", "").into_bytes(), refrain, times: None, reads: true, waits: true };
    let crowd = Crowd::start(scene.server.echo, count, part);
    wait("all are open", || scene.clients() == count + 1);
    let (before, heard) = (scene.cpu(), crowd.heard.load(Relaxed));
    crowd.go();
    wait("two seconds of work are done", || scene.cpu() - before > Duration::from_secs(2));
    assert_eq!(crowd.gone.load(Relaxed), 0, "nobody is dropped");
    let heard = crowd.heard.load(Relaxed) - heard;
    println!(
        "       {:.0} MB a second of the server's time",
        heard as f64 / 1e6 / (scene.cpu() - before).as_secs_f64()
    );
}
