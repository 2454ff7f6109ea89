//! One frame's header (RFC 6455 §5.2; drafts hybi-07 to -17 frame alike).

use super::mask::Key;
use super::violation::Violation;

/// Longest header a client sends: two bytes, a 64-bit length, the masking key.
pub const HEADER_MAX: usize = 14;

/// Shortest header a client sends.
pub const HEADER_MIN: usize = 6;

/// A server's empty Ping, whole.
pub const PING: [u8; 2] = [0x89, 0];

/// What a frame is for (§5.2, §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A message of UTF-8, or its first fragment.
    Text = 0x1,
    /// A message of bytes, or its first fragment.
    Binary = 0x2,
    /// The end, with a code and a reason.
    Close = 0x8,
    /// To be answered by a Pong of the same payload.
    Ping = 0x9,
    /// The answer to a Ping, or to none.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte.
    pub fn from_nibble(nibble: u8) -> Result<Opcode, Violation> {
        Ok(match nibble {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Violation::Opcode),
        })
    }

    /// Close, Ping and Pong: never fragmented, never longer than 125 bytes (§5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A client's frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last fragment of its message.
    pub fin: bool,
    /// Compressed, where that was agreed (RFC 7692).
    pub rsv1: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// Payload bytes.
    pub len: u64,
    /// What the payload is masked with.
    pub key: Key,
    /// Bytes of the header itself, masking key included.
    pub size: usize,
}

impl FrameHeader {
    /// Reads the header at the front of `input`; `rsv1` says whether an extension gave that bit a meaning.
    ///
    /// `Ok(None)`: so far the start of a good header, call again with more. A header that can never become good is
    /// refused at the first byte that proves it: a ping that claims a gigabyte is turned away at its second.
    // Outlined, which is what two callers make of it, it costs a tenth of a small frame.
    #[inline(always)]
    pub fn parse(input: &[u8], rsv1: bool) -> Result<Option<FrameHeader>, Violation> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let allowed = if rsv1 { 0x40 } else { 0 };
        if first & 0x70 & !allowed != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_nibble(first & 0x0F)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        // The bit says that this message is compressed: only its first frame can say so (RFC 7692 §6).
        if first & 0x40 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::ReservedBits);
        }

        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(Violation::ControlTooLong);
        }
        let (len, len_end) = match short {
            126 => match parse_len16(&input[2..])? {
                Some(len) => (len, 4),
                None => return Ok(None),
            },
            127 => match parse_len64(&input[2..])? {
                Some(len) => (len, 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let Some(key) = input[len_end..].first_chunk() else {
            return Ok(None);
        };
        Ok(Some(FrameHeader { fin, rsv1: first & 0x40 != 0, opcode, len, key: *key, size: len_end + 4 }))
    }
}

fn parse_len16(input: &[u8]) -> Result<Option<u64>, Violation> {
    let Some(bytes) = input.first_chunk() else {
        return Ok(None);
    };
    let len = u16::from_be_bytes(*bytes);
    if len < 126 { Err(Violation::LengthNotMinimal) } else { Ok(Some(u64::from(len))) }
}

fn parse_len64(input: &[u8]) -> Result<Option<u64>, Violation> {
    if input.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(Violation::LengthTopBit);
    }
    if input.first_chunk() == Some(&[0; 6]) {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(input.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)))
}

/// Bytes a server's header takes for a payload of `len` bytes: four fewer than the client's, which carries a key.
#[inline(always)]
pub fn reply_size(len: u64) -> usize {
    match len {
        0..=125 => 2,
        126..=65535 => 4,
        _ => 10,
    }
}

/// Writes a server's header at the front of `out`; `first` is the byte with FIN, RSV1 and the opcode.
///
/// `out` must hold [`reply_size`] bytes.
// Most are short, and a call for two bytes costs a twentieth of a small frame.
#[inline(always)]
pub fn write_header(out: &mut [u8], first: u8, len: u64) {
    if len <= 125 {
        out[..2].copy_from_slice(&[first, len as u8])
    } else {
        write_long_header(out, first, len)
    }
}

