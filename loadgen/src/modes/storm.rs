//! `loadgen storm`: everyone is dropped and comes back.

use std::cmp::Reverse;
use std::time::Duration;

use crate::cli::args::{self, Fault};
use crate::engine::Plan;
use crate::engine::connection::Stage;
use crate::engine::recorder::Times;
use crate::engine::schedule::Rate;
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::modes::run::{measure, plan};
use crate::modes::session::{Problem, Session};
use crate::protocol::frame::Opcode;
use crate::report::Report;
use crate::report::model::{Storm, StormPhase};
use crate::report::units;

/// The command.
///
/// # Errors
/// When the engine cannot go on.
pub fn command(args: &args::Storm) -> Result<(Session, Report), Problem> {
    // Fine rows, from which the survivors' times before, during and after are put together.
    let common = args::Common { interval: Duration::from_millis(250), ..args.common() };
    let connections = common.connections;
    let survivors = args.survivors.of(connections);
    if survivors >= connections {
        return Err(Problem::Usage("--survivors takes fewer than all connections".into()));
    }
    let mut session = Session::new(common)?;
    let reset = args.fault == Fault::Rst;
    let plan = Plan {
        rate: Some(Rate::Constant(args.per_conn_rate * survivors as f64)),
        active: session.share(survivors),
        duration: args.before + args.after,
        storm: Some((args.before, reset, args.backoff.clone())),
        ..plan(&session)
    };
    let (mut report, measured) = measure(&mut session, "storm", connections, &plan)?;
    let Some(recovery) = measured.recovery else { return Ok((session, report)) };
    let at = recovery.dropped_at - measured.from;
    let back = recovery.back_after(1.0);
    let phase = |name: &str, from: u64, to: u64| {
        let mut echo = Times::default();
        for row in &report.intervals {
            let (start, end) = (row.start_ns, row.start_ns + row.len_ns as i64);
            if start >= from as i64
                && end <= to as i64
                && let Some(histogram) = row.response.as_ref().and_then(|stat| stat.histogram().ok())
            {
                echo.add(&Times { histogram, saturated: 0 });
            }
        }
        StormPhase { name: name.into(), echo: echo.stat() }
    };
    // Rows that the storm's edges cut count as during.
    const ROW: u64 = clock::SECOND / 4;
    let (first, last) = (at / ROW * ROW, back.map_or(u64::MAX / 2, |t| (at + t).div_ceil(ROW) * ROW));
    let phases =
        vec![phase("before", 0, first), phase("during", first, last), phase("after", last, u64::MAX / 2)];
    report.storm = Some(Storm {
        fault: if reset { "rst" } else { "close" }.into(),
        policy: args.backoff.to_string(),
        dropped_at_ns: at,
        dropped: recovery.dropped,
        back: recovery.back.len() as u64,
        back_ns: [("50", 0.5), ("90", 0.9), ("99", 0.99), ("100", 1.0)]
            .into_iter()
            .filter_map(|(key, share)| Some((key.to_owned(), recovery.back_after(share)?)))
            .collect(),
        attempts: recovery.attempts,
        syn_retransmits: report.connections.syn_retransmits,
        listen_overflows: report.connections.listen_overflows,
        handshake: recovery.handshake.stat(),
        survivors: survivors as u64,
        phases,
    });
    Ok((session, report))
}

/// How long a client waits before it tries to come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// Not at all.
    None,
    Fixed(Duration),
    /// Anywhere up to a limit that doubles with every failure ("full jitter").
    Jitter {
        base: Duration,
        max: Duration,
    },
}

impl std::fmt::Display for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Backoff::None => f.write_str("none"),
            Backoff::Fixed(time) => write!(f, "fixed:{time:?}"),
            Backoff::Jitter { base, max } => write!(f, "exp:{base:?}..{max:?}"),
        }
    }
}

