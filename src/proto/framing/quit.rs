//! The text message `quit`, which asks the server to close, in every form it comes in.

/// The message as it is, and as compressors write it where nothing earlier is referred to; RFC 7692 has the sender strip
/// `00 00 FF FF` from the end.
///
/// A block of the fixed code or a stored one, marked as the last one or not, and behind it what flushing or ending the
/// stream adds. Nothing is inflated to know them. Made with Python's zlib, Go's compress/flate and Rust's flate2 (a test
/// inflates each).
const FORMS: &[&[u8]] = &[
    b"quit",
    // Z_SYNC_FLUSH or Z_FULL_FLUSH once: zlib (browsers, Node, Python, Java, nginx), pako, fflate, Go from level 2.
    b"\x2A\x2C\xCD\x2C\x01\x00",
    // Flushed twice: flate2 with miniz_oxide, whose callers go on until nothing more comes; Go.
    b"\x2A\x2C\xCD\x2C\x01\x00\x00\x00\xFF\xFF\x00",
    // Flushed partially, then fully: zlib's Z_PARTIAL_FLUSH before Z_SYNC_FLUSH.
    b"\x2A\x2C\xCD\x2C\x01\x08\x00",
    // Ended without a flush: Go's Close, which marks an empty stored block; stripped, and as RFC 7692 §7.2.3.4 has it.
    b"\x2A\x2C\xCD\x2C\x01\x04",
    b"\x2A\x2C\xCD\x2C\x01\x04\x00\x00\xFF\xFF\x00",
    // Flushed, then ended: Go's Flush and Close, in both ways; zlib's Z_FINISH behind Z_SYNC_FLUSH, in both ways.
    b"\x2A\x2C\xCD\x2C\x01\x00\x00\x00\xFF\xFF\x01",
    b"\x2A\x2C\xCD\x2C\x01\x00\x00\x00\xFF\xFF\x01\x00\x00\xFF\xFF\x00",
    b"\x2A\x2C\xCD\x2C\x01\x00\x00\x00\xFF\xFF\x03\x00",
    b"\x2A\x2C\xCD\x2C\x01\x00\x00\x00\xFF\xFF\x03\x00\x00",
    // Z_FINISH, the block itself marked as the last: zlib and libdeflate as they are; Mono and uWebSockets with the byte
    // that §7.2.3.4 asks for.
    b"\x2B\x2C\xCD\x2C\x01\x00",
    b"\x2B\x2C\xCD\x2C\x01\x00\x00",
    // The same, stored: zlib at level 0, Go at levels 1 (gorilla's default), 0 and -2.
    b"\x00\x04\x00\xFB\xFFquit\x00",
    b"\x00\x04\x00\xFB\xFFquit\x00\x00\x00\xFF\xFF\x00",
    b"\x00\x04\x00\xFB\xFFquit\x02\x00",
    b"\x00\x04\x00\xFB\xFFquit\x01",
    b"\x00\x04\x00\xFB\xFFquit\x01\x00\x00\xFF\xFF\x00",
    b"\x00\x04\x00\xFB\xFFquit\x00\x00\x00\xFF\xFF\x01",
    b"\x00\x04\x00\xFB\xFFquit\x00\x00\x00\xFF\xFF\x01\x00\x00\xFF\xFF\x00",
    b"\x00\x04\x00\xFB\xFFquit\x00\x00\x00\xFF\xFF\x03\x00",
    b"\x00\x04\x00\xFB\xFFquit\x00\x00\x00\xFF\xFF\x03\x00\x00",
    b"\x01\x04\x00\xFB\xFFquit",
    b"\x01\x04\x00\xFB\xFFquit\x00",
];

/// Bytes of the longest form.
const LONGEST: usize = 20;

/// How far the message that is coming is `quit`: so many bytes of one of its forms, or of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quit {
    form: u8,
    len: u8,
}

impl Default for Quit {
    fn default() -> Quit {
        Quit::NEVER
    }
}

impl Quit {
    /// Whatever comes, this message is another.
    pub const NEVER: Quit = Quit { form: u8::MAX, len: 0 };

    /// At the beginning of a text message.
    pub fn start(is_compressed: bool) -> Quit {
        Quit { form: u8::from(is_compressed), len: 0 }
    }

    /// Behind the next `payload` of the message.
    #[inline]
    pub fn after(self, payload: &[u8]) -> Quit {
        if payload.len() > LONGEST { Quit::NEVER } else { self.after_few(payload) }
    }

