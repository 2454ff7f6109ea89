//! Where sockets connect to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// An address that takes connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Of IP sockets.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Tcp(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }

    /// Client and server share this host, whichever of its addresses it is.
    pub fn is_local(&self) -> bool {
        let Some(ip) = self.ip().map(|ip| ip.to_canonical()) else { return true };
        let has = |address: Option<SockaddrStorage>| address.and_then(ip_of) == Some(ip);
        let is_an_interfaces =
            || getifaddrs().is_ok_and(|mut all| all.any(|interface| has(interface.address)));
        ip.is_loopback() || ip.is_unspecified() || is_an_interfaces()
    }

    /// Connects, and lets go again: whether anybody is there.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(&self, patience: Duration) -> io::Result<()> {
        match self {
            Address::Tcp(address) => TcpStream::connect_timeout(address, patience).map(drop),
            Address::Unix(path) => UnixStream::connect(path).map(drop),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

fn ip_of(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn own_addresses_are_local_and_no_others() {
        let is_local = |ip: IpAddr| Address::Tcp(SocketAddr::new(ip, 80)).is_local();
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        assert!(Address::Unix("/run/x".into()).is_local());
        for ip in ["198.51.100.1", "2001:db8::1"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
        // The address that this host has towards others, if there is a way there: nothing is sent.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("198.51.100.1:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(is_local(own), "{own}");
        }
    }
}
