//! Whether what a server's memory grew by is what its connections take.

use crate::report::format;
use crate::report::model::{Conns, Verdict};

/// No server keeps a connection in less: its descriptor, its place in a table, what was said on it last.
const LEAST: f64 = 64.0;

/// Fewer connections are lost in the pages that memory comes in.
const ENOUGH: u64 = 500;

/// Connections that take so much less than later ones took memory that was there.
const MUCH_LESS: f64 = 3.0;

/// Notes it where the server of `conns`, which had `empty` bytes before, took its connections from memory that it had
/// freed earlier: their slope is nobody's then.
pub fn note(verdict: &mut Verdict, conns: &Conns, empty: Option<u64>) {
    let last = conns.steps.iter().rev().find_map(|step| Some((step.held, step.server_rss_bytes?)));
    let Some(((held, rss), empty)) = last.zip(empty) else { return };
    let each = (rss as f64 - empty as f64) / held.max(1) as f64;
    if let Some((upto, early, late)) = bend(conns, empty) {
        let text = format!(
            "the first {} connections took {} each and later ones {}: the server had memory left from earlier \
             connections, and the slope over all is too low; measure a server that was just started",
            format::count(upto),
            format::bytes(early.max(0.0)),
            format::bytes(late)
        );
        verdict.note("memory_reused", text);
    } else if held >= ENOUGH && each < LEAST {
        let text = format!(
            "the server's memory grew by {} a connection, which is less than one takes: it used memory again that it \
             had freed before, and the slope is too low; measure a server that was just started",
            format::bytes(each.max(0.0))
        );
        verdict.note("memory_reused", text);
    }
}

/// Where the way up is flat at first and steep later: up to how many connections, and what one took before and after.
fn bend(conns: &Conns, empty: u64) -> Option<(u64, f64, f64)> {
    let steps = conns.steps.iter().filter_map(|step| Some((step.held, step.server_rss_bytes? as f64)));
    let points: Vec<(u64, f64)> = [(0, empty as f64)].into_iter().chain(steps).collect();
    let (last, between) = points.split_last()?;
    let slope = |a: &(u64, f64), b: &(u64, f64)| {
        let held = b.0.saturating_sub(a.0);
        (held >= ENOUGH).then(|| (b.1 - a.1) / held as f64)
    };
    let cut = |middle: &(u64, f64)| {
        let (early, late) = (slope(&points[0], middle)?, slope(middle, last)?);
        (late >= LEAST && early * MUCH_LESS < late).then_some((middle.0, early, late))
    };
    between.iter().skip(1).filter_map(cut).next_back()
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

    /// Servers that were started with 3 MB, at 1,000, 5,000 and 19,000 connections.
    #[test]
    fn a_way_up_that_is_flat_first_is_noted_with_both_slopes() {
        for (why, kilobytes, found) in [
            ("152 bytes each from the first on", [3_152, 3_760, 5_888], None),
            (
                "no memory before 5,000 were there",
                [3_010, 3_050, 5_178],
                Some("10 B each and later ones 152 B"),
            ),
            ("a table that doubles", [3_400, 3_760, 6_500], None),
            ("fewer bytes the more there are", [3_500, 4_000, 5_000], None),
        ] {
            let steps = [1_000, 5_000, 19_000].into_iter().zip(kilobytes);
            let step = |(held, kb): (u64, u64)| ConnsStep {
                held,
                server_rss_bytes: Some(kb * 1_000),
                ..ConnsStep::default()
            };
            let conns = Conns { steps: steps.map(step).collect(), ..Conns::default() };
            let mut verdict = Verdict::default();
            note(&mut verdict, &conns, Some(3_000_000));
            match (found, verdict.notes.first()) {
                (Some(text), Some(note)) => assert!(note.text.contains(text), "{why}: {}", note.text),
                (None, None) => {}
                (found, noted) => panic!("{why}: {noted:?} for {found:?}"),
            }
        }
    }
}
