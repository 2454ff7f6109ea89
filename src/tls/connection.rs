//! One connection's TLS: rustls makes the handshake, and then hands over the secrets.
//!
//! Knows no socket and no clock. Ciphertext comes in, in a buffer of the caller's; plaintext stands there afterwards, and
//! what TLS itself has to say is appended to a buffer that goes out before any reply.

use super::record::{self, Alert, CONTENT_MAX, Content, HEADER, Keys, RECORD_MAX, TlsVersion};
use rustls::ProtocolVersion;
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use std::ops::Range;
use std::sync::Arc;

/// Most bytes of a handshake that wait for the rest of a message: a chain of client certificates has some 10 KB.
const FLIGHT_MAX: usize = 32 * 1024;
/// Key updates in a row, with no byte of data between them, that a peer may ask for; each costs a derivation, and buys it nothing.
const UPDATES_MAX: u32 = 16;
/// Bytes that rustls has allocated for a handshake in which our flight has gone out; 2.5 KB are before that.
const HANDSHAKE_MEMORY: usize = 4 * 1024;
/// KeyUpdate that asks for none in return (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// To who speaks HTTP where TLS was to come.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 50\r\nConnection: close\r\n\r\n\
    this port speaks TLS: use https:// here, or wss://";
/// Records under one secret after which it is renewed, or in TLS 1.2 the connection ended: the limit of AES-GCM
/// (RFC 8446 section 5.5) with room to spare for what is under way.
const RENEWAL: u64 = (1 << 24) - (1 << 16);

/// The state of one connection's TLS.
#[derive(Debug)]
pub struct Tls {
    state: State,
    /// Why there is no way on.
    fault: Option<Box<str>>,
}

enum State {
    Handshake(Box<Handshake>),
    Open(Box<Open>),
    /// A fault, or the end: nothing is opened any more.
    Over,
}

struct Handshake {
    rustls: UnbufferedServerConnection,
    /// Bytes at the front of what waits that rustls has seen, and wants to see again: a message whose end is to come.
    shown: usize,
    /// A record has been taken: what follows is TLS, or nothing.
    begun: bool,
}

struct Open {
    rx: Keys,
    tx: Keys,
    secrets: KernelConnection<ServerConnectionData>,
    /// Key updates since a byte of data came last.
    updates: u32,
    renewal: u64,
    /// The peer has said that it sends no more.
    is_deaf: bool,
    /// We have.
    is_mute: bool,
    /// Its expanded keys are on the list of those that may be given up.
    is_listed: bool,
}

impl std::fmt::Debug for State {
    /// Nothing of the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Handshake(_) => "Handshake",
            State::Open(_) => "Open",
            State::Over => "Over",
        })
    }
}

/// What became of ciphertext.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Plaintext, in one piece; what was handed in as such is at its front.
    pub plain: Range<usize>,
    /// The beginning of a record whose end is still to come: to be handed in again.
    pub rest: Range<usize>,
    /// The handshake has just been completed.
    pub established: bool,
    /// The peer sends no more (close_notify), or what it sends is not heard any more.
    pub closed: bool,
    /// Why it is not heard any more; the alert that says so is among the bytes to send.
    pub fault: Option<String>,
}

impl Tls {
    /// # Errors
    /// What rustls finds wrong with the configuration.
    pub fn new(config: Arc<ServerConfig>) -> Result<Tls, rustls::Error> {
        let rustls = UnbufferedServerConnection::new(config)?;
        let state = State::Handshake(Box::new(Handshake { rustls, shown: 0, begun: false }));
        Ok(Tls { state, fault: None })
    }

    /// Bytes that an unfinished handshake has allocated: rustls does not say, and so it is the most that was measured.
    pub fn handshake_memory(&self) -> usize {
        if matches!(self.state, State::Handshake(_)) { HANDSHAKE_MEMORY } else { 0 }
    }

