//! The record layer of an established connection, in place: a record is opened where it was read, and what is said is
//! sealed where it stands (RFC 8446 section 5, RFC 5246 section 6.2.3.3, RFC 5288, RFC 7905).
//!
//! rustls makes the handshake, and would make the records too; but its buffers cost three times the memory of a plain idle
//! connection, and a copy and an allocation a record. An echo needs neither: what it answers is never longer than the frames
//! that it answers, so that the record they came in has room for it.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};
use std::ops::Range;

/// Type, version and length in front of every record.
pub const HEADER: usize = 5;
/// Most bytes of content in a record (RFC 8446 section 5.1).
pub const CONTENT_MAX: usize = 16 * 1024;
/// Most bytes behind the header: TLS 1.2 allows 2,048 more than the content, TLS 1.3 256.
const fn body_max(version: TlsVersion) -> usize {
    match version {
        TlsVersion::Tls12 => CONTENT_MAX + 2048,
        TlsVersion::Tls13 => CONTENT_MAX + 256,
    }
}
/// Most bytes that one record has, whatever its version: what may lie waiting for its end.
pub const RECORD_MAX: usize = HEADER + body_max(TlsVersion::Tls12);
const EXPLICIT: usize = 8;
const TAG: usize = 16;

/// What a record holds (RFC 8446 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// Means nothing in TLS 1.3.
    ChangeCipherSpec = 20,
    /// An [`Alert`], the end or a fault.
    Alert = 21,
    /// Part of a handshake, or what follows one.
    Handshake = 22,
    /// What the other side says.
    Data = 23,
}

impl Content {
    /// By its number; `None` for those that nobody sends.
    pub fn of(byte: u8) -> Option<Content> {
        match byte {
            20 => Some(Content::ChangeCipherSpec),
            21 => Some(Content::Alert),
            22 => Some(Content::Handshake),
            23 => Some(Content::Data),
            _ => None,
        }
    }
}

/// How a record is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// rustls' word for it.
    pub fn of(version: ProtocolVersion) -> TlsVersion {
        if version == ProtocolVersion::TLSv1_3 { TlsVersion::Tls13 } else { TlsVersion::Tls12 }
    }
}

/// Why a record is refused; each is an alert of RFC 8446 section 6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alert {
    /// The end.
    CloseNotify = 0,
    /// Out of turn.
    UnexpectedMessage = 10,
    /// It cannot be opened with our keys.
    BadRecordMac = 20,
    /// It is too long.
    RecordOverflow = 22,
    /// Our own trouble.
    InternalError = 80,
    /// A second handshake, which TLS 1.2 would have.
    NoRenegotiation = 100,
}

impl Alert {
    /// The bytes of its message. `close_notify` is a warning in TLS 1.2 (RFC 5246 section 7.2.1), everything else ends the
    /// connection.
    pub fn message(self) -> [u8; 2] {
        [if self == Alert::CloseNotify { 1 } else { 2 }, self as u8]
    }
}

/// One whole record at the front of `input`, header included, or `None` until it is there. Refused at its header.
pub fn first_record(input: &[u8], version: TlsVersion) -> Result<Option<Range<usize>>, Alert> {
    let Some(header) = input.first_chunk::<HEADER>() else { return Ok(None) };
    if Content::of(header[0]).is_none() || header[1] != 3 {
        return Err(Alert::UnexpectedMessage);
    }
    let size = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if size > body_max(version) {
        return Err(Alert::RecordOverflow);
    }
    let end = HEADER + size;
    Ok((input.len() >= end).then_some(0..end))
}

/// The keys of one direction.
///
/// The expanded ones take over 500 bytes, so a connection that is silent gives them up, and makes them again from the secret
/// when it wakes.
pub struct Keys {
    secret: ConnectionTrafficSecrets,
    expanded: Option<Box<LessSafeKey>>,
    /// Records so far under this secret.
    sequence: u64,
    version: TlsVersion,
}

impl std::fmt::Debug for Keys {
    /// Nothing of the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("sequence", &self.sequence).field("version", &self.version).finish()
    }
}

impl Keys {
    /// From what rustls gives.
    pub fn new((sequence, secret): (u64, ConnectionTrafficSecrets), version: TlsVersion) -> Keys {
        Keys { secret, expanded: None, sequence, version }
    }

    /// Records so far under this secret.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The cipher's own tables are in memory.
    pub fn is_expanded(&self) -> bool {
        self.expanded.is_some()
    }

    /// Gives up what can be made again.
    pub fn contract(&mut self) {
        self.expanded = None;
    }

    /// Bytes in front of the content of a sealed record: the header, and in TLS 1.2 with AES-GCM a nonce.
    pub fn front(&self) -> usize {
        HEADER + self.explicit()
    }

    /// Bytes behind the content of a sealed record: the content type that TLS 1.3 hides there, and the tag.
    pub fn behind(&self) -> usize {
        TAG + usize::from(self.version == TlsVersion::Tls13)
    }

    /// Bytes of nonce that every record carries.
    fn explicit(&self) -> usize {
        match (self.version, &self.secret) {
            (TlsVersion::Tls12, ConnectionTrafficSecrets::Chacha20Poly1305 { .. })
            | (TlsVersion::Tls13, _) => 0,
            (TlsVersion::Tls12, _) => EXPLICIT,
        }
    }

