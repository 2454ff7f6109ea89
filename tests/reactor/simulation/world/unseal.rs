//! What the server says in TLS.

use super::World;
use crate::secure::Authority;
use crate::simulation::peer::{Expects, Peer};

impl World {
    /// Has most of those who come for an echo speak TLS.
    pub fn secure(&mut self, authority: &Authority) {
        let World { peers, rng, .. } = self;
        let secured = |peer: Peer| if rng.u8(..4) > 0 { peer.secure(rng, authority) } else { peer };
        *peers = std::mem::take(peers).into_iter().map(secured).collect();
    }

    /// Notes what is in the `bytes` that the kernel has just taken for a client in TLS.
    pub(super) fn unseal(&mut self, index: usize, bytes: &[u8]) {
        let (peer, wire) = (&mut self.peers[index], &mut self.wires[index]);
        let Some(secure) = &mut peer.secure else { return };
        let plain = match secure.arrives(bytes, wire.written) {
            Ok(plain) => plain,
            Err(_) if peer.excused => return,
            Err(fault) => return self.fault(index, &fault),
        };
        if plain.is_empty() {
            return;
        }
        wire.has_answered = true;
        if plain == [0x89, 0] {
            wire.pinged_at.get_or_insert(self.now);
        }
        if peer.expects == Expects::Echo {
            wire.said.take(&plain);
        }
        if wire.said.close.is_some() && wire.said_close_at.is_none() {
            wire.said_close_at = Some(self.now);
            let life = wire.heard_at.max(wire.surely_taken_at);
            let is_said_now = !wire.was_blocked && !peer.ends && self.stopped_at.is_none();
            let says_going_away = wire.said.close == Some(1001) && is_said_now;
            let is_idle = self.idle.is_some_and(|idle| self.now >= life + self.with_steps(index, idle));
            if says_going_away && !is_idle {
                self.fault(index, "told that it is idle, which it is not");
            }
        }
    }
}
