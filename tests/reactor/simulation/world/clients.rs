//! What the clients do between two polls.

use super::World;
use crate::simulation::peer::{Appetite, Leaves};
use crate::simulation::tcp::Reset;

impl World {
    /// Lets a client do something, if any can.
    pub(super) fn act(&mut self) -> bool {
        while !self.restless.is_empty() {
            let at = self.rng.usize(..self.restless.len());
            let index = self.restless[at];
            if self.act_as(index) {
                if self.chance(8) {
                    self.now += self.rng.u64(..=2);
                }
                return true;
            }
            self.restless.swap_remove(at);
            self.peers[index].restless = false;
        }
        false
    }

    pub(super) fn act_as(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        if peer.done {
            return false;
        }
        if !peer.connected {
            return self.connect(index);
        }
        if (peer.saw_end && (wire.fin || wire.closed)) || (wire.closed && peer.excused) {
            self.finish(index);
            return true;
        }
        let is_there = !wire.fin && !wire.closed && wire.reset == Reset::No;
        match peer.leaves {
            Leaves::Resetting(at) if is_there && wire.arrived >= at => {
                wire.break_off();
                self.list(index);
                self.finish_excused(index);
                return true;
            }
            Leaves::Vanishing(at) if is_there && wire.arrived >= at => {
                if wire.out.is_empty() {
                    wire.fin = true;
                    wire.nobody_there = true;
                    wire.sent.truncate(wire.arrived);
                } else {
                    wire.break_off();
                }
                self.list(index);
                self.finish_excused(index);
                return true;
            }
            Leaves::CutOff(at) if is_there && wire.arrived >= at => {
                wire.cut_at = Some(self.now);
                (wire.lost_since, wire.lost_leapt) = ((!wire.out.is_empty()).then_some(self.now), self.leapt);
                wire.sent.truncate(wire.arrived);
                self.finish_excused(index);
                return true;
            }
            _ => {}
        }
        let first = self.rng.u8(..4);
        (0..4).any(|turn| match (first + turn) % 4 {
            0 => self.take(index),
            1 => self.deliver(index),
            2 => is_there && self.say_or_leave(index),
            _ => self.make_room(index),
        })
    }

    pub(super) fn connect(&mut self, index: usize) -> bool {
        let peer = &mut self.peers[index];
        peer.connected = true;
        let backlog = &mut self.backlogs[peer.listener];
        if backlog.closed {
            self.finish_excused(index);
            return true;
        }
        backlog.clients.push_back(index);
        backlog.edge = true;
        let rooms: &[usize] =
            if peer.size() < 3_000 { &[1, 50, 1_000, 70_000] } else { &[3_000, 70_000, 300_000, 1_000_000] };
        self.wires[index].room = *self.rng.choice(rooms).expect("a size");
        true
    }

    /// Takes bytes of the server, or sees that there will be no more.
    pub(super) fn take(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        let all = wire.out.len();
        let most = match peer.appetite {
            Appetite::None => return false,
            Appetite::Picky => all.min(2_000),
            Appetite::Eager => all,
        };
        if all == 0 {
            let ends = wire.server_fin.is_some() || wire.closed;
            return ends && !std::mem::replace(&mut peer.saw_end, true);
        }
        let count = if self.rng.bool() { most } else { self.rng.usize(1..=most) };
        #[cfg(feature = "tls")]
        let heard = match &mut peer.secure {
            Some(secure) => {
                let plain = secure.takes(wire.written + count - all);
                peer.hears(&plain)
            }
            None => peer.hears(&wire.out[..count]),
        };
        #[cfg(not(feature = "tls"))]
        let heard = peer.hears(&wire.out[..count]);
        if let Err(fault) = heard
            && !peer.excused
        {
            self.fault(index, &fault);
        }
        let wire = &mut self.wires[index];
        let before = wire.unacknowledged();
        wire.out.drain(..count);
        wire.tell();
        wire.taken_at = self.now;
        if wire.unacknowledged() < before && wire.pinged_at.is_none() {
            wire.surely_taken_at = self.now;
        }
        self.make_room(index);
        true
    }

    /// Tells the server that there is room, if it waits for that.
    pub(super) fn make_room(&mut self, index: usize) -> bool {
        let wire = &mut self.wires[index];
        if !wire.no_space || !wire.is_writable() || wire.id.is_none() || wire.closed {
            return false;
        }
        wire.no_space = false;
        self.list(index);
        true
    }

    /// Lets some of what was said arrive.
    pub(super) fn deliver(&mut self, index: usize) -> bool {
        let wire = &mut self.wires[index];
        let most = wire.deliverable();
        if most == 0 || wire.fin || wire.closed || wire.reset != Reset::No {
            return false;
        }
        wire.arrived += match self.rng.u8(..4) {
            0 => self.rng.usize(1..=most.min(20)),
            1 => self.rng.usize(1..=most),
            _ => most,
        };
        self.list(index);
        true
    }

    pub(super) fn say_or_leave(&mut self, index: usize) -> bool {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        if wire.arrived < wire.sent.len() {
            return false;
        }
        if let Some(said) = peer.says(&mut self.rng) {
            wire.sent.extend(said);
            if !peer.in_message {
                wire.ends.insert(wire.sent.len());
            }
            return true;
        }
        let leaves = match peer.leaves {
            // In TLS its last byte waits for the handshake.
            Leaves::AtOnce => peer.opening.is_none(),
            Leaves::Late => peer.saw_end,
            _ => peer.saw_end || peer.is_satisfied(),
        };
        if leaves {
            // Some say it in TLS, too, before they do.
            #[cfg(feature = "tls")]
            if let Some(secure) = peer.secure.as_mut().filter(|secure| secure.may_close())
                && self.rng.bool()
            {
                wire.sent.extend(secure.close());
                wire.ends.insert(wire.sent.len());
                return true;
            }
            wire.fin = true;
            self.list(index);
        }
        leaves
    }

    pub(super) fn finish(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.done = true;
        if !peer.excused
            && let Some(complaint) = peer.complaint()
        {
            self.fault(index, &complaint);
        }
    }

    pub(super) fn finish_excused(&mut self, index: usize) {
        self.excuse(index);
        self.finish(index);
    }

    pub(super) fn excuse(&mut self, index: usize) {
        self.peers[index].excused = true;
        self.wake(index);
    }

    pub(super) fn wake(&mut self, index: usize) {
        if !std::mem::replace(&mut self.peers[index].restless, true) {
            self.restless.push(index);
        }
    }
}
