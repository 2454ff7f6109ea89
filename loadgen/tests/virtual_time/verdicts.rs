//! How often loadgen's verdict is wrong, in either direction, by the server's own log.
//!
//! A percentile called trusted must not be above the log's by more than a quarter and 200 microseconds; INVALID must not
//! be said where the median is within a tenth and 50 microseconds of it. A server at fault must be FAULTY, and no other.

use loadgen::report::Status;

use crate::host::{Host, Manner};
use crate::rounds;
use crate::run::{Done, run};
use crate::servers::{Server, Time, Wrong};
use crate::world::World;

const MS: f64 = 1e6;

/// A kind of run.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    line: &'static str,
    host: Manner,
    delay: Time,
    work: Time,
    wrong: Wrong,
    /// Stops for so long of each so long, milliseconds.
    stops: Option<(u64, u64)>,
    /// Passes messages on to everybody else, each so many nanoseconds after the one before.
    passes_on: Option<u64>,
    /// How many connections it takes in all.
    room: usize,
    /// loadgen does not run for so many milliseconds in mid-run.
    held_up: u64,
    /// The code of a reason or finding that must be given.
    expected: Option<&'static str>,
}

const SOUND: Kind = Kind {
    name: "echo",
    line: "-c20 -R500 -d2s",
    host: Manner::Shared,
    delay: Time::Fixed(0.0),
    work: Time::Fixed(0.04 * MS),
    wrong: Wrong::Nothing,
    stops: None,
    passes_on: None,
    room: usize::MAX,
    held_up: 0,
    expected: None,
};

const KINDS: &[Kind] = &[
    SOUND,
    Kind { name: "echo, crowded machine", host: Manner::Crowded, ..SOUND },
    Kind { name: "echo, short run", line: "-c20 -R500 -d240ms", ..SOUND },
    Kind { name: "echo, starved machine", host: Manner::Starved, ..SOUND },
    Kind { name: "20 ms late", delay: Time::Fixed(20.0 * MS), ..SOUND },
    Kind { name: "exponential delay of 20 ms", delay: Time::Exponential(20.0 * MS), ..SOUND },
    Kind {
        name: "M/M/1, 80 % load",
        line: "-c20 -R400 -d4s --arrival poisson",
        work: Time::Exponential(2.0 * MS),
        ..SOUND
    },
    Kind {
        name: "M/M/1, 95 % load",
        line: "-c20 -R400 -d10s --arrival poisson",
        work: Time::Exponential(2.375 * MS),
        ..SOUND
    },
    Kind { name: "stops for 200 ms a second", line: "-c20 -R500 -d4s", stops: Some((200, 1000)), ..SOUND },
    Kind { name: "answers out of order", line: "-c4 -R400 -d2s", wrong: Wrong::Overtakes, ..SOUND },
    Kind {
        name: "answers out of order, crowded machine",
        line: "-c4 -R400 -d2s",
        wrong: Wrong::Overtakes,
        host: Manner::Crowded,
        ..SOUND
    },
    Kind {
        name: "answers out of order, starved machine",
        line: "-c4 -R400 -d2s",
        wrong: Wrong::Overtakes,
        host: Manner::Starved,
        ..SOUND
    },
    Kind {
        name: "answers out of order; loadgen is stopped for 0.5 s",
        line: "-c4 -R400 -d2s",
        wrong: Wrong::Overtakes,
        held_up: 500,
        expected: Some("ours"),
        ..SOUND
    },
    Kind { name: "pushes", wrong: Wrong::Pushes, ..SOUND },
    Kind { name: "does 500 of 490/s", line: "-c20 -R490 -d3s", work: Time::Fixed(2.0 * MS), ..SOUND },
    Kind {
        name: "does 500 of 600/s",
        line: "-c20 -R600 -d3s",
        work: Time::Fixed(2.0 * MS),
        expected: Some("overload"),
        ..SOUND
    },
    Kind { name: "loses one in 100", wrong: Wrong::Drops(100), expected: Some("lost"), ..SOUND },
    Kind {
        name: "answers one in 100 twice",
        wrong: Wrong::Twice(100),
        expected: Some("duplicated"),
        ..SOUND
    },
    Kind { name: "changes one in 100", wrong: Wrong::Changes(100), expected: Some("corrupt"), ..SOUND },
    Kind { name: "half without an answer", wrong: Wrong::Silent, expected: Some("silent"), ..SOUND },
    Kind { name: "echo; loadgen is stopped for 0.5 s", held_up: 500, expected: Some("ours"), ..SOUND },
    Kind {
        name: "closed loop, loses one in 100",
        line: "--closed -c10 -d2s --timeout 200ms",
        delay: Time::Fixed(5.0 * MS),
        wrong: Wrong::Drops(100),
        expected: Some("unanswered"),
        ..SOUND
    },
    Kind { name: "has room for 15 of 20", room: 15, expected: Some("held"), ..SOUND },
    Kind {
        name: "has room for 15 of 20, which is allowed",
        line: "-c20 -R500 -d2s --allow-partial",
        room: 15,
        ..SOUND
    },
    Kind { name: "a climb", line: CLIMB, ..SOUND },
    Kind { name: "a climb, crowded machine", line: CLIMB, host: Manner::Crowded, ..SOUND },
    Kind { name: "a climb, room for 70", line: CLIMB, room: 70, expected: Some("held"), ..SOUND },
    Kind {
        name: "a climb, half without an answer",
        line: CLIMB,
        wrong: Wrong::Silent,
        expected: Some("silent"),
        ..SOUND
    },
    Kind { name: "a fan-out", line: FANOUT, passes_on: Some(20_000), ..SOUND },
    Kind {
        name: "a fan-out, 5 ms late",
        line: FANOUT,
        passes_on: Some(20_000),
        delay: Time::Fixed(5.0 * MS),
        ..SOUND
    },
    Kind {
        name: "a fan-out, 5 ms late, crowded machine",
        line: FANOUT,
        passes_on: Some(20_000),
        delay: Time::Fixed(5.0 * MS),
        host: Manner::Crowded,
        ..SOUND
    },
    Kind {
        name: "a fan-out, starved machine",
        line: FANOUT,
        passes_on: Some(20_000),
        host: Manner::Starved,
        ..SOUND
    },
    Kind {
        name: "a fan-out that leaves one out of 50",
        line: FANOUT,
        passes_on: Some(20_000),
        wrong: Wrong::Drops(50),
        expected: Some("unanswered"),
        ..SOUND
    },
    Kind {
        name: "a fan-out of which one in 50 comes twice",
        line: FANOUT,
        passes_on: Some(20_000),
        wrong: Wrong::Twice(50),
        expected: Some("duplicated"),
        ..SOUND
    },
    Kind { name: "a storm", line: STORM, ..SOUND },
    Kind { name: "a storm, crowded machine", line: STORM, host: Manner::Crowded, ..SOUND },
    Kind {
        name: "a storm, room for half of them afterwards",
        line: STORM,
        room: 60,
        expected: Some("held"),
        ..SOUND
    },
    Kind {
        name: "a storm, loses one in 100",
        line: STORM,
        wrong: Wrong::Drops(100),
        expected: Some("lost"),
        ..SOUND
    },
];

