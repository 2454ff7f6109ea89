//! `/ws/…`: the failure on demand.
//!
//! The path of a request is a [`chain::Chain`] of [`steps`], read once, at the handshake. What it says about the answer is
//! done there ([`chain::HandshakeOptions`]); the rest is a [`program::Program`] beside the connection, one more dialect, so that an
//! echo pays nothing for it. [`bad_frame`] and [`bad_handshake`] are the only things here that break the protocol, and each
//! of their entries says which rule.

pub mod bad_frame;
pub mod bad_handshake;
pub mod chain;
pub mod heard;
pub mod late;
pub mod problem;
pub mod program;
pub mod report;
pub mod state;
pub mod steps;
pub mod text;
pub mod writer;
