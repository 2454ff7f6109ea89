//! The program: see the library.

use std::process::ExitCode;

use loadgen::cli::args::{Args, Command};
use loadgen::cli::problem::Problem;
use loadgen::cli::{argv, output};
use loadgen::modes::{calibrate, conns, doctor, fanout, find, run, session, storm};
use loadgen::protocol::shown::masked_in;
use loadgen::report::{self, Format, compare, merge};

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if given.iter().any(|a| a == "--version" || a == "-V") {
        return end(
            output::print(concat!("loadgen ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| output::exit::OK)
        );
    }
    let line = argv::normalize(given.iter().cloned());
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let args: Args = match argh::FromArgs::from_args(&["loadgen"], &line) {
        Ok(args) => args,
        Err(argh::EarlyExit { output, status: Ok(()) }) => {
            return end(output::print(&format!("{}\n", output.trim_end())).map(|()| output::exit::OK));
        }
        Err(argh::EarlyExit { output, .. }) => {
            return end(Err(Problem::Usage(masked_in(output.trim_end(), &given))));
        }
    };
    end(execute(&args.command))
}

/// The exit code, after a line on stderr about what went wrong.
fn end(result: Result<u8, Problem>) -> ExitCode {
    let (code, text) = match result {
        Ok(code) => return ExitCode::from(code),
        Err(Problem::Usage(text)) => (output::exit::USAGE, text),
        Err(Problem::Failed(text)) => (output::exit::FAILED, text),
    };
    output::complain(&text);
    ExitCode::from(code)
}

fn execute(command: &Command) -> Result<u8, Problem> {
    let (asked, report) = match command {
        Command::Run(args) => run::command(args)?,
        Command::Conns(args) => conns::command(args)?,
        Command::Find(args) => find::command(args)?,
        Command::Fanout(args) => fanout::command(args)?,
        Command::Storm(args) => storm::command(args)?,
        Command::Calibrate(args) => return calibrate::command(args),
        Command::Report(args) => {
            let report = report::load(&args.file).map_err(Problem::Failed)?;
            output::show(&report, args.format, args.output.as_deref())?;
            return Ok(output::exit::OK);
        }
        Command::Compare(args) => {
            let [old, new] = [&args.old, &args.new].map(|path| report::load(path).map_err(Problem::Failed));
            let comparison = compare::reports(&old?, &new?, args.noise_threshold);
            output::print(&comparison.text())?;
            let failure = comparison.failure();
            failure.iter().for_each(|why| output::complain(why));
            return Ok(if failure.is_none() { output::exit::OK } else { output::exit::THRESHOLD });
        }
        Command::Merge(args) => {
            if args.files.is_empty() {
                return Err(Problem::Usage("merge takes reports, JSON or HTML".into()));
            }
            let parts: Result<Vec<_>, _> = args.files.iter().map(|path| report::load(path)).collect();
            let merged = merge::reports(&parts.map_err(Problem::Failed)?).map_err(Problem::Failed)?;
            report::save(&merged, Format::Json, &args.output).map_err(Problem::Failed)?;
            output::print(&Format::Text.render(&merged, false).map_err(Problem::Failed)?)?;
            return Ok(output::exit::OK);
        }
        Command::Doctor(args) => {
            let (text, works) = doctor::examine(
                args.connections,
                args.url.as_deref(),
                args.connect_to.as_ref(),
                args.source.as_deref(),
            )
            .map_err(Problem::Usage)?;
            output::print(&text)?;
            return Ok(if works { output::exit::OK } else { output::exit::FAILED });
        }
    };
    session::finish(asked, report)
}
