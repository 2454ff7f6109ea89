//! One connection's protocol, from its first byte to its last.

use super::Version;
use super::framing::frame;
use super::framing::hixie::Hixie;
use super::framing::hybi::Hybi;
use super::framing::member::Member;
use super::handshake::hixie::{self, Numbers};
use super::handshake::{Answer, Head, Opening, Place, Refusal, Site};
use super::policy;
use super::progress::{Event, Progress, Reply};
use super::proxy;
use std::ops::Range;

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
pub enum Stage {
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

    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Policy => Stage::Policy,
            Phase::Greeting(_) | Phase::Challenge(..) | Phase::Stats(_) | Phase::Proxy => Stage::Greeting,
            Phase::Open(_) => Stage::Open,
            Phase::Closing => Stage::Closing,
        }
    }

    /// Takes the bytes `buf[input]` and says what to send.
    ///
    /// The caller leaves [`super::progress::HEADROOM`] bytes before `input` and [`super::progress::TAILROOM`] behind it. A reply that is not an echo is
    /// appended to `response`, which the caller empties; on a board, where the reply is in place, the response is what the other
    /// members are to get.
    pub fn receive(
        &mut self,
        buf: &mut [u8],
        input: Range<usize>,
        response: &mut Vec<u8>,
        site: &Site,
    ) -> Progress {
        let progress = match &mut self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.receive(buf, input, &site.limits),
            Phase::Open(Dialect::Hixie(hixie)) => hixie.receive(buf, input, &site.limits),
            Phase::Greeting(head) => {
                let (progress, next) = greet(head, &buf[input], response, site);
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
            Phase::Open(Dialect::Member(member)) => member.receive(buf, input, response),
            Phase::Proxy => {
                let progress = read_proxy_header(&buf[input]);
                if progress.again {
                    self.phase = Phase::Greeting(Head::default());
                }
                progress
            }
            Phase::Policy => answer_policy(&buf[input], response),
            Phase::Stats(head) => answer_question(head, &buf[input], response),
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
    pub fn needs_processing(&mut self, carried: &[u8], fresh: &[u8]) -> bool {
        match &mut self.phase {
            Phase::Greeting(head) if carried.first() != Some(&b'<') => head.scan(carried.len(), fresh),
            Phase::Stats(head) => head.scan(carried.len(), fresh),
            Phase::Open(Dialect::Hybi(hybi)) => hybi.needs_processing(carried, fresh),
            Phase::Open(Dialect::Member(member)) => member.needs_processing(carried, fresh),
            _ => true,
        }
    }

    /// Ends the conversation from our side; the bytes that say so, with close code `code` (and on a board `reason`) where
    /// there are codes, and `None` where none may be sent.
    pub fn close(&mut self, code: u16, reason: &str) -> Option<Vec<u8>> {
        let farewell = match &self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.close(code).map(Vec::from),
            Phase::Open(Dialect::Hixie(hixie)) => hixie.close().map(Vec::from),
            Phase::Open(Dialect::Member(member)) => Some(member.close_frame(code, reason)),
            _ => None,
        };
        self.phase = Phase::Closing;
        farewell
    }

    /// There is no room on the board: a refusal takes the place of the 101 in `response`.
    pub fn refuse(&mut self, response: &mut Vec<u8>) {
        response.clear();
        Refusal::BoardFull.write(response);
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

/// Answers the first thing a client of the echo port says; how its session goes on, if it opens.
#[inline(never)]
fn greet(head: &mut Head, input: &[u8], response: &mut Vec<u8>, site: &Site) -> (Progress, Option<Phase>) {
    if input.first() == Some(&b'<') {
        return (answer_policy(input, response), None);
    }
    let scanned = head.scanned();
    if !head.scan(scanned, &input[scanned..]) {
        return (Progress::wait(), None);
    }
    let size = head.scanned();
    let (opening, place) = match head.answer(&input[..size], response, site) {
        Answer::Page(page) => return (Progress::last_response(input.len(), Event::Page(page)), None),
        Answer::Stats(question) => {
            return (Progress::last_response(input.len(), Event::Asked(question)), None);
        }
        Answer::Refuse(refusal) => {
            return (Progress::last_response(input.len(), Event::Refused(refusal)), None);
        }
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
    let event = match place {
        Place::Echo => opened.map(Event::Opened),
        Place::Board(name) => Some(Event::Joins { name, opened }),
    };
    (
        Progress { consumed: size, reply: Reply::Buffer, event, ended: false, again: true, messages: 0 },
        Some(next),
    )
}

/// The digest is eight bytes longer than what it answers: it begins in the headroom.
#[inline(never)]
fn answer_challenge(numbers: Numbers, buf: &mut [u8], input: Range<usize>) -> Progress {
    let Some(last) = buf[input.clone()].first_chunk() else { return Progress::wait() };
    let digest = hixie::digest(numbers, last);
    let end = input.start + last.len();
    let reply = end - digest.len()..end;
    buf[reply.clone()].copy_from_slice(&digest);
    let event = Some(Event::Opened(Version::Hixie76));
    Progress {
        consumed: end - input.start,
        reply: Reply::InPlace(reply),
        event,
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
            event: Some(Event::Proxied(header.client)),
            again: true,
            ..Progress::discard(header.size)
        },
        Err(why) => Progress::last_response(input.len(), Event::NotProxied(why)),
    }
}

/// Answers a client that asks for numbers.
#[inline(never)]
fn answer_question(head: &mut Head, input: &[u8], response: &mut Vec<u8>) -> Progress {
    let scanned = head.scanned();
    if !head.scan(scanned, &input[scanned..]) {
        return Progress::wait();
    }
    let event = match head.question(&input[..head.scanned()], response) {
        Ok(question) => Event::Asked(question),
        Err(refusal) => Event::Refused(refusal),
    };
    Progress::last_response(input.len(), event)
}

#[inline(never)]
fn answer_policy(input: &[u8], response: &mut Vec<u8>) -> Progress {
    match policy::parse(input) {
        policy::Request::Partial => Progress::wait(),
        policy::Request::Whole => {
            response.extend_from_slice(policy::POLICY);
            Progress::last_response(input.len(), Event::Policy)
        }
        policy::Request::Other => Progress::last_response(input.len(), Event::NotPolicy),
    }
}
