//! A server's end of TLS against rustls as a client, in memory.

use super::*;
use crate::tls::certificate::Own;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite};
use std::io::{Read, Write};

fn server_config(own: &Own) -> Arc<ServerConfig> {
    own.config_for_tests()
}

fn client(own: &Own, suite: SupportedCipherSuite) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let authority = rustls::pki_types::CertificateDer::from_pem_slice(own.authority.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![suite];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// A server's end with its buffer: what a transport has.
struct End {
    tls: Tls,
    carry: Vec<u8>,
    heard: Vec<u8>,
    closed: bool,
    fault: Option<String>,
}

impl End {
    fn new(own: &Own) -> End {
        let tls = Tls::new(server_config(own)).expect("a configuration");
        End { tls, carry: Vec::new(), heard: Vec::new(), closed: false, fault: None }
    }

    /// Takes ciphertext in pieces of this size; what is to be sent.
    fn take(&mut self, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            self.carry.extend_from_slice(piece);
            let end = self.carry.len();
            let opened = self.tls.open(&mut self.carry, 0..0, 0..end, &mut out);
            self.heard.extend_from_slice(&self.carry[opened.plain]);
            self.carry.drain(..opened.rest.start);
            self.closed |= opened.closed;
            self.fault = self.fault.take().or(opened.fault);
        }
        out
    }
}

fn flush(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("into memory");
    }
    bytes
}

fn hear(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).expect("from memory");
        client.process_new_packets().expect("good records");
        let mut part = [0; 65536];
        while let Ok(count @ 1..) = client.reader().read(&mut part) {
            heard.extend_from_slice(&part[..count]);
        }
    }
    heard
}

/// Shakes hands in pieces of this size, with the client's first words right behind its last ones of the handshake.
fn connected(suite: SupportedCipherSuite, piece: usize) -> (ClientConnection, End) {
    let own = Own::make_for_tests();
    let (mut client, mut end) = (client(&own, suite), End::new(&own));
    while client.is_handshaking() {
        let bytes = flush(&mut client);
        let answer = end.take(&bytes, piece);
        assert_eq!(hear(&mut client, &answer), b"");
    }
    client.writer().write_all(b"first words").expect("room");
    let bytes = flush(&mut client);
    let answer = end.take(&bytes, piece);
    assert_eq!(hear(&mut client, &answer), b"");
    assert_eq!((end.heard.as_slice(), &end.fault), (&b"first words"[..], &None));
    assert!(end.tls.is_open());
    end.heard.clear();
    (client, end)
}

#[test]
fn every_suite_is_spoken_in_pieces_of_every_size() {
    for suite in rustls::crypto::ring::ALL_CIPHER_SUITES {
        // Our own certificate has an ECDSA key.
        if format!("{suite:?}").contains("_RSA_") {
            continue;
        }
        for piece in [1, 7, 4096, 100_000] {
            let (mut client, mut end) = connected(*suite, piece);
            for size in [0, 1, 125, 16_384, 16_385, 60_000] {
                let message: Vec<u8> = (0..size).map(|at| at as u8).collect();
                client.writer().write_all(&message).expect("room");
                let bytes = flush(&mut client);
                assert_eq!(end.take(&bytes, piece), b"");
                assert!(end.heard == message, "{suite:?}, {size} bytes in pieces of {piece}");
                end.heard.clear();
                let mut sealed = Vec::new();
                end.tls.seal_into(&message, &mut sealed).expect("a fresh secret");
                assert!(hear(&mut client, &sealed) == message, "{suite:?}, {size} bytes");
            }
            assert!(end.tls.lists_keys() && !end.tls.lists_keys());
            end.tls.contract();
            assert!(!end.tls.lists_keys());
            let mut sealed = Vec::new();
            end.tls.close(&mut sealed);
            hear(&mut client, &sealed);
            client.send_close_notify();
            let bytes = flush(&mut client);
            end.take(&bytes, piece);
            assert_eq!((end.closed, end.fault), (true, None));
        }
    }
}

