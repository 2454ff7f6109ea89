//! `loadgen storm`: everyone is dropped and comes back.

use std::time::Duration;

use crate::cli::args;
use crate::cli::problem::Problem;
use crate::cli::values::Fault;
use crate::engine::plan::{Outage, Plan};
use crate::engine::recorder::Times;
use crate::engine::schedule::Rate;
use crate::host::clock::{Nanos, SECOND};
use crate::modes::measurement::{Measurement, measure, plan};
use crate::report::Report;
use crate::report::model::{Mode, Storm, StormPhase};

/// The command.
///
/// # Errors
/// When the engine cannot go on.
pub fn command(args: &args::StormArgs) -> Result<(Measurement, Report), Problem> {
    // Fine rows, from which the survivors' times before, during and after are put together.
    let common = common(args);
    let connections = common.connections;
    let survivors = args.survivors.of(connections);
    if survivors >= connections {
        return Err(Problem::Usage("--survivors takes fewer than all connections".into()));
    }
    let mut measurement = Measurement::new(common)?;
    let reset = args.fault == Fault::Rst;
    let plan = Plan {
        rate: Some(Rate::Constant(args.per_conn_rate * survivors as f64)),
        active: measurement.share(survivors),
        duration: args.before + args.after,
        storm: Some(Outage {
            after: if args.server { Duration::ZERO } else { args.before },
            reset,
            server: args.server,
            backoff: args.backoff.clone(),
        }),
        ..plan(&measurement)
    };
    let (mut report, measured) = measure(&mut measurement, Mode::Storm, connections, &plan)?;
    let Some(recovery) = measured.outcome.recovery else { return Ok((measurement, report)) };
    if args.server && recovery.dropped == 0 {
        report.verdict.find("no_outage", "no connection was lost: the server did not go away");
    }
    let Nanos(at) = recovery.dropped_at - measured.from;
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
    const ROW: u64 = SECOND / 4;
    let (first, last) = (at / ROW * ROW, back.map_or(u64::MAX / 2, |Nanos(t)| (at + t).div_ceil(ROW) * ROW));
    let phases =
        vec![phase("before", 0, first), phase("during", first, last), phase("after", last, u64::MAX / 2)];
    report.storm = Some(Storm {
        fault: fault(args).into(),
        detected_ns: recovery.last_sign.map(|sign| (recovery.dropped_at - sign).0),
        lost_ns: recovery.lost.iter().max().map(|last| last.0),
        first_back_ns: recovery.back.iter().min().map(|first| first.0),
        policy: args.backoff.to_string(),
        dropped_at_ns: at,
        dropped: recovery.dropped,
        silent: recovery.silent,
        back: recovery.back.len() as u64,
        back_ns: [("50", 0.5), ("90", 0.9), ("99", 0.99), ("100", 1.0)]
            .into_iter()
            .filter_map(|(key, share)| Some((key.to_owned(), recovery.back_after(share)?.0)))
            .collect(),
        attempts: recovery.attempts,
        syn_retransmits: report.connections.syn_retransmits,
        listen_overflows: report.connections.listen_overflows,
        handshake: recovery.handshake.stat(),
        survivors: survivors as u64,
        phases,
    });
    Ok((measurement, report))
}

/// The options, with what an outage of the server's is noticed by.
fn common(args: &args::StormArgs) -> args::Common {
    let mut common = args::Common { interval: Duration::from_millis(250), ..args.common() };
    if args.server {
        // Who sends nothing hears of a silent server by its pings alone, which the oldest drafts do not have.
        let pings = Some(args.timeout / 2).filter(|_| !common.draft.is_hixie());
        common.silence = Some(args.timeout);
        common.ping = common.ping.or(pings);
    }
    common
}

/// What happened to the connections.
fn fault(args: &args::StormArgs) -> &'static str {
    match (args.server, args.fault) {
        (true, _) => "server",
        (false, Fault::Rst) => "rst",
        (false, Fault::Close) => "close",
    }
}
