//! `loadgen fanout`: one sends, many receive.

use crate::cli::args;
use crate::cli::problem::Problem;
use crate::engine::measured::Measured;
use crate::engine::payload::Matching;
use crate::engine::plan::Plan;
use crate::host::clock::Moment;
use crate::modes::measurement::{Measurement, config, plan};
use crate::report::Report;
use crate::report::model::Mode;
use crate::verdict;

/// The command. One thread, since a message's deliveries are put together in one place.
///
/// # Errors
/// When not all connections open, or messages are too short for a stamp.
pub fn command(args: &args::FanoutArgs) -> Result<(Measurement, Report), Problem> {
    let common = args::Common { threads: Some(1), ..args.common() };
    let (connections, publishers) = (common.connections, args.publishers as usize);
    if connections < 2 || publishers == 0 || publishers > connections {
        return Err(Problem::Usage(
            "fanout takes two connections or more, and a publisher or more among them".into(),
        ));
    }
    if common.shard.count > 1 || args.threads.is_some_and(|n| n > 1) {
        return Err(Problem::Usage(
            "fanout runs on one thread of one process: leave out -t and --shard".into(),
        ));
    }
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
        fanout: true,
        ..plan(&measurement)
    };
    let mut measured = match interrupted {
        true => Measured::nothing(engine.held(), engine.interrupted()),
        false => engine.run(&plan, &mut measurement.progress)?,
    };
    let mut report = measurement.report(config(Mode::Fanout, connections, &plan), &engine);
    measurement.fill(&mut report, connections, &opening, &measured);
    report.fanout = measured.collector.take().map(|c| c.report(publishers as u64, Moment::now()));
    if let Some(fanout) = &report.fanout {
        let messages = &mut report.messages;
        messages.received = fanout.received;
        messages.unanswered = fanout.expected.saturating_sub(fanout.received);
        (messages.duplicated, messages.reordered) = (fanout.duplicated, fanout.reordered);
        let mut verdict = std::mem::take(&mut report.verdict);
        verdict::replies(&mut verdict, &report);
        report.verdict = verdict;
    }
    engine.close()?;
    Ok((measurement, report))
}
