//! Made-up but realistic reports: 100 connections at 5,000 messages a second for 20 s, one stall in the middle.

use hdrhistogram::Histogram;
use loadgen::report::model::*;
use loadgen::report::stats::Slope;
use loadgen::report::{Report, SCHEMA, Stat};

const SECOND: u64 = 1_000_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60 * SECOND, 3).unwrap()
}

/// A latency with a long tail around `median` ns.
fn draw(rng: &mut fastrand::Rng, median: f64) -> u64 {
    let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let tail = if rng.f64() < 0.01 { 1.0 / (1.0 - rng.f64()).sqrt() } else { 1.0 };
    (median * (0.35 * normal).exp() * tail).min(5e9) as u64
}

/// An open-loop run with everything in it, drawn from `seed`.
pub fn run(seed: u64) -> Report {
    let (latency_ns, intervals) = measured(seed);
    let mut report = Report {
        latency_ns,
        intervals,
        checks: Checks {
            littles_law: Some(LittlesLaw { inflight: 0.31, lambda_w: 0.305, gap_pct: 1.6 }),
            loop_busy_pct: 22.4,
            ceiling_used_pct: None,
            floor_p50_ns: Some(19_000),
        },
        server: Some(Server {
            pid: 4121,
            cpu_pct: 32.0,
            cpu_user_pct: 9.0,
            cpu_sys_pct: 23.0,
            rss_bytes: 3_000_000,
            fds: 107,
            ..Server::default()
        }),
        client: Client { cpu_pct: 24.0, rss_bytes: 4_900_000, ctx_involuntary: 12 },
        slowest: vec![Slow {
            t_ns: 11 * SECOND,
            conn: 0,
            response_ns: 200_100_000,
            own_slip_ns: 2900,
            size: 128,
        }],
        ..described(seed)
    };
    report.bound();
    report
}

/// What was to be measured, where and how it went.
fn described(seed: u64) -> Report {
    Report {
        schema: SCHEMA.into(),
        tool: Tool { name: "loadgen".into(), version: env!("CARGO_PKG_VERSION").into() },
        run: Run {
            id: format!("{seed:06x}"),
            started: "2026-11-21T00:00:00.000Z".into(),
            measured_from_unix_ns: 1_795_219_200 * SECOND,
            seed,
            ..Run::default()
        },
        verdict: Verdict {
            status: Status::Suspect,
            reasons: vec![Finding::new("hiccup", "the host's longest hiccup is 21% of the longest response")],
            notes: vec![Finding::new(
                "target_is_local",
                "client and server share 2 CPUs (server 32%, loadgen 24%)",
            )],
            ..Verdict::default()
        },
        target: TargetInfo {
            urls: vec!["ws://127.0.0.1:9001/echo".into()],
            addresses: vec!["127.0.0.1:9001".into()],
            local: true,
        },
        config: Config {
            mode: Mode::Open,
            connections: 100,
            active: 100,
            rate: Some(5000.0),
            arrival: "even".into(),
            threads: 1,
            warmup_ns: 3 * SECOND,
            duration_ns: 20 * SECOND,
            drain_ns: 2 * SECOND,
            size: Size { kind: "fixed".into(), bytes: 128, spec: None },
            opcode: "text".into(),
            draft: 13,
            idle: "sleep".into(),
            ..Config::default()
        },
        host: Host {
            kernel: "6.18.0".into(),
            cpus: 2,
            clocksource: "tsc".into(),
            nofile: 20_000,
            port_range: [32768, 60999],
            ..Host::default()
        },
        connections: Connections {
            asked: 100,
            opened: 100,
            held_min: 100,
            open_ns: 21_000_000,
            sources: 1,
            ..Connections::default()
        },
        messages: Messages {
            target_rate: Some(5000.0),
            achieved_rate: 4999.5,
            sent: 100_000,
            received: 99_980,
            lost: 20,
            bytes_sent: 13_600_000,
            bytes_received: 13_000_000,
            ..Messages::default()
        },
        ..Report::default()
    }
}

/// All latencies, and the interval of each second.
fn measured(seed: u64) -> (Latencies, Vec<Interval>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let [mut response, mut wire, mut slip, mut connect, mut hiccup] = std::array::from_fn(|_| histogram());
    let mut intervals = Vec::new();
    for s in -3i64..22 {
        let phase = match s {
            ..0 => Phase::Warmup,
            0..20 => Phase::Run,
            _ => Phase::Drain,
        };
        let n = if phase == Phase::Drain { 0 } else { 5000 };
        let [mut r, mut w, mut o] = std::array::from_fn(|_| histogram());
        for k in 0..n {
            let stall = if s == 11 && k < 1000 { 200_000_000 - k * 200_000 } else { 0 };
            let (late, there) = (draw(&mut rng, 3_000.0), draw(&mut rng, 58_000.0) + stall);
            o.record(late).unwrap();
            w.record(there).unwrap();
            r.record(there + late).unwrap();
        }
        if phase == Phase::Run {
            response.add(&r).unwrap();
            wire.add(&w).unwrap();
            slip.add(&o).unwrap();
        }
        intervals.push(Interval {
            start_ns: s * SECOND as i64,
            len_ns: SECOND,
            phase,
            target_rate: (n > 0).then_some(5000.0),
            achieved_rate: n as f64,
            sent: n,
            received: n - if s == 11 { 20 } else { 0 },
            held: 100,
            inflight: 0.3,
            response: (n > 0).then(|| Stat::new(&r, 0)),
            wire: (n > 0).then(|| Stat::new(&w, 0)),
            own_slip: (n > 0).then(|| Stat::brief(&o, 0)),
            loop_busy_pct: 20.0 + 5.0 * rng.f64(),
            server: Some(ServerSample { cpu_pct: 30.0 + 4.0 * rng.f64(), rss_bytes: 3_000_000 }),
            ..Interval::default()
        });
    }
    for _ in 0..100 {
        connect.record(draw(&mut rng, 41_000.0)).unwrap();
    }
    for _ in 0..20_000 {
        hiccup.record(draw(&mut rng, 900.0)).unwrap();
    }
    let stat = |h: &Histogram<u64>| Some(Stat::new(h, 0));
    let latencies = Latencies {
        response: stat(&response),
        wire: stat(&wire),
        own_slip: stat(&slip),
        backpressure: stat(&histogram()),
        connect: stat(&connect),
        hiccup: stat(&hiccup),
        undisturbed: stat(&wire),
        response_low: stat(&response),
        response_high: stat(&response),
        hello: stat(&connect),
        ..Latencies::default()
    };
    (latencies, intervals)
}

