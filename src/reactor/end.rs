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
    /// Silent in the middle of a frame, where that cannot be said.
    IdleTimeout,
    /// No answer to a Ping.
    PingTimeout,
    /// Nothing that was sent to it is acknowledged any more.
    Unreachable,
    /// Everything was said, and the peer did not leave.
    LingerTimeout,
    /// Memory was short, and there was no way to say so.
    GivenUp,
    /// The server stopped, and there was no way to say so.
    Shutdown,
    /// Its path asked for a RST.
    Reset,
}

impl End {
    /// In the order of the variants.
    pub const NAMES: [&'static str; 11] = [
        "closed",
        "eof",
        "error",
        "handshake-timeout",
        "idle-timeout",
        "ping-timeout",
        "unreachable",
        "linger-timeout",
        "given-up",
        "shutdown",
        "reset",
    ];
}
