//! Compressed messages: permessage-deflate (RFC 7692), without context from one message to the next, so that one
//! compressor and one inflater serve all connections of a thread.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What is offered: neither side may refer to earlier messages.
pub const OFFER: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

/// The end of a flushed block, which is not sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Bytes an inflater begins with.
const CHUNK: usize = 4096;

/// Checks a server's `Sec-WebSocket-Extensions` against [`OFFER`], or against no offer at all.
///
/// # Errors
/// What was agreed to although it was not offered, or not although it has to be (RFC 7692 section 7.1).
pub fn agreed(answer: Option<&str>, offered: bool) -> Result<(), &'static str> {
    let answer = answer.map_or("", str::trim);
    if !offered || answer.is_empty() {
        return match (offered, answer.is_empty()) {
            (false, true) => Ok(()),
            (false, false) => Err("an extension was agreed to that was not offered"),
            (true, _) => Err("permessage-deflate was not agreed to"),
        };
    }
    let mut parts = answer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") || answer.contains(',') {
        return Err("an extension was agreed to that was not offered");
    }
    let mut seen = Vec::new();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').map_or((parameter, None), |(n, v)| (n.trim(), Some(v)));
        let value = value.map(|text| text.trim().trim_matches('"'));
        let known = match name {
            "client_no_context_takeover" | "server_no_context_takeover" => value.is_none(),
            // A server may bind itself without being asked (section 7.1.2.1).
            "server_max_window_bits" => {
                value.is_some_and(|v| ["8", "9", "10", "11", "12", "13", "14", "15"].contains(&v))
            }
            _ => false,
        };
        if !known || seen.contains(&name) {
            return Err("a parameter of permessage-deflate was agreed to that was not offered");
        }
        seen.push(name);
    }
    match seen.contains(&"server_no_context_takeover") {
        true => Ok(()),
        false => Err("server_no_context_takeover was not agreed to"),
    }
}

/// Compresses messages, one by one.
pub struct Compressor {
    compress: Compress,
    out: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        // The fastest level: what the server does with it is measured, not how small it gets.
        Compressor { compress: Compress::new(Compression::fast(), false), out: Vec::new() }
    }
}

impl Compressor {
    /// `message` as it goes into a frame (RFC 7692 section 7.2.1).
    pub fn compress(&mut self, message: &[u8]) -> &[u8] {
        self.compress.reset();
        self.out.clear();
        // Deflate's stored blocks bound what cannot be compressed.
        self.out.reserve(message.len() + message.len() / 8 + 128);
        self.compress
            .compress_vec(message, &mut self.out, FlushCompress::Sync)
            .expect("a compressor fails only when it is used after its end");
        self.out.strip_suffix(&TAIL).expect("the room sufficed, so the flush is complete")
    }
}

/// Inflates messages, one by one.
pub struct Inflater {
    inflate: Decompress,
    out: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { inflate: Decompress::new(false), out: Vec::new() }
    }
}

impl Inflater {
    /// The message that `payload` stands for (RFC 7692 section 7.2.2). It may have `limit` bytes; that bounds the memory
    /// too, whatever the payload would grow to.
    ///
    /// # Errors
    /// When it is not deflate's format, or beyond `limit`.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&[u8], &'static str> {
        self.inflate.reset(false);
        let out = &mut self.out;
        out.clear();
        for mut input in [payload, &TAIL] {
            loop {
                if out.len() == out.capacity() {
                    out.reserve_exact(out.len().max(CHUNK).min(limit + 1 - out.len()));
                }
                let before = self.inflate.total_in();
                let status = self.inflate.decompress_vec(input, out, FlushDecompress::Sync);
                input = &input[(self.inflate.total_in() - before) as usize..];
                if out.len() > limit {
                    return Err("message that inflates to more than any sent");
                }
                match status {
                    // A last block may end the message (section 7.2.3.4).
                    Ok(Status::StreamEnd) => return Ok(out),
                    Ok(_) if out.len() == out.capacity() => {}
                    Ok(_) if input.is_empty() => break,
                    Ok(Status::Ok) => {}
                    Ok(Status::BufError) | Err(_) => return Err("message that does not inflate"),
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Hello" in the examples of RFC 7692 section 7.2.3: alone, stored, with BFINAL, and in two blocks.
    const HELLOS: [&[u8]; 4] = [
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ];

    fn inflated(inflater: &mut Inflater, payload: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
        inflater.inflate(payload, limit).map(<[u8]>::to_vec)
    }

    #[test]
    fn the_rfcs_examples_inflate() {
        let mut inflater = Inflater::default();
        for hello in HELLOS {
            assert_eq!(inflated(&mut inflater, hello, 5).unwrap(), b"Hello", "{hello:x?}");
            assert!(inflated(&mut inflater, hello, 4).is_err(), "{hello:x?}");
        }
        // It refers to the message before, which was agreed not to be, and must not find it there.
        assert_ne!(inflated(&mut inflater, b"\xf2\x00\x11\x00\x00", 5), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn messages_come_back_whatever_they_hold() {
        let (mut inflater, mut compressor) = (Inflater::default(), Compressor::default());
        let mut rng = fastrand::Rng::with_seed(7);
        for size in [0, 1, 5, 127, 4095, 4096, 4097, 8192, 40_000, 65_536, 1_000_000] {
            for letters in [1, 3, 256] {
                let message: Vec<u8> = (0..size).map(|_| rng.usize(..letters) as u8).collect();
                let payload = compressor.compress(&message).to_vec();
                // Neither the message before nor the limit, when it is just met, makes a difference.
                assert_eq!(payload, compressor.compress(&message));
                assert!(size < 100 || letters > 3 || payload.len() < size / 2, "{} of {size}", payload.len());
                assert!(inflated(&mut inflater, &payload, size).unwrap() == message, "{size} of {letters}");
                assert!(
                    size == 0 || inflated(&mut inflater, &payload, size - 1).is_err(),
                    "{size} of {letters}"
                );
            }
        }
    }

    #[test]
    fn a_bomb_is_neither_inflated_nor_kept() {
        let (mut inflater, mut compressor) = (Inflater::default(), Compressor::default());
        let bomb = compressor.compress(&vec![0; 8 << 20]).to_vec();
        let limit = 100_000;
        assert_eq!(inflater.inflate(&bomb, limit), Err("message that inflates to more than any sent"));
        assert!(inflater.out.capacity() <= limit + 1, "{}", inflater.out.capacity());
    }

    #[test]
    fn only_what_was_offered_is_agreed_to() {
        let good = "permessage-deflate; server_no_context_takeover";
        for answer in [
            good,
            "permessage-deflate;client_no_context_takeover ;server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=\"10\"",
        ] {
            assert_eq!(agreed(Some(answer), true), Ok(()), "{answer}");
            assert!(agreed(Some(answer), false).is_err(), "{answer}");
        }
        assert_eq!(agreed(None, false), Ok(()));
        for answer in [
            "",
            "permessage-deflate",
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=16",
            "permessage-deflate; server_no_context_takeover, permessage-deflate",
            "x-webkit-deflate-frame",
        ] {
            assert!(agreed(Some(answer), true).is_err(), "{answer}");
        }
        assert!(agreed(None, true).is_err());
    }
}
