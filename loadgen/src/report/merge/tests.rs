use super::*;
use crate::report::model::{Conns, Listen, Mode, Phase, SlowClients};
use hdrhistogram::Histogram;

fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
    let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    values.for_each(|v| h.record(v).unwrap());
    h
}

/// The part of 0..3000 that falls to shard `i` of 3: response times of `k² ns`.
fn shard(i: u32) -> Report {
    let values = || (0..3000u64).filter(|k| k % 3 == u64::from(i - 1)).map(|k| k * k);
    let mut report = Report::default();
    report.run.id = format!("r{i}");
    report.run.shard = Some([i, 3]);
    report.run.measured_from_unix_ns = 1_000_000_000_000;
    report.config.mode = Mode::Open;
    report.config.duration_ns = 2_000_000_000;
    report.connections.asked = 10;
    report.connections.held_min = 10;
    report.messages.sent = 1000;
    report.messages.target_rate = Some(500.0);
    report.latency_ns.response = Some(Stat::new(&histogram(values()), 0));
    report.intervals = (0..2i64)
        .map(|s| Interval {
            start_ns: s * 1_000_000_000 + i64::from(i),
            len_ns: 1_000_000_000,
            phase: Phase::Run,
            sent: 500,
            response: Some(Stat::new(&histogram(values().filter(|v| (v % 2) as i64 == s)), 0)),
            ..Interval::default()
        })
        .collect();
    report
}

#[test]
fn merged_percentiles_are_those_of_all_messages() {
    let merged = reports(&[shard(1), shard(2), shard(3)]).unwrap();
    let all = Stat::new(&histogram((0..3000).map(|k| k * k)), 0);
    assert_eq!(merged.latency_ns.response, Some(all));
    assert_eq!(merged.messages.sent, 3000);
    assert_eq!(merged.messages.target_rate, Some(1500.0));
    assert_eq!(merged.connections.held_min, 30);
    assert_eq!(merged.verdict.status, Status::Valid);
    assert_eq!(merged.intervals.len(), 2);
    assert_eq!(merged.intervals[1].sent, 1500);
    let odd = Stat::new(&histogram((0..3000).map(|k| k * k).filter(|v| v % 2 == 1)), 0);
    assert_eq!(merged.intervals[1].response, Some(odd));
}

#[test]
fn merging_in_steps_gives_the_same_as_at_once() {
    let at_once = reports(&[shard(1), shard(2), shard(3)]).unwrap();
    let pair = reports(&[shard(1), shard(2)]).unwrap();
    let in_steps = reports(&[pair, shard(3)]).unwrap();
    assert_eq!(at_once.latency_ns.response, in_steps.latency_ns.response);
    assert_eq!(in_steps.parts.len(), 3);
}

/// Who listens, who reads slowly, and who climbs are more by every part.
#[test]
fn what_the_parts_found_adds_up() {
    let part = |i: u32| {
        let [few, many] = [1, 10].map(|n| n * u64::from(i));
        let mut part = shard(i);
        part.listen = Some(Listen { received: many, unstamped: few, ahead: 2, ..Listen::default() });
        part.slow_readers = Some(SlowClients {
            connections: few,
            rate: 100,
            received: many,
            unanswered: few,
            bytes_read: many,
            achieved_rate: 30.0 * f64::from(i),
        });
        let step = ConnsStep { asked: many, held: few, opened_per_s: 100.0, ..ConnsStep::default() };
        part.conns = Some(Conns { steps: vec![step], ..Conns::default() });
        part
    };
    let whole = reports(&[part(1), part(2), part(3)]).unwrap();
    let listen = whole.listen.unwrap();
    assert_eq!((listen.received, listen.unstamped, listen.ahead), (60, 6, 6));
    let slow = whole.slow_readers.unwrap();
    assert_eq!((slow.connections, slow.received, slow.unanswered, slow.bytes_read), (6, 60, 6, 60));
    // One reads at 30, two at 60, three at 90.
    assert!((slow.achieved_rate - 70.0).abs() < 1e-9 && slow.rate == 100, "{slow:?}");
    let step = &whole.conns.unwrap().steps[0];
    assert_eq!((step.asked, step.held, step.opened_per_s), (60, 6, 300.0));
}

