//! What a connection in TLS takes of memory, to the byte: all that is allocated for it, and its place among the others.

#[expect(dead_code, reason = "peaks are for other tests")]
#[path = "../../tests/support/allocator.rs"]
mod allocator;

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use allocator::{Counting, counted, live, uncounted};
use loadgen::engine::connection::Connection;
use loadgen::engine::network::{Network, Readiness};
use loadgen::engine::transport::{Input, Kind, Transport};
use loadgen::host::address::Address;
use loadgen::host::clock::Moment;
use loadgen::host::tls_config::{Options, Version};
use loadgen::protocol::tls::{Buffers, Tls};
use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A connection may take so many.
const MOST: usize = 4_000;

/// A server that sends back what comes, at the other end of no wire.
struct Server(ServerConnection);

impl Network for Server {
    type Socket = ();

    fn now(&mut self) -> Moment {
        Moment(0)
    }

    fn wait(&mut self, _until: Option<Moment>, _ready: &mut Vec<Readiness>) -> io::Result<()> {
        Ok(())
    }

    fn connect(&mut self, _connection: usize, _target: &Address, _source: Option<IpAddr>) -> io::Result<()> {
        Ok(())
    }

    fn connected(&mut self, _socket: &mut ()) -> io::Result<bool> {
        Ok(true)
    }

    fn read(&mut self, _socket: &mut (), mut buffer: &mut [u8]) -> io::Result<usize> {
        uncounted(|| match self.0.wants_write() {
            true => self.0.write_tls(&mut buffer),
            false => Err(ErrorKind::WouldBlock.into()),
        })
    }

    fn write(&mut self, _socket: &mut (), bytes: &[u8]) -> io::Result<usize> {
        uncounted(|| {
            let mut rest = bytes;
            while !rest.is_empty() {
                self.0.read_tls(&mut rest)?;
                self.0.process_new_packets().map_err(io::Error::other)?;
                let mut plain = [0; 4096];
                if let Ok(count) = self.0.reader().read(&mut plain) {
                    self.0.writer().write_all(&plain[..count])?;
                }
            }
            Ok(bytes.len())
        })
    }

    fn tell_again(&mut self, _connection: usize, _socket: &mut ()) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self, _socket: (), _reset: bool) {}
}

/// Shakes hands and has an echo; what is allocated then is the transport's.
fn converse(server: &mut Server, options: &Options, buffers: &mut Buffers) -> Transport<()> {
    let config = uncounted(|| options.config().unwrap());
    let name = options.name("127.0.0.1").unwrap();
    let mut transport = Transport::new(Some(()));
    transport.secure(server, buffers, Tls::new(&config, name).unwrap()).unwrap();
    // Kept, as every run keeps it.
    uncounted(|| std::mem::forget(config));
    let mut scratch = uncounted(|| vec![0; 65_536]);
    let mut is_sent = false;
    loop {
        let input = transport.read(server, &mut scratch, 65_536, buffers);
        match input {
            Ok(Input::Bytes { count: 5, .. }) => break,
            Ok(Input::Bytes { .. }) | Err(_) => {}
            Ok(Input::Ended) => panic!("the server has gone"),
        }
        if transport.tls().unwrap().is_established() && !is_sent {
            is_sent = transport.send(server, b"hello", Kind::Message, buffers).unwrap();
        }
    }
    uncounted(|| drop(scratch));
    transport
}

#[test]
fn a_connection_in_tls_takes_what_it_may() {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = own.cert.der();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let mut buffers = Buffers::default();
    for (version, name) in [(Version::Tls12, "TLS 1.2"), (Version::Tls13, "TLS 1.3")] {
        let options = Options { insecure: true, version: Some(version), ..Options::default() };
        // After the first connection the thread's buffers are there.
        for is_first in [true, false] {
            let mut server = Server(ServerConnection::new(config.clone()).unwrap());
            let before = live();
            let transport = counted(|| converse(&mut server, &options, &mut buffers));
            let bytes = (live() - before) as usize + size_of::<Connection<TcpStream>>();
            counted(|| drop(transport));
            if !is_first {
                println!("{name}: {bytes} B, of which {} are the server's certificate", certificate.len());
                assert!(bytes <= MOST, "{name}: {bytes} bytes");
            }
        }
    }
}
