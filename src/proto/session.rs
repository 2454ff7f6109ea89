//! One connection's protocol, from its first byte to its last.

use super::Version;
use super::framing::frame::{self, Header};
use super::framing::hixie::{Draft, Hixie};
use super::framing::hybi::Hybi;
use super::framing::leaving::Leaving;
use super::framing::member::Member;
use super::handshake::hixie::{self, Numbers};
use super::handshake::{Answer, Head, Opening, Place, Refusal, Routes};
use super::limits::WHOLE_MAX;
use super::paths::chain::Step;
use super::paths::late::{Delay, Late};
use super::paths::program::{Advance, Ending, Program, READ_MAX, Then};
use super::paths::report::Caller;
use super::policy;
use super::progress::{Event, Progress, Reply};
use super::proxy;
use core::time::Duration;
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
    Challenge(Box<Challenge>),
    /// The answer to the handshake comes later: what is to be told then, and how it goes on.
    Late(Box<Late<(Option<Event>, Phase)>>),
    Open(Dialect),
    /// Our Close is the last that was said; the peer's is to come.
    Leaving(Leaving),
    /// The last byte has been said; input is discarded.
    Closing,
}

/// A handshake of Hixie-76 that wants its last eight bytes.
#[derive(Debug)]
struct Challenge {
    numbers: Numbers,
    /// How the connection goes on.
    dialect: Dialect,
    /// The board that it is to join: a seat is for who has answered.
    board: Option<String>,
}

/// How an open connection frames its messages.
#[derive(Debug)]
enum Dialect {
    Hixie(Hixie),
    Hybi(Hybi),
    /// On a board, in either framing.
    Member(Member),
    /// As a path under `/ws` has it.
    Program(Box<Program>),
}

