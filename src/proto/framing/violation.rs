//! What a peer can do wrong once its connection is open.

use super::close_code;

/// A peer's fault in the WebSocket protocol; decides the close code and the words of the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A Close frame with a code that may not be sent (RFC 6455 §7.4).
    CloseCode,
    /// A Close frame with a body of one byte (§5.5.1).
    CloseTooShort,
    /// A continuation frame with no message to continue (§5.4).
    ContinuationWithoutStart,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (§5.5).
    ControlTooLong,
    /// A length written in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit length whose most significant bit is set (§5.2).
    LengthTopBit,
    /// A text or binary frame while another message is unfinished (§5.4).
    MessageInsideMessage,
    /// An opcode nobody has defined (§5.2).
    Opcode,
    /// A reserved bit that no extension gave a meaning (§5.2).
    ReservedBits,
    /// A message beyond the server's limit (§7.4.1).
    TooBig,
    /// A frame that is not masked (§5.1).
    Unmasked,
    /// Text that is not UTF-8 (§8.1).
    Utf8,
}

impl Violation {
    /// The close code that tells the peer (RFC 6455 §7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Violation::TooBig => close_code::TOO_BIG,
            Violation::Utf8 => close_code::INVALID_PAYLOAD,
            _ => close_code::PROTOCOL_ERROR,
        }
    }

    /// What was wrong, for the log and as the reason of the Close frame: at most 60 bytes, which with the frame's header
    /// fit into [`TAILROOM`](crate::proto::progress::TAILROOM).
    pub fn text(self) -> &'static str {
        match self {
            Violation::CloseCode => "close code that may not be sent",
            Violation::CloseTooShort => "close body of one byte",
            Violation::ContinuationWithoutStart => "continuation without a message",
            Violation::ControlFragmented => "fragmented control frame",
            Violation::ControlTooLong => "control frame beyond 125 bytes",
            Violation::LengthNotMinimal => "length not in its shortest form",
            Violation::LengthTopBit => "64-bit length with its top bit set",
            Violation::MessageInsideMessage => "new message inside a fragmented one",
            Violation::Opcode => "unknown opcode",
            Violation::ReservedBits => "reserved bit set",
            Violation::TooBig => "message too big",
            Violation::Unmasked => "frame not masked",
            Violation::Utf8 => "not UTF-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::progress::TAILROOM;

    #[test]
    fn every_reason_fits_behind_the_last_read() {
        for violation in [
            Violation::CloseCode,
            Violation::CloseTooShort,
            Violation::ContinuationWithoutStart,
            Violation::ControlFragmented,
            Violation::ControlTooLong,
            Violation::LengthNotMinimal,
            Violation::LengthTopBit,
            Violation::MessageInsideMessage,
            Violation::Opcode,
            Violation::ReservedBits,
            Violation::TooBig,
            Violation::Unmasked,
            Violation::Utf8,
        ] {
            assert!(4 + violation.text().len() <= TAILROOM, "{violation:?}");
        }
    }
}
