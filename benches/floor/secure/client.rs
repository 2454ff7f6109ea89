//! The closed-loop client in TLS. rustls shakes hands and checks the first answer; then its keys seal what is sent, and of what
//! comes the records are counted, not opened, so that the client stays ahead of the server. To a server without TLS it does the
//! same work, and sends what it has not sealed: a client that is slower lets a server sleep more often, which costs it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore};
use socket2::{Domain, Socket, Type};

use crate::client::Script;

/// A server this silent is broken, and the bench ends with an error rather than hang.
const SILENCE_MS: u16 = 5_000;
/// Type, version and length in front of a record; content type and tag behind it.
const HEADER: usize = 5;
const BEHIND: usize = 17;

/// An error of somebody else's as one of ours.
pub fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

pub struct Client {
    server: SocketAddr,
    script: Script,
    /// None for a server without TLS.
    config: Option<Arc<ClientConfig>>,
    epoll: Epoll,
    links: Vec<Link>,
    events: Vec<EpollEvent>,
    sink: Vec<u8>,
}

struct Link {
    socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    /// The batch at hand, sealed, and how much of what is to be sent was.
    sealed: Vec<u8>,
    is_plain: bool,
    sent: usize,
    /// The header of the record at hand, as far as it has come, and what of its body is to come.
    header: Vec<u8>,
    left: usize,
    /// Content of whole records.
    received: usize,
}

/// Of a client that trusts this authority, for sessions of their own with one suite, whose secrets come out.
pub fn configuration(authority: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(other)?).map_err(other)?;
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

impl Client {
    /// For a server in TLS that shows a certificate of this authority.
    pub fn sealed(server: SocketAddr, script: Script, authority: &Path) -> io::Result<Client> {
        Client::new(server, script, Some(configuration(authority)?))
    }

    /// For a server without TLS.
    pub fn plain(server: SocketAddr, script: Script) -> io::Result<Client> {
        Client::new(server, script, None)
    }

    fn new(server: SocketAddr, script: Script, config: Option<Arc<ClientConfig>>) -> io::Result<Client> {
        Ok(Client {
            server,
            script,
            config,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            links: Vec::new(),
            events: vec![EpollEvent::empty(); 1024],
            sink: vec![0; 256 * 1024],
        })
    }

    /// Opens connections until there are `count`; each has had its batch answered when this returns.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        while self.links.len() < count {
            let link = self.connect()?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            self.epoll.add(&link.socket, EpollEvent::new(flags, self.links.len() as u64))?;
            self.links.push(link);
        }
        Ok(())
    }

    /// Opens `count` connections, one echo each, and closes them all, with a RST.
    pub fn come_and_go(&mut self, count: usize) -> io::Result<u64> {
        self.open(count)?;
        self.links.clear();
        Ok(count as u64)
    }

    fn connect(&self) -> io::Result<Link> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Four source addresses, as without TLS.
        let source = Ipv4Addr::new(127, 0, 0, 1 + (self.links.len() % 4) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(SILENCE_MS.into())))?;
        socket.connect(&self.server.into())?;
        let mut socket = TcpStream::from(socket);
        let mut tls = match &self.config {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(other)?;
                let mut tls = ClientConnection::new(config.clone(), name).map_err(other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(tls)
            }
        };
        let mut exchange = |plain: &[u8], is_all: &dyn Fn(&[u8]) -> bool| match &mut tls {
            None => exchange(&mut socket, plain, is_all),
            Some(tls) => exchange(&mut rustls::Stream::new(tls, &mut socket), plain, is_all),
        };
        if let Some(upgrade) = self.script.upgrade {
            let answer = exchange(upgrade, &|heard| heard.ends_with(b"\r\n\r\n"))?;
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err(io::Error::other("the upgrade was refused"));
            }
        }
        let expected = &self.script.answer;
        let answer = exchange(&self.script.batch, &|heard| heard.len() >= expected.len())?;
        if answer != *expected {
            return Err(io::Error::other("the answer is not the echo"));
        }
        socket.set_nonblocking(true)?;
        let is_plain = tls.is_none();
        let (sequence, key, iv) = match tls {
            None => (0, vec![7; 32], [0; 12]),
            Some(tls) => match tls.dangerous_extract_secrets().map_err(other)?.tx {
                (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) => {
                    (sequence, key.as_ref().to_vec(), iv.as_ref().try_into().map_err(other)?)
                }
                _ => return Err(io::Error::other("another suite")),
            },
        };
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(other)?;
        Ok(Link {
            socket,
            key: LessSafeKey::new(key),
            iv,
            sequence,
            sealed: Vec::new(),
            is_plain,
            sent: 0,
            header: Vec::new(),
            left: 0,
            received: 0,
        })
    }

    /// Keeps every connection busy for `time`, lets the last answers come, and says how many messages went round.
    pub fn run(&mut self, time: Duration) -> io::Result<u64> {
        for link in &mut self.links {
            link.start(&self.script.batch)?;
        }
        let end = Instant::now() + time;
        let (mut batches, mut busy) = (0, self.links.len());
        while busy > 0 {
            let ready = self.epoll.wait(&mut self.events, SILENCE_MS)?;
            if ready == 0 {
                return Err(io::Error::other(format!("{} said nothing for {SILENCE_MS} ms", self.server)));
            }
            let is_over = Instant::now() >= end;
            for at in 0..ready {
                let link = &mut self.links[self.events[at].data() as usize];
                link.send(&self.script.batch)?;
                if !link.receive(&mut self.sink, self.script.answer.len())? {
                    continue;
                }
                batches += 1;
                if is_over {
                    busy -= 1;
                } else {
                    link.start(&self.script.batch)?;
                }
            }
        }
        Ok(batches * self.script.messages)
    }
}

