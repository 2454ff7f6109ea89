//! What one connection says and hears, a line a header and a line a frame, for `--log-level trace`.
//!
//! A trace reads along in the bytes that were used and in those that are sent; nothing depends on what it makes of them,
//! and a connection that is not traced has none.

use std::fmt::{self, Arguments};

/// Bytes of a payload that are shown.
const PREVIEW: usize = 48;
/// Bytes of a head that are shown, all lines together.
const HEAD_MAX: usize = 16 * 1024;
/// Bytes of Hixie-76's challenge behind its head, and of the answer to it.
const CHALLENGE: usize = 8;
const DIGEST: usize = 16;
/// What every answer begins with.
const HTTP: &[u8] = b"HTTP/";

/// Headers whose values are nobody's business, in lower case.
const SECRETS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Where the lines go.
pub type Tell<'a> = &'a mut dyn FnMut(Arguments);

/// Both directions of a connection.
#[derive(Debug)]
pub struct Trace {
    received: Direction,
    sent: Direction,
    /// Of versions 7, 8 and 13, as the request had it.
    version: String,
}

#[derive(Debug)]
struct Direction {
    /// `received` or `sent`.
    name: &'static str,
    reading: Reading,
    /// The beginning of a head, of a frame's header and preview, or of a text.
    kept: Vec<u8>,
}

/// What is expected next.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// A head, or whatever comes in its place.
    Head,
    /// So many bytes that belong to the handshake.
    Challenge(usize),
    /// A frame of versions 7 to 13.
    Frame,
    /// So many bytes of a payload that is not shown.
    Payload(u64),
    /// A frame of the Hixie drafts.
    Hixie,
    /// A frame of this type that ends at FF, of which so many bytes have come.
    HixieText(u8, u64),
    /// The length of a frame of this type, as far as it has come.
    HixieLength(u8, u64),
    /// So many bytes of a frame that is not text.
    HixieSkip(u64),
    /// Nothing that would be worth a line.
    Rest,
}

impl Trace {
    pub fn new() -> Trace {
        let side = |name| Direction { name, reading: Reading::Head, kept: Vec::new() };
        Trace { received: side("received"), sent: side("sent"), version: String::new() }
    }

    /// The peer's bytes, as they were used.
    pub fn received(&mut self, bytes: &[u8], tell: Tell) {
        if !matches!(self.received.reading, Reading::Head) {
            return self.received.read(bytes, tell);
        }
        let head = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let end = head.windows(4).position(|window| window == b"\r\n\r\n");
        match end.filter(|_| head.first().is_some_and(u8::is_ascii_alphabetic)) {
            Some(end) => {
                self.received.tell_head(&head[..end], tell);
                self.version = value(&head[..end], "sec-websocket-version").unwrap_or_default();
                self.received.tell_more(head.len() - end - 4, tell);
            }
            // The header of a proxy, a policy request, or nothing that is known here.
            None => self.received.tell_bytes(bytes, tell),
        }
    }

    /// Our bytes, as they are sent or kept until they can be.
    pub fn sent(&mut self, bytes: &[u8], tell: Tell) {
        if !matches!(self.sent.reading, Reading::Head) {
            return self.sent.read(bytes, tell);
        }
        let mut head = std::mem::take(&mut self.sent.kept);
        head.extend_from_slice(bytes);
        let known = head.len().min(HTTP.len());
        if head[..known] != HTTP[..known] {
            self.sent.tell_bytes(&head, tell);
            self.sent.reading = Reading::Rest;
            return;
        }
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
            match head.len() {
                0..HEAD_MAX => self.sent.kept = head,
                _ => self.sent.reading = Reading::Rest,
            }
            return;
        };
        let (head, rest) = head.split_at(end + 4);
        self.sent.tell_head(&head[..end], tell);
        self.switch(&head[..end], tell);
        match self.sent.reading {
            Reading::Rest => self.sent.tell_more(rest.len(), tell),
            _ => self.sent.read(rest, tell),
        }
    }

    /// What is spoken behind this answer.
    fn switch(&mut self, head: &[u8], tell: Tell) {
        let (received, sent, version) = if head.starts_with(b"HTTP/1.1 101 WebSocket ") {
            (Reading::Challenge(CHALLENGE), Reading::Challenge(DIGEST), "hixie76")
        } else if head.starts_with(b"HTTP/1.1 101 Web Socket ") {
            (Reading::Hixie, Reading::Hixie, "hixie75")
        } else if head.starts_with(b"HTTP/1.1 101 ") {
            (Reading::Frame, Reading::Frame, self.version.as_str())
        } else {
            (Reading::Rest, Reading::Rest, "")
        };
        (self.received.reading, self.sent.reading) = (received, sent);
        if !version.is_empty() {
            let named = |what: &str, names: &[&str]| {
                let found = names.iter().find_map(|name| value(head, name));
                found.map_or_else(|| format!("no {what}"), |found| format!("{what} {found}"))
            };
            let protocol = named("subprotocol", &["sec-websocket-protocol", "websocket-protocol"]);
            let extensions = named("extensions", &["sec-websocket-extensions"]);
            tell(format_args!("agreed: version {version}, {protocol}, {extensions}"));
        }
    }
}

