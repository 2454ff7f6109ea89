//! Everything at once, for as long as one likes.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::request;
use crate::tls;
use fastrand::Rng;
use std::io::Write;
use std::net::Shutdown;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::client::{BINARY, CLOSE, CONTINUATION, Client, FIN, PING, TEXT, frame, header};

pub const CASES: &[Case] = &[Case::new(
    "S01",
    "all kinds of clients together, plain and in TLS, drawn from seeds, for ten seconds or HOSTILE_SECONDS",
    "what each deserves",
    "what holds for each alone has to hold for all together, and in the end nothing may be left",
    soak,
)
.args(&["--listen-tls", "127.0.0.1:0", "--handshake-timeout", "2", "--log-level", "debug"])
.memory(128)];

fn soak(scene: &Scene) {
    let seconds =
        std::env::var("HOSTILE_SECONDS").map_or(10, |text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for seed in 0..3 {
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                while Instant::now() < end {
                    if rng.u8(..4) == 0 { one_in_tls(scene, &mut rng) } else { one(scene, &mut rng) }
                }
            });
        }
        scope.spawn(move || {
            let mut rng = Rng::with_seed(3);
            while Instant::now() < end {
                many(scene, &mut rng);
            }
        });
    });
    wait("all have gone", || scene.clients() == 1);
}

/// One client who comes, does something, and leaves somehow.
fn one(scene: &Scene, rng: &mut Rng) {
    let mut client = Client::connect(scene.server.echo);
    let (head, noise) = (request(""), noise(rng));
    let said = match rng.u8(..8) {
        0 => head[..rng.usize(..head.len())].to_vec(),
        1 => noise,
        2 => [head, noise].concat(),
        3 => [head, header(FIN | BINARY, rng.u64(..100_000)), noise].concat(),
        4 => [head, frame(TEXT, b"x"), frame(CONTINUATION, b"y").repeat(rng.usize(..500))].concat(),
        5 => [head, frame(FIN | PING, &noise[..noise.len().min(125)]).repeat(rng.usize(..50))].concat(),
        6 => [head, frame(FIN | CLOSE, b"\x03\xe8")].concat(),
        _ => [head, frame(FIN | TEXT, b"hello").repeat(rng.usize(..50))].concat(),
    };
    // A fault may have been answered before all of it is said.
    let _ = client.stream.write_all(&said);
    leave(client, rng);
}

/// The same in TLS: a handshake that is none, or half of one, or one that is let in; then frames, or bytes under no key.
fn one_in_tls(scene: &Scene, rng: &mut Rng) {
    let (hello, noise) = (tls::hello(), noise(rng));
    if rng.bool() {
        let mut client = Client::connect(tls::address(scene));
        let said = match rng.u8(..4) {
            0 => hello[..rng.usize(..hello.len())].to_vec(),
            1 => noise,
            2 => [hello, noise].concat(),
            _ => request(""),
        };
        let _ = client.stream.write_all(&said);
        return leave(client, rng);
    }
    let mut stream = tls::open(scene);
    let said = match rng.u8(..4) {
        0 => noise.clone(),
        1 => [header(FIN | BINARY, rng.u64(..100_000)), noise.clone()].concat(),
        2 => frame(FIN | CLOSE, b"\x03\xe8"),
        _ => frame(FIN | TEXT, b"hello").repeat(rng.usize(..5_000)),
    };
    let _ = stream.write_all(&said).and_then(|()| stream.flush());
    match rng.u8(..4) {
        0 => drop(stream.sock.write_all(&noise)),
        1 => {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        _ => {}
    }
    leave(Client { stream: stream.sock }, rng);
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut noise = vec![0; rng.usize(..2_000)];
    rng.fill(&mut noise);
    noise
}

/// With a reset, with a FIN, or as the system has it.
fn leave(client: Client, rng: &mut Rng) {
    match rng.u8(..3) {
        0 => client.reset(),
        // The server may have been quicker.
        1 => drop(client.stream.shutdown(Shutdown::Write)),
        _ => {}
    }
}

/// A crowd that stays for a while.
fn many(scene: &Scene, rng: &mut Rng) {
    let (address, opening) = match rng.u8(..8) {
        0 | 1 => (scene.server.echo, b"GET /echo".to_vec()),
        2 => (tls::address(scene), tls::hello()),
        _ => (scene.server.echo, request("")),
    };
    let refrain = match rng.u8(..4) {
        0 => Vec::new(),
        1 => frame(FIN | BINARY, &[7; 3_000]),
        2 => frame(FIN | TEXT, b""),
        _ => frame(FIN | PING, b"ping"),
    };
    let times = rng.bool().then(|| rng.usize(..1_000));
    let part = Part { opening, refrain, times, reads: rng.u8(..4) > 0, waits: rng.bool() };
    let crowd = Crowd::start(address, rng.usize(1..300), part);
    sleep(Duration::from_millis(rng.u64(..400)));
    crowd.go();
    sleep(Duration::from_millis(rng.u64(..400)));
}
