//! A client: what it says, how it reads, how it leaves, and what it is owed.

use super::program::Program;
#[cfg(feature = "tls")]
use super::secure::Secure;
use fastrand::Rng;
use std::collections::VecDeque;
use support::reader::Reader;
use support::script::{self, Line};
use support::wire::{ANSWER, REQUEST, masked};
use wsecho::proto::limits::WHOLE_MAX;

/// The policy, as Flash players of the day were given it.
const POLICY: &[u8] =
    b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\0";

/// One client.
pub struct Peer {
    /// Which listener it connects to: 0 echoes, 1 has the policy, 2 echoes in TLS.
    pub listener: usize,
    pub connected: bool,
    pub opening: Option<Vec<u8>>,
    lines: VecDeque<Line>,
    /// Its last line makes the server end the conversation.
    pub ends: bool,
    pub expects: Expects,
    pub appetite: Appetite,
    pub leaves: Leaves,
    answers_pings: bool,
    answered_pings: usize,
    answers_close: bool,
    pub said_close: bool,
    /// It is in the middle of a message in fragments.
    pub in_message: bool,

    heard: Vec<u8>,
    pub opened: bool,
    pub reader: Reader,
    /// Its TLS, where it speaks that.
    #[cfg(feature = "tls")]
    pub secure: Option<Box<Secure>>,
    /// What its path under `/ws` does, where it has one.
    pub program: Option<Box<Program>>,
    /// It saw the end of what the server says.
    pub saw_end: bool,
    /// It is owed nothing more: it went away itself, or the server had the right to drop it.
    pub excused: bool,
    pub done: bool,
    /// May have something to do.
    pub restless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    Echo,
    /// Whatever its path asks for.
    Program,
    /// An HTTP answer with this status.
    Status(&'static str),
    Policy,
    /// To be dropped.
    Nothing,
}

/// How much a client takes of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appetite {
    Eager,
    Picky,
    /// Nothing, until all is forgiven.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Once it got everything.
    Satisfied,
    /// Half-closes behind its last byte.
    AtOnce,
    /// Stays, until all is forgiven.
    Late,
    /// With a RST, once this many bytes have arrived.
    Resetting(usize),
    /// Without a word, once this many bytes have arrived.
    Vanishing(usize),
    /// So does the way to it, once this many bytes have arrived.
    CutOff(usize),
}

impl Peer {
    /// Draws a client.
    pub fn new(rng: &mut Rng) -> Peer {
        let (listener, opening, expects) = match rng.u8(..20) {
            0 => (0, "GET /nope HTTP/1.1\r\nHost: a\r\n\r\n", Expects::Status("404")),
            1 => (0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Expects::Status("200")),
            2 => (0, "<policy-file-request/>\0", Expects::Policy),
            3 => (1, "<policy-file-request/>\0", Expects::Policy),
            4 => (rng.usize(..2), ["", "<pol"][rng.usize(..2)], Expects::Nothing),
            5 => (0, &REQUEST[..REQUEST.len() / 2], Expects::Nothing),
            _ => (0, REQUEST, Expects::Echo),
        };
        let (mut lines, mut ends) = (Vec::new(), expects != Expects::Echo);
        if expects == Expects::Echo {
            let count = rng.usize(..6);
            lines = script::messages(rng, count, mostly_small);
            ends = rng.bool();
            if ends {
                lines.extend(script::ending(rng));
            }
        }
        let size = opening.len() + lines.iter().map(|line: &Line| line.said.len()).sum::<usize>();
        let leaves = match rng.u8(..11) {
            0 => Leaves::AtOnce,
            1 => Leaves::Resetting(rng.usize(..=size)),
            2 => Leaves::Vanishing(rng.usize(..=size)),
            3 => Leaves::CutOff(rng.usize(..=size)),
            4 | 5 if expects == Expects::Echo && !ends => Leaves::Late,
            _ => Leaves::Satisfied,
        };
        Peer {
            listener,
            connected: false,
            opening: Some(opening.into()),
            lines: lines.into(),
            ends,
            expects,
            appetite: *rng
                .choice(&[Appetite::Eager, Appetite::Eager, Appetite::Picky, Appetite::None])
                .expect("one"),
            leaves: if expects == Expects::Nothing { Leaves::Late } else { leaves },
            answers_pings: rng.u8(..4) > 0,
            answered_pings: 0,
            answers_close: rng.u8(..4) > 0,
            said_close: false,
            in_message: false,
            heard: Vec::new(),
            opened: false,
            reader: Reader::default(),
            #[cfg(feature = "tls")]
            secure: None,
            program: None,
            saw_end: false,
            excused: false,
            done: false,
            restless: true,
        }
    }

    /// Draws a client of a path under `/ws`, or a member of a board.
    pub fn under_ws(rng: &mut Rng) -> Peer {
        let program = if rng.u8(..3) == 0 { Program::member(rng) } else { Program::draw(rng) };
        let mut peer = Peer::new(rng);
        peer.listener = 0;
        peer.opening = Some(program.request());
        peer.lines.clear();
        (peer.ends, peer.expects) = (false, Expects::Program);
        if matches!(peer.leaves, Leaves::Satisfied | Leaves::AtOnce) && rng.bool() {
            peer.leaves = Leaves::Late;
        }
        peer.program = Some(Box::new(program));
        peer
    }

    /// Bytes it has yet to say, or to be told.
    pub fn size(&self) -> usize {
        // What a program says is no matter of what its client does.
        let program = if self.program.is_some() { 100_000 } else { 0 };
        program + self.lines.iter().map(|line| line.said.len()).sum::<usize>()
    }

