//! TLS in front of the servers of these tests. Where `LOADGEN_TEST_TLS` is set they are reached through this, so that every
//! test there is can be run over TLS as well: `LOADGEN_TEST_TLS=1 cargo test -p loadgen --test truth --test modes`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection};

/// The certificate of all of them, which the file is of, too.
static IDENTITY: LazyLock<(Arc<ServerConfig>, PathBuf)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let file = super::scratch("front.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), file)
});

/// Where a client reaches what is at `address`: a URL without its path.
pub fn reach(address: SocketAddr) -> String {
    if std::env::var_os("LOADGEN_TEST_TLS").is_none() {
        return format!("ws://{address}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // A client that goes away is no fault of the server's.
            thread::spawn(move || drop(serve(stream, address)));
        }
    });
    format!("wss://{front}")
}

/// What `line` needs beside, where it goes through this.
pub fn trust(line: &str) -> Vec<String> {
    let is_through = std::env::var_os("LOADGEN_TEST_TLS").is_some() && line.contains("wss://");
    let file = is_through.then(|| IDENTITY.1.display().to_string());
    file.into_iter().flat_map(|file| ["--cacert".to_owned(), file]).collect()
}

/// Passes on what comes, in both directions, until both have ended.
fn serve(sealed: TcpStream, behind: SocketAddr) -> io::Result<()> {
    let plain = TcpStream::connect(behind)?;
    sealed.set_nodelay(true)?;
    plain.set_nodelay(true)?;
    let tls = Arc::new(Mutex::new(ServerConnection::new(IDENTITY.0.clone()).map_err(io::Error::other)?));
    let (answers, from, to) = (tls.clone(), plain.try_clone()?, sealed.try_clone()?);
    let back = thread::spawn(move || seal(&answers, from, to));
    let there = open(&tls, &sealed, &plain);
    let _ = plain.shutdown(if there.is_ok() { Shutdown::Write } else { Shutdown::Both });
    let _ = back.join();
    there
}

fn open(tls: &Mutex<ServerConnection>, mut sealed: &TcpStream, mut plain: &TcpStream) -> io::Result<()> {
    let (mut bytes, mut content) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let count = sealed.read(&mut bytes)?;
        let mut rest = &bytes[..count];
        if count == 0 {
            return Ok(());
        }
        while !rest.is_empty() {
            let mut tls = tls.lock().unwrap();
            tls.read_tls(&mut rest)?;
            let state = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut sealed)?;
            }
            let has_closed = state.map_err(io::Error::other)?.peer_has_closed();
            let mut size = 0;
            while let Ok(count @ 1..) = tls.reader().read(&mut content[size..]) {
                size += count;
            }
            drop(tls);
            plain.write_all(&content[..size])?;
            if has_closed {
                return Ok(());
            }
        }
    }
}

fn seal(tls: &Mutex<ServerConnection>, mut plain: TcpStream, mut sealed: TcpStream) {
    let mut bytes = vec![0; 16_384];
    let mut pass = |content: Option<&[u8]>| -> io::Result<()> {
        let mut tls = tls.lock().unwrap();
        match content {
            Some(content) => tls.writer().write_all(content)?,
            None => tls.send_close_notify(),
        }
        while tls.wants_write() {
            tls.write_tls(&mut sealed)?;
        }
        Ok(())
    };
    while let Ok(count @ 1..) = plain.read(&mut bytes) {
        if pass(Some(&bytes[..count])).is_err() {
            break;
        }
    }
    let _ = pass(None);
    let _ = sealed.shutdown(Shutdown::Write);
}
