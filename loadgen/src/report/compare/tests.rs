//! What is called worse, and what is not.

use super::*;
use crate::report::model::{
    Fanout, Find, Finding, Interval, Phase, SlowClients, Stat, Storm, Trust, WordCounts,
};
use hdrhistogram::Histogram;

/// Fifteen one-second intervals of 1,000 response times around `scale` ns, log-normal-ish, from `seed`.
fn run(seed: u64, scale: f64) -> Report {
    let mut rng = fastrand::Rng::with_seed(seed);
    let new = || Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    let mut total = new();
    let mut report = Report::default();
    for s in 0..15 {
        let mut h = new();
        for _ in 0..1000 {
            let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            h.record((scale * (0.4 * normal).exp()) as u64).unwrap();
        }
        total.add(&h).unwrap();
        report.intervals.push(Interval {
            start_ns: s * 1_000_000_000,
            len_ns: 1_000_000_000,
            phase: Phase::Run,
            achieved_rate: 1000.0,
            sent: 1000,
            received: 1000,
            response: Some(Stat::new(&h, 0)),
            ..Interval::default()
        });
    }
    report.latency_ns.response = Some(Stat::new(&total, 0));
    report.messages.achieved_rate = 1000.0;
    report.messages.answered_rate = 1000.0;
    report
}

fn row<'a>(c: &'a Comparison, what: &str) -> &'a Row {
    c.rows.iter().find(|r| r.what == what).unwrap()
}

#[test]
fn a_report_is_the_same_as_itself() {
    let a = run(7, 60_000.0);
    let c = reports(&a, &a, 0.0);
    assert!(c.rows.len() >= 5 && c.rows.iter().all(|r| r.change == Change::Same), "{c:?}");
}

#[test]
fn two_runs_of_one_server_are_within_noise() {
    let c = reports(&run(1, 60_000.0), &run(2, 60_000.0), 0.02);
    assert_eq!(c.regressions().count(), 0, "{}", c.text(false));
}

#[test]
fn ten_per_cent_slower_is_a_regression_and_ten_faster_is_not() {
    let (a, b) = (run(1, 60_000.0), run(2, 66_000.0));
    let slower = reports(&a, &b, 0.02);
    let p50 = row(&slower, "p50");
    assert_eq!(p50.change, Change::Worse, "{}", slower.text(false));
    let [low, high] = p50.interval.unwrap();
    assert!(low > 0.05 && low < 0.1 && high > 0.1 && high < 0.15, "{low} {high}");
    let painted = slower.text(true);
    assert!(painted.contains("\x1b[1;31mREGRESSION\x1b[0m"), "{painted}");
    assert!(!slower.text(false).contains('\x1b'), "nothing in a file");
    assert!(slower.rows.iter().all(|row| row.sees.is_some_and(|sees| sees > 0.0)), "{}", slower.text(false));
    assert_eq!(row(&reports(&b, &a, 0.02), "p50").change, Change::Better);
}

/// In an open loop the schedule makes the rate, and another Poisson seed another one.
#[test]
fn a_lower_rate_is_a_regression_where_the_server_makes_it() {
    let a = run(1, 60_000.0);
    let mut b = run(2, 60_000.0);
    b.messages.achieved_rate = 900.0;
    b.messages.answered_rate = 900.0;
    b.intervals.iter_mut().for_each(|i| (i.sent, i.received) = (900, 900));
    assert_eq!(reports(&a, &b, 0.02).regressions().count(), 0);
    b.messages.answered_rate = 800.0;
    b.intervals.iter_mut().for_each(|i| i.received = 800);
    let c = reports(&a, &b, 0.02);
    assert_eq!(row(&c, "answered").change, Change::Worse, "{}", c.text(false));
    let closed = |mut r: Report| {
        r.config.mode = Mode::Closed;
        r
    };
    let c = reports(&closed(a), &closed(b), 0.02);
    assert_eq!(row(&c, "rate").change, Change::Worse, "{}", c.text(false));
}

/// One second in fifteen was bad: the run's p99 is its doing, and a bootstrap over seconds knows.
#[test]
fn one_bad_second_is_noise_not_a_regression() {
    let a = run(1, 60_000.0);
    let mut b = run(2, 60_000.0);
    let mut h = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    (0..1000).for_each(|_| h.record(5_000_000).unwrap());
    b.intervals[9].response = Some(Stat::new(&h, 0));
    let mut total = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for i in &b.intervals {
        total.add(i.response.as_ref().unwrap().histogram().unwrap()).unwrap();
    }
    b.latency_ns.response = Some(Stat::new(&total, 0));
    let c = reports(&a, &b, 0.02);
    assert!(row(&c, "p99").new > 10.0 * row(&c, "p99").old);
    assert_eq!(row(&c, "p99").change, Change::Noise, "{}", c.text(false));
}

