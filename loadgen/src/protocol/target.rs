//! What is measured: the URL, the address behind it, and the upgrade that turns a socket into a WebSocket.

use std::net::{SocketAddr, ToSocketAddrs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

use crate::protocol::deflate;
use crate::protocol::draft::Draft;
use crate::protocol::hixie::{self, Challenge};

/// Longest response head that is read (bytes); servers' heads are a few hundred.
pub const HEAD_MAX: usize = 16 * 1024;

/// A `ws://` URL, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub url: String,
    pub address: SocketAddr,
    /// For the Host header (RFC 6455 section 4.1).
    authority: String,
    /// Path and query.
    resource: String,
}

impl Target {
    /// Reads and resolves `url`; a name with several addresses stands for the first.
    ///
    /// # Errors
    /// A sentence naming the URL and what is wrong with it.
    pub fn resolve(url: &str) -> Result<Target, String> {
        let Some(rest) = url.strip_prefix("ws://") else {
            return Err(match url.strip_prefix("wss://") {
                Some(_) => format!("`{url}`: TLS is not spoken; measure behind the proxy, with ws://"),
                None => format!("`{url}` is not a URL such as ws://127.0.0.1:8087/echo"),
            });
        };
        let (authority, resource) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let resource = resource.split('#').next().unwrap_or_default();
        let resource = if resource.starts_with('?') { format!("/{resource}") } else { resource.to_owned() };
        // A colon after the bracket of an IPv6 address is the port's.
        let named_port =
            authority.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        let (host, port) = match named_port {
            Some((host, port)) => {
                (host, port.parse::<u16>().map_err(|_| format!("`{url}`: `{port}` is not a port"))?)
            }
            None => (authority, 80),
        };
        if host.is_empty() {
            return Err(format!("`{url}` names no host"));
        }
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let address = (name, port)
            .to_socket_addrs()
            .map_err(|e| format!("`{url}`: cannot resolve {host}: {e}"))?
            .next()
            .ok_or_else(|| format!("`{url}`: {host} has no address"))?;
        Ok(Target { url: url.to_owned(), address, authority: authority.to_owned(), resource })
    }
}

/// The parts of the upgrade request the user chose.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    pub draft: Draft,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Whole header lines, `Name: value`.
    pub headers: Vec<String>,
    pub subprotocols: Option<String>,
    pub origin: Option<String>,
}

/// The upgrade request for `target` (RFC 6455 section 4.1, draft-hixie-thewebsocketprotocol-75 and -76 section 4.1),
/// with the keys that `nonce` stands for.
pub fn request(target: &Target, extras: &Extras, nonce: u128) -> Vec<u8> {
    let draft = extras.draft;
    let mut out = format!("GET {} HTTP/1.1\r\n", target.resource);
    let mut line = |name: &str, value: &str| {
        out += name;
        out += ": ";
        out += value;
        out += "\r\n";
    };
    // 75 wants these two first, and in this spelling.
    line("Upgrade", if draft.is_hixie() { "WebSocket" } else { "websocket" });
    line("Connection", "Upgrade");
    line("Host", &target.authority);
    let mut body = Vec::new();
    match draft {
        Draft::Hixie75 => {}
        Draft::Hixie76 => {
            let challenge = Challenge::new(nonce);
            line("Sec-WebSocket-Key1", &challenge.key1);
            line("Sec-WebSocket-Key2", &challenge.key2);
            body.extend(challenge.key3);
        }
        Draft::Rfc6455 | Draft::Hybi8 | Draft::Hybi7 => {
            line("Sec-WebSocket-Key", &key(nonce));
            line("Sec-WebSocket-Version", &draft.number().to_string());
        }
    }
    if extras.deflate {
        line("Sec-WebSocket-Extensions", deflate::OFFER);
    }
    if let Some(names) = &extras.subprotocols {
        line(if draft == Draft::Hixie75 { "WebSocket-Protocol" } else { "Sec-WebSocket-Protocol" }, names);
    }
    if let Some(origin) = origin(target, extras) {
        let early = matches!(draft, Draft::Hybi8 | Draft::Hybi7);
        line(if early { "Sec-WebSocket-Origin" } else { "Origin" }, &origin);
    }
    for line in &extras.headers {
        out += line;
        out += "\r\n";
    }
    out += "\r\n";
    [out.into_bytes(), body].concat()
}

/// The origin to tell: 75 and 76 cannot do without.
fn origin(target: &Target, extras: &Extras) -> Option<String> {
    let own = || extras.draft.is_hixie().then(|| format!("http://{}", target.authority));
    extras.origin.clone().or_else(own)
}

