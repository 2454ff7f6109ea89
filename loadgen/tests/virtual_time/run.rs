//! One run of loadgen in virtual time: the worker, what puts a run together, and the verdict are those of the program.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use argh::FromArgs;
use loadgen::cli::args::{self, Args, Common};
use loadgen::cli::argv;
use loadgen::engine::commands::{Command, Event, Load, Traffic};
use loadgen::engine::conversation::Talk;
use loadgen::engine::measured::Measured;
use loadgen::engine::opened::Opening;
use loadgen::engine::payload::Payloads;
use loadgen::engine::plan::Plan;
use loadgen::engine::recorder::Times;
use loadgen::engine::schedule::{Cursor, Curve, Rate};
use loadgen::engine::spec::{Gauges, Spec};
use loadgen::engine::tally::Tally;
use loadgen::engine::target::Target;
use loadgen::engine::timetable::Timetable;
use loadgen::engine::worker::Worker;
use loadgen::host::address::Address;
use loadgen::host::clock::{Moment, Nanos};
use loadgen::host::source_addresses::Sources;
use loadgen::modes::measurement::config;
use loadgen::protocol::frame::Opcode;
use loadgen::protocol::handshake::Extras;
use loadgen::protocol::session::Rules;
use loadgen::protocol::url::Url;
use loadgen::report::Report;
use loadgen::report::model::Mode;
use loadgen::verdict::assemble;
use loadgen::verdict::facts::Facts;

use crate::host::Host;
use crate::world::{Logged, Shared, World};

/// How long a closed loop waits, as in `loadgen run`.
const PATIENCE: Duration = Duration::from_secs(10);

const URL: &str = "ws://127.0.0.1:9/virtual";

/// What came of a run.
pub struct Done {
    pub report: Report,
    /// How long each message of the measured time was with its server, shortest first.
    pub truth: Vec<u64>,
    /// For the next run.
    pub world: World,
}

/// A command line without its URL, defaults and all.
pub fn command(line: &str) -> args::Subcommand {
    let words = argv::words(line).expect("a command line").into_iter().chain([URL.to_owned()]);
    let words = argv::normalize(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["loadgen"], &words).expect("options").command
}

/// Runs `loadgen LINE` in `world`.
pub fn run(line: &str, seed: u64, world: World, mut bystander: Host) -> Done {
    let args::Subcommand::Run(args) = command(line) else { panic!("{line}: not a run") };
    let connections = args.connections as usize;
    let active = args.active.of(connections);
    let rate = args.rate.clone().unwrap_or(Rate::Constant(args.per_conn_rate.unwrap_or(1.0) * active as f64));
    let plan = Plan {
        rate: (!args.closed).then_some(rate),
        pipeline: args.pipeline,
        think: None,
        arrival: args.arrival,
        active,
        warmup: args.warmup,
        duration: args.duration,
        drain: args.drain,
        interval: args.interval,
        shard: (0, 1),
        start_at: None,
        fanout: None,
        storm: None,
        server_pid: None,
    };
    let mode = if args.closed { Mode::Closed } else { Mode::Open };
    let common = Common { timeout: args.timeout.or(args.closed.then_some(PATIENCE)), ..args.common() };
    measure(mode, connections, &plan, &common, seed, world, &mut bystander)
}

