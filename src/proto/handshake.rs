//! The opening handshake: an HTTP request head in, 101 or a refusal out (RFC 6455 §4.2, hybi-07 to -17, Hixie-75, -76).

pub mod deflate;
pub mod hixie76;
pub mod http;

use super::Version;
use super::limits::Limits;
use super::progress::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use deflate::Deflate;
use hixie76::Numbers;
pub use http::Head;
use http::{Repeated, Request};
use std::fmt;

/// The versions that are spoken, as a refused client is told them (§4.4).
const VERSIONS: &str = "13, 8, 7";

/// What §1.3 has the server append to the key before hashing.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a browser is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// At `/`.
    Test,
    /// At `/board` and `/board/<name>`.
    Board,
}

impl Page {
    fn html(self) -> &'static str {
        match self {
            Page::Test => include_str!("../pages/index.html"),
            Page::Board => include_str!("../pages/board.html"),
        }
    }
}

/// What is served where, and to whom: the part of the configuration that the protocol needs.
#[derive(Debug, Clone)]
pub struct Site {
    pub echo_paths: Paths,
    /// The Origins that may connect, compared byte for byte; empty for all.
    pub origins: Vec<String>,
    /// Whether compressed messages are agreed to.
    pub deflate: bool,
    /// Whether `/board` and `/board/<name>` are served.
    pub boards: bool,
    /// Whether `/metrics` and `/healthz` are served here too, and shown on the test page.
    pub stats: bool,
    pub limits: Limits,
}

/// The paths that echo.
#[derive(Debug, Clone)]
pub enum Paths {
    Any,
    These(Vec<String>),
}

impl Paths {
    /// One of them, to tell a user: the usual one where it is among them.
    pub fn example(&self) -> &str {
        const USUAL: &str = "/echo";
        match self {
            Paths::These(paths) if !self.hold(USUAL) => paths.first().map_or(USUAL, String::as_str),
            _ => USUAL,
        }
    }

    fn hold(&self, path: &str) -> bool {
        match self {
            Paths::Any => true,
            Paths::These(paths) => paths.iter().any(|each| each == path),
        }
    }
}

/// How a request was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Open(Opening, Place),
    Page(Page),
    /// The numbers were asked for; nothing is written yet.
    Stats(Endpoint),
    Refuse(Refusal),
}

/// Where an accepted connection's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Back.
    Echo,
    /// To the other members of the board of this name.
    Board(String),
}

/// How an accepted connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Hixie75,
    /// Once the last eight bytes of the challenge have come.
    Hixie76(Numbers),
    Hybi {
        version: Version,
        deflate: bool,
    },
}

/// Why a request was not answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400, with what is wrong with the request.
    Bad(&'static str),
    /// 403: the Origin is not on the list.
    Origin,
    /// 404, with the path that was asked for.
    NotFound(String),
    /// 405.
    Method,
    /// 426: a plain HTTP request for an echo path.
    NotWebSocket,
    /// 426: a version that is not spoken, or none.
    Version,
    /// 431.
    HeadTooLarge,
    /// 503: the boards, or this one, have no room.
    BoardFull,
    /// 505.
    HttpVersion,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Bad(_) => 400,
            Refusal::Origin => 403,
            Refusal::NotFound(_) => 404,
            Refusal::Method => 405,
            Refusal::NotWebSocket | Refusal::Version => 426,
            Refusal::HeadTooLarge => 431,
            Refusal::BoardFull => 503,
            Refusal::HttpVersion => 505,
        }
    }

    /// Status line and the headers that only this refusal has, body.
    fn parts(&self) -> (&'static str, &'static str) {
        match self {
            Refusal::Bad(why) => ("400 Bad Request", why),
            Refusal::Origin => ("403 Forbidden", "this Origin may not connect"),
            Refusal::NotFound(_) => ("404 Not Found", ""),
            Refusal::Method => ("405 Method Not Allowed\r\nAllow: GET", "only GET is served here"),
            Refusal::NotWebSocket => (
                "426 Upgrade Required\r\nUpgrade: websocket",
                "this is a WebSocket endpoint: connect with ws://, or open / for the test page",
            ),
            Refusal::Version => {
                ("426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8, 7\r\nUpgrade: websocket", "")
            }
            Refusal::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "a request head may have 8192 bytes and 64 headers here",
            ),
            Refusal::BoardFull => ("503 Service Unavailable", "no more boards, or members on this one"),
            Refusal::HttpVersion => (
                "505 HTTP Version Not Supported",
                "WebSocket needs HTTP/1.1; behind nginx that is `proxy_http_version 1.1`",
            ),
        }
    }

    /// Appends the whole answer to `letter`.
    pub fn write(&self, letter: &mut Vec<u8>) {
        let (status, text) = self.parts();
        let body = if text.is_empty() { String::new() } else { format!("{text}\n") };
        push(
            letter,
            format_args!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len()),
        );
        if !body.is_empty() {
            push(letter, format_args!("Content-Type: text/plain; charset=utf-8\r\n"));
        }
        push(letter, format_args!("\r\n{body}"));
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        match self {
            Refusal::NotFound(path) => write!(out, "404 {}", crate::escape::Escaped(path.as_bytes())),
            Refusal::Version => write!(out, "{status} a version other than {VERSIONS}"),
            _ => write!(out, "{status} {}", self.parts().1),
        }
    }
}

