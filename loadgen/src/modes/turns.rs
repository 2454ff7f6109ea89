//! `loadgen compare`: two reports, or runs of two command lines by turns.
//!
//! By turns means A B B A A B B A …: what a host does slowly, such as growing warm or busy, comes to both alike.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::cli::args::CompareArgs;
use crate::cli::problem::Problem;
use crate::cli::signals::Signals;
use crate::cli::{argv, output};
use crate::report::{self, Report, compare};

/// The command.
///
/// # Errors
/// When a report cannot be read, or a run of a command line leaves none.
pub fn command(args: &CompareArgs) -> Result<u8, Problem> {
    let comparison = match (&args.files[..], &args.run[..]) {
        ([old, new], []) => {
            let [old, new] = [old, new].map(|path| report::load(path).map_err(Problem::Failed));
            compare::reports(&old?, &new?, args.noise_threshold)
        }
        ([], [a, b]) => {
            if args.repeat < compare::PAIRS_MIN {
                let text = format!("--repeat takes {} or more pairs", compare::PAIRS_MIN);
                return Err(Problem::Usage(text));
            }
            let lines = [a, b].map(|line| argv::words(line).map_err(Problem::Usage));
            let [a, b] = lines;
            match by_turns(&[a?, b?], args.repeat)? {
                Turns::Done(pairs) => compare::pairs(&pairs, args.noise_threshold),
                Turns::Interrupted(code) => return Ok(code),
            }
        }
        _ => return Err(Problem::Usage("compare takes two reports, or --run twice".into())),
    };
    output::print(&comparison.text(output::colors(&std::io::stdout())))?;
    Ok(output::judged(&comparison))
}

enum Turns {
    Done(Vec<(Report, Report)>),
    /// The exit code of a signal.
    Interrupted(u8),
}

fn by_turns(lines: &[Vec<String>; 2], repeat: usize) -> Result<Turns, Problem> {
    let signals = Signals::new()?;
    let mut pairs = Vec::new();
    for pair in 0..repeat {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut reports = [None, None];
        for which in order {
            let name = ["A", "B"][which];
            output::remark(&format!("pair {} of {repeat}: {name}\n", pair + 1));
            match one(name, &lines[which], &signals)? {
                Some(report) => reports[which] = Some(report),
                None => return Ok(Turns::Interrupted(signals.exit_code().unwrap_or(output::exit::FAILED))),
            }
        }
        let [Some(a), Some(b)] = reports else { unreachable!("both had their turn") };
        pairs.push((a, b));
    }
    Ok(Turns::Done(pairs))
}

/// One run of a command line; `None` when a signal ended it.
fn one(name: &str, words: &[String], signals: &Signals) -> Result<Option<Report>, Problem> {
    let failed = |e: &dyn std::fmt::Display| Problem::Failed(format!("run {name}: {e}"));
    let own = std::env::current_exe().map_err(|e| failed(&e))?;
    let mut command = Command::new(own);
    command.args(words).args(["--format", "json"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    let mut pipe = child.stdout.take().expect("it is piped");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let interrupted = !wait(&mut child, signals).map_err(|e| failed(&e))?;
    let text = reader.join().expect("reading does not panic").map_err(|e| failed(&e))?;
    match (interrupted, report::read(&text, "its report")) {
        (true, _) => Ok(None),
        (false, Ok(report)) => Ok(Some(report)),
        // Why was said on stderr.
        (false, Err(_)) => Err(failed(&"it left no report")),
    }
}

/// Whether `child` ended by itself. A signal to this process is passed on to it, so that none is left behind.
fn wait(child: &mut Child, signals: &Signals) -> std::io::Result<bool> {
    loop {
        if child.try_wait()?.is_some() {
            return Ok(signals.exit_code().is_none());
        }
        if signals.exit_code().is_some() {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
