//! Who says nothing for long, and who is gone: minutes of waiting, so these run beside the other cases.

use crate::Case;
use crate::network::{LISTEN, Net, open};
use crate::scene::Scene;
use socket2::SockRef;
use std::ops::Range;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::client::{BINARY, Client, FIN, TEXT, frame, reply};

/// Longer than a minute, which TCP_USER_TIMEOUT and others take for the end of patience.
const PAUSE: Duration = Duration::from_secs(70);
/// What is sent to nobody must be noticed within this; and not within a minute.
const NOTICED: Range<Duration> = Duration::from_secs(60)..Duration::from_secs(120);

pub const CASES: &[Case] = &[
    Case::new(
        "L63",
        "4 MiB in frames of 16 KiB, and nothing is read for 70 seconds; the same with 192 KiB and a window of 2 KiB",
        "all of it",
        "a closed window is no reason to end anything",
        paused_readers,
    )
    .memory(24)
    .beside(),
    Case::new(
        "L82",
        "the link of 20 clients goes down, half of whom have just spoken; no option is given",
        "an end after one to two minutes of those who owe acknowledgements",
        "neither sooner nor never: keepalive does not probe them",
        link_gone,
    )
    .args(LISTEN)
    .beside(),
];

fn paused_readers(scene: &Scene) {
    let message = vec![7; 16 << 10];
    let mut talks: Vec<(Client, usize)> = (0..4)
        .map(|number| {
            let client = scene.open();
            let is_narrow = number % 2 == 1;
            if is_narrow {
                SockRef::from(&client.stream).set_recv_buffer_size(2304).expect("a TCP socket");
            }
            (client, if is_narrow { 12 } else { 256 })
        })
        .collect();
    thread::scope(|scope| {
        for (client, count) in &mut talks {
            let (mut writer, count, message) = (client.twin(), *count, &message);
            scope.spawn(move || writer.send(frame(FIN | BINARY, message).repeat(count)));
            scope.spawn(move || {
                sleep(PAUSE);
                (0..count).for_each(|_| client.expect(reply(FIN | BINARY, message)));
                client.echo("and on");
            });
        }
    });
}

fn link_gone(scene: &Scene) {
    const EACH: usize = 10;
    let net = Net::new(218);
    let mut clients: Vec<Client> = (0..2 * EACH).map(|_| net.inside(|| open(net.reach(scene)))).collect();
    // What they say has come when the link goes down; the answer finds nobody.
    let mut start = Instant::now();
    scene.while_stopped(|| {
        clients[..EACH].iter_mut().for_each(|client| client.send(frame(FIN | TEXT, b"hello?")));
        sleep(Duration::from_secs(1));
        net.link("down");
        start = Instant::now();
    });
    loop {
        let left = scene.clients() - 1;
        let passed = start.elapsed();
        assert!(left == 2 * EACH || passed >= NOTICED.start, "{left} clients are left after {passed:?}");
        if left <= EACH {
            break;
        }
        assert!(passed < NOTICED.end, "{left} clients are left after {passed:?}");
        sleep(Duration::from_millis(100));
    }
    net.link("up");
    // A reset is sent once, so not before the link carries something.
    clients[EACH..].iter_mut().for_each(|client| client.echo("there again"));
    clients.into_iter().for_each(Client::reset);
}
