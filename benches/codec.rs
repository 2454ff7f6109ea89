//! What the protocol costs without any system call: nanoseconds a frame, in through `Session::receive` and out again.
//!
//! `cargo bench --bench codec`. Each sample brings fresh input into the buffer, as a read would, and echoes it; the time
//! of the copy alone is measured beside it and taken off. Both are medians of many short samples.

#[path = "common/frame.rs"]
mod frame;

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use wsecho::proto::handshake::{Paths, Routes};
use wsecho::proto::limits::Limits;
use wsecho::proto::progress::{HEADROOM, Reply, TAILROOM};
use wsecho::proto::session::Session;

const SIZES: [usize; 6] = [0, 20, 125, 1 << 10, 16 << 10, 64 << 10];
const BATCHES: [usize; 2] = [1, 16];

/// Samples of each kind, and how long one takes at least: short, so that few of them are interrupted.
const SAMPLES: usize = 51;
const SAMPLE: Duration = Duration::from_micros(300);

fn main() {
    println!("ns per frame    binary           text, ASCII      text, Greek");
    println!("{:>12}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}", "in a read:", 1, 16, 1, 16, 1, 16);
    for size in SIZES {
        print!("{size:>10} B ");
        for (opcode, letter) in [(frame::BINARY, "\x7f"), (frame::TEXT, "a"), (frame::TEXT, "λ")] {
            let payload = letter.repeat(size / letter.len()) + &"a".repeat(size % letter.len());
            for batch in BATCHES {
                print!("{:>9.1}", Echo::new(opcode, payload.as_bytes(), batch).cost() / batch as f64);
            }
        }
        println!();
    }
}

/// An open connection and what one read brings it.
struct Echo {
    session: Session,
    routes: Routes,
    letter: Vec<u8>,
    buf: Vec<u8>,
    input: Vec<u8>,
}

impl Echo {
    /// Panics unless the answer is the echo: another one would make the figures worthless.
    fn new(opcode: u8, payload: &[u8], batch: usize) -> Echo {
        const UPGRADE: &[u8] =
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let mut echo = Echo {
            session: Session::greeting(),
            routes: Routes {
                echo_paths: Paths::Any,
                origins: Vec::new(),
                deflate: false,
                boards: false,
                board_lifetime: None,
                test_paths: true,
                stats: false,
                limits: Limits { max_message: 0 },
            },
            letter: Vec::new(),
            buf: Vec::new(),
            input: UPGRADE.to_vec(),
        };
        echo.make_room();
        echo.read();
        echo.receive();
        assert!(echo.letter.starts_with(b"HTTP/1.1 101 "), "the upgrade was refused");

        echo.input = frame::masked(opcode, payload).repeat(batch);
        echo.make_room();
        echo.read();
        let reply = echo.receive();
        assert!(echo.buf[reply] == frame::plain(opcode, payload).repeat(batch), "the answer is not the echo");
        echo
    }

    fn make_room(&mut self) {
        self.buf = vec![0; HEADROOM + self.input.len() + TAILROOM];
    }

    /// Stands in for the system call.
    fn read(&mut self) {
        self.buf[HEADROOM..][..self.input.len()].copy_from_slice(black_box(&self.input));
        black_box(&mut self.buf);
    }

    fn receive(&mut self) -> Range<usize> {
        let input = HEADROOM..HEADROOM + self.input.len();
        match self.session.receive(&mut self.buf, input, &mut self.letter, &self.routes).reply {
            Reply::InPlace(reply) => black_box(reply),
            Reply::Buffer | Reply::Gathered(_) => 0..0,
        }
    }

    /// Nanoseconds that one call of `receive` takes.
    fn cost(&mut self) -> f64 {
        let (mut copy, mut both) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            copy.push(sample(|| self.read()));
            both.push(sample(|| {
                self.read();
                self.receive();
            }));
        }
        median(&mut both) - median(&mut copy)
    }
}

/// Nanoseconds a call, over as many calls as fill [`SAMPLE`].
fn sample(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0;
    loop {
        // The clock costs as much as a small frame, so it is read once in many.
        for _ in 0..64 {
            call();
        }
        calls += 64;
        let elapsed = start.elapsed();
        if elapsed >= SAMPLE {
            return elapsed.as_nanos() as f64 / f64::from(calls);
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
