//! One connection's protocol, from its first byte to its last.

use super::Version;
use super::fail::Fail;
use super::frame;
use super::handshake::hixie::{self as hixie_handshake, Numbers};
use super::handshake::{Answer, Endpoint, Head, Opening, Page, Place, Refusal, Site};
use super::hixie::Hixie;
use super::hybi::{Hybi, WHOLE_MAX};
use super::member::Member;
use super::policy;
use super::proxy::{self, NotProxy};
use core::net::SocketAddr;
use std::ops::Range;

/// Spare bytes a caller leaves in front of what it read, so that a reply header fits there.
pub const HEADROOM: usize = 16;
/// Spare bytes a caller leaves behind what it read, so that a Close frame fits there.
pub const TAILROOM: usize = 16;

/// Most bytes that [`Session::receive`] leaves unconsumed: a frame one byte short, or a head.
pub const CARRY_MAX: usize = WHOLE_MAX + super::frame::HEADER_MAX;

/// Bounds that the echo respects.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Payload bytes a message may have over all its fragments; 0 for no limit.
    pub max_message: u64,
}

/// What became of the bytes that were handed in.
#[derive(Debug)]
pub struct Progress {
    /// Bytes at the front of the input that are done with; the rest is to be handed in again with more behind it.
    pub consumed: usize,
    /// What to send.
    pub reply: Reply,
    /// Something worth counting or logging; `None` for an ordinary echo.
    pub news: Option<News>,
    /// Nothing but the reply will ever be sent: shut the write side behind it, and read until the peer is gone.
    pub ended: bool,
    /// An age has begun: hand in at once what is left over.
    pub again: bool,
    /// Messages that have come whole.
    pub messages: u32,
}

/// Where the bytes to send are.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// In the buffer that was handed in; often empty.
    InPlace(Range<usize>),
    /// In the letter that was handed in.
    Letter,
}

/// What happened, where it is not an echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A proxy said who the client is, if it knows.
    Proxied(Option<SocketAddr>),
    /// A proxy was to say who the client is, and something else came.
    NotProxied,
    /// The handshake succeeded.
    Opened(Version),
    /// A client is to be a member of the board of this name: seat it before the reply is sent, or
    /// [`Session::turn_away`]. It has opened with this version, or, with none yet, will in Hixie-76.
    Joins { name: String, opened: Option<Version> },
    /// An HTTP request was answered with something else than 101.
    Refused(Refusal),
    /// A page was sent.
    Page(Page),
    /// The numbers were asked for: append the answer to the letter before it is sent.
    Asked(Endpoint),
    /// The Flash policy was sent.
    Policy,
    /// Something that is not a policy request came where only those are answered.
    NotPolicy,
    /// The peer closed, with this code.
    Closed(Option<u16>),
    /// The peer asked to be closed by sending `quit`.
    Quit,
    /// The peer broke the protocol.
    Failed(Fail),
    /// A frame of a dialect without close codes was too long.
    TooLong,
}

/// The state of one connection's protocol.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Waiting for a policy request, and nothing else.
    Policy,
    /// Waiting for the header that a proxy puts in front.
    Proxy,
    /// Waiting for the end of an HTTP head that asks for numbers.
    Stats(Head),
    /// Waiting for the end of an HTTP head, or of a policy request.
    Greeting(Head),
    /// Hixie-76: the answer's head is out, the last eight bytes of the challenge are to come.
    Challenge(Numbers, Dialect),
    Open(Dialect),
    /// The last byte has been said; input is discarded.
    Closing,
}

/// How an open connection frames its messages.
#[derive(Debug, Clone)]
enum Dialect {
    Hixie(Hixie),
    Hybi(Hybi),
    /// On a board, in either framing.
    Member(Member),
}

/// Which of a connection's ages it is in; decides what a passed deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Policy,
    Greeting,
    Open,
    Closing,
}

impl Session {
    /// A client of the echo port.
    pub fn greeting() -> Session {
        Session { phase: Phase::Greeting(Head::default()) }
    }

    /// A client of the echo port, behind a proxy that says who it is.
    pub fn behind_proxy() -> Session {
        Session { phase: Phase::Proxy }
    }

    /// A client of the policy port.
    pub fn policy() -> Session {
        Session { phase: Phase::Policy }
    }

