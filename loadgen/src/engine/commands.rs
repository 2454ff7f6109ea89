//! What the script's thread and the workers say to each other.

use std::io;
use std::sync::{Arc, Mutex};

use crate::engine::deliveries::Collector;
use crate::engine::opened::{self, Failures, Opening};
use crate::engine::recorder::{Recorder, Times};
use crate::engine::recovery::Recovery;
use crate::engine::schedule::Cursor;
use crate::engine::think::Think;
use crate::host::clock::{Moment, Nanos};

/// What a thread is told.
pub enum Command {
    /// Connect until so many of this thread's connections were tried; answered by [`Event::Opened`].
    Open(usize),
    /// Send and receive; answered by [`Event::Tick`]s and one [`Event::Finished`].
    Run(Box<Traffic>),
    /// Drop every connection that does not send, and reconnect them.
    Storm(Box<Recovery>),
    /// Finish now with what there is.
    Stop,
    /// Close every connection; answered by [`Event::Closed`], after which the thread ends.
    Close,
}

/// What to send, and for how long.
pub struct Traffic {
    /// When to send.
    pub load: Load,
    /// How many connections send.
    pub active: usize,
    /// Messages due before this are warm-up.
    pub from: Moment,
    /// None is due after this.
    pub to: Moment,
    /// Replies count until then.
    pub until: Moment,
    /// Length of a tick.
    pub tick: Nanos,
    /// When the schedule begins.
    pub begin: Moment,
    /// Replies go to everyone rather than to the sender.
    pub collector: Option<Arc<Mutex<Collector>>>,
    /// Of a closed loop: from a reply to the next message.
    pub think: Option<Think>,
}

/// When to send.
pub enum Load {
    /// On a schedule, whatever comes back.
    Open(Cursor),
    /// As many as that in flight on each connection; a reply sends the next.
    Closed(u32),
}

/// What a thread tells.
pub enum Event {
    /// What came of opening.
    Opened(Box<Opening>),
    /// The messages of a stretch of time.
    Tick(Box<TickReport>),
    /// The run is over.
    Finished(Box<Outcome>),
    /// Every connection is closed.
    Closed,
    /// The thread cannot go on.
    Failed(io::Error),
}

/// One thread's part of one tick.
pub struct TickReport {
    /// Ticks since measuring began; negative while warming up.
    pub number: i64,
    /// Of messages due in the measured time.
    pub measured: Box<Recorder>,
    /// Of those due before it.
    pub warmup: Box<Recorder>,
}

/// What a thread, or all of them, knows when all is over.
#[derive(Default)]
pub struct Outcome {
    /// Why connections ended that should not have.
    pub failures: Failures,
    /// The fewest connections that were open.
    pub held_min: u64,
    /// Longest response by 10 ms of the schedule, microseconds.
    pub peaks: Vec<u32>,
    /// Ages of the messages without a reply, from the write.
    pub unanswered: Times,
    /// The fewest messages in flight in each quarter of the measured time.
    pub in_flight: [i64; 4],
    /// Connections that sent messages and never had an answer.
    pub silent: u64,
    /// Closed loop: messages that were out at the end though there was time for a reply.
    pub stuck: u64,
    /// Connections given up with their messages and opened anew.
    pub replaced: u64,
    /// How often the clock of the kernel's stamps was stepped.
    pub clock_steps: u64,
    /// Segments of this run that had to be sent again, on the connections that were there at its end.
    pub sent_again: u64,
    /// What a storm came to.
    pub recovery: Option<Box<Recovery>>,
    /// How the connections that were opened anew went.
    pub reopened: Box<Opening>,
}

impl Outcome {
    /// Adds what another thread knows.
    pub fn add(&mut self, other: Outcome) {
        opened::add(&mut self.failures, &other.failures);
        self.held_min += other.held_min;
        self.unanswered.add(&other.unanswered);
        for (sum, part) in self.in_flight.iter_mut().zip(other.in_flight) {
            *sum += part;
        }
        self.silent += other.silent;
        self.stuck += other.stuck;
        self.replaced += other.replaced;
        self.sent_again += other.sent_again;
        // It is one clock.
        self.clock_steps = self.clock_steps.max(other.clock_steps);
        if self.peaks.len() < other.peaks.len() {
            self.peaks.resize(other.peaks.len(), 0);
        }
        for (peak, other) in self.peaks.iter_mut().zip(other.peaks) {
            *peak = (*peak).max(other);
        }
        self.reopened.add(&other.reopened);
        match (&mut self.recovery, other.recovery) {
            (Some(sum), Some(part)) => sum.add(*part),
            (sum @ None, part) => *sum = part,
            (Some(_), None) => {}
        }
    }
}
