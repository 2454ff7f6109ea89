//! What is measured: the URL, the address behind it, and the upgrade that turns a socket into a WebSocket.

use std::net::{SocketAddr, ToSocketAddrs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

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
    /// Whole header lines, `Name: value`.
    pub headers: Vec<String>,
    pub subprotocols: Option<String>,
    pub origin: Option<String>,
}

/// The upgrade request for `target` (RFC 6455 section 4.1), with the key that `nonce` stands for.
pub fn request(target: &Target, extras: &Extras, nonce: u128) -> String {
    let mut out = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n\
         Sec-WebSocket-Version: 13\r\n",
        target.resource,
        target.authority,
        key(nonce)
    );
    if let Some(names) = &extras.subprotocols {
        out += &format!("Sec-WebSocket-Protocol: {names}\r\n");
    }
    if let Some(origin) = &extras.origin {
        out += &format!("Origin: {origin}\r\n");
    }
    for line in &extras.headers {
        out += line;
        out += "\r\n";
    }
    out + "\r\n"
}

/// Reads the answer to [`request`]: how many bytes its head takes, or `None` when more are needed.
///
/// # Errors
/// Why the connection is not a WebSocket, in a few words that are the same for every connection refused alike.
pub fn response(input: &[u8], nonce: u128) -> Result<Option<usize>, String> {
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
    let accept = head
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("Sec-WebSocket-Accept"))
        .map(|h| h.value.trim_ascii());
    match accept {
        None => Err("upgrade: no Sec-WebSocket-Accept".into()),
        Some(value) if value == accept_for(&key(nonce)).as_bytes() => Ok(Some(size)),
        Some(_) => Err("upgrade: wrong Sec-WebSocket-Accept".into()),
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

    #[test]
    fn only_the_right_answer_upgrades() {
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(response(good.as_bytes(), NONCE), Ok(Some(good.len())));
        for short in 0..good.len() {
            assert_eq!(response(&good.as_bytes()[..short], NONCE), Ok(None));
        }
        assert_eq!(response(good.as_bytes(), NONCE + 1), Err("upgrade: wrong Sec-WebSocket-Accept".into()));
        assert_eq!(response(b"HTTP/1.1 404 Not Found\r\n\r\n", NONCE), Err("upgrade: HTTP 404".into()));
        assert_eq!(response(b"SSH-2.0-OpenSSH\r\n\r\n", NONCE), Err("upgrade: not HTTP".into()));
    }
}
