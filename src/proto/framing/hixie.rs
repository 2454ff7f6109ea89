//! The echo for Hixie-75 and Hixie-76 (draft-hixie-thewebsocketprotocol-75 and -76, the latter also hybi-00).
//!
//! A message is `00`, text, `FF`, so its echo is the same bytes, passed on as they come: no length is known in advance
//! and nothing is kept. What is not such a message is skipped, as the drafts ask.

use crate::proto::limits::Limits;
use crate::proto::progress::{Event, Progress, Reply};
use std::ops::Range;

/// The closing handshake of draft 76.
pub const CLOSE: [u8; 2] = [0xFF, 0x00];

/// The two drafts that frame like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft {
    /// It knows no closing handshake: only whoever sends one (Perl's Protocol::WebSocket does) is answered with one.
    Hixie75,
    /// It ends with `FF 00`.
    Hixie76,
}

impl Draft {
    /// What the server says when it closes of its own accord.
    pub fn closing(self) -> &'static [u8] {
        match self {
            Draft::Hixie75 => b"",
            Draft::Hixie76 => &CLOSE,
        }
    }
}

/// Type of a text frame.
pub const TEXT: u8 = 0x00;
/// End of a text frame; also the type of the closing one.
pub const END: u8 = 0xFF;
const QUIT: &[u8] = b"\0quit\xFF";

/// Most bytes a length may be written in. Each brings seven bits, so this is 32 GiB; without a bound a peer could
/// write zeros for ever.
const LENGTH_BYTES_MAX: usize = 5;

/// Bytes of a text that is long: its end is not known in advance, so this much of it is awaited at a time.
const LONG: u64 = 4096;

/// One connection's framing state.
#[derive(Debug, Clone)]
pub struct Hixie {
    draft: Draft,
    state: HixieState,
}

#[derive(Debug, Clone, Copy)]
enum HixieState {
    Between,
    /// In a text frame, of which this many bytes have come.
    Text(u64),
    /// In a frame that ends at `FF` and is not text, of which this many bytes have come.
    SkipToEnd(u64),
    /// In a frame with this many bytes to go.
    Skip(u64),
}

impl Hixie {
    /// The state of a connection that was just opened.
    pub fn new(draft: Draft) -> Hixie {
        Hixie { draft, state: HixieState::Between }
    }

    /// The bytes that close this connection, in draft 75 none; `None` in the middle of an echo, where they would be text.
    pub fn close(&self) -> Option<&'static [u8]> {
        (!matches!(self.state, HixieState::Text(_))).then(|| self.draft.closing())
    }

    /// Bytes that the text in whose middle the peer is may well still take; 0 where so little has come of it that all of it
    /// fits into the system's buffers.
    pub fn missing(&self) -> u64 {
        match self.state {
            HixieState::Text(count) if count >= LONG => LONG,
            _ => 0,
        }
    }

    /// Echoes what has come of every text frame in `buf[input]`, in place.
    ///
    /// Needs two spare bytes behind `input`.
    #[inline(never)]
    pub fn receive(&mut self, buf: &mut [u8], input: Range<usize>, limits: &Limits) -> Progress {
        let mut at = input.start;
        let mut reply = 0..0;
        let mut messages = 0;
        loop {
            let rest = &buf[at..input.end];
            let Some(&first) = rest.first() else { break };
            match self.state {
                HixieState::Between => match self.begin(first, rest, limits) {
                    Start::Partial => break,
                    Start::Over(event, closing) => return end(buf, input, reply, messages, event, closing),
                    Start::Frame { size } => {
                        if let HixieState::Text(_) = self.state {
                            push(buf, &mut reply, at..at + size);
                        }
                        at += size;
                    }
                },
                HixieState::Text(count) => {
                    let (size, ends) = up_to_end(rest);
                    let text = count + (size - usize::from(ends)) as u64;
                    if limits.max_message != 0 && text > limits.max_message {
                        // In the middle of an echo nothing can be said: the FIN behind it tells that it is not whole.
                        return Progress {
                            consumed: input.len(),
                            reply: Reply::InPlace(reply),
                            event: Some(Event::TooLong),
                            ended: true,
                            again: false,
                            messages,
                        };
                    }
                    push(buf, &mut reply, at..at + size);
                    at += size;
                    messages += u32::from(ends);
                    self.state = if ends { HixieState::Between } else { HixieState::Text(text) };
                }
                HixieState::SkipToEnd(_) | HixieState::Skip(_) => match self.skip(rest, limits) {
                    Some(size) => at += size,
                    None => return end(buf, input, reply, messages, Event::TooLong, self.draft.closing()),
                },
            }
        }
        Progress {
            consumed: at - input.start,
            reply: Reply::InPlace(reply),
            event: None,
            ended: false,
            again: false,
            messages,
        }
    }
}

