//! Peers who do not take what they are told, or are slow to.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::request;
use socket2::SockRef;
use std::io::{Read, Write};
use std::thread::{self, sleep};
use std::time::Duration;
use support::client::{BINARY, CLOSE, CONTINUATION, Client, FIN, TEXT, frame, header, reply, upgrade};

pub const CASES: &[Case] = &[
    Case::new(
        "D59",
        "20 clients send a frame of 60 MiB and never read",
        "it is read as long as there is room for its echo",
        "who does not read is not read from",
        |scene| {
            let opening = [request(""), header(FIN | BINARY, 60 << 20)].concat();
            let part =
                Part { refrain: vec![7; 65_536], times: Some(960), reads: false, ..Part::saying(opening) };
            let crowd = Crowd::start(scene.server.echo, 20, part);
            crowd.until_stuck();
            assert!(crowd.done() < 20, "all was taken of clients who take nothing");
        },
    )
    .memory(320),
    Case::new(
        "D60",
        "600 clients send messages of 64 KiB and never read",
        "the same",
        "what one may pin is little, so that many may",
        |scene| {
            let part = Part {
                refrain: frame(FIN | BINARY, &vec![7; 65_500]),
                times: None,
                reads: false,
                ..Part::saying(request(""))
            };
            let crowd = Crowd::start(scene.server.echo, 600, part);
            crowd.until_stuck();
            assert_eq!(crowd.gone(), 0, "they asked for no deadline");
        },
    )
    .memory(256),
    Case::new(
        "D61",
        "10 clients send a message of 1 MiB and read it at 100 kB a second, and then faster",
        "all of it",
        "slow is not gone",
        |scene| {
            thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| slow_reader(scene));
                }
            });
        },
    )
    .args(&["--idle-timeout", "2"])
    .memory(64),
    Case::new(
        "D62",
        "10 clients with a window of 2 KiB",
        "all of their 10 kB",
        "short writes are the rule there",
        |scene| {
            for _ in 0..10 {
                let mut client = Client::connect(scene.server.echo);
                SockRef::from(&client.stream).set_recv_buffer_size(2304).expect("a TCP socket");
                client.send(upgrade("/echo", ""));
                client.expect(support::client::SWITCHING);
                let payload = vec![7; 10_000];
                let mut writer = client.twin();
                thread::scope(|scope| {
                    scope.spawn(|| writer.send(frame(FIN | BINARY, &payload)));
                    client.expect(reply(FIN | BINARY, &payload));
                });
                client.reset();
            }
        },
    ),
    Case::new(
        "D64",
        "one client sends as fast as it can",
        "its echo",
        "an edge is one edge, however much lies behind it",
        |scene| {
            let part =
                Part { refrain: frame(FIN | BINARY, &[7; 1000]), times: None, ..Part::saying(request("")) };
            let crowd = Crowd::start(scene.server.echo, 1, part);
            let before = scene.cpu();
            wait("a second of work is done", || scene.cpu() - before > Duration::from_secs(1));
            drop(crowd);
        },
    ),
    Case::new(
        "D66",
        "20 clients send 1 MiB and a FIN",
        "all of it, and a FIN",
        "half a connection is one",
        |scene| {
            let part = vec![frame(FIN | BINARY, &vec![7; 65_536]); 16].concat();
            let whole = vec![reply(FIN | BINARY, &vec![7; 65_536]); 16].concat();
            for _ in 0..20 {
                let mut client = scene.open();
                let mut writer = client.twin();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.send(&part);
                        writer.finish();
                    });
                    assert!(client.rest() == whole, "all of it comes back");
                });
            }
        },
    )
    .memory(16),
    Case::new(
        "D67",
        "a FIN in the middle of a request, of a header, of a frame, of a message",
        "an end",
        "nothing more can come",
        |scene| {
            for said in [&b"GET /echo"[..], b"<policy"] {
                let mut client = Client::connect(scene.server.echo);
                client.send(said);
                client.finish();
                client.expect_dropped();
            }
            for said in [vec![0x81], header(FIN | TEXT, 5), frame(TEXT, b"x"), header(FIN | BINARY, 1 << 20)]
            {
                let mut client = scene.open();
                client.send(said);
                client.finish();
                let _ = client.stream.read_to_end(&mut Vec::new());
            }
        },
    ),
    Case::new(
        "D68",
        "a client that fills its socket and drains it, 300 times",
        "all of it, each time",
        "the edge that says there is room must not be lost",
        |scene| {
            let mut client = scene.open();
            let message = frame(FIN | BINARY, &vec![7; 30_000]);
            let echo = reply(FIN | BINARY, &vec![7; 30_000]);
            client.stream.set_nonblocking(true).expect("a socket");
            for _ in 0..300 {
                let (mut said, mut heard) = (0, 0);
                while said < 40 * message.len() {
                    match client.stream.write(&message[said % message.len()..]) {
                        Ok(count) => said += count,
                        Err(_) => break,
                    }
                }
                // The rest of the last one, and all of the echoes.
                let whole = said.div_ceil(message.len());
                let mut scratch = vec![0; 1 << 16];
                wait("all of it comes back", || {
                    while said < whole * message.len()
                        && let Ok(count) = client.stream.write(&message[said % message.len()..])
                    {
                        said += count;
                    }
                    while let Ok(count) = client.stream.read(&mut scratch) {
                        assert!(count > 0, "it hangs up");
                        heard += count;
                    }
                    heard == whole * echo.len()
                });
            }
            client.reset();
        },
    )
    .memory(16),
    Case::new(
        "D69",
        "100 clients send until nothing goes any more, with a ping and a close behind it, and then read",
        "all of it, in order",
        "both sides blocked is no deadlock: we go on reading, or they do",
        |scene| {
            let mut clients: Vec<Client> = (0..100).map(|_| scene.open()).collect();
            let message = frame(FIN | BINARY, &[7; 10_000]);
            for client in &mut clients {
                client.stream.set_nonblocking(true).expect("a socket");
                let mut said = 0;
                while said < 400 * message.len()
                    && let Ok(count) = client.stream.write(&message[said % message.len()..])
                {
                    said += count;
                }
                client.stream.set_nonblocking(false).expect("a socket");
                let rest = [&message[said % message.len()..], &frame(FIN | CLOSE, b"\x03\xe8")].concat();
                let mut writer = client.twin();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.send(if said % message.len() == 0 { &rest[message.len()..] } else { &rest })
                    });
                    let heard = client.rest();
                    assert!(heard.ends_with(b"\x88\x02\x03\xe8"), "a close at the end");
                    assert_eq!(heard.len(), said.div_ceil(message.len()) * (message.len() - 4) + 4);
                });
            }
        },
    )
    .memory(64),
    Case::new(
        "D70",
        "1,000 clients read one byte at a time of what is said to them",
        "all of it",
        "a window opens by a little, too",
        |scene| {
            let mut clients: Vec<Client> = (0..1_000).map(|_| scene.open()).collect();
            for client in &mut clients {
                client.send(frame(FIN | TEXT, b"byte by byte"));
            }
            for client in &mut clients {
                for byte in reply(FIN | TEXT, b"byte by byte") {
                    client.expect([byte]);
                }
            }
            clients.into_iter().for_each(Client::reset);
        },
    ),
    Case::new(
        "M01",
        "2,000 clients leave a frame of 31 KiB unfinished",
        "their place; the rest when it comes",
        "what one may keep is little, and what all may keep is bounded",
        |scene| {
            unfinished(scene, 2_000, 31_000, 31_000);
        },
    )
    .memory(128),
    Case::new(
        "M02",
        "2,000 clients drip the first 20 KiB of a frame of 32 KiB, 1 KiB at a time",
        "the same",
        "what grows by drips must not be kept twice",
        |scene| {
            unfinished(scene, 2_000, 20_000, 1_000);
        },
    )
    .memory(128),
    Case::new(
        "M03",
        "the same once more after the first have gone",
        "no more memory than the first time",
        "what is given back is used again",
        |scene| {
            unfinished(scene, 1_000, 31_000, 31_000);
            wait("they are gone", || scene.clients() == 1);
            unfinished(scene, 1_000, 31_000, 31_000);
        },
    )
    .memory(64),
    Case::new(
        "M04",
        "1,000 clients leave a message of 60 fragments of 500 bytes unfinished",
        "their fragments",
        "an echo keeps no fragments",
        |scene| {
            let part = Part {
                refrain: frame(CONTINUATION, &[7; 500]),
                times: Some(60),
                ..Part::saying([request(""), frame(BINARY, b"")].concat())
            };
            let crowd = Crowd::start(scene.server.echo, 1_000, part);
            wait("all is said", || crowd.done() == 1_000);
            crowd.until_stuck();
            assert_eq!(crowd.gone(), 0);
        },
    ),
];

fn slow_reader(scene: &Scene) {
    let mut client = scene.open();
    let payload = vec![7; 1 << 20];
    let mut writer = client.twin();
    thread::scope(|scope| {
        scope.spawn(|| writer.send(frame(FIN | BINARY, &payload)));
        let expected = reply(FIN | BINARY, &payload);
        let (slow, fast) = expected.split_at(400_000);
        for piece in slow.chunks(10_000) {
            client.expect(piece);
            sleep(Duration::from_millis(100));
        }
        client.expect(fast);
    });
    client.reset();
}

/// So many clients say that many bytes of a frame of 32,000, in such pieces.
fn unfinished(scene: &Scene, clients: usize, bytes: usize, piece: usize) {
    let opening = [request(""), header(FIN | BINARY, 32_000)].concat();
    let part =
        Part { refrain: vec![7; piece], times: Some(bytes / piece), waits: true, ..Part::saying(opening) };
    let crowd = Crowd::start(scene.server.echo, clients, part);
    wait("all are open", || scene.clients() == clients + 1);
    crowd.go();
    wait("all is said", || crowd.done() + crowd.gone() == clients);
    crowd.until_stuck();
}
