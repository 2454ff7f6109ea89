//! Frames that are none, frames without end, and what they must not cost.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::{closes, echoes, request};
use std::time::Duration;
use support::client::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, header, reply};

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub const CASES: &[Case] = &[
    Case::new(
        "C35",
        "lengths of 64 bits with the top bit set",
        "1002",
        "RFC 6455 5.2: it MUST be 0",
        |scene| {
            closes(scene, 1002, &[1_u64 << 63 | 1, u64::MAX].map(|len| header(FIN | BINARY, len)));
        },
    ),
    Case::new(
        "C36",
        "headers that announce more than --max-message and up to 2^63-1",
        "1009 at the header",
        "nothing is reserved on a peer's word",
        |scene| {
            closes(
                scene,
                1009,
                &[(64 << 20) + 1, 1 << 40, (1 << 63) - 1].map(|len| header(FIN | BINARY, len)),
            );
        },
    ),
    Case::new(
        "C37",
        "lengths written longer than they need be",
        "1002",
        "RFC 6455 5.2: the minimal number of bytes MUST be used",
        |scene| {
            closes(scene, 1002, &[&[0x82, 0xFE, 0, 5][..], &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 1, 44]]);
        },
    ),
    Case::new(
        "C38",
        "a frame without a mask, and frames masked with zeros",
        "1002, and their echo",
        "RFC 6455 5.1: the server MUST close",
        |scene| {
            closes(scene, 1002, &[&b"\x81\x05hello"[..], b"\x82\x00", b"\x89\x00"]);
            echoes(scene, b"\x81\x85\0\0\0\0hello", b"\x81\x05hello");
        },
    ),
    Case::new(
        "C39",
        "every reserved opcode and every combination of reserved bits",
        "1002",
        "what has no meaning must not get one by accident",
        |scene| {
            let opcodes = [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF].map(|opcode| frame(FIN | opcode, b"x"));
            closes(scene, 1002, &opcodes);
            let bits =
                [0x10, 0x20, 0x30, 0x50, 0x60, 0x70, 0x40].map(|bits| frame(FIN | bits | BINARY, b"x"));
            closes(scene, 1002, &bits);
        },
    ),
    Case::new(
        "C40",
        "control frames that are fragments, or longer than 125 bytes",
        "1002",
        "they fit into one small buffer, always",
        |scene| {
            closes(scene, 1002, &[CLOSE, PING, PONG].map(|opcode| frame(opcode, b"")));
            closes(scene, 1002, &[CLOSE, PING, PONG].map(|opcode| header(FIN | opcode, 126)));
            closes(scene, 1002, &[CLOSE, PING, PONG].map(|opcode| header(FIN | opcode, 1 << 40)));
        },
    ),
    Case::new(
        "C41",
        "a continuation of nothing, and a message inside a message",
        "1002",
        "RFC 6455 5.4",
        |scene| {
            closes(
                scene,
                1002,
                &[
                    frame(FIN, b"x"),
                    frame(CONTINUATION, b"x"),
                    [frame(TEXT, b"x"), frame(FIN | TEXT, b"x")].concat(),
                ],
            );
        },
    ),
    Case::new(
        "C42",
        "a million fragments of one byte from each of ten clients",
        "each of them, in constant memory",
        "nothing is put together that need not be",
        |scene| {
            endless(scene, 10, &frame(BINARY, b"x"), &frame(CONTINUATION, b"x"), 1_000_000);
        },
    ),
    Case::new(
        "C43",
        "a million empty fragments from each of ten clients",
        "each of them, in constant memory",
        "no limit on sizes would ever see them",
        |scene| {
            endless(scene, 10, &frame(TEXT, b""), &frame(CONTINUATION, b""), 1_000_000);
        },
    ),
    Case::new(
        "C44",
        "131,000 fragments of text from each of 100 clients, whose message never ends",
        "each of them; then nothing is kept",
        "an unfinished message is a few bytes of state",
        |scene| {
            endless(scene, 100, &frame(TEXT, b"x"), &frame(CONTINUATION, b"x"), 131_000);
        },
    ),
    Case::new(
        "C45",
        "a million empty messages from each of ten clients",
        "each of them",
        "the most work for the fewest bytes",
        |scene| {
            endless(scene, 10, b"", &frame(FIN | TEXT, b""), 1_000_000);
        },
    ),
    Case::new(
        "C46",
        "a message cut in two at every byte, inside its header, its mask and its characters",
        "its echo",
        "where the network cuts is nobody's business",
        |scene| {
            let text = "\u{e9}\u{20ac}\u{1f600} and so on, longer than 125 bytes: ".repeat(4);
            let message = frame(FIN | TEXT, text.as_bytes());
            let mut client = scene.open();
            for at in 1..message.len() {
                client.send(&message[..at]);
                client.send(&message[at..]);
                client.expect(reply(FIN | TEXT, text.as_bytes()));
            }
            client.reset();
        },
    ),
    Case::new(
        "C47",
        "200 clients ping with 125 bytes and never read",
        "pongs, as long as they are taken; then they are not read",
        "an answer that waits must not be one of many",
        |scene| {
            let part = Part {
                refrain: frame(FIN | PING, &[b'x'; 125]),
                times: None,
                reads: false,
                ..Part::saying(request(""))
            };
            let crowd = Crowd::start(scene.server.echo, 200, part);
            crowd.until_stuck();
            assert_eq!(crowd.gone(), 0);
        },
    )
    .memory(64),
    Case::new(
        "C48",
        "a million pongs that nobody asked for, from each of ten clients",
        "nothing",
        "RFC 6455 5.5.3: no response is expected",
        |scene| {
            let part = Part {
                refrain: frame(FIN | PONG, &[b'x'; 20]),
                times: Some(1_000_000),
                ..Part::saying(request(""))
            };
            let crowd = Crowd::start(scene.server.echo, 10, part);
            wait("all is said", || crowd.done() == 10);
            crowd.until_stuck();
            assert_eq!(crowd.heard(), 10 * support::client::SWITCHING.len() as u64);
        },
    ),
    Case::new(
        "C49",
        "pings between the fragments of a message of 16 MiB",
        "each in its place",
        "control frames may come inside a message, and are answered there",
        |scene| {
            let mut client = scene.open();
            let piece = vec![7; 1 << 16];
            for number in 0..256 {
                let first =
                    if number == 0 { BINARY } else { CONTINUATION } | if number == 255 { FIN } else { 0 };
                client.send(frame(FIN | PING, b"between"));
                client.expect(reply(FIN | PONG, b"between"));
                let mut writer = client.twin();
                std::thread::scope(|scope| {
                    scope.spawn(|| writer.send(frame(first, &piece)));
                    client.expect(reply(first, &piece));
                });
            }
            client.reset();
        },
    ),
    Case::new(
        "C50",
        "close frames with every kind of code and reason",
        "the same, 1002 or 1007",
        "RFC 6455 7.4: some codes may not be sent, and a reason is text",
        |scene| {
            let close =
                |code: u16, reason: &[u8]| frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat());
            for code in [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999] {
                closes(scene, code, &[close(code, b""), close(code, &[b'x'; 123])]);
            }
            closes(
                scene,
                1002,
                &[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map(|code| close(code, b"")),
            );
            closes(scene, 1002, &[frame(FIN | CLOSE, b"\x03")]);
            closes(scene, 1007, &[close(1000, b"\xff"), close(1000, b"\xed\xa0\x80")]);
        },
    ),
    Case::new(
        "C51",
        "messages, pings and closes behind a close",
        "one close",
        "RFC 6455 5.5.1: nothing comes after it",
        |scene| {
            let close = frame(FIN | CLOSE, b"\x03\xe8");
            let behind =
                [close.clone(), frame(FIN | TEXT, b"x"), frame(FIN | PING, b"x"), close.clone()].concat();
            let mut client = scene.open();
            client.send(behind);
            client.expect(reply(FIN | CLOSE, b"\x03\xe8"));
            client.expect_eof();
            closes(scene, 1000, &[[frame(TEXT, b"x"), close].concat()]);
        },
    ),
    Case::new(
        "C52",
        "500 clients that close and stay",
        "a close, a FIN, and an end after two seconds",
        "Tomcat kept them (CVE-2024-23672)",
        |scene| {
            let opening = [request(""), frame(FIN | CLOSE, b"\x03\xe8")].concat();
            let crowd = Crowd::start(scene.server.echo, 500, Part::saying(opening));
            wait("they are dropped", || crowd.gone() == 500 && scene.clients() == 1);
        },
    ),
    Case::new(
        "C53",
        "500 clients that are closed with 1002, do not answer and send on",
        "a close, a FIN, and an end after two seconds",
        "a fault is answered once",
        |scene| {
            let opening = [request(""), frame(FIN | 3, b"")].concat();
            let part =
                Part { refrain: vec![b'x'; 100], times: Some(100), reads: false, ..Part::saying(opening) };
            let crowd = Crowd::start(scene.server.echo, 500, part);
            wait("they are dropped", || scene.clients() == 1);
            drop(crowd);
        },
    ),
    Case::new(
        "C54",
        "text that is not UTF-8, at its first byte, its last, between fragments, too long, a surrogate",
        "1007",
        "RFC 6455 8.1",
        |scene| {
            let bad = [
                &b"\xff"[..],
                b"abc\xc3",
                b"\xed\xa0\x80",
                b"\xc0\xaf",
                b"\xf4\x90\x80\x80",
                b"\xf8\x88\x80\x80\x80",
            ];
            closes(scene, 1007, &bad.map(|text| frame(FIN | TEXT, text)));
            closes(
                scene,
                1007,
                &bad.map(|text| {
                    [frame(TEXT, &text[..1]), frame(FIN, &[&text[1..], b"\xff"].concat())].concat()
                }),
            );
        },
    ),
    Case::new(
        "C55",
        "messages of exactly --max-message and of one byte more, whole and in fragments",
        "their echo, and 1009",
        "a bound is where it is said to be",
        |scene| {
            let whole = frame(FIN | BINARY, &[7; 1000]);
            echoes(scene, &whole, &reply(FIN | BINARY, &[7; 1000]));
            let parts = [frame(BINARY, &[7; 999]), frame(FIN, &[7])].concat();
            echoes(scene, &parts, &[reply(BINARY, &[7; 999]), reply(FIN, &[7])].concat());
            closes(
                scene,
                1009,
                &[frame(FIN | BINARY, &[7; 1001]), [frame(BINARY, &[7; 999]), frame(FIN, &[7; 2])].concat()],
            );
        },
    )
    .args(&["--max-message", "1000"]),
    Case::new(
        "C56",
        "1,000 clients with 4 KiB of noise each, drawn from seeds",
        "their echo, or a close",
        "whatever it is, it is a frame or a fault",
        |scene| {
            let mut rng = fastrand::Rng::with_seed(56);
            for _ in 0..1_000 {
                let mut noise = vec![0; 4096];
                rng.fill(&mut noise);
                if rng.bool() {
                    noise[0] = FIN | BINARY;
                    noise[1] = 0x80 | noise[1] & 0x7F;
                }
                let mut client = scene.open();
                // A fault may be answered, and the rest not be taken, while this is still said.
                let _ = std::io::Write::write_all(&mut client.stream, &noise);
                client.reset();
            }
        },
    ),
    Case::new(
        "C58",
        "two clients alternate, each with a pattern of its own, whole and in halves",
        "their own bytes",
        "what turns share must not be seen by the next one",
        |scene| {
            let (mut one, mut other) = (scene.open(), scene.open());
            for size in [1, 100, 4_000, 40_000] {
                for _ in 0..20 {
                    let (first, second) = (vec![0xAA; size], vec![0x55; size]);
                    let (a, b) = (frame(FIN | BINARY, &first), frame(FIN | BINARY, &second));
                    let half = a.len() / 2;
                    one.send(&a[..half]);
                    other.send(&b[..half]);
                    one.send(&a[half..]);
                    other.send(&b[half..]);
                    assert!(
                        one.message().1 == first && other.message().1 == second,
                        "bytes of somebody else"
                    );
                }
            }
            one.reset();
            other.reset();
        },
    ),
    Case::new(
        "C59",
        "a frame announces 60 MiB, and its bytes come one by one with a pause, from 200 clients",
        "the echo of each",
        "what is announced is nothing yet",
        |scene| {
            let opening = [request(""), header(FIN | BINARY, 60 << 20)].concat();
            let part = Part { refrain: MASK.to_vec(), times: Some(50), waits: true, ..Part::saying(opening) };
            let crowd = Crowd::start(scene.server.echo, 200, part);
            crowd.until_stuck();
            crowd.go();
            wait("all is said", || crowd.done() == 200);
            crowd.until_stuck();
            let each = support::client::SWITCHING.len() + 10 + 200;
            assert_eq!(crowd.heard(), 200 * each as u64);
        },
    ),
];

/// So many clients say that, again and again, in one message that does not end or in many; all of it comes back.
fn endless(scene: &Scene, clients: usize, first: &[u8], refrain: &[u8], times: usize) {
    let opening = [&request("")[..], first].concat();
    let part = Part { refrain: refrain.to_vec(), times: Some(times), ..Part::saying(opening) };
    let before = scene.cpu();
    let crowd = Crowd::start(scene.server.echo, clients, part);
    wait("all is said", || crowd.done() == clients || crowd.gone() > 0);
    // A server's frame has no mask.
    let echo = |frame: &[u8]| frame.len().saturating_sub(4);
    let each = support::client::SWITCHING.len() + echo(first) + times * echo(refrain);
    wait("all is heard", || crowd.heard() == (clients * each) as u64 || crowd.gone() > 0);
    assert_eq!(crowd.gone(), 0, "nobody is dropped");
    let took = scene.cpu() - before;
    assert!(took < Duration::from_secs(20), "{took:?} for {} frames", clients * times);
}
