//! The program: see the library.

use std::process::ExitCode;

use loadgen::args::{Args, Command};
use loadgen::report::{self, Format, compare, merge};
use loadgen::session::Problem;
use loadgen::{argv, calibrate, conns, doctor, fanout, find, output, run, storm};

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if given.iter().any(|a| a == "--version" || a == "-V") {
        println!("loadgen {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let line = argv::normalize(given);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let args: Args = match argh::FromArgs::from_args(&["loadgen"], &line) {
        Ok(args) => args,
        Err(argh::EarlyExit { output, status: Ok(()) }) => {
            println!("{}", output.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(argh::EarlyExit { output, .. }) => {
            eprintln!("loadgen: {}", output.trim_end());
            return ExitCode::from(output::exit::USAGE);
        }
    };
    match execute(&args.command) {
        Ok(code) => ExitCode::from(code),
        Err(Problem::Usage(text)) => {
            eprintln!("loadgen: {text}");
            ExitCode::from(output::exit::USAGE)
        }
        Err(Problem::Failed(text)) => {
            eprintln!("loadgen: {text}");
            ExitCode::from(output::exit::FAILED)
        }
    }
}

fn execute(command: &Command) -> Result<u8, Problem> {
    let (session, report) = match command {
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
            let good = comparison.comparable && comparison.regressions().next().is_none();
            return Ok(if good { output::exit::OK } else { output::exit::THRESHOLD });
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
            let (text, works) =
                doctor::examine(args.connections, args.url.as_deref(), args.source.as_deref())
                    .map_err(Problem::Usage)?;
            output::print(&text)?;
            return Ok(if works { output::exit::OK } else { output::exit::FAILED });
        }
    };
    output::finish(session, report)
}
