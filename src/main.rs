//! The `wsecho` command: reads its arguments, serves, and turns what went wrong into one line and an exit status.

#[cfg(not(any(debug_assertions, target_feature = "crt-static")))]
mod backtrace;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use wsecho::args::{self, Command};
use wsecho::daemon;
use wsecho::failure::Failure;
use wsecho::log;
use wsecho::workers;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A worker has said why itself.
            if !failure.text.is_empty() {
                log::last_words(format_args!("{}", failure.text));
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run() -> Result<(), Failure> {
    let command = args::parse(std::env::args_os().skip(1), std::env::var_os("PORT"))
        .map_err(|text| Failure { text, status: Failure::USAGE })?;
    match command {
        Command::Serve(options) if options.workers.is_some() => workers::run(&options),
        Command::Serve(options) => daemon::run(*options),
        // Whoever closed stdout does not want the text.
        Command::Print(text) => {
            match std::io::stdout().write_all(text.as_bytes()) {
                // Whoever closed the pipe has read enough.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    Err(Failure { text: format!("cannot write to stdout: {error}"), status: Failure::SYSTEM })
                }
                _ => Ok(()),
            }
        }
    }
}