impl Head {
    /// Answers the whole head `bytes`, appending the answer to `letter`.
    #[inline(never)]
    pub fn answer(&self, bytes: &[u8], letter: &mut Vec<u8>, site: &Site) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; http::HEADERS_MAX];
        let decision = match self.parse(bytes, &mut headers) {
            Ok(request) => decide(&request, site),
            Err(refusal) => Err(refusal),
        };
        match decision {
            Ok(Welcome::Page(page)) => {
                write_page(letter, page, site);
                Answer::Page(page)
            }
            Ok(Welcome::Stats(endpoint)) => Answer::Stats(endpoint),
            Ok(Welcome::Hixie(hixie, place)) => {
                hixie.write(letter);
                Answer::Open(hixie.numbers.map_or(Opening::Hixie75, Opening::Hixie76), place)
            }
            Ok(Welcome::Hybi(hybi, place)) => {
                hybi.write(letter);
                Answer::Open(Opening::Hybi { version: hybi.version, deflate: hybi.deflate.is_some() }, place)
            }
            Err(refusal) => {
                refusal.write(letter);
                Answer::Refuse(refusal)
            }
        }
    }
}

impl Head {
    /// Which number the whole head `bytes` asks for.
    pub fn question(&self, bytes: &[u8]) -> Result<Endpoint, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; http::HEADERS_MAX];
        let path = self.parse(bytes, &mut headers)?.path;
        endpoint_of(path).ok_or_else(|| Refusal::NotFound(path.to_owned()))
    }
}

enum Welcome<'a> {
    Page(Page),
    Stats(Endpoint),
    Hixie(Hixie<'a>, Place),
    Hybi(Hybi<'a>, Place),
}

/// The path is decided before anything about WebSocket: a wrong one never sees a 101.
fn decide<'a>(request: &Request<'a>, site: &Site) -> Result<Welcome<'a>, Refusal> {
    let is_upgrade = request.lists("Upgrade", "websocket") && request.lists("Connection", "upgrade");
    if let Some(endpoint) = endpoint_of(request.path).filter(|_| site.stats && !is_upgrade) {
        return Ok(Welcome::Stats(endpoint));
    }
    let place = match (place_of(request.path, site), page_of(request.path, site)) {
        (_, Some(page)) if !is_upgrade => return Ok(Welcome::Page(page)),
        (Some(_), _) if !is_upgrade => return Err(Refusal::NotWebSocket),
        (Some(place), _) => place,
        (None, _) => return Err(Refusal::NotFound(request.path.to_owned())),
    };
    let is_hixie = !request.has("Sec-WebSocket-Version")
        && (request.has("Sec-WebSocket-Key1") || !request.has("Sec-WebSocket-Key"));
    if is_hixie {
        Ok(Welcome::Hixie(Hixie::read(request, site)?, place))
    } else {
        // Messages of several compressors would mix on a board.
        let deflate = site.deflate && place == Place::Echo;
        Ok(Welcome::Hybi(Hybi::read(request, site, deflate)?, place))
    }
}