    /// A client of the port that serves numbers.
    pub fn stats() -> Session {
        Session { phase: Phase::Stats(Head::default()) }
    }

    pub fn age(&self) -> Age {
        match &self.phase {
            Phase::Policy => Age::Policy,
            Phase::Greeting(_) | Phase::Challenge(..) | Phase::Stats(_) | Phase::Proxy => Age::Greeting,
            Phase::Open(_) => Age::Open,
            Phase::Closing => Age::Closing,
        }
    }

    /// Takes the bytes `buf[input]` and says what to send.
    ///
    /// The caller leaves [`HEADROOM`] bytes before `input` and [`TAILROOM`] behind it. A reply that is not an echo is
    /// appended to `letter`, which the caller empties; on a board, where the reply is in place, the letter is what the other
    /// members are to get.
    pub fn receive(
        &mut self,
        buf: &mut [u8],
        input: Range<usize>,
        letter: &mut Vec<u8>,
        site: &Site,
    ) -> Progress {
        let progress = match &mut self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.receive(buf, input, &site.limits),
            Phase::Open(Dialect::Hixie(hixie)) => hixie.receive(buf, input, &site.limits),
            Phase::Greeting(head) => {
                let (progress, next) = greet(head, &buf[input], letter, site);
                if let Some(next) = next {
                    self.phase = next;
                }
                progress
            }
            Phase::Challenge(numbers, dialect) => {
                let progress = answer_challenge(*numbers, buf, input);
                if progress.again {
                    self.phase = Phase::Open(dialect.clone());
                }
                progress
            }
            Phase::Open(Dialect::Member(member)) => member.receive(buf, input, letter),
            Phase::Proxy => {
                let progress = read_proxy_header(&buf[input]);
                if progress.again {
                    self.phase = Phase::Greeting(Head::default());
                }
                progress
            }
            Phase::Policy => answer_policy(&buf[input], letter),
            Phase::Stats(head) => answer_question(head, &buf[input], letter),
            Phase::Closing => Progress::discard(input.len()),
        };
        if progress.ended {
            self.phase = Phase::Closing;
        }
        progress
    }

    /// Whether `fresh` bytes behind the `carried` ones make something to act on; if not they are only to be kept.
    ///
    /// Looks at each fresh byte once, however slowly they drip.
    pub fn wants(&mut self, carried: &[u8], fresh: &[u8]) -> bool {
        match &mut self.phase {
            Phase::Greeting(head) if carried.first() != Some(&b'<') => head.scan(carried.len(), fresh),
            Phase::Stats(head) => head.scan(carried.len(), fresh),
            Phase::Open(Dialect::Hybi(hybi)) => hybi.wants(carried, fresh),
            Phase::Open(Dialect::Member(member)) => member.wants(carried, fresh),
            _ => true,
        }
    }

    /// Ends the conversation from our side; the bytes that say so, with close code `code` (and on a board `reason`) where
    /// there are codes, and `None` where none may be sent.
    pub fn close(&mut self, code: u16, reason: &str) -> Option<Vec<u8>> {
        let farewell = match &self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.close(code).map(Vec::from),
            Phase::Open(Dialect::Hixie(hixie)) => hixie.close().map(Vec::from),
            Phase::Open(Dialect::Member(member)) => Some(member.farewell(code, reason)),
            _ => None,
        };
        self.phase = Phase::Closing;
        farewell
    }

    /// There is no room on the board: a refusal takes the place of the 101 in `letter`.
    pub fn turn_away(&mut self, letter: &mut Vec<u8>) {
        letter.clear();
        Refusal::BoardFull.write(letter);
        self.phase = Phase::Closing;
    }

    /// Whether this peer can be pinged at all.
    pub fn knows_ping(&self) -> bool {
        matches!(self.phase, Phase::Open(Dialect::Hybi(_) | Dialect::Member(Member::Hybi(_))))
    }

    /// The bytes of a Ping, where one may be sent.
    pub fn ping(&self) -> Option<[u8; 2]> {
        match &self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.ping(),
            Phase::Open(Dialect::Member(Member::Hybi(_))) => Some(frame::PING),
            _ => None,
        }
    }
}

impl Progress {
    fn wait() -> Progress {
        Progress::discard(0)
    }

    fn discard(consumed: usize) -> Progress {
        Progress {
            consumed,
            reply: Reply::InPlace(0..0),
            news: None,
            ended: false,
            again: false,
            messages: 0,
        }
    }

