//! Every file that a run writes, of every mode and of shards and their sum, read back by software that is not ours.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadgen::report::{self, compare};
use support::{Faults, Server, alone, loadgen};

/// The options that write report `name` in every format; `hgrm` is of the response time, which not every mode has.
fn everything(dir: &Path, name: &str) -> Vec<String> {
    let formats = [
        ("--json", "json"),
        ("--hdr", "hgrm"),
        ("--hlog", "hlog"),
        ("--csv", "csv"),
        ("--svg", "svg"),
        ("--html", "html"),
        ("--ndjson", "ndjson"),
    ];
    let file = |extension: &str| dir.join(name).with_extension(extension).display().to_string();
    let mut args: Vec<String> =
        formats.iter().flat_map(|(option, extension)| [(*option).to_owned(), file(extension)]).collect();
    args.extend(["-q".into(), "-o".into(), file("txt")]);
    args
}

fn started(dir: &Path, name: &str, line: &str) -> Child {
    loadgen(line).args(everything(dir, name)).spawn().unwrap()
}

fn folder() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("files");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs every mode, and one run in two shards beside a whole one, and merges the shards.
#[test]
fn foreign_software_reads_every_file_of_real_runs() {
    let dir = folder();
    let echo = Server::start(Faults { delay: Duration::from_millis(2), ..Faults::default() });
    let board = Server::start(Faults { broadcast: true, ..Faults::default() });
    let (url, room) = (echo.url(), board.url());
    let _alone = alone();
    let run = "-c4 -R400 -d2s --warmup 200ms --drain 1s --interval 250ms --arrival poisson";
    for (name, line) in [
        ("whole", format!("{run} {url}")),
        ("conns", format!("conns --steps 4,8,12 --hold 500ms --per-conn-rate 50 {url}")),
        ("find", format!("find --slo p50<10s -c4 --min 400 --max 800 -d500ms --warmup 0s {url}")),
        ("fanout", format!("fanout -c6 -R50 -d1s --warmup 0s --drain 1s {room}")),
        ("storm", format!("storm -c12 --before 500ms --after 2s --backoff fixed:100ms {url}")),
    ] {
        let status = started(&dir, name, &line).wait().unwrap();
        assert!(status.success(), "{name}: {status}");
    }

    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
    let shard = |i: usize| {
        let line = format!("{run} --shard {i}/2 --start-at {at} {url}");
        started(&dir, &format!("shard{i}"), &line)
    };
    let shards = [shard(1), shard(2)];
    for mut shard in shards {
        assert!(shard.wait().unwrap().success());
    }
    let file = |name: &str| dir.join(name).with_extension("json");
    let merge = |names: &[&str], to: &str| {
        let mut command = loadgen("merge");
        command.args(names.iter().map(|name| file(name))).arg("-o").arg(file(to)).output().unwrap()
    };
    assert!(merge(&["shard1", "shard2"], "sum").status.success());

    // The sum is what the whole was asked for, so that they can be held against each other.
    let [whole, sum, part] = ["whole", "sum", "shard1"].map(|name| report::load(&file(name)).unwrap());
    assert_eq!((part.config.connections, part.config.rate), (2, Some(200.0)));
    assert_eq!((sum.config.connections, sum.config.rate), (4, Some(400.0)));
    let comparison = compare::reports(&whole, &sum, 0.02);
    let unlike = comparison.obstacle.iter().any(|why| why.contains("different") || why.contains("differ in"));
    assert!(!unlike, "{:?}", comparison.obstacle);
    // Both shards' commands make it again.
    let text = report::Format::Text.render(&sum, false).unwrap();
    assert!(text.contains("--shard 1/2") && text.contains("--shard 2/2"), "{text}");
    assert!(!sum.verdict.reasons.iter().any(|reason| reason.code == "started_apart"), "{:?}", sum.verdict);

    // A part that is in a sum is in it.
    let twice = merge(&["sum", "shard1"], "twice");
    let error = String::from_utf8_lossy(&twice.stderr);
    assert_eq!((twice.status.code(), error.contains("is given twice")), (Some(1), true), "{error}");

    // Those that did not run together did not load the server together.
    assert!(started(&dir, "late", &format!("{run} --shard 2/2 {url}")).wait().unwrap().success());
    assert!(merge(&["shard1", "late"], "apart").status.success());
    let apart = report::load(&file("apart")).unwrap();
    assert!(apart.verdict.reasons.iter().any(|reason| reason.code == "started_apart"), "{:?}", apart.verdict);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readback.sh");
    let out =
        Command::new(script).args([env!("CARGO_TARGET_TMPDIR").as_ref(), dir.as_os_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.starts_with("read back: 10 reports"), "{said}");
}
