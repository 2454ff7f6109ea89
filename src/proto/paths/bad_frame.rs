//! Frames that break the protocol, and the rule that each breaks.

use crate::proto::framing::{close, close_code};

/// A frame that a client has to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// One of [`FRAMES`].
    Fixed(&'static FrameEntry),
    /// A text frame with an opcode that is reserved.
    Opcode(u8),
    /// A Close frame with a code that may not be sent.
    Close(u16),
}

/// A frame of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct FrameEntry {
    /// As the path has it.
    pub name: &'static str,
    /// What is wrong with it, and where that is written; sections are RFC 6455's where no other is named.
    pub rule: &'static str,
    bytes: &'static [u8],
}

const fn frame(name: &'static str, bytes: &'static [u8], rule: &'static str) -> FrameEntry {
    FrameEntry { name, rule, bytes }
}

/// A Ping with one byte more than a control frame may have, which takes a length of 16 bits.
const PING_LONG: [u8; 130] = {
    let mut bytes = [b'p'; 130];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x89, 126, 0, 126);
    bytes
};

/// All of them but those with a number: `opcode-<n>` and `close-<code>`.
pub const FRAMES: [FrameEntry; 15] = [
    frame("masked", b"\x81\x86\x01\x02\x03\x04vqfgim", "a server does not mask (§5.1)"),
    frame("rsv1", b"\xC1\x06wsecho", "RSV1 without an extension that uses it (§5.2)"),
    frame("rsv2", b"\xA1\x06wsecho", "RSV2 without an extension that uses it (§5.2)"),
    frame("rsv3", b"\x91\x06wsecho", "RSV3 without an extension that uses it (§5.2)"),
    frame("ping-long", &PING_LONG, "a control frame has at most 125 bytes (§5.5)"),
    frame("ping-fragmented", b"\x09\x04ping", "a control frame is not fragmented (§5.5)"),
    frame("ping-compressed", b"\xC9\x04ping", "a control frame is not compressed (RFC 7692 §6)"),
    frame("continuation", b"\x80\x06wsecho", "a continuation with no message to continue (§5.4)"),
    frame("interleaved", b"\x01\x02ws\x81\x04echo", "a message inside an unfinished one (§5.4)"),
    frame("utf8", b"\x81\x06ws\xC3\x28ho", "text that is not UTF-8 (§8.1)"),
    frame("length", b"\x81\x7E\x00\x06wsecho", "a length not in its shortest form (§5.2)"),
    frame(
        "too-long",
        b"\x81\x7F\x80\x00\x00\x00\x00\x00\x00\x06wsecho",
        "a 64-bit length with its top bit set (§5.2)",
    ),
    frame(
        "truncated",
        b"\x81\x0Awsecho",
        "the end of the connection inside a frame, without a Close (§7.1.5)",
    ),
    frame("deflate", b"\xC1\x06\x07secho", "a compressed message that cannot be inflated (RFC 7692 §7.2.2)"),
    frame("close-1", b"\x88\x01\x03", "a Close frame with half of a code (§5.5.1)"),
];

const OPCODE_RULE: &str = "an opcode that is reserved, 3 to 7 and 11 to 15 (§5.2)";
const CLOSE_RULE: &str = "a Close frame with a code that may not be sent (§7.4)";

impl BadFrame {
    /// The frame of that name.
    pub fn named(name: &str) -> Option<BadFrame> {
        if let Some(frame) = FRAMES.iter().find(|frame| frame.name == name) {
            return Some(BadFrame::Fixed(frame));
        }
        let (kind, number) = name.rsplit_once('-')?;
        let number = super::text::number(number).and_then(|number| u16::try_from(number).ok())?;
        match kind {
            "opcode" if matches!(number, 3..=7 | 11..=15) => Some(BadFrame::Opcode(number as u8)),
            "close" if !close_code::may_be_sent(number) => Some(BadFrame::Close(number)),
            _ => None,
        }
    }

    /// What to write where one of them is to stand, for whoever wrote something else.
    pub fn names() -> String {
        let names: Vec<&str> = FRAMES.iter().map(|frame| frame.name).collect();
        format!(
            "takes {}, opcode-<n> (3 to 7, 11 to 15) or close-<code> (one that may not be sent)",
            names.join(", ")
        )
    }

    /// Names and rules, for the page.
    pub fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
        let numbered = [("opcode-3", OPCODE_RULE), ("close-1005", CLOSE_RULE)];
        FRAMES.iter().map(|frame| (frame.name, frame.rule)).chain(numbered)
    }

    /// Appends its bytes to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            BadFrame::Fixed(frame) => out.extend_from_slice(frame.bytes),
            BadFrame::Opcode(opcode) => {
                out.extend_from_slice(&[0x80 | opcode, 6]);
                out.extend_from_slice(b"wsecho");
            }
            BadFrame::Close(code) => out.extend_from_slice(&close::frame(code)),
        }
    }

    /// Whether the connection ends with it.
    pub fn is_end(self) -> bool {
        matches!(self, BadFrame::Fixed(FrameEntry { name: "truncated", .. }))
    }

    /// Whether the frame is only wrong where no compression is agreed on.
    pub fn needs_no_deflate(self) -> bool {
        matches!(self, BadFrame::Fixed(FrameEntry { name: "rsv1", .. }))
    }
}
