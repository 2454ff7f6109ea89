//! The whole worker over a network and a clock that are made up.
//!
//! How it works:
//!
//! 1. A seed draws the options, the servers (what each answers, when, and how it fails) and every whim of the network.
//! 2. The worker runs as in production, only that its [`Network`](loadgen::engine::network::Network) is a [`world`]:
//!    reads and writes are cut short, calls fail, wake-ups are late or for nothing, and the clock begins near a bound.
//! 3. A [`model`] that shares no code with the engine sees what crosses that seam (each call, its result, each look at the
//!    clock) and computes what every histogram and counter must say.
//! 4. When a run is over, both must agree exactly.

#[path = "support/frame.rs"]
mod frame;
#[path = "simulation/model/mod.rs"]
mod model;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/talk.rs"]
mod talk;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use fastrand::Rng;
use loadgen::engine::recorder::Counts;
use scenario::{Happened, Scenario, Stress};

#[test]
fn every_figure_of_a_million_messages_is_what_the_model_says() {
    let mut happened = Happened::default();
    each_seed(190, |rng| Scenario::draw(rng, Stress::Everything).run(&mut happened));
    println!("{happened:#?}");
    if !replayed() {
        assert!(happened.counts.sent >= 1_000_000, "{} messages", happened.counts.sent);
        let elsewhere = [
            "ignored: 0",
            "answered: 0",
            "ahead: 0",
            "slow_received: 0",
            "slow_unanswered: 0",
            "slow_bytes: 0",
            "greeted: 0",
            "first: 0",
            "gaps: 0",
            "slowly: 0",
            "reopened: 0",
            "thought: 0",
        ];
        all_happened(&happened, &elsewhere, 9);
    }
}

#[test]
fn every_figure_of_a_conversation_is_what_the_model_says() {
    let mut happened = Happened::default();
    each_seed(90, |rng| Scenario::draw(rng, Stress::Conversations).run(&mut happened));
    println!("{happened:#?}");
    if !replayed() {
        all_happened(&happened, &[], 12);
    }
}

/// What never happened was not tested; late is only what a closed loop gave up.
fn all_happened(happened: &Happened, elsewhere: &[&str], failures: usize) {
    let mut happens = format!("{happened:?}").replace(" late: 0", "");
    for name in elsewhere {
        happens = happens.replace(name, "");
    }
    assert!(!happens.contains(": 0"), "{happened:#?}");
    assert!(happened.failures.len() >= failures, "{happened:#?}");
}

#[test]
fn every_figure_is_right_on_a_network_that_only_delays() {
    let mut happened = Happened::default();
    each_seed(10, |rng| Scenario::draw(rng, Stress::Delays).run(&mut happened));
    let Counts { sent, received, lost, duplicated, reordered, corrupt, .. } = happened.counts;
    assert!(received > 0 && received <= sent);
    assert_eq!((lost, duplicated, reordered, corrupt), (0, 0, 0, 0));
}

fn replayed() -> bool {
    std::env::var_os("LOADGEN_SEED").is_some()
}

/// Runs `test` with the seeds from 0 to `count`, or only with the one in `LOADGEN_SEED`. A seed that fails is printed with
/// the command that replays it.
fn each_seed(count: u64, mut test: impl FnMut(Rng)) {
    let seeds = match std::env::var("LOADGEN_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("LOADGEN_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let _replay = Replay(seed);
        test(Rng::with_seed(seed));
    }
}

struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!(
                "seed {seed} failed; LOADGEN_SEED={seed} cargo test -p loadgen --test simulation {name} replays it",
                seed = self.0
            );
        }
    }
}
