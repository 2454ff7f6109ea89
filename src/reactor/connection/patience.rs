//! How long a connection is waited for, and what is looked at before it is judged.
//!
//! What it sends moves a field, never a timer. When an alarm rings the kernel is asked: *alive* is that acknowledgements still
//! come, *progress* is bytes acknowledged or a window that opens. Who takes what it is sent is there, however slowly, and only a
//! Ping that has gone out can be unanswered. Where much may lie there to be read, progress is in steps, and none is missed before
//! the time of one has passed.

use super::{Connection, Ping};
use crate::log::Level;
use crate::proto::framing::close_code;
use crate::proto::session::Stage;
use crate::reactor::config::Config;
use crate::reactor::end::End;
use crate::reactor::kernel::{InFlight, Stream, Vitals};
use crate::reactor::mark::Mark;
use crate::reactor::moment::Moment;
use crate::reactor::stats::{Kind, Stats};
use crate::reactor::turn::{Context, Shared, Turn};
use std::time::Duration;

/// How long a Flash player has for its request, as the policy servers of the day had it.
const POLICY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client of the numbers' own listener has to ask: silent ones must not keep a full server's health from others.
const STATS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it keeps a place when a server is full and others wait to ask: for as long as most requests and answers take.
const STATS_TURN: Duration = Duration::from_millis(100);
/// How long, after the last of our bytes arrived, the peer's remaining bytes are awaited and thrown away. Closing with bytes
/// unread would send a RST, and that can eat the answer on its way.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client has to finish its handshake, and be told to go, once the server stops.
pub(super) const LATE_GREETING: Duration = Duration::from_millis(500);
/// What must be answered and is not for this long goes to nobody.
const UNREACHABLE: Duration = Duration::from_secs(60);
/// How soon after something was sent, and how often from then on, it is seen whether the peer can be reached.
const LOOK: Duration = Duration::from_secs(30);

impl<S: Stream> Connection<S> {
    /// When its alarm is to ring at the latest.
    #[inline]
    pub fn due(&self, config: &Config, now: Moment) -> Moment {
        self.deadline(config).min(self.watch(now))
    }

    /// When its patience ends.
    pub fn deadline(&self, config: &Config) -> Moment {
        if self.transport.keeps_something() && self.session.is_timed() {
            return self.timed_deadline(config);
        }
        let patience = match self.session.stage() {
            Stage::Policy => POLICY_TIMEOUT,
            Stage::Greeting if self.leaving => LATE_GREETING,
            Stage::Greeting if self.kind == Kind::Stats => STATS_TIMEOUT.min(config.handshake_timeout),
            Stage::Greeting => config.handshake_timeout,
            Stage::Leaving | Stage::Closing => self.with_steps(LINGER),
            Stage::Open => return self.open_deadline(config),
        };
        self.since + patience
    }

    /// When a client of the numbers' own listener makes way for others who wait to ask; not while it has to be served.
    pub fn turn_end(&self, now: Moment) -> Moment {
        let is_served = self.transport.queued || !self.transport.outbox_is_empty();
        if is_served { now + STATS_TURN } else { self.since + STATS_TURN }
    }

    #[inline]
    pub(super) fn open_deadline(&self, config: &Config) -> Moment {
        if config.idle_timeout.is_none() && config.ping_interval.is_none() {
            return Moment::NEVER;
        }
        self.silence_deadline(config)
    }

    /// When its silence is to be seen to, where it matters.
    fn silence_deadline(&self, config: &Config) -> Moment {
        let idle = config.idle_timeout;
        let idle = idle.map_or(Moment::NEVER, |timeout| self.since + self.with_steps(timeout));
        let ping = config.ping_interval.filter(|_| self.session.knows_ping());
        let ping = ping.map_or(Moment::NEVER, |interval| match self.ping {
            Ping::No => self.since + interval,
            Ping::Owed => self.transport.looked() + interval,
            Ping::Sent => self.since + interval + self.with_steps(interval),
        });
        idle.min(ping)
    }

    /// How long a silence may be that is to be no longer than `patience`, where much may lie there to be read.
    fn with_steps(&self, patience: Duration) -> Duration {
        if self.transport.is_slow { patience.max(Mark::STEP) } else { patience }
    }

    /// Sees whether much may lie there to be read.
    fn see_backlog(&mut self, vitals: &Vitals) {
        self.transport.is_slow = vitals.unread || !self.transport.outbox_is_empty();
    }

    /// It is there now.
    #[inline]
    pub(super) fn is_there(&mut self, now: Moment) {
        self.since = now;
        self.transport.is_slow = false;
    }

    /// When it is to be seen at the latest whether it can be reached.
    fn watch(&self, now: Moment) -> Moment {
        if self.transport.has_sent() { now + LOOK } else { Moment::NEVER }
    }