#[test]
fn a_reply_is_sealed_in_the_record_that_it_answers() {
    for suite in [
        rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ] {
        let (mut client, mut end) = connected(suite, 100_000);
        client.writer().write_all(b"\x82\x84keyy1234").expect("room");
        let mut buf = vec![0; 16];
        buf.extend(flush(&mut client));
        let record = 16..buf.len();
        let mut out = Vec::new();
        let opened = end.tls.open(&mut buf, 0..0, record.clone(), &mut out);
        assert_eq!((opened.rest.len(), out.len()), (0, 0));
        // As the echo does: four bytes fewer, at the end of the room.
        let reply = opened.plain.start + 4..opened.plain.end;
        let expected = buf[reply.clone()].to_vec();
        let sealed = end.tls.seal(&mut buf, reply).expect("room in the record");
        assert!(record.start <= sealed.start && sealed.end <= record.end, "{sealed:?} in {record:?}");
        assert_eq!(hear(&mut client, &buf[sealed]), expected);
    }
}

#[test]
fn a_reply_of_several_records_is_sealed_where_it_stands() {
    for suite in [
        rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ] {
        let (mut client, mut end) = connected(suite, 100_000);
        let (front, behind) = if suite.version() == &rustls::version::TLS13 { (5, 17) } else { (13, 16) };
        let room = front + behind;
        for size in [CONTENT_MAX, CONTENT_MAX + 1, CONTENT_MAX + 4, 2 * CONTENT_MAX, 60_000] {
            let message: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
            let count = size.div_ceil(CONTENT_MAX);
            let mut buf = [&vec![0; front], &message[..], &vec![0; count * room - front]].concat();
            let sealed = end.tls.seal(&mut buf, front..front + size).expect("just enough room");
            assert_eq!(sealed.len(), size + count * room);
            assert!(hear(&mut client, &buf[sealed]) == message, "{suite:?}, {size} bytes");
            assert_eq!(end.tls.seal(&mut vec![0; size + count * room - 1], front..front + size), None);
        }
    }
}

#[test]
fn keys_are_renewed_by_either_side() {
    let (mut client, mut end) =
        connected(rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384, 100_000);
    for round in 0..40 {
        client.refresh_traffic_keys().expect("TLS 1.3");
        client.writer().write_all(b"hello").expect("room");
        let bytes = flush(&mut client);
        let answer = end.take(&bytes, 11);
        assert_eq!((end.heard.as_slice(), &end.fault), (&b"hello"[..], &None), "round {round}");
        assert_eq!(hear(&mut client, &answer), b"");
        end.heard.clear();
        let State::Open(open) = &mut end.tls.state else { panic!("not open") };
        open.renewal = open.tx.sequence();
        let mut sealed = Vec::new();
        end.tls.seal_into(b"world", &mut sealed).expect("a new secret");
        assert!(sealed.len() == 2 * (5 + 22), "no key update in front");
        assert_eq!(hear(&mut client, &sealed), b"world");
        let State::Open(open) = &mut end.tls.state else { panic!("not open") };
        open.renewal = RENEWAL;
        let mut buf = vec![7; 100];
        let record = end.tls.seal(&mut buf, 20..30).expect("room, and a fresh secret");
        assert_eq!(hear(&mut client, &buf[record]), [7; 10]);
    }
}

#[test]
fn in_tls_1_2_it_ends_with_its_key() {
    let (mut client, mut end) =
        connected(rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 100_000);
    let State::Open(open) = &mut end.tls.state else { panic!("not open") };
    open.renewal = open.tx.sequence() + 2;
    let mut sealed = Vec::new();
    end.tls.seal_into(b"last", &mut sealed).expect("two are left");
    let mut buf = vec![7; 100];
    let record = end.tls.seal(&mut buf, 20..30).expect("one is left");
    assert_eq!(
        hear(&mut client, &[&sealed, &buf[record]].concat()),
        b"last\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07"
    );
    assert_eq!(end.tls.seal(&mut buf, 20..30), None);
    for said in [true, false] {
        let mut sealed = Vec::new();
        end.tls.seal_into(b"more", &mut sealed).expect_err("none is left");
        assert_eq!(sealed.is_empty(), !said, "close_notify, once");
        assert_eq!(hear(&mut client, &sealed), b"");
    }
    assert!(client.process_new_packets().expect("good records").peer_has_closed());
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let (mut client, mut end) =
        connected(rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384, 100_000);
    for _ in 0..UPDATES_MAX {
        client.refresh_traffic_keys().expect("TLS 1.3");
        let bytes = flush(&mut client);
        end.take(&bytes, 100_000);
        assert_eq!(end.fault, None);
    }
    client.refresh_traffic_keys().expect("TLS 1.3");
    let bytes = flush(&mut client);
    end.take(&bytes, 100_000);
    assert_eq!(end.fault.as_deref(), Some("UnexpectedMessage"));
}

