//! Answers to a handshake that break the protocol, and the rule that each breaks.

use std::fmt;

/// A fault in a 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHandshake(Fault);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Accept,
    NoAccept,
    TwoAccepts,
    Upgrade,
    NoUpgrade,
    Connection,
    NoConnection,
    Protocol,
    TwoProtocols,
    Extension,
    ExtensionParameter,
    TwoExtensions,
    StatusLine,
    Version,
    Nul,
    NoCr,
    NonAscii,
    LongHeader,
    Folded,
    Truncated,
}

/// Name, fault, and what is wrong and where that is written; sections are RFC 6455's where no other is named.
const FAULTS: [(&str, Fault, &str); 20] = [
    ("accept", Fault::Accept, "Sec-WebSocket-Accept is of another key (§4.1, answer, item 4)"),
    ("no-accept", Fault::NoAccept, "Sec-WebSocket-Accept is missing (§4.1, answer, item 4)"),
    ("two-accepts", Fault::TwoAccepts, "Sec-WebSocket-Accept stands there twice (§11.3.3)"),
    ("upgrade", Fault::Upgrade, "Upgrade names another protocol (§4.1, answer, item 2)"),
    ("no-upgrade", Fault::NoUpgrade, "Upgrade is missing (§4.1, answer, item 2)"),
    ("connection", Fault::Connection, "Connection does not say upgrade (§4.1, answer, item 3)"),
    ("no-connection", Fault::NoConnection, "Connection is missing (§4.1, answer, item 3)"),
    ("protocol", Fault::Protocol, "a subprotocol that was not offered (§4.1, answer, item 6)"),
    ("two-protocols", Fault::TwoProtocols, "Sec-WebSocket-Protocol stands there twice (§11.3.4)"),
    ("extension", Fault::Extension, "an extension that was not offered (§4.1, answer, item 5)"),
    (
        "extension-parameter",
        Fault::ExtensionParameter,
        "permessage-deflate with a parameter that does not exist (RFC 7692 §7.1)",
    ),
    ("two-extensions", Fault::TwoExtensions, "two extensions that both use RSV1 (RFC 7692 §5)"),
    ("status-line", Fault::StatusLine, "a status line without its spaces (RFC 9112 §4)"),
    ("version", Fault::Version, "HTTP/1.0, which has no upgrades (RFC 9110 §7.8)"),
    ("nul", Fault::Nul, "NUL in the value of a header (RFC 9110 §5.5)"),
    ("no-cr", Fault::NoCr, "lines that end in LF alone (RFC 9112 §2.2)"),
    (
        "non-ascii",
        Fault::NonAscii,
        "a header whose value is not ASCII, which may be taken or not (RFC 9110 §5.5)",
    ),
    ("long-header", Fault::LongHeader, "a header of 64 KiB, beyond what clients take (RFC 9110 §5.4)"),
    ("folded", Fault::Folded, "a header folded over two lines (RFC 9112 §5.2)"),
    ("truncated", Fault::Truncated, "the end of the connection inside the answer (RFC 9112 §8)"),
];

/// Bytes of the header that is too long: four times what Node's HTTP parser takes, eight times Python's.
const LONG: usize = 64 * 1024;

/// A 101, in parts.
#[derive(Debug)]
pub struct Response<'a> {
    /// Sec-WebSocket-Accept.
    pub accept: &'a str,
    /// The one that is chosen.
    pub subprotocol: Option<&'a [u8]>,
    /// Sec-WebSocket-Extensions.
    pub extension: Option<String>,
    /// Those that the path asks for.
    pub headers: &'a [(String, String)],
}

impl BadHandshake {
    /// The fault of that name.
    pub fn named(name: &str) -> Option<BadHandshake> {
        FAULTS.iter().find(|(each, ..)| *each == name).map(|(_, fault, _)| BadHandshake(*fault))
    }

    /// What to write where one of them is to stand, for whoever wrote something else.
    pub fn names() -> String {
        let names: Vec<&str> = FAULTS.iter().map(|(name, ..)| *name).collect();
        format!("takes {}", names.join(", "))
    }

