//! One seed's options, servers and whims, played through: open, run, close.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;
use loadgen::engine::commands::{Command, Event, Load, Outcome, Traffic};
use loadgen::engine::opened;
use loadgen::engine::payload::Payloads;
use loadgen::engine::recorder::{Counts, Recorder, Times};
use loadgen::engine::schedule::{ArrivalProcess, Cursor, Curve, Rate};
use loadgen::engine::size::Sizes;
use loadgen::engine::spec::{Gauges, Spec};
use loadgen::engine::think::Think;
use loadgen::engine::worker::Worker;
use loadgen::host::clock::{Moment, Nanos};
use loadgen::protocol::frame::Opcode;

use crate::model::{Figures, Model, Opening, Rules, Run, Schedule, histogram};
use crate::peer::{Ending, Manners, Speech, Upgrade};
use crate::spec;
use crate::talk::Conversation;
use crate::world::{Shared, Whims, World};

const SECOND: u64 = 1_000_000_000;

/// What a seed may draw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stress {
    /// Replies take their time, and all comes in pieces.
    Delays,
    Everything,
    /// And what is said is no echo.
    Conversations,
}

/// What happened in all scenarios.
#[derive(Debug, Default)]
pub struct Happened {
    pub counts: Counts,
    pub had_to_wait: u64,
    pub pongs: u64,
    /// With opening words; of replies in several messages; where nothing is sent.
    pub greeted: u64,
    pub first: u64,
    pub gaps: u64,
    pub slowly: u64,
    pub reopened: u64,
    /// Sent by a closed loop after it had thought.
    pub thought: u64,
    pub failures: BTreeMap<String, u64>,
}

impl Happened {
    fn failed(&mut self, model: &Model) {
        for (reason, n) in &model.failures {
            *self.failures.entry(reason.clone()).or_default() += n;
        }
    }
}

pub struct Scenario {
    rng: Rng,
    world: Rc<RefCell<World>>,
    worker: Worker<Shared>,
    commands: Sender<Command>,
    events: Receiver<(usize, Event)>,
    spare: Sender<Box<Recorder>>,
    gauges: Arc<Gauges>,
    seed: u64,
    me: usize,
    threads: usize,
    connections: usize,
    /// `--timeout`, which a closed loop would act on.
    impatient: bool,
    talk: Conversation,
}

impl Scenario {
    pub fn draw(mut rng: Rng, stress: Stress) -> Scenario {
        let everything = stress != Stress::Delays;
        let connections = rng.usize(1..24);
        let opcode = if rng.bool() { Opcode::Text } else { Opcode::Binary };
        let size = [8, 12, 31, 40, 126, 700][rng.usize(..6)];
        let stamped = rng.u8(..4) > 0;
        let seed = rng.u64(..);
        let (threads, first) = (rng.usize(1..4), rng.usize(..1000));
        let me = rng.usize(..threads);
        let maybe = |rng: &mut Rng, value: u64| (everything && rng.u8(..4) == 0).then_some(value);
        let timeout = maybe(&mut rng, 20_000_000);
        let ping = maybe(&mut rng, 50_000_000);
        let max_inflight = maybe(&mut rng, 3).map(|n| n as u32);
        let verify = rng.u8(..5) > 0;
        let payloads = Payloads::random(opcode, Sizes::Fixed(size), stamped, seed);
        let mut spec = Spec {
            fragment: (everything && rng.u8(..3) == 0).then(|| rng.usize(1..64)),
            verify,
            max_inflight,
            timeout: timeout.map(Nanos),
            ping: ping.map(Nanos),
            connect_rate: [100.0, 1e5][rng.usize(..2)],
            connect_inflight: rng.usize(1..9),
            spin: Nanos([0, 15_000, 50_000][rng.usize(..3)]),
            spin_read: rng.u8(..4) == 0,
            seed,
            threads,
            first,
            shard: 1 + first % 5,
            ..spec::plain("ws://127.0.0.1:9/sim", payloads, connections)
        };
        let mut rules = Scenario::rules(&spec, me, stamped, size);
        let whims = Scenario::whims(&mut rng, everything);
        let now = Scenario::beginning(&mut rng);
        let talk = match stress {
            Stress::Conversations => Conversation::draw(&mut rng, now),
            _ => Conversation::default(),
        };
        talk.ask(&mut spec);
        talk.rule(&mut rules);
        let manners =
            (0..connections).map(|_| Scenario::manners(&mut rng, everything, &talk.speech)).collect();
        let mut world = World::new(now, rng.fork(), whims, manners, Model::new(rules));
        world.wall = talk.speech.wall;
        let world = Rc::new(RefCell::new(world));
        let (commands, orders) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let (spare, spares) = mpsc::channel();
        let gauges = Arc::new(Gauges::default());
        let network = Shared(world.clone());
        let worker = Worker::new(me, Arc::new(spec), gauges.clone(), network, orders, tell, spares);
        Scenario {
            rng,
            world,
            worker,
            commands,
            events,
            spare,
            gauges,
            seed,
            me,
            threads,
            connections,
            impatient: timeout.is_some(),
            talk,
        }
    }

