//! Where to listen, as it is written on the command line.

use crate::units;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port of every address of this host, IPv6 and IPv4.
    Any(u16),
    /// An address and a port.
    Tcp(SocketAddr),
    /// Every address that this name, or IPv6 address with its zone, has.
    Name(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Reads `8087`, `:8087`, `127.0.0.1:8087`, `[::1]:8087`, `[fe80::1%eth0]:8087`, `localhost:8087` or `unix:/path`.
    ///
    /// Whether a name exists is not looked at here.
    pub fn parse(text: &str) -> Option<Address> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Address::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Address::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = units::port(port)?;
        if host.is_empty() {
            return Some(Address::Any(port));
        }
        let zoned = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_good = match zoned {
            Some(host) => {
                host.split_once('%').is_some_and(|(address, zone)| is_ipv6(address) && is_name(zone))
            }
            // What looks like an IPv4 address would have been one.
            None => is_name(host) && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'),
        };
        is_good.then(|| Address::Name(zoned.unwrap_or(host).to_owned(), port))
    }
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Any(port) => write!(out, "port {port}"),
            Address::Tcp(address) => address.fmt(out),
            Address::Name(host, port) if host.contains(':') => write!(out, "[{host}]:{port}"),
            Address::Name(host, port) => write!(out, "{host}:{port}"),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// The bound address, as a user is told it: a port of every address is one of IPv4, too.
pub fn everywhere(bound: SocketAddr) -> String {
    match bound {
        SocketAddr::V6(_) => {
            format!("{bound} and {}", SocketAddr::from((Ipv4Addr::UNSPECIFIED, bound.port())))
        }
        SocketAddr::V4(_) => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |text: &str| Address::Tcp(text.parse().expect("an address"));
        let name = |host: &str, port| Address::Name(host.to_owned(), port);
        for (text, address) in [
            ("9000", Address::Any(9000)),
            (":9000", Address::Any(9000)),
            ("0", Address::Any(0)),
            ("0.0.0.0:1", tcp("0.0.0.0:1")),
            ("[::]:9000", tcp("[::]:9000")),
            ("localhost:80", name("localhost", 80)),
            ("my-host_1.example.:80", name("my-host_1.example.", 80)),
            ("[fe80::1%eth0]:80", name("fe80::1%eth0", 80)),
            ("unix:/run/w", Address::Unix("/run/w".into())),
        ] {
            assert_eq!(Address::parse(text), Some(address.clone()), "{text}");
            if !matches!(address, Address::Any(_)) {
                assert_eq!(address.to_string(), text);
            }
        }
        for text in [
            "",
            ":",
            "localhost",
            "127.0.0.1",
            "127.0.0.1:65536",
            "127.0.0.1:+80",
            "+80",
            ":+80",
            "::1:8087",
            "256.0.0.1:80",
            "[::1",
            "[::1]",
            "[localhost]:80",
            "[x%lo]:80",
            "[::1%]:80",
            "a b:80",
            "http://a:80",
            "*:80",
            "unix:run/w",
            "unix:",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
