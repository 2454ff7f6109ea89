//! The reactor: one poll, one slab, one run queue, one thread.
//!
//! A tick takes the events, gives every ready connection one turn, ends the patience of those that are overdue, and lets new
//! clients in. The rules that keep it honest, all of them about edge-triggered readiness:
//!
//! - An event only sets bits. Whether a connection is over is told by a read or a write, never by a hint.
//! - Who stops half-way (a full read) gets no further event, so it joins the queue of the unfinished, and the next poll does
//!   not wait. A tick serves those who became ready, then some of the unfinished: who asks for little never waits for all who
//!   ask for much. The more turns there are, the less each may read; everything else that may come in crowds has its slice.
//! - A connection is looked up by its [`ConnId`], which fails once it is gone: stale events find nobody.
//! - Readiness is served before timers: after a pause of the whole process, clients whose bytes lie waiting are not idle.

mod admission;
pub mod aside;
pub mod boards;
pub mod brake;
pub mod config;
pub mod connection;
pub mod deadlines;
pub mod end;
pub mod ffi;
pub mod kernel;
pub mod listener;
pub mod mark;
pub mod memory;
pub mod moment;
pub mod outbox;
pub mod relief;
pub mod shutdown;
pub mod slice;
pub mod stats;
pub mod system;
pub mod token;
mod trace;
pub mod transport;
pub mod turn;
mod upkeep;

use crate::log::{self, Class, Level};
use boards::BoardId;
use brake::Brakes;
use config::Config;
use connection::Connection;
use deadlines::Deadlines;
use end::End;
use kernel::{Kernel, Notice, Readiness};
use listener::{AcceptState, ListenerState, Role, STATS_SPARE};
use moment::Moment;
use relief::Relief;
use shutdown::{Drain, SPREAD_STEP, STOPPING, Stop};
use slab::Slab;
use slice::Slice;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use token::{ConnId, Source};
use turn::{Context, Shared, Turn};

/// Clients who were not done with their last turn and get another in a tick, or a quarter of those who became ready if that is
/// more. Few, so that whoever becomes ready does not wait for all who are greedy; the fewer, the more each may read.
const UNFINISHED_PER_TICK: usize = 16;
/// Of members whose board is read again, those who are not among the unfinished.
const RELEASED_PER_TICK: usize = 256;
/// Connections in TLS whose expanded keys are kept: a mebibyte of them, for those who speak all the time.
#[cfg(feature = "tls")]
const EXPANDED_MAX: usize = 1024;
/// Connections that there is room for from the beginning: what is not used takes no memory, but growth leaves holes behind.
const ROOM: usize = 8192;
/// How soon an alarm rings again at the earliest.
const RING_AGAIN: Duration = Duration::from_millis(1);

/// The server's loop, over any [`Kernel`].
pub struct Reactor<K: Kernel> {
    kernel: K,
    config: Config,
    listeners: Vec<ListenerState>,
    connections: Slab<Connection<K::Stream>>,
    /// Of the connection accepted last; 0 is never given.
    serial: u32,
    /// Clients who became ready.
    run: VecDeque<ConnId>,
    /// Clients who became ready and have not opened yet. They get a slice of a tick: they are much work, and come in storms.
    newcomers: VecDeque<ConnId>,
    /// Clients who could have gone on in their last turn.
    unfinished: VecDeque<ConnId>,
    brakes: Brakes,
    /// Clients who ask for numbers and were let in beyond the limit.
    scrapers: Vec<ConnId>,
    deadlines: Deadlines,
    shared: Shared,
    relief: Relief,
    now: Moment,
    /// Until then the loop does not sleep.
    awake_until: Moment,
    stop: Stop,
    /// When the service manager is to hear from the loop again.
    next_notice: Moment,
}

impl<K: Kernel> Reactor<K> {
    /// A reactor over the listeners of `kernel`, which have these roles.
    pub fn new(kernel: K, roles: &[Role], config: Config) -> Reactor<K> {
        let now = kernel.now();
        Reactor {
            kernel,
            listeners: roles.iter().map(|role| ListenerState::new(*role)).collect(),
            connections: Slab::with_capacity(ROOM),
            serial: 0,
            run: VecDeque::new(),
            newcomers: VecDeque::new(),
            unfinished: VecDeque::new(),
            brakes: Brakes::default(),
            scrapers: Vec::new(),
            deadlines: Deadlines::with_room(ROOM),
            shared: Shared::new(&config),
            relief: Relief::default(),
            config,
            now,
            awake_until: now,
            stop: Stop::No,
            next_notice: now,
        }
    }

