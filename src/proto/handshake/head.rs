//! The request head: where it ends, byte by byte, and whether it can become one at all.

use super::Refusal;
use super::request::{Headers, Request, is_token};

/// Longest head that is read, in bytes.
pub const HEAD_MAX: usize = 8 * 1024;

/// What version 2 of the PROXY protocol begins with, as far as it cannot be HTTP.
const PROXY_V2: &[u8] = b"\r\n\r\n\0";
/// The third part of a request line, with digits for the question marks.
const VERSION: &[u8] = b"HTTP/?.?";

const NOT_HTTP: &str = "not an HTTP request";
const REQUEST_LINE: &str = "malformed request line";
const PROXY: &str = "a PROXY header, which takes --proxy-protocol";

/// How far the end of a head has been looked for.
///
/// Every byte is looked at once, however slowly it drips, and what is no HTTP is refused at the byte that proves it.
/// `httparse` takes a bare LF for a line end and this does not, so the two can never disagree on where a head ends (the
/// root of request smuggling).
#[derive(Debug, Default)]
pub struct Head {
    scanned: u16,
    state: HeadState,
    /// It comes through TLS.
    pub is_secure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeadState {
    /// Before the request line, behind so many bytes of [`PROXY_V2`]: an empty line is skipped (RFC 9112 §2.2).
    Lead(u8),
    Method,
    TargetStart,
    Target,
    /// Behind so many bytes of [`VERSION`].
    Version(u8),
    Line,
    /// Behind the CR of a line.
    LineCr,
    /// At the first byte of a line that is not the first.
    LineStart,
    /// Behind the CR of the empty line.
    EmptyCr,
    Whole,
    Bad(&'static str),
    TooLarge,
}

impl Default for HeadState {
    fn default() -> HeadState {
        HeadState::Lead(0)
    }
}

impl Head {
    /// Bytes that have been looked at; of a whole head, its size.
    pub fn scanned(&self) -> usize {
        self.scanned as usize
    }

    /// Looks at the `fresh` bytes behind those seen so far; true once there is something to answer: a whole head, or one
    /// that can never become good.
    ///
    /// `seen` is [`Self::scanned`], restated by the caller who keeps those bytes.
    pub fn scan(&mut self, seen: usize, fresh: &[u8]) -> bool {
        debug_assert_eq!(seen, self.scanned());
        let fresh = &fresh[..fresh.len().min(HEAD_MAX - self.scanned())];
        let mut at = 0;
        while at < fresh.len() && !self.is_decided() {
            self.state = self.state.after(fresh[at]);
            at += 1;
            at += self.state.run(&fresh[at..]);
        }
        self.scanned += at as u16;
        if self.scanned() == HEAD_MAX && !self.is_decided() {
            self.state = HeadState::TooLarge;
        }
        self.is_decided()
    }

    fn is_decided(&self) -> bool {
        matches!(self.state, HeadState::Whole | HeadState::Bad(_) | HeadState::TooLarge)
    }

    /// Parses the head that [`Self::scan`] found; `probes` as for [`Request::parse`].
    pub fn parse<'a>(
        &self,
        bytes: &'a [u8],
        headers: &'a mut Headers<'a>,
        probes: bool,
    ) -> Result<Request<'a>, Refusal> {
        match self.state {
            HeadState::Whole => Request::parse(bytes, headers, probes),
            // Version 1 is a line that begins as a request does.
            HeadState::Bad(REQUEST_LINE) if bytes.starts_with(b"PROXY ") => Err(Refusal::Bad(PROXY)),
            HeadState::Bad(why) => Err(Refusal::Bad(why)),
            _ => Err(Refusal::HeadTooLarge),
        }
    }
}

impl HeadState {
    /// How many of these bytes change nothing: most of a head is such runs.
    #[inline]
    fn run(self, bytes: &[u8]) -> usize {
        let end = match self {
            HeadState::Line => {
                bytes.iter().position(|byte| *byte <= b'\r' && matches!(byte, 0 | b'\n' | b'\r'))
            }
            HeadState::Target => bytes.iter().position(|byte| !matches!(byte, 0x21..=0x7E | 0x80..)),
            _ => Some(0),
        };
        end.unwrap_or(bytes.len())
    }

    #[inline]
    fn after(self, byte: u8) -> HeadState {
        match (self, byte) {
            (HeadState::Lead(seen), byte) => HeadState::after_lead(seen, byte),
            (_, 0) => HeadState::Bad("NUL in the request head"),
            (HeadState::LineCr, b'\n') => HeadState::LineStart,
            (HeadState::EmptyCr, b'\n') => HeadState::Whole,
            (HeadState::LineCr | HeadState::EmptyCr, _) => {
                HeadState::Bad("CR without LF in the request head")
            }
            (_, b'\n') => HeadState::Bad("line of the request head not ended by CR LF"),
            (HeadState::LineStart, b'\r') => HeadState::EmptyCr,
            (HeadState::LineStart, b' ' | b'\t') => HeadState::Bad("folded header line"),
            (HeadState::Line, b'\r') => HeadState::LineCr,
            (HeadState::Line | HeadState::LineStart, _) => HeadState::Line,
            (HeadState::Method, b' ') => HeadState::TargetStart,
            (HeadState::Method, b'\r') => HeadState::Bad(NOT_HTTP),
            (HeadState::Method, byte) if is_token(byte) => HeadState::Method,
            (HeadState::Target, b' ') => HeadState::Version(0),
            (HeadState::TargetStart | HeadState::Target, 0x21..=0x7E | 0x80..) => HeadState::Target,
            (HeadState::Version(seen), byte) => HeadState::after_version(usize::from(seen), byte),
            _ => HeadState::Bad(REQUEST_LINE),
        }
    }

