//! Echo and Flash policy over real sockets: what goes out comes back, whatever the client does to its connection.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socket2::SockRef;
use support::client::*;
use support::process::{descriptors, resident, wait_until};
use support::server::Server;
use support::wire::fault;

/// Both listeners, and every connection's end in the log.
fn server() -> Server {
    Server::start(&["--policy", "127.0.0.1:0", "--log-level", "debug"])
}

/// Sends `bytes` while `read` takes what comes: a client that only writes, and only then reads, would wait for ever for
/// a server that reads nothing from a peer that does not take its answers.
fn exchange<T>(client: &mut Client, bytes: &[u8], read: impl FnOnce(&mut Client) -> T) -> T {
    let mut writer = client.twin();
    thread::scope(|scope| {
        scope.spawn(move || writer.send(bytes));
        read(client)
    })
}

/// Bytes that repeat late and at no round number.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// UTF-8 of exactly `len` bytes, in code points of one to four.
fn text(len: usize) -> Vec<u8> {
    let mut text = "wsecho \u{e9}\u{20ac}\u{1f600} ".repeat(len / 17 + 1).into_bytes();
    let end = (0..=len).rev().find(|at| std::str::from_utf8(&text[..*at]).is_ok()).unwrap_or_default();
    text.truncate(end);
    text.resize(len, b'.');
    text
}

#[test]
fn messages_of_1_byte_to_16_mebibytes_come_back() {
    let server = server();
    let mut client = Client::open(&server);
    for len in [1, 125, 126, 127, 4096, 32767, 32768, 32769, 65535, 65536, 65537, 1 << 20, 16 << 20] {
        let binary = noise(len);
        let back = exchange(&mut client, &frame(FIN | BINARY, &binary), Client::frame);
        assert!(back == (FIN | BINARY, binary), "binary of {len} bytes: one frame, the same");
        let text = text(len);
        let back = exchange(&mut client, &frame(FIN | TEXT, &text), Client::message);
        assert!(back == (TEXT, text), "text of {len} bytes: the same message");
    }
    client.echo("still in step");
}

#[test]
fn empty_messages_and_fragments_come_back_as_they_were() {
    let server = server();
    let mut client = Client::open(&server);
    // The RFC's own examples (§5.7), and a code point that is split.
    for (bytes, back) in [
        (&b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..], &b"\x81\x05Hello"[..]),
        (b"\x81\x80\x37\xfa\x21\x3d", b"\x81\x00"),
        (b"\x82\x80\x37\xfa\x21\x3d", b"\x82\x00"),
        (b"\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d\x80\x82\x37\xfa\x21\x3d\x5b\x95", b"\x01\x03Hel\x80\x02lo"),
        (b"\x01\x82\x37\xfa\x21\x3d\xd5\x78\x80\x81\x37\xfa\x21\x3d\x9b", b"\x01\x02\xe2\x82\x80\x01\xac"),
        (b"\x02\x80\0\0\0\0\x00\x80\0\0\0\0\x80\x80\0\0\0\0", b"\x02\x00\x00\x00\x80\x00"),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b""),
    ] {
        client.send(bytes);
        client.expect(back);
    }
    let fragments =
        [frame(BINARY, &noise(70_000)), frame(CONTINUATION, &noise(5)), frame(FIN, &noise(40_000))].concat();
    let back = exchange(&mut client, &fragments, |client| [client.frame(), client.frame(), client.frame()]);
    assert!(back == [(BINARY, noise(70_000)), (CONTINUATION, noise(5)), (FIN, noise(40_000))]);
}