    /// Has the ports of TLS show this.
    #[cfg(feature = "tls")]
    pub fn show(&mut self, service: Option<crate::tls::certificate::Service>) {
        self.shared.tls = service;
    }

    /// Serves until a signal ends it.
    pub fn run(&mut self) -> io::Result<()> {
        while self.tick()? {}
        Ok(())
    }

    /// One round; false when it was the last.
    pub fn tick(&mut self) -> io::Result<bool> {
        self.collect()?;
        self.shared.boards.begin_round();
        let unfinished = self.unfinished.len().min(UNFINISHED_PER_TICK.max(self.run.len() / 4));
        self.shared.share_out(self.run.len());
        while let Some(id) = self.run.pop_front() {
            self.serve(id);
        }
        if unfinished > 0 {
            self.shared.share_out(unfinished);
        }
        for _ in 0..unfinished {
            let Some(id) = self.unfinished.pop_front() else { break };
            self.serve(id);
        }
        self.greet();
        self.expire();
        if self.shared.boards.is_busy() {
            self.deliver();
        }
        if self.brakes.are_on() {
            self.release();
        }
        self.end_boards();
        self.accept();
        self.drain();
        self.relieve();
        self.notify();
        let end = self.kernel.now();
        self.shared.stats.tick(self.now, end);
        // The next poll waits from here: what this tick took must not come on top.
        self.now = end;
        Ok(match &self.stop {
            Stop::No => true,
            Stop::Draining(drain) => {
                !self.connections.is_empty() && self.now < drain.since + self.config.drain_timeout
            }
            Stop::Now => false,
        })
    }

