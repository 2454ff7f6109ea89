//! The request head: found byte by byte, then parsed once.

use super::Refusal;

/// Longest head that is read, in bytes.
pub const HEAD_MAX: usize = 8 * 1024;
/// Most header fields a head may have.
pub const HEADERS_MAX: usize = 64;

/// How far the end of a head has been looked for.
///
/// Every byte is looked at once, however slowly it drips. `httparse` takes a bare LF for a line end and this does not, so
/// the two can never disagree on where a head ends (the root of request smuggling).
#[derive(Debug, Default)]
pub struct Head {
    scanned: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    First,
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
        for &byte in fresh {
            if self.is_decided() {
                break;
            }
            self.state = self.state.after(byte);
            self.scanned += 1;
            if self.scanned() == HEAD_MAX && !self.is_decided() {
                self.state = State::TooLarge;
            }
        }
        self.is_decided()
    }

    fn is_decided(&self) -> bool {
        matches!(self.state, State::Whole | State::Bad(_) | State::TooLarge)
    }

    /// Parses the head that [`Self::scan`] found.
    pub fn parse<'a>(
        &self,
        bytes: &'a [u8],
        headers: &'a mut [httparse::Header<'a>; HEADERS_MAX],
    ) -> Result<Request<'a>, Refusal> {
        match self.state {
            State::Whole => Request::parse(bytes, headers),
            State::Bad(why) => Err(Refusal::Bad(why)),
            _ => Err(Refusal::HeadTooLarge),
        }
    }
}

impl State {
    #[inline]
    fn after(self, byte: u8) -> State {
        match (self, byte) {
            (State::First, 0x16) => State::Bad("this port speaks plain HTTP and ws://, not TLS"),
            (State::First, byte) if !is_token(byte) => State::Bad("not an HTTP request"),
            (_, 0) => State::Bad("NUL in the request head"),
            (State::LineCr, b'\n') => State::LineStart,
            (State::EmptyCr, b'\n') => State::Whole,
            (State::LineCr | State::EmptyCr, _) => State::Bad("CR without LF in the request head"),
            (_, b'\n') => State::Bad("line of the request head not ended by CR LF"),
            (State::LineStart, b'\r') => State::EmptyCr,
            (State::LineStart, b' ' | b'\t') => State::Bad("folded header line"),
            (_, b'\r') => State::LineCr,
            _ => State::Line,
        }
    }
}

/// A request for this server: GET, HTTP/1.1, one good Host, no body.
#[derive(Debug)]
pub struct Request<'a> {
    /// The target in origin form, query and all.
    pub target: &'a str,
    /// The target without its query.
    pub path: &'a str,
    /// The target as it was sent.
    pub sent: &'a str,
    headers: &'a [httparse::Header<'a>],
}

