//! The path of a request, read as a chain of steps.

use super::bad_frame::BadFrame;
use super::bad_handshake::BadHandshake;
use super::late::Delay;
use super::problem::Problem;
use super::steps::{self, When};
use super::text;
use crate::proto::framing::close_code;
use crate::proto::handshake::deflate;
use crate::proto::handshake::request::is_token;
use crate::units;
use std::time::Duration;

/// Where the chains are.
pub const ROOT: &str = "/ws";
/// Most steps of a chain.
pub const STEPS_MAX: usize = 8;
/// Longest target, query and all, in bytes.
pub const TARGET_MAX: usize = 1024;
/// Longest time a step may take.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of payload that the `source` steps of a chain send in all.
pub const SOURCE_MAX: u64 = 1 << 30;
/// Most messages that one step counts or sends.
const COUNT_MAX: u32 = 1_000_000;
/// Most redirects in a row: more than any client follows.
const REDIRECTS_MAX: u32 = 50;
/// Longest reason of a Close frame: what a control frame holds beside the code (RFC 6455 §5.5).
const REASON_MAX: usize = 123;

/// What a path asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chain {
    /// How the request is answered.
    pub opening: HandshakeOptions,
    /// In order; the last one is an end.
    pub steps: Vec<Step>,
}

/// How the request is answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HandshakeOptions {
    /// How long the answer waits.
    pub delay: Option<Delay>,
    /// The `Authorization` that is asked for: its scheme and the rest.
    pub credentials: Option<(Scheme, String)>,
    /// Where the client is sent.
    pub location: Option<String>,
    /// Instead of 101.
    pub status: Option<u16>,
    /// What is said of subprotocols.
    pub subprotocol: Option<Subprotocol>,
    /// More of them.
    pub headers: Vec<(String, String)>,
    /// What is agreed on compression.
    pub deflate: DeflateChoice,
    /// What is wrong with the 101.
    pub fault: Option<BadHandshake>,
}

/// How a client shows who it is (RFC 7617, RFC 6750).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 7617.
    Basic,
    /// RFC 6750.
    Bearer,
}

/// What is said of subprotocols, whatever is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subprotocol {
    /// None is chosen.
    None,
    /// This one is.
    This(String),
}

/// What is agreed on compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeflateChoice {
    /// As on the echo.
    #[default]
    Negotiate,
    /// Nothing.
    Decline,
    /// These parameters, or nothing.
    Only(deflate::Deflate),
}

/// One thing that a program does: [`steps::STEPS`] says what.
#[expect(missing_docs, reason = "the table of steps says what each does")]
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Message(String),
    Repeat {
        text: String,
        every: Duration,
    },
    Source {
        size: u64,
        count: u32,
    },
    Headers,
    Ping(u32),
    Delay(Duration),
    After(u32),

    Latency(Duration),
    Fragment(u64),
    Unfinished,
    Trickle(usize),
    Limit(u64),
    /// Bytes a second.
    Throttle(u64),
    Mute,
    NoClose,
    CloseLate(Duration),

    Echo,
    Sink,
    Size,
    Close {
        code: Option<u16>,
        reason: String,
    },
    HalfClose,
    Reset,
    Fin,
    BadFrame(BadFrame),
}

/// Whether a path is this module's to answer.
pub fn is_chain(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads a request's path, `/ws` and steps, and its query, which begins with a question mark or is empty; `max_message` as
/// in [`Limits`](crate::proto::limits::Limits).
pub fn parse(path: &str, query: &str, max_message: u64) -> Result<Chain, Problem> {
    if path.len() + query.len() > TARGET_MAX {
        return Err(Problem::request(format_args!("a path here has at most {TARGET_MAX} bytes")));
    }
    let mut parser =
        Parser { path, query, max_message, source: 0, counts_down: false, chain: Chain::default() };
    let mut segments = path.split('/').enumerate().skip(2);
    let mut count = 0;
    let mut is_over = false;
    while let Some((at, name)) = segments.next() {
        let name = &*text::decode(name).map_err(|why| Problem::bad(name, why))?;
        let step = steps::named(name).ok_or_else(|| Problem::unknown(name))?;
        if is_over {
            return Err(Problem::bad(name, "nothing can follow the last step of a chain"));
        }
        count += 1;
        if count > STEPS_MAX {
            return Err(Problem::bad(name, format_args!("a chain has at most {STEPS_MAX} steps")));
        }
        let mut call = Call { at, written: name.to_owned(), arguments: Vec::new() };
        for takes in step.takes {
            match segments.next() {
                Some((_, segment)) => call.push(segment)?,
                // The one argument that may be left out.
                None if step.name == "close" => break,
                None => return Err(Problem::bad(name, format_args!("<{takes}> is missing behind it"))),
            }
        }
        match step.when {
            When::Opening => parser.open(step.name, &call)?,
            When::InOrder => parser.in_order(step.name, &call)?,
            When::FromHereOn => parser.lasting(step.name, &call)?,
            When::Last => {
                parser.last(step.name, &call)?;
                is_over = true;
            }
        }
    }
    if !is_over {
        parser.chain.steps.push(Step::Echo);
    }
    parser.check_query()?;
    Ok(parser.chain)
}

/// A step as it was written.
struct Call {
    /// Which segment of the path its name is.
    at: usize,
    /// With the arguments, for whoever wrote it.
    written: String,
    arguments: Vec<String>,
}

impl Call {
    fn push(&mut self, segment: &str) -> Result<(), Problem> {
        self.written = format!("{}/{segment}", self.written);
        let argument = text::decode(segment).map_err(|why| self.bad(why))?;
        self.arguments.push(argument);
        Ok(())
    }

    fn bad(&self, takes: impl std::fmt::Display) -> Problem {
        Problem::bad(&self.written, takes)
    }

    fn text(&self, at: usize) -> &str {
        &self.arguments[at]
    }

    fn time(&self) -> Result<Duration, Problem> {
        units::time(self.text(0)).filter(|time| *time <= TIME_MAX).ok_or_else(|| {
            self.bad(format_args!("takes up to {} seconds, as 1.5 or 250ms", TIME_MAX.as_secs()))
        })
    }

    fn number(&self, at: usize, least: u32, most: u32) -> Result<u32, Problem> {
        let number = text::number(self.text(at)).and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.bad(format_args!("takes a number from {least} to {most}")))
    }

    /// Bytes, as many as a message may have.
    fn bytes(&self, least: u64, max_message: u64) -> Result<u64, Problem> {
        let most = if max_message == 0 { SOURCE_MAX } else { max_message.min(SOURCE_MAX) };
        units::bytes(self.text(0))
            .filter(|bytes| (least..=most).contains(bytes))
            .ok_or_else(|| self.bad(format_args!("takes bytes from {least} to {most}, as 100, 16k or 1m")))
    }
}

