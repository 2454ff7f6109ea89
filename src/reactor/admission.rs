//! Who is let in, and when.

use super::connection::Connection;
use super::end::End;
use super::kernel::Kernel;
use super::listener::{Accept, AcceptState, Role, STATS_SPARE};
use super::moment::Moment;
use super::slice::Slice;
use super::stats::Kind;
use super::token::ConnId;
use super::turn::Turn;
use super::{Reactor, find, is_alive};
use crate::log::{self, Class, Level};
use std::time::Duration;

/// Flash players get this part of the places, and at least one: silent ones hold a place for three seconds.
const POLICY_SHARE: usize = 8;
/// Failures of accept in a row that should concern one client each, after which they are believed to concern all.
const ACCEPT_FAILURES: usize = 64;
/// How soon a stalled listener tries again by itself.
const STALL: Duration = Duration::from_millis(100);

impl<K: Kernel> Reactor<K> {
    /// Lets in who waits, for a slice of the tick at each listener.
    pub(super) fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            let mut failures = 0;
            let mut slice = Slice::default();
            while !slice.is_over() && self.may_accept(index) {
                slice.at(self.kernel.now());
                let error = match self.kernel.accept(index) {
                    Ok(stream) => {
                        self.admit(index, stream);
                        continue;
                    }
                    Err(error) => error,
                };
                let accept = Accept::after(&error);
                if accept == Accept::Drained {
                    self.listeners[index].drained();
                    continue;
                }
                self.shared.stats.accept_errors += 1;
                failures += 1;
                // An error that should concern one client, and comes for all of them, is like a want of something.
                if accept == Accept::Stall || failures == ACCEPT_FAILURES {
                    self.stall(index, self.now + STALL, format_args!("{error}"));
                }
            }
        }
    }

    /// Whether a listener with clients waiting may let one in now.
    fn may_accept(&mut self, index: usize) -> bool {
        match self.listeners[index].state {
            AcceptState::Quiet | AcceptState::Closed => return false,
            AcceptState::Pending => {}
            AcceptState::Stalled(until) if until > self.now => return false,
            AcceptState::Stalled(_) => self.listeners[index].state = AcceptState::Pending,
        }
        let role = self.listeners[index].role;
        let limit = self.config.max_connections;
        let spare = if role == Role::Stats { STATS_SPARE } else { 0 };
        let share = (limit / POLICY_SHARE).max(1);
        // Only a connection that ends makes room, so there is nothing to try again by the clock.
        if self.connections.len() >= limit + spare {
            let until = if role == Role::Stats { self.make_way() } else { Moment::NEVER };
            if until > self.now {
                self.stall(index, until, format_args!("all {limit} connections are taken"));
                return false;
            }
        }
        if role == Role::Policy && self.shared.stats.open(Kind::Policy) >= share as u64 {
            self.stall(index, Moment::NEVER, format_args!("all {share} places for Flash players are taken"));
            return false;
        }
        true
    }

    /// Another asks for numbers, and the places beyond the limit are taken: whoever has had one for long enough is dropped, or
    /// when somebody will have.
    fn make_way(&mut self) -> Moment {
        let Reactor { scrapers, connections, now, .. } = self;
        scrapers.retain(|id| find(connections, *id).is_some());
        let ends = scrapers.iter().filter_map(|id| Some((find(connections, *id)?.turn_end(*now), *id)));
        let Some((end, id)) = ends.min() else { return Moment::NEVER };
        if end <= *now {
            let has_asked = find(connections, id).is_some_and(|connection| !connection.is_new());
            self.remove(id, if has_asked { End::LingerTimeout } else { End::HandshakeTimeout });
        }
        end
    }

    fn stall(&mut self, index: usize, until: Moment, why: std::fmt::Arguments) {
        let listener = &mut self.listeners[index];
        listener.state = AcceptState::Stalled(until);
        if !listener.stall_was_told {
            listener.stall_was_told = true;
            log::limited(Class::Accept, Level::Error, format_args!("new clients wait in the queue: {why}"));
        }
    }

    fn admit(&mut self, index: usize, mut stream: K::Stream) {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let slot = self.connections.vacant_entry();
        let id = ConnId { key: slot.key() as u32, serial: self.serial };
        if let Err(error) = self.kernel.register(&mut stream, id) {
            // ENOSPC (fs.epoll.max_user_watches) or ENOMEM: this client is turned away by the drop.
            log::limited(Class::Accept, Level::Error, format_args!("a client was turned away: {error}"));
            return;
        }
        let role = self.listeners[index].role;
        let connection = Connection::new(stream, self.serial, role, self.now);
        #[cfg(feature = "tls")]
        let connection = match connection.secured(role, &mut self.shared) {
            Ok(connection) => connection,
            Err(error) => {
                log::limited(Class::Accept, Level::Error, format_args!("a client was turned away: {error}"));
                return;
            }
        };
        slot.insert(connection);
        if role == Role::Stats && self.connections.len() > self.config.max_connections {
            self.scrapers.retain(|id| is_alive(&self.connections, *id));
            self.scrapers.push(id);
        }
        self.shared.stats.accepted(role.kind());
        self.finish_turn(id, Turn::Wait);
    }

    /// Lets in everybody who waits at a listener, as far as there is room: it is to be closed.
    pub(super) fn accept_all(&mut self, index: usize) {
        let mut failures = 0;
        while self.connections.len() < self.config.max_connections && failures < ACCEPT_FAILURES {
            match self.kernel.accept(index) {
                Ok(stream) => self.admit(index, stream),
                Err(error) if Accept::after(&error) == Accept::Retry => failures += 1,
                Err(_) => break,
            }
        }
    }
}
