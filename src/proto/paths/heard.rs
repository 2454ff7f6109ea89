//! The echo that a program has still to act on.
//!
//! What a client sends goes through the same framing as on every echo path, so it is checked, unmasked and answered there.
//! A program works on what comes out: a server's frames, well-formed and whole but for the payload of large ones.

use crate::proto::framing::hixie;
use crate::proto::framing::hybi::CLIENTS_PONG;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;

/// Why the framing takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed.
    Peer,
    /// The peer broke the protocol, or said `quit`: we close.
    Server,
}

/// What came of one read.
#[derive(Debug)]
struct Chunk {
    /// When it was read; `None` until that is known.
    at: Option<Duration>,
    bytes: Vec<u8>,
    /// Bytes that were acted on.
    done: usize,
    /// Nothing follows it.
    end: Option<Cause>,
}

/// The next thing to act on; ranges are of [`Heard::bytes`].
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A data frame begins, with this first byte; so many bytes of payload are announced, in Hixie none.
    Begin {
        /// The first byte of its header.
        first: u8,
        /// Bytes of its payload.
        len: u64,
    },
    /// Some of the payload.
    Payload(Range<usize>),
    /// The data frame has ended, and with `fin` the message.
    End {
        /// The message is over, too.
        fin: bool,
    },
    /// The Pong that answers a Ping of the client.
    Pong(Range<usize>),
    /// The payload of a Pong of the client's own.
    Answer(Range<usize>),
    /// The bytes that answer the client's Close, or close for its fault; none where there are none to be had.
    Close(Range<usize>, Cause),
}

/// Replies in the order in which they came to be, each with the time of the read that it answers.
#[derive(Debug, Default)]
pub struct Heard {
    chunks: VecDeque<Chunk>,
    /// Bytes allocated for them.
    kept: usize,
    /// Of the data frame that was begun: whether it ends its message, and how much payload is to come. In Hixie,
    /// where its end tells, there is no number.
    frame: Option<(bool, u64)>,
    is_hixie: bool,
}

impl Heard {
    /// Nothing was heard yet.
    pub fn new(is_hixie: bool) -> Heard {
        Heard { is_hixie, ..Heard::default() }
    }

    /// It is read by Hixie's framing.
    pub fn is_hixie(&self) -> bool {
        self.is_hixie
    }

    /// Adds what was read, and what ended it.
    pub fn push(&mut self, bytes: &[u8], end: Option<Cause>) {
        if bytes.is_empty() && end.is_none() {
            return;
        }
        let chunk = Chunk { at: None, bytes: bytes.to_vec(), done: 0, end };
        self.kept += chunk.kept();
        self.chunks.push_back(chunk);
    }

    /// Whatever has no time yet was read `now`.
    pub fn stamp(&mut self, now: Duration) {
        for chunk in self.chunks.iter_mut().rev() {
            if chunk.at.is_some() {
                break;
            }
            chunk.at = Some(now);
        }
    }

    /// Whether nothing is left to act on.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// When the next thing to act on was read.
    pub fn next_at(&self) -> Option<Duration> {
        self.chunks.front()?.at
    }

    /// Bytes that are allocated.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The bytes that the last item lies in.
    pub fn bytes(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| &chunk.bytes)
    }

    /// The next thing to act on; `None` until more is heard.
    pub fn next_item(&mut self) -> Option<Item> {
        self.forget();
        if self.is_hixie { self.next_hixie() } else { self.next_hybi() }
    }

    /// Lets go of everything that was acted on; the item that was taken last is no longer there.
    pub fn forget(&mut self) {
        while self.chunks.front().is_some_and(Chunk::is_done) && !self.has_end_to_tell() {
            self.kept -= self.chunks.pop_front().map_or(0, |chunk| chunk.kept());
        }
    }

    /// Whether the end of a frame is still to be told, of which nothing else is left.
    fn has_end_to_tell(&self) -> bool {
        !self.is_hixie && matches!(self.frame, Some((_, 0)))
    }

    fn next_hybi(&mut self) -> Option<Item> {
        let chunk = self.chunks.front_mut()?;
        let rest = &chunk.bytes[chunk.done..];
        match &mut self.frame {
            Some((fin, 0)) => {
                let fin = *fin;
                self.frame = None;
                return Some(Item::End { fin });
            }
            Some(_) if rest.is_empty() => return chunk.take_end(),
            Some((_, left)) => {
                let size = (*left).min(rest.len() as u64);
                *left -= size;
                return Some(Item::Payload(chunk.take(size as usize)));
            }
            None => {}
        }
        let [first, short, rest @ ..] = rest else { return chunk.take_end() };
        let (size, len) = match short {
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            short => (2, u64::from(*short)),
        };
        match *first {
            PONG => Some(Item::Pong(chunk.take(size + len as usize))),
            CLIENTS_PONG => {
                chunk.take(size);
                Some(Item::Answer(chunk.take(len as usize)))
            }
            CLOSE => chunk.take_end(),
            first => {
                chunk.take(size);
                self.frame = Some((first & 0x80 != 0, len));
                Some(Item::Begin { first, len })
            }
        }
    }

    fn next_hixie(&mut self) -> Option<Item> {
        let chunk = self.chunks.front_mut()?;
        let rest = &chunk.bytes[chunk.done..];
        if self.frame.is_none() {
            if rest.first() != Some(&hixie::TEXT) {
                return chunk.take_end();
            }
            chunk.take(1);
            self.frame = Some((true, 0));
            return Some(Item::Begin { first: 0x81, len: 0 });
        }
        match rest.iter().position(|byte| *byte == hixie::END) {
            Some(0) => {
                chunk.take(1);
                self.frame = None;
                Some(Item::End { fin: true })
            }
            // In the middle of a text too long there is nothing to say.
            None if rest.is_empty() => chunk.take_end(),
            end => {
                let size = end.unwrap_or(rest.len());
                Some(Item::Payload(chunk.take(size)))
            }
        }
    }
}