struct Parser<'a> {
    path: &'a str,
    query: &'a str,
    max_message: u64,
    /// Bytes that the steps so far send as fast as they are taken.
    source: u64,
    /// A `redirect` has said where the client is sent.
    counts_down: bool,
    chain: Chain,
}

impl Parser<'_> {
    fn open(&mut self, name: &str, call: &Call) -> Result<(), Problem> {
        let opening = &mut self.chain.opening;
        match name {
            "status" => opening.status = Some(call.number(0, 200, 599)? as u16),
            "redirect" => {
                let left = call.number(0, 0, REDIRECTS_MAX)?;
                if left > 0 {
                    let next = one_redirect_fewer(self.path, call.at, left) + self.query;
                    // One after the other, and where to another URL last: what stands behind that would never come.
                    let is_first = !std::mem::replace(&mut self.counts_down, true);
                    opening.location = Some(next).filter(|_| is_first).or(opening.location.take());
                }
            }
            "redirect-to" => {
                let url = self.asked("url").ok_or_else(|| call.bad("takes a URL as ?url="))?;
                let url = url.map_err(|why| call.bad(why))?;
                let is_good = !url.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic());
                let url = Some(url).filter(|_| is_good).ok_or_else(|| call.bad("?url= is not a URL"))?;
                self.chain.opening.location.get_or_insert(url);
            }
            "basic-auth" if call.text(0).contains(':') => {
                return Err(call.bad("a user has no colon (RFC 7617 §2)"));
            }
            "basic-auth" => {
                let pair = format!("{}:{}", call.text(0), call.text(1));
                opening.credentials = Some((Scheme::Basic, text::base64(&pair)));
            }
            "bearer" => {
                let is_good =
                    !call.text(0).is_empty() && call.text(0).bytes().all(|byte| byte.is_ascii_graphic());
                if !is_good {
                    return Err(call.bad("takes a token of printable ASCII"));
                }
                opening.credentials = Some((Scheme::Bearer, call.text(0).to_owned()));
            }
            "handshake-delay" => opening.delay = Some(Delay::For(call.time()?)),
            "handshake-stall" => opening.delay = Some(Delay::Forever),
            "subprotocol" if !is_all_token(call.text(0)) => {
                return Err(call.bad("takes a token (RFC 9110 §5.6.2)"));
            }
            "subprotocol" => opening.subprotocol = Some(Subprotocol::This(call.text(0).to_owned())),
            "no-subprotocol" => opening.subprotocol = Some(Subprotocol::None),
            "header" => opening.headers.push(header(call)?),
            "no-deflate" => opening.deflate = DeflateChoice::Decline,
            "deflate" => {
                let chosen = deflate::chosen(call.text(0)).map_err(|why| call.bad(why))?;
                opening.deflate = DeflateChoice::Only(chosen);
            }
            "bad-handshake" => {
                let fault = BadHandshake::named(call.text(0));
                opening.fault = Some(fault.ok_or_else(|| call.bad(BadHandshake::names()))?);
            }
            _ => unreachable!("not in the table of steps"),
        }
        Ok(())
    }

    fn in_order(&mut self, name: &str, call: &Call) -> Result<(), Problem> {
        let step = match name {
            "message" => Step::Message(call.text(0).to_owned()),
            "repeat" => {
                let every = Duration::from_millis(call.number(1, 1, TIME_MAX.as_millis() as u32)?.into());
                Step::Repeat { text: call.text(0).to_owned(), every }
            }
            "source" => {
                let (size, count) = (call.bytes(0, self.max_message)?, call.number(1, 1, COUNT_MAX)?);
                self.source += size * u64::from(count);
                if self.source > SOURCE_MAX {
                    return Err(call.bad(format_args!("a chain sends at most {SOURCE_MAX} bytes in all")));
                }
                Step::Source { size, count }
            }
            "headers" => Step::Headers,
            "ping" => Step::Ping(call.number(0, 1, COUNT_MAX)?),
            "delay" => Step::Delay(call.time()?),
            "after" => Step::After(call.number(0, 1, COUNT_MAX)?),
            _ => unreachable!("not in the table of steps"),
        };
        self.chain.steps.push(step);
        Ok(())
    }

    fn lasting(&mut self, name: &str, call: &Call) -> Result<(), Problem> {
        let step = match name {
            "latency" => Step::Latency(call.time()?),
            "fragment" => Step::Fragment(call.bytes(1, self.max_message)?),
            "unfinished" => Step::Unfinished,
            "trickle" => Step::Trickle(call.bytes(1, self.max_message)? as usize),
            "limit" => Step::Limit(call.bytes(0, self.max_message)?),
            "throttle" => Step::Throttle(call.bytes(1, self.max_message)?),
            "mute" => Step::Mute,
            "no-close" => Step::NoClose,
            "close-late" => Step::CloseLate(call.time()?),
            _ => unreachable!("not in the table of steps"),
        };
        self.chain.steps.push(step);
        Ok(())
    }

    fn last(&mut self, name: &str, call: &Call) -> Result<(), Problem> {
        let step = match name {
            "echo" => Step::Echo,
            "sink" => Step::Sink,
            "size" => Step::Size,
            "stall" => {
                self.chain.steps.push(Step::Delay(call.time()?));
                Step::Echo
            }
            "close" => self.close(call)?,
            "half-close" => Step::HalfClose,
            "reset" => Step::Reset,
            "fin" => Step::Fin,
            "bad-frame" => {
                let frame = BadFrame::named(call.text(0));
                Step::BadFrame(frame.ok_or_else(|| call.bad(BadFrame::names()))?)
            }
            _ => unreachable!("not in the table of steps"),
        };
        self.chain.steps.push(step);
        Ok(())
    }

    fn close(&self, call: &Call) -> Result<Step, Problem> {
        let reason = self.asked("reason").transpose().map_err(|why| call.bad(why))?.unwrap_or_default();
        if reason.len() > REASON_MAX {
            return Err(call.bad(format_args!("a reason has at most {REASON_MAX} bytes (RFC 6455 §5.5)")));
        }
        if call.arguments.is_empty() {
            if !reason.is_empty() {
                return Err(call.bad("a reason needs a code in front of it (RFC 6455 §5.5.1)"));
            }
            return Ok(Step::Close { code: None, reason });
        }
        let code = text::number(call.text(0)).and_then(|code| u16::try_from(code).ok());
        let Some(code) = code.filter(|code| close_code::may_be_sent(*code)) else {
            return Err(
                call.bad("takes a code that may be sent (RFC 6455 §7.4); others are bad-frame/close-<code>")
            );
        };
        Ok(Step::Close { code: Some(code), reason })
    }

    /// A query that says something to a step which is not there is a mistake of whoever wrote it.
    fn check_query(&self) -> Result<(), Problem> {
        let takes_reason = matches!(self.chain.steps.last(), Some(Step::Close { .. }));
        if self.asked("reason").is_some() && !takes_reason {
            return Err(Problem::request("?reason= is for a chain that ends in close/<code>"));
        }
        Ok(())
    }

    /// The decoded value of that name in the query.
    fn asked(&self, name: &str) -> Option<Result<String, &'static str>> {
        let mut pairs = self
            .query
            .trim_start_matches('?')
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(each, _)| *each == name).map(|(_, value)| text::decode(&value.replace('+', " ")))
    }
}

fn is_all_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// A header that a chain may put into an answer: not one that would make it another answer.
fn header(call: &Call) -> Result<(String, String), Problem> {
    const OURS: [&str; 5] = ["Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Content-Type"];
    let (name, value) = (call.text(0), call.text(1));
    if !is_all_token(name) {
        return Err(call.bad("takes the name of a header (RFC 9110 §5.1)"));
    }
    let is_ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
        || name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"));
    if is_ours {
        return Err(call.bad("this header is part of the handshake, which bad-handshake can break"));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) || value.trim() != value {
        return Err(call.bad("takes a value of printable ASCII"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The path with the `redirect/<left>` that is its segment `at` counted down, or left out where it is done.
fn one_redirect_fewer(path: &str, at: usize, left: u32) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    let fewer = (left - 1).to_string();
    if left > 1 {
        segments[at + 1] = &fewer;
    } else {
        segments.drain(at..at + 2);
    }
    segments.join("/")
}

#[cfg(test)]
mod tests;
