//! loadgen against servers and hosts that are made up, in virtual time: how often what it says is wrong.
//!
//! The worker, what puts a run together, the verdict and `compare` are those of the program; network, clock, server and
//! the machine's whims are a script's, drawn from a seed. So hundreds of runs of half a minute take a minute, and
//! neighbours on the machine change nothing. Each test prints the rows of a table of the README's.

#[path = "virtual_time/comparisons.rs"]
mod comparisons;
#[path = "virtual_time/finds.rs"]
mod finds;
#[path = "support/frame.rs"]
mod frame;
#[path = "virtual_time/host.rs"]
mod host;
#[path = "virtual_time/run.rs"]
mod run;
#[path = "virtual_time/servers.rs"]
mod servers;
#[path = "support/spec.rs"]
mod spec;
#[path = "virtual_time/verdicts.rs"]
mod verdicts;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "virtual_time/world.rs"]
mod world;

/// How many times as much as usual is tried: `ROUNDS=10` for a table.
fn rounds() -> u64 {
    std::env::var("ROUNDS").map_or(1, |n| n.parse().expect("ROUNDS is a number"))
}
