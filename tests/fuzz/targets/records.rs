//! TLS records of an established connection, sealed by a client that keeps to no rule: whole and in pieces the server opens
//! what a plain reading of RFC 8446 sections 4.6.3, 5 and 6 says, ends where that says, and is heard by the client.
//!
//! The first byte is how the records are cut; then come commands of two bytes, what to send and how much of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::ConnectionState;
use rustls::{ClientConfig, ConnectionTrafficSecrets, RootCertStore};
use std::sync::{Arc, OnceLock};
use wsecho::tls::certificate::{Identity, Own};
use wsecho::tls::connection::Tls;

/// A server that may be asked for so many key updates without data between them.
const UPDATES_MAX: usize = 16;

struct Setup {
    server: Arc<wsecho::tls::ServerConfig>,
    client: Arc<ClientConfig>,
}

fn setup() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| {
        let server = Identity::default().load().expect("a certificate of our own").config;
        let own = Own::find().expect("it was made");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(own.authority.as_bytes()).expect("PEM")).expect("an authority");
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Setup { server, client: Arc::new(client) }
    })
}

/// One direction's key, from the RFC and from nothing of the server's (sections 5.2 and 5.3).
struct Seal {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Seal {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Seal {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("16 bytes"));
        Seal { key, iv: iv.as_ref().try_into().expect("12 bytes"), sequence }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, part)| *byte ^= part);
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record of this content type, with so many bytes of padding.
    fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = [content, &[kind], &vec![0; padding]].concat();
        let [high, low] = ((inner.len() + 16) as u16).to_be_bytes();
        let header = [23, 3, 3, high, low];
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).expect("room");
        [&header[..], &inner].concat()
    }

    /// Content type and content of the record at the front of `records`, which is taken off.
    fn open(&mut self, records: &mut &[u8]) -> (u8, Vec<u8>) {
        let (header, rest) = records.split_first_chunk::<5>().expect("whole records");
        let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
        *records = rest;
        let (mut body, nonce) = (body.to_vec(), self.nonce());
        let inner = self.key.open_in_place(nonce, Aad::from(header), &mut body).expect("sealed for this client");
        let end = inner.iter().rposition(|byte| *byte != 0).expect("a content type");
        (inner[end], inner[..end].to_vec())
    }
}

struct Client {
    kernel: KernelConnection<ClientConnectionData>,
    tx: Seal,
    rx: Seal,
}

/// A server's end with its buffer, and all that came of it.
struct Server {
    tls: Tls,
    carry: Vec<u8>,
    heard: Vec<u8>,
    out: Vec<u8>,
    closed: bool,
    fault: Option<String>,
}

impl Server {
    fn take(&mut self, piece: &[u8]) {
        if self.closed {
            return;
        }
        self.carry.extend_from_slice(piece);
        let end = self.carry.len();
        let opened = self.tls.open(&mut self.carry, 0..0, 0..end, &mut self.out);
        self.heard.extend_from_slice(&self.carry[opened.plain]);
        self.carry.drain(..opened.rest.start);
        self.closed = opened.closed;
        self.fault = opened.fault;
    }
}

/// Shakes hands.
fn connected() -> (Client, Server) {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut rustls = UnbufferedClientConnection::new(setup().client.clone(), name).expect("a client");
    let tls = Tls::new(setup().server.clone()).expect("a configuration");
    let mut server =
        Server { tls, carry: Vec::new(), heard: Vec::new(), out: Vec::new(), closed: false, fault: None };
    loop {
        let mut incoming = std::mem::take(&mut server.out);
        let (mut at, mut outgoing, mut is_done) = (0, Vec::new(), false);
        loop {
            let status = rustls.process_tls_records(&mut incoming[at..]);
            let discard = status.discard;
            match status.state.expect("a good server") {
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = [0; 4096];
                    let size = data.encode(&mut room).expect("short messages");
                    outgoing.extend_from_slice(&room[..size]);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(_) => {
                    is_done = true;
                    break;
                }
                ConnectionState::BlockedHandshake => break,
                state => panic!("{state:?}"),
            }
            at += discard;
        }
        server.take(&outgoing);
        if is_done {
            break;
        }
    }
    let (secrets, kernel) = rustls.dangerous_into_kernel_connection().expect("nothing waits");
    let mut client = Client { kernel, tx: Seal::new(secrets.tx), rx: Seal::new(secrets.rx) };
    // Tickets, if any.
    client.hears(&std::mem::take(&mut server.out));
    (client, server)
}

