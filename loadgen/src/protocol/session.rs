//! A client's side of one WebSocket, without I/O and without a clock: bytes in, messages and refusals out.
//!
//! Whoever has read some bytes calls [`Session::receive`] with them and then [`Incoming::next`] until it answers that
//! there is nothing more, or says why the connection is over. What was not whole is kept by [`Incoming::finish`] and
//! stands in front of the next bytes. A session with nothing to keep has no memory but itself.

use std::borrow::Cow;
use std::ops::Range;

use crate::protocol::deflate::Inflater;
use crate::protocol::frame::{Header, Opcode};
use crate::protocol::handshake::{self, Extras, HEAD_MAX, Refusal};
use crate::protocol::hixie::{self, Piece};
use crate::protocol::url::Url;

/// What the answer to an upgrade request is held against.
#[derive(Clone)]
pub struct Upgrade<'a> {
    /// What is asked for.
    pub url: Cow<'a, Url>,
    /// What the request says beside the URL.
    pub extras: Cow<'a, Extras>,
    /// The random number behind the request's keys.
    pub nonce: u128,
}

/// What all sessions of a run have in common.
pub struct Rules {
    /// What the request says beside the URL.
    pub extras: Extras,
    /// Bytes of the longest message that is taken.
    pub limit: usize,
}