    fn iv(&self) -> [u8; aead::NONCE_LEN] {
        let iv = match &self.secret {
            ConnectionTrafficSecrets::Aes128Gcm { iv, .. }
            | ConnectionTrafficSecrets::Aes256Gcm { iv, .. }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { iv, .. } => iv.as_ref(),
            _ => &[],
        };
        iv.try_into().unwrap_or_default()
    }

    /// The nonce of the next record (RFC 8446 section 5.3): the sequence number over the secret's own.
    fn nonce(&self) -> [u8; aead::NONCE_LEN] {
        let mut nonce = self.iv();
        for (byte, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }

    fn key(&mut self) -> Result<&LessSafeKey, Alert> {
        if self.expanded.is_none() {
            let (algorithm, key) = match &self.secret {
                ConnectionTrafficSecrets::Aes128Gcm { key, .. } => (&aead::AES_128_GCM, key),
                ConnectionTrafficSecrets::Aes256Gcm { key, .. } => (&aead::AES_256_GCM, key),
                ConnectionTrafficSecrets::Chacha20Poly1305 { key, .. } => (&aead::CHACHA20_POLY1305, key),
                _ => return Err(Alert::InternalError),
            };
            let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Alert::InternalError)?;
            self.expanded = Some(Box::new(LessSafeKey::new(key)));
        }
        self.expanded.as_deref().ok_or(Alert::InternalError)
    }

    /// Opens a whole record, header included, in place: what it is, and where in `record` its content stands.
    pub fn open(&mut self, record: &mut [u8]) -> Result<(Content, Range<usize>), Alert> {
        let front = self.front();
        if record.len() < front + TAG {
            return Err(Alert::BadRecordMac);
        }
        let mut nonce = self.nonce();
        if self.explicit() > 0 {
            nonce[4..].copy_from_slice(&record[HEADER..front]);
        }
        let (header, body) = record.split_at_mut(front);
        let head = self.additional(header[0], header, body.len() - TAG);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = match head {
            Additional::Tls12(aad) => self.key()?.open_in_place(nonce, Aad::from(aad), body),
            Additional::Tls13(aad) => self.key()?.open_in_place(nonce, Aad::from(aad), body),
        };
        let size = plain.map_err(|_| Alert::BadRecordMac)?.len();
        self.sequence = self.sequence.checked_add(1).ok_or(Alert::InternalError)?;
        let (content, size) = match self.version {
            TlsVersion::Tls12 => (record[0], size),
            TlsVersion::Tls13 => {
                // The content type stands before the padding; a record of zeros alone has none.
                let Some(at) = record[front..front + size].iter().rposition(|byte| *byte != 0) else {
                    return Err(Alert::UnexpectedMessage);
                };
                (record[front + at], at)
            }
        };
        if size > CONTENT_MAX {
            return Err(Alert::RecordOverflow);
        }
        Ok((Content::of(content).ok_or(Alert::UnexpectedMessage)?, front..front + size))
    }

    /// Seals `buf[content]` where it stands, at most [`CONTENT_MAX`] bytes of it; where the record stands then. The caller
    /// leaves [`front`](Keys::front) bytes before it and [`behind`](Keys::behind) after it.
    pub fn seal(
        &mut self,
        buf: &mut [u8],
        content: Range<usize>,
        kind: Content,
    ) -> Result<Range<usize>, Alert> {
        let (explicit, nonce) = (self.explicit(), self.nonce());
        let start = content.start - self.front();
        let mut end = content.end;
        let outer = match self.version {
            TlsVersion::Tls12 => kind,
            TlsVersion::Tls13 => {
                buf[end] = kind as u8;
                end += 1;
                Content::Data
            }
        };
        let size = explicit + (end - content.start) + TAG;
        buf[start] = outer as u8;
        buf[start + 1..start + 3].copy_from_slice(&[3, 3]);
        buf[start + 3..start + HEADER].copy_from_slice(&(size as u16).to_be_bytes());
        buf[start + HEADER..content.start].copy_from_slice(&nonce[aead::NONCE_LEN - explicit..]);
        let (header, body) = buf[start..end + TAG].split_at_mut(content.start - start);
        let head = self.additional(outer as u8, header, end - content.start);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (body, tag) = body.split_at_mut(end - content.start);
        let sealed = match head {
            Additional::Tls12(aad) => self.key()?.seal_in_place_separate_tag(nonce, Aad::from(aad), body),
            Additional::Tls13(aad) => self.key()?.seal_in_place_separate_tag(nonce, Aad::from(aad), body),
        };
        tag.copy_from_slice(sealed.map_err(|_| Alert::InternalError)?.as_ref());
        self.sequence = self.sequence.checked_add(1).ok_or(Alert::InternalError)?;
        Ok(start..end + TAG)
    }

    /// What is authenticated beside the content.
    fn additional(&self, kind: u8, header: &[u8], content: usize) -> Additional {
        match self.version {
            TlsVersion::Tls13 => Additional::Tls13([header[0], header[1], header[2], header[3], header[4]]),
            TlsVersion::Tls12 => {
                let mut aad = [0; 13];
                aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
                aad[8..11].copy_from_slice(&[kind, 3, 3]);
                aad[11..].copy_from_slice(&(content as u16).to_be_bytes());
                Additional::Tls12(aad)
            }
        }
    }
}

enum Additional {
    Tls12([u8; 13]),
    Tls13([u8; HEADER]),
}
