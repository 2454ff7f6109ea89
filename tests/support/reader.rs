//! A client's side of the echo: what it is owed for what it sent, and whether the server's bytes say that and no more.

use std::collections::VecDeque;
use wsecho::proto::limits::{TEXT_MAX, WHOLE_MAX};

/// The bodies of Close frames that a server may send at any time.
const DISMISSALS: [&[u8]; 3] = [b"\x03\xE9idle", b"\x03\xE9server stopping", b"\x03\xF5memory is short"];

/// Something the server has to say.
#[derive(Debug, Clone)]
pub enum Owed {
    /// This frame and no other: `first` is the byte with FIN and opcode.
    Frame { first: u8, payload: Vec<u8> },
    /// This text, in fragments of 32 KiB and more if it is longer than 1 MiB, the last of them with the FIN of `first`. Only `good` bytes
    /// of it are UTF-8; when that is not all, what was begun is never finished.
    Text { first: u8, payload: Vec<u8>, good: usize },
}

/// Reads what a server sends, however it is cut, against what it owes.
#[derive(Debug, Default)]
pub struct Reader {
    owed: VecDeque<Owed>,
    unread: Vec<u8>,
    /// Bytes of the [`Owed::Text`] in front that have come.
    text_at: usize,
    /// Body of the server's Close frame.
    closed: Option<Vec<u8>>,
    pings: usize,
    fragments: bool,
}

impl Reader {
    /// Notes that the server owes this, behind everything it owed before.
    pub fn owe(&mut self, owed: Owed) {
        self.owed.push_back(owed);
    }

    /// Takes the next bytes of the server.
    ///
    /// A Close that tells it to go and empty Pings may come between any two frames; whether one was called for, the caller asks
    /// [`Self::closed`] and [`Self::pings`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((first, body)) = split_frame(&self.unread[at..])? {
            let payload = self.unread[at + body.start..at + body.end].to_vec();
            self.frame(first, &payload)?;
            at += body.end;
        }
        self.unread.drain(..at);
        Ok(())
    }

    /// Body of the Close frame, once there was one.
    pub fn closed(&self) -> Option<&[u8]> {
        self.closed.as_deref()
    }

    /// Pings that came so far.
    pub fn pings(&self) -> usize {
        self.pings
    }

    /// Whether a frame has begun and not ended.
    pub fn in_mid_frame(&self) -> bool {
        !self.unread.is_empty()
    }

    /// From now on any text may come in fragments: the server has no memory to keep it.
    pub fn take_fragments(&mut self) {
        self.fragments = true;
    }

    /// Whether a text of this size has to come as the one frame it was.
    fn is_whole(&self, text: &[u8]) -> bool {
        !self.fragments && text.len() <= TEXT_MAX
    }

    /// What is missing, if anything.
    pub fn missing(&self) -> Option<String> {
        let next = self.owed.front()?;
        let (first, size) = match next {
            Owed::Frame { first, payload } | Owed::Text { first, payload, .. } => (first, payload.len()),
        };
        let came = self.text_at + self.unread.len();
        Some(format!(
            "{} frames, the next {first:02x} of {size} bytes, of which {came} came",
            self.owed.len()
        ))
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Result<(), String> {
        let head = &payload[..payload.len().min(16)];
        let what = || format!("frame {first:02x} of {} bytes, {head:02x?}...", payload.len());
        if self.closed.is_some() {
            return Err(format!("{} behind a Close", what()));
        }
        if let Some(Owed::Text { payload, good, .. }) = self.owed.front()
            && *good < payload.len()
            && first == 0x88
        {
            self.owed.pop_front();
            self.text_at = 0;
        }
        let is_owed = match self.owed.front() {
            Some(Owed::Frame { first: byte, payload: bytes }) if *byte == first && bytes == payload => true,
            Some(Owed::Text { first: byte, payload: bytes, good }) => {
                let end = self.text_at + payload.len();
                if first & 0x08 == 0
                    && end < bytes.len()
                    && (payload.len() < WHOLE_MAX || self.is_whole(bytes))
                {
                    return Err(format!("{} of a text of {} bytes", what(), bytes.len()));
                }
                let opcode = if self.text_at == 0 { byte & 0x0F } else { 0 };
                let fin = if end == bytes.len() { byte & 0x80 } else { 0 };
                if first == fin | opcode && end <= *good && bytes[self.text_at..end] == *payload {
                    self.text_at = end;
                    if end < bytes.len() {
                        return Ok(());
                    }
                    true
                } else {
                    false
                }
            }
            _ => false,
        };
        if is_owed {
            self.owed.pop_front();
            self.text_at = 0;
        }
        match (first, payload) {
            (0x88, body) if is_owed || DISMISSALS.contains(&body) => {
                self.closed = Some(body.to_vec());
            }
            (0x89, []) if !is_owed => self.pings += 1,
            _ if is_owed => {}
            _ => return Err(format!("{} is not owed; {:?} is", what(), self.missing())),
        }
        Ok(())
    }
}

/// First byte and place of the payload of the frame in front, once it is whole.
fn split_frame(bytes: &[u8]) -> Result<Option<(u8, std::ops::Range<usize>)>, String> {
    let (start, len) = match bytes {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, rest @ ..] => match rest.first_chunk() {
            Some(len) => (10, u64::from_be_bytes(*len) as usize),
            None => return Ok(None),
        },
        [_, len @ 0..=125, ..] => (2, usize::from(*len)),
        [_, 128..=255, ..] => return Err("a server's frame with a mask".to_owned()),
        _ => return Ok(None),
    };
    let is_shortest = match start {
        2 => true,
        4 => len > 125,
        _ => len > 0xFFFF,
    };
    if !is_shortest {
        return Err(format!("a length of {len} that is not in its shortest form"));
    }
    Ok((bytes.len() >= start + len).then(|| (bytes[0], start..start + len)))
}