#[test]
fn a_client_that_writes_byte_by_byte_is_served() {
    let server = server();
    let mut client = Client::connect(server.echo);
    for byte in upgrade("/echo", "").bytes() {
        client.send([byte]);
    }
    client.expect(SWITCHING);
    let said = "one byte at a time \u{1f600}".as_bytes();
    let all = [
        frame(TEXT, said),
        frame(FIN | PING, b"amid"),
        frame(FIN, &noise(300)[..0]),
        frame(FIN | BINARY, &noise(300)),
    ];
    for byte in all.concat() {
        client.send([byte]);
    }
    let back =
        [reply(TEXT, said), reply(FIN | PONG, b"amid"), reply(FIN, b""), reply(FIN | BINARY, &noise(300))];
    client.expect(back.concat());
}

#[test]
fn frames_glued_to_the_head_are_served() {
    let server = server();
    for version in ["13", "8", "7"] {
        let head = upgrade("/echo", "").replace("Version: 13", &format!("Version: {version}"));
        let mut client = Client::connect(server.echo);
        let frames = [frame(FIN | TEXT, b"Hello"), frame(FIN | PING, b"!"), frame(FIN | CLOSE, b"\x03\xe8")];
        client.send([head.into_bytes(), frames.concat()].concat());
        client.expect(SWITCHING);
        client.expect(b"\x81\x05Hello\x8a\x01!\x88\x02\x03\xe8");
        client.expect_eof();
    }
    // More than one read takes.
    let mut client = Client::connect(server.echo);
    let bytes = [upgrade("/", "").into_bytes(), frame(FIN | BINARY, &noise(300_000))].concat();
    let (first, back) = exchange(&mut client, &bytes, |client| {
        client.expect(SWITCHING);
        client.frame()
    });
    assert!((first, back) == (FIN | BINARY, noise(300_000)));
}

#[test]
fn pings_are_answered_in_order_amid_fragments() {
    let server = server();
    let mut client = Client::open(&server);
    let (mut bytes, mut back) = (frame(TEXT, b"0"), reply(TEXT, b"0"));
    for number in 1..2000 {
        let text = format!("{number}");
        let payload = text.as_bytes();
        bytes.extend(frame(FIN | PING, &payload.repeat(25)));
        back.extend(reply(FIN | PONG, &payload.repeat(25)));
        bytes.extend(frame(FIN | PONG, payload));
        bytes.extend(frame(CONTINUATION, payload));
        back.extend(reply(CONTINUATION, payload));
    }
    bytes.extend(frame(FIN, b"."));
    back.extend(reply(FIN, b"."));
    exchange(&mut client, &bytes, |client| client.expect(&back));
}

#[test]
fn quit_is_answered_with_1000() {
    let server = server();
    let mut client = Client::open(&server);
    for other in ["quit ", "Quit", "qui"] {
        client.echo(other);
    }
    client.send([frame(FIN | BINARY, b"quit"), frame(BINARY, b"qu"), frame(FIN, b"it")].concat());
    client.expect([reply(FIN | BINARY, b"quit"), reply(BINARY, b"qu"), reply(FIN, b"it")].concat());
    client.send(
        [frame(FIN | TEXT, b"bye"), frame(FIN | TEXT, b"quit"), frame(FIN | TEXT, b"never said")].concat(),
    );
    client.expect(b"\x81\x03bye\x88\x02\x03\xe8");
    client.expect_eof();
    // In fragments it is known with the last one.
    let mut client = Client::open(&server);
    client.send([frame(TEXT, b"qu"), frame(0, b""), frame(FIN | PING, b"?"), frame(FIN, b"it")].concat());
    client.expect([reply(TEXT, b"qu"), reply(0, b""), reply(FIN | PONG, b"?")].concat());
    client.expect(b"\x88\x02\x03\xe8");
    client.expect_eof();
}

#[test]
fn close_code_and_reason_come_back_and_nothing_after_them() {
    let server = server();
    let long = [b"\x0f\xa0".as_slice(), &[b'r'; 123]].concat();
    let reason = [b"\x0f\xa0", "tsch\u{fc}\u{df}".as_bytes()].concat();
    for body in [&b""[..], b"\x03\xe8", b"\x03\xe8bye", b"\x03\xf6", &reason, &long] {
        let mut client = Client::open(&server);
        client.send(
            [frame(BINARY, b"unfinished"), frame(FIN | CLOSE, body), frame(FIN | PING, b"too late")].concat(),
        );
        client.expect([reply(BINARY, b"unfinished"), reply(FIN | CLOSE, body)].concat());
        client.expect_eof();
    }
}

