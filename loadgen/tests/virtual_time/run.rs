//! One run of loadgen in virtual time: the worker, what puts a run together, and the verdict are those of the program.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argh::FromArgs;
use loadgen::cli::args::{Args, Common, RunArgs, Subcommand};
use loadgen::cli::argv;
use loadgen::cli::values::Fault;
use loadgen::engine::commands::{Command, Event, Load, Traffic};
use loadgen::engine::deliveries::Collector;
use loadgen::engine::measured::Measured;
use loadgen::engine::opened::Opening;
use loadgen::engine::payload::Payloads;
use loadgen::engine::plan::{Audience, Outage, Plan};
use loadgen::engine::recorder::{Recorder, Times};
use loadgen::engine::recovery::Recovery;
use loadgen::engine::schedule::{ArrivalProcess, Cursor, Curve, Rate};
use loadgen::engine::spec::{Gauges, Spec};
use loadgen::engine::tally::Tally;
use loadgen::engine::timetable::Timetable;
use loadgen::engine::worker::Worker;
use loadgen::host::clock::{Moment, Nanos};
use loadgen::modes::fanout;
use loadgen::modes::measurement::config;
use loadgen::protocol::frame::Opcode;
use loadgen::protocol::handshake::Extras;
use loadgen::protocol::session::Rules;
use loadgen::report::Report;
use loadgen::report::model::Mode;
use loadgen::verdict::assemble;
use loadgen::verdict::facts::Facts;

use crate::host::Host;
use crate::spec;
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
pub fn command(line: &str) -> Subcommand {
    let words = argv::words(line).expect("a command line").into_iter().chain([URL.to_owned()]);
    let words = argv::normalize(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["loadgen"], &words).expect("options").command
}

/// Runs `loadgen LINE` in `world`: a run, a climb (`conns`), a fan-out or a storm.
pub fn run(line: &str, seed: u64, world: World, mut bystander: Host) -> Done {
    match command(line) {
        Subcommand::Run(args) => open_or_closed(&args, seed, world, &mut bystander),
        Subcommand::Conns(args) => {
            let hold = |n: usize| Plan {
                rate: Some(Rate::Constant(args.per_conn_rate * n as f64)),
                active: n,
                duration: args.hold,
                ..plan(&args.common())
            };
            let steps: Vec<Plan> = args.steps.as_ref().expect("steps").0.iter().map(|n| hold(*n)).collect();
            let connections = steps.last().expect("a step").active;
            climb(Mode::Conns, connections, &steps, &args.common(), seed, world, &mut bystander)
        }
        Subcommand::Fanout(args) => {
            let plan = Plan {
                rate: Some(args.rate.clone()),
                active: args.publishers as usize,
                warmup: args.warmup,
                duration: args.duration,
                drain: args.drain,
                fanout: Some(Audience::Others),
                ..plan(&args.common())
            };
            measure(
                Mode::Fanout,
                args.connections as usize,
                &plan,
                &args.common(),
                seed,
                world,
                &mut bystander,
            )
        }
        Subcommand::Storm(args) => {
            let connections = args.connections as usize;
            let survivors = args.survivors.of(connections);
            let plan = Plan {
                rate: Some(Rate::Constant(args.per_conn_rate * survivors as f64)),
                active: survivors,
                duration: args.before + args.after,
                storm: Some(Outage {
                    after: args.before,
                    reset: args.fault == Fault::Rst,
                    server: false,
                    backoff: args.backoff.clone(),
                }),
                ..plan(&args.common())
            };
            measure(Mode::Storm, connections, &plan, &args.common(), seed, world, &mut bystander)
        }
        _ => panic!("{line}: not played here"),
    }
}

fn open_or_closed(args: &RunArgs, seed: u64, world: World, bystander: &mut Host) -> Done {
    let connections = args.connections as usize;
    let active = args.active.of(connections);
    let rate = args.rate.clone().unwrap_or(Rate::Constant(args.per_conn_rate.unwrap_or(1.0) * active as f64));
    let plan = Plan {
        rate: (!args.closed).then_some(rate),
        pipeline: args.pipeline,
        arrival: args.arrival,
        active,
        warmup: args.warmup,
        duration: args.duration,
        drain: args.drain,
        ..plan(&args.common())
    };
    let mode = if args.closed { Mode::Closed } else { Mode::Open };
    let common = Common { timeout: args.timeout.or(args.closed.then_some(PATIENCE)), ..args.common() };
    measure(mode, connections, &plan, &common, seed, world, bystander)
}

/// One that sends nothing in particular.
pub fn plan(args: &Common) -> Plan {
    Plan {
        rate: None,
        pipeline: 1,
        think: None,
        arrival: ArrivalProcess::Even,
        active: args.connections,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        drain: Duration::from_secs(2),
        interval: args.interval,
        shard: (0, 1),
        start_at: None,
        fanout: None,
        storm: None,
        server_pid: None,
    }
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
    climb(mode, connections, std::slice::from_ref(plan), args, seed, world, bystander)
}