fn endpoint_of(path: &str) -> Option<Endpoint> {
    match path {
        "/metrics" => Some(Endpoint::Metrics),
        "/healthz" => Some(Endpoint::Health),
        _ => None,
    }
}

fn page_of(path: &str, site: &Site) -> Option<Page> {
    match path {
        "/" => Some(Page::Test),
        "/board" if site.boards => Some(Page::Board),
        _ if site.boards && board_name(path).is_some() => Some(Page::Board),
        _ => None,
    }
}

fn place_of(path: &str, site: &Site) -> Option<Place> {
    if site.boards && (path == "/board" || path.starts_with("/board/")) {
        return board_name(path).map(|name| Place::Board(name.to_owned()));
    }
    site.echo_paths.hold(path).then_some(Place::Echo)
}

/// A board's name: 1 to 64 of `A-Za-z0-9._-`.
fn board_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/board/")?;
    let is_good = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    is_good.then_some(name)
}

/// A good request of Hixie-75 or -76.
struct Hixie<'a> {
    /// Of draft 76 only.
    numbers: Option<Numbers>,
    origin: &'a [u8],
    host: &'a [u8],
    target: &'a str,
    protocol: Option<&'a [u8]>,
}

impl<'a> Hixie<'a> {
    fn read(request: &Request<'a>, site: &Site) -> Result<Hixie<'a>, Refusal> {
        if request.has("Sec-WebSocket-Draft") {
            return Err(Refusal::Bad("hybi-01 to -03 are not spoken"));
        }
        let numbers = match (request.only("Sec-WebSocket-Key1"), request.only("Sec-WebSocket-Key2")) {
            (Ok(None), Ok(None)) => None,
            (Ok(Some(key1)), Ok(Some(key2))) => match (hixie76::number(key1), hixie76::number(key2)) {
                (Some(first), Some(second)) => Some(Numbers { first, second }),
                _ => return Err(Refusal::Bad("Sec-WebSocket-Key1 or -Key2 hides no number")),
            },
            _ => {
                return Err(Refusal::Bad("Hixie-76 needs one Sec-WebSocket-Key1 and one -Key2"));
            }
        };
        check_origin(site, request.only("Origin"))?;
        let protocol = match numbers {
            // The draft's one string, compared whole by its clients.
            None => request.all("WebSocket-Protocol").next(),
            // The same, or the list of a Flash bridge, which wants one of its elements.
            Some(_) => request.elements("Sec-WebSocket-Protocol").next(),
        };
        Ok(Hixie {
            numbers,
            origin: request.all("Origin").next().unwrap_or(b"null"),
            host: request.all("Host").next().unwrap_or_default(),
            target: request.target,
            protocol,
        })
    }

    /// Old WebKit compares the first 85 bytes of the answer to draft 75: status text, case and order are fixed.
    fn write(&self, letter: &mut Vec<u8>) {
        let (name, prefix) = if self.numbers.is_some() { ("WebSocket", "Sec-") } else { ("Web Socket", "") };
        push(
            letter,
            format_args!(
                "HTTP/1.1 101 {name} Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{prefix}WebSocket-Origin: "
            ),
        );
        letter.extend_from_slice(self.origin);
        push(letter, format_args!("\r\n{prefix}WebSocket-Location: ws://"));
        letter.extend_from_slice(self.host);
        letter.extend_from_slice(self.target.as_bytes());
        if let Some(protocol) = self.protocol {
            push(letter, format_args!("\r\n{prefix}WebSocket-Protocol: "));
            letter.extend_from_slice(protocol);
        }
        letter.extend_from_slice(b"\r\n\r\n");
    }
}

/// A good request of version 7, 8 or 13.
struct Hybi<'a> {
    version: Version,
    key: &'a [u8],
    protocol: Option<&'a str>,
    deflate: Option<Deflate>,
}

