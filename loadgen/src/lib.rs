//! loadgen: an open-loop WebSocket load generator that counts latency from the schedule.
//!
//! Messages go out at the times a schedule gives, whatever has come back; latency is counted from those times. The
//! program is a library and a thin `main`, so that tests and benches can use its parts.
//!
//! # Rooms
//!
//! A room uses those below it and none above:
//!
//! - [`modes`]: one module a subcommand
//! - [`cli`]: the command line and where answers go
//! - [`verdict`]: whether the numbers are the server's
//! - [`engine`]: the threads, the connections, what goes out when and what is recorded
//! - [`report`]: what was found out, as data, and every way of showing and judging it
//! - [`protocol`]: the bytes of WebSocket as a client writes and reads them
//! - [`host`]: what the machine gives and says
//!
//! # The way of one message
//!
//! 1. [`engine::schedule`] has the moments; [`engine::running`] hands out the next one when it is due, whatever is still in
//!    flight. A thread ([`engine::worker`]) sleeps until then, or until a socket is ready.
//! 2. [`engine::sender`] numbers the message, notes it in [`engine::in_flight`] with the moment it was due, and has
//!    [`engine::payload`] write what it holds: its number, its moment and a body that both determine.
//! 3. [`protocol::encoder`] frames and masks it; [`engine::transport`] writes it, through TLS where the URL says so, and
//!    says when the kernel has taken the last byte: until then the lateness is ours (`own slip`), from then on the server's.
//! 4. What comes back is read with the moment the kernel received it ([`host::stamps`]), and [`protocol::session`] takes
//!    messages out of it.
//! 5. [`engine::verify`] finds the message a reply answers, and whether it is what was sent; [`engine::recorder`] counts and
//!    times it, by threads and ticks that add up exactly.
//! 6. [`engine::time_series`] puts the ticks of all threads together; [`verdict::assemble`] makes a
//!    [`Report`](report::Report) of them, and [`verdict`] says how far it can be trusted.
//!
//! # Where to begin
//!
//! With [`modes::run`], which is a page; then [`engine::Engine`], which it works with, and [`engine::worker`], which is what a
//! thread does. What a report holds is [`report::model`]; how two of them are told apart is [`report::compare`].
//!
//! # Invariants
//!
//! - Session, sender and connector do no I/O and read no clock: bytes and moments are arguments. So the whole worker runs
//!   over a scripted network and clock, and a model computes what it has to record (`tests/simulation`).
//! - A message's latency is counted from when it was due, and only a reply that was told from all others ends it.
//! - A message costs no allocation, an idle connection what `engine::connection` asserts.
//! - Recorders add up exactly: threads, ticks and processes of a sharded run.
//! - What cannot be told is not told: a percentile without its samples, a verdict over what this host may have done.

#![warn(missing_docs)]

pub mod cli;
pub mod engine;
pub mod host;
pub mod modes;
pub mod protocol;
pub mod report;
pub mod verdict;
