//! permessage-deflate (RFC 7692) over real sockets, with the RFC's own bytes: compressed messages come back as they went.

use support::client::*;
use support::server::Server;
use support::wire::fault;

/// First byte of a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// "Hello" in the examples of RFC 7692 §7.2.3: alone, with the history of the first, stored, with BFINAL, in two blocks.
const HELLOS: [&[u8]; 5] = [
    b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    b"\xf2\x00\x11\x00\x00",
    b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
    b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
];

/// "quit" by zlib with a history that has nothing to do with it, and by zlib asked to finish.
const QUITS: [&[u8]; 2] = [b"\x2a\x2c\xcd\x2c\x01\x00", b"\x2b\x2c\xcd\x2c\x01\x00"];

fn open(server: &Server, offer: &str, answer: &str) -> Client {
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", offer));
    client.expect(SWITCHING.replace("\r\n\r\n", &format!("\r\n{answer}\r\n")));
    client
}

/// What a frame that may not come is answered with.
fn expect_1002(client: &mut Client) {
    client.expect(fault("reserved bit set"));
    client.expect_eof();
}

#[test]
fn compressed_frames_come_back_as_they_went() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = open(&server, OFFER, AGREED);
    for hello in HELLOS {
        for first in [FIN | RSV1 | TEXT, FIN | RSV1 | BINARY] {
            client.send(frame(first, hello));
            client.expect(reply(first, hello));
        }
        client.echo("not compressed");
    }
    // Only the first fragment carries the bit; a ping and a plain message may come between and behind.
    let [hello, ..] = HELLOS;
    client.send(
        [
            frame(RSV1 | TEXT, &hello[..3]),
            frame(FIN | PING, b"amid"),
            frame(CONTINUATION, b""),
            frame(FIN, &hello[3..]),
        ]
        .concat(),
    );
    client.expect(reply(RSV1 | TEXT, &hello[..3]));
    client.expect(reply(FIN | PONG, b"amid"));
    client.expect(reply(CONTINUATION, b""));
    client.expect(reply(FIN, &hello[3..]));
    client.echo("and on");
}

#[test]
fn a_large_compressed_frame_of_text_stays_one_frame() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = open(&server, OFFER, AGREED);
    // Not UTF-8, and not to be looked at.
    let noise: Vec<u8> = (0..1 << 20).map(|at: u32| (at * 31 + at / 251) as u8).collect();
    let mut writer = client.twin();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.send(frame(FIN | RSV1 | TEXT, &noise)));
        assert!(client.frame() == (FIN | RSV1 | TEXT, noise.clone()), "one frame, the same");
    });
    client.echo("and on");
}

#[test]
fn a_text_behind_a_compressed_one_is_checked_all_the_same() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = open(&server, OFFER, AGREED);
    client.send([frame(FIN | RSV1 | TEXT, HELLOS[0]), frame(FIN | TEXT, b"\xc3\x28")].concat());
    client.expect(reply(FIN | RSV1 | TEXT, HELLOS[0]));
    client.expect(fault("not UTF-8"));
}

#[test]
fn the_bit_is_refused_without_agreement_and_where_it_has_no_meaning() {
    let plain = Server::start(&["--policy", "off", "--no-deflate"]);
    let server = Server::start(&["--policy", "off"]);
    for first in [FIN | RSV1 | TEXT, RSV1 | TEXT, FIN | RSV1 | BINARY] {
        for mut client in [open(&plain, OFFER, ""), open(&server, "", "")] {
            client.send(frame(first, HELLOS[0]));
            expect_1002(&mut client);
        }
    }
    for first in [RSV1 | PING, RSV1 | PONG, RSV1 | CLOSE] {
        let mut client = open(&server, OFFER, AGREED);
        client.send(frame(FIN | first, b""));
        expect_1002(&mut client);
    }
    for first in [RSV1, FIN | RSV1] {
        let mut client = open(&server, OFFER, AGREED);
        client.send([frame(RSV1 | TEXT, HELLOS[0]), frame(first, b"")].concat());
        client.expect(reply(RSV1 | TEXT, HELLOS[0]));
        expect_1002(&mut client);
    }
    for bit in [0x20, 0x10, RSV1 | 0x20] {
        let mut client = open(&server, OFFER, AGREED);
        client.send(frame(FIN | bit | TEXT, HELLOS[0]));
        expect_1002(&mut client);
    }
}

#[test]
fn quit_is_understood_compressed() {
    let server = Server::start(&["--policy", "off"]);
    for quit in QUITS {
        let mut client = open(&server, OFFER, AGREED);
        client.send([frame(FIN | RSV1 | BINARY, quit), frame(FIN | RSV1 | TEXT, quit)].concat());
        client.expect(reply(FIN | RSV1 | BINARY, quit));
        client.expect(reply(FIN | CLOSE, &1000u16.to_be_bytes()));
        client.expect_eof();
    }
    // As gorilla sends it: stored, in five frames.
    let pieces = [&b"\x00"[..], b"\x04\x00\xfb\xff", b"quit", b"\x00", b""];
    let mut client = open(&server, OFFER, AGREED);
    for (at, piece) in pieces.iter().enumerate() {
        let first = [RSV1 | TEXT, 0, 0, 0, FIN][at];
        client.send(frame(first, piece));
        match first {
            FIN => client.expect(b"\x88\x02\x03\xe8"),
            _ => client.expect(reply(first, piece)),
        }
    }
    client.expect_eof();
}
