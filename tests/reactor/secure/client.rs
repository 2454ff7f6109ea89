//! Who the clients of a server in TLS are, and whom they trust.

use crate::machine::Server;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::allocator;
use wsecho::reactor::config::Config;
use wsecho::reactor::listener::Role;
use wsecho::tls::certificate::{Identity, Service};

/// A certificate for `localhost`, what a server shows of it, and what its clients trust.
pub struct Authority {
    pub service: Service,
    root: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Authority {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Its signatures always have the same length.
        let signing_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        parameters.serial_number = Some(1.into());
        let made = parameters.self_signed(&signing_key).expect("a certificate");
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secure-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let files = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&files.0, made.pem()).expect("room");
        fs::write(&files.1, signing_key.serialize_pem()).expect("room");
        let identity = Identity { files: Some(files), ..Identity::default() };
        let service = identity.load().expect("a good certificate");
        fs::remove_dir_all(&folder).expect("it is ours");
        Authority { service, root: made.der().clone() }
    }

    /// A server in TLS with nobody there.
    pub fn server(&self, change: impl FnOnce(&mut Config)) -> Server {
        allocator::counted(|| {
            let mut server = Server::new(&[Role::SecureEcho], change);
            server.reactor.show(Some(self.service.clone()));
            server
        })
    }

    /// A client that speaks these versions.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        Client { tls: ClientConnection::new(Arc::new(config), name).expect("a client") }
    }
}

/// A client's end of TLS.
pub struct Client {
    pub tls: ClientConnection,
}

impl Client {
    /// What it has to say by itself: the handshake, alerts.
    pub fn flush(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("into memory");
        }
        bytes
    }

    /// The records of `plain`.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in plain.chunks(16_384) {
            self.tls.writer().write_all(piece).expect("room");
            bytes.append(&mut self.flush());
        }
        bytes
    }

    /// The content of records.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("from memory");
            self.tls.process_new_packets()?;
            let mut part = [0; 65_536];
            while let Ok(count @ 1..) = self.tls.reader().read(&mut part) {
                heard.extend_from_slice(&part[..count]);
            }
        }
        Ok(heard)
    }
}
