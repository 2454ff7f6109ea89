//! Whether what a server's memory grew by is what its connections take.

use crate::report::format;
use crate::report::model::{Conns, Verdict};

/// No server keeps a connection in less: its descriptor, its place in a table, what was said on it last.
const LEAST: f64 = 64.0;

/// Fewer connections are lost in the pages that memory comes in.
const ENOUGH: u64 = 500;

/// Notes it where the server of `conns`, which had `empty` bytes before, took its connections from memory that it had
/// freed earlier: their slope is nobody's then.
pub fn note(verdict: &mut Verdict, conns: &Conns, empty: Option<u64>) {
    let last = conns.steps.iter().rev().find_map(|step| Some((step.held, step.server_rss_bytes?)));
    let Some(((held, rss), empty)) = last.zip(empty) else { return };
    let each = (rss as f64 - empty as f64) / held.max(1) as f64;
    if held >= ENOUGH && each < LEAST {
        let text = format!(
            "the server's memory grew by {} a connection, which is less than one takes: it used memory again that it \
             had freed before, and the slope is too low; measure a server that was just started",
            format::bytes(each.max(0.0))
        );
        verdict.note("memory_reused", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::ConnsStep;

    #[test]
    fn growth_that_cannot_be_all_is_noted() {
        for (why, held, rss, noted) in [
            ("152 bytes each", 10_000, 4_520_000, false),
            ("15 bytes each", 10_000, 3_150_000, true),
            ("less than before", 10_000, 2_900_000, true),
            ("too few to tell", 100, 3_000_000, false),
        ] {
            let step = ConnsStep { held, server_rss_bytes: Some(rss), ..ConnsStep::default() };
            let conns = Conns { steps: vec![step], ..Conns::default() };
            let mut verdict = Verdict::default();
            note(&mut verdict, &conns, Some(3_000_000));
            assert_eq!(!verdict.notes.is_empty(), noted, "{why}: {verdict:?}");
            note(&mut verdict, &conns, None);
            assert_eq!(!verdict.notes.is_empty(), noted, "{why}: nothing is known");
        }
    }
}
