//! `loadgen run`: hold connections, send on a schedule, time the replies.

use std::time::Duration;

use crate::cli::args::{Common, Run};
use crate::engine::connection::Opening;
use crate::engine::schedule::{Arrival, Rate};
use crate::engine::{Measured, Plan};
use crate::modes::session::{Problem, Session};
use crate::report::Report;
use crate::report::model::Config;

/// A plan that sends nothing in particular, for modes to fill in.
pub fn plan(session: &Session) -> Plan {
    let common = &session.common;
    Plan {
        rate: None,
        pipeline: 1,
        arrival: Arrival::Even,
        active: common.connections,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        drain: Duration::from_secs(2),
        interval: common.interval,
        shard: (common.shard.index, common.shard.count),
        start_at: session.start_at(),
        fanout: false,
        storm: None,
        server_pid: common.server_pid,
    }
}

/// What a plan looks like in a report.
pub fn config(mode: &str, connections: usize, plan: &Plan) -> Config {
    let length = plan.rate.as_ref().and_then(Rate::length).unwrap_or(plan.duration);
    Config {
        mode: mode.to_owned(),
        connections: connections as u64,
        active: plan.active.min(connections) as u64,
        rate: plan.rate.as_ref().map(Rate::mean),
        rate_plan: match &plan.rate {
            Some(rate @ (Rate::Ramp(..) | Rate::Steps(..))) => Some(rate.to_string()),
            _ => None,
        },
        pipeline: plan.rate.is_none().then_some(u64::from(plan.pipeline)),
        arrival: match plan.arrival {
            Arrival::Even => "even".into(),
            Arrival::Poisson => "poisson".into(),
        },
        warmup_ns: plan.warmup.as_nanos() as u64,
        duration_ns: length.as_nanos() as u64,
        drain_ns: plan.drain.as_nanos() as u64,
        ..Config::default()
    }
}

/// Opens `connections`, runs `plan`, closes, and reports.
///
/// # Errors
/// When not all connections opened and that was not allowed, or the engine could not go on.
pub fn measure(
    session: &mut Session,
    mode: &str,
    connections: usize,
    plan: &Plan,
) -> Result<(Report, Measured), Problem> {
    let engine = session.engine(connections)?;
    let asked = session.share(connections);
    let opening = engine.open(asked, &mut session.live)?;
    let measured = if engine.interrupted() || short(session, asked, &opening) {
        Measured::nothing(&engine)
    } else {
        engine.run(plan, &mut session.live)?
    };
    session.live.clear();
    let mut report = session.report(config(mode, connections, plan), &engine);
    session.fill(&mut report, asked, &opening, &measured);
    engine.close()?;
    Ok((report, measured))
}

/// Whether too few connections opened to go on.
fn short(session: &Session, asked: usize, opening: &Opening) -> bool {
    let enough = if session.common.allow_partial { 1 } else { asked as u64 };
    opening.opened < enough
}

/// The command.
///
/// # Errors
/// See [`measure`].
pub fn command(args: &Run) -> Result<(Session, Report), Problem> {
    let common = Common { max_inflight: args.max_inflight, timeout: args.timeout, ..args.common() };
    let connections = common.connections;
    let mut session = Session::new(common)?;
    if args.closed && (args.rate.is_some() || args.per_conn_rate.is_some()) {
        return Err(Problem::Usage("--closed has no schedule: leave out --rate and --per-conn-rate".into()));
    }
    if args.rate.is_some() && args.per_conn_rate.is_some() {
        return Err(Problem::Usage("--rate and --per-conn-rate say the same: leave one out".into()));
    }
    let active = args.active.of(connections);
    let rate = match (&args.rate, args.per_conn_rate) {
        _ if args.closed => None,
        (Some(rate), _) => Some(rate.clone()),
        (None, per_conn) => Some(Rate::Constant(per_conn.unwrap_or(1.0) * active as f64)),
    };
    let plan = Plan {
        rate,
        pipeline: args.pipeline,
        arrival: args.arrival,
        active: session.share(active),
        warmup: args.warmup,
        duration: args.duration,
        drain: args.drain,
        ..plan(&session)
    };
    let mode = if args.closed { "closed" } else { "open" };
    let (report, _) = measure(&mut session, mode, connections, &plan)?;
    Ok((session, report))
}
