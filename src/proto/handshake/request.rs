//! A whole request head, parsed.

use super::Refusal;
use super::routes::{Endpoint, endpoint_of};
use std::mem::MaybeUninit;

/// Most header fields a head may have.
pub const HEADERS_MAX: usize = 64;

/// Room for them, not written to before there is something to write: two kilobytes a handshake.
pub type Headers<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

/// Room for the header fields of a head.
pub fn no_headers<'a>() -> Headers<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// What a request wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The only one that is served.
    Get,
    /// GET without the body of its answer.
    Head,
    /// For probes of proxies, and answered as GET is.
    Options,
}

/// A request for this server: a method that is served, HTTP/1.1, one good Host, no body.
#[derive(Debug)]
pub struct Request<'a> {
    /// GET, or what is refused.
    pub method: Method,
    /// What it is for, as it was sent.
    pub target: &'a str,
    /// The target's path; `/` where an absolute target has none.
    pub path: &'a str,
    /// Its query with the question mark, or nothing.
    pub query: &'a str,
    headers: &'a [httparse::Header<'a>],
}

/// A header that may stand in a request once stood there more often.
#[derive(Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Request<'a> {
    /// Parses a whole head.
    ///
    /// `probes` says whether `/healthz` is served here: there alone OPTIONS and HTTP/1.0 are, which is how proxies probe.
    pub fn parse(
        bytes: &'a [u8],
        headers: &'a mut Headers<'a>,
        probes: bool,
    ) -> Result<Request<'a>, Refusal> {
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, headers) {
            Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
            Ok(_) => return Err(Refusal::Bad("not an HTTP request")),
            Err(error) => return Err(refusal_for(error)),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::Bad("not an HTTP request"));
        };
        let (path, query) = split(target);
        let is_probe = probes && endpoint_of(path) == Some(Endpoint::Health);
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" if is_probe => Method::Options,
            _ => return Err(Refusal::Method),
        };
        let is_old = version == 0;
        if is_old && !is_probe {
            return Err(Refusal::HttpVersion);
        }
        let request = Request { method, target, path, query, headers: parsed.headers };
        request.check_host(is_old)?;
        request.check_no_body()?;
        Ok(request)
    }

    /// Whether the client wants to speak WebSocket, in any version.
    pub fn is_upgrade(&self) -> bool {
        self.method == Method::Get
            && self.lists("Upgrade", "websocket")
            && self.lists("Connection", "upgrade")
    }

    /// HTTP/1.0 knew no Host.
    fn check_host(&self, is_old: bool) -> Result<(), Refusal> {
        match self.only("Host") {
            Ok(Some(host)) if is_host(host) => Ok(()),
            Ok(Some(_)) => Err(Refusal::Bad("Host is not a host and port")),
            Ok(None) if is_old => Ok(()),
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
        let mut from = 0;
        std::iter::from_fn(move || self.next(name, &mut from))
    }

    /// The value of the next line of that name, `from` a line on, which becomes the one behind it. One function for all lookups:
    /// as iterators they are a twentieth of the binary.
    #[inline(never)]
    fn next(&self, name: &str, from: &mut usize) -> Option<&'a [u8]> {
        for header in &self.headers[*from..] {
            *from += 1;
            // Its length tells most names from all others, and most clients write it as it is written here.
            let is_alike = header.name.len() == name.len();
            if is_alike && (header.name == name || header.name.eq_ignore_ascii_case(name)) {
                return Some(header.value);
            }
        }
        None
    }

    /// Whether there is a line of that name.
    pub fn has(&self, name: &str) -> bool {
        self.next(name, &mut 0).is_some()
    }

    /// The value of a header that may stand there once.
    #[inline(never)]
    pub fn only(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut from = 0;
        let Some(value) = self.next(name, &mut from) else { return Ok(None) };
        if self.next(name, &mut from).is_some() { Err(Repeated) } else { Ok(Some(value.trim_ascii())) }
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

/// The path and the query of a target. A proxy may send the absolute form (RFC 9112 §3.2.2), whose path may be empty.
fn split(target: &str) -> (&str, &str) {
    let is_ours =
        |scheme: &str| ["http", "https", "ws", "wss"].iter().any(|each| each.eq_ignore_ascii_case(scheme));
    // Most targets are a path, and a search is longer than those are.
    let scheme = if target.starts_with('/') { None } else { target.split_once("://") };
    let rest = match scheme {
        Some((scheme, rest)) if is_ours(scheme) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        _ => target,
    };
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    (if path.is_empty() { "/" } else { path }, query)
}

/// Whether `host` is a name or address with an optional port, as far as its characters and brackets tell.
fn is_host(host: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(rest) = host.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (literal, behind) = (&rest[..end], &rest[end + 1..]);
        let mut parts = literal.splitn(2, |byte| *byte == b'%');
        let address = parts.next().unwrap_or_default();
        let is_address = !address.is_empty()
            && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        // RFC 6874: behind a percent sign, escaped or (as browsers of old sent it) bare.
        let is_zone = |zone: &[u8]| {
            !zone.is_empty()
                && zone.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte))
        };
        let is_literal = is_address && parts.next().is_none_or(is_zone);
        return is_literal && (behind.is_empty() || behind.strip_prefix(b":").is_some_and(is_port));
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
    fn hosts() {
        for good in [
            "a",
            "example.com:8087",
            "[::1]",
            "[::1]:80",
            "127.0.0.1:1",
            "a_b",
            "localhost:",
            "[fe80::1%25eth0]",
            "[fe80::1%lo]:80",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "a b",
            "[::1",
            "[]",
            "[::1]x",
            "a:b",
            ":80",
            "a/b",
            "a@b",
            "\u{e9}",
            "a:1:2",
            "[::1]:x",
            "[::1%]",
            "[::1%a b]",
            "[%eth0]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_path_and_a_query_in_every_form() {
        for (target, parts) in [
            ("/", ("/", "")),
            ("/echo?a=b?c", ("/echo", "?a=b?c")),
            ("http://h:1/echo?a", ("/echo", "?a")),
            ("https://h/echo", ("/echo", "")),
            ("WSS://h/echo/", ("/echo/", "")),
            ("Ws://h", ("/", "")),
            ("http://h?next=/nowhere", ("/", "?next=/nowhere")),
            ("http://[::1]:8087?", ("/", "?")),
            ("ftp://h/echo", ("ftp://h/echo", "")),
            ("/a://b/c", ("/a://b/c", "")),
            ("/?http://h/echo", ("/", "?http://h/echo")),
            ("?", ("/", "?")),
            ("*", ("*", "")),
        ] {
            assert_eq!(split(target), parts, "{target}");
        }
    }
}
