//! `loadgen run`: hold connections, send on a schedule, time the replies.

use std::time::Duration;

use crate::cli::args::{Common, RunArgs};
use crate::cli::problem::Problem;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::modes::measurement::{Measurement, measure, plan};
use crate::report::Report;
use crate::report::model::Mode;

/// How long a closed loop waits for a reply before it sends the next message all the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command.
///
/// # Errors
/// See [`measure`].
pub fn command(args: &RunArgs) -> Result<(Measurement, Report), Problem> {
    let closed = args.closed || args.think.is_some();
    let timeout = args.timeout.or(closed.then_some(PATIENCE));
    let common = Common {
        max_inflight: args.max_inflight,
        messages_each: args.messages_per_connection,
        timeout,
        ..args.common()
    };
    let connections = common.connections;
    let mut measurement = Measurement::new(common)?;
    if closed && (args.rate.is_some() || args.per_conn_rate.is_some()) {
        return Err(Problem::Usage(
            "--closed and --think have no schedule: leave out --rate and --per-conn-rate".into(),
        ));
    }
    if args.rate.is_some() && args.per_conn_rate.is_some() {
        return Err(Problem::Usage("--rate and --per-conn-rate say the same: leave one out".into()));
    }
    let active = args.active.of(connections);
    let rate = match (&args.rate, args.per_conn_rate) {
        _ if closed => None,
        (Some(rate), _) => Some(rate.clone()),
        (None, per_conn) => Some(Rate::Constant(per_conn.unwrap_or(1.0) * active as f64)),
    };
    let plan = Plan {
        rate,
        pipeline: args.pipeline,
        think: args.think,
        arrival: args.arrival,
        active: measurement.share(active),
        warmup: args.warmup,
        duration: args.duration,
        drain: args.drain,
        ..plan(&measurement)
    };
    let mode = if closed { Mode::Closed } else { Mode::Open };
    let (report, _) = measure(&mut measurement, mode, connections, &plan)?;
    Ok((measurement, report))
}
