//! What the intervals and judgements of reports are worth, held against queues whose truth is known: simulated, seeded,
//! in virtual time.

#[path = "statistics/queue.rs"]
mod queue;

use hdrhistogram::Histogram;
use loadgen::report::blocks::Blocks;
use loadgen::report::compare::{self, Decision};
use loadgen::report::model::{Interval, Phase, Report, Stat};
use queue::{Arrivals, Queue};

const KEYS: [(&str, f64); 3] = [("50", 0.5), ("90", 0.9), ("99", 0.99)];

/// How often there was an interval, and how often it held the truth, by percentile.
#[derive(Clone, Copy, Debug, Default)]
struct Coverage {
    printed: [u32; 3],
    covered: [u32; 3],
}

fn coverage(queue: Queue, rate: f64, runs: u32) -> Coverage {
    let mut found = Coverage::default();
    for seed in 0..runs {
        let histograms = queue.run(u64::from(seed) + 1, 30, rate);
        let Ok(evidence) = Blocks::new(&histograms, 30.0).evidence(0.025) else { continue };
        for (i, (key, q)) in KEYS.into_iter().enumerate() {
            let Some((_, bounds)) = evidence.percentiles.iter().find(|(k, _)| *k == key) else { continue };
            assert!(bounds.low <= bounds.value && bounds.value <= bounds.high, "{bounds:?}");
            let truth = queue.quantile(q, rate);
            found.printed[i] += 1;
            found.covered[i] += u32::from(bounds.low <= truth && truth <= bounds.high);
        }
    }
    found
}

/// Runs of the default length, at the default rate and at ten times as much. What is asked for is a coverage of 90 to
/// 98 %, and of 100 runs a share has a standard error of up to 3 %.
#[test]
fn intervals_cover_the_truth_of_queues_and_are_there_up_to_80_per_cent_load() {
    for (rate, runs) in [(100.0, 300), (1000.0, 100)] {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            for load in [0.0, 0.8, 0.9] {
                let found = coverage(Queue { arrivals, load }, rate, runs);
                for (i, (key, _)) in KEYS.into_iter().enumerate() {
                    let (printed, covered) = (found.printed[i], found.covered[i]);
                    let share = f64::from(covered) / f64::from(printed.max(1));
                    println!(
                        "{rate}/s {arrivals:?} load {load} p{key}: {printed} of {runs}, {share:.3} cover"
                    );
                    assert!((0.86..=0.999).contains(&share), "{arrivals:?} {load} p{key}: {found:?}");
                    assert!(load > 0.8 || printed * 100 >= runs * 95, "{arrivals:?} {load}: {found:?}");
                }
            }
        }
    }
}

/// Of a run in which the queue only grows no percentile is anybody's, and no length will do; one that is merely short
/// says how long it would have to be, and at that length has intervals.
#[test]
fn a_run_too_short_says_how_long_would_do() {
    let queue = Queue { arrivals: Arrivals::Poisson, load: 0.95 };
    let mut refused = 0;
    for seed in 1..=40 {
        let seconds = |n: usize| Blocks::new(&queue.run(seed, n, 100.0), n as f64).evidence(0.025);
        if let Err(short) = seconds(30) {
            refused += 1;
            assert!(short.needed_s > 30.0 && short.needed_s < 3600.0, "{short:?}");
        }
        assert!(seconds(3).is_err(), "three blocks say nothing about blocks");
    }
    assert!(refused >= 25, "only {refused} of 40 runs were refused");
    // That takes about 25 s · 400 of its correlation times a second.
    let enough =
        (1..=10).filter(|seed| Blocks::new(&queue.run(*seed, 600, 100.0), 600.0).evidence(0.025).is_ok());
    assert!(enough.count() >= 9);
}

/// A report of a run of the default length against `queue`, whose messages take `slower` times as long.
fn report(queue: Queue, seed: u64, rate: f64, slower: f64) -> Report {
    let mut report = Report::default();
    let mut total = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3).unwrap();
    for (second, h) in queue.run(seed, 30, rate).iter().enumerate() {
        let mut scaled = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3).unwrap();
        for bucket in h.iter_recorded() {
            let value = (bucket.value_iterated_to() as f64 * slower) as u64;
            scaled.record_n(value, bucket.count_at_value()).unwrap();
        }
        total.add(&scaled).unwrap();
        report.intervals.push(Interval {
            start_ns: second as i64 * 1_000_000_000,
            len_ns: 1_000_000_000,
            phase: Phase::Run,
            sent: h.len(),
            received: h.len(),
            response: Some(Stat::new(&scaled, 0)),
            ..Interval::default()
        });
    }
    report.messages.sent = total.len();
    report.messages.received = total.len();
    report.messages.achieved_rate = total.len() as f64 / 30.0;
    report.messages.answered_rate = report.messages.achieved_rate;
    report.latency_ns.response = Some(Stat::new(&total, 0));
    report
}

/// How many comparisons of `runs` call a pair of the same server worse, and how many one that takes a tenth longer.
#[derive(Debug)]
struct Calls {
    pairs: u32,
    alarms: u32,
    seen: u32,
}

fn calls(queue: Queue, runs: u64) -> Calls {
    let reports = |slower| (1..=runs).map(|seed| report(queue, seed, 100.0, slower)).collect::<Vec<_>>();
    let (same, slower) = (reports(1.0), reports(1.1));
    let mut found = Calls { pairs: 0, alarms: 0, seen: 0 };
    let worse = |a, b| u32::from(matches!(compare::reports(a, b, 0.02).decision(), Decision::Worse(_)));
    for i in 0..same.len() {
        for j in [1, 2, 3].map(|step| (i + step) % same.len()) {
            found.pairs += 1;
            found.alarms += worse(&same[i], &same[j]);
            found.seen += worse(&same[i], &slower[j]);
        }
    }
    found
}

#[test]
fn compare_calls_a_tenth_more_and_hardly_ever_nothing() {
    for (queue, power) in [
        (Queue { arrivals: Arrivals::Poisson, load: 0.0 }, true),
        (Queue { arrivals: Arrivals::Even, load: 0.8 }, false),
        (Queue { arrivals: Arrivals::Poisson, load: 0.9 }, false),
    ] {
        let found = calls(queue, 50);
        println!("{queue:?}: {found:?}");
        // One in twenty, and what chance adds to that in so many pairs (two standard errors).
        assert!(found.alarms * 20 <= found.pairs + 11, "{queue:?}: {found:?}");
        assert!(!power || found.seen * 10 >= found.pairs * 9, "{queue:?}: {found:?}");
    }
}
