//! The servers of `tests/truth`, to point other tools at: `cargo run --release -p loadgen --example truth -- stall`.
//!
//! It says where it listens, serves until its stdin ends, and then prints what became of every message: when it was due by
//! its stamp (0 without one), when it came, before which time it cannot have come (the kernel keeps one stamp for messages
//! that wait together) and when its reply left (0: never), nanoseconds of `CLOCK_MONOTONIC`. With `LOADGEN_TEST_TLS` in
//! the environment there is TLS in front of it.

#[path = "../support/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../support/front.rs"]
mod front;
#[allow(dead_code)]
mod server;

use std::io::{Read, stdin};
use std::time::Duration;

use front::reach;
use server::{Nature, Server, Speech, Time};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("truth-{}-{name}", std::process::id()))
}

fn main() {
    let natures = [
        ("echo", Nature::default()),
        ("late", Nature { delay: Time::Fixed(ms(10)), ..Nature::default() }),
        ("queue", Nature { work: Time::Exponential(ms(2)), ..Nature::default() }),
        ("capacity", Nature { work: Time::Fixed(ms(2)), ..Nature::default() }),
        ("stall", Nature { stall: Some((ms(200), ms(1000))), ..Nature::default() }),
        ("overtakes", Nature { delay: Time::Between(ms(1), ms(100)), overtakes: true, ..Nature::default() }),
        ("drops", Nature { drop: Some(50), ..Nature::default() }),
        ("twice", Nature { duplicate: Some(100), ..Nature::default() }),
        ("corrupts", Nature { corrupt: Some(100), ..Nature::default() }),
        (
            "pushes",
            Nature { delay: Time::Fixed(ms(40)), push: Some(ms(13)), said: "tick", ..Nature::default() },
        ),
        ("half", Nature { half_silent: true, ..Nature::default() }),
        ("restarts", Nature { restart: Some(ms(1000)), ..Nature::default() }),
        ("full", Nature { room: Some(50), ..Nature::default() }),
        ("topic", Nature { delay: Time::Fixed(ms(5)), speech: Speech::Topic(ms(1)), ..Nature::default() }),
        ("forgets", Nature { drop: Some(20), speech: Speech::Topic(ms(1)), ..Nature::default() }),
    ];
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, nature)) = natures.into_iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = natures.iter().map(|(name, _)| *name).collect();
        eprintln!("truth: the servers are {}", names.join(", "));
        std::process::exit(2);
    };
    let server = Server::start(nature);
    println!("{}", server.url());
    let _ = stdin().read_to_end(&mut Vec::new());
    println!("due,arrived,earliest,left");
    for message in server.log() {
        println!("{},{},{},{}", message.due, message.arrived, message.earliest, message.left);
    }
}