impl<'a> Hybi<'a> {
    fn read(request: &Request<'a>, site: &Site, deflate: bool) -> Result<Hybi<'a>, Refusal> {
        let version = match request.only("Sec-WebSocket-Version").ok().flatten() {
            Some(b"13") => Version::Hybi13,
            Some(b"8") => Version::Hybi8,
            Some(b"7") => Version::Hybi7,
            _ => return Err(Refusal::Version),
        };
        let key = match request.only("Sec-WebSocket-Key") {
            Ok(Some(key)) if is_key(key) => key,
            Ok(Some(_)) => return Err(Refusal::Bad("Sec-WebSocket-Key is not the base64 of 16 bytes")),
            Ok(None) => return Err(Refusal::Bad("Sec-WebSocket-Key is missing")),
            Err(Repeated) => return Err(Refusal::Bad("more than one Sec-WebSocket-Key")),
        };
        // Versions 7 and 8 have a name of their own for it (hybi-07 §5.2.2); some of their clients use the plain one.
        let origin = match request.only("Sec-WebSocket-Origin") {
            Ok(None) => request.only("Origin"),
            _ if version == Version::Hybi13 => request.only("Origin"),
            named => named,
        };
        check_origin(site, origin)?;
        let protocol = first_protocol(request)?;
        let deflate = if deflate { deflate::negotiate(request) } else { None };
        Ok(Hybi { version, key, protocol, deflate })
    }

    fn write(&self, letter: &mut Vec<u8>) {
        let mut sha1 = sha1_smol::Sha1::new();
        sha1.update(self.key);
        sha1.update(ACCEPT_GUID);
        let mut accept = [0; 28];
        BASE64
            .encode_slice(sha1.digest().bytes(), &mut accept)
            .expect("20 bytes are 28 characters of base64");
        letter.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        letter.extend_from_slice(&accept);
        if let Some(protocol) = self.protocol {
            push(letter, format_args!("\r\nSec-WebSocket-Protocol: {protocol}"));
        }
        if let Some(deflate) = self.deflate {
            push(letter, format_args!("\r\nSec-WebSocket-Extensions: {deflate}"));
        }
        letter.extend_from_slice(b"\r\n\r\n");
    }
}

fn is_key(key: &[u8]) -> bool {
    // 16 bytes are 24 characters; anything longer is not even decoded.
    let mut nonce = [0; 18];
    key.len() == 24 && BASE64.decode_slice(key, &mut nonce) == Ok(16)
}

fn check_origin(site: &Site, origin: Result<Option<&[u8]>, Repeated>) -> Result<(), Refusal> {
    let is_listed = match origin {
        Ok(Some(origin)) => site.origins.iter().any(|each| each.as_bytes() == origin),
        _ => false,
    };
    if site.origins.is_empty() || is_listed { Ok(()) } else { Err(Refusal::Origin) }
}

/// The first subprotocol that was offered (§4.1 item 10, §11.3.4): an echo speaks all of them.
fn first_protocol<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Refusal> {
    match request.elements("Sec-WebSocket-Protocol").next() {
        None => Ok(None),
        Some(name) if name.iter().all(|byte| http::is_token(*byte)) => {
            Ok(Some(std::str::from_utf8(name).expect("a token is ASCII")))
        }
        Some(_) => Err(Refusal::Bad("Sec-WebSocket-Protocol is not a list of tokens")),
    }
}

/// Text as the value of an HTML attribute in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

fn write_page(letter: &mut Vec<u8>, page: Page, site: &Site) {
    // The page mentions what it is told of.
    let services = match (site.boards, site.stats) {
        (false, false) => "",
        (true, false) => "boards",
        (false, true) => "stats",
        (true, true) => "boards stats",
    };
    let path = attribute(site.echo_paths.example());
    let html =
        page.html().replacen("<body>", &format!("<body class=\"{services}\" data-echo=\"{path}\">"), 1);
    push(
        letter,
        format_args!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
             connect-src *\r\nConnection: close\r\n\r\n{html}",
            html.len()
        ),
    );
}

#[inline(never)]
fn push(letter: &mut Vec<u8>, text: fmt::Arguments) {
    letter.extend_from_slice(text.to_string().as_bytes());
}
