//! The echo itself, for hybi-07 to RFC 6455: frames in, the same frames out, in the same buffer.

use super::close;
use super::close_code;
use super::frame::{self, FrameHeader, Header, Opcode};
use super::leaving::Leaving;
use super::mask::{self, Key};
use super::quit::Quit;
use super::reply::Echo;
use super::utf8::Utf8;
use super::violation::Violation;
use crate::proto::limits::{Limits, TEXT_MAX, WHOLE_MAX};
use crate::proto::progress::{Event, Progress};
use std::ops::Range;

/// First byte under which the client's own Pongs are handed on to who asks for them; with RSV3, it is no echo's.
pub const CLIENTS_PONG: u8 = 0x9A;

/// One connection's framing state.
#[derive(Debug, Default, Clone)]
pub struct Hybi {
    /// The message whose final fragment is still to come.
    message: Option<Message>,
    /// The frame that is being cut through.
    stream: Option<LongFrame>,
    /// Payload bytes of the current message that earlier frames brought.
    total: u64,
    utf8: Utf8,
    /// Payload bytes of the text frame at hand that `utf8` has seen and that have not gone out: gathered by the caller if it
    /// is the one in `stream`, else in the front of the carry.
    ahead: u32,
    /// How far the current message is `quit`, text only.
    quit: Quit,
    /// permessage-deflate was agreed: RSV1 marks a compressed message (RFC 7692 §6), which is echoed as it is.
    deflate: bool,
    /// The client's own Pongs are not dropped but handed on as frames that begin with [`CLIENTS_PONG`].
    hands_on_pongs: bool,
}

/// What a message holds, as far as it matters to the fragments that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Text,
    /// Binary, or compressed: nothing to check.
    Opaque,
}

/// A frame larger than [`WHOLE_MAX`], in the middle of its payload.
#[derive(Debug, Clone, Copy)]
struct LongFrame {
    left: u64,
    key: Key,
    kind: Message,
    /// FIN of the frame as the client sent it.
    fin: bool,
    /// Opcode of the next fragment that goes out; used for text only.
    opcode: Opcode,
    /// It is text that goes out as one frame, if nothing comes between.
    whole: bool,
}

impl Hybi {
    /// The state of a connection that was just opened; `deflate` says whether permessage-deflate was agreed.
    pub fn new(deflate: bool) -> Hybi {
        Hybi { deflate, ..Hybi::default() }
    }

    /// The same for a program, which acts on Pongs too.
    pub fn with_pongs(deflate: bool) -> Hybi {
        Hybi { hands_on_pongs: true, ..Hybi::new(deflate) }
    }

    /// Echoes every whole frame in `buf[input]`, in place.
    ///
    /// The reply is one contiguous range of `buf` and ends no later than the bytes it answers: a server's header is
    /// four bytes shorter than a client's, so a lone frame is not moved and later ones slide left. It may start up to
    /// [`frame::HEADER_MAX`] bytes before `input`, and needs four spare bytes behind it.
    pub fn receive(&mut self, buf: &mut [u8], input: Range<usize>, limits: &Limits) -> Progress {
        let mut echo = Echo::new(buf, input.clone());
        let result = loop {
            match self.step(&mut echo, limits) {
                Ok(FrameStep::Next) => {}
                Ok(FrameStep::Wait) => break None,
                Ok(FrameStep::Closed(event)) => break Some(event),
                Err(fail) => {
                    echo.push_last(&close::frame_with_reason(fail.code(), fail.text()));
                    break Some(Event::Failed(fail));
                }
            }
        };
        let ended = result.is_some();
        // Behind a Close of our own, the peer's is to be found in what is left.
        let again = matches!(result, Some(Event::Quit));
        let consumed = if ended && !again { input.len() } else { echo.at - input.start };
        let messages = echo.messages;
        Progress { consumed, reply: echo.into_reply(), event: result, ended, again, messages }
    }