    /// Waits for events and does what signals ask for.
    fn collect(&mut self) -> io::Result<()> {
        let mut heard = Notes::default();
        let polled = self.wait(&mut heard);
        self.now = self.kernel.now();
        if heard.reports > 0 {
            // Who asks is answered, whatever the level; who asks without end is not.
            log::limited(Class::Report, Level::Off, format_args!("{}", self.shared.stats.summary()));
        }
        if heard.reloads > 0 {
            self.reload();
        }
        for _ in 0..heard.stops {
            self.stop();
        }
        match polled {
            // SIGSTOP and SIGCONT do this without any handler.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Waits for events: awake while the last are not older than `--spin`, then asleep.
    fn wait(&mut self, heard: &mut Notes) -> io::Result<()> {
        let mut timeout = self.timeout();
        let spins = !self.config.spin.is_zero();
        let due = timeout.filter(|_| spins).map_or(Moment::NEVER, |timeout| self.now + timeout);
        let mut is_awake = spins;
        loop {
            // In one place for all, or it would be a call, and that for everybody who does not spin.
            self.poll(if is_awake { Some(Duration::ZERO) } else { timeout }, heard)?;
            if !spins {
                return Ok(());
            }
            self.now = self.kernel.now();
            if heard.anything {
                self.awake_until = self.now + self.config.spin;
                return Ok(());
            }
            if !is_awake || self.now >= due {
                return Ok(());
            }
            if self.now >= self.awake_until {
                is_awake = false;
                timeout = (due < Moment::NEVER).then(|| due.after(self.now));
            }
        }
    }

    /// Takes the events of one poll, and notes who is ready.
    #[inline]
    fn poll(&mut self, timeout: Option<Duration>, heard: &mut Notes) -> io::Result<()> {
        let Reactor { kernel, listeners, connections, run, newcomers, .. } = self;
        kernel.poll(timeout, |event: Readiness| {
            heard.anything = true;
            match event.source {
                Source::Connection(id) => {
                    let Some(connection) = find(connections, id) else { return };
                    connection.note(&event);
                    if !connection.transport.queued {
                        connection.transport.queued = true;
                        let queue = if connection.is_new() { &mut *newcomers } else { &mut *run };
                        queue.push_back(id);
                    }
                }
                Source::Listener(index) => listeners[index].note(),
                Source::Stop => heard.stops += 1,
                Source::Report => heard.reports += 1,
                Source::Reload => heard.reloads += 1,
            }
        })
    }

    /// How long the next poll may wait.
    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() || !self.newcomers.is_empty() || !self.run.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.shared.boards.can_deliver(&self.shared.stats.memory) {
            return Some(Duration::ZERO);
        }
        let mut next = self.deadlines.next().unwrap_or(Moment::NEVER);
        next = next.min(self.shared.boards.next_end().unwrap_or(Moment::NEVER));
        for listener in &self.listeners {
            match listener.state {
                AcceptState::Quiet | AcceptState::Closed => {}
                AcceptState::Pending => return Some(Duration::ZERO),
                AcceptState::Stalled(until) => next = next.min(until),
            }
        }
        if let Stop::Draining(drain) = &self.stop {
            next = next.min(drain.since + self.config.drain_timeout);
            if drain.is_due(self.now, &self.config) {
                return Some(Duration::ZERO);
            }
            if !drain.untold.is_empty() {
                next = next.min(self.now + SPREAD_STEP);
            }
        }
        if self.config.watchdog.is_some() {
            next = next.min(self.next_notice);
        }
        next = next.min(self.relief.next()).min(self.brakes.next());
        (next < Moment::NEVER).then(|| next.after(self.now))
    }

    #[inline]
    fn serve(&mut self, id: ConnId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.transport.queued = false;
        let context = Context { id, config: &self.config, now: self.now };
        let holds = |board: &BoardId| self.brakes.holds(*board) || self.shared.boards.holds(*board);
        let turn = match connection.speaks_on().filter(holds) {
            None => connection.turn(&mut self.shared, &context),
            Some(board) => connection.write_turn(&mut self.shared, &context).unwrap_or_else(|| {
                // It is in no queue meanwhile: what it is told has to go out.
                if connection.transport.is_readable() && !connection.transport.held {
                    connection.transport.held = true;
                    self.brakes.hold(board, id, self.now);
                }
                Turn::Wait
            }),
        };
        #[cfg(feature = "tls")]
        if connection.lists_keys() {
            self.shared.expanded.push_back(id);
        }
        if turn != Turn::Wait || connection.due(&self.config, self.now) < connection.alarm {
            self.finish_turn(id, turn);
        }
        #[cfg(feature = "tls")]
        if self.shared.expanded.len() > EXPANDED_MAX {
            self.give_up_keys();
        }
        if self.shared.boards.is_heavy() {
            self.deliver();
        }
    }

    /// Serves clients who have not opened yet.
    fn greet(&mut self) {
        let mut slice = Slice::default();
        self.shared.share_out(self.newcomers.len());
        while !slice.is_over()
            && let Some(id) = self.newcomers.pop_front()
        {
            slice.at(self.kernel.now());
            self.serve(id);
        }
    }

    /// Lets those speak again on whose boards everything was heard.
    fn release(&mut self) {
        let Reactor { connections, brakes, shared, run, unfinished, now, .. } = self;
        let is_late = |id: ConnId| {
            let connection = connections.get(id.key as usize).filter(|each| each.serial == id.serial);
            connection.is_some_and(Connection::is_behind)
        };
        for id in brakes.take_off(*now, |board| shared.boards.holds(board), is_late) {
            let Some(connection) = find(connections, id) else { continue };
            connection.transport.held = false;
            if !std::mem::replace(&mut connection.transport.queued, true) {
                // What many say goes to all of them at once.
                let queue = if run.len() < RELEASED_PER_TICK { &mut *run } else { &mut *unfinished };
                queue.push_back(id);
            }
        }
    }

    /// Tells the members of boards what the others said, and sees to the alarms of those who only listen.
    #[inline(never)]
    fn deliver(&mut self) {
        let Reactor { shared, connections, brakes, kernel, config, now, .. } = self;
        #[cfg(feature = "tls")]
        let expanded = &mut shared.expanded;
        let (boards, stats) = (&mut shared.boards, &mut shared.stats);
        let mut fallen = Vec::new();
        boards.deliver(
            stats,
            || kernel.now(),
            |id, bytes, messages, stats| {
                let Some(connection) = find(connections, id) else { return };
                let turn = connection.deliver(bytes, messages, stats, *now);
                if let (None, Some(board), true) = (turn, connection.board(), connection.is_behind()) {
                    brakes.put_on(board, id, *now);
                }
                if turn.is_some() || connection.due(config, *now) < connection.alarm {
                    fallen.push((id, turn.unwrap_or(Turn::Wait)));
                }
                #[cfg(feature = "tls")]
                if connection.lists_keys() {
                    expanded.push_back(id);
                }
            },
        );
        for (id, turn) in fallen {
            self.finish_turn(id, turn);
        }
        #[cfg(feature = "tls")]
        self.give_up_keys();
    }

    /// Keeps the expanded keys of those who spoke last, and no more: they take a kilobyte a connection.
    #[cfg(feature = "tls")]
    fn give_up_keys(&mut self) {
        while self.shared.expanded.len() > EXPANDED_MAX {
            let Some(id) = self.shared.expanded.pop_front() else { return };
            if let Some(connection) = find(&mut self.connections, id) {
                connection.give_up_keys();
            }
        }
    }

    /// Reads the certificates again; those who are connected keep theirs.
    fn reload(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(service) = &self.shared.tls {
            match service.reload() {
                Ok(service) => {
                    log::info(format_args!("TLS certificates read again"));
                    self.shared.tls = Some(service);
                }
                Err(why) => log::limited(
                    Class::Report,
                    Level::Error,
                    format_args!("{why}; the TLS certificates stay as they were"),
                ),
            }
        }
    }

    /// Tells a connection to go, and why.
    fn dismiss(&mut self, id: ConnId, reason: &str) {
        if let Some(connection) = find(&mut self.connections, id) {
            let turn = connection.leave(reason, &mut self.shared.stats, self.now);
            self.finish_turn(id, turn);
        }
    }

    /// Does what a turn leaves to do, and sees to the connection's alarm.
    fn finish_turn(&mut self, id: ConnId, turn: Turn) {
        let Some(connection) = find(&mut self.connections, id) else {
            return;
        };
        match turn {
            Turn::Over(end) => return self.remove(id, end),
            Turn::Again if !connection.transport.queued => {
                connection.transport.queued = true;
                self.unfinished.push_back(id);
            }
            Turn::Again | Turn::Wait => {}
        }
        let due = connection.due(&self.config, self.now);
        if due < connection.alarm {
            // Not at once: one that is overdue, and stays so, is no reason to ring without end.
            connection.alarm = due.max(self.now + RING_AGAIN);
            self.deadlines.set(connection.alarm, id);
            self.tidy_alarms();
        }
    }

    fn tidy_alarms(&mut self) {
        let connections = &self.connections;
        self.deadlines.tidy(connections.len(), |at, id| {
            connections.get(id.key as usize).is_some_and(|each| each.serial == id.serial && each.alarm == at)
        });
    }

    fn remove(&mut self, id: ConnId, end: End) {
        let mut connection = self.connections.remove(id.key as usize);
        connection.finish(end, &mut self.shared.stats);
        if let Some(board) = connection.board() {
            self.shared.boards.leave(board, id, &mut self.shared.stats.memory);
        }
        for listener in &mut self.listeners {
            if let AcceptState::Stalled(_) = listener.state {
                listener.state = AcceptState::Pending;
            }
        }
        self.tidy_alarms();
    }

    /// Ends the patience of connections that are overdue.
    fn expire(&mut self) {
        let mut slice = Slice::default();
        while !slice.is_over()
            && let Some((at, id)) = self.deadlines.ring(self.now)
        {
            slice.at(self.kernel.now());
            let Some(connection) = find(&mut self.connections, id) else {
                continue;
            };
            if connection.alarm != at {
                continue;
            }
            connection.alarm = Moment::NEVER;
            let context = Context { id, config: &self.config, now: self.now };
            let turn = connection.ring(&mut self.shared, &context);
            self.finish_turn(id, turn);
        }
    }

    /// Closes the boards whose lifetime is over, and everybody on them.
    fn end_boards(&mut self) {
        let mut slice = Slice::default();
        while !slice.is_over()
            && let Some(member) = self.shared.boards.end(self.now, &mut self.shared.stats.memory)
        {
            slice.at(self.kernel.now());
            let reason = self.shared.boards.end_reason();
            self.dismiss(member, &reason);
        }
    }

    /// A signal: the first has everyone told to go, the second does not wait for it.
    ///
    /// Clients in the listeners' queues have connected as far as they know: they are let in first, and told like the others.
    fn stop(&mut self) {
        if !matches!(self.stop, Stop::No) {
            self.stop = Stop::Now;
            return;
        }
        self.kernel.notify(Notice::Stopping);
        self.shared.stats.draining = true;
        for index in 0..self.listeners.len() {
            // Whoever asks for the health of this server is still answered.
            if self.listeners[index].role == Role::Stats {
                continue;
            }
            self.accept_all(index);
            self.kernel.close_listener(index);
            self.listeners[index].state = AcceptState::Closed;
        }
        let untold: Vec<ConnId> = self
            .connections
            .iter()
            .map(|(key, connection)| ConnId { key: key as u32, serial: connection.serial })
            .collect();
        log::info(format_args!("stopping: {} clients are told to go", untold.len()));
        self.stop = Stop::Draining(Drain { since: self.now, total: untold.len(), untold });
    }

    /// Tells those to go whose time for that has come.
    fn drain(&mut self) {
        let mut slice = Slice::default();
        while let Stop::Draining(drain) = &mut self.stop
            && !slice.is_over()
            && drain.is_due(self.now, &self.config)
            && let Some(id) = drain.untold.pop()
        {
            slice.at(self.kernel.now());
            self.dismiss(id, STOPPING);
        }
    }

    /// Tells the service manager that the loop goes round, as often as it asked for.
    fn notify(&mut self) {
        let Some(interval) = self.config.watchdog else { return };
        if self.now >= self.next_notice {
            self.next_notice = self.now + interval;
            self.kernel.notify(Notice::Alive);
        }
    }

    /// How many clients are held.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What has happened so far.
    pub fn stats(&self) -> &stats::Stats {
        &self.shared.stats
    }

    /// Panics unless what the fields promise each other holds; for the simulation, after every tick.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        for (_, connection) in &self.connections {
            connection.assert_invariants();
            let transport = &connection.transport;
            assert!(
                transport.queued || !transport.could_write(),
                "an outbox and a socket that would take it"
            );
        }
        let kept = self.connections.iter().map(|(_, connection)| connection.transport.allocated());
        let boards = self.shared.boards.allocated();
        assert_eq!(self.shared.stats.memory.used(), kept.sum::<usize>() + boards, "the total is not the sum");
        let queued = self.connections.iter().filter(|(_, connection)| connection.transport.queued).count();
        let entries = self
            .run
            .iter()
            .chain(&self.unfinished)
            .chain(&self.newcomers)
            .filter(|id| is_alive(&self.connections, **id))
            .count();
        assert_eq!(queued, entries, "a connection is in the run queue exactly when it says so");
        let held = self.connections.iter().filter(|(_, connection)| connection.transport.held).count();
        let entries = self.brakes.held().filter(|id| is_alive(&self.connections, **id)).count();
        assert_eq!(held, entries, "a member is held exactly when it says so");
        assert!(self.connections.len() <= self.config.max_connections + STATS_SPARE);
    }
}

/// What a wait brought, beside those who became ready.
#[derive(Default)]
struct Notes {
    /// Any event at all.
    anything: bool,
    stops: u32,
    reports: u32,
    reloads: u32,
}

/// The connection of that name, if it still lives. The only way to one: the slab is never indexed.
fn find<S>(connections: &mut Slab<Connection<S>>, id: ConnId) -> Option<&mut Connection<S>> {
    connections.get_mut(id.key as usize).filter(|connection| connection.serial == id.serial)
}

fn is_alive<S>(connections: &Slab<Connection<S>>, id: ConnId) -> bool {
    connections.get(id.key as usize).is_some_and(|connection| connection.serial == id.serial)
}
