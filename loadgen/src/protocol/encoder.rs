//! Messages as a client puts them on the wire.

use crate::protocol::deflate::Compressor;
use crate::protocol::draft::Draft;
use crate::protocol::frame::{self, Opcode};
use crate::protocol::hixie;

/// Turns messages into bytes by the rules of one draft. One serves all connections of a thread: it keeps nothing from
/// one message to the next.
pub struct Encoder {
    draft: Draft,
    /// Payload bytes a frame; `None`: a message is one frame.
    fragment: Option<usize>,
    compressor: Option<Box<Compressor>>,
}

impl Encoder {
    /// An encoder for `draft`; with `deflate`, messages are compressed.
    pub fn new(draft: Draft, deflate: bool, fragment: Option<usize>) -> Encoder {
        Encoder { draft, fragment, compressor: deflate.then(Box::default) }
    }

    /// Appends a message; `key` gives the masking key of each of its frames.
    pub fn message(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        key: impl FnMut() -> [u8; 4],
    ) {
        if self.draft.is_hixie() {
            return hixie::write(out, payload);
        }
        let (payload, compressed) = match &mut self.compressor {
            Some(compressor) => (compressor.compress(payload), true),
            None => (payload, false),
        };
        frame::write_message(out, opcode, compressed, payload, self.fragment, key);
    }

    /// Appends a control frame. 75 and 76 have none but Close, and nothing is to be said in it.
    pub fn control(&self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
        if self.draft.is_hixie() {
            debug_assert_eq!(opcode, Opcode::Close, "75 and 76 have no other");
            return out.extend_from_slice(&hixie::CLOSE);
        }
        frame::write(out, opcode, key, payload);
    }
}