    /// Names and rules, for the page.
    pub fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
        FAULTS.iter().map(|(name, _, rule)| (*name, *rule))
    }

    /// Whether nothing follows it.
    pub fn is_end(self) -> bool {
        self.0 == Fault::Truncated
    }

    /// Whether it is about the extension, so that no good one is to stand beside it.
    pub fn is_about_extensions(self) -> bool {
        matches!(self.0, Fault::Extension | Fault::ExtensionParameter | Fault::TwoExtensions)
    }

    /// Appends the answer with its fault to `out`.
    pub fn write(self, response: &Response, out: &mut Vec<u8>) {
        let mut head = ResponseHead::of(response);
        self.spoil(&mut head, response.accept);
        let end: &[u8] = if self.0 == Fault::NoCr { b"\n" } else { b"\r\n" };
        out.extend_from_slice(head.status.as_bytes());
        out.extend_from_slice(end);
        for (name, value) in &head.lines {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(end);
        }
        if !self.is_end() {
            out.extend_from_slice(end);
        }
    }

    fn spoil(self, head: &mut ResponseHead, accept: &str) {
        const DEFLATE: &str = "permessage-deflate";
        const WRONG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        match self.0 {
            Fault::Accept => head.set("Sec-WebSocket-Accept", WRONG),
            Fault::NoAccept => head.remove("Sec-WebSocket-Accept"),
            Fault::TwoAccepts => head.push("Sec-WebSocket-Accept", accept),
            Fault::Upgrade => head.set("Upgrade", "h2c"),
            Fault::NoUpgrade => head.remove("Upgrade"),
            Fault::Connection => head.set("Connection", "close"),
            Fault::NoConnection => head.remove("Connection"),
            Fault::Protocol => head.set("Sec-WebSocket-Protocol", "wsecho-not-offered"),
            Fault::TwoProtocols => {
                if !head.has("Sec-WebSocket-Protocol") {
                    head.push("Sec-WebSocket-Protocol", "wsecho-1");
                }
                head.push("Sec-WebSocket-Protocol", "wsecho-2");
            }
            Fault::Extension => head.set("Sec-WebSocket-Extensions", "x-wsecho-not-offered"),
            Fault::ExtensionParameter => {
                head.set("Sec-WebSocket-Extensions", &format!("{DEFLATE}; wsecho_no_such_parameter=1"));
            }
            Fault::TwoExtensions => head.set("Sec-WebSocket-Extensions", &format!("{DEFLATE}, {DEFLATE}")),
            Fault::StatusLine => head.status = "HTTP/1.1101Switching Protocols".to_owned(),
            Fault::Version => head.status = "HTTP/1.0 101 Switching Protocols".to_owned(),
            Fault::Nul => head.push("X-Wsecho", "a\0b"),
            Fault::NonAscii => head.lines.push(("X-Wsecho", b"\xE9\xFF".to_vec())),
            Fault::LongHeader => head.push("X-Wsecho", &"x".repeat(LONG)),
            Fault::Folded => head.push("X-Wsecho", "a\r\n b"),
            Fault::NoCr | Fault::Truncated => {}
        }
    }
}

struct ResponseHead<'a> {
    status: String,
    lines: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> ResponseHead<'a> {
    fn of(response: &'a Response) -> ResponseHead<'a> {
        let status = "HTTP/1.1 101 Switching Protocols".to_owned();
        let mut head = ResponseHead { status, lines: Vec::new() };
        head.push("Upgrade", "websocket");
        head.push("Connection", "Upgrade");
        head.push("Sec-WebSocket-Accept", response.accept);
        if let Some(subprotocol) = response.subprotocol {
            head.lines.push(("Sec-WebSocket-Protocol", subprotocol.to_vec()));
        }
        if let Some(extension) = &response.extension {
            head.push("Sec-WebSocket-Extensions", extension);
        }
        for (name, value) in response.headers {
            head.push(name, value);
        }
        head
    }

    fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|(each, _)| *each == name)
    }

    fn push(&mut self, name: &'a str, value: &str) {
        self.lines.push((name, value.as_bytes().to_vec()));
    }

    fn remove(&mut self, name: &str) {
        self.lines.retain(|(each, _)| *each != name);
    }

    fn set(&mut self, name: &'a str, value: &str) {
        self.remove(name);
        self.push(name, value);
    }
}

/// As it stands in a path.
impl fmt::Display for BadHandshake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAULTS.iter().find(|(_, fault, _)| *fault == self.0).map_or("", |(name, ..)| name);
        out.write_str(name)
    }
}