    fn last_letter(consumed: usize, news: News) -> Progress {
        Progress { consumed, reply: Reply::Letter, news: Some(news), ended: true, again: false, messages: 0 }
    }
}

/// Answers the first thing a client of the echo port says; how its session goes on, if it opens.
#[inline(never)]
fn greet(head: &mut Head, input: &[u8], letter: &mut Vec<u8>, site: &Site) -> (Progress, Option<Phase>) {
    if input.first() == Some(&b'<') {
        return (answer_policy(input, letter), None);
    }
    let scanned = head.scanned();
    if !head.scan(scanned, &input[scanned..]) {
        return (Progress::wait(), None);
    }
    let size = head.scanned();
    let (opening, place) = match head.answer(&input[..size], letter, site) {
        Answer::Page(page) => return (Progress::last_letter(input.len(), News::Page(page)), None),
        Answer::Stats(endpoint) => return (Progress::last_letter(input.len(), News::Asked(endpoint)), None),
        Answer::Refuse(refusal) => return (Progress::last_letter(input.len(), News::Refused(refusal)), None),
        Answer::Open(opening, place) => (opening, place),
    };
    let dialect = match (&place, opening) {
        (Place::Echo, Opening::Hybi { deflate, .. }) => Dialect::Hybi(Hybi::new(deflate)),
        (Place::Echo, _) => Dialect::Hixie(Hixie::default()),
        (Place::Board(_), Opening::Hybi { .. }) => Dialect::Member(Member::hybi()),
        (Place::Board(_), _) => Dialect::Member(Member::Hixie),
    };
    let (opened, next) = match opening {
        Opening::Hixie76(numbers) => (None, Phase::Challenge(numbers, dialect)),
        Opening::Hixie75 => (Some(Version::Hixie75), Phase::Open(dialect)),
        Opening::Hybi { version, .. } => (Some(version), Phase::Open(dialect)),
    };
    let news = match place {
        Place::Echo => opened.map(News::Opened),
        Place::Board(name) => Some(News::Joins { name, opened }),
    };
    (
        Progress { consumed: size, reply: Reply::Letter, news, ended: false, again: true, messages: 0 },
        Some(next),
    )
}

/// The digest is eight bytes longer than what it answers: it begins in the headroom.
#[inline(never)]
fn answer_challenge(numbers: Numbers, buf: &mut [u8], input: Range<usize>) -> Progress {
    let Some(last) = buf[input.clone()].first_chunk() else { return Progress::wait() };
    let digest = hixie_handshake::digest(numbers, last);
    let end = input.start + last.len();
    let reply = end - digest.len()..end;
    buf[reply.clone()].copy_from_slice(&digest);
    let news = Some(News::Opened(Version::Hixie76));
    Progress {
        consumed: end - input.start,
        reply: Reply::InPlace(reply),
        news,
        ended: false,
        again: true,
        messages: 0,
    }
}

#[inline(never)]
fn read_proxy_header(input: &[u8]) -> Progress {
    match proxy::parse(input) {
        Ok(None) => Progress::wait(),
        Ok(Some(header)) => Progress {
            news: Some(News::Proxied(header.client)),
            again: true,
            ..Progress::discard(header.size)
        },
        Err(NotProxy) => Progress::last_letter(input.len(), News::NotProxied),
    }
}

/// Answers a client that asks for numbers.
#[inline(never)]
fn answer_question(head: &mut Head, input: &[u8], letter: &mut Vec<u8>) -> Progress {
    let scanned = head.scanned();
    if !head.scan(scanned, &input[scanned..]) {
        return Progress::wait();
    }
    match head.question(&input[..head.scanned()]) {
        Ok(endpoint) => Progress::last_letter(input.len(), News::Asked(endpoint)),
        Err(refusal) => {
            refusal.write(letter);
            Progress::last_letter(input.len(), News::Refused(refusal))
        }
    }
}

#[inline(never)]
fn answer_policy(input: &[u8], letter: &mut Vec<u8>) -> Progress {
    match policy::parse(input) {
        policy::Request::Partial => Progress::wait(),
        policy::Request::Whole => {
            letter.extend_from_slice(policy::POLICY);
            Progress::last_letter(input.len(), News::Policy)
        }
        policy::Request::Other => Progress::last_letter(input.len(), News::NotPolicy),
    }
}
