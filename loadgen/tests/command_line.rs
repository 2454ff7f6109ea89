//! The command line from outside: what is refused, what is answered, the status a run ends with, and what it leaves when a
//! signal ends it. Nothing here depends on how the server is reached.

mod support;

use std::process::Stdio;
use std::time::Duration;

use loadgen::report;
use support::{Faults, Server, alone, front, loadgen, measure, scratch};

#[test]
fn version_and_help_are_answered() {
    let version = loadgen("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("loadgen {}\n", env!("CARGO_PKG_VERSION")));
    for line in ["--help", "-h", "run --help", "storm -h"] {
        let help = loadgen(line).output().unwrap();
        assert!(help.status.success(), "{line}");
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(text.contains("loadgen") && text.contains("OPTIONS"), "{text}");
        // A line may end anywhere in it.
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("--version") || line.contains(' '), "{text}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_crash() {
    for (line, code) in [("help run", 0), ("--version", 0), ("doctor", 0), ("--no-such-option", 2)] {
        let closed = || std::io::pipe().unwrap().1;
        let status = loadgen(line).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{line}");
    }
}

#[test]
fn exit_codes_say_what_happened() {
    let server = Server::start(Faults::default());
    let url = server.url();
    let quick = "-c2 -R20 -d500ms --warmup 0s -q";
    for (line, code, says) in [
        ("", 1, "subcommand"),
        ("-c lots ws://127.0.0.1:1/", 2, "-c"),
        ("--no-such-option ws://127.0.0.1:1/", 2, "--no-such-option"),
        ("-c1", 2, "no URL"),
        ("http://127.0.0.1/", 2, "ws://"),
        ("--closed -R5 ws://127.0.0.1:1/", 2, "--closed"),
        ("--draft 6 ws://127.0.0.1:1/", 2, "--draft"),
        ("--draft 75 --binary ws://127.0.0.1:1/", 2, "--binary"),
        ("conns --draft 76 --fragment 5 ws://127.0.0.1:1/", 2, "--fragment"),
        ("storm --draft 76 --ping 1s ws://127.0.0.1:1/", 2, "--ping"),
        ("fanout --draft 75 --deflate ws://127.0.0.1:1/", 2, "--deflate"),
        ("report /nonexistent.json", 1, "/nonexistent.json"),
        // Nothing listens on port 1 of this address.
        ("-c2 -q ws://127.3.2.1:1/", 1, ""),
        (&format!("{quick} {url}"), 0, ""),
        (&format!("{quick} --fail-if p50>1ns {url}"), 3, ""),
        (&format!("{quick} --fail-if errors>0 {url}"), 0, ""),
        (&format!("-c100k {url}"), 1, "ulimit"),
    ] {
        let _alone = alone();
        let output = loadgen(line).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let expected = if line.is_empty() { 2 } else { code };
        assert_eq!(output.status.code(), Some(expected), "{line}: {error}");
        assert!(line.is_empty() || error.contains(says), "{line}: {error}");
    }
}

/// Nobody waits for a run whose report has nowhere to go.
#[test]
fn wrong_files_are_named_before_the_run() {
    let folder = scratch("folder");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.display();
    for option in [
        "-o /nonexistent/x".to_owned(),
        "--json /nonexistent/x".to_owned(),
        "--html /nonexistent/x".to_owned(),
        "--baseline /nonexistent/x".to_owned(),
        format!("--csv {folder}"),
    ] {
        // Had it begun, there would be a report of no connection opened.
        let output = loadgen(&format!("-c1 {option} ws://127.3.2.1:1/")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(error.starts_with(&format!("loadgen: {option}: ")), "{error}");
        assert_eq!((error.lines().count(), output.stdout.len()), (1, 0), "{error}");
    }
}

/// Whatever fails a run is one line on stderr, even if nothing else is to be seen.
#[test]
fn a_failed_gate_says_why() {
    let server = Server::start(Faults::default());
    let dead = Server::start(Faults { drop: Some(1), ..Faults::default() });
    let old = scratch("old.json");
    let _alone = alone();
    let quick = "-c2 -d500ms --warmup 0s --drain 100ms -q -o /dev/null";
    let first = format!("{quick} -R20 --json {} {}", old.display(), server.url());
    assert!(loadgen(&first).status().unwrap().success());
    for (options, url, code, says) in [
        ("--fail-if p50>1ns", server.url(), 3, "loadgen: p50>1ns was not judged: 10 samples are too few"),
        ("--fail-if max>1ns", server.url(), 3, "loadgen: failed: max>1ns: it is "),
        (&format!("-R40 --baseline {}", old.display()), server.url(), 5, "different rates, 20/s and 40/s"),
        ("--strict", dead.url(), 1, "loadgen: no replies to 10 messages"),
    ] {
        let rate = if options.contains("-R") { "" } else { "-R20" };
        let output = loadgen(&format!("{quick} {rate} {options} {url}")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(code), 1), "{options}: {error}");
        assert!(error.contains(says), "{options}: {error}");
    }
    // A comparison does not stand in a machine's document.
    let line = format!(
        "-c2 -d500ms --warmup 0s -q -R20 --format json --baseline {} {}",
        old.display(),
        server.url()
    );
    let output = loadgen(&line).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one document of JSON");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not judged"));
}