    /// The handshake is over.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the peer has said that it sends no more. Behind a fault there is no such end: what comes is passed over.
    pub fn has_peer_left(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.is_deaf)
    }

    /// Whether an end of one side says nothing of the other (RFC 8446 section 6.1).
    pub fn has_half_ends(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.secrets.protocol_version() == ProtocolVersion::TLSv1_3)
    }

    /// Notes why there is no way on.
    pub fn set_fault(&mut self, fault: Option<String>) {
        if fault.is_some() {
            self.fault = fault.map(String::into_boxed_str);
        }
    }

    /// Why there is no way on.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Bytes on the wire beyond the content of one record.
    pub fn overhead(&self) -> u32 {
        match &self.state {
            State::Open(open) => (open.tx.front() + open.tx.behind()) as u32,
            _ => 0,
        }
    }

    /// Version and suite, for people.
    pub fn agreed(&self) -> Option<String> {
        let State::Open(open) = &self.state else { return None };
        let suite = open.secrets.negotiated_cipher_suite().suite();
        Some(format!("{:?} {:?}", open.secrets.protocol_version(), suite))
    }

    /// Opens the records in `buf[input]`, which lies behind the plaintext `plain` that an earlier call left.
    ///
    /// The content of the first record is moved only if there is such plaintext; further ones join it. What the protocol
    /// itself has to say (the handshake, alerts, key updates) is appended to `out`, and has to be sent before anything that
    /// is sealed from now on.
    pub fn open(
        &mut self,
        buf: &mut [u8],
        plain: Range<usize>,
        input: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Opened {
        let mut opened = Opened { plain, rest: input, established: false, closed: false, fault: None };
        if let State::Handshake(handshake) = &self.state
            && !handshake.begun
            && buf[opened.rest.clone()].first().is_some_and(u8::is_ascii_uppercase)
        {
            // The beginning of a request line, where the first byte of a handshake is 22.
            out.extend_from_slice(PLAIN_HTTP);
            opened.fault = Some("plain HTTP on a TLS port".to_owned());
        }
        if let State::Handshake(_) = self.state
            && opened.fault.is_none()
        {
            self.shake_hands(buf, &mut opened, out);
        }
        if let State::Open(open) = &mut self.state
            && let Err(alert) = open.take_records(buf, &mut opened, out)
        {
            opened.fault = Some(format!("{alert:?}"));
            open.say(Content::Alert, &alert.message(), out);
        }
        if opened.fault.is_some() {
            self.state = State::Over;
        }
        if opened.closed || matches!(self.state, State::Over) {
            opened.closed = true;
            opened.rest.start = opened.rest.end;
        }
        opened
    }

    /// Goes on with the handshake as far as the records in `opened.rest` reach, and no further: what comes behind it is for
    /// the keys that come out of it.
    fn shake_hands(&mut self, buf: &mut [u8], opened: &mut Opened, out: &mut Vec<u8>) {
        let State::Handshake(handshake) = &mut self.state else { return };
        let (rustls, from) = (&mut handshake.rustls, opened.rest.start);
        // `rest.start..shown` is what rustls sees: whole records, the last of them new to it.
        let mut shown = opened.rest.start + handshake.shown;
        let result = loop {
            let UnbufferedStatus { discard, state, .. } =
                rustls.process_tls_records(&mut buf[opened.rest.start..shown]);
            let mut is_blocked = false;
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(out, |room| data.encode(room));
                    Ok(false)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(false)
                }
                Ok(ConnectionState::BlockedHandshake) => {
                    is_blocked = true;
                    Ok(false)
                }
                Ok(ConnectionState::WriteTraffic(_)) => Ok(true),
                Ok(_) => Err("the peer left in the handshake".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            opened.rest.start += discard;
            match step {
                Ok(false) => {}
                done => break done,
            }
            if is_blocked {
                // rustls never sees a header that is none, nor a record before its end.
                match record::first_record(&buf[shown..opened.rest.end], TlsVersion::Tls12) {
                    _ if shown - opened.rest.start > FLIGHT_MAX => break Err("a flight too long".to_owned()),
                    Ok(Some(next)) => shown += next.end,
                    Ok(None) => break Ok(false),
                    Err(alert) => {
                        out.extend_from_slice(&[Content::Alert as u8, 3, 3, 0, 2]);
                        out.extend_from_slice(&alert.message());
                        break Err(format!("{alert:?}"));
                    }
                }
            }
        };
        handshake.shown = shown - opened.rest.start;
        handshake.begun |= handshake.shown > 0 || opened.rest.start > from;
        match result {
            Ok(false) => {}
            Ok(true) => self.hand_over(opened),
            Err(fault) => {
                // The alert that rustls has for it.
                let seen = opened.rest.start..shown;
                if let Ok(ConnectionState::EncodeTlsData(mut data)) =
                    rustls.process_tls_records(&mut buf[seen]).state
                {
                    encode(out, |room| data.encode(room));
                }
                opened.fault = Some(fault);
                self.state = State::Over;
            }
        }
    }

    /// The handshake is over: its buffers go, the secrets stay.
    fn hand_over(&mut self, opened: &mut Opened) {
        let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Over) else { return };
        match handshake.rustls.dangerous_into_kernel_connection() {
            Ok((extracted, secrets)) => {
                let version = TlsVersion::of(secrets.protocol_version());
                let (rx, tx) = (Keys::new(extracted.rx, version), Keys::new(extracted.tx, version));
                self.state = State::Open(Box::new(Open {
                    rx,
                    tx,
                    secrets,
                    updates: 0,
                    renewal: RENEWAL,
                    is_deaf: false,
                    is_mute: false,
                    is_listed: false,
                }));
                opened.established = true;
            }
            Err(error) => opened.fault = Some(error.to_string()),
        }
    }

    /// Seals `buf[content]` where it stands: where the records are then. What is longer than one record is moved apart by what
    /// stands between two of them. `None` where `buf` has no room for that, or a new secret is due: see
    /// [`seal_into`](Tls::seal_into).
    pub fn seal(&mut self, buf: &mut [u8], content: Range<usize>) -> Option<Range<usize>> {
        let State::Open(open) = &mut self.state else { return None };
        let count = content.len().div_ceil(CONTENT_MAX).max(1);
        let (front, behind) = (open.tx.front(), open.tx.behind());
        let between = front + behind;
        let fits = content.start >= front
            && content.end + (count - 1) * between + behind <= buf.len()
            && open.tx.sequence() + (count as u64) <= open.renewal;
        if !fits {
            return None;
        }
        let piece = |at: usize| {
            let start = content.start + at * CONTENT_MAX;
            start..content.end.min(start + CONTENT_MAX)
        };
        for at in (1..count).rev() {
            buf.copy_within(piece(at), piece(at).start + at * between);
        }
        let mut records = content.start - front..content.start;
        for at in 0..count {
            let Range { start, end } = piece(at);
            let record = open.tx.seal(buf, start + at * between..end + at * between, Content::Data).ok()?;
            records.end = record.end;
        }
        Some(records)
    }

    /// Appends the records of `content` to `out`.
    ///
    /// # Errors
    /// Nothing more can be sealed: in TLS 1.2 no secret follows one that has sealed what it may. That it is the end, is in `out`.
    pub fn seal_into(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        for piece in content.chunks(CONTENT_MAX) {
            if !open.has_secret(out) {
                self.close(out);
                return Err("as many records as one key may seal");
            }
            open.say(Content::Data, piece, out);
        }
        Ok(())
    }

    /// Appends the alert that says that no more will be said (RFC 8446 section 6.1).
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let State::Open(open) = &mut self.state
            && !open.is_mute
        {
            open.say(Content::Alert, &Alert::CloseNotify.message(), out);
            open.is_mute = true;
        }
    }

    /// Whether keys are expanded, which takes a kilobyte, and are not on the list of those that may be given up; they are on
    /// it then.
    pub fn lists_keys(&mut self) -> bool {
        let State::Open(open) = &mut self.state else { return false };
        let is_new = !open.is_listed && (open.rx.is_expanded() || open.tx.is_expanded());
        open.is_listed |= is_new;
        is_new
    }

    /// Gives up the expanded keys; they are made again when they are needed.
    pub fn contract(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.rx.contract();
            open.tx.contract();
            open.is_listed = false;
        }
    }
}

