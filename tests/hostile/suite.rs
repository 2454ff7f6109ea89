//! Beside the storeys: peers who mean harm, and systems that fail, against the real binary.
//!
//! Only here is shown what an attack costs *others*: while each case goes on, a healthy client speaks a thousand times a
//! second and must lose nothing, nor wait for more of the server's processor time than is said; when it is over, clients,
//! descriptors, kept bytes and memory are as before.

mod crowd;
mod rounds;
mod scene;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use scene::{Figures, Scene};

/// One thing that is done to the server.
struct Case {
    id: &'static str,
    /// What is sent, or what fails.
    does: &'static str,
    /// What has to come back.
    gets: &'static str,
    why: &'static str,
    /// Options of the server.
    args: &'static [&'static str],
    /// The most processor time of the server that the witness may wait.
    cpu: Duration,
    run: fn(&Scene),
}

const CPU: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted =
        |case: &&Case| wanted.is_empty() || wanted.iter().any(|text| case.id.contains(text.as_str()));
    let mut failures = 0;
    for case in [rounds::CASES].into_iter().flatten().filter(is_wanted) {
        let start = Instant::now();
        match run(case) {
            Ok(figures) => println!(
                "{:<6} ok: waited {:.1} ms, memory +{:.1} MiB, after it +{:.1} MiB, {:.1} s: {}",
                case.id,
                figures.worst.as_secs_f64() * 1e3,
                figures.peak as f64 / 1048576.0,
                figures.left as f64 / 1048576.0,
                start.elapsed().as_secs_f64(),
                case.does
            ),
            Err(why) => {
                failures += 1;
                println!("{:<6} FAILED: {why} ({})", case.id, case.does);
            }
        }
    }
    ExitCode::from(u8::from(failures > 0))
}

fn run(case: &Case) -> Result<Figures, String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let scene = Scene::start(case.args);
        (case.run)(&scene);
        scene.end(case.cpu)
    }));
    tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}