/// How far a connection has come; decides what a passed deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It may be Flash, asking for its policy.
    Policy,
    /// The request is not there yet.
    Greeting,
    /// Messages go to and fro.
    Open,
    /// We have said Close, and the peer has its time to do so; then comes the FIN.
    Leaving,
    /// Nothing is left to say: a FIN may follow.
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

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Policy => Stage::Policy,
            Phase::Greeting(_) | Phase::Challenge(..) | Phase::Late(_) | Phase::Stats(_) | Phase::Proxy => {
                Stage::Greeting
            }
            Phase::Open(_) => Stage::Open,
            Phase::Leaving(_) => Stage::Leaving,
            Phase::Closing => Stage::Closing,
        }
    }

    /// Takes the bytes `buf[input]` and says what to send.
    ///
    /// [`super::progress`] says what the caller leaves around `input`, and does afterwards. A reply that is not an echo is appended to `response`, which the caller empties; on a board, where the reply is in place, the response is what the other
    /// members are to get.
    pub fn receive(
        &mut self,
        buf: &mut [u8],
        input: Range<usize>,
        response: &mut Vec<u8>,
        routes: &Routes,
    ) -> Progress {
        // In one place for both, or it would not be inlined.
        let hybi = match &mut self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => Some(hybi),
            Phase::Open(Dialect::Program(program)) => program.hybi(),
            _ => None,
        };
        if let Some(hybi) = hybi {
            let progress = hybi.receive(buf, input, &routes.limits);
            if let Phase::Open(Dialect::Program(program)) = &mut self.phase {
                return program.take_in(buf, progress);
            }
            if progress.ended {
                self.finish(&progress);
            }
            return progress;
        }
        let progress = match &mut self.phase {
            Phase::Open(Dialect::Hixie(hixie)) => hixie.receive(buf, input, &routes.limits),
            Phase::Greeting(head) => {
                let (progress, next) = greet(head, &buf[input], response, routes);
                if let Some(next) = next {
                    self.phase = next;
                }
                progress
            }
            Phase::Challenge(challenge) => {
                let progress = answer_challenge(challenge, &buf[input], response);
                if progress.again
                    && let Phase::Challenge(challenge) = std::mem::replace(&mut self.phase, Phase::Closing)
                {
                    self.phase = Phase::Open(challenge.dialect);
                }
                progress
            }
            Phase::Open(Dialect::Program(program)) => program.receive(buf, input, &routes.limits),
            // Received above.
            Phase::Open(Dialect::Hybi(_)) => Progress::wait(),
            // Nothing is read before the answer, or there is none.
            Phase::Late(late) => Progress::discard(if late.is_stalled() { input.len() } else { 0 }),
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
            Phase::Leaving(leaving) => leaving.receive(buf, input),
            Phase::Closing => Progress::discard(input.len()),
        };
        if progress.ended {
            self.finish(&progress);
        }
        progress
    }

    /// The last was said; behind a Close of our own the peer's is to come.
    #[cold]
    fn finish(&mut self, progress: &Progress) {
        self.phase = if progress.again { Phase::Leaving(Leaving::behind(0)) } else { Phase::Closing };
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
            Phase::Open(Dialect::Program(program)) => program.needs_processing(carried, fresh),
            _ => true,
        }
    }

    /// What comes from now on comes through TLS.
    #[cfg(feature = "tls")]
    pub fn secure(&mut self) {
        if let Phase::Greeting(head) = &mut self.phase {
            head.is_secure = true;
        }
    }

    /// Ends the conversation from our side; the bytes that say so, with close code `code` and `reason` where there are
    /// codes. `None`, and nothing has changed, where none may be sent: in the middle of a frame that is echoed.
    pub fn close(&mut self, code: u16, reason: &str) -> Option<Vec<u8>> {
        let (bytes, next) = match &mut self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => (hybi.close(code, reason)?, Phase::Leaving(hybi.leave())),
            // Clients of these drafts take a FIN right behind it for what it is.
            Phase::Open(Dialect::Hixie(hixie)) => (hixie.close()?.to_vec(), Phase::Closing),
            Phase::Open(Dialect::Member(member)) => {
                let is_hybi = matches!(member, Member::Hybi(_));
                let next = if is_hybi { Phase::Leaving(Leaving::behind(0)) } else { Phase::Closing };
                (member.close_frame(code, reason), next)
            }
            Phase::Open(Dialect::Program(program)) => {
                let next = program.leave().map_or(Phase::Closing, Phase::Leaving);
                (program.close_frame(code, reason)?, next)
            }
            _ => return None,
        };
        self.phase = next;
        Some(bytes)
    }

    /// Passes over the `carried` beginning of a frame, once our Close was sent; how much of it need not be kept.
    pub fn skip(&mut self, carried: &[u8]) -> usize {
        let Phase::Leaving(leaving) = &mut self.phase else { return carried.len() };
        let progress = leaving.receive(carried, 0..carried.len());
        if progress.ended {
            self.phase = Phase::Closing;
        }
        progress.consumed
    }

    /// Waits no longer for the peer's Close.
    pub fn end(&mut self) {
        self.phase = Phase::Closing;
    }

    /// Has the text that was gathered sent as a fragment, behind this header, ahead of its time; `None` where that would be
    /// too small a fragment.
    pub fn give_out(&mut self) -> Option<Header> {
        match &mut self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.give_out(),
            _ => None,
        }
    }

    /// Bytes that the message in whose middle the peer is surely still takes, given what is `carried`; 0 between messages,
    /// and where messages are so short that nobody has to read to get one out.
    pub fn missing(&self, carried: &[u8]) -> u64 {
        match &self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.missing(carried),
            Phase::Open(Dialect::Hixie(hixie)) => hixie.missing(),
            _ => 0,
        }
    }

    /// There is no room on the board: a refusal takes the place of the 101 in `response`; in Hixie-76 nothing takes the
    /// place of the answer to the challenge, whose 101 is out already.
    pub fn refuse(&mut self, response: &mut Vec<u8>) {
        response.clear();
        if !matches!(self.phase, Phase::Open(Dialect::Member(Member::Hixie(Draft::Hixie76)))) {
            Refusal::BoardFull.write(response);
        }
        self.phase = Phase::Closing;
    }

    /// Whether this peer can be pinged at all.
    pub fn knows_ping(&self) -> bool {
        match &self.phase {
            Phase::Open(Dialect::Hybi(_) | Dialect::Member(Member::Hybi(_))) => true,
            Phase::Open(Dialect::Program(program)) => program.may_be_pinged(),
            _ => false,
        }
    }

    /// The bytes of a Ping, where one may be sent.
    pub fn ping(&self) -> Option<[u8; 2]> {
        match &self.phase {
            Phase::Open(Dialect::Hybi(hybi)) => hybi.ping(),
            Phase::Open(Dialect::Member(Member::Hybi(_))) => Some(frame::PING),
            Phase::Open(Dialect::Program(program)) => program.may_be_pinged().then_some(frame::PING),
            _ => None,
        }
    }
}

/// What a path under `/ws` asks of time.
impl Session {
    /// Whether it has something to say without being spoken to: [`Self::advance`] is to be called.
    pub fn is_timed(&self) -> bool {
        matches!(self.phase, Phase::Late(_) | Phase::Open(Dialect::Program(_)))
    }