/// Opens connections step by step, with a run of each of `plans` on as many as it has or on all; reports the last.
fn climb(
    mode: Mode,
    connections: usize,
    plans: &[Plan],
    args: &Common,
    seed: u64,
    world: World,
    bystander: &mut Host,
) -> Done {
    let mut thread = Thread::start(spec(args, seed, connections), world);
    let mut opening = Opening::default();
    let mut last = None;
    for plan in plans {
        opening.add(&thread.open(if mode == Mode::Conns { plan.active } else { connections }));
        last = Some((plan, thread.run(plan, bystander)));
    }
    let (plan, (mut measured, [from, to])) = last.expect("a plan");
    let mut world = thread.end();
    let mut report = Report { config: config(mode, connections, plan), ..Report::default() };
    report.target.local = true;
    report.run.seed = seed;
    judge(&mut report, &opening, &measured, args.allow_partial);
    if let Some(collector) = measured.collector.take() {
        fanout::fill(&mut report, collector, plan.active, Moment(world.now));
    }
    let inside = |logged: &&Logged| (from.0..to.0).contains(&logged.arrived);
    let mut truth: Vec<u64> = world.log.iter().filter(inside).map(|l| l.left - l.arrived).collect();
    truth.sort_unstable();
    world.hang_up();
    Done { report, truth, world }
}

/// A thread of loadgen's, and the other ends of its channels.
struct Thread {
    spec: Arc<Spec>,
    worker: Worker<Shared>,
    world: Rc<RefCell<World>>,
    commands: Sender<Command>,
    events: Receiver<(usize, Event)>,
    spare: Sender<Box<Recorder>>,
    held: u64,
}

impl Thread {
    fn start(spec: Spec, world: World) -> Thread {
        let spec = Arc::new(spec);
        let world = Rc::new(RefCell::new(world));
        let (commands, orders) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let (spare, spares) = mpsc::channel();
        let network = Shared(world.clone());
        let gauges = Arc::new(Gauges::default());
        let worker = Worker::new(0, spec.clone(), gauges, network, orders, tell, spares);
        Thread { spec, worker, world, commands, events, spare, held: 0 }
    }

    fn tell(&self, command: Command) {
        self.commands.send(command).expect("it listens");
    }

    /// What it tells next, if a turn makes it tell something.
    fn turn(&mut self) -> Option<Event> {
        if let Ok((_, event)) = self.events.try_recv() {
            return Some(event);
        }
        assert!(self.worker.turn().expect("the network never gives up"), "nobody asked for an end");
        None
    }

    fn open(&mut self, upto: usize) -> Opening {
        self.tell(Command::Open(upto));
        loop {
            if let Some(Event::Opened(opening)) = self.turn() {
                self.held += opening.opened;
                return *opening;
            }
        }
    }

    /// What was measured, from when to when.
    fn run(&mut self, plan: &Plan, bystander: &mut Host) -> (Measured, [Moment; 2]) {
        let times = Timetable::of(plan, Moment(self.world.borrow().now) + Nanos::millis(100));
        let curve = plan.rate.as_ref().map(|rate| Arc::new(Curve::new(rate, plan.warmup, times.length)));
        let load = match &curve {
            Some(curve) => {
                Load::Open(Cursor::new(curve.clone(), times.begin, 0, 1, plan.arrival, self.spec.seed))
            }
            None => Load::Closed(plan.pipeline),
        };
        let collector = plan.fanout.map(|audience| Collector::new(self.held, audience, times.from));
        let collector = collector.map(|collector| Arc::new(Mutex::new(collector)));
        let Timetable { begin, from, to, until, tick, .. } = times;
        let active = plan.active.min(self.held as usize);
        let (deliveries, think) = (collector.clone(), None);
        let traffic = Traffic { load, active, from, to, until, tick, begin, collector: deliveries, think };
        self.tell(Command::Run(Box::new(traffic)));
        let mut tally = Tally::new(plan, curve, &times, 1);
        let mut outage = plan.storm.clone();
        loop {
            let now = Moment(self.world.borrow().now);
            if let Some(outage) = outage.take_if(|outage| now >= from + outage.after.into()) {
                let recovery = Recovery::new(outage.backoff, outage.reset);
                self.tell(Command::Storm(Box::new(recovery)));
            }
            match self.turn() {
                None => {}
                Some(Event::Tick(report)) => {
                    tally.tick(0, &report, self.held);
                    for mut recorder in [report.measured, report.warmup] {
                        recorder.clear();
                        self.spare.send(recorder).expect("it listens");
                    }
                }
                Some(Event::Finished(outcome)) => {
                    tally.finished(*outcome);
                    break;
                }
                Some(_) => panic!("nothing else was asked for"),
            }
        }
        let now = Moment(self.world.borrow().now);
        tally.rows.finish(now);
        let mut measured = tally.settle(now);
        let collector = collector.and_then(Arc::into_inner);
        measured.collector = collector.map(|all| all.into_inner().expect("nothing panicked"));
        measured.hiccup = hiccups(times, bystander);
        (measured, [from, to])
    }

    fn end(self) -> World {
        drop(self.worker);
        Rc::into_inner(self.world).expect("the worker is gone").into_inner()
    }
}

fn judge(report: &mut Report, opening: &Opening, measured: &Measured, allow_partial: bool) {
    let facts = Facts {
        closed: report.config.rate.is_none(),
        fanout: report.config.mode == Mode::Fanout,
        listening: false,
        thinks: None,
        local: true,
        asked: report.config.connections,
        allow_partial,
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
        rules: Rules { extras: Extras::default(), limit: 1 << 20 },
        verify: !args.no_verify,
        timeout: args.timeout.map(Nanos::from),
        connect_inflight: 256,
        connect_timeout: Nanos::millis(10_000),
        spin: Nanos(15_000),
        seed,
        ..spec::plain(URL, payloads, connections)
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
