//! How the kernel reports: what is listed as ready, and what is told of it.

use super::{UNFINISHED_PER_TICK, World};
use crate::simulation::tcp::Reset;
use std::collections::VecDeque;
use wsecho::reactor::kernel::Readiness;
use wsecho::reactor::token::Source;

impl World {
    pub(super) fn list(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        if wire.id.is_some() && !wire.closed && !wire.listed {
            wire.listed = true;
            self.ready.push_back(index);
        }
    }

    /// Whether a poll would find nothing.
    pub(super) fn is_calm(&self) -> bool {
        self.ready.is_empty() && self.signals == 0 && self.backlogs.iter().all(|backlog| !backlog.edge)
    }

    pub(super) fn collect(&mut self) -> Vec<Readiness> {
        let mut events = Vec::new();
        let most = if self.chance(4) { self.rng.usize(1..=8) } else { 1024 };
        while events.len() < most {
            let Some(index) = self.ready.pop_front() else { break };
            self.wires[index].listed = false;
            events.extend(self.report(index));
        }
        for (index, backlog) in self.backlogs.iter_mut().enumerate() {
            if std::mem::take(&mut backlog.edge) && !backlog.clients.is_empty() {
                let source = Source::Listener(index);
                events.push(Readiness { source, readable: true, writable: false, read_closed: false });
            }
        }
        for _ in 0..std::mem::take(&mut self.signals) {
            events.push(Readiness {
                source: Source::Stop,
                readable: true,
                writable: false,
                read_closed: false,
            });
        }
        self.invent(&mut events);
        // The others wait behind them.
        let (next, later): (VecDeque<_>, _) =
            self.unfinished.drain(..).partition(|(_, ahead)| *ahead < UNFINISHED_PER_TICK);
        self.unfinished = later;
        self.unfinished.iter_mut().for_each(|(_, ahead)| *ahead -= UNFINISHED_PER_TICK);
        for (index, _) in next {
            let wire = &self.wires[index];
            if wire.cause && !wire.blocked && wire.is_readable() {
                self.expect_call(index);
            }
        }
        events
    }

    pub(super) fn report(&mut self, index: usize) -> Option<Readiness> {
        let wire = &mut self.wires[index];
        let source = Source::Connection(wire.id.filter(|_| !wire.closed)?);
        let is_broken = wire.reset != Reset::No;
        let event = Readiness {
            source,
            readable: wire.is_readable(),
            writable: wire.is_writable(),
            read_closed: wire.fin || is_broken,
        };
        // As tcp_poll() does.
        wire.no_space |= !event.writable;
        wire.cause |= event.readable;
        wire.fin_was_told |= event.read_closed;
        let acts = if wire.blocked { event.writable } else { event.readable };
        if acts && !self.unfinished.iter().any(|(other, _)| *other == index) {
            self.expect_call(index);
        }
        (event.readable || event.writable).then_some(event)
    }

    /// Adds events about nothing, and about nobody.
    pub(super) fn invent(&mut self, events: &mut Vec<Readiness>) {
        let hints = self.rng.u8(..8);
        let (readable, writable, read_closed) = (hints & 1 != 0, hints & 2 != 0, hints == 7);
        let at = self.rng.usize(..=events.len());
        if self.chance(4) && !self.graveyard.is_empty() {
            let id = self.graveyard[self.rng.usize(..self.graveyard.len())];
            let source = Source::Connection(id);
            events.insert(at, Readiness { source, readable: true, writable: true, read_closed });
        } else if self.chance(4) {
            let index = self.rng.usize(..self.wires.len());
            let wire = &mut self.wires[index];
            if let Some(id) = wire.id.filter(|_| !wire.closed) {
                wire.cause |= readable;
                wire.fin_was_told |= read_closed;
                events.insert(
                    at,
                    Readiness { source: Source::Connection(id), readable, writable, read_closed },
                );
            }
        }
    }
}