    fn rules(spec: &Spec, me: usize, stamped: bool, size: usize) -> Rules {
        let opcode = spec.payloads.opcode();
        Rules {
            first_number: spec.first + me,
            step: spec.threads,
            timeout: spec.timeout.map(|limit| limit.0),
            max_inflight: spec.max_inflight,
            verify: spec.verify,
            stamp: if opcode == Opcode::Text { 32 } else { 16 },
            stamped,
            size,
            opcode: opcode as u8,
            ping: spec.ping.map(|gap| gap.0),
            spin_read: spec.spin_read,
            shard: spec.shard,
            ..Rules::default()
        }
    }

    fn whims(rng: &mut Rng, everything: bool) -> Whims {
        let some = |rng: &mut Rng, most: u32| if everything && rng.bool() { rng.u32(..most) } else { 0 };
        Whims {
            short_writes: some(rng, 60),
            interrupts: some(rng, 30),
            early: some(rng, 100),
            late: rng.u32(..10),
            spurious: some(rng, 30),
            postponed: some(rng, 200),
            stamps: [[0, 990, 1000][rng.usize(..3)], some(rng, 10)],
            no_connect: std::array::from_fn(|_| some(rng, 40)),
        }
    }

    /// Just after the start, years on, where a stamp's clock turns over, or where a signed number would.
    fn beginning(rng: &mut Rng) -> u64 {
        match rng.u8(..4) {
            0 => rng.u64(1..SECOND),
            1 => rng.u64(..1 << 60),
            2 => (rng.u64(1..60_000) << 48) - rng.u64(..3 * SECOND),
            _ => (1 << 63) - rng.u64(..3 * SECOND),
        }
    }

    fn manners(rng: &mut Rng, everything: bool, speech: &Speech) -> Manners {
        let some = |rng: &mut Rng, most: u32| if everything && rng.bool() { rng.u32(..most) } else { 0 };
        let least = [500, 50_000, 2_000_000][rng.usize(..3)];
        let end = (everything && rng.u8(..4) == 0).then(|| {
            let endings = [Ending::Silence, Ending::Fin, Ending::Reset, Ending::Close(1001), Ending::Garbage];
            (rng.usize(..400), endings[rng.usize(..5)])
        });
        let upgrade = match rng.u8(..40) {
            0 if everything => Upgrade::No,
            1 if everything => Upgrade::Silence,
            2 if everything => Upgrade::Hangup,
            _ => Upgrade::Yes,
        };
        Manners {
            speech: speech.clone(),
            delay: (least, least * rng.u64(1..20)),
            dropped: some(rng, 20),
            duplicated: some(rng, 20),
            swapped: some(rng, 30),
            corrupted: some(rng, 20),
            foreign: some(rng, 10),
            fragmented: some(rng, 100),
            pieces: rng.u32(..200),
            pings: some(rng, 50),
            end,
            upgrade,
        }
    }

