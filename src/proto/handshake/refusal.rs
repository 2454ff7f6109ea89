//! Every answer that turns a client away.

use std::fmt;

/// The versions that are spoken, as a refused client is told them (§4.4).
const VERSIONS: &str = "13, 8, 7";

/// Why a request was not answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400, with what is wrong with the request.
    Bad(&'static str),
    /// 403: the Origin is not on the list.
    Origin,
    /// 404, with the path that was asked for, and what there is instead.
    NotFound { path: String, hint: &'static str },
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
            Refusal::NotFound { .. } => 404,
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
            Refusal::NotFound { hint, .. } => ("404 Not Found", hint),
            Refusal::Method => {
                ("405 Method Not Allowed\r\nAllow: GET, HEAD", "only GET and HEAD are served here")
            }
            Refusal::NotWebSocket => (
                "426 Upgrade Required\r\nUpgrade: websocket",
                "this is a WebSocket endpoint: connect with ws://, or open / for the test page",
            ),
            Refusal::Version => (
                "426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8, 7\r\nUpgrade: websocket",
                "this server speaks versions 13, 8 and 7 of the WebSocket protocol",
            ),
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

    /// Appends the whole answer to `response`.
    pub fn write(&self, response: &mut Vec<u8>) {
        let (status, text) = self.parts();
        let body = if text.is_empty() { String::new() } else { format!("{text}\n") };
        push(
            response,
            format_args!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len()),
        );
        if !body.is_empty() {
            push(response, format_args!("Content-Type: text/plain; charset=utf-8\r\n"));
        }
        push(response, format_args!("\r\n{body}"));
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        match self {
            Refusal::NotFound { path, .. } => write!(out, "404 {}", crate::escape::Escaped(path.as_bytes())),
            Refusal::Version => write!(out, "{status} a version other than {VERSIONS}"),
            _ => write!(out, "{status} {}", self.parts().1),
        }
    }
}

/// Appends formatted text. One function for all of them: each formatting machinery inlined is code.
#[inline(never)]
pub(super) fn push(response: &mut Vec<u8>, text: fmt::Arguments) {
    response.extend_from_slice(text.to_string().as_bytes());
}