    /// Whether the `fresh` bytes behind the `carried` ones make something to act on.
    ///
    /// `false`: they only lengthen an unfinished frame and may simply be kept. Text is checked ahead of time, so a
    /// fault in it is worth acting on at once.
    pub fn needs_processing(&mut self, carried: &[u8], fresh: &[u8]) -> bool {
        let Ok(Some(header)) = FrameHeader::parse(carried, self.deflate) else {
            return true;
        };
        let have = carried.len() + fresh.len() - header.size;
        if have as u64 >= header.len || header.len > WHOLE_MAX as u64 {
            return true;
        }
        if self.kind_of(&header) == Message::Text && !header.opcode.is_control() {
            let before = self.utf8;
            if !self.check_ahead(fresh, mask::advance(header.key, carried.len() - header.size)) {
                // `receive` is to meet the fault itself.
                self.utf8 = before;
                return true;
            }
            self.ahead = have as u32;
        }
        false
    }

    /// The bytes that close this connection with `code` and `reason`, of at most 123 bytes; `None` in the middle of a frame that is being cut through,
    /// where nothing but its payload may follow.
    pub fn close(&self, code: u16, reason: &str) -> Option<Vec<u8>> {
        self.at_frame_boundary().then(|| close::frame_with_reason(code, reason))
    }

    /// How the peer's Close is found once ours was sent.
    pub fn leave(&self) -> Leaving {
        Leaving::behind(self.stream.map_or(0, |stream| stream.left))
    }

    /// Has the text that was gathered sent as a fragment, ahead of its time, behind this header.
    ///
    /// `None` where less than [`WHOLE_MAX`] bytes were gathered: fragments too small are more than some clients take.
    pub fn give_out(&mut self) -> Option<Header> {
        let stream = self.stream.as_mut()?;
        if (self.ahead as usize) < WHOLE_MAX {
            return None;
        }
        let header = Header::new(frame::first_byte(false, false, stream.opcode), u64::from(self.ahead));
        stream.opcode = Opcode::Continuation;
        stream.whole = false;
        self.ahead = 0;
        Some(header)
    }

    /// Bytes that the message in whose middle the peer is surely still takes, given what is `carried`; 0 between messages.
    pub fn missing(&self, carried: &[u8]) -> u64 {
        if let Some(stream) = &self.stream {
            return stream.left;
        }
        match FrameHeader::parse(carried, self.deflate) {
            Ok(Some(header)) => (header.size as u64 + header.len).saturating_sub(carried.len() as u64),
            _ if carried.is_empty() && self.message.is_none() => 0,
            // No frame of a client is shorter.
            _ => (frame::HEADER_MIN.saturating_sub(carried.len()).max(1)) as u64,
        }
    }

    /// The bytes of an empty Ping; `None` where no frame may start.
    pub fn ping(&self) -> Option<[u8; 2]> {
        self.at_frame_boundary().then_some(frame::PING)
    }

    fn at_frame_boundary(&self) -> bool {
        // Text is cut through as fragments, so between two reads it is always at a boundary.
        self.stream.is_none_or(|stream| stream.kind == Message::Text)
    }

    #[inline]
    fn step(&mut self, echo: &mut Echo, limits: &Limits) -> Result<FrameStep, Violation> {
        if self.stream.is_some() {
            return self.cut_through(echo);
        }
        let input = &echo.buf[echo.at..echo.end];
        let Some(header) =
            FrameHeader::parse(input, self.deflate).map_err(|fault| self.first_fault(input, fault))?
        else {
            // Whether a frame may come here at all is told by its first byte.
            return match input.first() {
                Some(first) => self.check_order(Opcode::from_nibble(first & 0x0F)?).map(|()| FrameStep::Wait),
                None => Ok(FrameStep::Wait),
            };
        };
        self.check_order(header.opcode)?;
        self.check_size(&header, limits)?;
        let have = echo.end - echo.at - header.size;
        if header.len > have as u64 {
            return self.wait_or_cut_through(echo, &header, have);
        }
        match header.opcode {
            Opcode::Ping => drop(echo.push_frame(&header, frame::first_byte(true, false, Opcode::Pong))),
            Opcode::Pong => self.take_pong(echo, &header),
            Opcode::Close => {
                return echo.answer_close(&header).map(|code| FrameStep::Closed(Event::Closed(code)));
            }
            _ => return self.echo_whole(echo, &header),
        }
        Ok(FrameStep::Next)
    }