/// Of a sound run and one in which a twentieth of the messages had no reply.
#[test]
fn an_interval_holds_its_own_estimate() {
    let (a, mut b) = (run(1, 60_000.0), run(2, 60_000.0));
    let mut total = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for interval in &mut b.intervals {
        let mut h = interval.response.as_ref().unwrap().histogram().unwrap();
        h.record_n(2_000_000_000, 50).unwrap();
        total.add(&h).unwrap();
        interval.response = Some(Stat::new(&h, 0));
    }
    b.latency_ns.response = Some(Stat::new(&total, 0));
    for c in [reports(&a, &b, 0.02), reports(&b, &a, 0.02)] {
        assert!(row(&c, "p99").change().abs() > 0.9, "{}", c.text(false));
        for row in &c.rows {
            let [low, high] = row.interval.unwrap();
            assert!(low <= row.change() && row.change() <= high, "{}: {}", row.what, c.text(false));
        }
    }
}

#[test]
fn runs_of_different_rates_are_not_judged() {
    let mut a = run(1, 60_000.0);
    let mut b = run(2, 900_000.0);
    (a.config.rate, b.config.rate) = (Some(1000.0), Some(50.0));
    let c = reports(&a, &b, 0.02);
    let why = "not judged: the runs were given different rates, 1k/s and 50/s";
    assert!(matches!(c.decision(), Decision::NotJudged(text) if text.ends_with(why)), "{:?}", c.decision());
    assert!(!c.text(false).contains("REGRESSION"), "{}", c.text(false));
    assert!(c.text(false).contains("   not judged"), "{}", c.text(false));
    b.config.rate = Some(1000.0);
    let worse = reports(&a, &b, 0.02).decision();
    assert!(matches!(&worse, Decision::Worse(text) if text.starts_with("regression: p50")), "{worse:?}");
    b.config.size.bytes = 200_000;
    let unlike = reports(&a, &b, 0.02).decision();
    assert!(matches!(&unlike, Decision::NotJudged(text) if text.contains("message size")), "{unlike:?}");
}

/// What was asked for in another way may be all that the numbers show.
#[test]
fn unlike_runs_are_not_judged() {
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 13] = [
        ("different kinds", |r| r.config.mode = Mode::Closed),
        ("connections", |r| r.config.connections = 7),
        ("connections", |r| r.config.active = 7),
        ("arrivals", |r| r.config.arrival = "poisson".into()),
        ("pipeline", |r| r.config.pipeline = Some(2)),
        ("--think", |r| r.config.think = Some("exp:1s".into())),
        ("--max-inflight", |r| r.config.max_inflight = Some(1)),
        ("slow readers", |r| r.slow_readers = Some(SlowClients::default())),
        ("what is said", |r| r.config.conversation = Some(WordCounts::default())),
        ("kind of message", |r| r.config.opcode = "binary".into()),
        ("protocol version", |r| r.config.draft = 76),
        ("compression", |r| r.config.deflate = true),
        ("clock that ends a reply", |r| r.config.stamps = "read".into()),
    ];
    let (mut a, mut b) = (run(1, 60_000.0), run(2, 900_000.0));
    (a.config.stamps, b.config.stamps) = ("kernel".into(), "kernel".into());
    assert!(matches!(reports(&a, &b, 0.02).decision(), Decision::Worse(_)));
    for (what, change) in changes {
        let mut unlike = b.clone();
        change(&mut unlike);
        let decision = reports(&a, &unlike, 0.02).decision();
        assert!(
            matches!(&decision, Decision::NotJudged(text) if text.contains(what)),
            "{what}: {decision:?}"
        );
    }
}

#[test]
fn an_invalid_run_cannot_be_compared() {
    let a = run(1, 60_000.0);
    let mut b = a.clone();
    b.verdict.status = Status::Invalid;
    b.verdict.reasons = vec![Finding::new("own_slip", "loadgen was late")];
    let c = reports(&a, &b, 0.02);
    assert!(matches!(c.decision(), Decision::NotJudged(text) if text.contains("loadgen was late")));
    let text = c.text(false);
    assert!(text.contains("the new run is INVALID: loadgen was late"), "{text}");
    assert!(text.contains("not judged") && !text.contains("same"), "{text}");
}

/// That loadgen was late says nothing against times without its lateness.
#[test]
fn a_late_loadgen_is_compared_where_its_lateness_is_known() {
    let known = |mut report: Report| {
        report.intervals.iter_mut().for_each(|i| i.undisturbed = i.response.clone());
        report.latency_ns.undisturbed = report.latency_ns.response.clone();
        report
    };
    let (a, mut b) = (known(run(1, 60_000.0)), known(run(2, 66_000.0)));
    b.verdict.status = Status::Invalid;
    b.verdict.reasons = vec![Finding::new("own_slip", "loadgen was late")];
    let c = reports(&a, &b, 0.02);
    assert!(matches!(c.decision(), Decision::Worse(_)), "{}", c.text(false));
    assert!(c.warnings.iter().any(|text| text.contains("loadgen was late")), "{:?}", c.warnings);
    b.verdict.reasons.push(Finding::new("littles_law", "it does not add up"));
    assert!(matches!(reports(&a, &b, 0.02).decision(), Decision::NotJudged(_)));
}

