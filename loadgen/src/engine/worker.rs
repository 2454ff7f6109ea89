//! One thread: a poll, its connections, and the messages on them.
//!
//! The thread does what [`Command`]s say and tells what happened in [`Event`]s; the modes (`run`, `conns`, …) are
//! scripts of commands. Opening is in `opening.rs`, bytes in and out in `wire.rs`, messages in `traffic.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::engine::commands::{Command, Event};
use crate::engine::connection::{Conn, Stage};
use crate::engine::in_flight::Pending;
use crate::engine::opened::{Failures, Opening};
use crate::engine::recorder::{Counts, Tally};
use crate::engine::recovery::Recovery;
use crate::engine::running::Running;
use crate::engine::spec::{Gauges, Spec};
use crate::engine::timer::Timer;
use crate::host::clock;
use crate::protocol::deflate::Deflate;
use crate::protocol::frame::Opcode;

const TIMER: Token = Token(usize::MAX - 1);
pub const WAKER: Token = Token(usize::MAX - 2);

/// One read. Large enough for any message that is not itself large.
const SCRATCH: usize = 64 * 1024;

/// Events taken at a time; sends that fall due meanwhile go out between them.
const EVENTS: usize = 256;

/// How long closed connections may take to be closed by the server too.
const LINGER: u64 = 2 * clock::SECOND;

/// The thread.
pub struct Worker {
    pub me: usize,
    pub spec: Arc<Spec>,
    pub gauges: Arc<Gauges>,
    pub poll: Poll,
    timer: Timer,
    commands: Receiver<Command>,
    pub events: Sender<(usize, Event)>,
    /// Tallies that come back empty, to be used again.
    pub spare: Receiver<Box<Tally>>,

    pub conns: Vec<Conn>,
    pub pending: Pending,
    pub rng: fastrand::Rng,
    pub scratch: Vec<u8>,
    /// The payload and the frames of the message being sent.
    pub payload: Vec<u8>,
    pub frames: Vec<u8>,
    /// With `--deflate`.
    pub deflate: Option<Box<Deflate>>,
    /// A reply, inflated.
    pub inflated: Vec<u8>,

    /// Open connections.
    pub held: u64,
    pub failures: Failures,
    /// What happens while no run is under way.
    pub uncounted: Counts,
    pub opening: Opening,
    /// Connections to try.
    pub upto: usize,
    /// Connections between SYN and 101.
    pub under_way: usize,
    pub next_connect: u64,
    /// Connections under way, by deadline: connection, attempt.
    pub patience: VecDeque<(u64, u32, u32)>,
    /// An [`Event::Opened`] is owed.
    pub owes_opened: bool,

    pub running: Option<Box<Running>>,
    pub recovery: Option<Box<Recovery>>,
    /// Reconnects by time.
    pub retries: BinaryHeap<Reverse<(u64, u32)>>,
    /// The next ping and the connection it goes to.
    pub next_ping: u64,
    pub ping_turn: usize,
    /// When to stop waiting for the server to close; 0 unless closing.
    closing_until: u64,
    /// When the poll last returned.
    pub woken: u64,
}

impl Worker {
    /// Thread number `me`, and what wakes it after a command.
    ///
    /// # Errors
    /// When descriptors are exhausted.
    pub fn new(
        me: usize,
        spec: Arc<Spec>,
        gauges: Arc<Gauges>,
        commands: Receiver<Command>,
        events: Sender<(usize, Event)>,
        spare: Receiver<Box<Tally>>,
    ) -> io::Result<(Worker, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let rng = fastrand::Rng::with_seed(spec.seed ^ (me as u64) << 32);
        let deflate = spec.extras.deflate.then(Box::default);
        let worker = Worker {
            me,
            spec,
            gauges,
            poll,
            timer,
            commands,
            events,
            spare,
            conns: Vec::new(),
            pending: Pending::default(),
            rng,
            scratch: vec![0; SCRATCH],
            payload: Vec::new(),
            frames: Vec::new(),
            deflate,
            inflated: Vec::new(),
            held: 0,
            failures: Failures::new(),
            uncounted: Counts::default(),
            opening: Opening::default(),
            upto: 0,
            under_way: 0,
            next_connect: 0,
            patience: VecDeque::new(),
            owes_opened: false,
            running: None,
            recovery: None,
            retries: BinaryHeap::new(),
            next_ping: u64::MAX,
            ping_turn: 0,
            closing_until: 0,
            woken: 0,
        };
        Ok((worker, waker))
    }