    #[cold]
    #[inline(never)]
    fn take_pong(&self, echo: &mut Echo, header: &FrameHeader) {
        if self.hands_on_pongs {
            echo.push_frame(header, CLIENTS_PONG);
        } else {
            echo.at += header.size + header.len as usize;
        }
    }

    /// Of the faults of a header that `fault` was found in, the one that its first bytes prove: which one is told must not
    /// depend on how many of them arrived together.
    #[cold]
    fn first_fault(&self, input: &[u8], fault: Violation) -> Violation {
        let is_later =
            !matches!(fault, Violation::ReservedBits | Violation::Opcode | Violation::ControlFragmented);
        match input.first().map(|first| Opcode::from_nibble(first & 0x0F)) {
            Some(Ok(opcode)) if is_later => self.check_order(opcode).err().unwrap_or(fault),
            _ => fault,
        }
    }

    /// §5.4: fragments of one message, and control frames between them.
    #[inline]
    fn check_order(&self, opcode: Opcode) -> Result<(), Violation> {
        match (opcode, self.message) {
            (Opcode::Continuation, None) => Err(Violation::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::MessageInsideMessage),
            _ => Ok(()),
        }
    }

    /// The limit on a message, over all its fragments.
    #[inline]
    fn check_size(&self, header: &FrameHeader, limits: &Limits) -> Result<(), Violation> {
        let size = self.total.saturating_add(header.len);
        let is_too_big = limits.max_message != 0 && size > limits.max_message && !header.opcode.is_control();
        if is_too_big { Err(Violation::TooBig) } else { Ok(()) }
    }

    /// What the payload of a data frame is, given the message it belongs to.
    fn kind_of(&self, header: &FrameHeader) -> Message {
        match self.message {
            Some(kind) => kind,
            None if header.opcode == Opcode::Text && !header.rsv1 => Message::Text,
            None => Message::Opaque,
        }
    }

    #[inline]
    fn echo_whole(&mut self, echo: &mut Echo, header: &FrameHeader) -> Result<FrameStep, Violation> {
        let kind = self.kind_of(header);
        let before = echo.reply.clone();
        let first = frame::first_byte(header.fin, header.rsv1, header.opcode);
        let payload = echo.push_frame(header, first);
        if kind == Message::Text {
            let ahead = std::mem::take(&mut self.ahead) as usize;
            let payload = &echo.buf[payload.clone()];
            if !self.utf8.takes(&payload[ahead..], header.fin) {
                echo.reply = before;
                return Err(Violation::Utf8);
            }
        }
        if self.is_quit(header, &echo.buf[payload]) {
            echo.reply = before;
            echo.push_closing(&close::frame(close_code::NORMAL));
            return Ok(FrameStep::Closed(Event::Quit));
        }
        echo.messages += u32::from(header.fin);
        self.end_frame(kind, header.fin, header.len);
        Ok(FrameStep::Next)
    }

    /// Whether this frame ends a text message that asks to be closed. Fragments of it before the last one were echoed.
    #[inline]
    fn is_quit(&mut self, header: &FrameHeader, payload: &[u8]) -> bool {
        let before = match header.opcode {
            Opcode::Text => Quit::start(header.rsv1),
            Opcode::Continuation if self.quit != Quit::NEVER => self.quit,
            _ => {
                self.quit = Quit::NEVER;
                return false;
            }
        };
        self.quit = before.after(payload);
        header.fin && self.quit.is_whole()
    }

    fn end_frame(&mut self, kind: Message, fin: bool, len: u64) {
        if fin {
            self.message = None;
            self.total = 0;
        } else {
            self.message = Some(kind);
            self.total = self.total.saturating_add(len);
        }
    }

