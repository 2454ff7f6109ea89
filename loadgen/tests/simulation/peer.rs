//! One connection seen from the other end: a server that echoes, late and badly, and the pipe to it.

use std::collections::VecDeque;

use crate::wire::{accepted, frame, take_frame};
use fastrand::Rng;

/// What a server makes of one connection.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Nanoseconds from the end of a message to the beginning of its reply, at least and at most.
    pub delay: (u64, u64),
    /// Shares of the replies, in thousandths.
    pub dropped: u32,
    pub duplicated: u32,
    /// Sent behind the next one.
    pub swapped: u32,
    pub corrupted: u32,
    /// Another's message in place of the reply.
    pub foreign: u32,
    /// In several frames.
    pub fragmented: u32,
    /// Arriving in several pieces.
    pub pieces: u32,
    /// A ping before the reply.
    pub pings: u32,
    /// After so many messages: how it ends, if it does.
    pub end: Option<(usize, Ending)>,
    /// What it says to the upgrade request.
    pub upgrade: Upgrade,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Upgrade {
    #[default]
    Yes,
    /// 503.
    No,
    /// Nothing, for ever.
    Silence,
    /// The end of the connection.
    Hangup,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Nothing more is said.
    Silence,
    Fin,
    Reset,
    Close(u16),
    /// A frame that no server may send.
    Garbage,
}