/// Parts of one host began by one clock; of several, by clocks whose errors add up, if anybody knows them.
#[test]
fn how_far_apart_clocks_may_be_is_said() {
    let on = |i: u32, host: &str, error: Option<u64>| {
        let mut part = shard(i);
        part.host.name = Some(host.into());
        part.host.clock_error_ns = error.map(|ms| ms * 1_000_000);
        part
    };
    let said = |parts: &[Report]| -> Vec<String> {
        let notes = reports(parts).unwrap().verdict.notes;
        notes.into_iter().filter(|note| note.code == "clocks").map(|note| note.text).collect()
    };
    assert_eq!(said(&[on(1, "a", None), on(2, "a", None), on(3, "a", Some(9))]), [""; 0]);
    let pair = [on(1, "a", Some(1)), on(2, "b", Some(2))];
    let both = said(&pair);
    assert!(both.len() == 1 && both[0].contains("2 hosts, which may be 3 ms apart"), "{both:?}");
    let pair = reports(&pair).unwrap();
    let all = said(&[pair.clone(), on(3, "c", Some(4))]);
    assert!(all.len() == 1 && all[0].contains("3 hosts, which may be 6 ms apart"), "{all:?}");
    let all = said(&[pair, on(3, "c", None)]);
    assert!(all.len() == 1 && all[0].contains("nobody keeps that of c"), "{all:?}");
}

#[test]
fn a_missing_shard_makes_the_whole_invalid() {
    let merged = reports(&[shard(1), shard(3)]).unwrap();
    assert_eq!(merged.verdict.status, Status::Invalid);
    assert!(merged.verdict.reasons[0].text.contains("2 of 3 shards in 2 reports"));
}

#[test]
fn the_worst_verdict_wins_and_names_its_part() {
    let mut bad = shard(2);
    bad.verdict.status = Status::Faulty;
    bad.verdict.reasons = vec![Finding::new("own_slip", "it was late")];
    let merged = reports(&[shard(1), bad, shard(3)]).unwrap();
    assert_eq!(merged.verdict.status, Status::Faulty);
    assert_eq!(merged.verdict.reasons, [Finding::new("own_slip", "r2: it was late")]);
}

#[test]
fn parts_that_ran_one_after_the_other_are_suspect() {
    let mut late = shard(3);
    late.run.measured_from_unix_ns += 1_000_000_000;
    let merged = reports(&[shard(1), shard(2), late]).unwrap();
    assert_eq!(merged.verdict.status, Status::Invalid);
    assert!(merged.verdict.reasons[0].text.contains("1 s apart"), "{:?}", merged.verdict.reasons);
}

#[test]
fn what_does_not_add_up_is_refused() {
    let other = |change: fn(&mut Report)| {
        let mut report = shard(2);
        change(&mut report);
        reports(&[shard(1), report]).unwrap_err()
    };
    assert!(other(|r| r.run.id = "r1".into()).contains("given twice"));
    assert!(other(|r| r.config.mode = Mode::Closed).contains("differ in mode"));
    assert!(other(|r| r.config.size.bytes = 1).contains("differ in message size"));
    assert!(other(|r| r.config.think = Some("1s".into())).contains("differ in think"));
    assert!(other(|r| r.slow_readers = Some(SlowClients::default())).contains("differ in slow readers"));
    assert!(other(|r| r.config.draft = 76).contains("differ in draft"));
    assert!(other(|r| r.config.deflate = true).contains("differ in compression"));
    assert!(other(|r| r.find = Some(Default::default())).contains("cannot be merged"));
    assert!(other(|r| r.latency_ns.response.as_mut().unwrap().hdr = None).contains("no histogram"));
    assert!(reports(&[]).is_err());
}
