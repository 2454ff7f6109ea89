//! loadgen: an open-loop WebSocket load generator that counts latency from the schedule.
//!
//! Messages go out at the times a schedule gives, whatever has come back; latency is counted from those times. The
//! program is a library and a thin `main`, so that tests and benches can use its parts.
//!
//! Seven rooms; a room uses those below it:
//!
//! - [`modes`]: one module a subcommand
//! - [`cli`]: the command line and where answers go
//! - [`verdict`]: whether the numbers are the server's
//! - [`engine`]: the threads, the connections, what goes out when and what is recorded
//! - [`report`]: what was found out, as data, and every way of showing and judging it
//! - [`protocol`]: the bytes of WebSocket as a client writes and reads them
//! - [`host`]: what the machine gives and says

pub mod cli;
pub mod engine;
pub mod host;
pub mod modes;
pub mod protocol;
pub mod report;
pub mod verdict;
