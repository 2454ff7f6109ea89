//! Several processes behind one port: what is asked for, and what does not go with it.

use super::{Address, Arguments, Parsed, Policy, Stats};
use crate::units;
use std::num::NonZero;
use std::thread::available_parallelism;

/// More processes than any machine at hand has processors for.
const WORKERS_MAX: usize = 1024;

/// Several processes behind one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    pub count: usize,
    /// What they are told, as it was said to the parent, but for the ports.
    pub words: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// From 0.
    pub number: usize,
    /// The parent's process id.
    pub parent: i32,
}

pub fn count(text: &str) -> Parsed<usize> {
    let count = if text == "auto" {
        Some(available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX))
    } else {
        units::count(text)
    };
    count.filter(|count| *count <= WORKERS_MAX).ok_or_else(String::new)
}

/// Reads `NUMBER:PARENT`.
pub fn worker(text: &str) -> Parsed<Worker> {
    let (number, parent) = text.split_once(':').ok_or_else(String::new)?;
    let parsed = number.parse().ok().zip(parent.parse().ok());
    parsed.map(|(number, parent)| Worker { number, parent }).ok_or_else(String::new)
}

/// The workers that are asked for. They serve no boards.
///
/// # Errors
/// One line, where something does not go with them.
pub fn workers(arguments: &mut Arguments, words: &[&str]) -> Parsed<Option<Workers>> {
    let Some(count) = arguments.workers else {
        if arguments.pin && arguments.worker.is_none() {
            return Err("--pin is about --workers".to_owned());
        }
        return Ok(None);
    };
    if let Some(what) = in_the_way(arguments, words) {
        return Err(format!(
            "{what} does not go with --workers, which serve echo on TCP ports and nothing else"
        ));
    }
    if arguments.stats == Some(Stats::Page) {
        return Err("--stats page would show one worker's numbers: with --workers, --stats ADDR:PORT gives \
                    each a port of its own, from PORT on"
            .to_owned());
    }
    if !arguments.listen_tls.is_empty() && arguments.tls_cert.is_none() {
        return Err("--listen-tls with --workers wants --tls-cert and --tls-key, the same for all".to_owned());
    }
    arguments.no_boards = true;
    arguments.policy = Some(Policy::Off);
    Ok(Some(Workers { count, words: for_workers(words) }))
}

/// What the user asked for that workers do not serve.
fn in_the_way(arguments: &Arguments, words: &[&str]) -> Option<&'static str> {
    const BOARDS: [&str; 3] = ["--board-lifetime", "--max-boards", "--max-board-members"];
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if arguments.policy.as_ref().is_some_and(|policy| *policy != Policy::Off) {
        return Some("--policy");
    }
    if arguments.listen.iter().chain(&arguments.listen_tls).any(is_unix) {
        return Some("a Unix socket");
    }
    if matches!(&arguments.stats, Some(Stats::At(address)) if is_unix(address)) {
        return Some("a Unix socket");
    }
    BOARDS.into_iter().find(|option| words.contains(option))
}

/// What is left of `words` when the parent has seen to its part.
fn for_workers(words: &[&str]) -> Vec<String> {
    const WITH_VALUE: [&str; 5] = ["--workers", "--listen", "--listen-tls", "--policy", "--stats"];
    const ALONE: [&str; 2] = ["--reuse-port", "--no-boards"];
    let mut left = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(word) {
            words.next();
        } else if !ALONE.contains(word) {
            left.push((*word).to_owned());
        }
    }
    left
}