    #[inline(never)]
    fn after_few(self, payload: &[u8]) -> Quit {
        let goes_on =
            |form: &[u8]| form.strip_prefix(self.so_far()).is_some_and(|rest| rest.starts_with(payload));
        match self.forms().find(|(_, form)| goes_on(form)) {
            Some((form, _)) => Quit { form, len: self.len + payload.len() as u8 },
            None => Quit::NEVER,
        }
    }

    /// Whether the message, if it ends here, is `quit`.
    pub fn is_whole(self) -> bool {
        self.forms().any(|(_, form)| form == self.so_far())
    }

    fn so_far(self) -> &'static [u8] {
        FORMS.get(usize::from(self.form)).map_or(b"", |form| &form[..usize::from(self.len)])
    }

    /// The forms that a message which is compressed, or is not, can have.
    fn forms(self) -> impl Iterator<Item = (u8, &'static [u8])> {
        let range = match self.form {
            0 => 0..1,
            u8::MAX => 0..0,
            _ => 1..FORMS.len(),
        };
        range.map(|at| (at as u8, FORMS[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

    /// As far as raw DEFLATE `bytes` can be read.
    fn inflated(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(100);
        let mut inflater = Decompress::new(false);
        inflater.decompress_vec(bytes, &mut text, FlushDecompress::Sync).expect("valid DEFLATE");
        text
    }

    #[test]
    fn the_longest_form_is_as_long_as_is_said() {
        assert_eq!(FORMS.iter().map(|form| form.len()).max(), Some(LONGEST));
    }

    #[test]
    fn every_form_is_quit_to_whoever_inflates_it() {
        for form in &FORMS[1..] {
            assert_eq!(inflated(&[form, &b"\0\0\xFF\xFF"[..]].concat()), b"quit", "{form:x?}");
        }
    }

    #[test]
    fn a_form_is_known_however_it_is_cut_and_nothing_less_or_more_is() {
        for (at, form) in FORMS.iter().enumerate() {
            let start = Quit::start(at > 0);
            assert!(start.after(form).is_whole(), "{form:x?}");
            for cut in 0..form.len() {
                assert!(
                    start.after(&form[..cut]).after(b"").after(&form[cut..]).is_whole(),
                    "{form:x?} at {cut}"
                );
                let is_form = |bytes: &[u8]| FORMS.contains(&bytes);
                assert_eq!(start.after(&form[..cut]).is_whole(), is_form(&form[..cut]));
                let mut other = form.to_vec();
                other[cut] ^= 0x40;
                assert!(!start.after(&other).is_whole(), "{other:x?}");
            }
            let by_byte = form.iter().fold(start, |quit, byte| quit.after(&[*byte]));
            assert!(by_byte.is_whole());
            assert!(!Quit::start(at == 0).after(form).is_whole(), "compressed is not plain");
            assert!(!start.after(&[form, &b"!"[..]].concat()).is_whole());
        }
        assert!(!Quit::NEVER.after(b"quit").is_whole() && !Quit::NEVER.is_whole());
        assert!(!Quit::start(false).after(&[0; 100]).is_whole());
    }

    #[test]
    fn what_compressors_make_is_known() {
        let flushes =
            [FlushCompress::Sync, FlushCompress::Full, FlushCompress::Partial, FlushCompress::Finish];
        for level in 0..=9 {
            for first in flushes {
                let mut made = Vec::with_capacity(100);
                let mut deflater = Compress::new(Compression::new(level), false);
                deflater.compress_vec(b"quit", &mut made, first).expect("room");
                let assert_known = |made: &[u8]| {
                    let stripped = made.strip_suffix(b"\0\0\xFF\xFF").unwrap_or(made);
                    assert!(Quit::start(true).after(stripped).is_whole(), "level {level}: {stripped:x?}");
                };
                // After a partial flush a message cannot end.
                if !matches!(first, FlushCompress::Partial) {
                    assert_known(&made);
                }
                let then = if matches!(first, FlushCompress::Full) {
                    FlushCompress::Finish
                } else {
                    FlushCompress::Sync
                };
                if !matches!(first, FlushCompress::Finish) {
                    deflater.compress_vec(b"", &mut made, then).expect("room");
                    assert_known(&made);
                }
            }
        }
    }
}