    /// Plays it, and adds what happened to `all`.
    pub fn run(mut self, all: &mut Happened) {
        self.open();
        all.failed(&self.world.borrow().model);
        all.greeted += self.world.borrow().model.opened.hello.as_ref().map_or(0, |hello| hello.len());
        // Connections are opened anew in one run only.
        let runs = if self.talk.each.is_some() { 1 } else { self.rng.u8(1..3) };
        for _ in 0..runs {
            let (run, traffic) = self.plan();
            self.measure(run, traffic);
            let world = self.world.borrow();
            for figures in [&world.model.measured, &world.model.warmup] {
                all.counts.add(&figures.counts);
                all.counts.inflight_ns += world.model.inflight_ns;
                all.had_to_wait += figures.backpressure.len();
                all.pongs += figures.ping.len();
                all.first += figures.first.len();
                all.gaps += figures.gap.len();
                all.slowly += figures.slowly.len();
                all.thought += if self.talk.think.is_some() { figures.counts.sent } else { 0 };
            }
            all.reopened += world.model.opened.opened;
            all.failed(&world.model);
        }
        self.close();
    }

    fn open(&mut self) {
        self.world.borrow_mut().model.asked = self.connections;
        self.tell(Command::Open(self.connections));
        let opening = loop {
            self.turn();
            if let Some(Event::Opened(opening)) = self.event() {
                break opening;
            }
        };
        let world = self.world.borrow();
        opened(&opening, &world.model.opened);
        assert_eq!(opening.failures, world.model.failures);
        assert_eq!(opening.opened + opening.failures.values().sum::<u64>(), self.connections as u64);
    }

    /// The same run twice: for the worker and for the model.
    fn plan(&mut self) -> (Run, Traffic) {
        let open = self.world.borrow().model.present();
        let now = self.world.borrow().now;
        let active = self.rng.usize(1..=open.len().max(1)).min(open.len());
        let active = if self.talk.listens.is_some() { 0 } else { active };
        let begin = now + self.rng.u64(..SECOND / 10);
        let from = begin + if self.rng.bool() { 0 } else { self.rng.u64(..SECOND / 2) };
        let thinks = self.talk.think.is_some() && !self.impatient;
        let closed = thinks || self.talk.listens.is_some() || !self.impatient && self.rng.u8(..4) == 0;
        // A closed loop over so short a way sends a message a microsecond.
        let short = closed
            && self.talk.listens.is_none()
            && self.talk.think.is_none_or(|think| think < SECOND / 1000);
        let to = from + self.rng.u64(1..if short { SECOND / 20 } else { 2 * SECOND });
        let until = to + self.rng.u64(..SECOND);
        let mut order: Vec<usize> = (0..active).map(|a| open[a * open.len() / active]).collect();
        // Whose turn it is when is the one thing that the model takes over.
        let mut rng = Rng::with_seed(self.seed ^ (self.me as u64) << 32);
        rng.shuffle(&mut order);
        let pipeline = self.rng.u32(1..5);
        let (schedule, load) = match closed {
            true => (None, Load::Closed(pipeline)),
            false => {
                let (schedule, cursor) = self.schedule(active, begin, from - begin, to - from);
                (Some(schedule), Load::Open(cursor))
            }
        };
        let think = self.talk.think.filter(|_| thinks);
        let run = Run { schedule, pipeline, think, order, begin, from, to, until };
        let traffic = Traffic {
            load,
            active,
            from: Moment(from),
            to: Moment(to),
            until: Moment(until),
            tick: Nanos(SECOND / 4),
            begin: Moment(begin),
            collector: None,
            think: think.map(|think| Think::Fixed(Duration::from_nanos(think))),
        };
        (run, traffic)
    }