impl Open {
    /// Opens whole records, and joins their contents behind `opened.plain`.
    fn take_records(&mut self, buf: &mut [u8], opened: &mut Opened, out: &mut Vec<u8>) -> Result<(), Alert> {
        let version = TlsVersion::of(self.secrets.protocol_version());
        while !self.is_deaf
            && let Some(record) = record::first_record(&buf[opened.rest.clone()], version)?
        {
            let record = opened.rest.start + record.start..opened.rest.start + record.end;
            opened.rest.start = record.end;
            let (kind, content) = self.rx.open(&mut buf[record.clone()])?;
            let content = record.start + content.start..record.start + content.end;
            match kind {
                Content::Data => {
                    if !content.is_empty() {
                        self.updates = 0;
                    }
                    join(buf, &mut opened.plain, content);
                }
                Content::Alert => {
                    // Every alert but this one ends the connection as well (RFC 8446 section 6.2).
                    self.is_deaf = true;
                    if buf[content.clone()] != Alert::CloseNotify.message() && buf[content.clone()] != [2, 0]
                    {
                        opened.fault = Some(format!("alert {:?}", &buf[content]));
                    }
                }
                Content::Handshake => self.update_keys(&buf[content], version, out)?,
                Content::ChangeCipherSpec => return Err(Alert::UnexpectedMessage),
            }
        }
        opened.closed = self.is_deaf;
        Ok(())
    }

