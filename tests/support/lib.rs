//! What the four storeys of tests share. Nothing here asserts anything about a server by itself.
//!
//! Bytes and readers of the tests' own (`wire`, `reader`, `script`) share no code with the server's, so that one mistake
//! cannot hide on both sides. `allocator` counts. `conversation` drives one connection without a socket; `server`,
//! `command`, `client` and `process` are for the real binary.

pub mod allocator;
pub mod cgroup;
pub mod client;
pub mod command;
pub mod config;
pub mod conversation;
pub mod model;
pub mod process;
pub mod reader;
pub mod script;
pub mod seeds;
pub mod server;
pub mod wire;
