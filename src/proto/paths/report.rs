//! What the server saw of a request, as one JSON text.

use super::chain::Chain;
use super::chain::Step;
use crate::proto::Version;
use crate::proto::handshake::request::Request;
use core::net::SocketAddr;
use std::fmt::Write;

/// A report, to which only who is at the other end is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    json: String,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Of the socket; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// As a proxy in front says.
    pub proxied: Option<SocketAddr>,
    /// Version and suite, where it speaks TLS.
    pub tls: Option<String>,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy)]
pub struct Agreed<'a> {
    /// The framing's.
    pub version: Version,
    /// The one that was chosen.
    pub subprotocol: Option<&'a [u8]>,
    /// What was agreed on compression.
    pub extension: Option<&'a [u8]>,
}

impl Report {
    /// The report on a request, if `chain` sends it.
    pub fn wanted(chain: &Chain, request: &Request, agreed: &Agreed) -> Option<Report> {
        chain.steps.contains(&Step::Headers).then(|| Report::of(request, agreed))
    }

    fn of(request: &Request, agreed: &Agreed) -> Report {
        let mut json = "{\"request\":".to_owned();
        string(&mut json, format!("GET {} HTTP/1.1", request.target).as_bytes());
        json.push_str(",\"headers\":");
        list(&mut json, request.lines(), |json, (name, value)| {
            json.push('[');
            string(json, name.as_bytes());
            json.push(',');
            string(json, value);
            json.push(']');
        });
        let is_hixie75 = agreed.version == Version::Hixie75;
        let name = if is_hixie75 { "WebSocket-Protocol" } else { "Sec-WebSocket-Protocol" };
        json.push_str(",\"version\":");
        string(&mut json, agreed.version.name().as_bytes());
        for (key, header, agreed) in [
            ("subprotocols", name, agreed.subprotocol),
            ("extensions", "Sec-WebSocket-Extensions", agreed.extension),
        ] {
            let _ = write!(json, ",\"{key}\":{{\"offered\":");
            list(&mut json, request.elements(header), string);
            json.push_str(",\"agreed\":");
            or_null(&mut json, agreed);
            json.push('}');
        }
        Report { json }
    }

    /// Completes it.
    pub fn meet(&mut self, caller: &Caller) {
        let text = |address: SocketAddr| address.to_string();
        for (key, value) in [
            ("address", caller.address.map(text)),
            ("proxied", caller.proxied.map(text)),
            ("tls", caller.tls.clone()),
        ] {
            let _ = write!(self.json, ",\"{key}\":");
            or_null(&mut self.json, value.as_deref().map(str::as_bytes));
        }
        self.json.push('}');
    }

    /// The report so far.
    pub fn json(&self) -> &str {
        &self.json
    }
}

fn list<T>(json: &mut String, items: impl Iterator<Item = T>, mut one: impl FnMut(&mut String, T)) {
    json.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            json.push(',');
        }
        one(json, item);
    }
    json.push(']');
}

fn or_null(json: &mut String, text: Option<&[u8]>) {
    match text {
        Some(text) => string(json, text),
        None => json.push_str("null"),
    }
}

/// Bytes that are not UTF-8 stand for the characters of Latin-1, as headers once had them (RFC 9110 §5.5).
fn string(json: &mut String, bytes: &[u8]) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            character => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted() {
        let mut json = String::new();
        string(&mut json, b"a\"b\\c\td");
        string(&mut json, "\u{e9}\u{1f600}".as_bytes());
        string(&mut json, b"\xe9\xff");
        assert_eq!(json, "\"a\\\"b\\\\c\\u0009d\"\"\u{e9}\u{1f600}\"\"\u{e9}\u{ff}\"");
    }
}