    /// A handshake message after the handshake: a KeyUpdate that ends its record, and nothing else
    /// (RFC 8446 section 4.6.3; clients send no tickets, and renegotiation is not to be had).
    fn update_keys(&mut self, message: &[u8], version: TlsVersion, out: &mut Vec<u8>) -> Result<(), Alert> {
        if version == TlsVersion::Tls12 {
            return Err(Alert::NoRenegotiation);
        }
        let [24, 0, 0, 1, wants_ours @ (0 | 1)] = *message else { return Err(Alert::UnexpectedMessage) };
        self.updates += 1;
        if self.updates > UPDATES_MAX {
            return Err(Alert::UnexpectedMessage);
        }
        let secret = self.secrets.update_rx_secret().map_err(|_| Alert::InternalError)?;
        self.rx = Keys::new(secret, version);
        if wants_ours == 1 && !self.is_mute {
            self.renew(out)?;
        }
        Ok(())
    }

    /// Tells the peer of a new secret, and takes it.
    fn renew(&mut self, out: &mut Vec<u8>) -> Result<(), Alert> {
        self.say(Content::Handshake, &KEY_UPDATE, out);
        let secret = self.secrets.update_tx_secret().map_err(|_| Alert::InternalError)?;
        self.tx = Keys::new(secret, TlsVersion::Tls13);
        Ok(())
    }

    /// Takes a new secret where one is due; whether there is one.
    fn has_secret(&mut self, out: &mut Vec<u8>) -> bool {
        let is_due = self.tx.sequence() >= self.renewal;
        !is_due
            || TlsVersion::of(self.secrets.protocol_version()) == TlsVersion::Tls13 && self.renew(out).is_ok()
    }

    /// Appends one record to `out`; nothing behind the end that was said.
    fn say(&mut self, kind: Content, content: &[u8], out: &mut Vec<u8>) {
        if self.is_mute {
            return;
        }
        let start = out.len();
        out.resize(start + self.tx.front(), 0);
        out.extend_from_slice(content);
        let end = out.len();
        out.resize(end + self.tx.behind(), 0);
        match self.tx.seal(out, end - content.len()..end, kind) {
            Ok(record) => out.truncate(record.end),
            Err(_) => out.truncate(start),
        }
    }
}

/// Moves `content` behind `plain`, unless nothing is there yet: then it is left where it stands.
fn join(buf: &mut [u8], plain: &mut Range<usize>, content: Range<usize>) {
    if plain.start == plain.end {
        *plain = content;
        return;
    }
    let end = plain.end + content.len();
    buf.copy_within(content, plain.end);
    plain.end = end;
}

/// Appends what `encode` writes into the room that it asks for.
fn encode(out: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match encode(&mut out[start..]) {
            Ok(size) => return out.truncate(start + size),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(_) => return out.truncate(start),
        }
    }
}

const _: () = assert!(RECORD_MAX > HEADER + CONTENT_MAX);

#[cfg(test)]
mod tests;
