//! `loadgen listen`: nothing is sent, and what comes is timed.

use crate::cli::args::{Common, ListenArgs};
use crate::cli::problem::Problem;
use crate::engine::conversation::Listening;
use crate::engine::plan::Plan;
use crate::modes::measurement::{Measurement, measure, plan};
use crate::protocol::pattern::Pattern;
use crate::report::Report;
use crate::report::model::{Listen, Mode};

/// The command.
///
/// # Errors
/// When the stamp is no pattern with a clock in it, or the engine cannot go on.
pub fn command(args: &ListenArgs) -> Result<(Measurement, Report), Problem> {
    let stamp = args.stamp.as_deref().map(stamp).transpose().map_err(Problem::Usage)?;
    let resolution = stamp.as_ref().map_or(0, |(.., unit)| *unit);
    let common = Common { listening: Some(Listening { stamp }), ..args.common() };
    let connections = common.connections;
    let mut measurement = Measurement::new(common)?;
    let plan = Plan {
        active: 0,
        warmup: args.warmup,
        duration: args.duration,
        drain: std::time::Duration::ZERO,
        ..plan(&measurement)
    };
    let (mut report, measured) = measure(&mut measurement, Mode::Listen, connections, &plan)?;
    report.config.pipeline = None;
    let counts = &measured.total.counts;
    report.listen = Some(Listen {
        received: counts.received,
        unstamped: if args.stamp.is_some() { counts.unsolicited } else { 0 },
        ahead: counts.ahead,
        stamp: args.stamp.clone(),
        resolution_ns: resolution,
    });
    // Whatever comes is what was waited for.
    report.messages.unsolicited = 0;
    Ok((measurement, report))
}

/// A pattern with the sender's clock in it, and the nanoseconds of its unit.
fn stamp(text: &str) -> Result<(Pattern, usize, u64), String> {
    let pattern = Pattern::parse(text).map_err(|e| format!("--stamp: {e}"))?;
    let clock =
        [("ms", 1_000_000), ("ns", 1)].into_iter().find_map(|(name, unit)| Some((pattern.hole(name)?, unit)));
    let (hole, unit) = clock.ok_or("--stamp: it takes the text around {ms} or {ns}, as in '\"ts\":{ms}'")?;
    Ok((pattern, hole, unit))
}