    /// From now on it behaves.
    pub fn forgive(&mut self) {
        self.appetite = Appetite::Eager;
        // Whom nobody can reach any more the kernel has to find out.
        if matches!(self.leaves, Leaves::Late | Leaves::CutOff(_)) {
            self.leaves = Leaves::Satisfied;
        }
        self.answers_pings = true;
        self.answers_close = true;
    }

    /// What it puts on the wire next, if anything.
    pub fn says(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        #[cfg(feature = "tls")]
        if let Some(mut secure) = self.secure.take() {
            let said = match secure.says(rng, self.said_close) {
                Ok(flight) => Some(flight),
                Err(false) => None,
                Err(true) => self.says_plain(rng).map(|plain| secure.seal(&plain)),
            };
            self.secure = Some(secure);
            return said;
        }
        self.says_plain(rng)
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.secure.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether it has said in TLS that it sends no more, which may still be under way.
    pub fn has_sent_all(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.secure.as_ref().is_some_and(|secure| secure.is_mute);
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Has it speak TLS, if it comes for the echo.
    #[cfg(feature = "tls")]
    pub fn secure(mut self, rng: &mut Rng, authority: &crate::secure::Authority) -> Peer {
        if self.listener == 0 {
            self.listener = 2;
            self.secure = Some(Box::new(Secure::new(rng, authority)));
        }
        self
    }

    /// What it says of itself, whatever carries it.
    fn says_plain(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        if let Some(program) = &mut self.program {
            return program.says(rng).filter(|_| !self.saw_end);
        }
        if self.answers_pings && self.answered_pings < self.reader.pings() && self.reader.closed().is_none() {
            self.answered_pings += 1;
            return Some(masked(0x8A, rng.u32(..).to_be_bytes(), &[]));
        }
        if self.reader.closed().is_some() && !self.said_close && self.answers_close {
            self.said_close = true;
            return Some(masked(0x88, rng.u32(..).to_be_bytes(), &[]));
        }
        if self.saw_end || self.said_close || (self.was_dismissed() && !self.ends) {
            return None;
        }
        let line = self.lines.pop_front()?;
        line.owed.into_iter().for_each(|owed| self.reader.owe(owed));
        match line.said.first() {
            Some(0x88) => self.said_close = true,
            Some(first) if first & 0x08 == 0 => self.in_message = first & 0x80 == 0,
            _ => {}
        }
        Some(line.said)
    }

    /// Whether it has said everything and got everything.
    pub fn is_satisfied(&self) -> bool {
        match self.expects {
            Expects::Program => self.program.as_ref().is_some_and(|program| program.has_said_all()),
            Expects::Echo if self.ends => self.saw_end,
            Expects::Echo => self.was_dismissed() || (self.opened && self.reader.missing().is_none()),
            _ => self.saw_end,
        }
    }

    /// The server told it to go, or to try again later.
    fn was_dismissed(&self) -> bool {
        let codes = [1001u16, 1013].map(u16::to_be_bytes);
        self.reader.closed().is_some_and(|body| codes.iter().any(|code| body.starts_with(code)))
    }

    /// Takes bytes of the server.
    pub fn hears(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(program) = &mut self.program {
            return program.hears(bytes);
        }
        if self.opened {
            return self.reader.take(bytes);
        }
        self.heard.extend_from_slice(bytes);
        let Expects::Echo = self.expects else { return Ok(()) };
        if let Some(frames) = self.heard.strip_prefix(ANSWER.as_bytes()) {
            self.opened = true;
            return self.reader.take(frames);
        }
        if ANSWER.as_bytes().starts_with(&self.heard) {
            Ok(())
        } else {
            Err(format!("{} instead of 101", self.heard.escape_ascii()))
        }
    }

    /// What is wrong with what it got in the end, given that it was not excused.
    pub fn complaint(&self) -> Option<String> {
        match self.expects {
            Expects::Program => self.program.as_ref().and_then(|program| program.complaint()),
            Expects::Echo if !self.opened => Some("no 101".to_owned()),
            Expects::Echo if self.reader.in_mid_frame() => Some("a frame cut off".to_owned()),
            Expects::Echo if self.was_dismissed() => None,
            Expects::Echo if self.ends && self.reader.closed().is_none() => Some("no Close".to_owned()),
            Expects::Echo => self.reader.missing(),
            Expects::Status(status) => {
                let text = String::from_utf8_lossy(&self.heard);
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
                let is_whole = head.contains(&format!("Content-Length: {}\r\n", body.len()))
                    || head.ends_with(&format!("Content-Length: {}", body.len()));
                let is_good = is_whole && head.starts_with(&format!("HTTP/1.1 {status} "));
                (!is_good).then(|| format!("not a whole {status}: {} bytes of {head:?}", text.len()))
            }
            Expects::Policy => {
                (self.heard != POLICY).then(|| format!("a policy of {} bytes", self.heard.len()))
            }
            Expects::Nothing => Some("never dropped".to_owned()),
        }
    }
}

fn mostly_small(rng: &mut Rng) -> usize {
    match rng.u8(..50) {
        0..38 => rng.usize(..=200),
        38..45 => rng.usize(..=4_000),
        45..47 => WHOLE_MAX + rng.usize(..=2) - 1,
        47 => 65_535 + rng.usize(..=1),
        _ if rng.bool() => rng.usize(..=250_000),
        _ => rng.usize(..=1_000_000),
    }
}
