//! The cases as a table, in README.md.

use crate::Case;
use crate::scene::Figures;
use std::fmt::Write;
use std::fs;

const FILE: &str = "tests/hostile/README.md";
const HEAD: &str =
    "| case | what is done | what comes back | why | waited | memory |\n|---|---|---|---|---|---|\n";

/// Writes the table of all cases: the figures of this run, and the old ones of what was not run.
pub fn write(cases: &[&Case], run: &[(&Case, Figures)]) {
    let text = fs::read_to_string(FILE).expect("it is run in the package's root");
    let (before, old) = text.split_once(HEAD).expect("it has a table");
    let mut text = format!("{before}{HEAD}");
    for case in cases {
        let row = row(case);
        if let Some((_, figures)) = run.iter().find(|(other, _)| other.id == case.id) {
            let waited = figures.worst.as_secs_f64() * 1e3;
            let memory = figures.peak as f64 / f64::from(1 << 20);
            writeln!(text, "{row} {waited:.1} ms | {memory:.1} MiB |").expect("a string takes it");
        } else if let Some(line) = old.lines().find(|line| line.starts_with(&row)) {
            writeln!(text, "{line}").expect("a string takes it");
        }
    }
    fs::write(FILE, text).expect("it is ours");
}

/// What is wrong with the table that is there, but for its figures.
pub fn differences(cases: &[&Case]) -> Vec<String> {
    let text = fs::read_to_string(FILE).expect("it is run in the package's root");
    let count = text.split_once(HEAD).map_or(0, |(_, rows)| rows.lines().count());
    let mut found: Vec<String> = Vec::new();
    if cases.iter().any(|case| !text.contains(&row(case))) || count != cases.len() {
        found.push(format!("{FILE} tells other cases: --table mends it"));
    }
    found
}

fn row(case: &Case) -> String {
    format!("| {} | {} | {} | {} |", case.id, case.does, case.gets, case.why)
}
