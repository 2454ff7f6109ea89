//! What goes wrong on the way and at the other end.

use super::{Authority, KEY, Talk, text};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error};
use support::wire::{ANSWER, REQUEST, masked};

const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// Bytes that the server holds for its clients.
fn kept(talk: &Talk) -> usize {
    talk.server.reactor.stats().memory.used()
}

#[test]
fn records_come_in_pieces_of_any_size() {
    let authority = Authority::new();
    for versions in VERSIONS {
        for piece in [1, 2, 5, 6, 21, 1000] {
            let mut talk = Talk::begin(&authority, authority.client(versions), |_| {}, piece);
            talk.shake(piece);
            assert_eq!(talk.exchange(REQUEST.as_bytes(), piece), ANSWER.as_bytes(), "pieces of {piece}");
            let payload: Vec<u8> = (0..if piece < 20 { 300 } else { 40_000 }).map(|at| at as u8).collect();
            let mut echo = talk.exchange(&masked(0x82, KEY, &payload), piece);
            assert!(echo.ends_with(&payload) && echo.len() < payload.len() + 5, "pieces of {piece}");
            echo = talk.exchange(&[text(b"one"), text(b"two")].concat(), piece);
            assert_eq!(echo, b"\x81\x03one\x81\x03two");
            assert_eq!(kept(&talk), 0, "pieces of {piece}");
        }
    }
}

#[test]
fn what_the_kernel_does_not_take_at_once_goes_sealed_and_in_order() {
    let authority = Authority::new();
    for versions in VERSIONS {
        let mut talk = Talk::open(&authority, authority.client(versions), |_| {});
        talk.server.machine.borrow_mut().peers[0].room = Some(0);
        let payload = vec![b'x'; 20_000];
        for message in [&payload[..], b"small", &payload[..]] {
            let sealed = talk.client.seal(&masked(0x82, KEY, message));
            talk.say_raw(&sealed, usize::MAX);
        }
        let mut heard = Vec::new();
        for _ in 0..2_000 {
            talk.server.take(0, 31);
            talk.settle();
            heard.append(&mut talk.hear());
        }
        assert_eq!(heard.len(), 2 * (4 + payload.len()) + 2 + 5);
        assert!(heard.ends_with(&payload) && heard[4 + payload.len()..].starts_with(b"\x82\x05small"));
        assert_eq!(kept(&talk), 0);
    }
}

#[test]
fn a_handshake_that_is_broken_off_leaves_nothing() {
    let authority = Authority::new();
    for versions in VERSIONS {
        let hello = authority.client(versions).flush().len();
        for first in [1, 5, 6, 100, hello - 1, hello] {
            for is_reset in [true, false] {
                let mut talk =
                    Talk { server: authority.server(|_| {}), client: authority.client(versions), taken: 0 };
                let bytes = talk.client.flush();
                talk.server.come(0, 1, &bytes[..first]);
                talk.settle();
                if is_reset {
                    talk.server.break_off(0)
                } else {
                    talk.server.end(0)
                }
                talk.settle();
                assert!(talk.server.peer(0).gone, "{first} bytes, reset {is_reset}");
                assert_eq!(kept(&talk), 0);
            }
        }
    }
}

#[test]
fn a_handshake_has_the_time_of_one() {
    let authority = Authority::new();
    for first in [1, 40, usize::MAX] {
        let mut talk =
            Talk { server: authority.server(|_| {}), client: authority.client(&[&TLS13]), taken: 0 };
        let bytes = talk.client.flush();
        talk.server.come(0, 1, &bytes[..first.min(bytes.len())]);
        talk.wait(9_900);
        assert!(!talk.server.peer(0).gone, "{first}");
        talk.wait(200);
        assert!(talk.server.peer(0).gone, "{first}");
    }
    // The request behind it comes out of the same ten seconds.
    let mut talk = Talk::shaken(&authority, authority.client(&[&TLS13]), |_| {});
    talk.wait(10_100);
    assert!(talk.server.peer(0).gone);
}

#[test]
fn an_end_without_close_notify_is_an_end() {
    let authority = Authority::new();
    for versions in VERSIONS {
        let mut talk = Talk::open(&authority, authority.client(versions), |_| {});
        let sealed = talk.client.seal(&text(b"last"));
        talk.server.say(0, &sealed);
        talk.server.end(0);
        talk.settle();
        assert_eq!(talk.hear(), b"\x81\x04last");
        assert!(talk.server.peer(0).gone);
    }
}

