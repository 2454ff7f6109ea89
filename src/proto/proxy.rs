//! The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt): who the client behind a proxy is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt;

/// Longest header of version 1, CR LF included.
const V1_MAX: usize = 107;
/// What every header of version 2 begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// Longest rest of a header of version 2 that is waited for: addresses, and twice the notes (TLVs) that nginx takes.
const V2_REST_MAX: usize = 8192;

/// A header at the front of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Bytes of the header.
    pub size: usize,
    /// The client; `None` where the proxy speaks for itself (a health check) or does not know.
    pub client: Option<SocketAddr>,
}

/// Why the connection is to be dropped (§2: a receiver must not guess).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotProxy {
    /// Not a header, or one that breaks the rules.
    NoHeader,
    /// A header of version 2 with more notes than are waited for.
    TooLong,
}

impl fmt::Display for NotProxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotProxy::NoHeader => out.write_str("no PROXY header where one was to come"),
            NotProxy::TooLong => write!(out, "a PROXY header longer than {} bytes", V2_FIXED + V2_REST_MAX),
        }
    }
}

/// Reads the header at the front of `input`; `Ok(None)` while it is not whole.
pub fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, NotProxy> {
    let known = input.len().min(V2_SIGNATURE.len());
    if input[..known] == V2_SIGNATURE[..known] { parse_v2(input) } else { parse_v1(input) }
}

/// A client of IPv4 may be named by an address of IPv6 that maps its own.
fn canonical(client: SocketAddr) -> SocketAddr {
    SocketAddr::new(client.ip().to_canonical(), client.port())
}

fn parse_v1(input: &[u8]) -> Result<Option<ProxyHeader>, NotProxy> {
    const OPENING: &[u8] = b"PROXY ";
    let known = input.len().min(OPENING.len());
    if input[..known] != OPENING[..known] {
        return Err(NotProxy::NoHeader);
    }
    let head = &input[..input.len().min(V1_MAX)];
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if head.len() < V1_MAX { Ok(None) } else { Err(NotProxy::NoHeader) };
    };
    let line = std::str::from_utf8(&head[..end]).map_err(|_| NotProxy::NoHeader)?;
    Ok(Some(ProxyHeader { size: end + 2, client: v1_client(line)?.map(canonical) }))
}

/// The client named in a whole line of version 1, without its CR LF.
fn v1_client(line: &str) -> Result<Option<SocketAddr>, NotProxy> {
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(NotProxy::NoHeader)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let [source, destination, source_port, destination_port] =
        std::array::from_fn(|_| words.next().unwrap_or_default());
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| NotProxy::NoHeader);
    let port = |text: &str| match text.as_bytes() {
        [b'0', _, ..] | [b'+', ..] => Err(NotProxy::NoHeader),
        _ => text.parse::<u16>().map_err(|_| NotProxy::NoHeader),
    };
    let (source, destination) = (address(source)?, address(destination)?);
    port(destination_port)?;
    let client = SocketAddr::new(source, port(source_port)?);
    let is_family = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    if is_family && words.next().is_none() { Ok(Some(client)) } else { Err(NotProxy::NoHeader) }
}

fn parse_v2(input: &[u8]) -> Result<Option<ProxyHeader>, NotProxy> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let Some(fixed) = input.first_chunk::<V2_FIXED>() else {
        return match input.get(V2_SIGNATURE.len()) {
            Some(command) if !matches!(*command, LOCAL | PROXY) => Err(NotProxy::NoHeader),
            _ => Ok(None),
        };
    };
    let [command, family] = [fixed[12], fixed[13]];
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if !matches!(command, LOCAL | PROXY) {
        return Err(NotProxy::NoHeader);
    }
    if rest > V2_REST_MAX {
        return Err(NotProxy::TooLong);
    }
    let size = V2_FIXED + rest;
    let Some(addresses) = input.get(V2_FIXED..size) else { return Ok(None) };
    let client = if command == LOCAL { None } else { v2_client(family, addresses)? };
    Ok(Some(ProxyHeader { size, client: client.map(canonical) }))
}

