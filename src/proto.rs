//! The protocols, sans-IO: bytes in, bytes out.
//!
//! Nothing in here knows a socket, a poll, a clock or a thread; whoever owns those hands over bytes that were read and
//! sends the bytes that come back. One [`session::Session`] is one connection's worth of protocol, from its first byte
//! (policy request, HTTP head) to its last (Close frame), and everything it keeps between calls fits in a few dozen bytes.

pub mod framing;
pub mod handshake;
pub mod limits;
pub mod paths;
pub mod policy;
pub mod progress;
pub mod proxy;
pub mod session;

/// Which wire format a connection agreed on.
///
/// Hixie-75 and Hixie-76 share their framing, and so do hybi drafts 07 (version 7), 08 to 12 (version 8) and RFC 6455
/// (version 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// draft-hixie-thewebsocketprotocol-75.
    Hixie75,
    /// draft-hixie-thewebsocketprotocol-76, which is hybi-00.
    Hixie76,
    /// Sec-WebSocket-Version 7: hybi-07.
    Hybi7,
    /// Sec-WebSocket-Version 8: hybi-08 to hybi-12.
    Hybi8,
    /// Sec-WebSocket-Version 13: hybi-13 to RFC 6455.
    Hybi13,
}

impl Version {
    /// As users know it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Hixie75 => "hixie75",
            Version::Hixie76 => "hixie76",
            Version::Hybi7 => "7",
            Version::Hybi8 => "8",
            Version::Hybi13 => "13",
        }
    }
}
