//! A client of a path under `/ws`: a chain that a seed draws, and what must hold of what it gets, whatever the chain; or a
//! member of a board.
//!
//! Its messages are numbered, and the server's own are called `own`. So what comes back can be told from what the chain
//! says, and must come in order, whole, and once. What members say carries who said it: each hears the others in order, once,
//! and never itself.

mod chain;

use chain::Chain;
use fastrand::Rng;
use std::collections::{HashMap, VecDeque};
use support::wire::{REQUEST, masked};

/// One client's view of a chain.
pub struct Program {
    path: String,
    /// What it says in its request beside the usual.
    lines: String,
    /// All that it says comes back.
    is_plain: bool,
    /// The frame of its chain that is wrong.
    bad_frame: Vec<u8>,
    said: usize,
    left: usize,
    heard: Vec<u8>,
    /// Bytes of `heard` that were taken apart.
    at: usize,
    head_is_over: bool,
    message: Vec<u8>,
    next: usize,
    pongs: VecDeque<Vec<u8>>,
    close_answer: Option<Vec<u8>>,
    pub closed: bool,
    /// From here on anything may come: the chain breaks the protocol.
    is_wild: bool,
    /// Of a member of a board: who it is, and the number it heard last of each other.
    member: Option<(u32, HashMap<u32, usize>)>,
}

impl Program {
    /// Draws a chain, and how many messages the client has for it.
    pub fn draw(rng: &mut Rng) -> Program {
        let Chain { path, lines, is_plain, bad_frame } = Chain::draw(rng);
        let left = rng.usize(..6);
        Program { lines, is_plain, bad_frame, ..Program::on(path, left) }
    }

    /// Draws a member of one of two boards. Some say so much that who does not read is late.
    pub fn member(rng: &mut Rng) -> Program {
        let path = format!("/board/{}", rng.u8(..2));
        let left = rng.usize(..40);
        Program { member: Some((rng.u32(..), HashMap::new())), ..Program::on(path, left) }
    }

    fn on(path: String, left: usize) -> Program {
        Program {
            path,
            lines: String::new(),
            is_plain: false,
            bad_frame: Vec::new(),
            said: 0,
            left,
            heard: Vec::new(),
            at: 0,
            head_is_over: false,
            message: Vec::new(),
            next: 0,
            pongs: VecDeque::new(),
            close_answer: None,
            closed: false,
            is_wild: false,
            member: None,
        }
    }

    pub fn request(&self) -> Vec<u8> {
        let request = REQUEST.replacen("/echo", &self.path, 1);
        format!("{}{}\r\n", request.trim_end_matches("\r\n").to_owned() + "\r\n", self.lines).into_bytes()
    }

    /// What is wrong with what it got in the end, where nobody but itself has ended it.
    pub fn complaint(&self) -> Option<String> {
        let is_short = self.is_plain && !self.is_wild && !self.closed && self.next < self.said;
        is_short.then(|| format!("{} of {} messages on {}", self.next, self.said, self.path))
    }

    /// What it puts on the wire next, if anything.
    pub fn says(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let key = rng.u32(..).to_be_bytes();
        if let Some(payload) = self.pongs.pop_front() {
            return Some(masked(0x8A, key, &payload));
        }
        if let Some(body) = self.close_answer.take() {
            self.left = 0;
            return Some(masked(0x88, key, &body));
        }
        if self.left == 0 || self.closed {
            return None;
        }
        self.left -= 1;
        self.said += 1;
        // A message on a board has 32 KiB at most.
        let most = if self.member.is_some() { 32_000 } else { 100_000 };
        let filling = "x".repeat(if rng.u8(..8) == 0 { rng.usize(..most) } else { rng.usize(..100) });
        let who = self.member.as_ref().map_or(String::new(), |(who, _)| format!("{who}:"));
        Some(masked(0x81, key, format!("{who}{} {filling}", self.said - 1).as_bytes()))
    }

    pub fn has_said_all(&self) -> bool {
        self.left == 0 && self.close_answer.is_none()
    }

    /// Whether what was heard leads to a fault.
    pub fn hears(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.heard.extend_from_slice(bytes);
        if !self.head_is_over {
            if self.path.contains("/bad-handshake/") {
                self.is_wild = true;
            }
            let Some(end) = self.heard.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return Ok(());
            };
            self.head_is_over = true;
            self.is_wild |= !self.heard.starts_with(b"HTTP/1.1 101 ");
            self.at = end + 4;
        }
        while !self.is_wild && self.next_frame()? {}
        Ok(())
    }

    fn next_frame(&mut self) -> Result<bool, String> {
        let heard = &self.heard[self.at..];
        if heard.starts_with(&self.bad_frame) && !self.bad_frame.is_empty() {
            self.is_wild = true;
            return Ok(false);
        }
        if self.bad_frame.starts_with(heard) && !self.bad_frame.is_empty() {
            return Ok(false);
        }
        let [first, short, rest @ ..] = heard else { return Ok(false) };
        let (size, len) = match short {
            126 if rest.len() >= 2 => (4, usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
            127 if rest.len() >= 8 => {
                (10, u64::from_be_bytes(rest[..8].try_into().expect("eight bytes")) as usize)
            }
            126 | 127 => return Ok(false),
            short => (2, usize::from(*short)),
        };
        if self.closed {
            return Err(format!("{first:02x} behind a Close on {}", self.path));
        }
        let Some(payload) = self.heard[self.at..].get(size..size + len) else { return Ok(false) };
        let (first, payload) = (*first, payload.to_vec());
        self.at += size + len;
        match first {
            0x89 => self.pongs.push_back(payload),
            0x8A => {}
            0x88 => {
                self.closed = true;
                self.close_answer = Some(payload);
            }
            0x01 | 0x02 | 0x00 | 0x81 | 0x82 | 0x80 => {
                self.message.extend(payload);
                if first & 0x80 != 0 {
                    let message = std::mem::take(&mut self.message);
                    self.take(&message)?;
                }
            }
            _ => return Err(format!("a frame that begins with {first:02x} on {}", self.path)),
        }
        Ok(true)
    }

    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(message).map_err(|_| format!("no text on {}", self.path))?;
        if let Some((own, others)) = &mut self.member {
            return hear(text, *own, others).ok_or_else(|| format!("{text:.20} on {}, to {own}", self.path));
        }
        let is_own = text == "own" || text.starts_with('{') || text.bytes().all(|byte| byte == b'*');
        if is_own || (self.path.ends_with("/size") && text.parse::<usize>().is_ok()) {
            return Ok(());
        }
        let (number, filling) = text.split_once(' ').ok_or_else(|| format!("{text:.20} on {}", self.path))?;
        if number != self.next.to_string() || filling.bytes().any(|byte| byte != b'x') {
            return Err(format!("message {number} instead of {} on {}", self.next, self.path));
        }
        self.next += 1;
        if self.next > self.said {
            return Err(format!("more than was said on {}", self.path));
        }
        Ok(())
    }
}

/// Takes what another member said: the next of his, or a later one, as some may not have been there yet.
fn hear(text: &str, own: u32, others: &mut HashMap<u32, usize>) -> Option<()> {
    let (name, filling) = text.split_once(' ')?;
    let (who, number) = name.split_once(':')?;
    let (who, number): (u32, usize) = (who.parse().ok()?, number.parse().ok()?);
    let before = others.insert(who, number);
    let is_next = before.is_none_or(|before| number == before + 1);
    (who != own && is_next && filling.bytes().all(|byte| byte == b'x')).then_some(())
}