/// What stands where a frame can begin.
enum Start {
    /// Too little to tell.
    Partial,
    /// A frame, whose first so many bytes lead up to what it holds.
    Frame { size: usize },
    /// The end of the connection, and how it is closed.
    Over(Event, &'static [u8]),
}

impl Hixie {
    /// Reads the beginning of a frame, which is that of `rest`, and of which `first` is the first byte.
    fn begin(&mut self, first: u8, rest: &[u8], limits: &Limits) -> Start {
        if first == TEXT {
            let known = rest.len().min(QUIT.len());
            if rest[..known] == QUIT[..known] {
                let whole = known == QUIT.len();
                return if whole { Start::Over(Event::Quit, self.draft.closing()) } else { Start::Partial };
            }
            self.state = HixieState::Text(0);
            return Start::Frame { size: 1 };
        }
        if first < 0x80 {
            self.state = HixieState::SkipToEnd(0);
            return Start::Frame { size: 1 };
        }
        match length(&rest[1..], limits) {
            Length::Partial => Start::Partial,
            Length::TooLong => Start::Over(Event::TooLong, self.draft.closing()),
            Length::Known { value: 0, .. } if first == END => Start::Over(Event::Closed(None), &CLOSE),
            Length::Known { value, size } => {
                self.state = HixieState::Skip(value);
                Start::Frame { size: 1 + size }
            }
        }
    }

    /// Passes over what `rest` has of a frame that is not text: how many bytes, or `None` if it is longer than a message
    /// may be.
    fn skip(&mut self, rest: &[u8], limits: &Limits) -> Option<usize> {
        if let HixieState::Skip(count) = self.state {
            let size = (rest.len() as u64).min(count);
            self.state = if size == count { HixieState::Between } else { HixieState::Skip(count - size) };
            return Some(size as usize);
        }
        let HixieState::SkipToEnd(count) = self.state else { return Some(0) };
        let (size, ends) = up_to_end(rest);
        let skipped = count + (size - usize::from(ends)) as u64;
        self.state = if ends { HixieState::Between } else { HixieState::SkipToEnd(skipped) };
        (limits.max_message == 0 || skipped <= limits.max_message).then_some(size)
    }
}

/// How many bytes lead up to and include `FF`, and whether it is there.
fn up_to_end(bytes: &[u8]) -> (usize, bool) {
    match bytes.iter().position(|byte| *byte == END) {
        Some(at) => (at + 1, true),
        None => (bytes.len(), false),
    }
}

/// Appends the bytes at `from` to the reply, which ends there or further left.
fn push(buf: &mut [u8], reply: &mut Range<usize>, from: Range<usize>) {
    if Range::is_empty(reply) {
        *reply = from.start..from.start;
    }
    let to = reply.end;
    reply.end += from.len();
    if to != from.start {
        buf.copy_within(from, to);
    }
}

/// Closes, with `closing` behind what is echoed; nothing after that is looked at.
fn end(
    buf: &mut [u8],
    input: Range<usize>,
    mut reply: Range<usize>,
    messages: u32,
    event: Event,
    closing: &[u8],
) -> Progress {
    if reply.is_empty() {
        reply = input.start..input.start;
    }
    buf[reply.end..reply.end + closing.len()].copy_from_slice(closing);
    reply.end += closing.len();
    Progress {
        consumed: input.len(),
        reply: Reply::InPlace(reply),
        event: Some(event),
        ended: true,
        again: false,
        messages,
    }
}

enum Length {
    Partial,
    TooLong,
    Known { value: u64, size: usize },
}

/// Reads a length: seven bits a byte, the high bit says that more follow (draft 76 §4.2).
fn length(bytes: &[u8], limits: &Limits) -> Length {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        value = value << 7 | u64::from(byte & 0x7F);
        if limits.max_message != 0 && value > limits.max_message {
            return Length::TooLong;
        }
        if byte & 0x80 == 0 {
            return Length::Known { value, size: at + 1 };
        }
    }
    if bytes.len() < LENGTH_BYTES_MAX { Length::Partial } else { Length::TooLong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_base_128() {
        let limits = Limits { max_message: 0 };
        for (bytes, expected) in [
            (&[0x00u8][..], 0),
            (&[0x7F], 127),
            (&[0x81, 0x00], 128),
            (&[0x81, 0x48], 200),
            (&[0x81, 0x80, 0x00], 16384),
            (&[0x80, 0x80, 0x05], 5),
        ] {
            match length(bytes, &limits) {
                Length::Known { value, size } => assert_eq!((value, size), (expected, bytes.len())),
                _ => panic!("{bytes:x?}"),
            }
            assert!(matches!(length(&bytes[..bytes.len() - 1], &limits), Length::Partial));
        }
    }

    #[test]
    fn a_length_is_bounded_in_bytes_and_in_value() {
        assert!(matches!(length(&[0x80; 5], &Limits { max_message: 0 }), Length::TooLong));
        assert!(matches!(length(&[0x80; 4], &Limits { max_message: 0 }), Length::Partial));
        assert!(matches!(length(&[0x81, 0xC9], &Limits { max_message: 200 }), Length::TooLong));
        assert!(matches!(
            length(&[0x81, 0x48], &Limits { max_message: 200 }),
            Length::Known { value: 200, .. }
        ));
    }
}