impl Direction {
    fn read(&mut self, mut bytes: &[u8], tell: Tell) {
        while !bytes.is_empty() {
            let taken = match self.reading {
                Reading::Head | Reading::Rest => return,
                Reading::Challenge(left) => self.read_challenge(left, bytes, tell),
                Reading::Frame => self.read_frame(bytes, tell),
                Reading::Payload(left) => {
                    let taken = left.min(bytes.len() as u64);
                    self.reading =
                        if taken == left { Reading::Frame } else { Reading::Payload(left - taken) };
                    taken as usize
                }
                _ => {
                    self.read_hixie(bytes[0], tell);
                    1
                }
            };
            bytes = &bytes[taken..];
        }
    }

    fn read_challenge(&mut self, left: usize, bytes: &[u8], tell: Tell) -> usize {
        let taken = left.min(bytes.len());
        self.kept.extend_from_slice(&bytes[..taken]);
        self.reading = Reading::Challenge(left - taken);
        if taken == left {
            let kept = std::mem::take(&mut self.kept);
            tell(format_args!("{} the end of the handshake: {}", self.name, Shown(&kept)));
            self.reading = Reading::Hixie;
        }
        taken
    }

    /// Takes what is missing of a frame's header and of the bytes that are shown; tells them once they are there.
    fn read_frame(&mut self, bytes: &[u8], tell: Tell) -> usize {
        let wanted = Frame::size(&self.kept);
        let taken = (wanted - self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..taken]);
        let wanted = Frame::size(&self.kept);
        if self.kept.len() == wanted {
            let frame = Frame::of(&self.kept);
            tell(format_args!("{} {frame}", self.name));
            let left = frame.len - frame.shown.len() as u64;
            self.reading = if left > 0 { Reading::Payload(left) } else { Reading::Frame };
            self.kept.clear();
        }
        taken
    }

    fn read_hixie(&mut self, byte: u8, tell: Tell) {
        let name = self.name;
        self.reading = match self.reading {
            Reading::HixieText(kind, len) if byte == 0xFF => {
                match kind {
                    0 => tell(format_args!("{name} text, {len} bytes: {}", Cut(&self.kept, len))),
                    _ => tell(format_args!("{name} a frame of type {kind:#04x}, {len} bytes, skipped")),
                }
                self.kept.clear();
                Reading::Hixie
            }
            Reading::HixieText(kind, len) => {
                if self.kept.len() < PREVIEW {
                    self.kept.push(byte);
                }
                Reading::HixieText(kind, len + 1)
            }
            Reading::HixieLength(kind, len) => {
                let len = len.wrapping_shl(7) | u64::from(byte & 0x7F);
                match (byte & 0x80, kind, len) {
                    (0, 0xFF, 0) => tell(format_args!("{name} the closing handshake")),
                    (0, _, _) => {
                        tell(format_args!("{name} a frame of type {kind:#04x}, {len} bytes, skipped"))
                    }
                    _ => {}
                }
                match byte & 0x80 {
                    0 => Reading::HixieSkip(len).settled(),
                    _ => Reading::HixieLength(kind, len),
                }
            }
            Reading::HixieSkip(left) => Reading::HixieSkip(left - 1).settled(),
            _ if byte < 0x80 => Reading::HixieText(byte, 0),
            _ => Reading::HixieLength(byte, 0),
        };
    }

    fn tell_head(&self, head: &[u8], tell: Tell) {
        for line in head[..head.len().min(HEAD_MAX)].split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            let is_secret = SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()));
            match is_secret && name.len() < line.len() {
                true => tell(format_args!("{} {}: (masked)", self.name, name.escape_ascii())),
                false => tell(format_args!("{} {}", self.name, line.escape_ascii())),
            }
        }
    }

    fn tell_more(&self, count: usize, tell: Tell) {
        if count > 0 {
            tell(format_args!("{} {count} bytes behind that", self.name));
        }
    }

    fn tell_bytes(&self, bytes: &[u8], tell: Tell) {
        tell(format_args!("{} {} bytes: {}", self.name, bytes.len(), Shown(bytes)));
    }
}