#[test]
fn a_fault_is_answered_with_its_close_code_and_in_words() {
    let server = server();
    let garbage = [0xFF; 65536];
    for (why, bytes, words) in [
        ("a close body of one byte", frame(FIN | CLOSE, b"\x03"), "close body of one byte"),
        ("close code 1005", frame(FIN | CLOSE, b"\x03\xed"), "close code that may not be sent"),
        ("close code 5000", frame(FIN | CLOSE, b"\x13\x88"), "close code that may not be sent"),
        ("a reason that is not UTF-8", frame(FIN | CLOSE, b"\x03\xe8\xff"), "not UTF-8"),
        ("not masked", b"\x81\x05Hello".to_vec(), "frame not masked"),
        ("RSV1", vec![0xC1], "reserved bit set"),
        ("opcode 3", vec![0x83], "unknown opcode"),
        ("opcode 0xB", vec![0x8B], "unknown opcode"),
        ("a fragmented ping", vec![0x09], "fragmented control frame"),
        ("a ping of 126 bytes", vec![0x89, 0xFE], "control frame beyond 125 bytes"),
        ("a continuation of nothing", frame(FIN, b"x"), "continuation without a message"),
        (
            "a message inside a message",
            [frame(FIN | TEXT, b""), frame(TEXT, b""), frame(FIN | TEXT, b"x")].concat(),
            "new message inside a fragmented one",
        ),
        ("5 in 16 bits", vec![0x82, 0xFE, 0, 5], "length not in its shortest form"),
        ("the top bit of a length", vec![0x82, 0xFF, 0x80], "64-bit length with its top bit set"),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80"), "not UTF-8"),
        (
            "a surrogate, before its frame is whole",
            [header(TEXT, 1000), vec![0xED ^ 0x37, 0xA0 ^ 0xFA]].concat(),
            "not UTF-8",
        ),
        ("a code point that does not end", frame(FIN | TEXT, b"\xe2\x82"), "not UTF-8"),
        ("64 KiB of garbage", garbage.to_vec(), "reserved bit set"),
        ("more than the limit, told by the header", header(FIN | BINARY, (64 << 20) + 1), "message too big"),
        ("2^63 - 1 bytes", header(FIN | TEXT, i64::MAX as u64), "message too big"),
    ] {
        let mut client = Client::connect(server.echo);
        client.send([upgrade("/echo", "").as_bytes(), &frame(FIN | TEXT, b"good"), &bytes].concat());
        client.expect(SWITCHING);
        client.expect(b"\x81\x04good");
        let rest = client.rest();
        let close = fault(words);
        assert!(rest.ends_with(&close), "{why}: {} does not end with {words}", shown(&rest));
        let before = &rest[..rest.len() - close.len()];
        assert!(
            matches!(before, b"" | b"\x81\x00\x01\x00"),
            "{why}: {} before the close frame",
            shown(before)
        );
    }
}

#[test]
fn a_fault_in_a_large_text_is_told_after_whole_fragments() {
    let server = server();
    let mut client = Client::open(&server);
    let text = [text(100_000), b"\xff".to_vec(), vec![b'x'; 100_000]].concat();
    exchange(&mut client, &frame(FIN | TEXT, &text), |client| {
        let mut good = Vec::new();
        loop {
            match client.frame() {
                (first, payload) if first & 0x0F != CLOSE => {
                    assert_eq!(first, if good.is_empty() { TEXT } else { CONTINUATION });
                    good.extend(payload);
                }
                close => break assert_eq!(close, (FIN | CLOSE, fault("not UTF-8")[2..].to_vec())),
            }
        }
        assert!(text.starts_with(&good) && good.len() <= 100_000, "bad text is never echoed");
        client.expect_eof();
    });
}