    fn after_lead(seen: u8, byte: u8) -> HeadState {
        match (seen, byte) {
            (0, 0x16) => HeadState::Bad("this port speaks plain HTTP and ws://, not TLS"),
            (4, 0) => HeadState::Bad(PROXY),
            (0 | 2, byte) if is_token(byte) => HeadState::Method,
            (seen, byte) if PROXY_V2.get(usize::from(seen)) == Some(&byte) => HeadState::Lead(seen + 1),
            _ => HeadState::Bad(NOT_HTTP),
        }
    }

    fn after_version(seen: usize, byte: u8) -> HeadState {
        let is_next = match VERSION.get(seen) {
            Some(b'?') => byte.is_ascii_digit(),
            Some(expected) => byte == *expected,
            None => false,
        };
        match byte {
            b'\r' if seen == VERSION.len() => HeadState::LineCr,
            _ if is_next => HeadState::Version(seen as u8 + 1),
            _ => HeadState::Bad(REQUEST_LINE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    #[test]
    fn a_head_is_bad_at_the_byte_that_proves_it() {
        for (head, at, why) in [
            (&b"\x16\x03\x01"[..], 1, "TLS"),
            (b" GET / HTTP/1.1\r\n", 1, NOT_HTTP),
            (b"\nGET / HTTP/1.1\r\n", 1, NOT_HTTP),
            (b"\r\r\n", 2, NOT_HTTP),
            (b"\r\n\nGET", 3, NOT_HTTP),
            (b"\r\n\r\nGET", 5, NOT_HTTP),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", 5, PROXY),
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", 12, REQUEST_LINE),
            (b"SSH-2.0-OpenSSH_9.2\r\n", 20, NOT_HTTP),
            (b"SSH-2.0-OpenSSH_9.2 Debian-2\r\n", 29, REQUEST_LINE),
            (b"EHLO mail.example\r\n", 18, REQUEST_LINE),
            (b"*1\r\n$4\r\nPING\r\n", 3, NOT_HTTP),
            (b"stats\n", 6, "CR LF"),
            (b"GET/ HTTP/1.1\r\n", 4, REQUEST_LINE),
            (b"GET  /echo HTTP/1.1\r\n", 5, REQUEST_LINE),
            (b"GET /echo  HTTP/1.1\r\n", 11, REQUEST_LINE),
            (b"GET /echo\r\n", 10, REQUEST_LINE),
            (b"GET /echo http/1.1\r\n", 11, REQUEST_LINE),
            (b"GET /echo HTTP/11\r\n", 17, REQUEST_LINE),
            (b"GET /echo HTTP/x.1\r\n", 16, REQUEST_LINE),
            (b"GET /echo HTTP/1.1 \r\n", 19, REQUEST_LINE),
            (b"GET /echo HTTP/1.11\r\n", 19, REQUEST_LINE),
            (b"GET /e\x1b[2J HTTP/1.1\r\n", 7, REQUEST_LINE),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 15, "CR LF"),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 24, "CR LF"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 26, "CR LF"),
            (b"GET / HTTP/1.1\rX", 16, "CR without LF"),
            (b"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n", 23, "folded"),
            (b"GET / HTTP/1.1\r\nA: \0", 20, "NUL"),
            (b"GET / HTTP/1.1\r\n\rX", 18, "CR without LF"),
        ] {
            let mut scan = Head::default();
            assert!(!scan.scan(0, &head[..at - 1]), "{}", head.escape_ascii());
            assert!(scan.scan(at - 1, &head[at - 1..]), "{}", head.escape_ascii());
            assert!(
                matches!(scan.state, HeadState::Bad(bad) if bad.contains(why)),
                "{} {scan:?}",
                head.escape_ascii()
            );
            // In one piece as in two.
            let mut whole = Head::default();
            assert!(whole.scan(0, head));
            assert_eq!((whole.state, whole.scanned), (scan.state, scan.scanned));
        }
    }

    #[test]
    fn one_empty_line_may_come_first() {
        for head in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut scan = Head::default();
            assert!(scan.scan(0, &[head, b"more"].concat()));
            assert_eq!(scan.scanned(), head.len());
            let mut headers = request::no_headers();
            assert_eq!(scan.parse(head, &mut headers, false).expect("a request").path, "/");
        }
    }
}