    /// A schedule, by whole numbers where the rate is even, and the engine's.
    fn schedule(&mut self, active: usize, begin: u64, warmup: u64, length: u64) -> (Schedule, Cursor) {
        let [warmup, length] = [warmup, length].map(Duration::from_nanos);
        let period = self.rng.u64(40_000..300_000);
        let arrival = if self.rng.bool() { ArrivalProcess::Even } else { ArrivalProcess::Poisson };
        let rate = match self.rng.u8(..3) {
            0 => Rate::Ramp(1e9 / period as f64, 3e9 / period as f64),
            _ => Rate::Constant(1e9 / period as f64),
        };
        let even = arrival == ArrivalProcess::Even && matches!(rate, Rate::Constant(_));
        let (me, all) = (self.me as u64, self.threads as u64);
        let curve = Arc::new(Curve::new(&rate, warmup, length));
        let cursor = || Cursor::new(curve.clone(), Moment(begin), me, all, arrival, self.seed);
        let mut own = cursor();
        let mut k = 0;
        let schedule: Schedule = Box::new(move || {
            let due = if even { begin + (k * all + me) * period } else { own.due().0 };
            let turn = match arrival {
                ArrivalProcess::Even => k as usize,
                ArrivalProcess::Poisson => own.pick(active.max(1)),
            };
            k += 1;
            own.advance();
            (due, turn)
        });
        (schedule, cursor())
    }

    fn measure(&mut self, run: Run, traffic: Traffic) {
        let from = run.from;
        self.world.borrow_mut().model.begin(run);
        self.tell(Command::Run(Box::new(traffic)));
        let (mut measured, mut warmup) = (Recorder::default(), Recorder::default());
        let mut ticks = Vec::new();
        let outcome = 'run: loop {
            self.turn();
            while let Some(event) = self.event() {
                match event {
                    Event::Tick(report) => {
                        ticks.push(report.number);
                        measured.add(&report.measured);
                        warmup.add(&report.warmup);
                        for mut recorder in [report.measured, report.warmup] {
                            recorder.clear();
                            self.spare.send(recorder).expect("the worker listens");
                        }
                    }
                    Event::Finished(outcome) => break 'run outcome,
                    _ => panic!("nothing else is asked for"),
                }
            }
        };
        let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
        assert_eq!(ticks, (first..=last).collect::<Vec<_>>(), "no tick is left out");
        let world = self.world.borrow();
        assert!(world.model.finished, "the run is over when the rules say so");
        figures("measured", &measured, &world.model.measured);
        figures("warm-up", &warmup, &world.model.warmup);
        slowest(&measured, &world.model.measured, from);
        let inflight = measured.counts.inflight_ns + warmup.counts.inflight_ns;
        assert_eq!(inflight, world.model.inflight_ns, "time in flight");
        self.compare(&outcome, &world.model);
    }

    fn compare(&self, outcome: &Outcome, model: &Model) {
        same("unanswered", &outcome.unanswered, &model.unanswered);
        assert_eq!(outcome.failures, model.failures.clone().into_iter().collect::<BTreeMap<_, _>>());
        assert_eq!(outcome.held_min, model.held_min);
        assert_eq!(outcome.peaks, model.peaks);
        assert_eq!(outcome.in_flight, model.least_in_flight(), "fewest in flight");
        assert_eq!((outcome.silent, outcome.stuck), (model.silent, model.stuck));
        assert_eq!((outcome.replaced, outcome.clock_steps), (0, 0));
        opened(&outcome.reopened, &model.opened);
    }

    fn close(&mut self) {
        self.world.borrow_mut().model.closes = true;
        self.tell(Command::Close);
        while self.worker.turn().expect("the network never gives up") {}
        let world = self.world.borrow();
        assert_eq!(self.gauges.held.load(Ordering::Relaxed), 0);
        // Servers that do not close are left to the end of the process.
        assert!(world.open_sockets <= self.connections);
    }

    fn turn(&mut self) {
        assert!(self.worker.turn().expect("the network never gives up"), "nobody asked for an end");
        let world = self.world.borrow();
        assert_eq!(self.gauges.held.load(Ordering::Relaxed), world.model.open().len() as u64);
        assert_eq!(self.gauges.inflight.load(Ordering::Relaxed), world.model.inflight, "in flight");
    }

    fn tell(&self, command: Command) {
        self.commands.send(command).expect("the worker listens");
    }

    fn event(&self) -> Option<Event> {
        self.events.try_recv().ok().map(|(_, event)| event)
    }
}

