//! What the server must do, and must not.

use super::{
    FAREWELL, LATE_GREETING, LINGER, POLICY_SHARE, POLICY_TIMEOUT, SPREAD_STEP, STALL, STEP, UNREACHABLE,
    World,
};
use crate::simulation::peer::Expects;
use crate::simulation::tcp::Reset;
use std::time::Duration;

/// What holds the buffers of a connection, with a few bytes of its own and room to grow by a step.
const BOX: usize = 10 << 10;
/// The largest piece of an outbox: only a whole one is given back.
const PIECE: usize = 64 << 10;
/// What a chain of steps may have to say at once.
const PROGRAM: usize = 256 << 10;

impl World {
    /// The server owes this socket a call in this round.
    pub(super) fn expect_call(&mut self, index: usize) {
        if self.is_free(index) {
            return;
        }
        let wire = &mut self.wires[index];
        if !wire.closed && !std::mem::replace(&mut wire.waits, true) {
            self.waiting += 1;
        }
    }

    /// Whether it is left to the server when it reads from it and what it says: by the clock, or as memory allows.
    pub(super) fn is_free(&self, index: usize) -> bool {
        self.is_scarce || self.peers[index].expects == Expects::Program
    }

    /// Bytes that the server has reason to keep for its clients: what it has read and not answered, as far as the wires tell.
    pub fn most_kept(&self) -> usize {
        let most = |index: usize| {
            let wire = &self.wires[index];
            let unanswered = wire.read.saturating_sub(wire.written);
            // A box, a Close, room to grow; and behind a client that takes little, pieces of which a part has gone.
            let pieces = if wire.blocked { PIECE + unanswered / 2 } else { 0 };
            let program = if self.peers[index].expects == Expects::Program { PROGRAM } else { 0 };
            BOX + unanswered + pieces + program
        };
        (0..self.wires.len()).filter(|index| self.is_open(*index)).map(most).sum()
    }

    /// How many the server may have to serve before one whose turn has just ended: beside those who left something to read, who
    /// can go on for reasons of its own, as its clock says or as there is more to write.
    pub(super) fn most_ahead(&self) -> usize {
        let may_go_on = |index: &usize| {
            let wire = &self.wires[*index];
            wire.id.is_some() && !wire.closed && (wire.blocked || self.is_free(*index))
        };
        self.unfinished.len() + (0..self.wires.len()).filter(may_go_on).count()
    }

    pub(super) fn touch(&mut self, index: usize) {
        if std::mem::take(&mut self.wires[index].waits) {
            self.waiting -= 1;
        }
    }

    pub(super) fn end_round(&mut self) {
        self.round += 1;
        if self.waiting > 0 {
            for index in 0..self.wires.len() {
                if self.wires[index].waits {
                    self.touch(index);
                    self.fault(index, "ready, and not served for a whole round");
                }
            }
        }
    }

    /// Whether the server holds it.
    fn is_open(&self, index: usize) -> bool {
        self.wires[index].id.is_some() && !self.wires[index].closed
    }

    /// The server goes to sleep although nothing new is coming: it must have nothing left to do.
    pub(super) fn check_sleep(&mut self, timeout: Option<Duration>) {
        for index in 0..self.wires.len() {
            let wire = &self.wires[index];
            if !self.is_open(index) {
                continue;
            }
            if self.is_free(index) {
                if wire.blocked && !wire.no_space {
                    self.fault(index, "forgotten with something to write");
                }
            } else if !wire.blocked && wire.is_readable() {
                self.fault(index, "forgotten with something to read");
            } else if wire.blocked && !wire.no_space {
                self.fault(index, "forgotten with something to write");
            } else if wire.blocked
                && wire.is_in_mid_message()
                && wire.unread() > 0
                && self.goes_on(index)
                && !self.peers[index].is_secure()
            {
                // Half a record tells of no message.
                self.fault(index, "forgotten in the middle of a message");
            } else if self.deadline(index).is_some_and(|at| at <= self.now) {
                self.fault(index, "overdue, and still there");
            }
        }
        let players = |index: &usize| self.peers[*index].listener == 1 && self.is_open(*index);
        let players = (0..self.wires.len()).filter(players).count();
        for (listener, backlog) in self.backlogs.iter().enumerate() {
            let has_share = listener != 1 || players < (self.max_connections / POLICY_SHARE).max(1);
            let may_accept = has_share && self.used < self.table.min(self.max_connections);
            let retries = backlog.short && timeout.is_some_and(|timeout| timeout <= STALL);
            if !backlog.clients.is_empty() && may_accept && !retries {
                self.faults
                    .push(format!("{} clients wait for an accept that never comes", backlog.clients.len()));
            }
        }
    }

    /// Whether nothing can have ended this conversation.
    fn goes_on(&self, index: usize) -> bool {
        !self.peers[index].ends && self.idle.is_none() && self.stopped_at.is_none()
    }

    /// How long data may be unacknowledged: where Pings are sent, as long as a Ping unanswered.
    fn unreachable(&self) -> u64 {
        self.ping.map_or(UNREACHABLE, |ping| ping.min(UNREACHABLE))
    }

    /// How long a silence may be that is to be no longer than `patience`, where a client has much to read.
    pub(super) fn with_steps(&self, index: usize, patience: u64) -> u64 {
        let wire = &self.wires[index];
        if wire.has_backlog() || wire.blocked { patience.max(STEP) } else { patience }
    }

