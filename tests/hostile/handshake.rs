//! Requests that are too long, too slow, malformed, or meant for something else.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::wait;
use crate::talk::{answer, changed, echoes, opens, refuses, request};
use std::thread::sleep;
use std::time::Duration;
use support::client::{Client, FIN, SWITCHING, TEXT, frame, reply, shown, upgrade};

pub const CASES: &[Case] = &[
    Case::new(
        "A01",
        "a header line of 20 MB, as fast as it goes, five times",
        "431",
        "a head is bounded at 8 KiB; the rest is thrown away",
        |scene| {
            let before = scene.cpu();
            refuses(scene, &[431], &vec![request(&format!("X: {}\r\n", "a".repeat(20_000_000))); 5]);
            assert!(scene.cpu() - before < Duration::from_millis(500), "{:?}", scene.cpu() - before);
        },
    ),
    Case::new(
        "A02",
        "a head of 8 KiB in segments of one byte",
        "101",
        "a head is searched once, not once a segment",
        |scene| {
            let before = scene.cpu();
            let mut client = Client::connect(scene.server.echo);
            let head = request(&format!("X: {}\r\n", "a".repeat(7_900)));
            head.chunks(1).for_each(|byte| client.send(byte));
            client.expect(SWITCHING);
            assert!(scene.cpu() - before < Duration::from_secs(1), "{:?}", scene.cpu() - before);
            client.reset();
        },
    ),
    Case::new(
        "A03",
        "2,000 clients drip a head that never ends",
        "an end at the deadline",
        "the deadline is absolute: what drips in does not move it",
        |scene| {
            let opening = b"GET /echo HTTP/1.1\r\n".to_vec();
            let part =
                Part { refrain: b"X: y\r\n".to_vec(), times: Some(3), waits: true, ..Part::saying(opening) };
            let crowd = Crowd::start(scene.server.echo, 2_000, part);
            sleep(Duration::from_millis(500));
            crowd.go();
            wait("all are dropped", || crowd.gone() == 2_000);
        },
    )
    .args(&["--handshake-timeout", "1"]),
    Case::new(
        "A04",
        "4,000 clients that say nothing",
        "an end at the deadline",
        "silence costs a place for a time, and no more",
        |scene| {
            let crowd = Crowd::start(scene.server.echo, 4_000, Part::saying(""));
            wait("all are dropped", || crowd.gone() == 4_000);
        },
    )
    .args(&["--handshake-timeout", "1"]),
    Case::new(
        "A05",
        "a request cut in two at every byte",
        "101",
        "where the network cuts is nobody's business",
        |scene| {
            let head = request("");
            for at in 1..head.len() {
                let mut client = Client::connect(scene.server.echo);
                client.send(&head[..at]);
                client.send(&head[at..]);
                client.expect(SWITCHING);
                client.reset();
            }
        },
    ),
    Case::new("A06", "65, 129 and 2,000 header lines", "431", "lines are bounded as bytes are", |scene| {
        refuses(scene, &[431], &[65, 129, 2_000].map(|count| request(&"A: b\r\n".repeat(count))));
    }),
    Case::new(
        "A07",
        "header lines without end",
        "431",
        "the bound holds although no empty line comes",
        |scene| {
            let head = [b"GET /echo HTTP/1.1\r\n".to_vec(), b"Abcd: ef\r\n".repeat(100_000)].concat();
            refuses(scene, &[431], &[head]);
        },
    ),
    Case::new("A08", "a target of 64 KiB", "431", "it is part of the head", |scene| {
        refuses(scene, &[431], &[upgrade(&format!("/{}", "a".repeat(65_536)), "")]);
    }),
    Case::new(
        "A09",
        "subprotocols: thousands of spaces, 500 tokens, commas, control characters",
        "101 or 400, in linear time",
        "lists were a classic of quadratic parsers",
        |scene| {
            let before = scene.cpu();
            for _ in 0..50 {
                opens(
                    scene,
                    &[
                        request(&format!("Sec-WebSocket-Protocol: b{} , x\r\n", " ".repeat(7_000))),
                        request(&format!("Sec-WebSocket-Protocol: {}\r\n", "a, ".repeat(500) + "a")),
                    ],
                );
                refuses(
                    scene,
                    &[400],
                    &[
                        request("Sec-WebSocket-Protocol: a b\r\n"),
                        request("Sec-WebSocket-Protocol: \u{1}\r\n"),
                    ],
                );
            }
            assert!(scene.cpu() - before < Duration::from_secs(1), "{:?}", scene.cpu() - before);
        },
    ),
    Case::new(
        "A10",
        "an extension whose quoted parameter is 7 KiB of escapes",
        "101 without it",
        "an offer that cannot be read is no offer",
        |scene| {
            let before = scene.cpu();
            for _ in 0..50 {
                opens(
                    scene,
                    &[request(&format!("Sec-WebSocket-Extensions: a; b=\"{}\"\r\n", "\\c".repeat(3_500)))],
                );
            }
            assert!(scene.cpu() - before < Duration::from_secs(1), "{:?}", scene.cpu() - before);
        },
    ),
    Case::new(
        "A11",
        "permessage-deflate to a server without it",
        "101 without it, 1002 for a compressed frame",
        "what was not agreed to is a reserved bit",
        |scene| {
            let offer = request("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
            let mut client = Client::connect(scene.server.echo);
            client.send(&offer);
            client.expect(SWITCHING);
            let heard = answer(client, &frame(FIN | 0x40 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"));
            assert!(heard.starts_with(b"\x88") && heard[2..].starts_with(b"\x03\xea"), "{}", shown(&heard));
        },
    )
    .args(&["--no-deflate"]),
    Case::new(
        "A12",
        "keys that are none: missing, empty, of 15 and 17 bytes, not base64, twice",
        "400",
        "the answer is made of it",
        |scene| {
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let other = |text: &str| changed(key, &format!("Sec-WebSocket-Key: {text}\r\n"));
            refuses(
                scene,
                &[400],
                &[
                    changed(key, ""),
                    other(""),
                    other("AAAAAAAAAAAAAAAAAAAA"),
                    other("AAAAAAAAAAAAAAAAAAAAAAA="),
                    other("!!!!!!!!!!!!!!!!!!!!!!=="),
                    other(&"A".repeat(4096)),
                    changed(key, &key.repeat(2)),
                ],
            );
        },
    ),
    Case::new(
        "A13",
        "versions that nobody speaks, with a second request behind",
        "426 or 400, once",
        "an answer that is not 101 ends it: or a proxy lets requests through (smuggling)",
        |scene| {
            let version = "Sec-WebSocket-Version: 13";
            let requests = ["0", "12", "14", "13, 8", "abc"].map(|text| {
                let behind = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
                [changed(version, &format!("Sec-WebSocket-Version: {text}")), behind].concat()
            });
            refuses(scene, &[426, 400], &requests);
        },
    ),
    Case::new(
        "A14",
        "Upgrade and Connection missing, wrong, or one of many tokens",
        "101 where both are there, else 426 or 400",
        "both name a choice among others",
        |scene| {
            opens(
                scene,
                &[
                    changed("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
                    changed("Connection: Upgrade", "Connection: keep-alive, a, b, c, uPGRADE"),
                ],
            );
            refuses(
                scene,
                &[426, 400],
                &[
                    changed("Upgrade: websocket\r\n", ""),
                    changed("Upgrade: websocket", "Upgrade: h2c"),
                    changed("Connection: Upgrade\r\n", ""),
                    changed("Connection: Upgrade", "Connection: close"),
                ],
            );
        },
    ),
    Case::new(
        "A15",
        "Host missing, twice, with a space, not closed, not ASCII",
        "400",
        "RFC 9112 3.2 wants one that is one",
        |scene| {
            let host = "Host: 127.0.0.1\r\n";
            let found = upgrade("/echo", "")
                .lines()
                .find(|line| line.starts_with("Host"))
                .map(|line| format!("{line}\r\n"));
            let host = found.unwrap_or(host.to_owned());
            refuses(
                scene,
                &[400],
                &["", "Host: a b\r\n", "Host: [::1\r\n", "Host: \u{e9}\r\n", "Host: a\r\nHost: a\r\n"]
                    .map(|text| changed(&host, text)),
            );
        },
    ),
    Case::new(
        "A16",
        "POST, PUT, OPTIONS, CONNECT, and a method that is none",
        "405 or 400",
        "only GET opens",
        |scene| {
            refuses(
                scene,
                &[405, 400],
                &["POST", "PUT", "OPTIONS", "CONNECT", "BREW"]
                    .map(|method| changed("GET ", &format!("{method} "))),
            );
        },
    ),
    Case::new(
        "A17",
        "HTTP/1.0, HTTP/2, TLS, SSH, SOCKS",
        "505, 400, or an end at the deadline",
        "none of it becomes a frame",
        |scene| {
            refuses(
                scene,
                &[505, 400],
                &[
                    changed("HTTP/1.1", "HTTP/1.0"),
                    changed("HTTP/1.1", "HTTP/9.9"),
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                ],
            );
            for opening in [
                &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
                b"SSH-2.0-OpenSSH_9.2\r\n",
                b"\x05\x01\x00",
            ] {
                let heard = answer(Client::connect(scene.server.echo), opening);
                assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 400"), "{}", shown(&heard));
            }
        },
    )
    .args(&["--handshake-timeout", "1"]),
    Case::new(
        "A18",
        "empty names, bare LF and CR, folded lines, spaces before colons, NUL, DEL",
        "400",
        "who reads a head otherwise than a proxy does is a hole",
        |scene| {
            let lines = [
                ": x\r\n",
                "A: b\n",
                "A: b\rC: d\r\n",
                " A: b\r\n",
                "A : b\r\n",
                "A: b\r\n c\r\n",
                "A: \0\r\n",
                "A\0: b\r\n",
                "A: \u{7f}\r\n",
            ];
            refuses(scene, &[400], &lines.map(request));
            refuses(scene, &[400], &[upgrade("/echo", "").replace("\r\n", "\n")]);
        },
    ),
    Case::new(
        "A19",
        "bodies: lengths once, twice, negative, too large, and chunked",
        "400, and what is behind is no frame",
        "a body and a 101 cannot both be",
        |scene| {
            let lines = [
                "Content-Length: 5\r\n",
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                "Content-Length: -1\r\n",
                "Content-Length: 99999999999999999999\r\n",
                "Transfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            ];
            refuses(
                scene,
                &[400],
                &lines.map(|lines| [request(lines), frame(FIN | TEXT, b"hello")].concat()),
            );
        },
    ),
    Case::new(
        "A21",
        "a request with messages behind it in one segment",
        "101 and their echo",
        "nothing that came early is lost",
        |scene| {
            for count in [1, 10, 1000] {
                echoes(
                    scene,
                    &frame(FIN | TEXT, b"early").repeat(count),
                    &reply(FIN | TEXT, b"early").repeat(count),
                );
            }
        },
    ),
    Case::new(
        "A22",
        "a request with 64 KiB of noise behind it",
        "101, 1002",
        "what is no frame is refused at its first byte",
        |scene| {
            let heard =
                answer(Client::connect(scene.server.echo), &[request(""), vec![0xFF; 65_536]].concat());
            assert!(
                heard.starts_with(SWITCHING.as_bytes()) && heard[SWITCHING.len()..].starts_with(b"\x88"),
                "{}",
                shown(&heard)
            );
        },
    ),
    Case::new(
        "A23",
        "origins that are not on the list",
        "403",
        "a browser says where a page is from, and cannot lie",
        |scene| {
            refuses(
                scene,
                &[403],
                &[
                    "https://evil.example",
                    "null",
                    "https://example.com.evil.example",
                    "http://example.com",
                    "https://EXAMPLE.com:444",
                ]
                .map(|origin| request(&format!("Origin: {origin}\r\n"))),
            );
            opens(scene, &[request("Origin: https://example.com\r\n")]);
        },
    )
    .args(&["--origin", "https://example.com"]),
    Case::new(
        "A24",
        "line ends, plain and escaped, in target, origin and subprotocol",
        "no line of the answer or the log begins there",
        "headers that are copied are headers that are forged",
        |scene| {
            for (target, line) in [
                ("/echo%0d%0aX: y", ""),
                ("/%0aX:%20y", ""),
                ("/echo", "Sec-WebSocket-Protocol: a%0d%0aX\r\n"),
            ] {
                let heard = {
                    let mut client = Client::connect(scene.server.echo);
                    client.send(upgrade(target, line));
                    client.finish();
                    String::from_utf8_lossy(&client.rest()).into_owned()
                };
                assert!(!heard.contains("\r\nX"), "{heard}");
            }
            assert!(
                scene.server.lines().iter().all(|line| line.starts_with("wsecho: ")),
                "{:?}",
                scene.server.lines()
            );
        },
    ),
    Case::new(
        "A25",
        "escape sequences in the target",
        "a log that is text",
        "who reads a log has a terminal",
        |scene| {
            refuses(
                scene,
                &[400, 404],
                &["/\u{1b}[2J", "/\u{9b}31m", "/%1b%5b2J"].map(|target| upgrade(target, "")),
            );
            assert!(
                scene.server.lines().iter().all(|line| !line.contains(['\u{1b}', '\u{9b}'])),
                "{:?}",
                scene.server.lines()
            );
        },
    ),
    Case::new(
        "A26",
        "5,000 clients that reset in the middle of their head",
        "nothing",
        "an end without a beginning leaves nothing",
        |scene| {
            let head = request("");
            for number in 0..5_000 {
                let mut client = Client::connect(scene.server.echo);
                client.send(&head[..number % head.len()]);
                client.reset();
            }
        },
    ),
    Case::new(
        "A27",
        "500 clients that never read their 101",
        "their place, and nothing kept",
        "an answer fits into the kernel",
        |scene| {
            let part = Part { reads: false, ..Part::saying(request("")) };
            let crowd = Crowd::start(scene.server.echo, 500, part);
            wait("all are open", || scene.clients() == 501);
            crowd.until_stuck();
        },
    ),
    Case::new(
        "A28",
        "5,000 bad requests",
        "400, and ten lines of log a second",
        "a peer must not fill a disk",
        |scene| {
            let lines = scene.server.lines().len();
            for _ in 0..50 {
                refuses(scene, &[400], &vec![request("A : b\r\n"); 100]);
            }
            let told = scene.server.lines().len() - lines;
            let suppressed = scene.numbers()["log_lines_suppressed_total"];
            assert!(told < 1_000 && suppressed > 1_000.0, "{told} lines, {suppressed} suppressed");
        },
    ),
];
