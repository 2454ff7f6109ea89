//! One connection seen from the other end: a server that echoes, late and badly, and the pipe to it.

use std::collections::VecDeque;

use crate::wire::{accepted, frame, take_frame};
use fastrand::Rng;

/// The clock for people: what it shows more than the other one, and by how much more from some time on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    pub offset: u64,
    pub step_at: u64,
    pub step: u64,
}

impl Wall {
    pub fn at(self, now: u64) -> u64 {
        now + self.offset + if now >= self.step_at { self.step } else { 0 }
    }
}

/// How a server answers messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Answers {
    #[default]
    Echo,
    /// With their number.
    Number,
    /// With what is the same for all.
    Any,
}

/// What a server says besides.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    pub answers: Answers,
    /// Messages that are one reply.
    pub replies: usize,
    /// It greets whoever comes.
    pub greets: bool,
    /// It answers opening words, with the token in a message of its own or not.
    pub grants: bool,
    pub token_apart: bool,
    pub joins: bool,
    /// Shares of the opening words, in thousandths: something else is said, or nothing.
    pub refused: u32,
    pub unsaid: u32,
    /// Nanoseconds between two messages that nobody asked for, at least and at most.
    pub pushes: Option<(u64, u64)>,
    /// They say when they were sent, in such a unit.
    pub stamps: Option<u64>,
    pub wall: Wall,
}

/// What a server makes of one connection.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    pub speech: Speech,
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
    /// Opcode, payload, and the number that it names.
    Message(u8, Vec<u8>, Option<u64>),
    Word(Spoken, Vec<u8>),
    Push(Push, Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(u16),
    Garbage(&'static str),
}

/// The server's part of the opening words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spoken {
    Welcome,
    Granted { ok: bool, token: Option<String> },
    Joined,
    Refused,
}