#[test]
fn what_comes_behind_a_record_is_not_taken_for_http() {
    let own = Own::make_for_tests();
    let said = b"\x15\x03\x01\x00\x02\x01\x50POST";
    for piece in [1, 7, 100] {
        let mut end = End::new(&own);
        assert_eq!(end.take(said, piece), b"", "in pieces of {piece}");
        assert_eq!((end.closed, &end.fault), (false, &None), "in pieces of {piece}");
    }
    for piece in [1, 100] {
        let mut end = End::new(&own);
        assert!(end.take(b"GET / HTTP/1.1", piece).starts_with(PLAIN_HTTP), "in pieces of {piece}");
    }
}

/// A record as it comes, what is done to it, and how it is refused.
type Case = (&'static str, fn(&mut Vec<u8>), &'static str);

#[test]
fn what_is_wrong_is_refused_with_an_alert() {
    let cases: [Case; 5] = [
        ("a flipped bit", |record| record[9] ^= 1, "BadRecordMac"),
        (
            "a record too long, at its header",
            |record| record[3..].copy_from_slice(&[0x41, 1, 0]),
            "RecordOverflow",
        ),
        ("no content type", |record| record[0] = 99, "UnexpectedMessage"),
        ("another protocol", |record| record[1] = 2, "UnexpectedMessage"),
        (
            "a record too short for its tag",
            |record| {
                record[3..5].copy_from_slice(&[0, 3]);
                record.truncate(8);
            },
            "BadRecordMac",
        ),
    ];
    for (why, spoil, fault) in cases {
        let (mut client, mut end) =
            connected(rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256, 100_000);
        client.writer().write_all(b"hel").expect("room");
        let mut bytes = flush(&mut client);
        if why.contains("header") {
            bytes.truncate(6);
        }
        spoil(&mut bytes);
        let answer = end.take(&bytes, 100_000);
        assert_eq!((end.fault.as_deref(), end.closed), (Some(fault), true), "{why}");
        client.read_tls(&mut answer.as_slice()).expect("from memory");
        let error = client.process_new_packets().expect_err("an alert");
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{why}: {error}");
        assert_eq!(end.take(b"anything", 100), b"", "{why}: nothing is heard any more");
    }
}

#[test]
fn renegotiation_is_refused() {
    let suite = rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let (_, mut end) = connected(suite, 100_000);
    let State::Open(open) = &mut end.tls.state else { panic!("not open") };
    let mut out = Vec::new();
    // A ClientHello under the keys of the connection; a HelloRequest would be no better.
    assert_eq!(open.update_keys(&[1, 0, 0, 0], TlsVersion::Tls12, &mut out), Err(Alert::NoRenegotiation));
    assert_eq!(out, b"");
}

#[test]
fn a_handshake_that_is_none_gets_an_alert() {
    let own = Own::make_for_tests();
    for bytes in [
        &b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..],
        b"\x17\x03\x03\x00\x01\x00",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ] {
        let mut end = End::new(&own);
        end.take(bytes, 100);
        assert!(end.fault.is_some() && end.closed, "{bytes:x?}");
    }
    let mut end = End::new(&own);
    let answer = end.take(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 100);
    assert_eq!(answer.first(), Some(&21), "no alert but {answer:x?}");
    // A flight that never ends is given up at a bound.
    let mut end = End::new(&own);
    let mut record = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff".to_vec();
    record.resize(5 + 16384, 0);
    for _ in 0..8 {
        end.take(&record, 100_000);
    }
    assert!(end.fault.is_some(), "{} bytes wait", end.carry.len());
}