/// Reads the answer to [`request`]: how many bytes it takes, or `None` when more are needed.
///
/// # Errors
/// Why the connection is not a WebSocket, in a few words that are the same for every connection refused alike.
pub fn response(
    input: &[u8],
    target: &Target,
    extras: &Extras,
    nonce: u128,
) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let size = match head.parse(input) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if input.len() > HEAD_MAX => return Err("upgrade: endless head".into()),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("upgrade: not HTTP".into()),
    };
    let code = head.code.unwrap_or_default();
    if code != 101 {
        return Err(format!("upgrade: HTTP {code}"));
    }
    let value = |name: &str| {
        let header = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.map(|h| String::from_utf8_lossy(h.value.trim_ascii()))
    };
    let proof = |name: &str, expected: &str| match value(name) {
        None => Err(format!("upgrade: no {name}")),
        Some(value) if value == expected => Ok(()),
        Some(_) => Err(format!("upgrade: wrong {name}")),
    };
    if !extras.draft.is_hixie() {
        proof("Sec-WebSocket-Accept", &accept_for(&key(nonce)))?;
        let extensions = value("Sec-WebSocket-Extensions");
        deflate::agreed(extensions.as_deref(), extras.deflate).map_err(|e| format!("upgrade: {e}"))?;
        return Ok(Some(size));
    }
    let location = format!("ws://{}{}", target.authority, target.resource);
    let origin = origin(target, extras).unwrap_or_default();
    if extras.draft == Draft::Hixie75 {
        proof("WebSocket-Origin", &origin)?;
        proof("WebSocket-Location", &location)?;
        return Ok(Some(size));
    }
    proof("Sec-WebSocket-Origin", &origin)?;
    proof("Sec-WebSocket-Location", &location)?;
    match input[size..].first_chunk::<{ hixie::DIGEST }>() {
        None => Ok(None),
        Some(digest) if *digest == Challenge::new(nonce).digest() => Ok(Some(size + hixie::DIGEST)),
        Some(_) => Err("upgrade: wrong digest".into()),
    }
}

