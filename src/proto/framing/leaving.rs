//! The other half of a closing handshake that we began (RFC 6455 §5.5.1, §7.1.1).

use super::frame::{FrameHeader, Opcode};
use crate::proto::progress::Progress;
use std::ops::Range;

/// Looks for the peer's Close in what it still sends, and answers nothing.
///
/// The TCP connection is closed when both have said Close: a FIN right behind ours makes an unclean end of a clean one for clients
/// that see it before they have answered.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Payload bytes of the frame at hand that are to come.
    left: u64,
}

impl Leaving {
    /// In the middle of a frame with that many bytes to go, or, with 0, between two.
    pub fn behind(left: u64) -> Leaving {
        Leaving { left }
    }

    /// Skips frames; ended once the peer's Close is there, or something that is no frame.
    #[inline(never)]
    pub fn receive(&mut self, buf: &[u8], input: Range<usize>) -> Progress {
        let mut at = input.start;
        loop {
            let skipped = self.left.min((input.end - at) as u64);
            at += skipped as usize;
            self.left -= skipped;
            if self.left > 0 || at == input.end {
                return Progress::discard(at - input.start);
            }
            // Whether it is compressed was never of any matter here.
            let header = match FrameHeader::parse(&buf[at..input.end], true) {
                Ok(Some(header)) => header,
                Ok(None) => return Progress::discard(at - input.start),
                Err(_) => break,
            };
            at += header.size;
            self.left = header.len;
            if header.opcode == Opcode::Close {
                break;
            }
        }
        Progress { ended: true, ..Progress::discard(input.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes after which the peer's Close was seen, given one by one behind what was not consumed.
    fn ended_at(mut leaving: Leaving, bytes: &[u8]) -> Option<usize> {
        let mut carry = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            carry.push(*byte);
            let progress = leaving.receive(&carry, 0..carry.len());
            carry.drain(..progress.consumed);
            assert!(carry.len() < 14, "only the beginning of a header is kept");
            if progress.ended {
                return Some(at + 1);
            }
        }
        None
    }

    #[test]
    fn the_peers_close_is_found_behind_whatever_it_was_saying() {
        let text = [0x81, 0x83, 1, 2, 3, 4, 0x88, 0x80, 9];
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let close = [0x88, 0x82, 1, 2, 3, 4, 2, 0xEA];
        let rest = [0x88; 70_000];
        let all = [&rest[..], &text, &ping, &close].concat();
        let expected = all.len() - 2;
        assert_eq!(ended_at(Leaving::behind(rest.len() as u64), &all), Some(expected));
        let progress = Leaving::behind(rest.len() as u64).receive(&all, 0..all.len());
        assert!(progress.ended && progress.consumed == all.len());
        assert_eq!(ended_at(Leaving::behind(0), &[&text[..], &ping].concat()), None);
        assert_eq!(ended_at(Leaving::behind(0), &[0x81, 0x05]), Some(2), "no frame of a client");
    }
}
