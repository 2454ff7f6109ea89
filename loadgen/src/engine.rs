//! The threads, and the script-facing side of them: open connections, run traffic, close.

pub mod backoff;
pub mod commands;
pub mod connection;
pub mod connector;
pub mod conversation;
pub mod deliveries;
pub mod flow;
pub mod in_flight;
pub mod live_view;
pub mod measured;
pub mod network;
pub mod opened;
pub mod patience;
pub mod payload;
pub mod plan;
pub mod progress;
pub mod recorder;
pub mod recovery;
pub mod running;
pub mod sampler;
pub mod schedule;
pub mod sender;
pub mod silence;
pub mod size;
pub mod slow;
pub mod spec;
pub mod system;
pub mod tally;
pub mod target;
pub mod think;
pub mod time_series;
pub mod timer;
pub mod timetable;
pub mod transport;
pub mod verify;
pub mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;

use crate::engine::commands::{Command, Event, Load, TickReport, Traffic};
use crate::engine::deliveries::Collector;
use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::engine::plan::Plan;
use crate::engine::progress::Progress;
use crate::engine::recorder::Recorder;
use crate::engine::recovery::Recovery;
use crate::engine::sampler::Sampler;
use crate::engine::schedule::{Cursor, Curve};
use crate::engine::spec::{Gauges, Spec};
use crate::engine::system::System;
use crate::engine::tally::Tally;
use crate::engine::timetable::Timetable;
use crate::engine::worker::Worker;
use crate::host::clock::{Moment, Nanos};
use crate::host::procfs;
use crate::host::usage::usage;

/// From the decision to begin until the first message, so that all threads are ready.
const LEAD: Nanos = Nanos::millis(100);

/// The threads.
pub struct Engine {
    /// What all threads go by.
    pub spec: Arc<Spec>,
    threads: Vec<Thread>,
    events: Receiver<(usize, Event)>,
    /// Of each thread.
    pub gauges: Vec<Arc<Gauges>>,
    interrupted: Arc<AtomicBool>,
}

struct Thread {
    commands: Sender<Command>,
    waker: Waker,
    spare: Sender<Box<Recorder>>,
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
            let (system, waker) = System::new(spec.kernel_stamps)?;
            let worker = Worker::new(me, spec.clone(), gauge.clone(), system, orders, tell.clone(), spares);
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
    pub fn open(&self, upto: usize, progress: &mut Progress) -> io::Result<Opening> {
        for (me, thread) in self.threads.iter().enumerate() {
            thread.tell(Command::Open(self.spec.share(me, upto)))?;
        }
        let mut all = Opening::default();
        let (began, cpu) = (Moment::now(), procfs::cpu(std::process::id()));
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
                _ => progress.opening(self.held(), upto as u64, self.failed()),
            }
        }
        if let Some((before, after)) = cpu.zip(procfs::cpu(std::process::id())) {
            let wall = (Moment::now() - began).0.max(1);
            all.cpu_pct = 100.0 * after.since(before).total() as f64 / wall as f64;
        }
        Ok(all)
    }

    /// Runs `plan` on the connections that are open.
    ///
    /// # Errors
    /// When a thread cannot go on.
    pub fn run(&self, plan: &Plan, progress: &mut Progress) -> io::Result<Measured> {
        let times = Timetable::of(plan, Moment::now() + LEAD);
        let (from, to) = (times.from, times.to);
        let curve = plan.rate.as_ref().map(|rate| Arc::new(Curve::new(rate, plan.warmup, times.length)));
        let collector = plan.fanout.map(|audience| Collector::new(self.held(), audience, times.from));
        let collector = collector.map(|collector| Arc::new(Mutex::new(collector)));
        for (me, thread) in self.threads.iter().enumerate() {
            let traffic = self.traffic(me, plan, &times, curve.as_ref(), collector.clone());
            thread.tell(Command::Run(Box::new(traffic)))?;
        }
        let sampler = Sampler::start(from, to, self.spec.seed);
        let tally = Tally::new(plan, curve, &times, self.threads.len());
        let mut script = Script { engine: self, plan, progress, tally, from, to };
        script.run()?;
        let mut measured = script.tally.settle(Moment::now());
        // The threads have let go of it.
        let collector = collector.and_then(Arc::into_inner);
        measured.collector = collector.map(|all| all.into_inner().unwrap_or_else(PoisonError::into_inner));
        measured.hiccup = sampler.finish();
        Ok(measured)
    }

    /// What thread `me` is to send.
    fn traffic(
        &self,
        me: usize,
        plan: &Plan,
        times: &Timetable,
        curve: Option<&Arc<Curve>>,
        collector: Option<Arc<Mutex<Collector>>>,
    ) -> Traffic {
        // Threads without a connection that sends have no share of the schedule.
        let threads = self.threads.len().min(plan.active.max(1));
        let number = plan.shard.0 * threads + me.min(threads - 1);
        let all = threads * plan.shard.1;
        let load = match curve {
            Some(curve) => {
                let (number, all) = (number as u64, all as u64);
                Load::Open(Cursor::new(curve.clone(), times.begin, number, all, plan.arrival, self.spec.seed))
            }
            None => Load::Closed(plan.pipeline),
        };
        Traffic {
            load,
            active: self.spec.share(me, plan.active.min(self.held() as usize)),
            from: times.from,
            to: times.to,
            until: times.until,
            tick: times.tick,
            begin: times.begin,
            collector,
            think: plan.think,
        }
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

    /// A signal asked for an end.
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
struct Script<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    progress: &'a mut Progress,
    tally: Tally,
    from: Moment,
    to: Moment,
}