#[inline(never)]
fn write_long_header(out: &mut [u8], first: u8, len: u64) {
    out[0] = first;
    if len <= u64::from(u16::MAX) {
        out[1] = 126;
        out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    } else {
        out[1] = 127;
        out[2..10].copy_from_slice(&len.to_be_bytes());
    }
}

/// A server's header, apart from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 10],
    size: u8,
}

impl Header {
    /// The header of a payload of `len` bytes; `first` is the byte with FIN, RSV1 and the opcode.
    pub fn new(first: u8, len: u64) -> Header {
        let mut bytes = [0; 10];
        write_header(&mut bytes, first, len);
        Header { bytes, size: reply_size(len) as u8 }
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

/// The first byte of a frame.
#[inline]
pub fn first_byte(fin: bool, rsv1: bool, opcode: Opcode) -> u8 {
    u8::from(fin) << 7 | u8::from(rsv1) << 6 | opcode as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_header_is_refused_at_the_byte_that_proves_it() {
        for (why, bytes, at, fail) in [
            ("RSV1 without an extension", &[0xC1u8, 0x80][..], 1, Violation::ReservedBits),
            ("RSV2", &[0xA1, 0x80], 1, Violation::ReservedBits),
            ("RSV3", &[0x91, 0x80], 1, Violation::ReservedBits),
            ("opcode 3", &[0x83, 0x80], 1, Violation::Opcode),
            ("opcode 7", &[0x87, 0x80], 1, Violation::Opcode),
            ("opcode B", &[0x8B, 0x80], 1, Violation::Opcode),
            ("opcode F", &[0x8F, 0x80], 1, Violation::Opcode),
            ("close without FIN", &[0x08, 0x80], 1, Violation::ControlFragmented),
            ("ping without FIN", &[0x09, 0x80], 1, Violation::ControlFragmented),
            ("not masked", &[0x81, 0x05], 2, Violation::Unmasked),
            ("empty and not masked", &[0x81, 0x00], 2, Violation::Unmasked),
            ("ping of 126 bytes", &[0x89, 0xFE, 0, 126], 2, Violation::ControlTooLong),
            ("close that claims 2^40", &[0x88, 0xFF, 0, 0, 1], 2, Violation::ControlTooLong),
            ("5 written in 16 bits", &[0x82, 0xFE, 0, 5], 4, Violation::LengthNotMinimal),
            ("125 written in 16 bits", &[0x82, 0xFE, 0, 125], 4, Violation::LengthNotMinimal),
            (
                "65535 written in 64 bits",
                &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
                8,
                Violation::LengthNotMinimal,
            ),
            (
                "top bit of a 64-bit length",
                &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1],
                3,
                Violation::LengthTopBit,
            ),
        ] {
            assert_eq!(FrameHeader::parse(&bytes[..at], false), Err(fail), "{why}");
            assert_eq!(FrameHeader::parse(bytes, false), Err(fail), "{why}, with what follows");
            assert_eq!(FrameHeader::parse(&bytes[..at - 1], false), Ok(None), "{why}, one byte less");
        }
    }

    #[test]
    fn rsv1_means_something_only_on_the_first_frame_of_a_message() {
        let text = FrameHeader::parse(&[0xC1, 0x80, 1, 2, 3, 4], true).expect("allowed").expect("whole");
        assert!(text.rsv1);
        for first in [0xC0, 0xC8, 0xC9, 0xCA] {
            assert_eq!(FrameHeader::parse(&[first], true), Err(Violation::ReservedBits));
        }
    }

    #[test]
    fn lengths_are_read_at_every_boundary() {
        for (bytes, len, size) in [
            (&[0x82u8, 0xFD, 1, 2, 3, 4][..], 125, 6),
            (&[0x82, 0xFE, 0, 126, 1, 2, 3, 4], 126, 8),
            (&[0x82, 0xFE, 0xFF, 0xFF, 1, 2, 3, 4], 65535, 8),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65536, 14),
            (&[0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], i64::MAX as u64, 14),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(FrameHeader::parse(&bytes[..cut], false), Ok(None));
            }
            let header = FrameHeader::parse(bytes, false).expect("good").expect("whole");
            assert_eq!((header.len, header.size, header.key), (len, size, [1, 2, 3, 4]));
            assert_eq!(reply_size(len), size - 4);
        }
    }
}
