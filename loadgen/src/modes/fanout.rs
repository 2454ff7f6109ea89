//! `loadgen fanout`: one sends, many receive.

use crate::cli::args;
use crate::cli::problem::Problem;
use crate::engine::deliveries::Collector;
use crate::engine::measured::Measured;
use crate::engine::payload::Matching;
use crate::engine::plan::{Audience, Plan};
use crate::host::clock::Moment;
use crate::modes::measurement::{Measurement, config, plan};
use crate::report::Report;
use crate::report::model::Mode;
use crate::verdict;

/// The command.
///
/// # Errors
/// When not all connections open, or messages are too short for a stamp.
pub fn command(args: &args::FanoutArgs) -> Result<(Measurement, Report), Problem> {
    let common = common(args).map_err(Problem::Usage)?;
    let (connections, publishers) = (common.connections, args.publishers as usize);
    let roles = common.roles.is_some();
    let mut measurement = Measurement::new(common)?;
    let engine = measurement.engine(connections)?;
    if engine.spec.payloads.matching(true) != Matching::Stamp {
        let text = "fanout needs stamped messages: no --no-stamp, a --size of 32 (--binary: 16) or more, and {stamp} in \
                    every --message and --payload";
        return Err(Problem::Usage(text.into()));
    }
    let opening = engine.open(connections, &mut measurement.progress)?;
    let interrupted = engine.interrupted();
    if !interrupted && opening.opened < connections as u64 && !measurement.common.allow_partial
        || !interrupted && opening.opened < 2
    {
        let reasons: Vec<String> =
            opening.failures.iter().map(|(reason, n)| format!("{n} × {reason}")).collect();
        let held = opening.opened;
        return Err(Problem::Failed(format!(
            "{held} of {connections} connections opened: {}",
            reasons.join(", ")
        )));
    }
    let plan = Plan {
        rate: Some(args.rate.clone()),
        active: publishers,
        warmup: args.warmup,
        duration: args.duration,
        drain: args.drain,
        fanout: Some(if roles { Audience::Subscribers(publishers as u64) } else { Audience::Others }),
        ..plan(&measurement)
    };
    let mut measured = match interrupted {
        true => Measured::nothing(engine.held(), engine.interrupted()),
        false => engine.run(&plan, &mut measurement.progress)?,
    };
    let mut report = measurement.report(config(Mode::Fanout, connections, &plan), &engine);
    measurement.fill(&mut report, connections, &opening, &measured);
    if let Some(collector) = measured.collector.take() {
        fill(&mut report, collector, publishers, Moment::now());
    }
    engine.close()?;
    Ok((measurement, report))
}

/// Fills in what `collector` saw of what so many `publishers` sent, up to `now`, and judges it.
pub fn fill(report: &mut Report, collector: Collector, publishers: usize, now: Moment) {
    let fanout = collector.report(publishers as u64, now);
    let messages = &mut report.messages;
    messages.received = fanout.received;
    messages.unanswered = fanout.expected.saturating_sub(fanout.received);
    (messages.duplicated, messages.reordered) = (fanout.duplicated, fanout.reordered);
    report.fanout = Some(fanout);
    let mut verdict = std::mem::take(&mut report.verdict);
    verdict::replies(&mut verdict, report);
    report.verdict = verdict;
}

/// The options, with who connects where.
fn common(args: &args::FanoutArgs) -> Result<args::Common, String> {
    let publishers = args.publishers as usize;
    let mut common = args.common();
    common.threads = Some(args.threads.unwrap_or(1));
    match (&args.publish, &args.subscribe) {
        (Some(publish), Some(subscribe)) if common.urls.is_empty() => {
            common.urls = [publish, subscribe].map(|role| role.text.clone()).to_vec();
            common.roles = Some(([publish.clone(), subscribe.clone()], publishers));
        }
        (None, None) => {}
        _ => {
            let text = "fanout takes --publish URL and --subscribe URL together, or one URL for everybody";
            return Err(text.into());
        }
    }
    let connections = common.connections;
    if connections < 2 || publishers == 0 || publishers > connections {
        return Err("fanout takes two connections or more, and a publisher or more among them".into());
    }
    if common.roles.is_some() && publishers == connections {
        return Err("fanout: of the connections (-c) none is left to --subscribe".into());
    }
    if common.shard.count > 1 {
        return Err("fanout runs in one process: leave out --shard".into());
    }
    Ok(common)
}