impl Script<'_> {
    fn run(&mut self) -> io::Result<()> {
        let me = std::process::id();
        let mut waiting = self.engine.threads.len();
        let (mut before, mut after) = (None, None);
        let mut outage = self.plan.storm.clone();
        while waiting > 0 {
            let event = self.engine.event(Duration::from_millis(20))?;
            let now = Moment::now();
            if now >= self.from && before.is_none() {
                before = Some((now, usage(me).unwrap_or_default(), self.plan.server_pid.and_then(usage)));
            }
            if now >= self.to && after.is_none() {
                after = Some((now, usage(me).unwrap_or_default(), self.plan.server_pid.and_then(usage)));
            }
            if let Some(outage) = outage.take_if(|outage| now >= self.from + outage.after.into()) {
                for thread in &self.engine.threads {
                    let recovery = match outage.server {
                        true => Recovery::watching(outage.backoff.clone()),
                        false => Recovery::new(outage.backoff.clone(), outage.reset),
                    };
                    thread.tell(Command::Storm(Box::new(recovery)))?;
                }
            }
            if self.engine.interrupted() && !self.tally.measured.interrupted {
                self.tally.measured.interrupted = true;
                for thread in &self.engine.threads {
                    thread.tell(Command::Stop)?;
                }
            }
            match event {
                Some((thread, Event::Tick(report))) => self.tick(thread, *report),
                Some((_, Event::Finished(outcome))) => {
                    waiting -= 1;
                    self.tally.finished(*outcome);
                }
                _ => {}
            }
        }
        self.tally.rows.finish(Moment::now());
        while let Some(row) = self.tally.rows.fresh() {
            self.progress.row(row);
        }
        let last = (Moment::now(), usage(me).unwrap_or_default(), self.plan.server_pid.and_then(usage));
        let (t0, own0, server0) = before.unwrap_or(last);
        let (t1, own1, server1) = after.unwrap_or(last);
        self.tally.measured.own = own1.since(own0, t1 - t0);
        self.tally.measured.server = server0.zip(server1).map(|(a, b)| b.since(a, t1 - t0));
        Ok(())
    }

    fn tick(&mut self, thread: usize, report: TickReport) {
        self.tally.tick(thread, &report, self.engine.held());
        let TickReport { number, mut measured, mut warmup } = report;
        let shown = if number < 0 { &warmup } else { &measured };
        self.progress.tick(&self.engine.gauges, self.plan, (self.from, self.to), number, shown);
        while let Some(row) = self.tally.rows.fresh() {
            self.progress.row(row);
        }
        for recorder in [&mut measured, &mut warmup] {
            recorder.clear();
        }
        let thread = &self.engine.threads[thread];
        let _ = thread.spare.send(measured);
        let _ = thread.spare.send(warmup);
    }
}