/// Repeats are not one draw, and the line that a report gives repeats its own.
#[test]
fn every_run_has_a_seed_of_its_own_and_says_it() {
    let server = Server::start(Faults::default());
    let line = format!("-c2 -R300 --arrival poisson -d500ms --warmup 0s {}", server.url());
    let (first, _) = measure(&line);
    let (second, _) = measure(&line);
    assert_ne!(first.run.seed, second.run.seed, "one in a million");
    let command = first.run.command.clone().unwrap();
    assert!(command.ends_with(&format!(" --seed {}", first.run.seed)), "{command}");
    let (again, _) = measure(&format!("{line} --seed {}", first.run.seed));
    assert_eq!((again.run.seed, again.messages.sent), (first.run.seed, first.messages.sent));
}

/// A dashboard's view: as many lines as rows, each by itself, with the same figures as the report in the end.
#[test]
fn a_line_an_interval_is_written_while_it_runs() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    let path = scratch("report.json");
    let line = "-c2 -R100 -d600ms --warmup 200ms --interval 200ms -q --ndjson - --json";
    let output = loadgen(&format!("{line} {} {}", path.display(), server.url())).output().unwrap();
    assert!(output.status.success());
    let rows: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let report = report::load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rows.len(), report.intervals.len());
    for (row, interval) in rows.iter().zip(&report.intervals) {
        assert_eq!(row["start_ns"].as_i64(), Some(interval.start_ns));
        assert_eq!(row["sent"].as_u64(), Some(interval.sent));
        assert_eq!(row["response"]["max"].as_u64(), interval.response.as_ref().map(|stat| stat.max));
        assert!(row["unix_ns"].as_u64() > Some(1_700_000_000_000_000_000));
    }
    assert!(rows.is_sorted_by_key(|row| row["unix_ns"].as_u64()));
}

#[test]
fn ctrl_c_writes_what_there_is() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    let path = scratch("partial.json");
    let line = format!(
        "-c5 -R100 -d60s --warmup 0s -q --fail-if p50>1ns --json {} {}",
        path.display(),
        server.url()
    );
    let mut child = loadgen(&line).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = report::load(&path).unwrap();
    assert!(report.run.interrupted);
    assert!(report.messages.sent > 10 && report.messages.sent < 1000, "{:?}", report.messages);
    assert!(report.thresholds.is_empty(), "an interrupted run is not judged");
    assert!((report.messages.achieved_rate - 100.0).abs() < 20.0, "{}", report.messages.achieved_rate);
}

#[test]
fn a_hangup_writes_what_there_is_unless_it_was_ignored_before() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    for (nohup, code) in [(false, 129), (true, 143)] {
        let (path, rows) = (scratch("partial.json"), scratch("rows"));
        let line = format!(
            "-c2 -R50 -d60s --warmup 0s --interval 100ms -q --ndjson {} --json {} {}",
            rows.display(),
            path.display(),
            server.url()
        );
        // Whether SIGHUP is ignored here, whoever started the tests decided.
        let start: &[&str] = if nohup { &["nohup"] } else { &["env", "--default-signal=HUP"] };
        let mut command = std::process::Command::new(start[0]);
        command
            .args(&start[1..])
            .arg(env!("CARGO_BIN_EXE_loadgen"))
            .args(line.split_whitespace())
            .args(front::trust(&line));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let row = || std::fs::read_to_string(&rows).unwrap_or_default().lines().count();
        let wait_for = |n: usize| {
            while row() < n {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        wait_for(2);
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).unwrap();
        if nohup {
            wait_for(row() + 2);
            nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let report = report::load(&path).unwrap();
        assert!(report.run.interrupted && report.messages.sent > 5, "{:?}", report.messages);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&rows).unwrap();
    }
}

/// What somebody else wrote does not reach the terminal as it is.
#[test]
fn a_foreign_report_is_shown_escaped() {
    let server = Server::start(Faults::default());
    let (mut report, _) = measure(&format!("-c2 -R20 -d300ms --warmup 0s {}", server.url()));
    let evil = "\u{1b}]0;owned\u{7}\n\u{202e}x";
    report.run.name = Some(evil.into());
    report.run.command = Some(evil.into());
    report.target.urls = vec![evil.into()];
    report.verdict.note(evil, evil);
    report.connections.failed.insert(evil.into(), 1);
    let path = scratch("evil.json");
    std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
    let file = path.display();
    for line in [
        format!("report {file}"),
        format!("report {file} --format hlog"),
        format!("report {file} --format csv"),
        format!("compare {file} {file}"),
        format!("merge {file} {file} -o /dev/null"),
    ] {
        let output = loadgen(&line).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{line}: {said:?}");
    }
    std::fs::remove_file(&path).unwrap();
}