/// A header that may stand in a request once stood there more often.
#[derive(Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Request<'a> {
    fn parse(
        bytes: &'a [u8],
        headers: &'a mut [httparse::Header<'a>; HEADERS_MAX],
    ) -> Result<Request<'a>, Refusal> {
        let mut parsed = httparse::Request::new(headers);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
            Ok(_) => return Err(Refusal::Bad("not an HTTP request")),
            Err(_) if bytes.starts_with(b"PROXY ") => {
                return Err(Refusal::Bad("a PROXY header, which takes --proxy-protocol"));
            }
            Err(error) => return Err(refusal_for(error)),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::Bad("not an HTTP request"));
        };
        let sent = target;
        let target = origin_form(sent);
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let request = Request { target, path, sent, headers: parsed.headers };
        if method != "GET" {
            return Err(Refusal::Method);
        }
        if version != 1 {
            return Err(Refusal::HttpVersion);
        }
        request.check_host()?;
        request.check_no_body()?;
        Ok(request)
    }

    fn check_host(&self) -> Result<(), Refusal> {
        match self.only("Host") {
            Ok(Some(host)) if is_host(host) => Ok(()),
            Ok(Some(_)) => Err(Refusal::Bad("Host is not a host and port")),
            Ok(None) => Err(Refusal::Bad("Host is missing")),
            Err(Repeated) => Err(Refusal::Bad("more than one Host")),
        }
    }

    /// A body would be taken for frames, or frames for a body, by whatever stands between here and the client.
    fn check_no_body(&self) -> Result<(), Refusal> {
        let has_body = self.has("Transfer-Encoding")
            || match self.only("Content-Length") {
                Ok(None | Some(b"0")) => false,
                // Some clients of Hixie-76 announce the end of their challenge.
                Ok(Some(b"8")) => !self.has("Sec-WebSocket-Key1"),
                _ => true,
            };
        if has_body { Err(Refusal::Bad("a request here has no body")) } else { Ok(()) }
    }

    /// Every line's name and value, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The values of every line of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        (0..).map_while(move |nth| self.nth(name, nth))
    }

    /// The value of the `nth` line of that name. One function for all lookups: as iterators they are a twentieth of the binary.
    #[inline(never)]
    fn nth(&self, name: &str, nth: usize) -> Option<&'a [u8]> {
        let mut lines = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        lines.nth(nth).map(|header| header.value)
    }

    /// Whether there is a line of that name.
    pub fn has(&self, name: &str) -> bool {
        self.nth(name, 0).is_some()
    }

    /// The value of a header that may stand there once.
    #[inline(never)]
    pub fn only(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        match self.nth(name, 1) {
            None => Ok(self.nth(name, 0).map(<[u8]>::trim_ascii)),
            Some(_) => Err(Repeated),
        }
    }

    /// The elements of a comma-separated list, over all lines of that name; empty ones left out.
    pub fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether the list `name` has `token` among its elements, whatever their case.
    #[inline(never)]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

fn refusal_for(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::HeadTooLarge,
        httparse::Error::Version => Refusal::HttpVersion,
        httparse::Error::HeaderName => Refusal::Bad("malformed header name"),
        httparse::Error::HeaderValue => Refusal::Bad("malformed header value"),
        _ => Refusal::Bad("malformed request line"),
    }
}

/// A proxy may send the absolute form (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    match target.split_once("://") {
        Some(("http" | "ws", rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    }
}

/// Whether `host` is a name or address with an optional port, as far as its characters and brackets tell.
fn is_host(host: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(rest) = host.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, behind) = (&rest[..end], &rest[end + 1..]);
        let is_address = !address.is_empty()
            && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'%'));
        return is_address && (behind.is_empty() || behind.strip_prefix(b":").is_some_and(is_port));
    }
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let is_name = !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte));
    is_name && parts.next().is_none_or(is_port)
}

/// RFC 9110 §5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_bad_at_the_byte_that_proves_it() {
        for (head, at) in [
            (&b"\x16\x03\x01"[..], 1),
            (b" GET / HTTP/1.1\r\n", 1),
            (b"\r\nGET / HTTP/1.1\r\n", 1),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 15),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 24),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 26),
            (b"GET / HTTP/1.1\rX", 16),
            (b"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n", 23),
            (b"GET / HTTP/1.1\r\nA: \0", 20),
            (b"GET / HTTP/1.1\r\n\rX", 18),
        ] {
            let mut scan = Head::default();
            assert!(!scan.scan(0, &head[..at - 1]), "{}", head.escape_ascii());
            assert!(scan.scan(at - 1, &head[at - 1..]));
            assert!(matches!(scan.state, State::Bad(_)), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn hosts() {
        for good in ["a", "example.com:8087", "[::1]", "[::1]:80", "127.0.0.1:1", "a_b", "localhost:"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in
            ["", "a b", "[::1", "[]", "[::1]x", "a:b", ":80", "a/b", "a@b", "\u{e9}", "a:1:2", "[::1]:x"]
        {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn an_absolute_target_is_brought_into_origin_form() {
        for (target, path) in [
            ("/", "/"),
            ("/echo?a=b?c", "/echo?a=b?c"),
            ("http://h:1/echo?a", "/echo?a"),
            ("ws://h", "/"),
            ("/a://b/c", "/a://b/c"),
            ("*", "*"),
        ] {
            assert_eq!(origin_form(target), path);
        }
    }
}