#[test]
fn close_notify_is_answered_with_it_and_what_came_before_is_heard() {
    let authority = Authority::new();
    for versions in VERSIONS {
        let mut talk = Talk::open(&authority, authority.client(versions), |_| {});
        let mut sealed = talk.client.seal(&masked(0x88, KEY, &1000u16.to_be_bytes()));
        talk.client.tls.send_close_notify();
        sealed.append(&mut talk.client.flush());
        talk.server.say(0, &sealed);
        talk.settle();
        assert_eq!(talk.hear(), b"\x88\x02\x03\xe8");
        assert!(talk.server.peer(0).ended || talk.server.peer(0).gone);
        // rustls tells a close_notify by an end of its plaintext.
        let state = talk.client.tls.process_new_packets().expect("nothing new");
        assert!(state.peer_has_closed(), "no close_notify");
    }
}

/// What a client puts on the wire instead of a good record, and the alert that it gets for it.
type Case = (&'static str, fn(&mut Talk) -> Vec<u8>, AlertDescription);

#[test]
fn what_is_no_good_record_is_answered_with_an_alert_and_an_end() {
    let cases: [Case; 6] = [
        (
            "longer than a record may be, at its header",
            |_| b"\x17\x03\x03\x41\x01".to_vec(),
            AlertDescription::RecordOverflow,
        ),
        ("of no content type", |_| b"\x63\x03\x03\x00\x20".to_vec(), AlertDescription::UnexpectedMessage),
        ("of SSL 2", |_| b"\x17\x02\x00\x00\x20".to_vec(), AlertDescription::UnexpectedMessage),
        (
            "under other keys",
            |_| [b"\x17\x03\x03\x00\x20".as_slice(), &[7; 32]].concat(),
            AlertDescription::BadRecordMac,
        ),
        (
            "with a bit turned over",
            |talk| {
                let mut sealed = talk.client.seal(&text(b"hello"));
                sealed[7] ^= 0x10;
                sealed
            },
            AlertDescription::BadRecordMac,
        ),
        (
            "said a second time",
            |talk| {
                let sealed = talk.client.seal(&text(b"hello"));
                talk.say_raw(&sealed, usize::MAX);
                assert_eq!(talk.hear(), b"\x81\x05hello");
                sealed
            },
            AlertDescription::BadRecordMac,
        ),
    ];
    let authority = Authority::new();
    for (what, bytes, alert) in cases {
        let mut talk = Talk::open(&authority, authority.client(&[&TLS13]), |_| {});
        let bytes = bytes(&mut talk);
        talk.say_raw(&bytes, 3);
        let answer = talk.take();
        assert_eq!(talk.client.hear(&answer), Err(Error::AlertReceived(alert)), "{what}");
        assert!(talk.server.peer(0).ended, "{what}: no FIN behind it");
        assert_eq!(kept(&talk), 0, "{what}");
        // Nothing is heard any more, and it is dropped in the time that every end has.
        talk.server.say(0, b"more");
        talk.wait(10_000);
        assert!(talk.server.peer(0).gone, "{what}: still there");
    }
}

#[test]
fn alerts_of_the_peer_end_it_quietly() {
    let authority = Authority::new();
    let mut talk = Talk::shaken(&authority, authority.client(&[&TLS12]), |_| {});
    // What a client sends that gave up: its alert stands in the clear, and is no good record.
    talk.say_raw(b"\x15\x03\x03\x00\x02\x02\x5a", usize::MAX);
    assert!(talk.server.peer(0).ended);
    // In the handshake a client says that it does not like our certificate.
    let mut talk = Talk::begin(&authority, authority.client(&[&TLS13]), |_| {}, usize::MAX);
    talk.say_raw(b"\x15\x03\x03\x00\x02\x02\x30", usize::MAX);
    assert!(talk.server.peer(0).ended);
    talk.wait(10_000);
    assert!(talk.server.peer(0).gone);
}

#[test]
fn key_updates_are_followed_and_a_flood_of_them_ends() {
    let authority = Authority::new();
    let mut talk = Talk::open(&authority, authority.client(&[&TLS13]), |_| {});
    for _ in 0..50 {
        talk.client.tls.refresh_traffic_keys().expect("TLS 1.3");
        assert_eq!(talk.exchange(&text(b"hello"), 4), b"\x81\x05hello");
    }
    let written = talk.server.peer(0).heard.len();
    for _ in 0..200 {
        talk.client.tls.refresh_traffic_keys().expect("TLS 1.3");
        let update = talk.client.flush();
        if talk.server.peer(0).ended {
            break;
        }
        talk.say_raw(&update, usize::MAX);
    }
    assert!(talk.server.peer(0).ended, "200 updates in a row");
    let answers = talk.server.peer(0).heard.len() - written;
    assert!(answers < 1_000, "{answers} bytes in answer");
}

#[test]
fn nothing_is_said_behind_our_end() {
    let authority = Authority::new();
    for bad in [false, true] {
        let mut talk = Talk::open(&authority, authority.client(&[&TLS13]), |_| {});
        assert_eq!(talk.exchange(&text(b"quit"), usize::MAX), b"\x88\x02\x03\xe8");
        assert_eq!(talk.exchange(&masked(0x88, KEY, &1000u16.to_be_bytes()), usize::MAX), b"");
        assert!(talk.server.peer(0).ended);
        let written = talk.server.peer(0).heard.len();
        // The machine fails what is written behind the FIN; a real one would send a RST for it.
        let more = if bad {
            b"\x17\x03\x03\x00\x02ab".to_vec()
        } else {
            talk.client.tls.refresh_traffic_keys().expect("TLS 1.3");
            talk.client.flush()
        };
        talk.say_raw(&more, usize::MAX);
        assert_eq!(talk.server.peer(0).heard.len(), written);
        assert_eq!(kept(&talk), 0);
    }
}

#[test]
fn a_second_handshake_under_the_keys_of_the_first_is_refused() {
    let authority = Authority::new();
    for versions in VERSIONS {
        // A ClientHello in the clear is no record of this connection, whatever its version.
        let mut talk = Talk::open(&authority, authority.client(versions), |_| {});
        let hello = authority.client(versions).flush();
        talk.say_raw(&hello, usize::MAX);
        let answer = talk.take();
        assert!(matches!(talk.client.hear(&answer), Err(Error::AlertReceived(_))));
        assert!(talk.server.peer(0).ended);
    }
}

#[test]
fn plain_http_is_told_where_it_came_to() {
    let authority = Authority::new();
    let mut server = authority.server(|_| {});
    server.come(0, 1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..10 {
        server.tick();
    }
    let heard = String::from_utf8_lossy(&server.peer(0).heard).into_owned();
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with("wss://"), "{heard}");
    assert!(server.peer(0).ended);
}

#[test]
fn a_throttle_counts_what_was_read_of_the_wire() {
    let authority = Authority::new();
    let mut talk = Talk::shaken(&authority, authority.client(&[&TLS13]), |_| {});
    let request = REQUEST.replacen("/echo", "/ws/throttle/100", 1);
    assert_eq!(talk.exchange(request.as_bytes(), usize::MAX), ANSWER.as_bytes());
    // 11 bytes of a frame are 33 of a record, and at 100 a second a third of a second.
    let sealed = talk.client.seal(&text(b"hello"));
    assert_eq!(sealed.len(), 33);
    talk.server.say(0, &sealed);
    talk.wait(250);
    assert_eq!(talk.hear(), b"");
    talk.wait(150);
    assert_eq!(talk.hear(), b"\x81\x05hello");
}

#[test]
fn headers_tells_what_was_agreed() {
    let authority = Authority::new();
    for (versions, agreed) in VERSIONS
        .into_iter()
        .zip(["TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLSv1_3 TLS13_AES_256_GCM_SHA384"])
    {
        let mut talk = Talk::shaken(&authority, authority.client(versions), |_| {});
        let request = REQUEST.replacen("/echo", "/ws/headers", 1);
        let heard = talk.exchange(request.as_bytes(), usize::MAX);
        let told = String::from_utf8_lossy(&heard).into_owned();
        assert!(told.contains(&format!("\"tls\":\"{agreed}")), "{told}");
    }
}
