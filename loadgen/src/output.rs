//! How a command ends: files, the report on stdout, the exit code.

use std::io::{IsTerminal, Write, stdout};

use crate::report::{self, Format, Report, Status, compare};
use crate::session::{Problem, Session};

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
    let met = report::judge(&mut report, &common.fail_if);
    session.live.clear();
    // What one file cannot hold must not keep the rest from being written.
    let mut written = Ok(());
    for (format, path) in &common.files {
        written = written.and(report::save(&report, *format, path).map_err(Problem::Failed));
    }
    show(&report, common.format, common.output.as_deref()).and(written)?;

    let mut worse = false;
    if let Some(baseline) = &session.baseline
        && !report.run.interrupted
    {
        let comparison = compare::reports(baseline, &report, common.noise_threshold);
        print(&comparison.text())?;
        worse = !comparison.comparable || comparison.regressions().next().is_some();
    }
    let held = report.connections.held_min.min(report.connections.opened);
    Ok(match () {
        () if let Some(code) = session.signals.exit_code() => code,
        () if report.messages.sent > 0 && report.messages.received == 0 => exit::FAILED,
        () if held < report.connections.asked && !common.allow_partial => exit::FAILED,
        () if common.strict && report.verdict.status == Status::Invalid => exit::INVALID,
        () if report.find.as_ref().is_some_and(|find| find.best.is_none()) => exit::THRESHOLD,
        () if !met || worse => exit::THRESHOLD,
        () => exit::OK,
    })
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

/// Prints to stdout; a reader that has gone is an error, not a panic.
///
/// # Errors
/// The system's.
pub fn print(text: &str) -> Result<(), Problem> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Problem::Failed(format!("stdout: {e}")))
}
