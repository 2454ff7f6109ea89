//! The third storey: the real binary, real sockets, real signals.
//!
//! Only here can be shown what the kernel, the process and its options do: what a descriptor limit, a closed stderr, a
//! service manager, a FIN in mid-frame or a stopped process make of the promises that the storeys below keep.

mod boards;
mod daemon;
mod deflate;
mod hixie;
mod limits;
mod listen;
mod memory;
mod metrics;
mod paths;
mod patience;
mod refusals;
mod sockets;
mod spin;
mod startup;
mod stderr;
mod trace;
mod workers;
