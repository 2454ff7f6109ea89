//! A WebSocket echo server: one thread, one poll, no buffers for whoever is idle.
//!
//! # Bird's-eye view
//!
//! [`reactor::Reactor`] polls the listeners and all clients. An event only notes that a client is ready; its turn is one
//! read into a buffer that all clients share, one rewrite of those bytes into the reply, in place, and one write. The rewrite
//! is [`proto::session::Session`], which knows nothing of sockets or time. What a turn cannot finish stays with the
//! [`reactor::connection::Connection`]: the beginning of a frame (the carry), or bytes that the kernel would not take (the outbox).
//!
//! # Code map
//!
//! - [`args`]: the command line, turned into [`args::Options`]; [`daemon`] binds, announces and runs what they ask for.
//!   [`activation`] takes over sockets from a service manager, [`notify`] tells it things, [`memory_limit`] is how much memory
//!   there may be, [`mod@print`] gives packagers their files.
//! - [`reactor`]: the tick. `kernel` is what it asks of the operating system, `system` the real one, `ffi` calls of the C library.
//!   `connection` is a client, `transport` its byte stream and what is kept on either side of it, `outbox` bytes kept in order,
//!   `turn` what its turn works with and what comes of it, `end` why it is over. `memory` is the budget for all that is kept,
//!   `relief` what is done when it is short. `moment` is time, `deadlines` when patience ends, `mark` how far a peer has come,
//!   `shutdown` the way out. `admission` lets clients in, `listener` sorts the errors of that, `slice` bounds it; `boards`
//!   is who hears whom, `brake` who waits for that; `stats` counts; `trace` tells what was said and heard; `aside` is what
//!   few connections have; `config` is what it goes by; `token` names things.
//! - [`proto`]: bytes in, bytes out. `progress` is the contract; `session` leads from the first byte to the last; `proxy` reads
//!   what a proxy puts in front. `handshake` answers the opening request (`head`, `request`), with what is served where
//!   (`routes`, `place`), to whom (`origin`), 101 (`hybi`, `deflate`, `hixie`) or something else (`refusal`, `page`).
//!   `framing` is how messages are framed once it is open: `frame`, `mask`, `utf8` and `close` are the pieces; `hybi` and
//!   `hixie` echo (`reply`), `member` listens and posts, `quit` and `leaving` take leave, `violation` is why it ends early.
//!   `paths` are failures on demand: `steps` is what there is, `chain` reads a path, `program` does what it says to what is
//!   `heard`. `limits` are bounds with their reasons; `policy` is Flash's.
//! - `tls`, with the feature of that name: `connection` opens and seals a client's bytes in place, `record` one record of
//!   them, `certificate` is who we are.
//! - [`log`] writes lines that neither block nor panic, with peers' text made safe by [`escape`].
//! - `src/pages`: what a browser is shown, embedded.
//!
//! # Where to begin
//!
//! With `proto::progress`, which is what both halves agree on; then `reactor::connection`'s turn for the way of a message on
//! our side of the kernel, and `proto::framing::hybi` for what becomes of its bytes.
//!
//! # Invariants
//!
//! - `proto` names no socket, no poll, no clock, no thread.
//! - A reply never outruns the bytes it answers, so an echo allocates nothing.
//! - From a peer that does not take its answers nothing is read but the rest of the message in whose middle it is.
//! - No memory is reserved on a peer's word. Everything a peer can make us keep has a named bound, and what all of them can has
//!   one budget ([`reactor::memory`]).
//!
//! # What is not here
//!
//! TLS in the plain build (terminate it in front, or build with `--features tls`), a configuration file, threads; `unsafe` beyond a few calls of the C library (`reactor::ffi`) and one that is
//! replaced (`backtrace`, of the program).

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod activation;
pub mod args;
pub mod daemon;
pub mod escape;
pub mod failure;
pub mod listeners;
pub mod log;
pub mod memory_limit;
pub mod notify;
pub mod print;
pub mod proto;
pub mod reactor;
#[cfg(feature = "tls")]
pub mod tls;
mod units;
pub mod worker;
pub mod workers;
