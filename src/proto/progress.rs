//! The contract of the protocol core: what its caller hands over, and what it gets back.
//!
//! For each connection, in this order:
//!
//! 1. [`Session::receive`](super::session::Session::receive) takes the bytes that were read, with what an earlier call left
//!    unconsumed in front, [`HEADROOM`] spare bytes before and [`TAILROOM`] behind. It never asks for more memory and never looks
//!    at a byte twice for its own sake.
//! 2. The caller acts on [`Progress::event`] first (it may change the response), then sends [`Progress::reply`], whole and before
//!    anything else it has to say.
//! 3. Consumed bytes are done with. The rest it keeps, and hands in again in front of the next ones; not before
//!    [`Session::needs_processing`](super::session::Session::needs_processing) says that these make something to act on.
//! 4. If [`Progress::again`] is set, a stage has begun, and what is left goes back in at once.
//! 5. If [`Progress::ended`] is set, the reply is the last thing to be said, and whatever was gathered is forgotten.
//!    [`Session::stage`](super::session::Session::stage) tells whether the peer's Close is awaited, or a FIN may follow at once.
//!
//! Between two such rounds the caller may end the conversation ([`Session::close`](super::session::Session::close)), send a
//! [`Session::ping`](super::session::Session::ping), or send what was gathered ahead of its time
//! ([`Session::give_out`](super::session::Session::give_out)), where the protocol has room for it. Progress is never an error: a
//! peer's fault is an event with an answer, and the caller has nothing to decide.

use super::Version;
use super::framing::frame::Header;
use super::framing::violation::Violation;
use super::handshake::{Page, Question, Refusal};
use super::proxy::NotProxy;
use core::net::SocketAddr;
use std::ops::Range;

/// Spare bytes a caller leaves in front of what it read, so that a reply header fits there.
pub const HEADROOM: usize = 16;
/// Spare bytes a caller leaves behind what it read, so that a Close frame fits there.
pub const TAILROOM: usize = 64;

/// What became of the bytes that were handed in.
#[derive(Debug)]
pub struct Progress {
    /// Bytes at the front of the input that are done with; the rest is to be handed in again with more behind it.
    pub consumed: usize,
    /// What to send.
    pub reply: Reply,
    /// Something worth counting or logging; `None` for an ordinary echo.
    pub event: Option<Event>,
    /// Nothing but the reply will ever be sent.
    pub ended: bool,
    /// A stage has begun: hand in at once what is left over.
    pub again: bool,
    /// Messages that have come whole.
    pub messages: u32,
}

/// Where the bytes to send are.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// In the buffer that was handed in; often empty.
    InPlace(Range<usize>),
    /// In the response that was handed in.
    Buffer,
    /// In place, with bytes before it that the caller gathered, or behind it that it is to gather.
    Gathered(Gathered),
}

/// A reply of which a part waits for the rest of its frame: text that is to go out as the one frame that it came as.
///
/// The caller keeps gathered bytes, which are as they will be sent, but sends nothing of them before it gets their header.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered {
    /// What goes in front of all the bytes gathered so far: with it they are sent, before the reply.
    pub release: Option<Header>,
    /// In the buffer that was handed in; often empty.
    pub reply: Range<usize>,
    /// In the buffer, behind the reply: to be gathered, behind what was.
    pub keep: Range<usize>,
}

/// What happened, where it is not an echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A proxy said who the client is, if it knows.
    Proxied(Option<SocketAddr>),
    /// A proxy was to say who the client is, and something else came.
    NotProxied(NotProxy),
    /// The handshake succeeded.
    Opened(Version),
    /// A client of Hixie-76 is to be a member of the board of this name once it has answered its challenge: if there is no
    /// room, [`Session::refuse`](super::session::Session::refuse) before the reply is sent.
    Knocks(String),
    /// The handshake succeeded, and the client is to be a member of the board of this name: seat it before the reply is
    /// sent, or [`Session::refuse`](super::session::Session::refuse).
    Joins {
        /// The board's.
        name: String,
        /// How it is spoken to.
        version: Version,
    },
    /// An HTTP request was answered with something else than 101.
    Refused(Refusal),
    /// A page was sent.
    Page(Page),
    /// The numbers were asked for: append the answer to the response before it is sent.
    Asked(Question),
    /// The Flash policy was sent.
    Policy,
    /// Something that is not a policy request came where only those are answered.
    NotPolicy,
    /// The peer closed, with this code.
    Closed(Option<u16>),
    /// The peer asked to be closed by sending `quit`.
    Quit,
    /// The peer broke the protocol.
    Failed(Violation),
    /// A frame of a dialect without close codes was too long.
    TooLong,
    /// A program closed, with this code.
    Closes(Option<u16>),
}

impl Progress {
    pub(super) fn wait() -> Progress {
        Progress::discard(0)
    }

    pub(super) fn discard(consumed: usize) -> Progress {
        Progress {
            consumed,
            reply: Reply::InPlace(0..0),
            event: None,
            ended: false,
            again: false,
            messages: 0,
        }
    }

    pub(super) fn last_response(consumed: usize, event: Event) -> Progress {
        Progress {
            consumed,
            reply: Reply::Buffer,
            event: Some(event),
            ended: true,
            again: false,
            messages: 0,
        }
    }
}
