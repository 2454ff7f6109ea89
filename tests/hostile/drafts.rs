//! The drafts before RFC 6455, and the policy of Flash players.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::{answer, refuses, says_all};
use support::client::{Client, FIN, POLICY, POLICY_REQUEST, TEXT, frame, shown, upgrade};
use support::wire::REQUEST_75;

/// The lines of a good request of draft 76.
const KEY1: &str = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n";
const KEY2: &str = "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";

pub const CASES: &[Case] = &[
    Case::new(
        "B28",
        "keys of draft 76 without a space, without a digit, beyond 32 bits, with a remainder",
        "400",
        "others divided by zero",
        |scene| {
            let keys = [
                "4146546xW0l15",
                "abc d e",
                "4294967296 9 9",
                "1 2 3",
                "99999999999999999999 1",
                &format!("1{:200}1", ""),
            ];
            let keys = keys.map(|key| format!("{REQUEST_75}Sec-WebSocket-Key1: {key}\r\n{KEY2}\r\n12345678"));
            refuses(scene, &[400], &keys);
        },
    ),
    Case::new(
        "B29",
        "1,000 heads of draft 76 whose last eight bytes do not come",
        "an end at the deadline",
        "they hold nobody's place",
        |scene| {
            let head = format!("{REQUEST_75}{KEY1}{KEY2}\r\n1234");
            let crowd = Crowd::start(scene.server.echo, 1_000, Part::saying(head));
            wait("all are dropped", || crowd.gone() == 1_000);
        },
    )
    .args(&["--handshake-timeout", "1"]),
    Case::new(
        "B30",
        "lengths of draft 76 whose bytes never end",
        "an end, after five",
        "they would wrap, or be read for ever",
        |scene| {
            for count in [6, 10, 100_000] {
                let heard = talks_75(scene, &[&[0x80][..], &vec![0xFF; count]].concat());
                assert!(heard.len() <= 2, "{}", shown(&heard));
            }
        },
    ),
    Case::new(
        "B31",
        "a text of draft 75 without an end, of 64 MiB, from four clients",
        "its echo, in constant memory",
        "it has no length, so nothing may wait for its end",
        |scene| {
            let part = Part {
                refrain: vec![b'a'; 65_536],
                times: Some(1_000),
                ..Part::saying([open_75(), b"\0".to_vec()].concat())
            };
            let crowd = Crowd::start(scene.server.echo, 4, part);
            wait("all is heard", || crowd.heard() > 4 * 65_536_000 || crowd.gone() > 0);
            assert_eq!(crowd.gone(), 0);
        },
    ),
    Case::new(
        "B32",
        "frames of draft 75 of every type",
        "the text, and nothing for the others",
        "unknown frames are skipped, and what follows is found",
        |scene| {
            let mut said = Vec::new();
            for kind in 1..0x80 {
                said.extend([&[kind][..], b"skipped\xff"].concat());
            }
            for kind in 0x80..0xFF {
                said.extend([&[kind][..], b"\x07skipped"].concat());
            }
            said.extend(b"\0found\xff");
            let mut client = Client::connect(scene.server.echo);
            client.send([open_75(), said].concat());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                std::io::Read::read_exact(&mut client.stream, &mut byte).expect("an answer");
                head.extend(byte);
            }
            client.expect(b"\0found\xff");
            client.reset();
        },
    ),
    Case::new(
        "B33",
        "frames of RFC 6455 behind draft 75, and the reverse",
        "no crash, and no echo of what is none",
        "a client that mixes them is wrong, not dangerous",
        |scene| {
            talks_75(scene, &[frame(FIN | TEXT, b"hello"), b"\xff\0".to_vec()].concat());
            let heard = answer(scene.open(), b"\0hello\xff");
            assert!(heard.starts_with(b"\x88"), "{}", shown(&heard));
        },
    ),
    Case::new("B34", "keys of both kinds in one request", "one answer", "a choice is made once", |scene| {
        let mut client = Client::connect(scene.server.echo);
        client.send(
            [upgrade("/echo", &format!("{KEY1}{KEY2}")).as_bytes(), b"\x88\x82\0\0\0\0\x03\xe8"].concat(),
        );
        client.finish();
        let heard = client.rest();
        assert_eq!(String::from_utf8_lossy(&heard).matches("HTTP/1.1 ").count(), 1, "{}", shown(&heard));
    }),
    Case::new(
        "B35",
        "200 MiB in a frame of draft 76 that is skipped",
        "an end, once it is beyond --max-message",
        "what is thrown away costs time as well",
        |scene| {
            let long = [&[0x80, 0xE4, 0x80, 0x80, 0x00][..], &vec![0; 200 << 20]].concat();
            assert_eq!(talks_75(scene, &long), b"\xff\0");
        },
    ),
    Case::new(
        "G96",
        "a policy request whole and in 23 pieces",
        "the policy, and an end",
        "old players send it as they like",
        |scene| {
            let policy = scene.server.policy.expect("it was asked for");
            for size in [23, 1] {
                let mut client = Client::connect(policy);
                POLICY_REQUEST.chunks(size).for_each(|piece| client.send(piece));
                client.expect(POLICY);
                client.expect_eof();
            }
        },
    ),
    Case::new(
        "G97",
        "other things on the policy's port: a prefix, another case, 1 MiB of noise, HTTP, TLS",
        "an end without a word",
        "who is no player is not answered",
        |scene| {
            let policy = scene.server.policy.expect("it was asked for");
            let noise = vec![b'x'; 1 << 20];
            for opening in [
                &b"<policy-file-req"[..],
                b"<POLICY-FILE-REQUEST/>\0",
                &noise,
                b"\0",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\x00",
            ] {
                let heard = answer(Client::connect(policy), opening);
                assert!(heard.is_empty(), "{}", shown(&heard));
            }
        },
    ),
    Case::new(
        "G98",
        "3,000 silent clients on the policy's port of a server with 400 places",
        "an eighth of the places at a time, three seconds each; others are let in",
        "their silence costs no echo client a place",
        |scene| {
            let policy = scene.server.policy.expect("it was asked for");
            let crowd = Crowd::start(policy, 3_000, Part::saying(""));
            wait("their share is taken", || {
                scene.numbers()["open{role=\"policy\",version=\"none\"}"] >= 50.0
            });
            let clients: Vec<Client> = (0..300).map(|_| scene.open()).collect();
            assert!(scene.numbers()["open{role=\"policy\",version=\"none\"}"] <= 50.0);
            drop((clients, crowd));
        },
    )
    .args(&["--max-connections", "400"]),
    Case::new(
        "G99",
        "500 clients that ask for the policy and never read",
        "an end",
        "it fits into the kernel",
        |scene| {
            let policy = scene.server.policy.expect("it was asked for");
            let crowd = Crowd::start(policy, 500, Part { reads: false, ..Part::saying(&POLICY_REQUEST[..]) });
            wait("they are gone", || scene.numbers()["policies_total"] >= 500.0 && scene.clients() == 1);
            drop(crowd);
        },
    ),
    Case::new(
        "G100",
        "a policy request on the echo port",
        "the policy, and an end",
        "a player asks there when port 843 is silent",
        |scene| {
            let mut client = Client::connect(scene.server.echo);
            client.send(POLICY_REQUEST);
            client.expect(POLICY);
            client.expect_eof();
        },
    ),
];

fn open_75() -> Vec<u8> {
    format!("{REQUEST_75}\r\n").into_bytes()
}

/// What a client of draft 76 hears for these frames, behind the answer to its request; it says no more then.
fn talks_75(scene: &Scene, frames: &[u8]) -> Vec<u8> {
    let heard = says_all(
        Client::connect(scene.server.echo),
        &[format!("{REQUEST_75}{KEY1}{KEY2}\r\n^n:ds[4U").as_bytes(), frames].concat(),
    );
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4 + 16;
    heard[end..].to_vec()
}
