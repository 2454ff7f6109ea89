//! What a connection in TLS costs, to the byte: everything that the server allocates for it, and nothing of the test.

use super::{Authority, Client, KEY};
use rustls::server::UnbufferedServerConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, SupportedProtocolVersion};
use support::allocator::{self, counted};
use support::wire::{ANSWER, REQUEST, masked};

/// So many keep their expanded keys; and twice as many clients, of whom half does. Powers of two: no list has room to spare.
const EXPANDED: usize = 1_024;
const CLIENTS: usize = 2 * EXPANDED;
/// In use, that is with expanded keys; and idle.
const BUSY_MAX: usize = 2_400;
const IDLE_MAX: usize = 1_200;

/// Who connects, by turns: everybody says what it has to say when the server has answered everybody.
struct Crowd {
    server: crate::machine::Server,
    clients: Vec<Client>,
    taken: Vec<usize>,
    heard: Vec<Vec<u8>>,
}

impl Crowd {
    /// Clients who have said the first of the handshake, and are answered.
    fn begin(authority: &Authority, count: usize, version: &'static SupportedProtocolVersion) -> Crowd {
        let server = authority.server(|_| {});
        let clients: Vec<Client> = (0..count).map(|_| authority.client(&[version])).collect();
        let mut crowd = Crowd { server, clients, taken: vec![0; count], heard: vec![Vec::new(); count] };
        for at in 0..count {
            let hello = crowd.clients[at].flush();
            crowd.server.come(0, 1, &hello);
        }
        while crowd.server.machine.borrow().peers.len() < count {
            crowd.server.tick();
        }
        crowd.settle();
        crowd
    }

    /// Gives the server rounds until it has done everything: newcomers come in slices.
    fn settle(&mut self) {
        let mut still = 0;
        while still < 3 {
            let before = self.server.work().calls();
            self.server.tick();
            still = if self.server.work().calls() == before { still + 1 } else { 0 };
        }
    }

    /// The clients hear what there is, and say what that makes them say, and `plain`.
    fn exchange(&mut self, plain: &[u8]) {
        for at in 0..self.clients.len() {
            let bytes = self.server.peer(at).heard[self.taken[at]..].to_vec();
            self.taken[at] += bytes.len();
            let heard = self.clients[at].hear(&bytes).expect("good records");
            self.heard[at].extend(heard);
            let mut says = self.clients[at].flush();
            if !self.clients[at].tls.is_handshaking() {
                says.append(&mut self.clients[at].seal(plain));
            }
            if !says.is_empty() {
                self.server.say(at, &says);
            }
        }
        self.settle();
    }

    fn shake(&mut self) {
        while self.clients.iter().any(|client| client.tls.is_handshaking()) {
            self.exchange(b"");
        }
    }
}

/// Bytes that the server holds with so many clients, each of whom has had an echo.
fn each(authority: &Authority, count: usize, version: &'static SupportedProtocolVersion) -> (usize, Crowd) {
    let before = allocator::live();
    let mut crowd = Crowd::begin(authority, count, version);
    crowd.shake();
    crowd.exchange(REQUEST.as_bytes());
    crowd.exchange(&masked(0x81, KEY, b"hello"));
    crowd.exchange(b"");
    let expected = [ANSWER.as_bytes(), b"\x81\x05hello"].concat();
    assert!(crowd.heard.iter().all(|heard| *heard == expected));
    ((allocator::live() - before) as usize, crowd)
}

#[test]
fn a_connection_in_use_and_one_that_is_idle_cost_what_they_may() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        // Of so few all keep their keys.
        let (few, crowd) = each(&authority, 128, version);
        drop(crowd);
        let (all, crowd) = each(&authority, EXPANDED, version);
        drop(crowd);
        let busy = (all - few) / (EXPANDED - 128);
        let (more, mut crowd) = each(&authority, CLIENTS, version);
        let idle = (more - all) / (CLIENTS - EXPANDED);
        println!("{:?}: {busy} B in use, {idle} B idle", version.version);
        assert!(busy <= BUSY_MAX, "{:?}: {busy} bytes in use", version.version);
        assert!(idle <= IDLE_MAX, "{:?}: {idle} bytes idle", version.version);
        // Whoever was idle speaks again as if nothing had been.
        let says = crowd.clients[0].seal(&masked(0x81, KEY, b"again"));
        crowd.server.say(0, &says);
        crowd.settle();
        crowd.exchange(b"");
        assert!(crowd.heard[0].ends_with(b"\x81\x05again"));
    }
}

/// What rustls alone takes for a handshake whose first flight was answered.
fn rustls_alone(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    is_buffered: bool,
) -> usize {
    let hello = authority.client(&[version]).flush();
    let config = authority.service.config.clone();
    let before = allocator::live();
    if is_buffered {
        let tls = counted(|| {
            let mut tls = ServerConnection::new(config).expect("a configuration");
            tls.read_tls(&mut &hello[..]).expect("from memory");
            tls.process_new_packets().expect("a good hello");
            let mut out = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut out).expect("into memory");
            }
            tls
        });
        let size = size_of_val(&tls);
        let taken = (allocator::live() - before) as usize + size;
        counted(|| drop(tls));
        return taken;
    }
    let (tls, size) = counted(|| {
        let mut tls = UnbufferedServerConnection::new(config).expect("a configuration");
        let mut incoming = hello.clone();
        let mut used = 0;
        loop {
            let status = tls.process_tls_records(&mut incoming[used..]);
            used += status.discard;
            match status.state.expect("a good hello") {
                rustls::unbuffered::ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = vec![0; 16_384];
                    data.encode(&mut room).expect("room");
                }
                rustls::unbuffered::ConnectionState::TransmitTlsData(data) => data.done(),
                _ => break,
            }
        }
        let size = size_of_val(&tls);
        (tls, size)
    });
    let taken = (allocator::live() - before) as usize + size;
    counted(|| drop(tls));
    taken
}

#[test]
fn a_handshake_takes_little_more_than_rustls_alone() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let counted_crowd = |count| {
            let before = allocator::live();
            let crowd = Crowd::begin(&authority, count, version);
            ((allocator::live() - before) as usize, crowd)
        };
        let (few, crowd) = counted_crowd(50);
        drop(crowd);
        let (many, crowd) = counted_crowd(250);
        drop(crowd);
        let ours = (many - few) / 200;
        let (unbuffered, buffered) =
            (rustls_alone(&authority, version, false), rustls_alone(&authority, version, true));
        println!(
            "{:?}: {ours} B in a handshake; rustls alone {unbuffered} B, with its buffers {buffered} B",
            version.version
        );
        assert!(ours * 100 <= unbuffered * 115, "{:?}: {ours} bytes, of {unbuffered}", version.version);
    }
}