impl Reading {
    /// A frame of which nothing is left is over.
    fn settled(self) -> Reading {
        if let Reading::HixieSkip(0) = self { Reading::Hixie } else { self }
    }
}

/// The value of the first header of this name, which is in lower case.
fn value(head: &[u8], name: &str) -> Option<String> {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let (found, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let is_it = found.eq_ignore_ascii_case(name.as_bytes());
        is_it.then(|| value[1..].trim_ascii().escape_ascii().to_string())
    })
}

/// A frame of versions 7 to 13, from the bytes of its header and of the payload that is shown.
struct Frame<'a> {
    first: u8,
    is_masked: bool,
    len: u64,
    key: [u8; 4],
    shown: &'a [u8],
}

impl<'a> Frame<'a> {
    /// How many bytes of a frame that begins like this are needed to tell of it, as far as these show.
    fn size(kept: &[u8]) -> usize {
        let Some(second) = kept.get(1) else { return 2 };
        let header = Frame::header_size(*second);
        if kept.len() < header { header } else { header + Frame::len(kept).min(PREVIEW as u64) as usize }
    }

    fn header_size(second: u8) -> usize {
        let len = match second & 0x7F {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        len + if second & 0x80 != 0 { 4 } else { 0 }
    }

    /// The length in a whole header.
    fn len(kept: &[u8]) -> u64 {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
        match kept[1] & 0x7F {
            126 => big_endian(&kept[2..4]),
            127 => big_endian(&kept[2..10]),
            len => u64::from(len),
        }
    }

    fn of(kept: &'a [u8]) -> Frame<'a> {
        let (header, shown) = kept.split_at(Frame::header_size(kept[1]));
        let is_masked = kept[1] & 0x80 != 0;
        let key = header.last_chunk().filter(|_| is_masked).copied().unwrap_or_default();
        Frame { first: kept[0], is_masked, len: Frame::len(kept), key, shown }
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first & 0x0F {
            0 => out.write_str("continuation")?,
            1 => out.write_str("text")?,
            2 => out.write_str("binary")?,
            8 => out.write_str("close")?,
            9 => out.write_str("ping")?,
            10 => out.write_str("pong")?,
            opcode => write!(out, "opcode {opcode:#x}")?,
        }
        for (bit, name) in [(0x80, "FIN"), (0x40, "RSV1"), (0x20, "RSV2"), (0x10, "RSV3")] {
            if self.first & bit != 0 {
                write!(out, ", {name}")?;
            }
        }
        let plain: Vec<u8> =
            self.shown.iter().zip(self.key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        write!(out, "{}, {} bytes", if self.is_masked { ", masked" } else { "" }, self.len)?;
        match plain.split_first_chunk() {
            _ if plain.is_empty() => Ok(()),
            Some((code, reason)) if self.first & 0x0F == 8 => {
                write!(out, ": {} {}", u16::from_be_bytes(*code), Cut(reason, self.len - 2))
            }
            _ => write!(out, ": {}", Cut(&plain, self.len)),
        }
    }
}

/// The first bytes of so many, escaped and in quotes.
struct Cut<'a>(&'a [u8], u64);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0.escape_ascii())?;
        if (self.0.len() as u64) < self.1 { out.write_str("...") } else { Ok(()) }
    }
}