/// What was opened, for the first time or anew.
fn opened(opening: &opened::Opening, model: &Opening) {
    for (name, times, expected) in [
        ("connect", &opening.connect, &model.connect),
        ("upgrade", &opening.upgrade, &model.upgrade),
        ("hello", &opening.hello, &model.hello),
    ] {
        same(name, times, expected.as_ref().unwrap_or(&histogram()));
    }
    assert_eq!(opening.opened, model.opened);
    assert_eq!(opening.began, model.began.map(Moment));
    assert_eq!(opening.ended, Moment(model.ended));
}

fn figures(phase: &str, recorder: &Recorder, model: &Figures) {
    // Of time in flight only the sum is told: ticks cut it between warm-up and measured time.
    let counts = Counts { inflight_ns: 0, ..recorder.counts };
    let [ours, theirs] = [counts, model.counts].map(|counts| format!("{counts:?}"));
    let pairs = ours.split(", ").zip(theirs.split(", "));
    let differing: Vec<_> = pairs.filter(|(ours, theirs)| ours != theirs).collect();
    assert!(differing.is_empty(), "counts, {phase}: {differing:?}");
    let bounds = recorder.bounds.clone().unwrap_or_default();
    same(&format!("low, {phase}"), &bounds.low, &model.low);
    same(&format!("high, {phase}"), &bounds.high, &model.high);
    for (name, times, expected) in [
        ("response", &recorder.response, &model.response),
        ("wire", &recorder.wire, &model.wire),
        ("undisturbed", &recorder.undisturbed, &model.undisturbed),
        ("own slip", &recorder.own_slip, &model.own_slip),
        ("backpressure", &recorder.backpressure, &model.backpressure),
        ("read lag", &recorder.read_lag, &model.read_lag),
        ("ping", &recorder.ping, &model.ping),
        ("first", &recorder.first.clone().unwrap_or_default(), &model.first),
        ("slow readers", &recorder.slow.clone().unwrap_or_default(), &model.slowly),
        ("gap", &recorder.gap.clone().unwrap_or_default(), &model.gap),
    ] {
        same(&format!("{name}, {phase}"), times, expected);
    }
}

fn same(name: &str, times: &Times, expected: &Histogram<u64>) {
    if times.histogram != *expected {
        let list = |h: &Histogram<u64>| -> Vec<(u64, u64)> {
            h.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
        };
        let (ours, theirs) = (list(&times.histogram), list(expected));
        let only = |a: &[(u64, u64)], b: &[(u64, u64)]| -> Vec<(u64, u64)> {
            a.iter().filter(|x| !b.contains(x)).take(10).copied().collect()
        };
        panic!(
            "{name}: {} recorded and {} expected; recorded only {:?}, expected only {:?}",
            times.histogram.len(),
            expected.len(),
            only(&ours, &theirs),
            only(&theirs, &ours)
        );
    }
    assert_eq!(times.saturated, 0, "{name}");
}

/// The slowest messages: the right ones, with what is said of each.
fn slowest(recorder: &Recorder, model: &Figures, from: u64) {
    let mut expected = model.slow.clone();
    // Where a wrong stamp stands before the message was due, the response is nothing.
    expected.retain(|slow| slow.0 > 0);
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let known: HashSet<_> = expected.iter().copied().collect();
    let list = recorder.slowest.list();
    assert_eq!(list.len(), expected.len().min(100), "since {from}");
    for (slow, expected) in list.iter().zip(&expected) {
        assert_eq!(slow.response_ns, expected.0, "the slowest");
        let said = (slow.response_ns, slow.conn, slow.t_ns, slow.own_slip_ns, slow.size);
        assert!(known.contains(&said), "{slow:?} is none of those sent");
    }
}
