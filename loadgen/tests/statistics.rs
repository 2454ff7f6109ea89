//! What the intervals and judgements of reports are worth, held against queues whose truth is known: simulated, seeded,
//! in virtual time.

#[path = "statistics/queue.rs"]
mod queue;

use loadgen::report::blocks::Blocks;
use queue::{Arrivals, Queue};

const KEYS: [(&str, f64); 3] = [("50", 0.5), ("90", 0.9), ("99", 0.99)];

/// How often the interval held the truth, and was there at all, by percentile.
#[derive(Clone, Copy, Debug, Default)]
struct Coverage {
    runs: u32,
    printed: [u32; 3],
    covered: [u32; 3],
    below: [u32; 3],
    width: [f64; 3],
}

fn coverage(queue: Queue, seconds: usize, rate: f64, runs: u32) -> Coverage {
    let mut found = Coverage { runs, ..Coverage::default() };
    for seed in 0..runs {
        let histograms = queue.run(u64::from(seed) + 1, seconds, rate);
        let Ok(evidence) = Blocks::new(&histograms, seconds as f64).evidence(0.025) else { continue };
        for (i, (key, q)) in KEYS.into_iter().enumerate() {
            let Some((_, bounds)) = evidence.percentiles.iter().find(|(k, _)| *k == key) else { continue };
            let truth = queue.quantile(q, rate);
            found.printed[i] += 1;
            // A histogram knows a value to a thousandth.
            found.covered[i] += u32::from(bounds.low <= truth && truth <= bounds.high);
            found.below[i] += u32::from(truth > bounds.high);
            found.width[i] += (bounds.high - bounds.low) / 2.0 / truth;
        }
    }
    found
}

#[test]
fn table() {
    let runs = 400;
    for (seconds, rate) in [(30, 100.0), (30, 1000.0)] {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            for load in [0.0, 0.5, 0.8, 0.9] {
                let c = coverage(Queue { arrivals, load }, seconds, rate, runs);
                let mut line = format!("{seconds} s {rate}/s {arrivals:?} {load}:");
                for i in 0..3 {
                    let p = f64::from(c.printed[i]).max(1.0);
                    line += &format!(
                        "  p{} {:.3} (+{:.3}) pr {:.2} w {:.2}",
                        KEYS[i].0,
                        f64::from(c.covered[i]) / p,
                        f64::from(c.below[i]) / p,
                        p / f64::from(runs),
                        c.width[i] / p
                    );
                }
                println!("{line}");
            }
        }
    }
}