    /// When the server has to do something about a silent client.
    pub(super) fn deadline(&self, index: usize) -> Option<u64> {
        let wire = &self.wires[index];
        if let Some(at) = wire.lost_since {
            // Seen twice, that long apart, but for leaps of the clock.
            return Some(at + 3 * self.unreachable() + self.leapt - wire.lost_leapt);
        }
        let life = wire.heard_at.max(wire.taken_at).max(wire.wrote_at);
        if let Some(at) = wire.server_fin {
            return Some(at.max(life) + self.with_steps(index, LINGER));
        }
        if wire.blocked && self.peers[index].is_secure() {
            // It may have answered, in a record whose end is not out.
            return None;
        }
        if !wire.has_answered {
            return Some(self.greeting_end(index));
        }
        if wire.blocked || !self.peers[index].opened {
            return None;
        }
        if let Some(at) = wire.said_close_at {
            return Some(at.max(life) + self.with_steps(index, LINGER));
        }
        let ping = self.ping.filter(|_| !wire.is_in_mid_frame());
        let ping = ping.map(|ping| match wire.pinged_at {
            Some(at) => at.max(life) + self.with_steps(index, ping),
            None => life + ping,
        });
        // A late Ping puts off the rest by as much.
        let since = life.max(wire.pinged_at.unwrap_or(0).saturating_sub(self.ping.unwrap_or(0)));
        let idle = self.idle.map(|idle| since + self.with_steps(index, idle));
        [ping, idle].into_iter().flatten().min()
    }

    /// When the server need not wait for this client's request any longer.
    pub(super) fn greeting_end(&self, index: usize) -> u64 {
        let accepted_at = self.wires[index].accepted_at;
        if self.peers[index].listener == 1 {
            return accepted_at + POLICY_TIMEOUT;
        }
        let end = accepted_at + self.handshake;
        match self.stopped_at {
            // Once it is told, a client has its time from then on.
            Some(at) if at < end => at + self.drain_spread + SPREAD_STEP + LATE_GREETING,
            _ => end,
        }
    }

    /// Whether the server may have a look at a socket without an event: some patience with this client has ended.
    pub(super) fn may_be_asked(&self, index: usize) -> bool {
        if self.is_free(index) {
            return true;
        }
        let wire = &self.wires[index];
        let ends = [
            wire.server_fin.map(|at| at + LINGER),
            (!wire.has_answered).then_some(self.greeting_end(index)),
            (!wire.has_answered).then_some(wire.accepted_at + self.handshake),
            self.stopped_at.map(|at| at + LATE_GREETING),
            wire.was_blocked.then_some(wire.heard_at + LINGER),
            wire.said_close_at.map(|at| at + LINGER),
            self.idle.map(|idle| wire.heard_at + idle),
            self.ping.map(|ping| wire.heard_at + ping),
        ];
        ends.into_iter().flatten().any(|end| end <= self.now)
    }

    /// Whether only this client itself can have ended its conversation, by its FIN.
    fn goes_on_to_its_end(&self, index: usize) -> bool {
        let wire = &self.wires[index];
        let is_calm =
            !self.is_scarce && self.stopped_at.is_none() && self.idle.is_none() && self.ping.is_none();
        is_calm
            && wire.fin
            && wire.told_end
            && !wire.nobody_there
            && wire.cut_at.is_none()
            && wire.reset == Reset::No
    }

    /// Whether the server had the right to drop this client.
    pub(super) fn judge_close(&mut self, index: usize) {
        if self.is_free(index) {
            if !self.goes_on_to_its_end(index) {
                self.excuse(index);
            }
            return;
        }
        let (wire, peer, now) = (&self.wires[index], &self.peers[index], self.now);
        if wire.told_end || wire.id.is_none() {
            return;
        }
        let passed = |at: u64, patience: Option<u64>| patience.is_some_and(|patience| now >= at + patience);
        // Whose conversation goes on may take its answers as slowly as it likes.
        let is_over = peer.ends || self.idle.is_some();
        let linger = self.with_steps(index, LINGER);
        let has_lingered = wire.server_fin.is_some_and(|at| now >= at + linger)
            || (is_over && wire.blocked && now >= wire.wrote_at.max(wire.heard_at) + linger);
        let is_late = !wire.has_answered && now >= self.greeting_end(index);
        let life = wire.heard_at.max(wire.surely_taken_at);
        let with_steps = |patience: Option<u64>| patience.map(|patience| self.with_steps(index, patience));
        let is_idle = passed(life, with_steps(self.idle));
        let is_mute = wire.pinged_at.is_some_and(|at| passed(at, with_steps(self.ping)));
        let is_lost = wire.lost_since.is_some_and(|at| passed(at, Some(self.unreachable())));
        let is_deaf = wire.unread() > 0 && !wire.was_blocked;
        let goes_on = self.stopped_at.is_none_or(|at| now < at + FAREWELL);
        let could_be_told = peer.opened && !wire.blocked && wire.unread() == 0 && !wire.is_in_mid_frame();
        if has_lingered || (self.stopped_at.is_some() && !(goes_on && could_be_told)) {
            // Nobody can complain.
        } else if !(is_late || is_idle || is_mute || is_lost) {
            self.fault(index, "dropped for no reason");
        } else if is_deaf && !is_lost {
            self.fault(index, "dropped with its bytes waiting");
        }
        self.excuse(index);
    }

    pub(super) fn fault(&mut self, index: usize, what: &str) {
        let (peer, wire) = (&self.peers[index], &self.wires[index]);
        self.faults.push(format!(
            "client {index} ({:?}, {:?}): {what}; at {}, {wire:?}",
            peer.expects, peer.leaves, self.now
        ));
    }
}
