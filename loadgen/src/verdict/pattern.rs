//! Patterns in the times that name their cause.

use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::recorder::Times;
use crate::report::format;
use crate::report::model::Signature;
use crate::verdict::facts::Facts;

const MS: u64 = 1_000_000;

/// What the times of a run look like.
pub fn find(measured: &Measured, opening: &Opening, facts: &Facts) -> Vec<Signature> {
    // Of messages without a reply only the age is known, which is no time that a server took.
    let wire = &measured.total.wire.without(&measured.outcome.unanswered);
    let mut found = Vec::new();
    let late = peak(wire, 36 * MS..48 * MS);
    let later = peak(wire, 200 * MS..240 * MS);
    let least = wire.histogram.min();
    // Where no reply is faster, there is one delay and no two kinds of replies.
    let apart = |band: u64| least < band;
    if let Some(share) = late.filter(|_| apart(36 * MS)) {
        let text = "replies cluster at 40 ms, as where a delayed ACK meets Nagle's algorithm (is TCP_NODELAY set on the \
                    server, and a frame written in one piece?), or by a timer of the server's";
        found.push(signature("cluster_40ms", share, text.into()));
    }
    if let Some(share) = later.filter(|_| apart(200 * MS)) {
        let slow = (share * wire.histogram.len() as f64) as u64;
        if measured.outcome.sent_again * 2 > slow {
            let text = format!(
                "replies cluster at 200 ms, TCP's least retransmission time-out, and {} segments were sent again on these \
                 connections: segments are being lost",
                format::count(measured.outcome.sent_again)
            );
            found.push(signature("retransmission", share, text));
        } else {
            let text = "replies cluster at 200 ms, and hardly a segment was sent again on these connections: a timer of \
                        the server's, or losses on its side";
            found.push(signature("cluster_200ms", share, text.into()));
        }
    }
    if !wire.histogram.is_empty() && least >= MS {
        let text = format!(
            "no reply took less than {}: a delay of the network's or the server's, or a queue that was never empty",
            format::ns(least)
        );
        found.push(signature("fixed_delay", 1.0, text));
    }
    let response = &measured.total.response;
    if let Some((period, depth, share)) = stalls(&measured.outcome.peaks)
        && stopped(response, period, depth)
    {
        let text = format!(
            "every {} replies wait for up to {}, and so do those due meanwhile: the server stops for as long (a \
             collector's pause, a timer or a neighbour)",
            format::ns(period),
            format::ns(depth)
        );
        found.push(signature("periodic_stall", share, text));
    }
    let again: u64 = [900..1_500, 2_900..3_700, 6_800..8_000]
        .into_iter()
        .map(|ms| opening.connect.histogram.count_between(ms.start * MS, ms.end * MS))
        .sum();
    if again > 0 && facts.syn_retransmits > 0 {
        let text =
            "connects take 1, 3 or 7 s, and SYNs were sent again: the listener's backlog is full, or SYNs are lost"
                .into();
        found.push(signature("syn_retransmit", again as f64 / opening.connect.histogram.len() as f64, text));
    }
    let pings = &measured.total.counts;
    if pings.pings_sent > 0 && pings.pongs_received * 2 < pings.pings_sent {
        let share = 1.0 - pings.pongs_received as f64 / pings.pings_sent as f64;
        found.push(signature(
            "no_pong",
            share,
            "the server does not answer pings (RFC 6455 section 5.5.2)".into(),
        ));
    }
    found
}

fn signature(kind: &str, share: f64, text: String) -> Signature {
    Signature { kind: kind.to_owned(), share, text: Some(text) }
}

/// The share of samples within `band`, when it stands out against as wide a band on either side.
fn peak(times: &Times, band: std::ops::Range<u64>) -> Option<f64> {
    let width = band.end - band.start;
    let count = |from: u64, to: u64| times.histogram.count_between(from, to);
    let within = count(band.start, band.end - 1);
    let around = count(band.start.saturating_sub(width), band.start - 1) + count(band.end, band.end + width);
    (within >= 10 && within > 3 * around).then(|| within as f64 / times.histogram.len() as f64)
}

/// Whether as many messages waited as are due while a server stops for `depth` every `period`. One late message now and
/// then, however regular, is no stop.
fn stopped(response: &Times, period: u64, depth: u64) -> bool {
    let waited = response.histogram.count_between(depth / 2, u64::MAX) as f64;
    let expected = response.histogram.len() as f64 * (depth / 2) as f64 / period as f64;
    waited * 2.0 > expected
}