impl Backoff {
    /// Reads `none`, `fixed:1s` or `exp:100ms..5s`.
    ///
    /// # Errors
    /// A sentence that says what a policy looks like.
    pub fn parse(text: &str) -> Result<Backoff, String> {
        let wrong = || format!("`{text}` is not none, fixed:TIME or exp:TIME..TIME");
        if text == "none" {
            Ok(Backoff::None)
        } else if let Some(time) = text.strip_prefix("fixed:") {
            Ok(Backoff::Fixed(units::duration(time)?))
        } else {
            let (base, max) = text.strip_prefix("exp:").and_then(|t| t.split_once("..")).ok_or_else(wrong)?;
            Ok(Backoff::Jitter { base: units::duration(base)?, max: units::duration(max)? })
        }
    }

    /// How long to wait after `failures` attempts.
    fn delay(&self, failures: u32, rng: &mut fastrand::Rng) -> u64 {
        match self {
            Backoff::None => 0,
            Backoff::Fixed(time) => time.as_nanos() as u64,
            Backoff::Jitter { base, max } => {
                let limit = base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(*max);
                (rng.f64() * limit.as_nanos() as f64) as u64
            }
        }
    }
}

/// One thread's part in a storm.
pub struct Recovery {
    pub policy: Backoff,
    /// Cut the connections off (RST) rather than close them.
    pub reset: bool,
    pub dropped_at: u64,
    pub dropped: u64,
    pub attempts: u64,
    /// When each came back, after the drop.
    pub back: Vec<u64>,
    /// SYN -> 101.
    pub handshake: Times,
}

impl Recovery {
    pub fn new(policy: Backoff, reset: bool) -> Recovery {
        let handshake = Times::default();
        Recovery { policy, reset, dropped_at: 0, dropped: 0, attempts: 0, back: Vec::new(), handshake }
    }

    /// When a connection that was started `attempt` times tries again. The first attempt of all came before the storm.
    pub fn retry_at(&self, attempt: u32, now: u64, rng: &mut fastrand::Rng) -> u64 {
        // A refusal must not become a loop that starves everything else.
        let least = if attempt == 0 { 0 } else { clock::SECOND / 1000 };
        now + self.policy.delay(attempt, rng).max(least)
    }

    /// A connection is back after a handshake that took `took`.
    pub fn came_back(&mut self, took: u64, now: u64) {
        self.handshake.record(took);
        self.back.push(now - self.dropped_at);
    }

    /// Connections that were dropped and are not back.
    pub fn away(&self) -> u64 {
        self.dropped - self.back.len() as u64
    }

    /// Adds another thread's part.
    pub fn add(&mut self, other: Recovery) {
        self.dropped_at = self.dropped_at.max(other.dropped_at);
        self.dropped += other.dropped;
        self.attempts += other.attempts;
        self.back.extend(other.back);
        self.handshake.add(&other.handshake);
    }

    /// After which time a share of those dropped was back.
    pub fn back_after(&self, share: f64) -> Option<u64> {
        let mut back = self.back.clone();
        back.sort_unstable();
        let needed = (self.dropped as f64 * share).ceil().max(1.0) as usize;
        back.get(needed - 1).copied()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_back_when_its_last_one_is() {
        let mut recovery = Recovery::new(Backoff::None, true);
        recovery.dropped = 10;
        for i in (1..=9).rev() {
            recovery.came_back(1, i * 100);
        }
        assert_eq!(recovery.back_after(0.5), Some(500));
        assert_eq!(recovery.back_after(0.9), Some(900));
        assert_eq!(recovery.back_after(1.0), None);
    }

    #[test]
    fn jitter_doubles_its_limit_up_to_the_most() {
        let policy = Backoff::parse("exp:100ms..1s").unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        for (failures, limit) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let most = (0..2000).map(|_| policy.delay(failures, &mut rng)).max().unwrap();
            assert!(most <= limit * 1_000_000 && most > limit * 950_000, "{failures}: {most}");
        }
        assert_eq!(Backoff::parse("fixed:1s"), Ok(Backoff::Fixed(Duration::from_secs(1))));
        assert!(Backoff::parse("exp:1s").is_err());
    }
}