#[test]
fn the_answer_to_a_close_survives_what_is_still_under_way() {
    let server = server();
    let before = descriptors(server.pid());
    let mut client = Client::open(&server);
    let flood = [frame(FIN | CLOSE, b"\x03\xe8"), noise(1 << 20)].concat();
    exchange(&mut client, &flood, |client| {
        client.expect(b"\x88\x02\x03\xe8");
        client.expect_eof();
    });
    // The client stays, and says nothing: the server does not wait for it for ever.
    wait_until("the server lets go of a client that stays", || descriptors(server.pid()) == before);
}

#[test]
fn a_half_closed_client_gets_all_its_echo_and_then_a_fin() {
    let server = server();
    for len in [0, 1, 30_000, 5 << 20] {
        let mut client = Client::open(&server);
        let mut writer = client.twin();
        let bytes = frame(FIN | BINARY, &noise(len));
        thread::scope(|scope| {
            scope.spawn(move || {
                writer.send(bytes);
                writer.finish();
            });
            assert!(client.frame() == (FIN | BINARY, noise(len)), "the echo of {len} bytes");
            client.expect_eof();
        });
    }
}

#[test]
fn a_client_that_stops_in_the_middle_gets_a_fin() {
    let server = server();
    for said in [vec![], upgrade("/echo", "").into_bytes()[..40].to_vec(), b"<policy".to_vec()] {
        let mut client = Client::connect(server.echo);
        client.send(said);
        client.finish();
        client.expect_eof();
    }
    for said in [
        frame(FIN | TEXT, b"Hello")[..8].to_vec(),
        frame(TEXT, b"Hello"),
        header(FIN | TEXT, 5)[..1].to_vec(),
    ] {
        let mut client = Client::open(&server);
        client.send(&said);
        client.finish();
        let rest = client.rest();
        assert!(rest.is_empty() || rest == b"\x01\x05Hello", "{}", shown(&rest));
    }
}

#[test]
fn a_slow_reader_gets_everything_once_it_reads() {
    let server = server();
    let (mut slow, mut witness) = (Client::open(&server), Client::open(&server));
    let message = noise(100_003);
    let bytes = [frame(FIN | BINARY, &message), frame(FIN | PING, b"between")].concat();
    let sent = slow.stuff(&bytes, 256 << 20, &mut witness);
    let whole = sent / bytes.len();
    // What is missing of the last round, then a close.
    let missing = if sent % bytes.len() == 0 { vec![] } else { bytes[sent % bytes.len()..].to_vec() };
    let rounds = whole + usize::from(!missing.is_empty());
    exchange(&mut slow, &[missing, frame(FIN | CLOSE, b"")].concat(), |slow| {
        for round in 0..rounds {
            assert!(slow.frame() == (FIN | BINARY, message.clone()), "round {round} of {rounds}");
            assert_eq!(slow.frame(), (FIN | PONG, b"between".to_vec()));
        }
        slow.expect(b"\x88\x00");
        slow.expect_eof();
    });
}

#[test]
fn clients_that_never_read_cost_little_and_only_themselves() {
    const CLIENTS: usize = 16;
    let server = server();
    let mut witness = Client::open(&server);
    witness.echo(&"x".repeat(60_000));
    let before = resident(server.pid());
    let bytes = [
        frame(FIN | BINARY, &noise(20_000)),
        frame(FIN | TEXT, &text(20_000)),
        frame(FIN | BINARY, &noise(1 << 20)),
        frame(FIN | TEXT, &text(1 << 20)),
        frame(FIN | PING, &noise(125)).repeat(1000),
    ];
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client::open(&server);
            // They get stuck at different places.
            client.stuff(&bytes[number % bytes.len()..].concat(), 256 << 20, &mut witness);
            client
        })
        .collect();
    let each = resident(server.pid()).saturating_sub(before) / CLIENTS;
    // The message in whose middle they were, of at most a mebibyte, what is read at once, and the allocator's share.
    assert!(each < 1536 * 1024, "{each} bytes for a client that does not read");
    for client in clients {
        client.reset();
    }
    witness.echo("nobody else noticed");
}

