//! UTF-8 that arrives in pieces.

/// Checks text across fragments and reads, refusing at the first byte that can no longer become UTF-8.
///
/// Keeps at most the three bytes of an unfinished code point, so text of any length costs four bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8 {
    unfinished: [u8; 3],
    count: u8,
}

/// The text cannot become UTF-8, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8;

impl Utf8 {
    /// Checks the next piece.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.count > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.continue_with(byte)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.unfinished[..tail.len()].copy_from_slice(tail);
                self.count = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Checks the next piece, and, if it is the last, that no code point is left unfinished.
    pub fn takes(&mut self, piece: &[u8], is_last: bool) -> bool {
        self.feed(piece).is_ok() && (!is_last || self.may_end())
    }

    /// True when the text may end here: no code point is unfinished.
    pub fn may_end(&self) -> bool {
        self.count == 0
    }

    fn continue_with(&mut self, byte: u8) -> Result<(), NotUtf8> {
        let count = self.count as usize;
        let mut code_point = [0; 4];
        code_point[..count].copy_from_slice(&self.unfinished[..count]);
        code_point[count] = byte;
        match std::str::from_utf8(&code_point[..=count]) {
            Ok(_) => self.count = 0,
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            Err(_) => {
                self.unfinished[count] = byte;
                self.count += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes up to and including the one that proves the text bad; `None` when all of it is taken.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut utf8 = Utf8::default();
        (0..bytes.len()).find(|&at| utf8.feed(&bytes[at..=at]).is_err()).map(|at| at + 1)
    }

    #[test]
    fn the_first_hopeless_byte_is_refused() {
        for (bytes, at) in [
            (&b"\x80"[..], 1),
            (b"a\xC0", 2),
            (b"\xC1\xBF", 1),
            (b"\xE0\x9F", 2),
            (b"\xED\xA0\x80", 2),
            (b"\xF0\x8F", 2),
            (b"\xF4\x90", 2),
            (b"\xF5", 1),
            (b"\xF0\x9F\x98a", 4),
            (b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80", 13),
        ] {
            assert_eq!(refused_at(bytes), Some(at), "{bytes:x?}");
            assert!(Utf8::default().feed(bytes).is_err(), "{bytes:x?} in one piece");
        }
    }

    /// Long text is checked in vectors, short text is not: both must find the same.
    #[test]
    fn a_fault_is_found_wherever_it_stands_in_a_long_text() {
        let plain = "\u{3bb}\u{20ac}\u{10348}a".repeat(40);
        for at in (0..=plain.len()).filter(|at| plain.is_char_boundary(*at)) {
            let (front, back) = plain.as_bytes().split_at(at);
            for fault in
                [&b"\x80"[..], b"\xC1\xBF", b"\xE0\x9F\x80", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xCE"]
            {
                let text = [front, fault, back].concat();
                // Behind the last byte an unfinished code point is no fault yet.
                let good = fault == b"\xCE" && back.is_empty();
                assert_eq!(Utf8::default().feed(&text).is_ok(), good, "{fault:x?} at {at}");
                assert!(!Utf8::default().takes(&text, true), "{fault:x?} at {at}");
            }
            for cut in [at, at + 1, at + 2, at + 3] {
                let (front, back) = plain.as_bytes().split_at(cut.min(plain.len()));
                let mut utf8 = Utf8::default();
                assert!(utf8.feed(front).is_ok() && utf8.takes(back, true), "cut at {cut}");
            }
        }
    }

    #[test]
    fn every_code_point_passes_byte_by_byte_and_only_whole_ones_may_end() {
        for code_point in (0..=char::MAX as u32).filter_map(char::from_u32) {
            let mut buffer = [0; 4];
            let bytes = code_point.encode_utf8(&mut buffer).as_bytes();
            let mut utf8 = Utf8::default();
            for (at, byte) in bytes.iter().enumerate() {
                assert!(utf8.feed(&[*byte]).is_ok());
                assert_eq!(utf8.may_end(), at + 1 == bytes.len());
            }
        }
    }
}
