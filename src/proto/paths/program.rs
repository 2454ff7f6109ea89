//! A chain at work, from the 101 to the end of the connection.
//!
//! A program does no I/O and knows no clock. Whoever owns those hands it what was read ([`Program::receive`]), calls
//! [`Program::advance`] whenever it has heard something, its time has come, or the peer has taken everything that was said so
//! far, and never while something said is still to be taken: so all that a program sends waits for the peer. How much may be
//! read it is asked before each read ([`Program::appetite`]).

use super::chain::Step;
use super::heard::{Cause, Heard, Item};
use super::report::{Caller, Report};
pub use super::state::Ending;
use super::state::{CloseReply, Doing, Modifiers, Repeat};
use super::writer::Writer;
use crate::proto::Version;
use crate::proto::framing::close;
use crate::proto::framing::close_code;
use crate::proto::framing::hixie::{Draft, Hixie};
use crate::proto::framing::hybi::Hybi;
use crate::proto::framing::leaving::Leaving;
use crate::proto::framing::violation::Violation;
use crate::proto::limits::Limits;
use crate::proto::progress::{Event, Progress, Reply};
use std::ops::Range;
use std::time::Duration;

/// Most bytes that are read at a time.
pub const READ_MAX: usize = 16 * 1024;
/// Bytes kept for later replies at which reading stops.
pub const HEARD_MAX: usize = 1 << 20;
/// Bytes said at which the peer is first to take them.
const SAID_MAX: usize = 64 * 1024;
/// How long a Pong is waited for.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a RST waits for what was said in front of it: on its way it would be overtaken, and with it be lost.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// How soon it is seen whether that has arrived, of which nothing tells; from then on whenever as much time has passed again.
const ARRIVAL_STEP: Duration = Duration::from_millis(5);
/// The pause between two writes of a trickle: long enough that each arrives by itself.
const TRICKLE_PAUSE: Duration = Duration::from_millis(1);
/// How often a throttled connection reads, unless not even one byte is due.
const THROTTLE_STEP: u64 = 10;

/// What the messages of `source` are made of.
const FILL: [u8; 1024] = [b'*'; 1024];

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// One connection's program.
#[derive(Debug)]
pub struct Program {
    decoder: Decoder,
    /// What Hixie is closed with.
    closing: &'static [u8],
    heard: Heard,
    out: Writer,
    steps: std::vec::IntoIter<Step>,
    doing: Doing,
    modifiers: Modifiers,
    repeats: Vec<Repeat>,
    /// What `headers` sends.
    report: Option<Report>,
    /// Payload bytes of the message that is being heard.
    size: u64,
    /// Nothing is to be read before.
    reads_at: Duration,
    /// Nothing is to be written before.
    writes_at: Duration,
    /// When it is to be called though nothing has happened.
    wakes_at: Option<Duration>,
    /// When there was last nothing left to read.
    drained_at: Duration,
    /// When the connection is reset at the latest.
    resets_at: Option<Duration>,
    /// The peer's FIN has come: nothing more will be heard.
    is_hung_up: bool,
    /// What is to be counted, until it is told.
    event: Option<Event>,
}

#[derive(Debug)]
enum Decoder {
    Hybi(Hybi),
    Hixie(Hixie),
    /// Whatever comes is no longer looked at.
    Deaf,
}

/// What became of a call of [`Program::advance`].
#[derive(Debug)]
pub struct Advance {
    /// What is to be counted.
    pub event: Option<Event>,
    /// Messages that were sent whole.
    pub messages: u32,
    /// What is next.
    pub then: Then,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More is to be said, as soon as this is taken.
    GoOn,
    /// Nothing until then, or until something is heard.
    Wait(Option<Duration>),
    /// Nothing more is said.
    End(Ending),
}

impl Program {
    /// A program that begins with its handshake; `deflate` says whether permessage-deflate was agreed.
    pub fn new(steps: Vec<Step>, version: Version, deflate: bool, report: Option<Report>) -> Program {
        let is_hixie = matches!(version, Version::Hixie75 | Version::Hixie76);
        let draft = if version == Version::Hixie75 { Draft::Hixie75 } else { Draft::Hixie76 };
        let decoder = match is_hixie {
            true => Decoder::Hixie(Hixie::new(draft)),
            false => Decoder::Hybi(Hybi::with_pongs(deflate)),
        };
        Program {
            decoder,
            closing: draft.closing(),
            heard: Heard::new(is_hixie),
            out: Writer::new(is_hixie),
            steps: steps.into_iter(),
            doing: Doing::Next,
            modifiers: Modifiers::default(),
            repeats: Vec::new(),
            report,
            size: 0,
            reads_at: Duration::ZERO,
            writes_at: Duration::ZERO,
            wakes_at: None,
            drained_at: Duration::ZERO,
            resets_at: None,
            is_hung_up: false,
            event: None,
        }
    }