/// A server's answer to a request with `key`.
pub fn acceptance(key: &str) -> String {
    let accept = accept_for(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

fn key(nonce: u128) -> String {
    STANDARD.encode(nonce.to_be_bytes())
}

/// The answer to `key` (RFC 6455 section 4.2.2, item 5.4).
fn accept_for(key: &str) -> String {
    let mut hash = Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 section 1.3; its nonce is "the sample nonce".
    const NONCE: u128 = u128::from_be_bytes(*b"the sample nonce");

    #[test]
    fn the_rfcs_key_has_the_rfcs_accept() {
        assert_eq!(key(NONCE), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_for(&key(NONCE)), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn urls_give_address_host_and_resource() {
        let rows = [
            ("ws://127.0.0.1:9/echo?x=1", "127.0.0.1:9", "127.0.0.1:9", "/echo?x=1"),
            ("ws://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/"),
            ("ws://127.0.0.1?x", "127.0.0.1:80", "127.0.0.1", "/?x"),
            ("ws://[::1]:81/#top", "[::1]:81", "[::1]:81", "/"),
            ("ws://[::1]", "[::1]:80", "[::1]", "/"),
        ];
        for (url, address, authority, resource) in rows {
            let target = Target::resolve(url).unwrap();
            assert_eq!(target.address.to_string(), address, "{url}");
            assert_eq!((&*target.authority, &*target.resource), (authority, resource), "{url}");
        }
        for bad in [
            "http://127.0.0.1/",
            "wss://127.0.0.1/",
            "ws://",
            "ws://:80/",
            "ws://127.0.0.1:http/",
            "127.0.0.1",
        ] {
            assert!(Target::resolve(bad).is_err(), "{bad}");
        }
    }

    fn target() -> Target {
        Target::resolve("ws://127.0.0.1:9/echo?x=1").unwrap()
    }

    fn extras(draft: Draft) -> Extras {
        Extras { draft, ..Extras::default() }
    }

    /// What every cut of `good` means: more is needed until all is there.
    fn assert_upgrades(good: &[u8], extras: &Extras) {
        let read = |input: &[u8]| response(input, &target(), extras, NONCE);
        assert_eq!(read(good), Ok(Some(good.len())));
        assert_eq!(read(&[good, b"\x00"].concat()), Ok(Some(good.len())));
        for short in 0..good.len() {
            assert_eq!(read(&good[..short]), Ok(None));
        }
    }

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn only_the_right_answer_upgrades() {
        let extras = extras(Draft::Rfc6455);
        assert_upgrades(GOOD.as_bytes(), &extras);
        let read = |input: &str, nonce| response(input.as_bytes(), &target(), &extras, nonce);
        assert_eq!(read(GOOD, NONCE + 1), Err("upgrade: wrong Sec-WebSocket-Accept".into()));
        assert_eq!(read("HTTP/1.1 404 Not Found\r\n\r\n", NONCE), Err("upgrade: HTTP 404".into()));
        assert_eq!(read("SSH-2.0-OpenSSH\r\n\r\n", NONCE), Err("upgrade: not HTTP".into()));
        let endless = format!("HTTP/1.1 101 X\r\nA: {}", "a".repeat(HEAD_MAX));
        assert_eq!(read(&endless, NONCE), Err("upgrade: endless head".into()));
    }

    #[test]
    fn deflate_has_to_be_agreed_to() {
        let extras = Extras { deflate: true, ..Extras::default() };
        let read = |answer: &str, extras: &Extras| response(answer.as_bytes(), &target(), extras, NONCE);
        let agreed =
            GOOD.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {}\r\n\r\n", deflate::OFFER));
        assert_upgrades(agreed.as_bytes(), &extras);
        assert_eq!(read(GOOD, &extras), Err("upgrade: permessage-deflate was not agreed to".into()));
        let unasked = "upgrade: an extension was agreed to that was not offered";
        assert_eq!(read(&agreed, &Extras::default()), Err(unasked.into()));
    }

    /// The whole of what goes out, but for the keys, which are different every time.
    #[test]
    fn requests_are_their_drafts() {
        let head = |draft| {
            let extras =
                Extras { subprotocols: Some("a".into()), headers: vec!["X: y".into()], ..extras(draft) };
            let extras = Extras { origin: Some("http://o".into()), ..extras };
            request(&target(), &extras, NONCE)
        };
        let begin =
            "GET /echo?x=1 HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: 127.0.0.1:9\r\n";
        let challenge = Challenge::new(NONCE);
        let (key1, key2) = (&challenge.key1, &challenge.key2);
        let rest = "Protocol: a\r\nOrigin: http://o\r\nX: y\r\n\r\n";
        assert_eq!(head(Draft::Hixie75), format!("{begin}WebSocket-{rest}").as_bytes());
        let keys = format!("Sec-WebSocket-Key1: {key1}\r\nSec-WebSocket-Key2: {key2}\r\n");
        let whole = [format!("{begin}{keys}Sec-WebSocket-{rest}").as_bytes(), &challenge.key3].concat();
        assert_eq!(head(Draft::Hixie76), whole);
        let begin =
            begin.replace("WebSocket", "websocket") + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (draft, version, origin) in [
            (Draft::Rfc6455, "13", ""),
            (Draft::Hybi8, "8", "Sec-WebSocket-"),
            (Draft::Hybi7, "7", "Sec-WebSocket-"),
        ] {
            let rest = rest.replace("Origin", &format!("{origin}Origin"));
            let whole = format!("{begin}Sec-WebSocket-Version: {version}\r\nSec-WebSocket-{rest}");
            assert_eq!(head(draft), whole.as_bytes(), "{draft:?}");
        }
    }

    #[test]
    fn hixie_answers_name_the_origin_and_the_location_and_76_has_a_digest() {
        for (draft, prefix) in [(Draft::Hixie75, ""), (Draft::Hixie76, "Sec-")] {
            let head = format!(
                "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                 {prefix}WebSocket-Origin: http://127.0.0.1:9\r\n\
                 {prefix}WebSocket-Location: ws://127.0.0.1:9/echo?x=1\r\n\r\n"
            );
            let digest = Challenge::new(NONCE).digest();
            let proof = if draft == Draft::Hixie76 { &digest[..] } else { &[] };
            assert_upgrades(&[head.as_bytes(), proof].concat(), &extras(draft));
            let read =
                |head: &str| response(&[head.as_bytes(), proof].concat(), &target(), &extras(draft), NONCE);
            let error = |what: &str| Err(format!("upgrade: {what}"));
            assert_eq!(read(&head.replace("?x=1", "")), error(&format!("wrong {prefix}WebSocket-Location")));
            assert_eq!(
                read(&head.replace("Origin: http", "Origin: ftp")),
                error(&format!("wrong {prefix}WebSocket-Origin"))
            );
            assert_eq!(
                read(&head.replace("Origin", "Orion")),
                error(&format!("no {prefix}WebSocket-Origin"))
            );
            if draft == Draft::Hixie76 {
                let other = [head.as_bytes(), &[7; 16]].concat();
                assert_eq!(response(&other, &target(), &extras(draft), NONCE), error("wrong digest"));
            }
        }
    }
}