/// Period and depth of regular stalls, nanoseconds, and the share of the time they take, from the longest response in
/// each 10 ms of the schedule (microseconds).
///
/// Who is due during a stall waits for the rest of it, so that a stall is a jump to its depth and a slope down from
/// there. Three jumps at even distances are a period.
fn stalls(peaks: &[u32]) -> Option<(u64, u64, f64)> {
    let mut sorted: Vec<u32> = peaks.iter().copied().filter(|p| *p > 0).collect();
    sorted.sort_unstable();
    let usual = *sorted.get(sorted.len() / 2)?;
    let high = usual.saturating_mul(10).max(20_000);
    let mut jumps: Vec<(usize, u32)> = Vec::new();
    for (i, &p) in peaks.iter().enumerate() {
        let before = if i > 0 { peaks[i - 1] } else { 0 };
        match jumps.last_mut() {
            // The piece in which a stall begins may hold less than its depth.
            Some((at, depth)) if i - *at <= 1 => *depth = (*depth).max(p),
            _ if p > high && p > before.saturating_mul(2) => jumps.push((i, p)),
            _ => {}
        }
    }
    // What the host does in between is shallower.
    let deepest = jumps.iter().map(|(_, depth)| *depth).max()?;
    jumps.retain(|(_, depth)| *depth > deepest / 2);
    if jumps.len() < 4 {
        return None;
    }
    let mut gaps: Vec<usize> = jumps.windows(2).map(|w| w[1].0 - w[0].0).collect();
    gaps.sort_unstable();
    let usual = gaps[gaps.len() / 2] as f64;
    let even = gaps.iter().filter(|gap| (**gap as f64 - usual).abs() <= 0.15 * usual).count();
    if even * 4 < gaps.len() * 3 {
        return None;
    }
    let mut depths: Vec<u32> = jumps.iter().map(|(_, depth)| *depth).collect();
    depths.sort_unstable();
    let depth = u64::from(depths[depths.len() / 2]) * 1000;
    let period = (usual * 10.0 * MS as f64) as u64;
    Some((period, depth, depth as f64 / period as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commands::Outcome;
    use crate::host::clock::Nanos;

    fn stalling(period: impl Fn(usize) -> usize) -> Vec<u32> {
        let mut peaks = vec![300u32; 1000];
        let mut at = 37;
        for n in 0.. {
            for i in 0..20 {
                if let Some(p) = peaks.get_mut(at + i) {
                    *p = 200_000 - i as u32 * 10_000;
                }
            }
            at += period(n);
            if at >= 1000 {
                break;
            }
        }
        peaks
    }

    #[test]
    fn regular_stalls_are_told_from_irregular_ones() {
        let (period, depth, share) = stalls(&stalling(|_| 100)).unwrap();
        assert_eq!((period / MS, depth / MS), (1000, 200));
        assert!((share - 0.2).abs() < 0.01);
        assert_eq!(stalls(&stalling(|n| [40, 170, 90, 230][n % 4])), None);
        assert_eq!(stalls(&vec![300; 1000]), None);
        assert_eq!(stalls(&[]), None);
    }

    /// Only what was sent again on the connections of the run is evidence of losses.
    #[test]
    fn losses_are_named_where_segments_were_sent_again() {
        let facts = Facts::default();
        let kinds = |sent_again| {
            let outcome = Outcome { sent_again, ..Outcome::default() };
            let mut measured = Measured { outcome, ..Measured::default() };
            (0..1000).for_each(|_| measured.total.wire.record(Nanos(MS / 10)));
            (0..100).for_each(|i| measured.total.wire.record(Nanos(205 * MS + i * 10_000)));
            let found = find(&measured, &Opening::default(), &facts);
            found.into_iter().map(|signature| signature.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(0), ["cluster_200ms"]);
        assert_eq!(kinds(20), ["cluster_200ms"], "not for a fifth of them");
        assert_eq!(kinds(90), ["retransmission"]);
    }

    #[test]
    fn a_peak_stands_out_or_is_none() {
        let mut times = Times::default();
        (0..1000).for_each(|i| times.record(Nanos(50_000 + i)));
        (0..500).for_each(|i| times.record(Nanos(40 * MS + i * 1000)));
        assert!((peak(&times, 36 * MS..48 * MS).unwrap() - 1.0 / 3.0).abs() < 0.01);
        // The slope of a stall has no peak at 40 ms.
        let mut times = Times::default();
        (0..2000).for_each(|i| times.record(Nanos(i * MS / 10)));
        assert_eq!(peak(&times, 36 * MS..48 * MS), None);
    }
}