/// Something that the server said.
#[derive(Debug, Eq, PartialEq)]
pub enum Received<'a> {
    /// The 101 that turns the connection into a WebSocket.
    Open,
    /// A whole message, put together and inflated, and whether more was read behind it.
    Message(Opcode, &'a [u8], bool),
    /// To be answered.
    Ping(&'a [u8]),
    /// The answer to one of ours.
    Pong(&'a [u8]),
    /// A Close, with the code and reason in it.
    Close(&'a [u8]),
}

/// One connection's state.
#[derive(Default)]
pub struct Session {
    /// The 101 has come.
    open: bool,
    kept: Option<Box<Kept>>,
}

/// What a connection needs only in the middle of something.
#[derive(Default)]
struct Kept {
    /// The beginning of a response head or of a frame.
    raw: Vec<u8>,
    /// The fragments of a message so far, and what the first of them said.
    message: Vec<u8>,
    opcode: Option<Opcode>,
    compressed: bool,
}

/// Bytes being looked at.
pub struct Incoming<'a> {
    session: &'a mut Session,
    /// What was just read.
    fresh: &'a [u8],
    /// The same behind what was kept from before; empty when nothing was.
    joined: Vec<u8>,
    /// So much has been understood.
    at: usize,
    /// The fragmented message that was given out last.
    gathered: Vec<u8>,
}

/// What a look at the next bytes finds.
enum Step {
    /// The end of what can be told.
    Incomplete,
    /// A fragment that does not end its message.
    Fragment,
    /// A control frame's payload.
    Control(Opcode, Range<usize>),
    Message {
        opcode: Opcode,
        compressed: bool,
        place: PayloadPlace,
    },
}

/// Where a message's payload is.
enum PayloadPlace {
    Input(Range<usize>),
    Gathered,
}

impl Session {
    /// Some bytes have come that were not whole.
    pub fn is_inside(&self) -> bool {
        self.kept.is_some()
    }

    /// What the answer to `upgrade` says although it is not all there and nothing more comes; `None` when the WebSocket
    /// is open.
    pub fn cut_short(&self, upgrade: Upgrade) -> Option<Refusal> {
        let kept = self.kept.as_ref().map_or(&[][..], |kept| &kept.raw);
        let answer = || handshake::response(kept, &upgrade.url, &upgrade.extras, upgrade.nonce, true);
        if self.open { None } else { answer().err() }
    }

    /// Begins to look at `bytes`, which were read behind those of the call before.
    pub fn receive<'a>(&'a mut self, bytes: &'a [u8]) -> Incoming<'a> {
        let mut joined = self.kept.as_mut().map_or(Vec::new(), |kept| std::mem::take(&mut kept.raw));
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
        }
        Incoming { session: self, fresh: bytes, joined, at: 0, gathered: Vec::new() }
    }
}

impl Incoming<'_> {
    /// The next thing that the server said; `None` when the rest is not whole yet. Until the WebSocket is open the bytes
    /// are the answer to `upgrade`.
    ///
    /// # Errors
    /// Why the connection is over: what is wrong with the answer or with a frame.
    pub fn next<'b, 'u>(
        &'b mut self,
        rules: &Rules,
        upgrade: impl FnOnce() -> Upgrade<'u>,
        inflater: &'b mut Option<Box<Inflater>>,
    ) -> Result<Option<Received<'b>>, Refusal> {
        if !self.session.open {
            return self.open(upgrade());
        }
        let step = loop {
            match self.step(rules)? {
                Step::Fragment => {}
                step => break step,
            }
        };
        Ok(match step {
            Step::Incomplete | Step::Fragment => None,
            Step::Control(opcode, payload) => {
                let payload = &self.input()[payload];
                Some(match opcode {
                    Opcode::Ping => Received::Ping(payload),
                    Opcode::Pong => Received::Pong(payload),
                    _ => Received::Close(payload),
                })
            }
            Step::Message { opcode, compressed, place } => {
                let more = self.at < self.input().len();
                let payload = match place {
                    PayloadPlace::Input(range) => &self.input()[range],
                    PayloadPlace::Gathered => &self.gathered,
                };
                let payload = match inflater {
                    Some(inflater) if compressed => {
                        inflater.inflate(payload, rules.limit).map_err(|e| format!("open: {e}"))?
                    }
                    _ => payload,
                };
                Some(Received::Message(opcode, payload, more))
            }
        })
    }

    /// Keeps what is not whole, and gives memory back when there is nothing to keep.
    pub fn finish(self) {
        let Incoming { session, fresh, joined: mut raw, at, .. } = self;
        if raw.is_empty() {
            raw.extend_from_slice(&fresh[at..]);
        } else {
            raw.drain(..at);
        }
        match &mut session.kept {
            Some(kept) if raw.is_empty() && kept.opcode.is_none() => session.kept = None,
            None if raw.is_empty() => {}
            kept => kept.get_or_insert_default().raw = raw,
        }
    }

    fn input(&self) -> &[u8] {
        if self.joined.is_empty() { self.fresh } else { &self.joined }
    }

    /// Looks for the end of the answer to the upgrade request.
    fn open(&mut self, upgrade: Upgrade) -> Result<Option<Received<'static>>, Refusal> {
        let input = self.input();
        let head = &input[..input.len().min(HEAD_MAX + hixie::DIGEST)];
        let answer = handshake::response(head, &upgrade.url, &upgrade.extras, upgrade.nonce, false)?;
        Ok(answer.map(|size| {
            (self.at, self.session.open) = (size, true);
            Received::Open
        }))
    }

    fn step(&mut self, rules: &Rules) -> Result<Step, String> {
        self.gathered = Vec::new();
        if rules.extras.draft.is_hixie() { self.hixie_step(rules) } else { self.frame_step(rules) }
    }

    /// A frame of RFC 6455 and of the HyBi drafts.
    fn frame_step(&mut self, rules: &Rules) -> Result<Step, String> {
        let input = &self.input()[self.at..];
        let header = Header::parse(input, rules.limit, rules.extras.deflate);
        let Some(header) = header.map_err(|e| format!("open: {e}"))? else {
            return Ok(Step::Incomplete);
        };
        if input.len() < header.size + header.len {
            return Ok(Step::Incomplete);
        }
        let begin = self.at + header.size;
        self.at = begin + header.len;
        let payload = begin..self.at;
        let inside = self.message_begun();
        match header.opcode {
            Opcode::Ping | Opcode::Pong | Opcode::Close => Ok(Step::Control(header.opcode, payload)),
            Opcode::Continuation if !inside => Err("open: continuation of nothing".into()),
            Opcode::Text | Opcode::Binary if inside => Err("open: message within a message".into()),
            opcode => self.fragment(rules, opcode, header.compressed, payload, header.fin),
        }
    }

    /// A frame of 75 and 76. The beginning of a message is taken as it comes, so that no byte is looked at twice.
    fn hixie_step(&mut self, rules: &Rules) -> Result<Step, String> {
        let input = &self.input()[self.at..];
        let (piece, took) = hixie::piece(input, self.message_begun()).map_err(|e| format!("open: {e}"))?;
        let end = self.at + took;
        match piece {
            Piece::Nothing => Ok(Step::Incomplete),
            Piece::Close => {
                self.at = end;
                Ok(Step::Control(Opcode::Close, end..end))
            }
            // Of a text that continues and has not gone on.
            Piece::Text([], false) if took == 0 => Ok(Step::Incomplete),
            Piece::Text(text, last) => {
                // Behind the text stands the byte that ends it.
                let end_of_text = end - usize::from(last);
                let payload = end_of_text - text.len()..end_of_text;
                self.at = end;
                self.fragment(rules, Opcode::Text, false, payload, last)
            }
        }
    }

    /// A message is under way.
    fn message_begun(&self) -> bool {
        self.session.kept.as_ref().is_some_and(|kept| kept.opcode.is_some())
    }

    /// The first of a message, or more of it; `last` ends it. Only the first knows its opcode and whether it is
    /// `compressed`.
    fn fragment(
        &mut self,
        rules: &Rules,
        opcode: Opcode,
        compressed: bool,
        payload: Range<usize>,
        last: bool,
    ) -> Result<Step, String> {
        if last && !self.message_begun() {
            return Ok(Step::Message { opcode, compressed, place: PayloadPlace::Input(payload) });
        }
        let bytes = if self.joined.is_empty() { self.fresh } else { &self.joined };
        let kept = self.session.kept.get_or_insert_default();
        kept.message.extend_from_slice(&bytes[payload]);
        if kept.message.len() > rules.limit {
            return Err("open: message longer than any sent".into());
        }
        if kept.opcode.is_none() {
            (kept.opcode, kept.compressed) = (Some(opcode), compressed);
        }
        match kept.opcode.take_if(|_| last) {
            None => Ok(Step::Fragment),
            Some(opcode) => {
                self.gathered = std::mem::take(&mut kept.message);
                Ok(Step::Message { opcode, compressed: kept.compressed, place: PayloadPlace::Gathered })
            }
        }
    }
}
