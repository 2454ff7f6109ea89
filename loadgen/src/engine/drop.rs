//! Everyone but the senders is dropped.

use std::cmp::Reverse;

use crate::engine::connection::Stage;
use crate::engine::recovery::Recovery;
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::protocol::frame::Opcode;

impl Worker {
    /// Drops the connections that do not send, and has them come back by the policy.
    pub fn drop_idle(&mut self, mut recovery: Box<Recovery>, now: u64) {
        recovery.dropped_at = now;
        let reset = recovery.reset;
        let senders = self.senders();
        let idle: Vec<usize> = (0..self.conns.len())
            .filter(|i| self.conns[*i].stage == Stage::Open && !senders.contains(&(*i as u32)))
            .collect();
        recovery.dropped = idle.len() as u64;
        for &i in &idle {
            self.retries.push(Reverse((recovery.retry_at(0, now, &mut self.rng), i as u32)));
        }
        self.recovery = Some(recovery);
        for i in idle {
            if !reset {
                self.control(i, Opcode::Close, &1001u16.to_be_bytes());
            }
            if self.conns[i].stage == Stage::Open {
                self.conns[i].drop_stream(reset);
                self.count_held(-1);
            }
            // Those who stay go on meanwhile.
            self.send_due(clock::now());
        }
    }
}
