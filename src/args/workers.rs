//! Several processes behind one port: what is asked for, and what does not go with it.

use crate::units;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// More processes than any machine at hand has processors for.
const WORKERS_MAX: usize = 1024;

/// Several processes behind one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// How many.
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

/// Reads a number of workers, or `auto` for one a processor.
pub fn count(text: &str) -> Result<usize, String> {
    let count = if text == "auto" { Some(processors().min(WORKERS_MAX)) } else { units::count(text) };
    count.filter(|count| *count <= WORKERS_MAX).ok_or_else(String::new)
}

/// Processors that this process may use.
fn processors() -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    allowed.map_or(1, |set| (0..CpuSet::count()).filter(|at| set.is_set(*at) == Ok(true)).count())
}

/// Reads `NUMBER:PARENT`.
pub fn worker(text: &str) -> Result<Worker, String> {
    let (number, parent) = text.split_once(':').ok_or_else(String::new)?;
    let parsed = number.parse().ok().zip(parent.parse().ok());
    parsed.map(|(number, parent)| Worker { number, parent }).ok_or_else(String::new)
}

/// An option among `words` that is about boards, which workers do not serve.
pub fn about_boards(words: &[&str]) -> Option<&'static str> {
    const BOARDS: [&str; 3] = ["--board-lifetime", "--max-boards", "--max-board-members"];
    BOARDS.into_iter().find(|option| words.contains(option))
}

/// What is left of `words` when the parent has seen to its part.
pub fn for_workers(words: &[&str]) -> Vec<String> {
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
