//! The first storey: one connection's bytes, without a socket, a poll or a clock.
//!
//! Only here can every byte of a conversation be known beforehand, every cut between two bytes be tried, and a fault be
//! pinned to the one byte that proves it. What holds here holds whatever the network does.

mod exhaustive;
mod faults;
mod golden;
mod golden_hixie;
mod paths;
mod random;
mod requests;
