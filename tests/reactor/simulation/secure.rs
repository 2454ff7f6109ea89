//! A client's TLS, as its system has it: rustls opens what arrives in the kernel, and the client is told of it when it takes it.

use crate::secure::{Authority, Client};
use fastrand::Rng;
use rustls::version::{TLS12, TLS13};
use std::collections::VecDeque;

/// One client's end.
pub struct Secure {
    client: Client,
    is_13: bool,
    /// Plaintext, and how many bytes of the server have to be taken for it.
    opened: VecDeque<(usize, Vec<u8>)>,
    /// What TLS itself has to say, and how many bytes of the server have to be taken before.
    owed: VecDeque<(usize, Vec<u8>)>,
    /// What of that is due.
    due: VecDeque<Vec<u8>>,
    /// Key updates that it may still make: more of them in a row would be a flood.
    updates: u8,
    /// It has said that it sends no more.
    pub is_mute: bool,
}

impl Secure {
    pub fn new(rng: &mut Rng, authority: &Authority) -> Secure {
        let is_13 = rng.u8(..4) > 0;
        let mut client = authority.client(&[if is_13 { &TLS13 } else { &TLS12 }]);
        let due = VecDeque::from([client.flush()]);
        Secure {
            client,
            is_13,
            opened: VecDeque::new(),
            owed: VecDeque::new(),
            due,
            updates: 12,
            is_mute: false,
        }
    }

    /// The server has written `bytes`, which are the last of `written`; what is in them.
    pub fn arrives(&mut self, bytes: &[u8], written: usize) -> Result<Vec<u8>, String> {
        let plain = self.client.hear(bytes).map_err(|error| error.to_string())?;
        if !plain.is_empty() {
            self.opened.push_back((written, plain.clone()));
        }
        let answer = self.client.flush();
        if !answer.is_empty() {
            self.owed.push_back((written, answer));
        }
        Ok(plain)
    }

    /// The client has taken so many bytes; what it reads in them.
    pub fn takes(&mut self, taken: usize) -> Vec<u8> {
        while self.owed.front().is_some_and(|(at, _)| *at <= taken) {
            self.due.extend(self.owed.pop_front().map(|(_, answer)| answer));
        }
        let mut plain = Vec::new();
        while self.opened.front().is_some_and(|(at, _)| *at <= taken) {
            plain.extend(self.opened.pop_front().into_iter().flat_map(|(_, part)| part));
        }
        plain
    }

    /// What TLS has to say next; whether the client itself may speak, where that is nothing.
    pub fn says(&mut self, rng: &mut Rng, is_leaving: bool) -> Result<Vec<u8>, bool> {
        if self.is_mute {
            return Err(false);
        }
        if let Some(flight) = self.due.pop_front() {
            return Ok(flight);
        }
        let is_shaken = self.is_shaken();
        if is_shaken && !is_leaving && self.is_13 && self.updates > 0 && rng.u8(..40) == 0 {
            self.updates -= 1;
            self.client.tls.refresh_traffic_keys().expect("TLS 1.3");
            return Ok(self.client.flush());
        }
        Err(is_shaken)
    }

    /// Whether the handshake is over, as far as the client knows.
    fn is_shaken(&self) -> bool {
        !self.client.tls.is_handshaking() && self.owed.is_empty() && self.due.is_empty()
    }

    /// Whether it could say that it sends no more.
    pub fn may_close(&self) -> bool {
        !self.is_mute && self.is_shaken()
    }

    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.client.seal(plain)
    }

    /// That it sends no more.
    pub fn close(&mut self) -> Vec<u8> {
        self.is_mute = true;
        self.client.tls.send_close_notify();
        self.client.flush()
    }
}
