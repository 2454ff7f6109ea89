//! What steps there are: their names, what they take, what they do.
//!
//! One table for the parser and for the page at `/ws`, so that what is shown is what is served. A step's arguments stand
//! behind it in the path, one segment each.

/// When a step acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the 101, wherever in the chain it stands.
    Opening,
    /// When its turn comes; the next one follows when it is done.
    InOrder,
    /// From its place in the chain to the end.
    FromHereOn,
    /// What the connection does in the end; nothing can follow.
    Last,
}

/// One kind of step.
#[derive(Debug)]
pub struct StepEntry {
    /// As the path has it.
    pub name: &'static str,
    /// What its arguments are called.
    pub takes: &'static [&'static str],
    /// When it acts.
    pub when: When,
    /// What it does, for a reader of the page.
    pub text: &'static str,
    /// Arguments to try it with, as they stand in a path; may have a query.
    pub example: &'static str,
}

const fn step(
    name: &'static str,
    takes: &'static [&'static str],
    when: When,
    text: &'static str,
    example: &'static str,
) -> StepEntry {
    StepEntry { name, takes, when, text, example }
}

use When::{FromHereOn, InOrder, Last, Opening};

/// All of them, in the order in which they are shown.
pub const STEPS: [StepEntry; 38] = [
    step(
        "status",
        &["code"],
        Opening,
        "refuses the handshake with this HTTP status, 200 to 599",
        "status/503",
    ),
    step(
        "redirect",
        &["n"],
        Opening,
        "answers 302 to this chain with one redirect fewer, then opens",
        "redirect/2/echo",
    ),
    step("redirect-to", &[], Opening, "answers 302 to the URL in ?url=", "redirect-to?url=%2Fecho"),
    step(
        "basic-auth",
        &["user", "password"],
        Opening,
        "answers 401 to whoever does not bring these credentials",
        "basic-auth/user/secret/echo",
    ),
    step(
        "bearer",
        &["token"],
        Opening,
        "answers 401 to whoever does not bring this token",
        "bearer/secret/echo",
    ),
    step(
        "handshake-delay",
        &["seconds"],
        Opening,
        "answers the handshake that much later",
        "handshake-delay/2/echo",
    ),
    step("handshake-stall", &[], Opening, "never answers the handshake", "handshake-stall"),
    step(
        "subprotocol",
        &["name"],
        Opening,
        "agrees to this subprotocol, offered or not",
        "subprotocol/mqtt/echo",
    ),
    step(
        "no-subprotocol",
        &[],
        Opening,
        "agrees to no subprotocol, whatever is offered",
        "no-subprotocol/echo",
    ),
    step(
        "header",
        &["name", "value"],
        Opening,
        "puts this header into the answer",
        "header/Set-Cookie/a%3Db/echo",
    ),
    step("no-deflate", &[], Opening, "does not agree to permessage-deflate", "no-deflate/echo"),
    step(
        "deflate",
        &["parameters"],
        Opening,
        "agrees to permessage-deflate with these parameters, where they fit the offer",
        "deflate/server_no_context_takeover;client_no_context_takeover/echo",
    ),
    step("bad-handshake", &["what"], Opening, "opens with a 101 that is wrong", "bad-handshake/accept/echo"),
    step(
        "message",
        &["text"],
        InOrder,
        "sends a text message; the first in the same write as the 101",
        "message/hello/echo",
    ),
    step(
        "repeat",
        &["text", "ms"],
        InOrder,
        "sends a text message every so many ms, beside what follows",
        "repeat/tick/500/echo",
    ),
    step(
        "source",
        &["bytes", "n"],
        InOrder,
        "sends n binary messages of that size, as fast as they are taken",
        "source/64k/100/close",
    ),
    step(
        "headers",
        &[],
        InOrder,
        "sends what the server saw of the request, as one JSON text message",
        "headers/echo",
    ),
    step(
        "ping",
        &["n"],
        InOrder,
        "pings n times, each when the last was answered; 1002 after 10 s without a pong",
        "ping/3/close",
    ),
    step(
        "delay",
        &["seconds"],
        InOrder,
        "goes on so much later, and reads nothing until then",
        "delay/1/message/late/echo",
    ),
    step("after", &["n"], InOrder, "echoes n messages, then goes on", "after/3/reset"),
    step(
        "latency",
        &["seconds"],
        FromHereOn,
        "replies come that much later; reading stops at 1 MiB kept",
        "latency/250ms/echo",
    ),
    step(
        "fragment",
        &["bytes"],
        FromHereOn,
        "messages are sent in fragments of that size",
        "fragment/4/echo",
    ),
    step("unfinished", &[], FromHereOn, "messages are sent without their end", "unfinished/echo"),
    step("trickle", &["bytes"], FromHereOn, "bytes are sent so few at a time, 1 ms apart", "trickle/1/echo"),
    step("limit", &["bytes"], FromHereOn, "a longer message is answered with 1009", "limit/16/echo"),
    step("throttle", &["bytes a second"], FromHereOn, "reads no faster than this", "throttle/16k/echo"),
    step("mute", &[], FromHereOn, "answers no ping", "mute/echo"),
    step(
        "no-close",
        &[],
        FromHereOn,
        "does not answer a Close, and leaves the connection open",
        "no-close/echo",
    ),
    step("close-late", &["seconds"], FromHereOn, "answers a Close that much later", "close-late/2/echo"),
    step("echo", &[], Last, "sends back every message; what a chain without a last step ends in", "echo"),
    step("sink", &[], Last, "reads messages and replies to none", "sink"),
    step("size", &[], Last, "replies with the size of each message in bytes", "size"),
    step("stall", &["seconds"], Last, "reads nothing for that long, then echoes", "stall/2"),
    step(
        "close",
        &["code"],
        Last,
        "closes with this code, and the reason in ?reason=; without a code the Close is empty",
        "close/4000?reason=bye",
    ),
    step("half-close", &[], Last, "sends a FIN without a Close, and reads on", "half-close"),
    step(
        "reset",
        &[],
        Last,
        "ends the connection with a RST, once what was said has arrived, or after 2 s",
        "reset",
    ),
    step("fin", &[], Last, "ends the connection with a FIN and no Close", "fin"),
    step(
        "bad-frame",
        &["what"],
        Last,
        "sends a frame that is wrong, and replies to nothing but a Close",
        "bad-frame/utf8",
    ),
];

/// The step of that name.
pub fn named(name: &str) -> Option<&'static StepEntry> {
    STEPS.iter().find(|step| step.name == name)
}