/// Says `plain`, and hears until it `is_all`.
fn exchange(
    stream: &mut (impl Read + Write),
    plain: &[u8],
    is_all: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    stream.write_all(plain)?;
    stream.flush()?;
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    while !is_all(&heard) {
        match stream.read(&mut part)? {
            0 => return Err(io::Error::other("the server closed a connection")),
            count => heard.extend_from_slice(&part[..count]),
        }
    }
    Ok(heard)
}

impl Link {
    /// Seals a batch, and sends what the kernel takes of it.
    fn start(&mut self, batch: &[u8]) -> io::Result<()> {
        self.sealed.clear();
        self.sent = 0;
        self.received = 0;
        for piece in batch.chunks(16_384) {
            let mut nonce = self.iv;
            for (byte, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
                *byte ^= part;
            }
            self.sequence += 1;
            let size = (piece.len() + BEHIND) as u16;
            let header = [23, 3, 3, size.to_be_bytes()[0], size.to_be_bytes()[1]];
            self.sealed.extend_from_slice(&header);
            let start = self.sealed.len();
            self.sealed.extend_from_slice(piece);
            self.sealed.push(23);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self
                .key
                .seal_in_place_separate_tag(nonce, Aad::from(header), &mut self.sealed[start..])
                .map_err(other)?;
            self.sealed.extend_from_slice(tag.as_ref());
        }
        self.send(batch)
    }

    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        let bytes = if self.is_plain { batch } else { &self.sealed };
        while self.sent < bytes.len() {
            match self.socket.write(&bytes[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts the content of what has come; true when that was the last of an answer of so many bytes.
    fn receive(&mut self, sink: &mut [u8], expected: usize) -> io::Result<bool> {
        let was_complete = self.received >= expected;
        match self.socket.read(sink) {
            Ok(0) => return Err(io::Error::other("the server closed a connection")),
            Ok(count) if self.is_plain => self.received += count,
            Ok(count) => self.walk(&sink[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.received > expected {
            return Err(io::Error::other("the answer is longer than the echo"));
        }
        Ok(!was_complete && self.received == expected)
    }

    fn walk(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
                if self.left == 0 {
                    let size = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                    self.received += size - BEHIND;
                    self.header.clear();
                }
                continue;
            }
            let count = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.header.len() == HEADER {
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }
}
