//! The program: see the library.

use std::process::ExitCode;

use loadgen::cli::args::{Args, Subcommand};
use loadgen::cli::problem::Problem;
use loadgen::cli::{argv, help, output, print};
use loadgen::modes::{calibrate, conns, doctor, fanout, find, listen, measurement, run, storm, turns};
use loadgen::protocol::shown::{escaped, masked_in};
use loadgen::report::{self, Format, merge};

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if given.iter().any(|a| a == "--version" || a == "-V") {
        return end(
            output::print(concat!("loadgen ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| output::exit::OK)
        );
    }
    if let Some(answer) = asked(&given) {
        return end(answer
            .map_err(Problem::Usage)
            .and_then(|text| output::print(&text).map(|()| output::exit::OK)));
    }
    if let Some(problem) = argv::first_word_problem(&given) {
        return end(Err(Problem::Usage(problem)));
    }
    let line = argv::normalize(given.iter().cloned());
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let args: Args = match argh::FromArgs::from_args(&["loadgen"], &line) {
        Ok(args) => args,
        Err(argh::EarlyExit { output, .. }) => {
            let said = masked_in(output.trim_end(), &given, &argv::masked(&given));
            let meant = argv::meant_option(&given, &output);
            return end(Err(Problem::Usage(
                [Some(said), meant].into_iter().flatten().collect::<Vec<_>>().join("; "),
            )));
        }
    };
    end(execute(&args.command))
}

/// The answer to a command line that asks for help or for a text, if it does.
fn asked(given: &[String]) -> Option<Result<String, String>> {
    let width = output::width();
    let is_help = |word: &String| word == "--help" || word == "-h";
    let first = given.first().map(String::as_str);
    if let Some(at) = given.iter().position(|word| word == "--print") {
        let what = given.get(at + 1).map_or("", String::as_str);
        return Some(
            print::text(what).ok_or_else(|| format!("--print takes one of {}", print::NAMES.join(", "))),
        );
    }
    match (first, given.get(1)) {
        (None, _) => Some(Err(
            "nothing to do: name a server such as ws://127.0.0.1:8087/echo; see loadgen help".into(),
        )),
        (Some("help"), Some(word)) if help::COMMANDS.contains(&&**word) => {
            Some(Ok(help::page(Some(word), width)))
        }
        (Some("help"), Some(word)) if !is_help(word) => {
            let text = help::topic(&given[1..].join("-"), width);
            Some(text.ok_or_else(|| {
                let meant = help::meant(word, help::topics().chain(help::COMMANDS));
                let hint =
                    meant.map_or("see loadgen help".to_owned(), |word| format!("did you mean {word}?"));
                format!("`{}` is no word of the report: {hint}", escaped(word))
            }))
        }
        (Some("help"), _) => Some(Ok(help::page(None, width))),
        (Some(first), _) if given.iter().any(is_help) => {
            Some(Ok(help::page(Some(first).filter(|first| help::COMMANDS.contains(first)), width)))
        }
        _ => None,
    }
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

fn execute(command: &Subcommand) -> Result<u8, Problem> {
    let (asked, report) = match command {
        Subcommand::Run(args) => run::command(args)?,
        Subcommand::Conns(args) => conns::command(args)?,
        Subcommand::Find(args) => find::command(args)?,
        Subcommand::Fanout(args) => fanout::command(args)?,
        Subcommand::Listen(args) => listen::command(args)?,
        Subcommand::Storm(args) => storm::command(args)?,
        Subcommand::Calibrate(args) => return calibrate::command(args),
        Subcommand::Report(args) => {
            let report = report::load(&args.file).map_err(Problem::Failed)?;
            output::show(&report, args.format, args.output.as_deref())?;
            return Ok(output::exit::OK);
        }
        Subcommand::Compare(args) => return turns::command(args),
        Subcommand::Merge(args) => {
            if args.files.is_empty() {
                return Err(Problem::Usage("merge takes reports, JSON or HTML".into()));
            }
            let parts: Result<Vec<_>, _> = args.files.iter().map(|path| report::load(path)).collect();
            let merged = merge::reports(&parts.map_err(Problem::Failed)?).map_err(Problem::Failed)?;
            output::show(&merged, Format::Json, Some(&args.output))?;
            // stdout holds one document.
            if args.output != std::path::Path::new("-") {
                output::show(&merged, Format::Text, None)?;
            }
            return Ok(output::exit::OK);
        }
        Subcommand::Doctor(args) => {
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
    measurement::finish(asked, report)
}
