//! One module a subcommand, and what a measurement of any of them needs ([`measurement`]).

pub mod calibrate;
pub mod conns;
pub mod conversation;
pub mod doctor;
pub mod fanout;
pub mod find;
pub mod listen;
pub mod measurement;
pub mod null_server;
pub mod run;
pub mod storm;
pub mod turns;
