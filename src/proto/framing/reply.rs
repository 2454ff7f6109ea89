//! A reply that grows over the bytes it answers.

use super::close;
use super::frame::{self, FrameHeader, Header, Opcode};
use super::mask;
use super::violation::Violation;
use crate::proto::progress::{Gathered, Reply};
use std::ops::Range;

/// One read's bytes and the reply that grows over them.
///
/// `reply.end <= at <= end`, and nothing in `at..end` has been touched.
pub struct Echo<'a> {
    /// Where the input is, and the reply will be.
    pub buf: &'a mut [u8],
    /// How far the input is used up.
    pub at: usize,
    /// Where it ends.
    pub end: usize,
    /// What is to be sent, not beyond `at`.
    pub reply: Range<usize>,
    /// What is to be gathered, behind the reply and at the end of the input.
    keep: Range<usize>,
    /// What goes in front of the bytes that were gathered before.
    release: Option<Header>,
    /// Messages that came whole.
    pub messages: u32,
}

impl<'a> Echo<'a> {
    /// Nothing of `buf[input]` is used up, and nothing is to be sent.
    pub fn new(buf: &'a mut [u8], input: Range<usize>) -> Echo<'a> {
        Echo { buf, at: input.start, end: input.end, reply: 0..0, keep: 0..0, release: None, messages: 0 }
    }

    /// Consumes the whole frame at `at` and appends it, unmasked, with `first` as its first byte; where its payload is.
    #[inline]
    pub fn push_frame(&mut self, header: &FrameHeader, first: u8) -> Range<usize> {
        let body = self.at + header.size;
        let len = header.len as usize;
        self.open_frame(body, first, header.len);
        let payload = self.push_plain(body..body + len);
        mask::unmask(&mut self.buf[payload.clone()], header.key);
        self.at = body + len;
        payload
    }

    /// Appends a header; the first one of a reply right in front of its payload at `body`.
    #[inline]
    pub fn open_frame(&mut self, body: usize, first: u8, len: u64) {
        let size = frame::reply_size(len);
        if self.reply.is_empty() {
            self.reply = body - size..body - size;
        }
        frame::write_header(&mut self.buf[self.reply.end..], first, len);
        self.reply.end += size;
    }

    /// Appends payload that lies at `from` or further right; where it lies then.
    #[inline]
    pub fn push_plain(&mut self, from: Range<usize>) -> Range<usize> {
        if self.reply.is_empty() {
            self.reply = from.start..from.start;
        }
        let to = self.reply.end..self.reply.end + from.len();
        if to.start != from.start {
            self.buf.copy_within(from, to.start);
        }
        self.reply.end = to.end;
        to
    }

    /// Has the `piece` that ends the input gathered.
    pub fn gather(&mut self, piece: Range<usize>) {
        self.keep = piece;
    }

    /// Has the bytes gathered earlier sent behind `header`; nothing may stand in the reply yet.
    pub fn release(&mut self, header: Header) {
        debug_assert!(self.reply.is_empty(), "what was gathered goes first");
        self.release = Some(header);
    }

    /// The reply, once the input is used up.
    #[inline]
    pub fn into_reply(self) -> Reply {
        if self.release.is_none() && self.keep.is_empty() {
            return Reply::InPlace(self.reply);
        }
        Reply::Gathered(Gathered { release: self.release, reply: self.reply, keep: self.keep })
    }

    /// Consumes the whole frame at `at` and unmasks it where it stands.
    pub fn take_payload(&mut self, header: &FrameHeader) -> &[u8] {
        let body = self.at + header.size;
        self.at = body + header.len as usize;
        let payload = &mut self.buf[body..self.at];
        mask::unmask(payload, header.key);
        payload
    }

    /// Answers the whole Close frame at `at` with its own code and reason; the code.
    pub fn answer_close(&mut self, header: &FrameHeader) -> Result<Option<u16>, Violation> {
        let before = self.reply.clone();
        let body = self.push_frame(header, frame::first_byte(true, false, Opcode::Close));
        let checked = close::check(&self.buf[body]);
        if checked.is_err() {
            self.reply = before;
        }
        checked
    }

    /// Appends a Close of our own in the place of the frame that was consumed last; what comes behind it is left as it is.
    pub fn push_closing(&mut self, frame: &[u8; 4]) {
        debug_assert!(self.reply.end + frame.len() <= self.at || self.reply.is_empty());
        if self.reply.is_empty() {
            self.reply = self.at - frame.len()..self.at - frame.len();
        }
        self.buf[self.reply.end..self.reply.end + frame.len()].copy_from_slice(frame);
        self.reply.end += frame.len();
    }

    /// Appends a few closing bytes of our own; whatever input is left under them no longer matters.
    pub fn push_last(&mut self, bytes: &[u8]) {
        if self.reply.is_empty() {
            self.reply = self.at..self.at;
        }
        self.buf[self.reply.end..self.reply.end + bytes.len()].copy_from_slice(bytes);
        self.reply.end += bytes.len();
    }
}