    /// Who is at the other end, for whoever wants to be told.
    pub fn meet(&mut self, caller: &Caller) {
        if let Some(report) = &mut self.report {
            report.meet(caller);
        }
    }

    /// Its decoder, where that is hybi's: whoever has received by that hands the progress to [`Self::take_in`].
    pub fn hybi(&mut self) -> Option<&mut Hybi> {
        match &mut self.decoder {
            Decoder::Hybi(hybi) => Some(hybi),
            Decoder::Hixie(_) | Decoder::Deaf => None,
        }
    }

    /// Takes the bytes `buf[input]` in other framings.
    pub fn receive(&mut self, buf: &mut [u8], input: Range<usize>, limits: &Limits) -> Progress {
        match &mut self.decoder {
            Decoder::Hixie(hixie) => {
                let progress = hixie.receive(buf, input, limits);
                self.take_in(buf, progress)
            }
            Decoder::Hybi(_) | Decoder::Deaf => Progress::discard(input.len()),
        }
    }

    /// Takes what the decoder made of what was read; what that makes it say is said by [`Self::advance`].
    #[inline(never)]
    pub fn take_in(&mut self, buf: &[u8], progress: Progress) -> Progress {
        let end = match (progress.ended, &progress.event) {
            (false, _) => None,
            (true, Some(Event::Closed(_))) => Some(Cause::Peer),
            (true, _) => Some(Cause::Server),
        };
        if let Reply::InPlace(reply) = &progress.reply {
            self.heard.push(&buf[reply.clone()], end);
        }
        if end.is_some() {
            self.decoder = Decoder::Deaf;
        }
        Progress { reply: Reply::InPlace(0..0), ended: false, again: false, ..progress }
    }

    /// Whether the `fresh` bytes behind the `carried` ones make something to act on.
    pub fn needs_processing(&mut self, carried: &[u8], fresh: &[u8]) -> bool {
        match &mut self.decoder {
            Decoder::Hybi(hybi) => hybi.needs_processing(carried, fresh),
            Decoder::Hixie(_) | Decoder::Deaf => true,
        }
    }

    /// How many bytes may be read `now`. Once `is_last`, because the peer's FIN has come behind what lies there, nobody is
    /// slowed down by reading slowly.
    pub fn appetite(&self, now: Duration, is_last: bool) -> usize {
        let is_full = self.heard.kept() >= HEARD_MAX || !self.out.is_empty();
        if is_full || self.is_hung_up || matches!(self.doing, Doing::Delay { .. } | Doing::Over(_)) {
            return 0;
        }
        match self.modifiers.throttle {
            Some(_) if is_last => READ_MAX,
            Some(_) if now < self.reads_at => 0,
            Some(rate) => (rate / THROTTLE_STEP).clamp(1, READ_MAX as u64) as usize,
            None => READ_MAX,
        }
    }

    /// Whether it means to read what comes, be it slowly.
    pub fn listens(&self) -> bool {
        !matches!(self.doing, Doing::Delay { .. } | Doing::Over(_))
    }

    /// When it is to be called though nothing has happened.
    pub fn wakes_at(&self) -> Option<Duration> {
        self.wakes_at
    }

    /// When the connection is to be reset, whether or not what was said has arrived; `None` where it is not to be.
    pub fn resets_at(&self) -> Option<Duration> {
        self.resets_at
    }

    /// The peer sends no more. Whether there is something left that is to be said before the connection ends.
    pub fn hang_up(&mut self) -> bool {
        self.is_hung_up = true;
        !self.is_through()
    }

    /// Whether nothing more can be said to a peer that says no more.
    fn is_through(&self) -> bool {
        match &self.doing {
            Doing::Silent | Doing::Over(_) => self.out.is_empty(),
            Doing::Delay { .. } | Doing::CloseLate { .. } | Doing::Source { said: 1.., .. } => false,
            _ if !self.out.is_empty() || !self.heard.is_empty() => false,
            // No message of our own can begin in the middle of one that does not end.
            _ if !self.out.is_between_messages() => true,
            doing => doing.needs_peer() && self.repeats.is_empty(),
        }
    }

    /// So many bytes were read, and `is_drained` says that there are no more.
    pub fn has_read(&mut self, count: usize, is_drained: bool, now: Duration) {
        if is_drained {
            self.drained_at = now;
        }
        if let Some(rate) = self.modifiers.throttle {
            self.reads_at = now + Duration::from_micros(count as u64 * 1_000_000 / rate);
        }
    }

