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
#[path = "../../tests/support/seeds.rs"]
#[allow(dead_code, reason = "the server's tests have one more use for it")]
mod seeds;
#[path = "support/spec.rs"]
mod spec;
#[path = "simulation/talk.rs"]
mod talk;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use std::collections::HashSet;
use std::sync::Arc;

use loadgen::engine::payload::Payloads;
use loadgen::engine::recorder::Counts;
use loadgen::engine::sender::Sender;
use loadgen::engine::size::Sizes;
use loadgen::engine::spec::Spec;
use loadgen::protocol::frame::Opcode;
use scenario::{Happened, Scenario, Stress};

#[test]
fn every_figure_of_a_million_messages_is_what_the_model_says() {
    let mut happened = Happened::default();
    seeds::each_seed(190, |rng| Scenario::draw(rng, Stress::Everything).run(&mut happened));
    println!("{happened:#?}");
    if seeds::replayed().is_none() {
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
    seeds::each_seed(90, |rng| Scenario::draw(rng, Stress::Conversations).run(&mut happened));
    println!("{happened:#?}");
    if seeds::replayed().is_none() {
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

/// The processes of a sharded run may all be given one seed, and have no `{uuid}` in common.
#[test]
fn what_is_random_is_another_in_each_process() {
    let drawn = |first, me| {
        let payloads = Payloads::random(Opcode::Text, Sizes::Fixed(8), false, 7);
        let spec = Spec { first, threads: 2, ..spec::plain("ws://127.0.0.1:9/sim", payloads, 4) };
        let mut sender = Sender::new(me, Arc::new(spec), Arc::default());
        sender.words(0, &talk::template("{uuid}"), 0, &[]).to_vec()
    };
    let all = [drawn(0, 0), drawn(0, 1), drawn(2, 0), drawn(2, 1)];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(all[3], drawn(2, 1), "of one seed");
}

#[test]
fn every_figure_is_right_on_a_network_that_only_delays() {
    let mut happened = Happened::default();
    seeds::each_seed(10, |rng| Scenario::draw(rng, Stress::Delays).run(&mut happened));
    let Counts { sent, received, lost, duplicated, reordered, corrupt, .. } = happened.counts;
    assert!(received > 0 && received <= sent);
    assert_eq!((lost, duplicated, reordered, corrupt), (0, 0, 0, 0));
}