    /// Tells a program that has just opened who is at the other end.
    pub fn meet(&mut self, caller: &Caller) {
        if let Phase::Open(Dialect::Program(program)) = &mut self.phase {
            program.meet(caller);
        }
    }

    /// Says what there is to say `now`, by any clock that does not go back, and appends it to `response`.
    ///
    /// It is not called while anything that was said is still to be taken by the peer.
    pub fn advance(&mut self, now: Duration, response: &mut Vec<u8>) -> Advance {
        let advance = match &mut self.phase {
            Phase::Open(Dialect::Program(program)) => program.advance(now, response),
            Phase::Late(late) => match late.answer(now, response) {
                None => Advance { event: None, messages: 0, then: Then::Wait(late.until()) },
                Some((event, next)) => {
                    self.phase = next;
                    let then = match self.phase {
                        Phase::Closing => Then::End(Ending::Fin),
                        _ => Then::GoOn,
                    };
                    Advance { event, messages: 0, then }
                }
            },
            _ => Advance { event: None, messages: 0, then: Then::Wait(None) },
        };
        match (&self.phase, advance.then) {
            (Phase::Open(Dialect::Program(program)), Then::End(Ending::Close)) => {
                self.phase = program.leave().map_or(Phase::Closing, Phase::Leaving);
            }
            (_, Then::End(Ending::Close | Ending::Fin)) => self.phase = Phase::Closing,
            _ => {}
        }
        advance
    }

    /// How many bytes may be read `now`; see [`Program::appetite`].
    pub fn appetite(&self, now: Duration, is_last: bool) -> usize {
        match &self.phase {
            Phase::Open(Dialect::Program(program)) => program.appetite(now, is_last),
            Phase::Late(late) if late.is_stalled() => READ_MAX,
            Phase::Late(_) => 0,
            _ => usize::MAX,
        }
    }

    /// When [`Self::advance`] is to be called though nothing has happened.
    pub fn wakes_at(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Open(Dialect::Program(program)) => program.wakes_at(),
            Phase::Late(late) => late.until(),
            _ => None,
        }
    }

    /// The peer sends no more. Whether there is something left that is to be said before the connection ends.
    pub fn hang_up(&mut self) -> bool {
        match &mut self.phase {
            Phase::Open(Dialect::Program(program)) => program.hang_up(),
            _ => false,
        }
    }

    /// When the connection is to be reset, whether or not what was said has arrived; see [`Program::resets_at`].
    pub fn resets_at(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Open(Dialect::Program(program)) => program.resets_at(),
            _ => None,
        }
    }

    /// Whether it means to read what comes.
    pub fn listens(&self) -> bool {
        match &self.phase {
            Phase::Open(Dialect::Program(program)) => program.listens(),
            _ => true,
        }
    }

    /// So many bytes were read, and `is_drained` says that there are no more.
    pub fn has_read(&mut self, count: usize, is_drained: bool, now: Duration) {
        if let Phase::Open(Dialect::Program(program)) = &mut self.phase {
            program.has_read(count, is_drained, now);
        }
    }

    /// Bytes that are allocated for it.
    #[inline]
    pub fn kept(&self) -> usize {
        match &self.phase {
            Phase::Open(dialect) => dialect.kept(),
            Phase::Challenge(challenge) => size_of::<Challenge>() + challenge.dialect.kept(),
            Phase::Late(late) => late.kept(),
            _ => 0,
        }
    }
}

impl Dialect {
    #[inline]
    fn kept(&self) -> usize {
        match self {
            Dialect::Hybi(_) | Dialect::Hixie(_) => 0,
            Dialect::Member(member) => member.kept(),
            Dialect::Program(program) => program.kept(),
        }
    }
}