    /// Goes on as far as it can `now`, and appends what it says to `response`, where other words may stand already.
    pub fn advance(&mut self, now: Duration, response: &mut Vec<u8>) -> Advance {
        self.heard.stamp(now);
        // What trickles is first said to the end.
        if self.out.is_empty() {
            self.run(now);
        }
        let messages = self.out.take_messages();
        let most = match self.modifiers.trickle {
            Some(_) if now < self.writes_at => 0,
            Some(bytes) => bytes,
            None => usize::MAX,
        };
        let before = response.len();
        self.out.pour(most, response);
        if response.len() > before {
            self.writes_at = now + TRICKLE_PAUSE;
        }
        let then = self.then(now, !response.is_empty());
        self.wakes_at = match then {
            Then::Wait(until) => until,
            Then::End(Ending::Reset) => {
                let waited = self.resets_at.map_or(ARRIVAL_MAX, |at| (now + ARRIVAL_MAX).saturating_sub(at));
                Some(now + waited.max(ARRIVAL_STEP))
            }
            _ => None,
        };
        Advance { event: self.event.take(), messages, then }
    }

    fn then(&mut self, now: Duration, has_said: bool) -> Then {
        if !self.out.is_empty() {
            return Then::Wait(Some(self.writes_at));
        }
        match self.doing {
            Doing::Over(Ending::Reset) => {
                self.resets_at.get_or_insert(now + ARRIVAL_MAX);
                Then::End(Ending::Reset)
            }
            Doing::Over(Ending::HalfClose) if has_said => Then::GoOn,
            Doing::Over(Ending::HalfClose) => {
                (self.doing, self.decoder) = (Doing::Silent, Decoder::Deaf);
                Then::End(Ending::HalfClose)
            }
            Doing::Over(end) => Then::End(end),
            _ if self.is_hung_up && self.is_through() => Then::End(Ending::Fin),
            _ if has_said && self.has_more(now) => Then::GoOn,
            _ => Then::Wait(self.next(now)),
        }
    }

    /// Whether the run stopped only because enough was said.
    fn has_more(&self, now: Duration) -> bool {
        matches!(self.doing, Doing::Next | Doing::Source { .. } | Doing::After { left: 0 })
            || self.hears_at().is_some_and(|at| at <= now)
    }

    /// When it is to be called again though nothing has happened.
    fn next(&self, now: Duration) -> Option<Duration> {
        let step = match &self.doing {
            Doing::Delay { until } | Doing::CloseLate { until, .. } => Some(*until),
            // Once it is late, a look at what has come, if there is none to be had, decides.
            Doing::Ping { until: Some(until), .. } => {
                let may_look = self.drained_at < *until && self.appetite(now, false) > 0;
                (now < *until || may_look).then_some(*until)
            }
            _ => None,
        };
        let repeats = self.repeats.iter().map(|repeat| repeat.due).filter(|_| self.out.is_between_messages());
        let reads = Some(self.reads_at).filter(|at| self.modifiers.throttle.is_some() && *at > now);
        repeats.chain(step).chain(reads).chain(self.hears_at()).min()
    }

    /// When the next reply is due.
    fn hears_at(&self) -> Option<Duration> {
        match self.doing {
            Doing::Delay { .. } | Doing::CloseLate { .. } | Doing::Silent | Doing::Over(_) => None,
            _ => self.heard.next_at().map(|at| at + self.modifiers.latency),
        }
    }

    /// Says what there is to say, until it has to wait or enough is said.
    fn run(&mut self, now: Duration) {
        while self.out.len() < SAID_MAX && (self.step(now) || self.repeat(now) || self.hear(now)) {}
    }

