//! Why connections end.

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was said, and the peer left.
    Closed,
    /// The peer left in the middle of a conversation.
    Eof,
    /// The system reported an error.
    Error,
    /// The handshake, or a policy request, took too long.
    HandshakeTimeout,
    /// No answer to a Ping.
    PingTimeout,
    /// Everything was said, and the peer did not leave.
    LingerTimeout,
    /// The server stopped, and there was no way to say so.
    Shutdown,
    /// Its path asked for a RST.
    Reset,
}

impl End {
    /// In the order of the variants.
    pub const NAMES: [&'static str; 8] = [
        "closed",
        "eof",
        "error",
        "handshake-timeout",
        "ping-timeout",
        "linger-timeout",
        "shutdown",
        "reset",
    ];
}
