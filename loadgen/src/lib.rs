//! loadgen: an open-loop WebSocket load generator that counts latency from the schedule.
//!
//! Messages go out at the times a schedule gives, whatever has come back; latency is counted from those times. The
//! program is a library and a thin `main`, so that tests and benches can use its parts.
//!
//! - what to do: [`args`], [`units`]; the modes are [`run`], [`conns`], [`find`], [`fanout`], [`storm`], [`calibrate`]
//! - the threads: [`engine`] gives commands, [`worker`] carries them out ([`opening`], [`wire`], [`traffic`])
//! - on the wire: [`target`], [`sources`], [`frame`], [`message`], [`verify`]
//! - when: [`clock`], [`timer`], [`schedule`]
//! - found out: [`tally`], [`watch`], [`host`], [`verdict`], [`signature`], [`live`], [`report`]; beforehand [`doctor`]

pub mod args;
pub mod argv;
pub mod calibrate;
pub mod clock;
pub mod connection;
pub mod conns;
pub mod doctor;
pub mod engine;
pub mod fanout;
pub mod find;
pub mod frame;
pub mod host;
pub mod live;
pub mod message;
pub mod opening;
pub mod output;
pub mod pending;
pub mod report;
pub mod run;
pub mod schedule;
pub mod session;
pub mod signature;
pub mod size;
pub mod sources;
pub mod storm;
pub mod tally;
pub mod target;
pub mod timer;
pub mod traffic;
pub mod units;
pub mod verdict;
pub mod verify;
pub mod watch;
pub mod wire;
pub mod worker;
