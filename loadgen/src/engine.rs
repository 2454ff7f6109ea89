//! The threads, and the script-facing side of them: open connections, run traffic, close.

pub mod backoff;
pub mod commands;
pub mod connect;
pub mod connection;
pub mod deliveries;
mod drop;
pub mod in_flight;
pub mod measured;
pub mod opened;
pub mod payload;
pub mod plan;
pub mod progress;
pub mod recorder;
pub mod recovery;
pub mod sampler;
pub mod schedule;
pub mod send;
pub mod size;
pub mod socket_io;
pub mod spec;
pub mod target;
pub mod time_series;
pub mod timer;
pub mod verify;
pub mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;

use crate::engine::commands::{Command, Event, Outcome, TickReport};
use crate::engine::deliveries::Collector;
use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::plan::Plan;
use crate::engine::progress::Live;
use crate::engine::recorder::Tally;
use crate::engine::recovery::Recovery;
use crate::engine::sampler::Watch;
use crate::engine::schedule::{Cursor, Curve, Rate};
use crate::engine::send::{Load, Traffic};
use crate::engine::spec::{Gauges, Spec};
use crate::engine::time_series::Rows;
use crate::engine::worker::Worker;
use crate::host::clock::{self, SECOND};
use crate::host::usage::usage;

/// Live figures are renewed this often.
const TICK: u64 = SECOND / 4;

/// From the decision to begin until the first message, so that all threads are ready.
const LEAD: u64 = SECOND / 10;

/// The threads.
pub struct Engine {
    pub spec: Arc<Spec>,
    threads: Vec<Thread>,
    events: Receiver<(usize, Event)>,
    pub gauges: Vec<Arc<Gauges>>,
    interrupted: Arc<AtomicBool>,
}

struct Thread {
    commands: Sender<Command>,
    waker: Waker,
    spare: Sender<Box<Tally>>,
    handle: JoinHandle<()>,
}

impl Engine {
    /// Starts the threads of `spec`; `interrupted` ends whatever they do.
    ///
    /// # Errors
    /// When descriptors or threads are exhausted.
    pub fn start(spec: Spec, interrupted: Arc<AtomicBool>) -> io::Result<Engine> {
        let spec = Arc::new(spec);
        let (tell, events) = mpsc::channel();
        let mut threads = Vec::new();
        let mut gauges = Vec::new();
        for me in 0..spec.threads {
            let (commands, orders) = mpsc::channel();
            let (spare, spares) = mpsc::channel();
            let gauge = Arc::new(Gauges::default());
            let (worker, waker) = Worker::new(me, spec.clone(), gauge.clone(), orders, tell.clone(), spares)?;
            let handle = thread::Builder::new().name(format!("loadgen-{me}")).spawn(move || worker.work())?;
            threads.push(Thread { commands, waker, spare, handle });
            gauges.push(gauge);
        }
        Ok(Engine { spec, threads, events, gauges, interrupted })
    }

    /// Opens connections until `upto` in all were tried, and says how that went. An interruption ends it early.
    ///
    /// # Errors
    /// When a thread cannot go on.
    pub fn open(&self, upto: usize, live: &mut Live) -> io::Result<Opening> {
        for (me, thread) in self.threads.iter().enumerate() {
            thread.tell(Command::Open(self.spec.share(me, upto)))?;
        }
        let mut all = Opening::default();
        let before = self.held();
        let mut waiting = self.threads.len();
        while waiting > 0 {
            match self.event(Duration::from_millis(100))? {
                Some((_, Event::Opened(opening))) => {
                    all.add(&opening);
                    waiting -= 1;
                }
                _ if self.interrupted() => {
                    all.opened = self.held().saturating_sub(before);
                    break;
                }
                _ => live.opening(self.held(), upto as u64, self.failed()),
            }
        }
        Ok(all)
    }

    /// Runs `plan` on the connections that are open.
    ///
    /// # Errors
    /// When a thread cannot go on.
    pub fn run(&self, plan: &Plan, live: &mut Live) -> io::Result<Measured> {
        let length = plan.rate.as_ref().and_then(Rate::length).unwrap_or(plan.duration);
        let begin = plan.start_at.unwrap_or(0).max(clock::now() + LEAD);
        let from = begin + plan.warmup.as_nanos() as u64;
        let to = from + length.as_nanos() as u64;
        let until = to + plan.drain.as_nanos() as u64;
        let interval = (plan.interval.as_nanos() as u64).max(1_000_000);
        let per_row = interval.div_ceil(TICK);
        let tick = interval / per_row;
        let curve = plan.rate.as_ref().map(|rate| Arc::new(Curve::new(rate, plan.warmup, length)));
        for (me, thread) in self.threads.iter().enumerate() {
            let (number, all) =
                ((plan.shard.0 * self.threads.len() + me) as u64, self.threads.len() * plan.shard.1);
            let load = match &curve {
                Some(curve) => Load::Open(Cursor::new(
                    curve.clone(),
                    begin,
                    number,
                    all as u64,
                    plan.arrival,
                    self.spec.seed,
                )),
                None => Load::Closed(plan.pipeline),
            };
            let active = self.spec.share(me, plan.active.min(self.held() as usize));
            let collector = plan.fanout.then(|| Box::new(Collector::new(self.held(), from)));
            thread.tell(Command::Run(Box::new(Traffic {
                load,
                active,
                from,
                to,
                until,
                tick,
                begin,
                collector,
            })))?;
        }
        let watch = Watch::start(self.gauges.clone(), from, to, self.spec.seed);
        let rows = Rows::new(plan, curve.clone(), from, to, interval, per_row, self.threads.len());
        let mut run =
            Run { engine: self, plan, live, rows, measured: Measured::default(), idle: Vec::new(), from, to };
        run.idle.resize(self.threads.len(), 0);
        run.go()?;
        let mut measured = run.measured;
        measured.intervals = run.rows.done;
        let window = to.min(clock::now()).saturating_sub(from) as f64;
        let least_idle = run.idle.iter().min().copied().unwrap_or(0) as f64;
        // A run that ended in its warm-up measured nothing.
        if window > 0.0 {
            measured.busy_pct = (100.0 * (1.0 - least_idle / window)).clamp(0.0, 100.0);
        }
        measured.seen = watch.finish();
        measured.from = from;
        measured.to = to;
        measured.scheduled = curve.map_or(0.0, |curve| {
            let warmup = plan.warmup.as_secs_f64();
            curve.due_between(warmup, warmup + length.as_secs_f64()) / plan.shard.1 as f64
        });
        Ok(measured)
    }