/// What loadgen's own lateness could have made is not laid at the server's door.
#[test]
fn a_change_within_the_doubt_is_no_regression() {
    let (a, mut b) = (run(1, 60_000.0), run(2, 66_000.0));
    b.verdict.trust = ["50", "90", "99", "99.9"]
        .map(|p| Trust { p: p.into(), response_ns: 66_000, ours_ns: 100_000, trusted: false })
        .into();
    let c = reports(&a, &b, 0.02);
    assert_eq!(row(&c, "p50").change, Change::Doubt, "{}", c.text(false));
    assert_eq!(c.decision(), Decision::Fine);
    let c = reports(&a, &Report { verdict: b.verdict.clone(), ..run(2, 600_000.0) }, 0.02);
    assert_eq!(row(&c, "p50").change, Change::Worse, "{}", c.text(false));
}

#[test]
fn every_mode_can_get_worse() {
    let mode = |mode| {
        let mut report = Report::default();
        report.config.mode = mode;
        report
    };
    let times = |ns: u64| {
        let mut h = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (0..2_000).for_each(|i| h.record(ns + i * ns / 2_000).unwrap());
        Some(Stat::new(&h, 0))
    };
    let fanout = |ns, received| {
        let fanout = Fanout { expected: 1_000, received, last: times(ns), ..Fanout::default() };
        Report { fanout: Some(fanout), ..mode(Mode::Fanout) }
    };
    let storm = |ns, back| {
        let back_ns = [("50".to_owned(), ns)].into();
        Report { storm: Some(Storm { dropped: 100, back, back_ns, ..Storm::default() }), ..mode(Mode::Storm) }
    };
    let find = |best| Report {
        find: Some(Find { axis: "rate".into(), best, ..Find::default() }),
        ..mode(Mode::Find)
    };
    let conns = |ns| {
        let mut report = mode(Mode::Conns);
        report.latency_ns.connect = times(ns);
        report
    };
    for (what, old, new) in [
        ("last p50", fanout(1_000, 1_000), fanout(100_000, 1_000)),
        ("reach", fanout(1_000, 1_000), fanout(1_000, 900)),
        ("back 50%", storm(1_000_000, 100), storm(100_000_000, 100)),
        ("back", storm(1_000_000, 100), storm(1_000_000, 50)),
        ("best", find(Some(1_000.0)), find(Some(800.0))),
        ("best", find(Some(1_000.0)), find(None)),
        ("connect p50", conns(1_000), conns(2_000)),
    ] {
        let c = reports(&old, &new, 0.02);
        assert_eq!(row(&c, what).change, Change::Worse, "{what}: {}", c.text(false));
        let same = reports(&old, &old, 0.02).decision();
        assert!(!matches!(same, Decision::Worse(_)), "{what}: {same:?}");
    }
}

/// The host was twice as slow in every other pair, for both runs of it: the pairs do not care.
#[test]
fn pairs_see_through_what_a_host_does_to_both() {
    let pair = |i: u64, slower: f64| {
        let host = if i.is_multiple_of(2) { 60_000.0 } else { 120_000.0 };
        (run(10 + i, host), run(20 + i, host * slower))
    };
    let seven = |slower: f64| (0..7).map(|i| pair(i, slower)).collect::<Vec<_>>();
    let c = pairs(&seven(1.1), 0.02);
    assert_eq!(row(&c, "p50").change, Change::Worse, "{}", c.text(false));
    assert_eq!(pairs(&seven(1.0), 0.02).decision(), Decision::Fine);
    assert!(c.pairs_for(0.1).is_none() && !c.text(false).contains("it takes"), "{}", c.text(false));
    // Each run on a host of its own: what seven pairs see is what the mean of seven differs by, and four times as many
    // see half of it.
    let apart = |i: u64, slower: f64| [60_000.0, 90_000.0, 200_000.0][(i * 5 % 3) as usize] * slower;
    let alone: Vec<_> =
        (0..7).map(|i| (run(10 + i, apart(i, 1.0)), run(20 + i, apart(i + 1, 1.1)))).collect();
    let c = pairs(&alone, 0.02);
    assert_eq!(c.decision(), Decision::Fine, "{}", c.text(false));
    let sees = row(&c, "p50").sees.unwrap();
    let half = c.pairs_for((sees.ln_1p() / 2.0).exp_m1()).unwrap();
    assert!(sees > 0.5 && (24..=28).contains(&half), "{sees} {half}");
    assert!(c.text(false).contains("hides +10 % of it: that takes some "), "{}", c.text(false));
    let few = pairs(&seven(1.1)[..3], 0.02).decision();
    assert!(matches!(few, Decision::NotJudged(_)), "{few:?}");
}
