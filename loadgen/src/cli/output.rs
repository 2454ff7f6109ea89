//! How a command ends: files, the report on stdout, the exit code.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use crate::modes::session::{Problem, Session};
use crate::report::model::ThresholdResult;
use crate::report::{self, Format, Report, Status, compare};

/// The exit codes, beside 130 and 143 for an interrupted run.
pub mod exit {
    pub const OK: u8 = 0;
    /// Could not run, or not with all connections, or nothing was answered.
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    /// A threshold was passed, a regression found or no load met the objective, or none of it could be judged.
    pub const THRESHOLD: u8 = 3;
    /// The verdict is INVALID, with `--strict`.
    pub const INVALID: u8 = 4;
}

/// Judges the thresholds of `report`, writes it wherever it was asked for, and says how to exit.
///
/// # Errors
/// When a file cannot be written, or has not what a format needs.
pub fn finish(mut session: Session, mut report: Report) -> Result<u8, Problem> {
    let common = &session.common;
    report::judge(&mut report, &common.fail_if);
    session.live.clear();
    // What one file cannot hold must not keep the rest from being written.
    let mut written = Ok(());
    for (format, path) in &common.files {
        written = written.and(report::save(&report, *format, path).map_err(Problem::Failed));
    }
    show(&report, common.format, common.output.as_deref()).and(written)?;

    let mut failures: Vec<String> = report.thresholds.iter().filter(|t| !t.ok).map(missed).collect();
    if let Some(baseline) = &session.baseline
        && !report.run.interrupted
    {
        let comparison = compare::reports(baseline, &report, common.noise_threshold);
        print(&comparison.text())?;
        failures.extend(comparison.failure());
    }
    if let Some(find) = report.find.as_ref().filter(|find| find.best.is_none()) {
        failures.push(format!("no load met {}: {}", find.objective, find.stopped));
    }
    if let Some(code) = session.signals.exit_code() {
        return Ok(code);
    }
    let (asked, messages) = (report.connections.asked, &report.messages);
    let held = report.connections.held_min.min(report.connections.opened);
    let (code, why) = if held < asked && !common.allow_partial {
        (exit::FAILED, format!("held {held} of {asked} connections"))
    } else if messages.sent > 0 && messages.received == 0 {
        (exit::FAILED, format!("no replies to {} messages", messages.sent))
    } else if common.strict && report.verdict.status == Status::Invalid {
        let reasons: Vec<&str> = report.verdict.reasons.iter().map(|r| report::sentence(r)).collect();
        (exit::INVALID, format!("INVALID: {}", reasons.join("; ")))
    } else if !failures.is_empty() {
        (exit::THRESHOLD, failures.join("; "))
    } else {
        return Ok(exit::OK);
    };
    // The report may be in a file that nobody looks at.
    complain(&why);
    Ok(code)
}

/// Why a threshold was not met.
fn missed(result: &ThresholdResult) -> String {
    match &result.note {
        Some(why) => format!("{} was not judged: {why}", result.expr),
        None => format!("{} holds", result.expr),
    }
}

/// Writes `report` to `path` or stdout.
///
/// # Errors
/// When it cannot be written, or has not what the format needs.
pub fn show(report: &Report, format: Format, path: Option<&std::path::Path>) -> Result<(), Problem> {
    match path {
        Some(path) => report::save(report, format, path).map_err(Problem::Failed),
        None => {
            let color = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            print(&format.render(report, color).map_err(Problem::Failed)?)
        }
    }
}

/// Prints to stdout. A reader that has gone has seen enough.
///
/// # Errors
/// The system's, such as a full disk.
pub fn print(text: &str) -> Result<(), Problem> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Problem::Failed(format!("stdout: {e}"))),
        _ => Ok(()),
    }
}

/// Says on stderr what is wrong, if anybody reads it.
pub fn complain(text: &str) {
    let _ = writeln!(stderr(), "loadgen: {text}");
}
