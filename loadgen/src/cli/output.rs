//! Where answers go: files, stdout, stderr, the exit code.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use crate::cli::problem::Problem;
use crate::report::compare::{Comparison, Decision};
use crate::report::{self, Format, Report};

/// The exit codes, beside 130 and 143 for an interrupted run.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Could not run, or not with all connections, or nothing was answered.
    pub const FAILED: u8 = 1;
    /// The command line made no sense, or something stood in the way of beginning.
    pub const USAGE: u8 = 2;
    /// A threshold was passed or could not be judged, something got worse, or no load met the objective.
    pub const THRESHOLD: u8 = 3;
    /// The verdict is INVALID or FAULTY, with `--strict`.
    pub const INVALID: u8 = 4;
    /// Nothing got worse as far as it could be judged, but a comparison, or all of a search, could not be.
    pub const NOT_JUDGED: u8 = 5;
}

/// Writes `report` to `path`, or to stdout for none and for `-`.
///
/// # Errors
/// When it cannot be written, or has not what the format needs.
pub fn show(report: &Report, format: Format, path: Option<&std::path::Path>) -> Result<(), Problem> {
    match path.filter(|path| *path != std::path::Path::new("-")) {
        Some(path) => report::save(report, format, path).map_err(Problem::Failed),
        None => {
            let text = format.render(report, colors(&stdout())).map_err(Problem::Failed)?;
            let fits = stdout().is_terminal() && format == Format::Text;
            print(&if fits { report::fit::fit(&text, width()) } else { text })
        }
    }
}

/// Whether `stream` is somewhere to show colours: a terminal of somebody who did not say `NO_COLOR` (no-color.org).
pub fn colors(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal that is there, 80 of none.
pub fn width() -> usize {
    let size =
        terminal_size::terminal_size_of(stdout()).or_else(|| terminal_size::terminal_size_of(stderr()));
    size.map_or(80, |(width, _)| usize::from(width.0)).clamp(40, 200)
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

/// Prints to stderr, for what must not stand in a machine's document.
pub fn remark(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

/// Says on stderr what is wrong, if anybody reads it.
pub fn complain(text: &str) {
    let _ = writeln!(stderr(), "loadgen: {text}");
}

/// The exit code of a comparison, after a line about what got worse or why nothing was judged.
pub fn judged(comparison: &Comparison) -> u8 {
    match comparison.decision() {
        Decision::Fine => exit::OK,
        Decision::Worse(why) => {
            complain(&why);
            exit::THRESHOLD
        }
        Decision::NotJudged(why) => {
            complain(&why);
            exit::NOT_JUDGED
        }
    }
}
