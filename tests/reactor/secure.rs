//! TLS under the tick, over a kernel that is made up: the client's end is rustls's own.
//!
//! Where rustls draws random numbers (keys, nonces of the handshake) no two runs are the same; nothing here depends on them:
//! records have the same lengths whatever they hide.

mod client;
mod ends;
mod faults;
mod memory;

pub use client::{Authority, Client};

use crate::machine::Server;
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::reactor::config::Config;

pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A server with TLS, and one client of it.
pub struct Talk {
    pub server: Server,
    pub client: Client,
    /// Bytes of the server that the client has heard.
    taken: usize,
}

impl Talk {
    /// A client that has come, and said the first of the handshake in as many bytes as are given.
    pub fn begin(
        authority: &Authority,
        client: Client,
        change: impl FnOnce(&mut Config),
        first: usize,
    ) -> Talk {
        let mut talk = Talk { server: authority.server(change), client, taken: 0 };
        let hello = talk.client.flush();
        let first = first.min(hello.len());
        talk.server.come(0, 1, &hello[..first]);
        talk.settle();
        if first < hello.len() {
            talk.say_raw(&hello[first..], hello.len());
        }
        talk
    }

    /// A client with which the handshake is over.
    pub fn shaken(authority: &Authority, client: Client, change: impl FnOnce(&mut Config)) -> Talk {
        let mut talk = Talk::begin(authority, client, change, usize::MAX);
        talk.shake(usize::MAX);
        talk
    }

    /// A client with a WebSocket.
    pub fn open(authority: &Authority, client: Client, change: impl FnOnce(&mut Config)) -> Talk {
        let mut talk = Talk::shaken(authority, client, change);
        assert_eq!(talk.exchange(REQUEST.as_bytes(), usize::MAX), ANSWER.as_bytes());
        talk
    }

    /// Goes on with the handshake, in pieces of so many bytes.
    pub fn shake(&mut self, piece: usize) {
        for _ in 0..4 {
            let answer = self.take();
            assert_eq!(self.client.hear(&answer).expect("a good handshake"), b"");
            let flight = self.client.flush();
            self.say_raw(&flight, piece);
            if !self.client.tls.is_handshaking() && !self.client.tls.wants_write() {
                return;
            }
        }
        panic!("no end of the handshake");
    }

    /// Puts bytes on the wire, in pieces of so many, each of which is read by itself.
    pub fn say_raw(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece.min(bytes.len().max(1))) {
            if self.server.peer(0).gone {
                return;
            }
            self.server.say(0, piece);
            self.settle();
        }
    }

    /// Says `plain`, in pieces of the records it makes; what is heard then.
    pub fn exchange(&mut self, plain: &[u8], piece: usize) -> Vec<u8> {
        let sealed = self.client.seal(plain);
        self.say_raw(&sealed, piece);
        self.hear()
    }

    /// What the server has said since it was asked last, opened.
    pub fn hear(&mut self) -> Vec<u8> {
        let bytes = self.take();
        let heard = self.client.hear(&bytes).expect("good records");
        let answer = self.client.flush();
        self.say_raw(&answer, usize::MAX);
        heard
    }

    /// The same as it is on the wire.
    pub fn take(&mut self) -> Vec<u8> {
        let peer = self.server.peer(0);
        let bytes = peer.heard[self.taken..].to_vec();
        drop(peer);
        self.taken += bytes.len();
        bytes
    }

    /// Gives the server rounds until it has nothing left to do.
    pub fn settle(&mut self) {
        while self.server.machine.borrow().events() > 0 || self.server.machine.borrow().peers.is_empty() {
            self.server.tick();
        }
        for _ in 0..4 {
            self.server.tick();
        }
    }

    /// Lets so many milliseconds pass.
    pub fn wait(&mut self, milliseconds: u64) {
        let until = self.server.machine.borrow().now + std::time::Duration::from_millis(milliseconds);
        for _ in 0..100_000 {
            if self.server.machine.borrow().now >= until {
                return;
            }
            let before = self.server.machine.borrow().now;
            self.server.tick();
            let mut machine = self.server.machine.borrow_mut();
            if machine.now == before {
                machine.now += std::time::Duration::from_millis(1);
            }
        }
        panic!("time does not pass");
    }
}

pub fn text(payload: &[u8]) -> Vec<u8> {
    masked(0x81, KEY, payload)
}
