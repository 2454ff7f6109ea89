//! The turns of a connection that speaks by the clock: what a path under `/ws` asks for.
//!
//! As everybody's, its words wait until the peer has taken what was said before; in addition it may be read late, slowly, or
//! not at all.

use super::Connection;
use super::patience::LATE_GREETING;
use crate::proto::framing::close_code;
use crate::proto::paths::program::{Ending, Then};
use crate::proto::paths::report::Caller;
use crate::proto::session::Stage;
use crate::reactor::config::Config;
use crate::reactor::end::End;
use crate::reactor::kernel::Stream;
use crate::reactor::moment::Moment;
use crate::reactor::shutdown::STOPPING;
use crate::reactor::turn::{Before, Context, Shared, Turn};
use std::io;

impl<S: Stream> Connection<S> {
    /// The first half of a turn, behind an empty outbox: what is due is said. Then, as far as it wants to hear anything and
    /// `most` allows it, it is read.
    #[inline(never)]
    pub(super) fn before_read(
        &mut self,
        shared: &mut Shared,
        context: &Context,
        most: usize,
    ) -> io::Result<Before> {
        shared.response.clear();
        let was_late = self.is_late();
        let then = self.speak(shared, context)?;
        if was_late && !self.is_late() {
            // What had to wait for the answer is handed in now.
            return Ok(Before::Read(0));
        }
        if self.leaving
            && self.session.stage() == Stage::Open
            && let Some(turn) =
                self.try_close(close_code::GOING_AWAY, STOPPING, &mut shared.stats, context.now)
        {
            return Ok(Before::Turn(turn));
        }
        if most > 0
            && then != Then::End(Ending::Reset)
            && self.transport.is_readable()
            && self.transport.outbox_is_empty()
        {
            let appetite = self.session.appetite(context.now.since_start(), self.transport.read_closed());
            if appetite > 0 {
                return Ok(Before::Read(appetite));
            }
        }
        self.turn_after(then, context.now).map(Before::Turn)
    }

    /// The second half, behind a read of `count` bytes: what that makes it say.
    #[inline(never)]
    pub(super) fn after_read(
        &mut self,
        shared: &mut Shared,
        context: &Context,
        count: usize,
    ) -> io::Result<Turn> {
        let is_drained = !self.transport.is_readable();
        self.session.has_read(count, is_drained, context.now.since_start());
        shared.response.clear();
        let then = self.speak(shared, context)?;
        let turn = self.turn_after(then, context.now)?;
        Ok(if turn == Turn::Wait && self.transport.is_readable() && self.transport.outbox_is_empty() {
            Turn::Again
        } else {
            turn
        })
    }

    /// The peer sends no more: what is still to be said to it is said before the connection ends.
    pub(super) fn hear_end(&mut self, shared: &mut Shared, context: &Context) -> io::Result<Turn> {
        #[cfg(feature = "tls")]
        let can_hear = self.transport.can_hear();
        #[cfg(not(feature = "tls"))]
        let can_hear = true;
        if can_hear && self.session.hang_up() {
            return self.after_read(shared, context, 0);
        }
        #[cfg(feature = "tls")]
        self.transport.answer_end(&mut shared.stats);
        let all_was_said = matches!(self.session.stage(), Stage::Leaving | Stage::Closing);
        Ok(Turn::Over(if all_was_said { End::Closed } else { End::Eof }))
    }

    /// The RST that its path asks for, if its time has come: all that was said has arrived, or has had its time for that.
    pub(super) fn try_reset(&mut self, now: Moment) -> Option<io::Result<Turn>> {
        let at = Moment::at(self.session.resets_at()?);
        (at <= now || self.transport.has_arrived())
            .then(|| self.transport.reset().map(|()| Turn::Over(End::Reset)))
    }

    fn turn_after(&mut self, then: Then, now: Moment) -> io::Result<Turn> {
        Ok(match then {
            Then::End(Ending::Reset) => return self.try_reset(now).unwrap_or(Ok(Turn::Wait)),
            Then::GoOn if self.transport.outbox_is_empty() => Turn::Again,
            _ => Turn::Wait,
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
            Then::End(Ending::Close | Ending::Fin) => self.said_all(stats, context.now)?,
            Then::End(Ending::HalfClose) => self.transport.close_write(stats)?,
            _ => {}
        }
        self.transport.keep(&[], self.session.kept(), stats);
        Ok(then)
    }

    /// Who is at the other end, for a program that has just opened.
    pub(super) fn introduce(&mut self) {
        if self.session.is_timed() {
            #[cfg(feature = "tls")]
            let tls = self.transport.tls().and_then(|tls| tls.agreed());
            #[cfg(not(feature = "tls"))]
            let tls = None;
            let caller = Caller { address: self.transport.peer(), proxied: self.proxied(), tls };
            self.session.meet(&caller);
        }
    }

    /// Whether its answer to the handshake is still to come.
    pub(super) fn is_late(&self) -> bool {
        self.session.is_timed() && self.session.stage() == Stage::Greeting
    }

    /// When it is to be seen to, as [`Connection::deadline`].
    #[inline(never)]
    pub(super) fn timed_deadline(&self, config: &Config) -> Moment {
        // Behind an outbox it is the peer that makes it go on.
        let wakes_at = self.session.wakes_at().filter(|_| self.transport.outbox_is_empty());
        let wakes_at = wakes_at.map_or(Moment::NEVER, Moment::at);
        // But a RST comes in any case.
        let wakes_at = wakes_at.min(self.session.resets_at().map_or(Moment::NEVER, Moment::at));
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