#[test]
fn a_reader_with_a_small_window_gets_everything() {
    let server = server();
    let mut client = Client::open(&server);
    SockRef::from(&client.stream).set_recv_buffer_size(2304).expect("a TCP socket");
    // More than the kernel takes unsent, so that the server has to keep some of it.
    let message = noise(100_000);
    let bytes = [frame(FIN | BINARY, &message), frame(FIN | PING, b"p")].concat();
    exchange(&mut client, &bytes, |client| {
        for piece in reply(FIN | BINARY, &message).chunks(1777) {
            client.expect(piece);
        }
        client.expect(b"\x8a\x01p");
    });
}

#[test]
fn a_reset_in_any_phase_leaves_nothing_behind() {
    let server = server();
    let policy = server.policy.expect("it was asked for");
    let mut witness = Client::open(&server);
    let before = descriptors(server.pid());
    let whole = frame(FIN | BINARY, &noise(100_000));
    let frames: [&[u8]; 8] = [
        b"",
        &whole[..1],
        &whole[..5000],
        &whole,
        &frame(TEXT, b"unfinished"),
        &frame(FIN | TEXT, b"Hello"),
        &frame(FIN | CLOSE, b""),
        b"\xff",
    ];
    for _ in 0..10 {
        Client::connect(server.echo).reset();
        for said in [
            "<pol",
            "GET",
            &upgrade("/echo", ""),
            &upgrade("/nowhere", ""),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let mut client = Client::connect(server.echo);
            client.send(said);
            client.reset();
        }
        for said in [b"".as_slice(), &POLICY_REQUEST[..9], POLICY_REQUEST, b"x"] {
            let mut client = Client::connect(policy);
            client.send(said);
            client.reset();
        }
        for said in frames {
            let mut client = Client::open(&server);
            client.send(said);
            client.reset();
            witness.echo("still there?");
        }
    }
    wait_until("every descriptor comes back", || descriptors(server.pid()) == before);
    Client::open(&server).echo("and new clients are served");
}