    /// Closes everything and ends the threads.
    ///
    /// # Errors
    /// When a thread could not go on.
    pub fn close(self) -> io::Result<()> {
        for thread in &self.threads {
            thread.tell(Command::Close)?;
        }
        for thread in self.threads {
            let _ = thread.handle.join();
        }
        Ok(())
    }

    /// Open WebSockets.
    pub fn held(&self) -> u64 {
        self.gauges.iter().map(|g| g.held.load(Ordering::Relaxed)).sum()
    }

    fn failed(&self) -> u64 {
        self.gauges.iter().map(|g| g.failed.load(Ordering::Relaxed)).sum()
    }

    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The next event within `patience`.
    fn event(&self, patience: Duration) -> io::Result<Option<(usize, Event)>> {
        match self.events.recv_timeout(patience) {
            Ok((_, Event::Failed(e))) => Err(e),
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("every thread has ended")),
        }
    }
}

impl Thread {
    fn tell(&self, command: Command) -> io::Result<()> {
        // A thread that has ended said why, which is the better error.
        let _ = self.commands.send(command);
        self.waker.wake()
    }
}

/// A run seen from the script's thread.
struct Run<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    live: &'a mut Live,
    rows: Rows,
    measured: Measured,
    /// Time each thread has waited while measuring.
    idle: Vec<u64>,
    from: u64,
    to: u64,
}

impl Run<'_> {
    fn go(&mut self) -> io::Result<()> {
        let me = std::process::id();
        let mut waiting = self.engine.threads.len();
        let (mut before, mut after) = (None, None);
        let mut storm = self.plan.storm.clone();
        while waiting > 0 {
            let event = self.engine.event(Duration::from_millis(20))?;
            let now = clock::now();
            if now >= self.from && before.is_none() {
                before = Some((now, usage(me), self.plan.server_pid.map(usage)));
            }
            if now >= self.to && after.is_none() {
                after = Some((now, usage(me), self.plan.server_pid.map(usage)));
            }
            if let Some((at, reset, policy)) =
                storm.take_if(|(at, ..)| now >= self.from + at.as_nanos() as u64)
            {
                let _ = at;
                for thread in &self.engine.threads {
                    thread.tell(Command::Storm(Box::new(Recovery::new(policy.clone(), reset))))?;
                }
            }
            if self.engine.interrupted() && !self.measured.interrupted {
                self.measured.interrupted = true;
                for thread in &self.engine.threads {
                    thread.tell(Command::Stop)?;
                }
            }
            match event {
                Some((thread, Event::Tick(report))) => self.tick(thread, *report),
                Some((_, Event::Finished(outcome))) => {
                    waiting -= 1;
                    self.finished(*outcome);
                }
                _ => {}
            }
        }
        self.rows.finish();
        let last = (clock::now(), usage(me), self.plan.server_pid.map(usage));
        let (t0, own0, server0) = before.unwrap_or(last);
        let (t1, own1, server1) = after.unwrap_or(last);
        self.measured.own = own1.since(own0, t1 - t0);
        self.measured.server = server0.zip(server1).map(|(a, b)| b.since(a, t1 - t0));
        Ok(())
    }

    fn tick(&mut self, thread: usize, report: TickReport) {
        let TickReport { number, mut measured, mut warmup } = report;
        self.measured.total.add(&measured);
        if number >= 0 && (number as u64) < self.rows.measured_ticks {
            self.idle[thread] += measured.counts.idle_ns;
        }
        let shown = if number < 0 { &warmup } else { &measured };
        self.rows.add(number, shown, self.engine.held());
        if number < 0 {
            // Measuring began before the last tick of the warm-up was handed over.
            self.rows.row(0).0.add(&measured);
        }
        self.live.tick(&self.engine.gauges, self.plan, (self.from, self.to), number, shown);
        if let Some(row) = self.rows.fresh() {
            self.live.row(row);
        }
        for tally in [&mut measured, &mut warmup] {
            tally.clear();
        }
        let thread = &self.engine.threads[thread];
        let _ = thread.spare.send(measured);
        let _ = thread.spare.send(warmup);
    }

    fn finished(&mut self, outcome: Outcome) {
        let all = &mut self.measured;
        opened::add(&mut all.failures, &outcome.failures);
        all.held_min += outcome.held_min;
        all.unanswered.add(&outcome.unanswered);
        if all.peaks.len() < outcome.peaks.len() {
            all.peaks.resize(outcome.peaks.len(), 0);
        }
        for (peak, other) in all.peaks.iter_mut().zip(outcome.peaks) {
            *peak = (*peak).max(other);
        }
        if let Some(recovery) = outcome.recovery {
            match &mut all.recovery {
                Some(sum) => sum.add(*recovery),
                None => all.recovery = Some(*recovery),
            }
        }
        if let Some(collector) = outcome.collector {
            all.collector = Some(*collector);
        }
    }
}