/// Opens `connections` to the server of `world`, runs `plan`, and reports.
pub fn measure(
    mode: Mode,
    connections: usize,
    plan: &Plan,
    args: &Common,
    seed: u64,
    world: World,
    bystander: &mut Host,
) -> Done {
    let spec = Arc::new(spec(args, seed, connections));
    let world = Rc::new(RefCell::new(world));
    let (commands, orders) = mpsc::channel();
    let (tell, events) = mpsc::channel();
    let (spare, spares) = mpsc::channel();
    let gauges = Arc::new(Gauges::default());
    let network = Shared(world.clone());
    let mut worker = Worker::new(0, spec, gauges.clone(), network, orders, tell, spares);
    commands.send(Command::Open(connections)).expect("it listens");
    let opening = loop {
        if let Event::Opened(opening) = next(&mut worker, &events) {
            break *opening;
        }
    };

    let times = Timetable::of(plan, Moment(world.borrow().now) + Nanos::millis(100));
    let curve = plan.rate.as_ref().map(|rate| Arc::new(Curve::new(rate, plan.warmup, times.length)));
    let load = match &curve {
        Some(curve) => Load::Open(Cursor::new(curve.clone(), times.begin, 0, 1, plan.arrival, seed)),
        None => Load::Closed(plan.pipeline),
    };
    let Timetable { begin, from, to, until, tick, .. } = times;
    let traffic =
        Traffic { load, active: plan.active, from, to, until, tick, begin, collector: None, think: None };
    commands.send(Command::Run(Box::new(traffic))).expect("it listens");
    let mut tally = Tally::new(plan, curve, &times, 1);
    loop {
        match next(&mut worker, &events) {
            Event::Tick(report) => {
                tally.tick(0, &report, connections as u64);
                for mut recorder in [report.measured, report.warmup] {
                    recorder.clear();
                    spare.send(recorder).expect("it listens");
                }
            }
            Event::Finished(outcome) => break tally.finished(*outcome),
            _ => panic!("nothing else was asked for"),
        }
    }
    drop(worker);
    let mut world = Rc::into_inner(world).expect("the worker is gone").into_inner();
    tally.rows.finish(Moment(world.now));
    let mut measured = tally.settle(Moment(world.now));
    measured.hiccup = hiccups(times, bystander);
    let mut report = Report { config: config(mode, connections, plan), ..Report::default() };
    report.target.local = true;
    report.run.seed = seed;
    judge(&mut report, &opening, &measured);
    let inside = |logged: &&Logged| (from.0..to.0).contains(&logged.arrived);
    let mut truth: Vec<u64> = world.log.iter().filter(inside).map(|l| l.left - l.arrived).collect();
    truth.sort_unstable();
    world.hang_up();
    Done { report, truth, world }
}

fn judge(report: &mut Report, opening: &Opening, measured: &Measured) {
    let facts = Facts {
        closed: report.config.rate.is_none(),
        fanout: false,
        listening: false,
        thinks: None,
        local: true,
        asked: report.config.connections,
        allow_partial: false,
        kernel_stamps: true,
        throttled: 0,
        steal_pct: 0.0,
        ceiling: None,
        floor_p50_ns: None,
        syn_retransmits: 0,
    };
    assemble::fill(report, opening, measured, &facts, None);
}

fn spec(args: &Common, seed: u64, connections: usize) -> Spec {
    let payloads = Payloads::random(Opcode::Text, args.size.clone(), !args.no_stamp, seed);
    Spec {
        targets: vec![Target {
            url: Url::parse(URL).expect("a URL"),
            address: Address::Tcp("127.0.0.1:9".parse().expect("an address")),
            tls: None,
            resource: None,
            script: Arc::default(),
        }],
        headers: Vec::new(),
        talk: Talk::default(),
        listening: None,
        messages_each: None,
        slow: None,
        publishers: None,
        matched: None,
        replies: 1,
        rules: Rules { extras: Extras::default(), limit: 1 << 20 },
        sources: Sources::plan(None, &Address::Unix("/".into()), connections, 28_000).expect("room"),
        payloads,
        fragment: None,
        verify: !args.no_verify,
        kernel_stamps: true,
        max_inflight: None,
        timeout: args.timeout.map(Nanos::from),
        silence: None,
        ping: None,
        connect_rate: 100_000.0,
        connect_inflight: 256,
        connect_timeout: Nanos::millis(10_000),
        spin_read: false,
        spin: Nanos(15_000),
        seed,
        threads: 1,
        first: 0,
        shard: 0,
        wall_offset: 0,
    }
}

fn next(worker: &mut Worker<Shared>, events: &Receiver<(usize, Event)>) -> Event {
    loop {
        if let Ok((_, event)) = events.try_recv() {
            return event;
        }
        assert!(worker.turn().expect("the network never gives up"), "nobody asked for an end");
    }
}

/// What a thread sees that sleeps a millisecond at a time.
fn hiccups(times: Timetable, bystander: &mut Host) -> Times {
    let mut late = Times::default();
    let mut at = times.from.0;
    while at < times.to.0 {
        late.record(Nanos(bystander.late(at)));
        at += 1_000_000;
    }
    late
}