/// As many bytes as are shown, escaped and in quotes.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cut(&self.0[..self.0.len().min(PREVIEW)], self.0.len() as u64).fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 8\r\nCookie: secret\r\n\
        AUTHORIZATION: Basic secret\r\nX: \x1b[2J\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: chat\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    /// The lines that are told of what is received, sent and received, in pieces of `size`.
    fn lines(heads: [&str; 2], sent: &[u8], received: &[u8], size: usize) -> Vec<String> {
        let (mut trace, mut lines) = (Trace::new(), Vec::new());
        trace.received(heads[0].as_bytes(), &mut |line| lines.push(line.to_string()));
        for piece in [heads[1].as_bytes(), sent].concat().chunks(size) {
            trace.sent(piece, &mut |line| lines.push(line.to_string()));
        }
        for piece in received.chunks(size) {
            trace.received(piece, &mut |line| lines.push(line.to_string()));
        }
        lines
    }

    fn assert_lines(heads: [&str; 2], sent: &[u8], received: &[u8], expected: &[&str]) {
        for size in [1, 2, 3, 7, 100, usize::MAX] {
            let lines = lines(heads, sent, received, size);
            let differs = lines.iter().zip(expected).find(|(line, expected)| line != expected);
            assert!(lines == expected, "in pieces of {size}: {} lines, {differs:?}", lines.len());
        }
    }

    #[test]
    fn heads_are_shown_without_their_secrets_and_frames_with_their_beginning() {
        let long = [&[0x02, 0xFE, 1, 0, 0, 0, 0, 0][..], &[b'x'; 256], b"\x80\x80\0\0\0\0"].concat();
        let received = [
            &b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..],
            b"\xC1\x80\0\0\0\0\x01\x03\"\xe2\x82",
            &long,
            b"\x88\x85\0\0\0\0\x03\xe8bye\x83\x80\0\0\0\0",
            &[&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0; 65536]].concat(),
            b"\x89\x00",
        ]
        .concat();
        let shown = format!("received binary, masked, 256 bytes: \"{}\"...", "x".repeat(48));
        let zeros = format!("received binary, FIN, masked, 65536 bytes: \"{}\"...", r"\x00".repeat(48));
        let expected = [
            "received GET /echo HTTP/1.1",
            "received Host: a",
            "received Sec-WebSocket-Version: 8",
            "received Cookie: (masked)",
            "received AUTHORIZATION: (masked)",
            r"received X: \x1b[2J",
            "sent HTTP/1.1 101 Switching Protocols",
            "sent Sec-WebSocket-Protocol: chat",
            "sent Sec-WebSocket-Extensions: permessage-deflate",
            "agreed: version 8, subprotocol chat, extensions permessage-deflate",
            "sent text, FIN, 5 bytes: \"Hello\"",
            "sent close, FIN, 2 bytes: 1000 \"\"",
            "received text, FIN, masked, 5 bytes: \"Hello\"",
            "received text, FIN, RSV1, masked, 0 bytes",
            r#"received text, 3 bytes: "\"\xe2\x82""#,
            &shown,
            "received continuation, FIN, masked, 0 bytes",
            "received close, FIN, masked, 5 bytes: 1000 \"bye\"",
            "received opcode 0x3, FIN, masked, 0 bytes",
            &zeros,
            "received ping, FIN, 0 bytes",
        ];
        assert_lines([REQUEST, ANSWER], b"\x81\x05Hello\x88\x02\x03\xe8", &received, &expected);
    }

    #[test]
    fn the_drafts_of_old_are_read_along() {
        let request = "GET / HTTP/1.1\r\n\r\n";
        let answer = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nSec-WebSocket-Protocol: a\r\n\r\n";
        let received =
            [&b"^n:ds[4U\0Hello\xff\x80\x81\x00"[..], &[0xFF; 128], b"\x05ab\xff\0\xff\xff\0"].concat();
        let expected = [
            "received GET / HTTP/1.1",
            "sent HTTP/1.1 101 WebSocket Protocol Handshake",
            "sent Sec-WebSocket-Protocol: a",
            "agreed: version hixie76, subprotocol a, no extensions",
            "sent the end of the handshake: \"8jKS\\'y:G*Co,Wxa-\"",
            "sent text, 1 bytes: \"a\"",
            "received the end of the handshake: \"^n:ds[4U\"",
            "received text, 5 bytes: \"Hello\"",
            "received a frame of type 0x80, 128 bytes, skipped",
            "received a frame of type 0x05, 2 bytes, skipped",
            "received text, 0 bytes: \"\"",
            "received the closing handshake",
        ];
        assert_lines([request, answer], b"8jKS'y:G*Co,Wxa-\0a\xff", &received, &expected);
        let answer = "HTTP/1.1 101 Web Socket Protocol Handshake\r\n\r\n";
        let expected = [
            "received GET / HTTP/1.1",
            "sent HTTP/1.1 101 Web Socket Protocol Handshake",
            "agreed: version hixie75, no subprotocol, no extensions",
            "sent text, 1 bytes: \"a\"",
        ];
        assert_lines([request, answer], b"\0a\xff", b"", &expected);
    }

    #[test]
    fn what_is_no_websocket_is_told_once() {
        let page = ["received GET / HTTP/1.1", "sent HTTP/1.1 200 OK", "sent 4 bytes behind that"];
        assert_eq!(lines(["GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"], b"page", b"more", 100), page);
        let policy = [r#"received 4 bytes: "<pol""#, r#"sent 7 bytes: "<cross-""#];
        assert_eq!(lines(["<pol", "<cross-"], b"", b"", 100), policy);
        let v2 = [r#"received 13 bytes: "\r\n\r\n\x00\r\nQUIT\n!""#];
        assert_eq!(lines(["\r\n\r\n\0\r\nQUIT\n!", ""], b"", b"", 100), v2);
    }
}
