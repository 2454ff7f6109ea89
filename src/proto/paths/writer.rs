//! What a program says, framed as its chain wants it.

use crate::proto::framing::frame;
use crate::proto::framing::hixie;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0F;

/// Frames on their way out.
///
/// A message is `begin`, `payload` in as many pieces as it comes, and `end`, once for each of its frames.
#[derive(Debug)]
pub struct Writer {
    is_hixie: bool,
    /// Payload bytes of a fragment; `None` leaves frames as they are.
    pub fragment: Option<u64>,
    /// Messages are sent without their end: all of them become one.
    pub is_unfinished: bool,
    /// That one message has begun.
    has_begun: bool,
    /// First byte of the next fragment of the frame that is being sent.
    first: u8,
    /// Payload of the frame that is still to come, and of its fragment that was announced last.
    frame_left: u64,
    fragment_left: u64,
    /// Inside a frame; and inside a message, be it between two of its frames.
    in_frame: bool,
    in_message: bool,
    bytes: Vec<u8>,
    /// Whole messages since the last call of [`Self::take_messages`].
    messages: u32,
}

impl Writer {
    /// Nothing is to be said yet.
    pub fn new(is_hixie: bool) -> Writer {
        Writer {
            is_hixie,
            fragment: None,
            is_unfinished: false,
            has_begun: false,
            first: 0,
            frame_left: 0,
            fragment_left: 0,
            in_frame: false,
            in_message: false,
            bytes: Vec::new(),
            messages: 0,
        }
    }

    /// A data frame begins, with this first byte and so much payload; in Hixie the length is not written.
    pub fn begin(&mut self, first: u8, len: u64) {
        (self.in_frame, self.in_message) = (true, true);
        let goes_on = self.is_unfinished && self.has_begun;
        self.has_begun |= self.is_unfinished;
        if self.is_hixie {
            if !goes_on {
                self.bytes.push(hixie::TEXT);
            }
            return;
        }
        self.first = if goes_on { first & FIN } else { first };
        if self.is_unfinished {
            self.first &= !FIN;
        }
        self.frame_left = len;
        self.fragment_left = 0;
        if self.fragment.is_none() || len == 0 {
            self.push_header(len);
        }
    }

    /// Payload of the frame that has begun.
    pub fn payload(&mut self, mut payload: &[u8]) {
        if self.is_hixie {
            self.bytes.extend_from_slice(payload);
            return;
        }
        while !payload.is_empty() {
            if self.fragment_left == 0 {
                self.push_header(self.fragment.unwrap_or(self.frame_left).min(self.frame_left));
            }
            let size = (payload.len() as u64).min(self.fragment_left);
            let (now, later) = payload.split_at(size as usize);
            self.bytes.extend_from_slice(now);
            self.fragment_left -= size;
            self.frame_left -= size;
            payload = later;
        }
    }

    /// The frame has ended, and with `fin` the message.
    pub fn end(&mut self, fin: bool) {
        if self.is_hixie && !self.is_unfinished {
            self.bytes.push(hixie::END);
        }
        (self.in_frame, self.in_message) = (false, !fin);
        self.messages += u32::from(fin);
    }

    /// A whole message of one frame; `opcode` 1 or 2.
    pub fn message(&mut self, opcode: u8, payload: &[u8]) {
        self.begin(FIN | opcode, payload.len() as u64);
        self.payload(payload);
        self.end(true);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what `write` appends, as it is.
    pub fn raw_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// Announces a fragment of `len` bytes of the frame that has begun.
    fn push_header(&mut self, len: u64) {
        let is_last = len == self.frame_left;
        let first = if is_last { self.first } else { self.first & !FIN };
        let mut header = [0; 10];
        frame::write_header(&mut header, first, len);
        self.bytes.extend_from_slice(&header[..frame::reply_size(len)]);
        // What follows continues it, and only the first frame says that a message is compressed.
        self.first &= !(OPCODE | RSV1);
        self.fragment_left = len;
    }

    /// Whether a message of our own may begin.
    pub fn is_between_messages(&self) -> bool {
        !self.in_message
    }

    /// Whether a control frame may be sent.
    pub fn is_between_frames(&self) -> bool {
        !self.in_frame
    }

    /// Bytes that are to be said.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Moves at most `most` bytes to `response`.
    pub fn pour(&mut self, most: usize, response: &mut Vec<u8>) {
        let count = most.min(self.bytes.len());
        response.extend(self.bytes.drain(..count));
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// How many messages have gone out whole since this was asked last.
    pub fn take_messages(&mut self) -> u32 {
        std::mem::take(&mut self.messages)
    }

    /// Bytes that are allocated.
    pub fn kept(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(writer: &mut Writer) -> Vec<u8> {
        let mut response = Vec::new();
        writer.pour(usize::MAX, &mut response);
        response
    }

    #[test]
    fn frames_are_cut_however_their_payload_comes() {
        for size in 1..=5 {
            let mut writer = Writer::new(false);
            writer.fragment = Some(2);
            writer.begin(0xC1, 5);
            b"hello".chunks(size).for_each(|piece| writer.payload(piece));
            writer.end(true);
            assert_eq!(written(&mut writer), b"\x41\x02he\x00\x02ll\x80\x01o", "in pieces of {size}");
        }
        let mut writer = Writer::new(false);
        writer.fragment = Some(2);
        writer.begin(0x01, 2);
        writer.payload(b"he");
        writer.end(false);
        assert!(writer.is_between_frames() && !writer.is_between_messages());
        writer.begin(0x80, 0);
        writer.end(true);
        writer.message(2, b"abc");
        assert_eq!(written(&mut writer), b"\x01\x02he\x80\x00\x02\x02ab\x80\x01c");
        assert_eq!(writer.take_messages(), 2);
    }

    #[test]
    fn unfinished_messages_become_one() {
        let mut writer = Writer::new(false);
        writer.is_unfinished = true;
        writer.message(1, b"a");
        writer.message(2, b"b");
        writer.fragment = Some(1);
        writer.message(1, b"cd");
        assert_eq!(written(&mut writer), b"\x01\x01a\x00\x01b\x00\x01c\x00\x01d");
        let mut hixie = Writer::new(true);
        hixie.message(1, b"a");
        hixie.is_unfinished = true;
        hixie.message(1, b"b");
        hixie.message(1, b"c");
        assert_eq!(written(&mut hixie), b"\0a\xff\0bc");
    }
}
