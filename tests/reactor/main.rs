//! The second storey: the whole tick over a kernel that is made up.
//!
//! Only here can the kernel do at will what a real one does once a year (short writes, stale events, failing calls,
//! leaping clocks), with thousands of clients, and do exactly the same again from the seed of a failure.

mod admission;
mod machine;
mod memory;
mod outbox;
mod patience;
mod rooms;
mod rounds;
#[cfg(feature = "tls")]
mod secure;
mod simulation;
mod spin;

#[global_allocator]
static ALLOCATOR: support::allocator::Counting = support::allocator::Counting;