/// A `conns` run of three steps.
pub fn conns() -> Report {
    let base = run(1);
    let echo = base.latency_ns.response.clone();
    let step = |held: u64, rss: u64| ConnsStep {
        asked: held,
        held,
        opened_per_s: 24_000.0,
        connect: base.latency_ns.connect.clone(),
        upgrade: base.latency_ns.connect.clone(),
        server_rss_bytes: Some(rss),
        kernel_bytes: Some(held * 4003 + 100_000),
        echo: echo.clone(),
        ..ConnsStep::default()
    };
    let steps = vec![step(1000, 3_250_000), step(5000, 11_120_000), step(10_000, 21_100_000)];
    let fit = |y: fn(&ConnsStep) -> u64| {
        Slope::fit(&steps.iter().map(|s| (s.held as f64, y(s) as f64)).collect::<Vec<_>>())
    };
    let (slope, kernel_slope) = (fit(|s| s.server_rss_bytes.unwrap()), fit(|s| s.kernel_bytes.unwrap()));
    let conns =
        Conns { slope, kernel_slope, closed_rss_bytes: Some(3_400_000), residue_bytes: Some(300_000), steps };
    let config = Config { mode: Mode::Conns, ..base.config.clone() };
    Report { config, conns: Some(conns), intervals: Vec::new(), ..base }
}

/// A `find` run of six loads.
pub fn find() -> Report {
    let base = run(1);
    let step = |load: f64, median: f64| {
        let mut rng = fastrand::Rng::with_seed(load as u64);
        let mut h = histogram();
        (0..20_000).for_each(|_| h.record(draw(&mut rng, median)).unwrap());
        let response = Stat::new(&h, 0);
        let p99 = response.p["99"] as f64;
        FindStep {
            load,
            value: Some(p99),
            ok: p99 < 2e6,
            answer: Some(if p99 < 2e6 { Answer::Met } else { Answer::Missed }),
            note: None,
            achieved_rate: load,
            verdict: Verdict::default(),
            response: Some(response),
        }
    };
    let steps = vec![
        step(40_000.0, 60_000.0),
        step(80_000.0, 130_000.0),
        step(160_000.0, 1_900_000.0),
        step(113_000.0, 310_000.0),
        step(135_000.0, 900_000.0),
        step(124_000.0, 500_000.0),
    ];
    let find = Find {
        objective: "p99<2ms".into(),
        axis: "rate".into(),
        steps,
        best: Some(124_000.0),
        next_failed: Some(135_000.0),
        stopped: "the two are within 10%".into(),
    };
    let config = Config { mode: Mode::Find, ..base.config.clone() };
    Report { config, find: Some(find), intervals: Vec::new(), ..base }
}

/// A `storm` run.
pub fn storm() -> Report {
    let base = run(1);
    let echo = base.latency_ns.response.clone();
    let back = [("50", 610_000_000), ("90", 1_900_000_000), ("99", 4_400_000_000)];
    let storm = Storm {
        fault: "rst".into(),
        policy: "exp:100ms..5s,jitter=full".into(),
        dropped_at_ns: 10 * SECOND,
        dropped: 95,
        back: 94,
        back_ns: back.map(|(share, t)| (share.to_owned(), t)).into(),
        attempts: 120,
        syn_retransmits: 3,
        listen_overflows: 7,
        handshake: base.latency_ns.connect.clone(),
        survivors: 5,
        phases: ["before", "during", "after"]
            .map(|name| StormPhase { name: name.into(), echo: echo.clone() })
            .into(),
        ..Storm::default()
    };
    let config = Config { mode: Mode::Storm, ..base.config.clone() };
    Report { config, storm: Some(storm), ..base }
}

/// A `fanout` run.
pub fn fanout() -> Report {
    let base = run(1);
    let fanout = Fanout {
        publishers: 1,
        receivers: 99,
        published: 200,
        expected: 19_800,
        received: 19_799,
        first: base.latency_ns.own_slip.clone(),
        median: base.latency_ns.wire.clone(),
        last: base.latency_ns.response.clone(),
        spread: base.latency_ns.wire.clone(),
        ..Fanout::default()
    };
    let config = Config { mode: Mode::Fanout, ..base.config.clone() };
    let latency_ns = Latencies { response: None, wire: None, ..base.latency_ns.clone() };
    Report { config, fanout: Some(fanout), latency_ns, ..base }
}