/// What nobody asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Push {
    Tick,
    /// Wants the number back.
    Beat(u64),
    /// With a number: a message's, or the time.
    News(Option<u64>),
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
    held: Option<(u8, Vec<u8>, Option<u64>)>,
    /// When it says the next thing that nobody asked for.
    push_at: Option<u64>,
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
            push_at: None,
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
        self.push_due(now);
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
        [arrival, end, self.room_at, pending, self.push_at].into_iter().flatten().min()
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
        self.push_due(now);
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
                if self.manners.speech.greets {
                    self.word(r#"{"hi":"welcome"}"#, Spoken::Welcome, now);
                }
                self.push_at =
                    self.manners.speech.pushes.map(|(least, most)| now + self.rng.u64(least..=most));
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
        if payload.starts_with(b"hello-") || payload.starts_with(b"pong ") {
            return self.answer_words(&payload, now);
        }
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
        let (mut opcode, mut payload, number) = self.content(opcode, payload);
        let echoes = manners.speech.answers == Answers::Echo;
        if echoes && self.chance(manners.corrupted) && !payload.is_empty() {
            let at = self.rng.usize(..payload.len());
            match self.rng.u8(..4) {
                0 => opcode ^= 3,
                1 => payload.truncate(at),
                // In text, ASCII stays ASCII.
                _ => payload[at] ^= 1,
            }
        }
        if echoes && !self.stranger.is_empty() && self.chance(manners.foreign) {
            payload.clone_from(&self.stranger);
        }
        if self.held.is_none() && self.chance(manners.swapped) {
            self.held = Some((opcode, payload, number));
            return;
        }
        if self.chance(manners.duplicated) {
            self.reply(opcode, payload.clone(), number, now);
        }
        for _ in 1..manners.speech.replies {
            if !self.chance(manners.dropped) {
                self.reply(opcode, payload.clone(), number, now);
            }
        }
        self.reply(opcode, payload, number, now);
        if let Some((opcode, payload, number)) = self.held.take() {
            for _ in 0..manners.speech.replies.max(1) {
                self.reply(opcode, payload.clone(), number, now);
            }
        }
    }

    /// What a message is answered with, and the number in it: at times a wrong one, or none.
    fn content(&mut self, opcode: u8, payload: Vec<u8>) -> (u8, Vec<u8>, Option<u64>) {
        match self.manners.speech.answers {
            Answers::Echo => (opcode, payload, None),
            Answers::Any => (1, format!("done {}", self.rng.u8(..)).into_bytes(), None),
            Answers::Number => {
                let text = String::from_utf8(payload).expect("text");
                let asked = text.strip_prefix("{\"id\":").and_then(|rest| rest.split(',').next());
                let asked: u64 = asked.and_then(|digits| digits.parse().ok()).expect("a number");
                let number = match self.chance(self.manners.foreign) {
                    true => [None, Some(asked + 1), Some(asked / 2), Some(u64::MAX)][self.rng.usize(..4)],
                    false => Some(asked),
                };
                let text = match number {
                    Some(number) => format!("{{\"x\":\"id\",\"id\":{number},\"v\":{}}}", self.rng.u8(..)),
                    None => "{\"error\":1,\"id\":null}".to_owned(),
                };
                (1, text.into_bytes(), number)
            }
        }
    }

    /// Answers one of the client's opening words; a heartbeat's answer needs none.
    fn answer_words(&mut self, words: &[u8], now: u64) {
        let speech = self.manners.speech.clone();
        let login = words.starts_with(b"hello-login");
        let answers = if login { speech.grants } else { words.starts_with(b"hello-join") && speech.joins };
        if self.silent || self.end.is_some() || !answers || self.chance(speech.unsaid) {
            return;
        }
        if self.chance(speech.refused) {
            return self.word(r#"{"ok":false,"error":"not you"}"#, Spoken::Refused, now);
        }
        if !login {
            return self.word(r#"{"joined":"room"}"#, Spoken::Joined, now);
        }
        let token = format!("{:x}", self.rng.u32(..));
        if speech.token_apart {
            self.word(r#"{"ok":true}"#, Spoken::Granted { ok: true, token: None }, now);
            let text = format!(r#"{{"tok":"no","token":"{token}"}}"#);
            self.word(&text, Spoken::Granted { ok: false, token: Some(token) }, now);
        } else {
            let text = format!(r#"{{"tok":"no","ok":true,"token":"{token}","more":"{{}}"}}"#);
            self.word(&text, Spoken::Granted { ok: true, token: Some(token) }, now);
        }
    }

    fn word(&mut self, text: &str, spoken: Spoken, now: u64) {
        self.say(frame(0x81, text.as_bytes()), Said::Word(spoken, text.as_bytes().to_vec()), now);
    }

    /// Says what is due by `now` though nobody asked for it.
    fn push_due(&mut self, now: u64) {
        while let (Some(at), Some((least, most))) =
            (self.push_at.filter(|at| *at <= now), self.manners.speech.pushes)
        {
            self.push_at = None;
            if self.silent || self.end.is_some() || self.closed {
                return;
            }
            self.push(at);
            self.push_at = Some(at + self.rng.u64(least..=most));
        }
    }

    fn push(&mut self, now: u64) {
        let (text, push) = match (self.rng.u8(..12), self.manners.speech.stamps) {
            (0, _) => (r#"{"type":"tick"}"#.to_owned(), Push::Tick),
            (1, _) => {
                let n = self.rng.u64(..1_000_000);
                (format!(r#"{{"type":"beat","n":{n}}}"#), Push::Beat(n))
            }
            (2, _) => (r#"{"type":"news","id":"none"}"#.to_owned(), Push::News(None)),
            (3.., None) => {
                let number = 4_000_000_000 + self.rng.u64(..1 << 40);
                (format!(r#"{{"type":"news","id":{number}}}"#), Push::News(Some(number)))
            }
            (ahead, Some(unit)) => {
                let ahead = if ahead == 3 { 50_000_000 } else { 0 };
                let time = (self.manners.speech.wall.at(now) + ahead) / unit;
                (format!(r#"{{"v":1,"ts":{time}}}"#), Push::News(Some(time)))
            }
        };
        let bytes = frame(0x81, text.as_bytes());
        self.say(bytes, Said::Push(push, text.into_bytes()), now);
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
    fn reply(&mut self, opcode: u8, payload: Vec<u8>, number: Option<u64>, now: u64) {
        let bytes = if payload.len() > 1 && self.chance(self.manners.fragmented) {
            let cut = self.rng.usize(1..payload.len());
            [frame(opcode, &payload[..cut]), frame(0x80, &payload[cut..])].concat()
        } else {
            frame(0x80 | opcode, &payload)
        };
        self.say(bytes, Said::Message(opcode, payload, number), now);
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