/// Something that the server said, for the model to know what the bytes mean.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    Open,
    Refusal(&'static str),
    Message(u8, Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(u16),
    Garbage(&'static str),
}

/// What the client said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Opcode, payload, and bytes on the wire.
    Message(u8, Vec<u8>, usize),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// How the connecting goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connecting {
    /// Until then; then it is connected, or has failed with this error.
    Until(u64, Option<i32>),
    Done,
}

pub struct Peer {
    pub connecting: Connecting,
    pub manners: Manners,
    rng: Rng,
    /// The bytes to the client, how far it has read, and from when on how much of them is there.
    stream: Vec<u8>,
    pub read: usize,
    arrivals: VecDeque<(u64, usize)>,
    there: usize,
    /// When the last of what is there came.
    pub there_at: u64,
    /// What the bytes from one offset up to another mean.
    meanings: VecDeque<(usize, usize, Said)>,
    /// The end of the stream, once its bytes are read: when, and whether it is a reset.
    pub end: Option<(u64, bool)>,
    /// Bytes from the client that are no whole frame yet.
    inbox: Vec<u8>,
    upgraded: bool,
    /// A fragmented message so far.
    partial: Option<(u8, Vec<u8>, usize)>,
    messages: usize,
    held: Option<(u8, Vec<u8>)>,
    /// What another connection said last.
    stranger: Vec<u8>,
    silent: bool,
    pub closed: bool,
    // Edges.
    told: usize,
    told_end: bool,
    pub again: bool,
    /// Bytes that a write may take, and when there will be more.
    pub room: usize,
    pub room_at: Option<u64>,
}

impl Peer {
    pub fn new(connecting: Connecting, manners: Manners, rng: Rng) -> Peer {
        Peer {
            connecting,
            manners,
            rng,
            stream: Vec::new(),
            read: 0,
            arrivals: VecDeque::new(),
            there: 0,
            there_at: 0,
            meanings: VecDeque::new(),
            end: None,
            inbox: Vec::new(),
            upgraded: false,
            partial: None,
            messages: 0,
            held: None,
            stranger: Vec::new(),
            silent: false,
            closed: false,
            told: 0,
            told_end: false,
            again: false,
            room: usize::MAX,
            room_at: None,
        }
    }

    /// Bytes that the client can read at `now`.
    pub fn available(&mut self, now: u64) -> usize {
        while self.arrivals.front().is_some_and(|(at, _)| *at <= now) {
            (self.there_at, self.there) = self.arrivals.pop_front().expect("just seen");
        }
        self.there - self.read
    }

    /// Takes what can be read at `now`.
    pub fn take(&mut self, now: u64, buffer: &mut [u8]) -> usize {
        let n = self.available(now).min(buffer.len());
        buffer[..n].copy_from_slice(&self.stream[self.read..self.read + n]);
        self.read += n;
        if self.read == self.stream.len() {
            let all = self.stream.len();
            self.stream.clear();
            self.read = 0;
            self.there -= all;
            self.told = self.told.saturating_sub(all);
            self.arrivals.iter_mut().for_each(|(_, upto)| *upto -= all);
            for (from, upto, _) in &mut self.meanings {
                (*from, *upto) = (from.wrapping_sub(all), upto.wrapping_sub(all));
            }
        }
        n
    }

    /// What the bytes say that were read by now, and whether the last of them are the beginning of something.
    pub fn understood(&mut self) -> (Vec<Said>, bool) {
        let (mut all, read) = (Vec::new(), self.read as isize);
        while self.meanings.front().is_some_and(|(_, upto, _)| (*upto as isize) <= read) {
            all.push(self.meanings.pop_front().expect("just seen").2);
        }
        (all, self.meanings.front().is_some_and(|(from, ..)| (*from as isize) < read))
    }

    /// Another connection said `words`.
    pub fn stranger(&mut self, words: &[u8]) {
        if self.manners.foreign > 0 {
            self.stranger.clear();
            self.stranger.extend_from_slice(words);
        }
    }

    /// The end of the stream is what a read at `now` finds.
    pub fn ended(&mut self, now: u64) -> Option<bool> {
        let (at, reset) = self.end?;
        (at <= now && self.available(now) == 0 && self.arrivals.is_empty()).then_some(reset)
    }

    /// When something happens next, after `now`.
    pub fn next(&self) -> Option<u64> {
        if self.closed {
            return None;
        }
        if let Connecting::Until(at, _) = self.connecting {
            return Some(at).filter(|at| *at != u64::MAX);
        }
        let arrival = self.arrivals.front().map(|(at, _)| *at);
        let end = self.end.filter(|_| !self.told_end).map(|(at, _)| at);
        let pending = (self.again || self.told < self.there).then_some(0);
        [arrival, end, self.room_at, pending].into_iter().flatten().min()
    }

    /// The edges at `now` that were not told yet: readable, writable, ended.
    pub fn edges(&mut self, now: u64) -> Option<(bool, bool, bool)> {
        if self.closed {
            return None;
        }
        if let Connecting::Until(at, error) = self.connecting {
            if at > now {
                return None;
            }
            self.connecting = Connecting::Done;
            if let Some(code) = error {
                self.end = Some((now, true));
                self.connecting = Connecting::Until(u64::MAX, Some(code));
            }
            return Some((false, true, error.is_some()));
        }
        self.available(now);
        let ended = self.end.is_some_and(|(at, _)| at <= now) && self.arrivals.is_empty();
        let readable = self.again || self.told < self.there || ended && !self.told_end;
        let writable = self.room_at.is_some_and(|at| at <= now);
        if writable {
            self.room_at = None;
            self.room = match self.rng.u8(..4) {
                0 => self.rng.usize(1..40),
                1 => self.rng.usize(40..4_000),
                _ => usize::MAX,
            };
        }
        (self.told, self.again, self.told_end) = (self.there, false, self.told_end || ended);
        (readable || writable).then_some((readable, writable, ended))
    }

    /// Takes `bytes` of the client's at `now`, answers them, and says what they were.
    pub fn hear(&mut self, bytes: &[u8], now: u64) -> Vec<Heard> {
        self.inbox.extend_from_slice(bytes);
        let mut heard = Vec::new();
        if !self.upgraded {
            self.hear_request(now);
        }
        while self.upgraded
            && let Some((first, payload, size)) = take_frame(&mut self.inbox)
        {
            let (opcode, fin) = (first & 0x0F, first & 0x80 != 0);
            match opcode {
                0x8 => heard.push(Heard::Close(payload.clone())),
                0x9 => heard.push(Heard::Ping(payload.clone())),
                0xA => heard.push(Heard::Pong(payload.clone())),
                _ => {
                    let (opcode, mut whole, mut wire) =
                        self.partial.take().unwrap_or((opcode, Vec::new(), 0));
                    whole.extend_from_slice(&payload);
                    wire += size;
                    if !fin {
                        self.partial = Some((opcode, whole, wire));
                        continue;
                    }
                    heard.push(Heard::Message(opcode, whole.clone(), wire));
                    self.answer(opcode, whole, now);
                    continue;
                }
            }
            if self.silent || self.end.is_some() {
                continue;
            }
            match opcode {
                0x8 => {
                    self.say(frame(0x88, &payload), Said::Close(1000), now);
                    self.end = Some((self.last_arrival(now), false));
                }
                0x9 => self.say(frame(0x8A, &payload), Said::Pong(payload), now),
                _ => {}
            }
        }
        heard
    }

    fn hear_request(&mut self, now: u64) {
        let Some(end) = self.inbox.windows(4).position(|w| w == b"\r\n\r\n") else { return };
        let head: Vec<u8> = self.inbox.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a request is text");
        assert!(head.starts_with("GET /sim HTTP/1.1\r\n"), "{head}");
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        self.upgraded = true;
        match self.manners.upgrade {
            Upgrade::Yes => {
                self.say(accepted(key), Said::Open, now);
            }
            Upgrade::No => {
                let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec();
                self.say(answer, Said::Refusal("upgrade: HTTP 503 Busy"), now);
            }
            Upgrade::Silence => self.silent = true,
            Upgrade::Hangup => self.end = Some((now + self.delay(), false)),
        }
    }

    fn delay(&mut self) -> u64 {
        let (least, most) = self.manners.delay;
        self.rng.u64(least..=most)
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        self.rng.u32(..1000) < thousandths
    }

    fn answer(&mut self, opcode: u8, payload: Vec<u8>, now: u64) {
        self.messages += 1;
        if self.silent || self.end.is_some() {
            return;
        }
        if let Some((_, ending)) = self.manners.end.filter(|(after, _)| self.messages > *after) {
            return self.finish(ending, now);
        }
        let manners = self.manners.clone();
        if self.chance(manners.pings) {
            self.say(frame(0x89, b"hi"), Said::Ping, now);
        }
        if self.chance(manners.dropped) {
            return;
        }
        let (mut opcode, mut payload) = (opcode, payload);
        if self.chance(manners.corrupted) && !payload.is_empty() {
            let at = self.rng.usize(..payload.len());
            match self.rng.u8(..4) {
                0 => opcode ^= 3,
                1 => payload.truncate(at),
                // In text, ASCII stays ASCII.
                _ => payload[at] ^= 1,
            }
        }
        if !self.stranger.is_empty() && self.chance(manners.foreign) {
            payload.clone_from(&self.stranger);
        }
        if self.held.is_none() && self.chance(manners.swapped) {
            self.held = Some((opcode, payload));
            return;
        }
        if self.chance(manners.duplicated) {
            self.reply(opcode, payload.clone(), now);
        }
        self.reply(opcode, payload, now);
        if let Some((opcode, payload)) = self.held.take() {
            self.reply(opcode, payload, now);
        }
    }

    fn finish(&mut self, ending: Ending, now: u64) {
        match ending {
            Ending::Silence => self.silent = true,
            Ending::Fin => self.end = Some((self.last_arrival(now) + self.delay(), false)),
            Ending::Reset => self.end = Some((self.last_arrival(now) + self.delay(), true)),
            Ending::Close(code) => self.say(frame(0x88, &code.to_be_bytes()), Said::Close(code), now),
            Ending::Garbage => {
                self.say(vec![0x83, 0x00], Said::Garbage("open: reserved opcode"), now);
            }
        }
        self.silent = true;
    }

    fn last_arrival(&self, now: u64) -> u64 {
        self.arrivals.back().map_or(now, |(at, _)| (*at).max(now))
    }

    /// Sends a message, in one frame or several.
    fn reply(&mut self, opcode: u8, payload: Vec<u8>, now: u64) {
        let bytes = if payload.len() > 1 && self.chance(self.manners.fragmented) {
            let cut = self.rng.usize(1..payload.len());
            [frame(opcode, &payload[..cut]), frame(0x80, &payload[cut..])].concat()
        } else {
            frame(0x80 | opcode, &payload)
        };
        self.say(bytes, Said::Message(opcode, payload), now);
    }

    /// Sends `bytes`, in one piece or several, not before what was sent earlier.
    fn say(&mut self, bytes: Vec<u8>, meaning: Said, now: u64) {
        let earliest = now + self.delay();
        let mut at = self.last_arrival(earliest);
        let begin = self.stream.len();
        self.stream.extend_from_slice(&bytes);
        self.meanings.push_back((begin, self.stream.len(), meaning));
        if bytes.len() > 1 && self.chance(self.manners.pieces) {
            self.arrivals.push_back((at, begin + self.rng.usize(1..bytes.len())));
            at += self.rng.u64(..100_000);
        }
        self.arrivals.push_back((at, self.stream.len()));
    }
}
