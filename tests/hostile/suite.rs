//! Beside the storeys: peers who mean harm, and systems that fail, against the real binary.
//!
//! Only here is shown what an attack costs *others*: while each case goes on, a healthy client speaks a thousand times a
//! second and must lose nothing, nor wait for more of the server's processor time than is said; when it is over, clients,
//! descriptors, kept bytes and memory are as before.

mod backpressure;
mod boards;
mod crowd;
mod drafts;
mod frames;
mod handshake;
mod inject;
mod network;
mod paths;
mod patience;
mod process;
mod rounds;
mod scene;
mod soak;
mod sockets;
mod table;
mod talk;
mod tls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use scene::{Figures, Scene};

/// One thing that is done to the server.
#[derive(Clone, Copy)]
struct Case {
    id: &'static str,
    /// What is sent, or what fails.
    does: &'static str,
    /// What has to come back.
    gets: &'static str,
    why: &'static str,
    /// Options of the server.
    args: &'static [&'static str],
    /// The most processor time of the server that the witness may wait, in milliseconds.
    cpu: u64,
    /// The most memory that the server may need beyond what it had before, in MiB.
    memory: usize,
    /// It waits for minutes, and does that beside the others.
    is_long: bool,
    run: fn(&Scene),
}

impl Case {
    const fn new(
        id: &'static str,
        does: &'static str,
        gets: &'static str,
        why: &'static str,
        run: fn(&Scene),
    ) -> Case {
        Case { id, does, gets, why, args: &[], cpu: 50, memory: 8, is_long: false, run }
    }

    const fn args(self, args: &'static [&'static str]) -> Case {
        Case { args, ..self }
    }

    const fn memory(self, memory: usize) -> Case {
        Case { memory, ..self }
    }

    const fn beside(self) -> Case {
        Case { is_long: true, ..self }
    }
}

const CASES: [&[Case]; 13] = [
    handshake::CASES,
    drafts::CASES,
    frames::CASES,
    backpressure::CASES,
    boards::CASES,
    paths::CASES,
    rounds::CASES,
    sockets::CASES,
    process::CASES,
    network::CASES,
    patience::CASES,
    tls::CASES,
    soak::CASES,
];

fn main() -> ExitCode {
    let (options, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let all: Vec<&'static Case> = CASES.iter().copied().flatten().collect();
    let is_wanted =
        |case: &&Case| wanted.is_empty() || wanted.iter().any(|text| case.id.contains(text.as_str()));
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let started = Instant::now();
    let (long, others): (Vec<&'static Case>, Vec<_>) =
        all.iter().copied().filter(is_wanted).partition(|case| case.is_long);
    let mut end = |case: &'static Case, (result, took): (Result<Figures, String>, Duration)| match result {
        Ok(figures) => {
            println!("{} ok, {figures}, {:.1} s: {}", case.id, took.as_secs_f64(), case.does);
            rows.push((case, figures));
        }
        Err(why) => {
            println!("{} FAILED: {why}: {}", case.id, case.does);
            failures.push(case.id.to_owned());
        }
    };
    let long: Vec<_> = long.into_iter().map(|case| (case, thread::spawn(move || timed(case)))).collect();
    others.into_iter().for_each(|case| end(case, timed(case)));
    for (case, thread) in long {
        end(case, thread.join().expect("its panics are caught"));
    }
    if options.iter().any(|option| option == "--table") && failures.is_empty() {
        table::write(&all, &rows);
    }
    if wanted.is_empty() {
        failures.extend(table::differences(&all));
    }
    println!(
        "hostile: {} cases in {:.0} s, failed: {failures:?}",
        rows.len(),
        started.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Runs a case, and how long that took.
fn timed(case: &Case) -> (Result<Figures, String>, Duration) {
    let start = Instant::now();
    (run(case), start.elapsed())
}

/// Runs a case; once or twice more if only the witness waited too long, for time that a virtual machine is not given counts as
/// the server's own, and once more if anything else went wrong: what goes wrong once is printed, what does so twice fails.
fn run(case: &Case) -> Result<Figures, String> {
    let most = Duration::from_millis(case.cpu);
    let mut waits = Vec::new();
    let mut went_wrong = false;
    while waits.len() < 3 {
        match try_once(case) {
            Ok(figures) if figures.worst <= most => return Ok(figures),
            Ok(figures) => waits.push(figures.worst),
            Err(why) if went_wrong => return Err(why),
            Err(why) => {
                println!("{} went wrong and is tried again: {why}", case.id);
                went_wrong = true;
            }
        }
    }
    Err(format!("the witness waited for {waits:?} of the server's time, and not {most:?}"))
}

fn try_once(case: &Case) -> Result<Figures, String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let scene = Scene::start(case.args);
        (case.run)(&scene);
        scene.end(case.memory << 20)
    }));
    tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}