    /// A frame whose payload has not all arrived: a large one is cut through from its first byte of payload on, any
    /// other is left for the carry, its text checked as far as it goes.
    fn wait_or_cut_through(
        &mut self,
        echo: &mut Echo,
        header: &FrameHeader,
        have: usize,
    ) -> Result<FrameStep, Violation> {
        if have == 0 || header.opcode.is_control() {
            return Ok(FrameStep::Wait);
        }
        let kind = self.kind_of(header);
        if header.len <= WHOLE_MAX as u64 {
            if kind == Message::Text {
                let body = echo.at + header.size;
                let ahead = self.ahead as usize;
                let good =
                    self.check_ahead(&echo.buf[body + ahead..echo.end], mask::advance(header.key, ahead));
                self.ahead = have as u32;
                if !good {
                    return Err(Violation::Utf8);
                }
            }
            return Ok(FrameStep::Wait);
        }
        self.ahead = 0;
        self.quit = Quit::NEVER;
        self.stream = Some(LongFrame {
            left: header.len,
            key: header.key,
            kind,
            fin: header.fin,
            opcode: header.opcode,
            whole: kind == Message::Text && header.len <= TEXT_MAX as u64,
        });
        if kind == Message::Opaque {
            let first = frame::first_byte(header.fin, header.rsv1, header.opcode);
            echo.open_frame(echo.at + header.size, first, header.len);
        }
        // The whole frame is on its way: account for it now, so that the limit holds for what comes after it.
        self.end_frame(kind, header.fin, header.len);
        echo.at += header.size;
        Ok(FrameStep::Next)
    }

    /// Checks masked text that cannot be echoed yet, without changing it.
    fn check_ahead(&mut self, masked: &[u8], key: Key) -> bool {
        let mut plain = [0; 256];
        let mut key = key;
        masked.chunks(plain.len()).all(|piece| {
            let plain = &mut plain[..piece.len()];
            plain.copy_from_slice(piece);
            mask::unmask(plain, key);
            key = mask::advance(key, piece.len());
            self.utf8.feed(plain).is_ok()
        })
    }

    /// Passes on what has arrived of a large frame: opaque payload as it is, text once enough of it has come.
    fn cut_through(&mut self, echo: &mut Echo) -> Result<FrameStep, Violation> {
        let Some(stream) = &mut self.stream else {
            return Ok(FrameStep::Next);
        };
        let have = ((echo.end - echo.at) as u64).min(stream.left) as usize;
        if have == 0 {
            return Ok(FrameStep::Wait);
        }
        let is_last = have as u64 == stream.left;
        let piece = echo.at..echo.at + have;
        mask::unmask(&mut echo.buf[piece.clone()], stream.key);
        echo.at += have;
        stream.left -= have as u64;
        stream.key = mask::advance(stream.key, have);
        if stream.kind == Message::Text {
            if !self.utf8.takes(&echo.buf[piece.clone()], stream.fin && is_last) {
                return Err(Violation::Utf8);
            }
            let len = self.ahead as usize + have;
            // A program acts on text as it comes.
            if !self.hands_on_pongs && !is_last && (stream.whole || len < WHOLE_MAX) {
                echo.gather(piece);
                self.ahead = len as u32;
                return Ok(FrameStep::Wait);
            }
            let first = frame::first_byte(stream.fin && is_last, false, stream.opcode);
            if self.ahead > 0 {
                echo.release(Header::new(first, len as u64));
            } else {
                echo.open_frame(piece.start, first, len as u64);
            }
            self.ahead = 0;
            stream.opcode = Opcode::Continuation;
        }
        echo.push_plain(piece);
        if is_last {
            echo.messages += u32::from(stream.fin);
            self.stream = None;
        }
        Ok(FrameStep::Next)
    }
}

enum FrameStep {
    Next,
    /// What is left is the beginning of something; more bytes are needed.
    Wait,
    Closed(Event),
}