    /// Its alarm rings: a last look at the socket, where its patience has ended, and at what the system knows; then the verdict.
    ///
    /// One poll tells of so many clients and no more, so the bytes of this one may lie waiting behind others' events.
    pub fn ring(&mut self, shared: &mut Shared, context: &Context) -> Turn {
        let Context { config, now, .. } = *context;
        let mut turn = Turn::Wait;
        if self.deadline(config) <= now {
            self.transport.expect_anything();
            turn = self.turn(shared, context);
            if matches!(turn, Turn::Over(_)) {
                return turn;
            }
            if let Some(turn) = self.try_reset(now) {
                return turn.unwrap_or_else(|error| self.lost(&error));
            }
        }
        let stats = &mut shared.stats;
        match self.session.stage() {
            Stage::Greeting | Stage::Policy if self.deadline(config) <= now => {
                self.log(Level::Debug, format_args!("timed out"));
                return Turn::Over(End::HandshakeTimeout);
            }
            Stage::Greeting | Stage::Policy => return turn,
            Stage::Open | Stage::Leaving | Stage::Closing => {}
        }
        let vitals = self.transport.vitals();
        // Data asks for an answer as a Ping does, whether or not one gets past it.
        let interval = config.ping_interval.filter(|_| vitals.in_flight == InFlight::Data);
        let patience = interval.map_or(UNREACHABLE, |interval| interval.min(UNREACHABLE));
        if self.transport.is_unreachable(&vitals, patience, now, stats) {
            self.log(Level::Debug, format_args!("lost: nothing is acknowledged"));
            return Turn::Over(End::Unreachable);
        }
        if self.deadline(config) > now {
            return turn;
        }
        let verdict = match self.session.stage() {
            Stage::Open => self.judge_open(&vitals, stats, context),
            _ => self.judge_lingering(&vitals, stats, now),
        };
        if verdict == Turn::Wait { turn } else { verdict }
    }

    /// An open connection is overdue, as far as what it sends goes. Who takes what it is sent is there, however slowly.
    fn judge_open(&mut self, vitals: &Vitals, stats: &mut Stats, context: &Context) -> Turn {
        let Context { config, now, .. } = *context;
        if !self.session.listens() {
            // A peer that is not read is not silent.
            return Turn::Wait;
        }
        if stats.memory.is_short() && self.transport.is_readable() {
            // Nor is one that was not read for want of memory.
            self.is_there(now);
            return Turn::Wait;
        }
        if self.open_deadline(config) > now {
            return Turn::Wait;
        }
        self.see_backlog(vitals);
        let alive = now - self.mark.silence(vitals, self.ping_bytes()).min(vitals.spoke);
        if let Some(timeout) = config.idle_timeout
            && self.since + self.with_steps(timeout) <= now
        {
            if alive + self.with_steps(timeout) <= now {
                self.log(Level::Debug, format_args!("closed 1001: idle"));
                let was_slow = self.transport.is_slow;
                let closed = self.try_close(close_code::GOING_AWAY, "idle", stats, now);
                if was_slow {
                    // A whole step has not come, and no other is waited for.
                    self.since = now - (Mark::STEP - LINGER);
                }
                return closed.unwrap_or(Turn::Over(End::IdleTimeout));
            }
            self.shows_life(alive, vitals);
        }
        let Some(interval) = config.ping_interval else { return Turn::Wait };
        if self.open_deadline(config) > now {
            return Turn::Wait;
        }
        if self.ping == Ping::Sent && alive + self.with_steps(interval) > now {
            // Its answer has the same time again.
            self.shows_life(alive - interval, vitals);
            return Turn::Wait;
        }
        if self.ping != Ping::Sent && alive + interval > now {
            self.shows_life(alive, vitals);
            return Turn::Wait;
        }
        let has_gone_out = self.transport.outbox_is_empty() && vitals.unsent == 0;
        if self.ping == Ping::Sent && has_gone_out {
            self.log(Level::Debug, format_args!("lost: no answer to a ping"));
            return Turn::Over(End::PingTimeout);
        }
        // What does not go out cannot be answered, and a peer that does not take its answers gets no Ping on top.
        let Some(ping) = self.session.ping().filter(|_| has_gone_out) else {
            self.ping = Ping::Owed;
            self.transport.look(now, stats);
            return Turn::Wait;
        };
        self.ping = Ping::Sent;
        self.mark = Mark::of(vitals);
        self.mark.acked = self.mark.acked.wrapping_add(self.ping_bytes());
        // After a pause of the whole process the Ping is late; its answer still has a whole interval.
        self.since = self.since.max(now - interval);
        self.send(&ping, stats).map_or_else(|error| self.lost(&error), |()| Turn::Wait)
    }

    /// Bytes as which a Ping is acknowledged.
    fn ping_bytes(&self) -> u32 {
        #[cfg(feature = "tls")]
        return Mark::PING + self.transport.overhead();
        #[cfg(not(feature = "tls"))]
        Mark::PING
    }

    /// It was there at the time `alive`.
    fn shows_life(&mut self, alive: Moment, vitals: &Vitals) {
        self.is_there(self.since.max(alive));
        self.mark = Mark::of(vitals);
    }

    /// All was said a while ago; what counts is when the last of it arrived.
    fn judge_lingering(&mut self, vitals: &Vitals, stats: &mut Stats, now: Moment) -> Turn {
        self.shows_life(now - self.mark.silence(vitals, self.ping_bytes()), vitals);
        self.see_backlog(vitals);
        if self.since + self.with_steps(LINGER) > now {
            return Turn::Wait;
        }
        if self.session.stage() == Stage::Closing || !self.transport.outbox_is_empty() {
            return Turn::Over(End::LingerTimeout);
        }
        // The peer's Close does not come: an end without it, for which it has its time once more.
        self.session.end();
        self.is_there(now);
        self.close_write(stats).map_or_else(|error| self.lost(&error), |()| Turn::Wait)
    }
}