impl Chunk {
    fn kept(&self) -> usize {
        size_of::<Chunk>() + self.bytes.capacity()
    }

    fn is_done(&self) -> bool {
        self.done == self.bytes.len() && self.end.is_none()
    }

    fn take(&mut self, count: usize) -> Range<usize> {
        let range = self.done..self.done + count;
        self.done = range.end;
        range
    }

    /// Everything that is left of it, if nothing follows.
    fn take_end(&mut self) -> Option<Item> {
        let cause = self.end.take()?;
        Some(Item::Close(self.take(self.bytes.len() - self.done), cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(is_hixie: bool, chunks: &[(&[u8], Option<Cause>)]) -> Vec<String> {
        let mut heard = Heard::new(is_hixie);
        let mut all = Vec::new();
        for (bytes, end) in chunks {
            heard.push(bytes, *end);
            while let Some(item) = heard.next_item() {
                all.push(match item {
                    Item::Begin { first, len } => format!("begin {first:02x} {len}"),
                    Item::Payload(range) => format!("payload {}", heard.bytes()[range].escape_ascii()),
                    Item::End { fin } => format!("end {fin}"),
                    Item::Pong(range) => format!("pong {}", heard.bytes()[range].escape_ascii()),
                    Item::Answer(range) => format!("answer {}", heard.bytes()[range].escape_ascii()),
                    Item::Close(range, cause) => {
                        format!("close {} {cause:?}", heard.bytes()[range].escape_ascii())
                    }
                });
            }
        }
        assert_eq!((heard.kept(), heard.chunks.len()), (0, 0), "everything was acted on");
        all
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut_through() {
        let large = [b"\x82\x7f\0\0\0\0\0\x01\0\0".as_slice(), &[b'x'; 3]].concat();
        let rest = [vec![b'x'; 0x10000 - 3], b"\x8a\x01p\x9a\x01q\x01\x00".to_vec()].concat();
        let told = items(
            false,
            &[
                (b"\x81\x02hi", None),
                (&large, None),
                (&rest, None),
                (b"\x80\x01c\x88\x02\x03\xe8", Some(Cause::Peer)),
            ],
        );
        let payload = format!("payload {}", "x".repeat(0x10000 - 3));
        assert_eq!(
            told,
            [
                "begin 81 2",
                "payload hi",
                "end true",
                "begin 82 65536",
                "payload xxx",
                &payload,
                "end true",
                r"pong \x8a\x01p",
                "answer q",
                "begin 01 0",
                "end false",
                "begin 80 1",
                "payload c",
                "end true",
                r"close \x88\x02\x03\xe8 Peer",
            ]
        );
    }

    #[test]
    fn hixie_text_comes_as_it_goes() {
        let told = items(
            true,
            &[(b"\0he", None), (b"llo", None), (b"\xff\0\xff\0a", None), (b"\xff\xff\0", Some(Cause::Peer))],
        );
        assert_eq!(
            told,
            [
                "begin 81 0",
                "payload he",
                "payload llo",
                "end true",
                "begin 81 0",
                "end true",
                "begin 81 0",
                "payload a",
                "end true",
                r"close \xff\x00 Peer",
            ]
        );
        let told = items(true, &[(b"\0long", Some(Cause::Server))]);
        assert_eq!(told, ["begin 81 0", "payload long", "close  Server"]);
    }
}
