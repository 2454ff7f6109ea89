//! Agreeing on permessage-deflate (RFC 7692 §7.1) in such a way that an echo need neither inflate nor deflate.
//!
//! Sent back in the order in which they came, the client's compressed messages are a valid compressed stream to the
//! client: its inflater sees exactly the history that its own deflater made. What remains is to promise nothing about our
//! compression that the client's does not keep:
//!
//! - `server_no_context_takeover`: our messages use no history if the client's do not, so the client is told the same.
//! - `server_max_window_bits`: our window fits if the client's does, and it may be told so only if it offered to be.

use super::request::Request;
use std::fmt;

/// The parameters of an agreement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deflate {
    no_context_takeover: bool,
    /// Window bits that server and client keep to.
    window_bits: Option<(u8, u8)>,
}

impl fmt::Display for Deflate {
    /// As the value of `Sec-WebSocket-Extensions` in the answer.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("permessage-deflate")?;
        if self.no_context_takeover {
            out.write_str("; server_no_context_takeover; client_no_context_takeover")?;
        }
        if let Some((server, client)) = self.window_bits {
            write!(out, "; server_max_window_bits={server}; client_max_window_bits={client}")?;
        }
        Ok(())
    }
}

/// The first offer in the request that can be accepted (§5.1: offers stand in order of preference).
pub fn negotiate(request: &Request) -> Option<Deflate> {
    request.all("Sec-WebSocket-Extensions").flat_map(offers).find_map(accept)
}

/// The elements of one header line, split at commas outside of quotes.
fn offers(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(line, b',')
}

fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |&byte| {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && byte == b'\\' {
            is_escaped = true;
        } else if byte == b'"' {
            is_quoted = !is_quoted;
        }
        !is_quoted && byte == separator
    })
    .map(<[u8]>::trim_ascii)
}

/// What the offer is answered with; `None` declines it: another extension, a parameter that is unknown, repeated or
/// ill-formed, or one that an echo cannot keep.
fn accept(offer: &[u8]) -> Option<Deflate> {
    let mut parts = split_unquoted(offer, b';');
    if parts.next() != Some(b"permessage-deflate") {
        return None;
    }
    let mut seen = [None; 4];
    for part in parts {
        let (index, value) = parameter(part)?;
        if seen[index].replace(value).is_some() {
            return None;
        }
    }
    let [server_no_context, client_no_context, server_bits, client_bits] = seen;
    if [server_no_context, client_no_context].into_iter().flatten().any(|value| value.is_some()) {
        return None;
    }
    let window_bits = match (server_bits, client_bits) {
        (None, _) => None,
        // Most clients compress with zlib, which has no window of 8 bits; this one did not say that it does.
        (Some(Some(8)), Some(client)) if client != Some(8) => return None,
        (Some(Some(server)), Some(client)) => Some((server, client.unwrap_or(server).min(server))),
        // Without a value; or the client's window cannot be bounded, so neither can ours.
        _ => return None,
    };
    Some(Deflate { no_context_takeover: server_no_context.is_some(), window_bits })
}

/// A parameter's place in the list of the four that exist, and its value; `None` where it is none of them or ill-formed.
fn parameter(part: &[u8]) -> Option<(usize, Option<u8>)> {
    let mut halves = part.splitn(2, |byte| *byte == b'=');
    let name = halves.next()?.trim_ascii();
    let value = match halves.next() {
        None => None,
        Some(value) => Some(window_bits(value.trim_ascii())?),
    };
    let index = match name {
        b"server_no_context_takeover" => 0,
        b"client_no_context_takeover" => 1,
        b"server_max_window_bits" => 2,
        b"client_max_window_bits" => 3,
        _ => return None,
    };
    Some((index, value))
}

/// 8 to 15 in decimal without leading zeros (§7.1.2), as a token or as a quoted string of one (RFC 6455 §9.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    let token = match value {
        [b'"', inside @ .., b'"'] => inside,
        token => token,
    };
    if !token.iter().all(u8::is_ascii_digit) || token.first() == Some(&b'0') {
        return None;
    }
    std::str::from_utf8(token).ok()?.parse().ok().filter(|bits| (8..=15).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Option<String> {
        offers(line.as_bytes()).find_map(accept).map(|deflate| deflate.to_string())
    }

    #[test]
    fn every_combination_of_the_four_parameters_promises_only_what_an_echo_keeps() {
        let server_context = ["", "; server_no_context_takeover"];
        let client_context = ["", "; client_no_context_takeover"];
        let server_bits = ["", "; server_max_window_bits=10"];
        let client_bits =
            ["", "; client_max_window_bits", "; client_max_window_bits=9", "; client_max_window_bits=12"];
        for server in server_context {
            for client in client_context {
                for ours in server_bits {
                    for theirs in client_bits {
                        let offer = format!("permessage-deflate{server}{client}{ours}{theirs}");
                        let context = match server {
                            "" => "",
                            _ => "; server_no_context_takeover; client_no_context_takeover",
                        };
                        let window = match (ours, theirs) {
                            ("", _) => Some(""),
                            (_, "") => None,
                            (_, "; client_max_window_bits=9") => {
                                Some("; server_max_window_bits=10; client_max_window_bits=9")
                            }
                            _ => Some("; server_max_window_bits=10; client_max_window_bits=10"),
                        };
                        let expected = window.map(|window| format!("permessage-deflate{context}{window}"));
                        assert_eq!(answer(&offer), expected, "{offer}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_acceptable_offer_is_taken() {
        for (line, expected) in [
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some("permessage-deflate")),
            (
                "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
                Some("permessage-deflate"),
            ),
            ("permessage-deflate; a=\",\", permessage-deflate", Some("permessage-deflate")),
            (
                "permessage-deflate; server_max_window_bits=\"11\"; client_max_window_bits",
                Some("permessage-deflate; server_max_window_bits=11; client_max_window_bits=11"),
            ),
            (
                "permessage-deflate; server_max_window_bits=8; client_max_window_bits, permessage-deflate",
                Some("permessage-deflate"),
            ),
            (
                "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
                Some("permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"),
            ),
            ("x-webkit-deflate-frame", None),
            ("", None),
        ] {
            assert_eq!(answer(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn unknown_or_ill_formed_parameters_decline_the_offer() {
        for parameters in [
            "unknown",
            "",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=+9",
            "client_max_window_bits=",
            "client_max_window_bits=\"9",
            "client_max_window_bits; client_max_window_bits",
            "server_max_window_bits; client_max_window_bits",
            "server_max_window_bits=9",
            "server_max_window_bits=8; client_max_window_bits",
            "server_max_window_bits=8; client_max_window_bits=9",
            "a=\"\\\\\\\"",
        ] {
            assert_eq!(answer(&format!("permessage-deflate; {parameters}")), None, "{parameters}");
        }
    }
}
