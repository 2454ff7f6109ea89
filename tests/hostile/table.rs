//! The cases as a table, in README.md.

use crate::Case;
use crate::scene::Figures;
use std::fmt::Write;
use std::fs;

const FILE: &str = "tests/hostile/README.md";
const HEAD: &str =
    "| case | what is done | what comes back | why | waited | memory |\n|---|---|---|---|---|---|\n";

/// Writes the table with the figures of this run in place of the one that is there.
pub fn write(rows: &[(&Case, Figures)]) {
    let text = fs::read_to_string(FILE).expect("it is run in the package's root");
    let (before, _) = text.split_once(HEAD).expect("it has a table");
    let mut text = format!("{before}{HEAD}");
    for (case, figures) in rows {
        let waited = figures.worst.as_secs_f64() * 1e3;
        let memory = figures.peak as f64 / f64::from(1 << 20);
        writeln!(text, "{} {waited:.1} ms | {memory:.1} MiB |", row(case)).expect("a string takes it");
    }
    fs::write(FILE, text).expect("it is ours");
}

/// The cases that the table tells otherwise, or not at all.
pub fn differences(cases: &[&Case]) -> Vec<String> {
    let text = fs::read_to_string(FILE).expect("it is run in the package's root");
    let missing = cases.iter().filter(|case| !text.contains(&row(case)));
    let missing = missing.map(|case| format!("{} is not as in {FILE}", case.id));
    let count = text.split_once(HEAD).map_or(0, |(_, rows)| rows.lines().count());
    let too_many =
        (count != cases.len()).then(|| format!("{FILE} has {count} cases, and not {}", cases.len()));
    missing.chain(too_many).collect()
}

fn row(case: &Case) -> String {
    format!("| {} | {} | {} | {} |", case.id, case.does, case.gets, case.why)
}
