//! TLS: handshakes that never end, records that are none, keys that are changed without end. A build with the feature `tls`.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{Scene, wait};
use crate::talk::{answer, request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use support::client::{BINARY, Client, FIN, SWITCHING, TEXT, frame, reply};

const TLS: &[&str] = &["--listen-tls", "127.0.0.1:0"];
const HASTY: &[&str] = &["--listen-tls", "127.0.0.1:0", "--handshake-timeout", "2"];

pub const CASES: &[Case] = &[
    Case::new(
        "TL01",
        "a ClientHello in segments of one byte, from 20 clients",
        "a ServerHello",
        "where the network cuts is nobody's business",
        |scene| {
            for _ in 0..20 {
                let mut client = Client::connect(address(scene));
                hello().iter().for_each(|byte| client.send([*byte]));
                client.expect(b"\x16\x03\x03");
                client.reset();
            }
        },
    )
    .args(TLS),
    Case::new(
        "TL02",
        "4,000 clients send half a ClientHello",
        "an end at the deadline",
        "the deadline is that of a request: TLS has none of its own",
        |scene| stall(scene, &hello()[..100], 4_000),
    )
    .args(HASTY)
    .memory(64),
    Case::new(
        "TL03",
        "2,000 clients send a ClientHello and nothing more",
        "a flight each, and an end at the deadline",
        "a signature is what a handshake costs, and it is made once",
        |scene| stall(scene, &hello(), 2_000),
    )
    .args(HASTY)
    .memory(64),
    Case::new(
        "TL04",
        "records that are none: too long, of no type, of another protocol, empty without end",
        "an alert, or nothing, and an end",
        "a record is refused at its header",
        |scene| {
            let empty = b"\x16\x03\x01\x00\x00".repeat(20_000);
            let switches = [hello(), b"\x14\x03\x03\x00\x01\x01".repeat(20_000)].concat();
            for said in [
                b"\x16\x03\x01\x7f\xff".to_vec(),
                b"\x63\x03\x01\x00\x05hello".to_vec(),
                b"\x16\x02\x00\x00\x05hello".to_vec(),
                b"\x17\x03\x03\x00\x05hello".to_vec(),
                empty,
                switches,
            ] {
                for _ in 0..20 {
                    let heard = answer(Client::connect(address(scene)), &said);
                    assert!(heard.is_empty() || matches!(heard[0], 0x15 | 0x16), "{}", heard.escape_ascii());
                }
            }
        },
    )
    .args(HASTY),
    Case::new(
        "TL05",
        "plain HTTP on the port of TLS, 500 times",
        "400, which says so",
        "who forgot the s is told",
        |scene| {
            for _ in 0..500 {
                let heard = answer(Client::connect(address(scene)), &request(""));
                assert!(heard.starts_with(b"HTTP/1.1 400 "), "{}", heard.escape_ascii());
            }
        },
    )
    .args(TLS),
    Case::new(
        "TL06",
        "20 clients change their keys without end",
        "an alert, and an end",
        "each change costs a derivation, and buys nothing",
        |scene| {
            for _ in 0..20 {
                let mut stream = open(scene);
                let flooded = (0..1_000).try_for_each(|_| {
                    stream.conn.refresh_traffic_keys().map_err(std::io::Error::other)?;
                    stream.flush()
                });
                let ended = flooded.and_then(|()| stream.read(&mut [0]));
                assert!(!matches!(ended, Ok(1)), "nothing was to be said: {ended:?}");
            }
        },
    )
    .args(TLS),
    Case::new(
        "TL07",
        "100 clients say something and leave without close_notify",
        "the echo, and an end",
        "a FIN is an end there, too",
        |scene| {
            for _ in 0..100 {
                let mut stream = open(scene);
                stream.write_all(&frame(FIN | TEXT, b"last")).expect("room");
                expect(&mut stream, &reply(FIN | TEXT, b"last"));
                stream.sock.shutdown(Shutdown::Write).expect("a socket");
                let end = stream.read(&mut [0]);
                let kind = end.as_ref().map_err(std::io::Error::kind);
                assert!(
                    matches!(kind, Ok(0) | Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)),
                    "{end:?}"
                );
            }
        },
    )
    .args(TLS),
    Case::new(
        "TL08",
        "100 clients are let in and send records under no key",
        "an alert, and an end",
        "what cannot be opened was not sent by the peer",
        |scene| {
            for _ in 0..100 {
                let mut stream = open(scene);
                let forged = [&b"\x17\x03\x03\x00\x40"[..], &[7; 64]].concat();
                stream.sock.write_all(&forged).expect("room");
                let end = stream.read(&mut [0]);
                assert!(!matches!(end, Ok(1)), "{end:?}");
            }
        },
    )
    .args(TLS),
    Case::new(
        "TL09",
        "100 clients send messages of 60 kB in TLS and never read",
        "they are read as long as there is room for their echo",
        "who does not read is not read from, and what is sealed for him is counted",
        |scene| {
            let message = frame(FIN | BINARY, &vec![7; 60_000]);
            let mut streams: Vec<_> = (0..100).map(|_| open(scene)).collect();
            for stream in &mut streams {
                stream.sock.set_nonblocking(true).expect("a socket");
                while stream.write_all(&message).is_ok() && stream.flush().is_ok() {}
            }
            wait("all are held", || scene.clients() == 101);
            assert!(scene.numbers()["buffered_bytes"] < 100e6);
        },
    )
    .args(TLS)
    .memory(96),
    Case::new(
        "TL10",
        "1,000 clients come, shake hands, speak, and leave with a reset",
        "their echo",
        "keys, tickets and buffers go with their connection",
        |scene| {
            for _ in 0..1_000 {
                let mut stream = open(scene);
                stream.write_all(&frame(FIN | TEXT, b"hello")).expect("room");
                expect(&mut stream, &reply(FIN | TEXT, b"hello"));
                Client { stream: stream.sock }.reset();
            }
        },
    )
    .args(TLS)
    .memory(16),
];