    /// Works until told to close.
    pub fn work(mut self) {
        // The default slack of 50 µs would be own slip in every message.
        let _ = nix::sys::prctl::set_timerslack(1);
        let end = match self.turns() {
            Ok(()) => Event::Closed,
            Err(e) => Event::Failed(e),
        };
        let _ = self.events.send((self.me, end));
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut now = clock::now();
        loop {
            self.obey(now)?;
            now = self.open_more(now);
            now = self.send_due(now);
            self.send_pings(now);
            self.tick(now);
            if self.closing_until > 0
                && (self.conns.iter().all(|c| c.stream.is_none()) || now >= self.closing_until)
            {
                return Ok(());
            }

            let alarm = self.next_alarm();
            let timeout = if alarm <= now.saturating_add(self.spec.spin) {
                Some(Duration::ZERO)
            } else {
                self.timer.set(alarm.saturating_sub(self.spec.spin))?;
                None
            };
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
            let woken = clock::now();
            // A poll that finds nothing while spinning waits, too.
            if timeout.is_none() || events.is_empty() {
                self.idle(now, woken);
            }
            (self.woken, now) = (woken, woken);
            for event in &events {
                match event.token() {
                    TIMER => self.timer.fired(),
                    WAKER => {}
                    Token(i) => {
                        now = self.ready(i, event.is_readable(), event.is_writable(), event.is_read_closed());
                        now = self.send_due(now);
                    }
                }
            }
        }
    }

    /// Carries out the commands that have come.
    fn obey(&mut self, now: u64) -> io::Result<()> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Open(upto) => {
                    self.upto = self.upto.max(upto);
                    self.next_connect = now;
                    self.owes_opened = true;
                    self.conns.reserve_exact(self.upto - self.conns.len());
                }
                Command::Run(traffic) => self.begin(*traffic, now),
                Command::Storm(recovery) => self.drop_idle(recovery, now),
                Command::Stop => self.finish(now),
                Command::Close => {
                    self.upto = 0;
                    self.retries.clear();
                    self.closing_until = now + LINGER;
                    for i in 0..self.conns.len() {
                        match self.conns[i].stage {
                            Stage::Open => self.say_goodbye(i),
                            Stage::Connecting | Stage::Upgrading => self.conns[i].drop_stream(true),
                            Stage::Closing | Stage::Gone => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends Close 1000 (RFC 6455 section 7.4.1) and leaves it to the server to end the connection, so that the port
    /// does not rest in TIME_WAIT on this side.
    fn say_goodbye(&mut self, i: usize) {
        self.control(i, Opcode::Close, &1000u16.to_be_bytes());
        if self.conns[i].stage == Stage::Open {
            self.conns[i].stage = Stage::Closing;
            self.count_held(-1);
        }
    }

    /// When something is to be done though no event comes.
    fn next_alarm(&self) -> u64 {
        let mut alarm = self.next_ping.min(self.connect_alarm());
        if let Some(running) = &self.running {
            alarm = alarm.min(running.alarm());
        }
        if self.closing_until > 0 {
            alarm = alarm.min(self.closing_until);
        }
        alarm
    }

    /// Keeps the number of open connections, and what others see of it.
    pub fn count_held(&mut self, change: i64) {
        self.held = self.held.wrapping_add_signed(change);
        self.gauges.held.store(self.held, std::sync::atomic::Ordering::Relaxed);
        // Who was dropped on purpose is not missing.
        let dropped = self.recovery.as_ref().map_or(0, |recovery| recovery.away());
        let replacing = self.running.as_ref().map_or(0, |running| running.patience.replacing.len() as u64);
        let away = dropped + replacing;
        if let Some(running) = &mut self.running {
            running.held_min = running.held_min.min(self.held + away);
        }
    }

    fn idle(&mut self, from: u64, to: u64) {
        if let Some(running) = &mut self.running {
            let inside = running.overlap(from, to);
            running.measured.counts.idle_inside_ns += inside;
            running.tally_at(from).counts.idle_ns += to - from;
        }
    }

    pub fn tell(&self, event: Event) {
        // Whoever listened has gone only when the program ends.
        let _ = self.events.send((self.me, event));
    }
}