#[test]
fn greedy_neighbours_do_not_stop_anybody_from_being_served() {
    let server = server();
    let stop = AtomicBool::new(false);
    let echoed = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let flood = [frame(FIN | BINARY, &noise(16_000)).repeat(8), frame(FIN | PING, b"").repeat(1000)].concat();
    thread::scope(|scope| {
        for echoed in &echoed {
            let mut reader = Client::open(&server);
            let mut writer = reader.twin();
            let (stop, flood) = (&stop, &flood);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.send(flood);
                }
                writer.finish();
            });
            scope.spawn(move || {
                let mut bytes = vec![0; 65536];
                loop {
                    match reader.read(&mut bytes).expect("all of the flood comes back") {
                        0 => break,
                        count => echoed.fetch_add(count, Ordering::Relaxed),
                    };
                }
            });
        }
        let mut healthy = Client::open(&server);
        let mut rounds = 0;
        while rounds < 200 || echoed.iter().any(|echoed| echoed.load(Ordering::Relaxed) < 8 << 20) {
            healthy.echo(&format!("{rounds}"));
            if rounds % 20 == 0 {
                Client::open(&server).echo("a new one");
            }
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn connections_that_share_the_servers_buffers_never_see_each_others_bytes() {
    let server = server();
    let mut clients: Vec<(Client, Vec<u8>)> =
        (0..20u8).map(|number| (Client::open(&server), vec![number; 3000 + 97 * number as usize])).collect();
    for round in 0..20 {
        let cut = 1 + round * 150;
        for (client, payload) in &mut clients {
            client.send(&frame(FIN | BINARY, payload)[..cut]);
        }
        for (client, payload) in &mut clients {
            client.send(&frame(FIN | BINARY, payload)[cut..]);
        }
        for (client, payload) in &mut clients {
            client.expect(reply(FIN | BINARY, payload));
        }
    }
}

#[test]
fn the_policy_is_served_on_both_ports_whole_or_byte_by_byte() {
    let server = server();
    for address in both(&server) {
        for request in [
            &POLICY_REQUEST[..],
            b"<policy-file-request/>",
            b"<policy-file-request />\0",
            b"<policy-file-request/>\0more",
        ] {
            let mut client = Client::connect(address);
            client.send(request);
            client.expect(POLICY);
            client.expect_eof();
        }
        let mut client = Client::connect(address);
        for (at, byte) in POLICY_REQUEST.iter().enumerate() {
            client.send([*byte]);
            if at == 8 {
                client.expect_nothing();
            }
        }
        client.expect(POLICY);
        client.expect_eof();
    }
}

#[test]
fn the_policy_survives_what_is_sent_behind_the_request() {
    let server = server();
    for address in both(&server) {
        let mut client = Client::connect(address);
        let bytes = [POLICY_REQUEST.as_slice(), &noise(1 << 20)].concat();
        exchange(&mut client, &bytes, |client| {
            client.expect(POLICY);
            client.expect_eof();
        });
    }
}

#[test]
fn what_is_no_policy_request_is_closed_without_a_word() {
    let server = server();
    let policy = server.policy.expect("it was asked for");
    let spaces = [b"<policy-file-request".as_slice(), &[b' '; 108]].concat();
    let http = upgrade("/echo", "");
    for request in [
        &b"\0"[..],
        b"<P",
        b"<policy-file-request>",
        http.as_bytes(),
        b"\x16\x03\x01",
        &spaces,
        &noise(1 << 20),
    ] {
        let mut client = Client::connect(policy);
        exchange(&mut client, request, Client::expect_eof);
    }
    // On the echo port the same, once it began like one.
    for request in [&b"<P"[..], b"<policy-file-request>", &spaces] {
        let mut client = Client::connect(server.echo);
        client.send(request);
        client.expect_eof();
    }
}

#[test]
fn silent_clients_of_the_policy_port_are_dropped_and_hurt_nobody() {
    let server = server();
    let policy = server.policy.expect("it was asked for");
    let mut witness = Client::open(&server);
    let before = descriptors(server.pid());
    let mut silent: Vec<Client> = (0..200).map(|_| Client::connect(policy)).collect();
    silent[0].send(&POLICY_REQUEST[..21]);
    witness.echo("nobody minds");
    let mut flash = Client::connect(policy);
    flash.send(POLICY_REQUEST);
    flash.expect(POLICY);
    for client in &mut silent {
        client.expect_eof();
    }
    drop(flash);
    wait_until("every descriptor comes back", || descriptors(server.pid()) == before);
}

/// A read ends in front of urgent data, however much lies behind it: not a sign that all has been read.
#[test]
fn urgent_data_is_passed_over_and_stalls_nobody() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = Client::open(&server);
    for round in 0..500 {
        let text = format!("round {round}");
        client.send(frame(FIN | TEXT, text.as_bytes()));
        assert_eq!(SockRef::from(&client.stream).send_out_of_band(b"!").expect("the server takes it"), 1);
        client.send(frame(FIN | BINARY, text.as_bytes()));
        client.expect(reply(FIN | TEXT, text.as_bytes()));
        client.expect(reply(FIN | BINARY, text.as_bytes()));
    }
    client.finish();
}

fn both(server: &Server) -> [SocketAddr; 2] {
    [server.echo, server.policy.expect("it was asked for")]
}
