//! Frames on the wire (RFC 6455 section 5.2), as a client writes and reads them.

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// What a frame carries (section 5.2; the opcodes kept for later are refused).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
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
    /// The answer to a Ping.
    Pong = 0xA,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    /// Close, ping and pong: at most 125 bytes and never fragmented (section 5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a server's frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// RSV1, which permessage-deflate gives a meaning (RFC 7692 section 6).
    pub compressed: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// Bytes of payload.
    pub len: usize,
    /// Bytes of header.
    pub size: usize,
}

impl Header {
    /// Reads the header at the front of `input`; `Ok(None)` when more bytes are needed.
    ///
    /// # Errors
    /// What is wrong with the frame: a mask (section 5.1 forbids it to servers), a reserved bit or opcode, a control
    /// frame too long or fragmented, a length not written in the fewest bytes or beyond `limit`.
    pub fn parse(input: &[u8], limit: usize, deflate: bool) -> Result<Option<Header>, &'static str> {
        let &[first, second, ref rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = Opcode::from_bits(first & 0x0F).ok_or("reserved opcode")?;
        // RSV1 belongs to the beginning of a message.
        let compressed = first & RSV1 != 0;
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || compressed && !(deflate && begins) {
            return Err("reserved bit set");
        }
        let fin = first & FIN != 0;
        if second & 0x80 != 0 {
            return Err("masked frame from a server");
        }
        let (len, size) = match second {
            126 => {
                let Some(bytes) = rest.first_chunk::<2>() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*bytes));
                if len < 126 {
                    return Err("length not minimal");
                }
                (len, 4)
            }
            127 => {
                let Some(bytes) = rest.first_chunk::<8>() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*bytes);
                if len <= 0xFFFF {
                    return Err("length not minimal");
                }
                (len, 10)
            }
            len => (u64::from(len), 2),
        };
        if opcode.is_control() && (!fin || len > 125) {
            return Err("control frame too long or fragmented");
        }
        if len > limit as u64 {
            return Err("frame longer than any message sent");
        }
        Ok(Some(Header { fin, compressed, opcode, len: len as usize, size }))
    }
}

/// Appends a client's frame that is a message of its own to `out`: a control frame, say.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, key: [u8; 4], payload: &[u8]) {
    write_first(out, FIN | opcode as u8, key, payload);
}

/// Header, beginning with the byte `first`, mask and masked payload (section 5.3).
fn write_first(out: &mut Vec<u8>, first: u8, key: [u8; 4], payload: &[u8]) {
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

/// Applies the masking key, eight bytes at a time.
fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, k) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= k;
    }
}

/// Appends a message as frames of at most `fragment` bytes of payload each; one frame when that is `None`. The first says
/// whether the payload is `compressed`.
pub fn write_message(
    out: &mut Vec<u8>,
    opcode: Opcode,
    compressed: bool,
    payload: &[u8],
    fragment: Option<usize>,
    mut key: impl FnMut() -> [u8; 4],
) {
    let rsv1 = if compressed { RSV1 } else { 0 };
    let Some(size) = fragment.filter(|size| *size < payload.len()) else {
        return write_first(out, FIN | rsv1 | opcode as u8, key(), payload);
    };
    let last = payload.len().div_ceil(size) - 1;
    for (i, piece) in payload.chunks(size).enumerate() {
        let opcode = if i == 0 { rsv1 | opcode as u8 } else { Opcode::Continuation as u8 };
        write_first(out, if i == last { FIN } else { 0 } | opcode, key(), piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// RFC 6455 section 5.7: "A single-frame masked text message".
    #[test]
    fn a_masked_hello_is_the_rfcs() {
        let mut out = Vec::new();
        write(&mut out, Opcode::Text, KEY, b"Hello");
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    /// RFC 6455 section 5.7: the unmasked examples, as a server writes them.
    #[test]
    fn the_rfcs_server_frames_are_read() {
        let rows: [(&[u8], bool, Opcode, usize, usize); 7] = [
            (&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], true, Opcode::Text, 5, 2),
            (&[0x01, 0x03, 0x48, 0x65, 0x6c], false, Opcode::Text, 3, 2),
            (&[0x80, 0x02, 0x6c, 0x6f], true, Opcode::Continuation, 2, 2),
            (&[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], true, Opcode::Ping, 5, 2),
            (&[0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], true, Opcode::Pong, 5, 2),
            (&[0x82, 0x7E, 0x01, 0x00], true, Opcode::Binary, 256, 4),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], true, Opcode::Binary, 65536, 10),
        ];
        for (bytes, fin, opcode, len, size) in rows {
            assert_eq!(
                Header::parse(bytes, 1 << 20, false),
                Ok(Some(Header { fin, compressed: false, opcode, len, size }))
            );
            for short in 0..size {
                assert_eq!(
                    Header::parse(&bytes[..short], 1 << 20, false),
                    Ok(None),
                    "{short} bytes of {bytes:x?}"
                );
            }
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        for bytes in [
            &[0x81, 0x85][..],    // masked
            &[0xC1, 0x00],        // RSV1 without an extension
            &[0x83, 0x00],        // reserved opcode
            &[0x09, 0x00],        // fragmented ping
            &[0x89, 126, 0, 126], // ping of 126 bytes
            &[0x82, 126, 0, 5],   // 5 written in 16 bits
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0x82, 127, 0, 0, 0, 0, 0x7F, 0, 0, 0], // beyond the limit
        ] {
            assert!(Header::parse(bytes, 1 << 20, false).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_take_the_fewest_bytes() {
        for (len, header) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, KEY, &vec![7; len]);
            assert_eq!(out.len(), header + len);
        }
    }

    #[test]
    fn fragments_follow_section_5_4() {
        let mut out = Vec::new();
        write_message(&mut out, Opcode::Text, false, b"Hello", Some(3), || [0; 4]);
        assert_eq!(out, b"\x01\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo");
        out.clear();
        write_message(&mut out, Opcode::Text, false, b"Hello", Some(5), || [0; 4]);
        assert_eq!(out, b"\x81\x85\0\0\0\0Hello");
        out.clear();
        write_message(&mut out, Opcode::Text, true, b"Hello", Some(3), || [0; 4]);
        assert_eq!(
            out, b"\x41\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo",
            "only the first says that it is compressed"
        );
    }

    #[test]
    fn only_the_beginning_of_a_message_is_compressed_and_only_by_agreement() {
        let parse = |first: u8, deflate| {
            Header::parse(&[first, 0], 1, deflate).map(|header| header.unwrap().compressed)
        };
        for (first, agreed) in [(0xC1, Ok(true)), (0x41, Ok(true)), (0xC2, Ok(true)), (0x81, Ok(false))] {
            assert_eq!(parse(first, true), agreed);
        }
        for (first, deflate) in
            [(0xC1, false), (0xC0, true), (0xC8, true), (0xC9, true), (0xA1, true), (0x91, true)]
        {
            assert_eq!(parse(first, deflate), Err("reserved bit set"), "{first:x}");
        }
    }

    #[test]
    fn the_mask_turns_with_every_byte() {
        for len in 0..40 {
            let mut bytes: Vec<u8> = (0..len).collect();
            mask(&mut bytes, KEY);
            for (i, byte) in bytes.iter().enumerate() {
                assert_eq!(*byte, i as u8 ^ KEY[i % 4]);
            }
        }
    }
}