/// Answers the first thing a client of the echo port says; how its session goes on, if it opens.
#[inline(never)]
fn greet(
    head: &mut Head,
    input: &[u8],
    response: &mut Vec<u8>,
    routes: &Routes,
) -> (Progress, Option<Phase>) {
    if input.first() == Some(&b'<') {
        return (answer_policy(input, response), None);
    }
    let scanned = head.scanned();
    if !head.scan(scanned, &input[scanned..]) {
        return (Progress::wait(), None);
    }
    let size = head.scanned();
    let (opening, place) = match head.answer(&input[..size], response, routes) {
        Answer::Page(page) => return (Progress::last_response(input.len(), Event::Page(page)), None),
        Answer::Stats(question) => {
            return (Progress::last_response(input.len(), Event::Asked(question)), None);
        }
        Answer::Refuse(refusal) => {
            let delay = refusal.delay();
            let progress = Progress::last_response(input.len(), Event::Refused(refusal));
            return match delay {
                None => (progress, None),
                Some(delay) => hold(delay, progress, Phase::Closing, response),
            };
        }
        Answer::Open(opening, place) => (opening, place),
    };
    let delay = place.chain().and_then(|chain| chain.opening.delay);
    if delay.is_some() && input.len() - size > WHOLE_MAX {
        response.clear();
        let refusal = Refusal::Bad("more was sent than is kept until the answer (RFC 6455 \u{a7}4.1)");
        refusal.write(response);
        return (Progress::last_response(input.len(), Event::Refused(refusal)), None);
    }
    let (event, next) = open(opening, place);
    let ended = matches!(next, Phase::Closing);
    // Whatever stands behind the request of such a one is of no matter.
    let size = if ended { input.len() } else { size };
    let progress =
        Progress { consumed: size, reply: Reply::Buffer, event, ended, again: !ended, messages: 0 };
    match delay {
        None => (progress, Some(next)),
        Some(delay) => hold(delay, progress, next, response),
    }
}

/// How a connection goes on that is answered with 101, and what is to be told of it.
fn open(opening: Opening, place: Place) -> (Option<Event>, Phase) {
    let opened = match opening {
        Opening::Hixie76(_) => None,
        Opening::Hixie75 => Some(Version::Hixie75),
        Opening::Hybi { version, .. } => Some(version),
    };
    let deflate = matches!(opening, Opening::Hybi { deflate: true, .. });
    let mut event = opened.map(Event::Opened);
    let mut board = None;
    let is_hybi = matches!(opening, Opening::Hybi { .. });
    let draft = if opening == Opening::Hixie75 { Draft::Hixie75 } else { Draft::Hixie76 };
    let dialect = match place {
        Place::Program(plan) if plan.chain.opening.fault.is_some_and(|fault| fault.is_end()) => {
            return (None, Phase::Closing);
        }
        Place::Program(plan) if plan.chain.steps != [Step::Echo] => {
            let version = opened.unwrap_or(Version::Hixie76);
            Dialect::Program(Box::new(Program::new(plan.chain.steps, version, deflate, plan.report)))
        }
        Place::Echo | Place::Program(_) if is_hybi => Dialect::Hybi(Hybi::new(deflate)),
        Place::Echo | Place::Program(_) => Dialect::Hixie(Hixie::new(draft)),
        Place::Board(name) => {
            event = Some(match opened {
                Some(version) => Event::Joins { name, version },
                None => {
                    board = Some(name.clone());
                    Event::Knocks(name)
                }
            });
            Dialect::Member(if is_hybi { Member::hybi() } else { Member::Hixie(draft) })
        }
    };
    match opening {
        Opening::Hixie76(numbers) => {
            (event, Phase::Challenge(Box::new(Challenge { numbers, dialect, board })))
        }
        Opening::Hixie75 | Opening::Hybi { .. } => (event, Phase::Open(dialect)),
    }
}

/// Puts off an answer, with all that it brings with it.
fn hold(delay: Delay, progress: Progress, next: Phase, response: &mut Vec<u8>) -> (Progress, Option<Phase>) {
    let late = Late::new(delay, std::mem::take(response), (progress.event, next));
    let progress = Progress { reply: Reply::Buffer, ..Progress::discard(progress.consumed) };
    (progress, Some(Phase::Late(Box::new(late))))
}

/// The digest is eight bytes longer than what it answers, so it cannot stand in its place.
#[inline(never)]
fn answer_challenge(challenge: &mut Challenge, input: &[u8], response: &mut Vec<u8>) -> Progress {
    let Some(last) = input.first_chunk() else { return Progress::wait() };
    let version = Version::Hixie76;
    response.extend_from_slice(&hixie::digest(challenge.numbers, last));
    Progress {
        consumed: last.len(),
        reply: Reply::Buffer,
        event: Some(match challenge.board.take() {
            Some(name) => Event::Joins { name, version },
            None => Event::Opened(version),
        }),
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
        policy::PolicyRequest::Partial => Progress::wait(),
        policy::PolicyRequest::Whole => {
            response.extend_from_slice(policy::POLICY);
            Progress::last_response(input.len(), Event::Policy)
        }
        policy::PolicyRequest::Other => Progress::last_response(input.len(), Event::NotPolicy),
    }
}