/// So many clients say that much of a handshake, and wait for its end.
fn stall(scene: &Scene, said: &[u8], count: usize) {
    let crowd = Crowd::start(address(scene), count, Part::saying(said));
    wait("all are held", || scene.clients() > count / 2 || crowd.gone() > 0);
    wait("what they cost is counted", || scene.numbers()["buffered_bytes"] > 2_000.0 * count as f64);
    wait("all are gone", || crowd.gone() == count);
}

/// Where the server speaks TLS.
pub fn address(scene: &Scene) -> SocketAddr {
    let line = scene.server.wait_for("TLS on ");
    let text = line.split("TLS on ").nth(1).and_then(|rest| rest.split(',').next());
    text.and_then(|text| text.parse().ok()).expect("an address")
}

/// A client in TLS 1.3 that trusts the authority that the server made, and is let in on `/echo`.
pub fn open(scene: &Scene) -> StreamOwned<ClientConnection, TcpStream> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).expect("tests/hostile/run sets it");
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(state.join("wsecho/ca.pem")).expect("the server made it");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, Client::connect(address(scene)).stream);
    stream.write_all(&request("")).expect("the server takes it");
    expect(&mut stream, SWITCHING.as_bytes());
    stream
}

fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).expect("an answer");
    assert_eq!(heard, bytes);
}

/// A ClientHello of TLS 1.3 (RFC 8446 section 4.1.2) for `localhost`, with the base point of X25519 for a key.
pub fn hello() -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &sized(body)].concat();
    let name = sized(&[&[0][..], &sized(b"localhost")].concat());
    let point: Vec<u8> = std::iter::once(9).chain([0; 31]).collect();
    let share = sized(&[&[0, 0x1D][..], &sized(&point)].concat());
    let extensions = [
        extension(0, &name),
        extension(10, &sized(&[0, 0x1D])),
        extension(13, &sized(&[4, 3, 8, 4, 4, 1])),
        extension(43, &[2, 3, 4]),
        extension(51, &share),
    ]
    .concat();
    let suites = sized(&[0x13, 1, 0x13, 2, 0x13, 3]);
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}