/// What a server owes for the records so far.
#[derive(Default)]
struct Owed {
    heard: Vec<u8>,
    closed: bool,
    is_fault: bool,
    updates: usize,
}

impl Client {
    /// Content that the server sent as data; its key updates are followed.
    fn hears(&mut self, mut records: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        while !records.is_empty() {
            match self.rx.open(&mut records) {
                (23, content) => heard.extend(content),
                (22, content) if content == [24, 0, 0, 1, 0] => {
                    self.rx = Seal::new(self.kernel.update_rx_secret().expect("TLS 1.3"));
                }
                (21 | 22, _) => {}
                other => panic!("{other:?}"),
            }
        }
        heard
    }

    /// The records of one command, and what the server owes for them.
    fn says(&mut self, what: u8, size: u8, owed: &mut Owed) -> Vec<u8> {
        let update = |client: &mut Client, asks: u8| {
            let record = client.tx.seal(22, &[24, 0, 0, 1, asks], 0);
            client.tx = Seal::new(client.kernel.update_tx_secret().expect("TLS 1.3"));
            record
        };
        let fails = |owed: &mut Owed, record| {
            (owed.closed, owed.is_fault) = (true, true);
            record
        };
        let content = vec![size; usize::from(size)];
        match what % 16 {
            0..=3 => {
                owed.heard.extend(&content);
                // Nothing is no data.
                owed.updates *= usize::from(size == 0);
                self.tx.seal(23, &content, usize::from(what / 16))
            }
            4 => {
                let content = vec![size; 16_384 - usize::from(size % 2)];
                owed.heard.extend(&content);
                owed.updates = 0;
                self.tx.seal(23, &content, 0)
            }
            5 | 6 => {
                owed.updates += 1;
                let record = update(self, size % 2);
                if owed.updates > UPDATES_MAX { fails(owed, record) } else { record }
            }
            7 => {
                owed.closed = true;
                self.tx.seal(21, &[1, 0], 0)
            }
            8 => {
                let record = self.tx.seal(21, &[2, size], 0);
                // close_notify, whatever its level says.
                if size == 0 { owed.closed = true; record } else { fails(owed, record) }
            }
            9 => {
                let record = self.tx.seal(22, &content, 0);
                fails(owed, record)
            }
            10 => {
                let record = self.tx.seal(20, &[1], 0);
                fails(owed, record)
            }
            11 => {
                let mut record = self.tx.seal(23, &content, 1);
                let at = 5 + usize::from(size) % (record.len() - 5);
                record[at] ^= 1;
                fails(owed, record)
            }
            12 => {
                let record = self.tx.seal(size.max(24), &content, 0);
                fails(owed, record)
            }
            13 => fails(owed, [23, 3, 3, 0x41, 1 | size].to_vec()),
            14 => fails(owed, [size % 23, 3, 3, 0, 1, 0].to_vec()),
            _ => {
                // Nothing but padding is no content type (section 5.4).
                let record = self.tx.seal(0, &[], usize::from(size));
                fails(owed, record)
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [cut, commands @ ..] = data else { return };
    for piece in [usize::MAX, usize::from(*cut).max(1)] {
        let (mut client, mut server) = connected();
        let (mut owed, mut said) = (Owed::default(), Vec::new());
        for command in commands.chunks_exact(2).take(200) {
            if owed.closed {
                break;
            }
            said.extend(client.says(command[0], command[1], &mut owed));
        }
        said.chunks(piece).for_each(|piece| server.take(piece));
        assert!(server.heard == owed.heard, "{} bytes heard, and {} said", server.heard.len(), owed.heard.len());
        assert_eq!((server.closed, server.fault.is_some()), (owed.closed, owed.is_fault), "{:?}", server.fault);
        let mut out = std::mem::take(&mut server.out);
        server.tls.seal_into(b"and the answer", &mut out).expect("far from the last record");
        let answer: &[u8] = if owed.is_fault { b"" } else { b"and the answer" };
        assert_eq!(client.hears(&out), answer);
    }
});
