//! What loadgen reports of servers whose truth is known.
//!
//! Every test is a row of the table in the README here. To print them:
//! `cargo test --release -p loadgen --test truth -- --nocapture --test-threads=1 | grep '^|'`
//!
//! The truth of a run is the server's own log of it. A response cannot end before the server began to write the reply;
//! from above it is bounded by what passed between that write and the read, of which the report's own figures of this
//! host tell.

#[path = "../support/mod.rs"]
mod support;

mod server;

mod find;
mod order;
mod people;
mod queues;
mod services;
mod starved;

use loadgen::report::{Report, Stat};
use server::Handled;
use support::disturbance;
use support::frame;
use support::front::reach;

const MS: u64 = 1_000_000;

const fn ms(n: u64) -> std::time::Duration {
    std::time::Duration::from_millis(n)
}

/// The value below which a share `q` of `sorted` lies.
fn at(sorted: &[u64], q: f64) -> u64 {
    sorted[((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// The responses by the server's log: from the time a message was due, where it says so, to the reply's write.
fn truth(log: &[Handled]) -> Vec<u64> {
    let mut times: Vec<u64> = log.iter().filter(|m| m.left > 0).map(|m| m.left - since(m)).collect();
    times.sort_unstable();
    times
}

fn since(m: &Handled) -> u64 {
    if m.due > 0 { m.due } else { m.arrived }
}

/// `stat` agrees with `truth` at p50, p90 and p99: not below it, and above it by no more than this host explains.
#[track_caller]
fn agrees(report: &Report, stat: &Stat, truth: &[u64]) {
    let h = stat.histogram().unwrap();
    for q in [0.5, 0.9, 0.99] {
        let (found, true_) = (h.value_at_quantile(q), at(truth, q));
        // Three digits are what a histogram keeps.
        assert!(found >= true_ - true_ / 500, "p{}: {found} for {true_}", q * 100.0);
        let most = true_ + true_ / 20 + MS + disturbance(report);
        assert!(found <= most, "p{}: {found} for {true_}, at most {most}", q * 100.0);
    }
}

/// A row of the table: the server, the load, the truth, what the report says of it, and in which words.
fn row(server: &str, load: &str, truth: &str, found: &str, words: &str) {
    // The test's own line is not finished.
    println!("\n| {server} | `{load}` | {truth} | {found} | {words} |");
}

/// p50, p90 and p99 as a cell.
fn cell(percentile: impl Fn(f64) -> u64) -> String {
    let ms = |q| format!("{:.1}", percentile(q) as f64 / 1e6);
    format!("{} / {} / {} ms", ms(0.5), ms(0.9), ms(0.99))
}

fn truth_cell(truth: &[u64]) -> String {
    cell(|q| at(truth, q))
}

fn stat_cell(stat: &Stat) -> String {
    let h = stat.histogram().unwrap();
    cell(|q| h.value_at_quantile(q))
}

/// The codes of what the verdict says, after its status.
fn words(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut words = vec![loadgen::report::status_word(verdict.status).to_owned()];
    for lines in [&verdict.reasons, &verdict.findings] {
        words.extend(support::codes(lines).iter().map(|code| format!("`{code}`")));
    }
    words.join(" ")
}