    /// Goes on with the current step, or begins the next; false where it has to wait.
    fn step(&mut self, now: Duration) -> bool {
        match &mut self.doing {
            Doing::Next if self.out.is_between_messages() => match self.steps.next() {
                Some(step) => self.begin(step, now),
                None => self.doing = Doing::Echo,
            },
            Doing::Delay { until } if now >= *until => self.doing = Doing::Next,
            Doing::After { left: 0 } | Doing::Source { left: 0, .. } => self.doing = Doing::Next,
            Doing::Source { size, left, said } if *said > 0 || self.out.is_between_messages() => {
                let piece = (*size - *said).min(FILL.len() as u64);
                if *said == 0 {
                    let first = 0x80 | if self.heard.is_hixie() { TEXT } else { BINARY };
                    self.out.begin(first, *size);
                }
                self.out.payload(&FILL[..piece as usize]);
                *said += piece;
                if *said == *size {
                    self.out.end(true);
                    (*left, *said) = (*left - 1, 0);
                }
            }
            Doing::Ping { number, last, .. } if *number > *last => self.doing = Doing::Next,
            Doing::Ping { number, until: until @ None, .. } if self.out.is_between_frames() => {
                let payload = number.to_string();
                self.out.raw(&[0x89, payload.len() as u8]);
                self.out.raw(payload.as_bytes());
                *until = Some(now + PONG_TIMEOUT);
            }
            // Not before all was heard that had come by then.
            Doing::Ping { until: Some(until), .. }
                if now >= *until
                    && self.drained_at >= *until
                    && self.heard.next_at().is_none_or(|at| at > self.drained_at) =>
            {
                self.close(Some(close_code::PROTOCOL_ERROR), "no pong");
            }
            Doing::CloseLate { until, answer } if now >= *until => {
                self.out.raw(answer);
                self.doing = Doing::Over(Ending::Fin);
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, step: Step, now: Duration) {
        match step {
            Step::Message(text) => self.out.message(TEXT, text.as_bytes()),
            Step::Headers => {
                if let Some(report) = &self.report {
                    self.out.message(TEXT, report.json().as_bytes());
                }
            }
            Step::Repeat { text, every } => self.repeats.push(Repeat { text, every, due: now + every }),
            Step::Source { size, count } => self.doing = Doing::Source { size, left: count, said: 0 },
            Step::Ping(last) => self.doing = Doing::Ping { number: 1, last, until: None },
            Step::Delay(time) => self.doing = Doing::Delay { until: now + time },
            Step::After(count) => self.doing = Doing::After { left: count },
            Step::Latency(time) => self.modifiers.latency = time,
            Step::Fragment(bytes) => self.out.fragment = Some(bytes),
            Step::Unfinished => self.out.is_unfinished = true,
            Step::Trickle(bytes) => self.modifiers.trickle = Some(bytes),
            Step::Limit(bytes) => self.modifiers.limit = Some(bytes),
            Step::Throttle(rate) => self.modifiers.throttle = Some(rate),
            Step::Mute => self.modifiers.is_mute = true,
            Step::NoClose => self.modifiers.close = CloseReply::Never,
            Step::CloseLate(time) => self.modifiers.close = CloseReply::Late(time),
            Step::Echo => self.doing = Doing::Echo,
            Step::Sink => self.doing = Doing::Sink,
            Step::Size => self.doing = Doing::Size,
            Step::Close { code, reason } => self.close(code, &reason),
            Step::HalfClose => self.end(Ending::HalfClose),
            Step::Reset => self.end(Ending::Reset),
            Step::Fin => self.end(Ending::Fin),
            Step::BadFrame(frame) => {
                self.out.raw_with(|out| frame.write(out));
                self.repeats.clear();
                self.doing = Doing::Sink;
                if frame.is_end() {
                    self.end(Ending::Fin);
                }
            }
        }
    }

    /// Sends what is to be sent again and again, once for all that was missed; and once more to a peer that says no more, where
    /// nothing else is to follow.
    fn repeat(&mut self, now: Duration) -> bool {
        let is_free = self.out.is_between_messages() && !self.is_sending();
        let due = |repeat: &Repeat| is_free && repeat.due <= now;
        let Some(at) = self.repeats.iter().position(due) else { return false };
        let repeat = &mut self.repeats[at];
        self.out.message(TEXT, repeat.text.as_bytes());
        if self.is_hung_up && self.doing.needs_peer() {
            self.repeats.remove(at);
            return true;
        }
        repeat.due += repeat.every;
        if repeat.due <= now {
            repeat.due = now + repeat.every;
        }
        true
    }

    /// Whether a message of our own is half out.
    fn is_sending(&self) -> bool {
        matches!(self.doing, Doing::Source { said: 1.., .. })
    }

    /// Acts on what was heard, as far as it is due.
    fn hear(&mut self, now: Duration) -> bool {
        if self.is_sending() || self.hears_at().is_none_or(|at| at > now) {
            return false;
        }
        let Some(item) = self.heard.next_item() else { return false };
        match item {
            Item::Begin { first, len } => {
                self.check_limit(len);
                if self.echoes() {
                    self.out.begin(first, len);
                }
            }
            Item::Payload(range) => {
                self.size += range.len() as u64;
                // In Hixie no length was announced.
                self.check_limit(0);
                if self.echoes() {
                    self.out.payload(&self.heard.bytes()[range]);
                }
            }
            Item::End { fin } => self.end_frame(fin),
            Item::Pong(range) if !self.modifiers.is_mute => self.out.raw(&self.heard.bytes()[range]),
            Item::Pong(_) => {}
            Item::Answer(range) => {
                if let Doing::Ping { number, until: until @ Some(_), .. } = &mut self.doing
                    && self.heard.bytes()[range] == *number.to_string().as_bytes()
                {
                    (*number, *until) = (*number + 1, None);
                }
            }
            Item::Close(range, cause) => {
                let answer = self.heard.bytes()[range].to_vec();
                self.answer_close(answer, cause, now);
            }
        }
        self.heard.forget();
        true
    }

    fn echoes(&self) -> bool {
        !matches!(self.doing, Doing::Sink | Doing::Size | Doing::Over(_))
    }

    /// Closes, where the message that is being heard goes beyond its limit with `more` bytes.
    fn check_limit(&mut self, more: u64) {
        if self.modifiers.limit.is_none_or(|limit| self.size + more <= limit) {
            return;
        }
        if self.out.is_between_frames() {
            self.close(Some(close_code::TOO_BIG), "");
            self.event = Some(Event::Failed(Violation::TooBig));
        } else {
            // In the middle of an echo of Hixie nothing can be said.
            self.event = Some(Event::TooLong);
            self.end(Ending::Fin);
        }
    }

    fn end_frame(&mut self, fin: bool) {
        if self.echoes() {
            self.out.end(fin);
        }
        if !fin {
            return;
        }
        let size = std::mem::take(&mut self.size);
        match &mut self.doing {
            Doing::Size => self.out.message(TEXT, size.to_string().as_bytes()),
            Doing::After { left } => *left -= 1,
            _ => {}
        }
    }

    /// The peer has closed, or is to be closed for its fault; `answer` says so.
    fn answer_close(&mut self, answer: Vec<u8>, cause: Cause, now: Duration) {
        match (cause, self.modifiers.close) {
            (Cause::Peer, CloseReply::Late(time)) => {
                self.repeats.clear();
                self.doing = Doing::CloseLate { until: now + time, answer };
            }
            (Cause::Peer, CloseReply::Never) => {
                self.repeats.clear();
                self.doing = Doing::Silent;
            }
            _ => {
                self.out.raw(&answer);
                self.end(Ending::Fin);
            }
        }
    }

    /// Closes of our own accord.
    fn close(&mut self, code: Option<u16>, reason: &str) {
        match code {
            _ if self.heard.is_hixie() => self.out.raw(self.closing),
            Some(code) => self.out.raw(&close::frame_with_reason(code, reason)),
            None => self.out.raw(&[0x88, 0]),
        }
        self.event = Some(Event::Closes(code));
        self.end(Ending::Close);
    }

    fn end(&mut self, end: Ending) {
        self.repeats.clear();
        self.doing = Doing::Over(end);
    }

    /// The bytes that end it from outside; `None` in the middle of a frame, where nothing can be said.
    pub fn close_frame(&mut self, code: u16, reason: &str) -> Option<Vec<u8>> {
        let is_done = matches!(self.doing, Doing::Silent | Doing::Over(_));
        if !self.out.is_between_frames() || self.is_sending() || is_done {
            return None;
        }
        let mut bytes = Vec::new();
        self.out.pour(usize::MAX, &mut bytes);
        match self.heard.is_hixie() {
            true => bytes.extend_from_slice(self.closing),
            false => bytes.extend_from_slice(&close::frame_with_reason(code, reason)),
        }
        Some(bytes)
    }

    /// How the peer's Close is found, once ours was sent; `None` where none is awaited.
    pub fn leave(&self) -> Option<Leaving> {
        match &self.decoder {
            Decoder::Hybi(hybi) => Some(hybi.leave()),
            Decoder::Hixie(_) | Decoder::Deaf => None,
        }
    }

    /// Whether a Ping from outside may be sent, and its Pong would be heard.
    pub fn may_be_pinged(&self) -> bool {
        let is_listening = !matches!(self.doing, Doing::Delay { .. } | Doing::Over(_) | Doing::Silent);
        matches!(self.decoder, Decoder::Hybi(_))
            && is_listening
            && !self.is_hung_up
            && self.out.is_empty()
            && self.out.is_between_frames()
    }

    /// Bytes that are allocated for it.
    pub fn kept(&self) -> usize {
        let report = self.report.as_ref().map_or(0, |report| report.json().len());
        size_of::<Program>() + self.heard.kept() + self.out.kept() + report
    }
}
