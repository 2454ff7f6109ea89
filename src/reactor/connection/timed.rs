//! The turns of a connection that speaks by the clock: what a path under `/ws` asks for.
//!
//! As everybody's, its words wait until the peer has taken what was said before; in addition it may be read late, slowly, or
//! not at all.

use super::Connection;
use super::patience::LATE_GREETING;
use crate::proto::framing::close_code;
use crate::proto::paths::program::{End as Ending, Then};
use crate::proto::paths::report::Caller;
use crate::proto::progress::HEADROOM;
use crate::proto::session::Stage;
use crate::reactor::config::Config;
use crate::reactor::end::End;
use crate::reactor::kernel::Stream;
use crate::reactor::moment::Moment;
use crate::reactor::turn::{Context, Shared, Turn};
use std::io;

impl<S: Stream> Connection<S> {
    /// One turn behind an empty outbox: what is due is said; then, as far as it wants to hear anything, one read, and what
    /// that makes it say.
    #[inline(never)]
    pub(super) fn timed_turn(
        &mut self,
        shared: &mut Shared,
        context: &Context,
        most: usize,
    ) -> io::Result<Turn> {
        shared.response.clear();
        let was_late = self.is_late();
        let mut then = self.speak(shared, context)?;
        if was_late && !self.is_late() {
            // What had to wait for the answer is handed in now, or with what comes next.
            self.process_carry(shared, context)?;
            return Ok(Turn::Again);
        }
        if self.leaving
            && self.session.stage() == Stage::Open
            && let Some(turn) = self.try_close(close_code::GOING_AWAY, "", &mut shared.stats, context.now)
        {
            return Ok(turn);
        }
        let mut turn = Turn::Wait;
        if then != Then::End(Ending::Reset)
            && self.transport.is_readable()
            && self.transport.outbox_is_empty()
        {
            let appetite = self.session.appetite(context.now.since_start(), self.transport.read_closed());
            if appetite > 0 {
                turn = self.read(shared, context, appetite.min(most))?;
                if let Turn::Over(_) = turn {
                    return Ok(turn);
                }
                shared.response.clear();
                then = self.speak(shared, context)?;
            }
        }
        Ok(match then {
            Then::End(Ending::Reset) => {
                self.transport.reset()?;
                Turn::Over(End::Reset)
            }
            Then::GoOn if self.transport.outbox_is_empty() => Turn::Again,
            _ => turn,
        })
    }

    /// Says what it has to say by now, behind what stands in the response already.
    pub(super) fn speak(&mut self, shared: &mut Shared, context: &Context) -> io::Result<Then> {
        let now = context.now.since_start();
        let mut then = Then::Wait(None);
        // A late answer may be followed by words of the program that it opens.
        for _ in 0..2 {
            if !self.session.is_timed() {
                break;
            }
            let was_late = self.is_late();
            let advance = self.session.advance(now, &mut shared.response);
            shared.stats.messages_sent += u64::from(advance.messages);
            if let Some(event) = advance.event {
                self.on_event(event, shared, context);
            }
            then = advance.then;
            if !was_late || self.is_late() {
                break;
            }
        }
        let Shared { response, stats, .. } = shared;
        self.send(response, stats)?;
        match then {
            Then::End(Ending::Fin) => self.said_all(stats, context.now)?,
            Then::End(Ending::HalfClose) => self.transport.close_write()?,
            _ => {}
        }
        Ok(then)
    }

    /// Who is at the other end, for a program that has just opened.
    pub(super) fn introduce(&mut self) {
        if self.session.is_timed() {
            let caller = Caller { address: self.transport.peer(), proxied: self.proxied() };
            self.session.meet(&caller);
        }
    }

    fn process_carry(&mut self, shared: &mut Shared, context: &Context) -> io::Result<()> {
        let input = HEADROOM..HEADROOM + self.transport.carry().len();
        if input.is_empty() {
            return Ok(());
        }
        self.transport.take_carry(&mut shared.scratch);
        self.process(shared, context, input)
    }

    /// Whether its answer to the handshake is still to come.
    fn is_late(&self) -> bool {
        self.session.is_timed() && self.session.stage() == Stage::Greeting
    }

    /// When it is to be seen to, as [`Connection::deadline`].
    #[inline(never)]
    pub(super) fn timed_deadline(&self, config: &Config) -> Moment {
        // Behind an outbox it is the peer that makes it go on.
        let wakes_at = self.session.wakes_at().filter(|_| self.transport.outbox_is_empty());
        let wakes_at = wakes_at.map_or(Moment::NEVER, Moment::at);
        let after = |patience: Option<_>| patience.map_or(Moment::NEVER, |patience| self.since + patience);
        wakes_at.min(match self.session.stage() {
            Stage::Greeting if self.leaving => after(Some(LATE_GREETING)),
            Stage::Greeting => after(config.idle_timeout),
            // A peer that is not read is not silent.
            _ if !self.session.listens() => Moment::NEVER,
            _ => self.open_deadline(config),
        })
    }
}
