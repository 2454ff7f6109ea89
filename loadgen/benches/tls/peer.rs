//! An echo server that checks nothing, for plain connections and for TLS 1.3 on the same port.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use loadgen::protocol::handshake::acceptance;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

const LISTENER: Token = Token(usize::MAX);

/// A server's with a certificate of its own, which is the text, and a client's that trusts it.
fn make() -> (ServerConfig, ClientConfig, String) {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let certificate = CertificateDer::from(own.cert.der().to_vec());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a good one");
    let mut server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("they fit");
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client, own.cert.pem())
}

/// The configurations of two ends in one process.
pub fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let (server, client, _) = make();
    (Arc::new(server), Arc::new(client))
}

/// Writes its certificate to `path`, says where it listens, and serves until killed.
pub fn serve(path: &str) {
    let (config, _, pem) = make();
    std::fs::write(path, pem).expect("a file");
    let config = Arc::new(config);
    let _ = loadgen::host::procfs::allow_descriptors(1);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a listener");
    println!("{}", listener.local_addr().expect("an address"));
    let mut poll = Poll::new().expect("a poll");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("room");
    let mut events = Events::with_capacity(1024);
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, None).expect("events");
        for event in &events {
            if event.token() != LISTENER {
                let slot = &mut clients[event.token().0];
                if slot.as_mut().is_some_and(|client| client.turn(&mut buffer, &config).is_err()) {
                    *slot = None;
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.set_nodelay(true);
                let number = clients.iter().position(Option::is_none).unwrap_or(clients.len());
                poll.registry().register(&mut stream, Token(number), Interest::READABLE).expect("room");
                let client = Client { stream, tls: None, input: Vec::new(), open: false };
                match clients.get_mut(number) {
                    Some(slot) => *slot = Some(client),
                    None => clients.push(Some(client)),
                }
            }
        }
    }
}

struct Client {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// What is not yet a request or a frame.
    input: Vec<u8>,
    open: bool,
}

impl Client {
    /// Takes what has come, until nothing is left.
    fn turn(&mut self, buffer: &mut [u8], config: &Arc<ServerConfig>) -> Result<(), ()> {
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => return Err(()),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(()),
            };
            if !self.open && self.tls.is_none() && self.input.is_empty() && buffer[0] == 0x16 {
                self.tls = Some(Box::new(ServerConnection::new(config.clone()).map_err(drop)?));
            }
            let Some(tls) = &mut self.tls else {
                self.input.extend_from_slice(&buffer[..n]);
                let answer = answer(&mut self.input, &mut self.open);
                self.stream.write_all(&answer).map_err(drop)?;
                continue;
            };
            let mut records = &buffer[..n];
            while !records.is_empty() {
                tls.read_tls(&mut records).map_err(drop)?;
                tls.process_new_packets().map_err(drop)?;
                let mut plain = [0; 32 * 1024];
                while let Ok(n @ 1..) = tls.reader().read(&mut plain) {
                    self.input.extend_from_slice(&plain[..n]);
                }
            }
            let answer = answer(&mut self.input, &mut self.open);
            tls.writer().write_all(&answer).map_err(drop)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.stream).map_err(drop)?;
            }
        }
    }
}

/// The answer to what is whole in `input`, which is taken out of it.
fn answer(input: &mut Vec<u8>, open: &mut bool) -> Vec<u8> {
    let mut out = Vec::new();
    if !*open {
        if !input.ends_with(b"\r\n\r\n") {
            return out;
        }
        let head = String::from_utf8_lossy(input);
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        out.extend(acceptance(key).as_bytes());
        *open = true;
        input.clear();
        return out;
    }
    let mut at = 0;
    while let Some([first, second]) = input.get(at..at + 2) {
        let (len, head) = match second & 0x7F {
            126 => match input.get(at + 2..at + 4) {
                Some(len) => (usize::from(u16::from_be_bytes([len[0], len[1]])), 4),
                None => break,
            },
            len => (usize::from(len), 2),
        };
        let Some(rest) = input.get(at + head..at + head + 4 + len) else { break };
        out.push(*first);
        out.push(if head == 4 { 126 } else { len as u8 });
        out.extend_from_slice(&input[at + 2..at + head]);
        let (key, payload) = rest.split_at(4);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        at += head + 4 + len;
    }
    input.drain(..at);
    // An idle client keeps no buffer.
    if input.is_empty() {
        *input = Vec::new();
    }
    out
}
