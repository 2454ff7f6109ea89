//! Where sockets connect to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

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

    /// Client and server share this host.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
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
