//! What rustls's buffered API costs in a plain loop: the plain echo, with a `ServerConnection` between its two calls.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};

use super::other;

/// One read, and one wait's worth of events, as in the plain echo.
const SCRATCH: usize = 256 * 1024;
const EVENTS: usize = 1024;

struct Connection {
    socket: TcpStream,
    tls: ServerConnection,
    /// What the kernel would not take.
    unsent: Vec<u8>,
}

/// Of a server with the certificate in `folder`.
pub fn configuration(folder: &Path) -> io::Result<Arc<ServerConfig>> {
    let chain = [folder.join("cert.pem"), folder.join("ca.pem")];
    let chain: Result<Vec<_>, _> = chain.iter().map(CertificateDer::from_pem_file).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(other)?, key)
        .map_err(other)?;
    Ok(Arc::new(config))
}

/// Serves 127.0.0.1 on a free port until killed, with the certificate in `folder`; says on stderr which.
pub fn run(folder: &Path) -> io::Result<()> {
    let config = configuration(folder)?;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_tcp_nodelay(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    eprintln!("listening on {}", listener.local_addr()?);

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let (mut scratch, mut plain) = (vec![0; SCRATCH], vec![0; SCRATCH]);
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == u64::MAX {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    let tls = ServerConnection::new(config.clone()).map_err(other)?;
                    let slot = connections.iter().position(Option::is_none).unwrap_or(connections.len());
                    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                    epoll.add(&socket, EpollEvent::new(flags, slot as u64))?;
                    let connection = Some(Connection { socket, tls, unsent: Vec::new() });
                    if slot == connections.len() {
                        connections.push(connection);
                    } else {
                        connections[slot] = connection;
                    }
                }
                continue;
            }
            let slot = &mut connections[event.data() as usize];
            if slot.as_mut().is_some_and(|each| each.turn(&mut scratch, &mut plain).is_err()) {
                *slot = None;
            }
        }
    }
}

impl Connection {
    /// One read and one write, again only while the scratch comes back full. An error is the end, EOF too.
    fn turn(&mut self, scratch: &mut [u8], plain: &mut [u8]) -> io::Result<()> {
        loop {
            self.send()?;
            if !self.unsent.is_empty() {
                return Ok(());
            }
            let count = match self.socket.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut bytes = &scratch[..count];
            while !bytes.is_empty() {
                self.tls.read_tls(&mut bytes)?;
                self.tls.process_new_packets().map_err(other)?;
                while let Ok(size @ 1..) = self.tls.reader().read(plain) {
                    self.tls.writer().write_all(&plain[..size])?;
                }
            }
            self.send()?;
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