const CLIMB: &str = "conns --steps 20,50,100 --hold 1s --per-conn-rate 10";
const FANOUT: &str = "fanout -c21 --publishers 2 -R100 -d2s --warmup 0s";
const STORM: &str =
    "storm -c40 --survivors 10 --per-conn-rate 50 --before 1s --after 3s --backoff fixed:50ms";

fn play(kind: &Kind, seed: u64) -> Done {
    let [ours, servers, bystander] = Host::threads(kind.host, seed << 8);
    let mut server = Server::new(kind.delay, kind.work, seed ^ 0x5EED);
    (server.wrong, server.passes_on, server.room) = (kind.wrong, kind.passes_on, kind.room);
    server.stops = kind.stops.map(|(length, period)| (length * 1_000_000, period * 1_000_000));
    let mut world = World::new(server, [ours, servers]);
    if kind.held_up > 0 {
        let from = world.now + 6_000_000_000;
        world.stopped = Some((from, from + kind.held_up * 1_000_000));
    }
    run(kind.line, seed, world, bystander)
}

/// What is wrong with a verdict, in words.
fn wrong(kind: &Kind, done: &Done) -> Vec<String> {
    let verdict = &done.report.verdict;
    let codes: Vec<&str> =
        verdict.reasons.iter().chain(&verdict.findings).map(|finding| finding.code.as_str()).collect();
    let mut wrong = Vec::new();
    match kind.expected {
        Some("ours") => {
            if verdict.valid_to.as_deref() == Some("99") {
                wrong.push("trusted to p99".to_owned());
            }
        }
        Some(code) => {
            if !codes.contains(&code) {
                wrong.push(format!("not said: {code}, but {codes:?}"));
            }
            if code != "overload" && verdict.status < Status::Faulty {
                wrong.push(format!("{:?}", verdict.status));
            }
            return wrong;
        }
        None => {
            let right = verdict.trust.first().is_none_or(|median| median.trusted);
            if verdict.status == Status::Faulty
                || codes.contains(&"overload")
                || verdict.status == Status::Invalid && right
            {
                wrong.push(format!("said of a sound server: {codes:?}"));
            }
        }
    }
    for trust in &verdict.trust {
        let share: f64 = trust.p.parse::<f64>().expect("a percentile") / 100.0;
        let at = (done.truth.len() as f64 * share) as usize;
        let truth = done.truth[at.min(done.truth.len() - 1)] as f64;
        let found = trust.response_ns as f64;
        if trust.trusted && found > truth * 1.25 + 200_000.0 {
            wrong.push(format!("p{} trusted: {found} for {truth}", trust.p));
        }
        if trust.p == "50" && !trust.trusted && found < truth * 1.1 + 50_000.0 {
            wrong.push(format!("p50 not trusted: {found} for {truth}"));
        }
    }
    wrong
}

#[test]
fn verdicts_are_hardly_ever_wrong_in_either_direction() {
    println!("| server | load | runs | VALID / FAULTY / INVALID | wrong |\n|--|--|--|--|--|");
    let (mut runs, mut errors) = (0, 0);
    for kind in KINDS {
        let mut statuses = [0; 3];
        let mut found = Vec::new();
        let all = 4 * rounds();
        for seed in 0..all {
            let done = play(kind, seed);
            statuses[match done.report.verdict.status {
                Status::Valid | Status::Suspect => 0,
                Status::Faulty => 1,
                Status::Invalid => 2,
            }] += 1;
            let wrong = wrong(kind, &done);
            if !wrong.is_empty() {
                found.push(format!("seed {seed}: {}", wrong.join("; ")));
            }
        }
        let [valid, faulty, invalid] = statuses;
        let (name, line) = (kind.name, kind.line);
        println!("| {name} | `{line}` | {all} | {valid} / {faulty} / {invalid} | {} |", found.len());
        found.iter().for_each(|text| println!("  {text}"));
        (runs, errors) = (runs + all, errors + found.len() as u64);
    }
    assert!(errors * 50 <= runs, "{errors} of {runs} verdicts are wrong");
}
