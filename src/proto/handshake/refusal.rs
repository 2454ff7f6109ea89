//! Every answer that turns a client away.

use crate::proto::paths::late::Delay;
use crate::proto::paths::problem::Problem;
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
    NotFound {
        /// As it was asked for.
        path: String,
        /// A sentence.
        hint: &'static str,
    },
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
    /// 400 or 404: a path under `/ws` that makes no chain.
    Path(Box<Problem>),
    /// Any status, because a path under `/ws` asks for it.
    Asked(Box<Asked>),
}

/// A refusal that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub status: u16,
    /// In addition to those that all refusals have.
    pub headers: Vec<(String, String)>,
    /// How late it comes.
    pub delay: Option<Delay>,
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
            Refusal::Path(problem) => problem.status,
            Refusal::Asked(asked) => asked.status,
        }
    }

    /// Status line and the headers that only this refusal has, body.
    fn parts(&self) -> (&'static str, &str) {
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
            Refusal::Path(problem) if problem.status == 404 => ("404 Not Found", &problem.line),
            Refusal::Path(problem) => ("400 Bad Request", &problem.line),
            Refusal::Asked(asked) => (asked.reason(), "as this path asks for"),
        }
    }

    /// Appends the whole answer to `response`.
    pub fn write(&self, response: &mut Vec<u8>) {
        let (status, text) = self.parts();
        let mut body = format!("{text}\n");
        match self {
            Refusal::Asked(asked) => {
                push(response, format_args!("HTTP/1.1 {} {status}\r\n", asked.status));
                let owed = asked.owed().map(|(name, value)| (name.to_owned(), value.to_owned()));
                for (name, value) in owed.iter().chain(&asked.headers) {
                    push(response, format_args!("{name}: {value}\r\n"));
                }
                // None of these has a body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
                if matches!(asked.status, 204 | 205 | 304) {
                    body.clear();
                }
            }
            _ => push(response, format_args!("HTTP/1.1 {status}\r\n")),
        }
        // A length is that of a body, also of one that is not there: 204 has none, and 304 that of another answer (§8.6).
        if !matches!(self.status(), 204 | 304) {
            push(response, format_args!("Content-Length: {}\r\n", body.len()));
        }
        // Who names a protocol in Upgrade says so here (§7.8).
        let option = if self.status() == 426 { ", Upgrade" } else { "" };
        push(response, format_args!("Connection: close{option}\r\n"));
        if !body.is_empty() {
            push(response, format_args!("Content-Type: text/plain; charset=utf-8\r\n"));
        }
        push(response, format_args!("\r\n{body}"));
    }

    /// How late it is sent.
    pub fn delay(&self) -> Option<Delay> {
        match self {
            Refusal::Asked(asked) => asked.delay,
            _ => None,
        }
    }
}

impl Asked {
    /// What a status is never sent without, unless the path brings it itself (RFC 9110 §15.5).
    fn owed(&self) -> Option<(&'static str, &'static str)> {
        const CHALLENGE: &str = "Basic realm=\"wsecho\"";
        let owed = match self.status {
            401 => ("WWW-Authenticate", CHALLENGE),
            405 => ("Allow", "GET, HEAD"),
            407 => ("Proxy-Authenticate", CHALLENGE),
            426 => ("Upgrade", "websocket"),
            _ => return None,
        };
        let is_there = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(owed.0));
        (!is_there).then_some(owed)
    }

    /// The words behind the status, which mean nothing (RFC 9112 §4), for those that are asked for most.
    fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            204 => "No Content",
            302 => "Found",
            304 => "Not Modified",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            407 => "Proxy Authentication Required",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "As Asked",
        }
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
