//! How often `loadgen compare` is wrong about pairs of runs of the default length.

use loadgen::report::Report;
use loadgen::report::compare::{self, Comparison, Decision};

use crate::host::{Host, Manner};
use crate::rounds;
use crate::run::run;
use crate::servers::{Server, Time};
use crate::world::World;

/// A kind of server, whose times can be longer by a factor.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    line: &'static str,
    host: Manner,
    delay: fn(f64) -> Time,
    work: fn(f64) -> Time,
    /// A tenth more is to be seen in nine of ten pairs.
    clear: bool,
}

const MS: f64 = 1e6;

const KINDS: [Kind; 9] = [
    Kind {
        name: "echo",
        line: "",
        host: Manner::Quiet,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Fixed(0.06 * MS * by),
        clear: true,
    },
    Kind {
        name: "echo, neighbours on its machine",
        line: "",
        host: Manner::Shared,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Fixed(0.06 * MS * by),
        clear: true,
    },
    Kind {
        name: "echo, neighbours for most of the time",
        line: "",
        host: Manner::Crowded,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Fixed(0.06 * MS * by),
        clear: true,
    },
    Kind {
        name: "echo, a tenth of a processor",
        line: "",
        host: Manner::Starved,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Fixed(0.06 * MS * by),
        clear: false,
    },
    Kind {
        name: "echo, another machine in every run",
        line: "",
        host: Manner::Moody,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Fixed(0.06 * MS * by),
        clear: false,
    },
    Kind {
        name: "every reply 20 ms late, neighbours",
        line: "",
        host: Manner::Shared,
        delay: |by| Time::Fixed(20.0 * MS * by),
        work: |_| Time::Fixed(0.0),
        clear: true,
    },
    Kind {
        name: "exponential delay of 20 ms, neighbours",
        line: "",
        host: Manner::Shared,
        delay: |by| Time::Exponential(20.0 * MS * by),
        work: |_| Time::Fixed(0.0),
        clear: true,
    },
    Kind {
        name: "M/M/1, 90 % load",
        line: "--arrival poisson",
        host: Manner::Quiet,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Exponential(9.0 * MS * by),
        clear: false,
    },
    Kind {
        name: "M/M/1, 95 % load",
        line: "--arrival poisson",
        host: Manner::Quiet,
        delay: |_| Time::Fixed(0.0),
        work: |by| Time::Exponential(9.5 * MS * by),
        clear: false,
    },
];

fn report(kind: Kind, seed: u64, by: f64) -> Report {
    let server = Server::new((kind.delay)(by), (kind.work)(by), seed ^ 0x5EED);
    let [ours, servers, bystander] = Host::threads(kind.host, seed << 8);
    run(kind.line, seed, World::new(server, [ours, servers]), bystander).report
}

/// What `compare` said of pairs.
#[derive(Debug, Default)]
struct Calls {
    worse: u64,
    unjudged: u64,
    /// The least change that each pair would have seen.
    sees: Vec<f64>,
}

impl Calls {
    fn count(&mut self, comparison: &Comparison) {
        match comparison.decision() {
            Decision::Worse(_) => self.worse += 1,
            Decision::NotJudged(_) => self.unjudged += 1,
            Decision::Fine => {}
        }
        let times = comparison.rows.iter().filter(|row| row.what != "answered" && row.what != "errors");
        self.sees.extend(times.filter_map(|row| row.sees).reduce(f64::min));
    }

    fn usually_sees(&mut self) -> String {
        self.sees.sort_by(f64::total_cmp);
        let median = self.sees.get(self.sees.len() / 2);
        median.map_or("-".into(), |sees| format!("{:+.1} %", 100.0 * sees))
    }
}

/// What is called of a server against itself, and of one that takes a tenth longer, `times` times; `compared` makes the two
/// comparisons of a number. At most one in twenty may be called worse than itself, but for what chance adds in so many (two
/// standard errors).
fn counted(kind: Kind, times: u64, compared: impl Fn(u64) -> [Comparison; 2]) -> [Calls; 2] {
    let (mut same, mut slower) = (Calls::default(), Calls::default());
    for [itself, other] in (0..times).map(compared) {
        same.count(&itself);
        slower.count(&other);
    }
    assert!(same.worse as f64 <= 0.05 * times as f64 + chance(times, 0.05), "{kind:?}: {same:?}");
    [same, slower]
}

/// Two standard errors of how many in `times` it is where each is with probability `share`.
fn chance(times: u64, share: f64) -> f64 {
    2.0 * (times as f64 * share * (1.0 - share)).sqrt()
}

/// A tenth more is called nine times in ten, but for chance.
fn is_seen(slower: &Calls, times: u64) -> bool {
    slower.worse as f64 >= 0.9 * times as f64 - chance(times, 0.1)
}

#[test]
fn pairs_of_one_server_are_seldom_called_worse_and_a_tenth_more_nearly_always() {
    println!(
        "| server | pairs | called worse | not judged | +10 % called worse | sees (median) |\n|--|--|--|--|--|--|"
    );
    for kind in KINDS {
        let pairs = 6 * rounds();
        let [mut same, slower] = counted(kind, pairs, |pair| {
            let [old, new, slower] =
                [(0, 1.0), (1, 1.0), (2, 1.1)].map(|(i, by)| report(kind, 3 * pair + i, by));
            [new, slower].map(|new| compare::reports(&old, &new, 0.02))
        });
        let sees = same.usually_sees();
        let (worse, unjudged, called) = (same.worse, same.unjudged, slower.worse);
        println!("| {} | {pairs} | {worse} | {unjudged} | {called} | {sees} |", kind.name);
        assert!(!kind.clear || is_seen(&slower, pairs), "{kind:?}: {slower:?}");
    }
}

/// Runs by turns, on machines where single runs differ: as seldom wrong, and what they see is what they say.
#[test]
fn runs_by_turns_are_seldom_called_worse_and_see_what_they_say() {
    println!(
        "| by turns | comparisons | called worse | +10 % called worse | sees (median) |\n|--|--|--|--|--|"
    );
    let echo =
        |name, pairs, host| (pairs, Kind { name, host, line: "-c20 -R500 -d2s --warmup 0s", ..KINDS[0] });
    for (pairs, kind) in [
        echo("echo, neighbours for most of the time, 7 pairs", 7, Manner::Crowded),
        echo("echo, another machine in every run, 7 pairs", 7, Manner::Moody),
        echo("echo, another machine in every run, 40 pairs", 40, Manner::Moody),
    ] {
        // So many pairs are for tables.
        let all = if pairs > 7 { rounds() - 1 } else { 3 * rounds() };
        let [mut same, slower] = counted(kind, all, |n| {
            let run = |i: u64, by| report(kind, 1_000 * n + i, by);
            [1.0, 1.1].map(|by| {
                let turns: Vec<_> = (0..pairs).map(|i| (run(2 * i, 1.0), run(2 * i + 1, by))).collect();
                compare::pairs(&turns, 0.02)
            })
        });
        let (sees, worse, called) = (same.usually_sees(), same.worse, slower.worse);
        println!("| {} | {all} | {worse} | {called} | {sees} |", kind.name);
        let all_see = slower.sees.iter().all(|sees| *sees < 0.07);
        assert!(!all_see || is_seen(&slower, all), "{kind:?}: {slower:?}");
    }
}