/// The client in the addresses of version 2; notes may follow them.
fn v2_client(family: u8, addresses: &[u8]) -> Result<Option<SocketAddr>, NotProxy> {
    match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let bytes: &[u8; 12] = addresses.first_chunk().ok_or(NotProxy::NoHeader)?;
            let address = Ipv4Addr::from_octets([bytes[0], bytes[1], bytes[2], bytes[3]]);
            Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([bytes[8], bytes[9]]))))
        }
        0x21 => {
            let bytes: &[u8; 36] = addresses.first_chunk().ok_or(NotProxy::NoHeader)?;
            let address: [u8; 16] = *bytes.first_chunk().ok_or(NotProxy::NoHeader)?;
            let port = u16::from_be_bytes([bytes[32], bytes[33]]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from_octets(address).into(), port)))
        }
        // Unspecified, or a Unix socket: nothing that can be shown as an address.
        0x00 | 0x31 => Ok(None),
        _ => Err(NotProxy::NoHeader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header is told at its last byte, whatever follows it.
    fn assert_header(bytes: &[u8], client: Option<&str>) {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{} cut at {cut}", bytes.escape_ascii());
        }
        let client = client.map(|client| client.parse().expect("an address"));
        let header = Ok(Some(ProxyHeader { size: bytes.len(), client }));
        assert_eq!(parse(bytes), header);
        assert_eq!(parse(&[bytes, b"GET / HTTP/1.1\r\n\r\n"].concat()), header);
    }

    #[test]
    fn version_1() {
        assert_header(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Some("192.168.0.1:56324"));
        assert_header(b"PROXY TCP6 ::1 2001:db8::2 0 65535\r\n", Some("[::1]:0"));
        assert_header(b"PROXY TCP6 ::ffff:10.0.0.1 ::1 8080 1\r\n", Some("10.0.0.1:8080"));
        assert_header(b"PROXY UNKNOWN\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(longest.len(), V1_MAX);
        assert_header(longest.as_bytes(), None);
    }

    #[test]
    fn version_2() {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        let tcp4 =
            [&signature[..], b"\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb"].concat();
        assert_header(&tcp4, Some("10.0.0.1:8080"));
        let with_notes = [
            &signature[..],
            b"\x21\x11\x00\x10\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb\x04\x00\x01x",
        ];
        assert_header(&with_notes.concat(), Some("10.0.0.1:8080"));
        let mut tcp6 = [&signature[..], b"\x21\x21\x00\x24"].concat();
        tcp6.extend([&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], b"\x1f\x90\x01\xbb"].concat());
        assert_header(&tcp6, Some("[::1]:8080"));
        assert_header(&[&signature[..], b"\x20\x00\x00\x00"].concat(), None);
        assert_header(&[&signature[..], b"\x20\x11\x00\x02xx"].concat(), None);
        assert_header(&[&signature[..], b"\x21\x00\x00\x00"].concat(), None);
    }

    #[test]
    fn long_notes_are_taken_and_longer_ones_told_at_their_length() {
        let header = |rest: u16| {
            let mut header = [&V2_SIGNATURE[..], b"\x21\x11", &rest.to_be_bytes()].concat();
            header.extend(b"\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb");
            header.resize(V2_FIXED + usize::from(rest), b'n');
            header
        };
        for rest in [2100, 4096, 8192] {
            assert_header(&header(rest), Some("10.0.0.1:8080"));
        }
        for rest in [8193, u16::MAX] {
            let header = header(rest);
            assert_eq!(parse(&header[..V2_FIXED - 1]), Ok(None));
            assert_eq!(parse(&header[..V2_FIXED]), Err(NotProxy::TooLong));
            assert_eq!(parse(&header), Err(NotProxy::TooLong));
        }
        assert_eq!(NotProxy::TooLong.to_string(), "a PROXY header longer than 8208 bytes");
    }

    #[test]
    fn anything_else_is_refused() {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            format!("PROXY UNKNOWN {}\r\n", "f".repeat(92)).as_bytes(),
            &[b'P'; 108],
            &[&signature[..], b"\x22"].concat(),
            &[&signature[..], b"\x11\x11\x00\x0c"].concat(),
            &[&signature[..], b"\x21\x11\x00\x04\x01\x02\x03\x04"].concat(),
            &[&signature[..], b"\x21\x12\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb"].concat(),
        ] {
            assert_eq!(parse(bytes), Err(NotProxy::NoHeader), "{}", bytes.escape_ascii());
        }
    }
}
