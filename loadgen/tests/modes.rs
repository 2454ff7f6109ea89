//! The modes beside `run`, and the command line, from outside.

mod support;

use std::process::Stdio;
use std::time::Duration;

use loadgen::report::{self, Phase, Status};
use support::{Faults, Server, alone, codes, front, loadgen, measure, scratch};

#[test]
fn conns_holds_every_step_and_draws_a_line() {
    let server = Server::start(Faults::default());
    // The server is this process: its memory grows by a thread or two with every connection.
    let pid = std::process::id();
    let (report, output) = measure(&format!(
        "conns --steps 20,40,80,160 --hold 300ms --per-conn-rate 5 --server-pid {pid} {}",
        server.url()
    ));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let conns = report.conns.as_ref().unwrap();
    let held: Vec<u64> = conns.steps.iter().map(|s| s.held).collect();
    assert_eq!(held, [20, 40, 80, 160]);
    assert!(conns.steps.iter().all(|s| s.echo.as_ref().is_some_and(|echo| echo.count > 0)));
    let opened: u64 = conns.steps.iter().map(|s| s.upgrade.as_ref().unwrap().count).sum();
    assert_eq!(opened, 160);
    // The time to open is that of the steps, without what lies between them.
    let took: f64 =
        conns.steps.iter().map(|s| s.upgrade.as_ref().unwrap().count as f64 * 1e9 / s.opened_per_s).sum();
    assert!((report.connections.open_ns as f64 - took).abs() < 1e4, "{} {took}", report.connections.open_ns);
    let slope = conns.slope.expect("four steps make a line").slope;
    assert!(slope > 4096.0 && slope < 1e6, "two threads' stacks are {slope} bytes");
    assert!(conns.residue_bytes.is_some());
    // The report says how to have another.
    let command = report.run.command.as_ref().unwrap();
    assert!(command.starts_with("loadgen conns --steps 20,40,80,160 --hold 300ms "), "{command}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(command));
}

#[test]
fn find_meets_the_knee_of_a_slow_server() {
    // Two milliseconds of work a message are 500 messages a second; beyond, the queue grows for as long as it is tried.
    let server = Server::start(Faults { work: Duration::from_millis(2), ..Faults::default() });
    let (report, _) = measure(&format!(
        "find --slo p90<100ms -c20 --min 50 --max 5k --precision 20% -d2s --warmup 0s {}",
        server.url()
    ));
    let find = report.find.as_ref().unwrap();
    let (best, failed) =
        (find.best.expect("50 a second are possible"), find.next_failed.expect("5000 are not"));
    assert!((50.0..600.0).contains(&best), "{best}");
    assert!(failed <= best * 1.2 + 0.1, "{best} {failed}");
    // At rate R for two seconds the last tenth of the messages waits longer than 1.8 s · (R/500 − 1).
    for step in find.steps.iter().filter(|s| s.load > 700.0) {
        let least = 1.8e9 * (step.load / 500.0 - 1.0) * 0.9;
        assert!(!step.ok && step.value.is_none_or(|p90| p90 > least.min(2e9)), "{step:?}");
    }
    assert_eq!(report.config.rate, find.best, "the report is that of the best load");
}

#[test]
fn find_says_when_nothing_will_do() {
    let server = Server::start(Faults { delay: Duration::from_millis(50), ..Faults::default() });
    let (report, output) =
        measure(&format!("find --slo p50<10ms -c5 --min 100 --max 200 -d500ms --warmup 0s {}", server.url()));
    let find = report.find.as_ref().unwrap();
    assert_eq!((find.best, find.next_failed, find.steps.len()), (None, Some(100.0), 1));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn find_takes_the_samples_that_its_objective_needs_or_says_that_it_cannot() {
    let server = Server::start(Faults::default());
    let line = "find -c5 --min 400 --max 400 -d200ms --warmup 0s --slo";
    let (report, output) = measure(&format!("{line} p90<30s {}", server.url()));
    assert_eq!(report.find.as_ref().unwrap().best, Some(400.0), "{report:?}");
    assert!(report.messages.sent >= 100 && output.status.success());

    // A hundred thousand samples would be four minutes.
    let (report, output) = measure(&format!("{line} p99.99<30s {}", server.url()));
    let find = report.find.as_ref().unwrap();
    assert_eq!((find.best, output.status.code()), (None, Some(5)));
    let why = "80 samples are too few: it takes 100,000";
    assert_eq!(find.steps[0].note.as_deref(), Some(why));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("can't tell") && text.contains("could not tell about 400") && text.contains(why),
        "{text}"
    );
}

#[test]
fn fanout_counts_every_receiver() {
    let server =
        Server::start(Faults { broadcast: true, delay: Duration::from_millis(5), ..Faults::default() });
    let (report, _) = measure(&format!("fanout -c11 --publishers 2 -R50 -d1s --warmup 0s {}", server.url()));
    let fanout = report.fanout.as_ref().unwrap();
    assert_eq!((fanout.published, fanout.expected, fanout.received), (50, 500, 500), "{fanout:?}");
    assert_eq!((fanout.duplicated, fanout.reordered), (0, 0));
    // What the collector saw is what the rest of the report says.
    assert_eq!((report.messages.received, report.messages.errors()), (500, 0));
    let notes = codes(&report.verdict.notes);
    assert!(!notes.contains(&"overload") && !notes.contains(&"unanswered"), "{notes:?}");
    assert!(!codes(&report.verdict.reasons).contains(&"no_replies"), "{:?}", report.verdict);
    let [first, median, last] = [&fanout.first, &fanout.median, &fanout.last].map(|s| s.as_ref().unwrap());
    assert_eq!((first.count, median.count, last.count), (50, 50, 50));
    assert!(first.min >= 4_990_000, "no one hears before the server speaks: {}", first.min);
    assert!(first.mean <= median.mean && median.mean <= last.mean);
}

#[test]
fn deliveries_that_are_late_count_while_draining() {
    let slow =
        Server::start(Faults { broadcast: true, delay: Duration::from_millis(700), ..Faults::default() });
    let line = format!("fanout -c5 -R20 -d500ms --warmup 0s {}", slow.url());
    let (report, _) = measure(&format!("{line} --drain 20s"));
    let fanout = report.fanout.as_ref().unwrap();
    assert_eq!((fanout.expected, fanout.received), (40, 40), "{fanout:?}");
    // And no longer than is said.
    let (report, _) = measure(&format!("{line} --drain 1ms"));
    let fanout = report.fanout.as_ref().unwrap();
    assert!(fanout.expected == 40 && fanout.received < 40, "{fanout:?}");
}

#[test]
fn a_server_that_passes_nothing_on_is_no_fanout() {
    // It answers the sender instead.
    let server = Server::start(Faults::default());
    let line = "fanout -c5 -R20 -d500ms --warmup 0s --drain 200ms --fail-if errors>0";
    let (report, output) = measure(&format!("{line} {}", server.url()));
    assert_eq!((report.messages.sent, report.messages.received, report.messages.unanswered), (10, 0, 40));
    assert_eq!((report.verdict.status, output.status.code()), (Status::Invalid, Some(1)));
    assert!(codes(&report.verdict.reasons).contains(&"no_replies"), "{:?}", report.verdict);
}

#[test]
fn a_storm_is_survived() {
    for fault in ["rst", "close"] {
        let server = Server::start(Faults::default());
        let (report, output) = measure(&format!(
            "storm -c60 --survivors 10 --per-conn-rate 20 --fault {fault} --backoff exp:50ms..500ms --before 1s \
             --after 2s {}",
            server.url()
        ));
        let storm = report.storm.as_ref().unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!((storm.dropped, storm.back, storm.survivors), (50, 50, 10), "{storm:?}");
        assert!(storm.attempts >= 50);
        assert!(storm.back_ns["50"] <= storm.back_ns["100"]);
        assert_eq!(storm.handshake.as_ref().unwrap().count, 50);
        let phases: Vec<&str> = storm.phases.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(phases, ["before", "during", "after"]);
        assert!(
            storm.phases.iter().all(|p| p.echo.as_ref().is_some_and(|e| e.count > 0)),
            "{:?}",
            storm.phases
        );
        // The survivors lost nothing.
        assert_eq!((report.messages.sent, report.messages.errors()), (600, 0), "{:?}", report.messages);
        // Who was dropped on purpose does not count as missing.
        assert_eq!((report.connections.held_min, report.connections.asked), (60, 60));
        assert!(
            output.status.success() && !codes(&report.verdict.reasons).contains(&"held"),
            "{:?}",
            report.verdict
        );
    }
}

#[test]
fn who_does_not_come_back_is_missing() {
    let server = Server::start(Faults::default());
    let line = "storm -c20 --survivors 5 --backoff fixed:30s --before 300ms --after 500ms";
    let (report, output) = measure(&format!("{line} {}", server.url()));
    assert_eq!(report.storm.as_ref().unwrap().back, 0);
    assert_eq!(report.connections.held_min, 5, "the survivors are left");
    assert_eq!(output.status.code(), Some(1));
    assert!(codes(&report.verdict.reasons).contains(&"held"), "{:?}", report.verdict);
}

#[test]
fn shards_add_up_to_the_whole() {
    let server = Server::start(Faults::default());
    let _alone = alone();
    let paths = [scratch("1.json"), scratch("2.json")];
    let start =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64() + 1.5;
    let children: Vec<_> = (1..=2)
        .map(|i| {
            loadgen(&format!(
                "-c11 -R101 -d1s --warmup 0s -q --shard {i}/2 --start-at {start} --json {} {}",
                paths[i - 1].display(),
                server.url()
            ))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let merged = scratch("merged.json");
    let line = format!("merge {} {} -o {}", paths[0].display(), paths[1].display(), merged.display());
    assert!(loadgen(&line).stdout(Stdio::null()).status().unwrap().success());
    let parts = paths.map(|path| report::load(&path).unwrap());
    let whole = report::load(&merged).unwrap();
    // Message k of the schedule goes to shard k mod 2.
    assert_eq!([parts[0].messages.sent, parts[1].messages.sent], [51, 50]);
    assert_eq!([parts[0].connections.opened, parts[1].connections.opened], [5, 6]);
    assert_eq!((whole.messages.sent, whole.messages.received, whole.connections.opened), (101, 101, 11));
    assert_eq!(whole.latency_ns.response.unwrap().count, 101);
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

/// While connecting, while warming up and while measuring: nothing that is reported has not been.
#[test]
fn ctrl_c_brings_no_false_findings() {
    let slow = Server::start(Faults { delay: Duration::from_millis(300), ..Faults::default() });
    for (mode, line) in [
        ("connecting", "-c200 --connect-rate 20 -R100"),
        ("connecting", "fanout -c200 --connect-rate 20"),
        ("connecting", "conns -c800 --connect-rate 20"),
        ("warming up", "-c5 -R500 -d5s --warmup 30s"),
        ("measuring", "-c5 -R500 -d60s --warmup 0s"),
    ] {
        let _alone = alone();
        let path = scratch("interrupted.json");
        let line = format!("{line} -q --json {} {}", path.display(), slow.url());
        let child = loadgen(&line).stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{line}");
        let report = report::load(&path).unwrap();
        let (reasons, notes) = (codes(&report.verdict.reasons), codes(&report.verdict.notes));
        assert!(!notes.contains(&"overload"), "{line}: {:?}", report.verdict);
        let text = String::from_utf8_lossy(&output.stdout);
        if mode == "measuring" {
            assert!(report.messages.sent > 0 && !reasons.contains(&"interrupted"), "{:?}", report.verdict);
        } else {
            assert_eq!(reasons, ["interrupted"], "{line}: {:?}", report.verdict);
            assert!(!text.contains("achieved"), "{line}: {text}");
        }
        if mode == "connecting" {
            let c = &report.connections;
            assert!(c.opened > 0 && c.held_min == c.opened && c.opened < c.asked, "{line}: {c:?}");
        }
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

#[test]
fn a_fan_out_has_a_histogram_of_its_deliveries() {
    let server = Server::start(Faults { broadcast: true, ..Faults::default() });
    let path = scratch("fanout.hgrm");
    let line = format!("fanout -c3 -d300ms --warmup 0s --hdr {} {}", path.display(), server.url());
    let (report, output) = measure(&line);
    assert!(report.fanout.is_some());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(&path).expect("a histogram");
    assert!(written.contains("#[Max") && written.lines().count() > 5, "{written}");
}

/// By turns, in pairs: what is slower is found, what is the same is not.
#[test]
fn runs_by_turns_are_compared_as_pairs() {
    let fast = Server::start(Faults { delay: Duration::from_millis(20), ..Faults::default() });
    let slow = Server::start(Faults { delay: Duration::from_millis(80), ..Faults::default() });
    let run = |server: &Server| {
        let url = server.url();
        let trust = front::trust(&url).join(" ");
        format!("loadgen -q -c2 -R200 -d300ms --warmup 0s --name 'a b' {url} {trust}").trim_end().to_owned()
    };
    let _alone = alone();
    for (a, b, code) in [(&fast, &slow, 3), (&fast, &fast, 0)] {
        let output = loadgen("compare --repeat 4 --noise-threshold 100% --run")
            .args([&run(a), "--run", &run(b)])
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        assert!(out.contains("4 pairs of runs, by turns"), "{out}");
        let turns: String =
            err.lines().filter_map(|line| line.strip_prefix("pair ")?.chars().last()).collect();
        assert_eq!(turns, "ABBAABBA", "{err}");
    }
    let gone = format!("{} --no-such-option", run(&fast));
    let output = loadgen("compare --run").args([&gone, "--run", &gone]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run A: it left no report"));
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

#[test]
fn a_server_that_is_gone_has_no_figures() {
    let server = Server::start(Faults::default());
    let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id();
    let (url, path, rows) = (server.url(), scratch("report.json"), scratch("rows"));
    let _alone = alone();
    let line = format!(
        "-c2 -R50 -d1500ms --warmup 0s --interval 100ms -q --server-pid {pid} --ndjson {} --json {} {url}",
        rows.display(),
        path.display()
    );
    let mut child = loadgen(&line).stdout(Stdio::null()).spawn().unwrap();
    while std::fs::read_to_string(&rows).unwrap_or_default().lines().count() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    child.wait().unwrap();
    let report = report::load(&path).unwrap();
    assert!(report.server.is_none(), "{:?}", report.server);
    assert!(codes(&report.verdict.notes).contains(&"server_gone"), "{:?}", report.verdict.notes);
    assert!(report.intervals.last().unwrap().server.is_none());
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&rows).unwrap();
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

/// A loadgen that is stopped is late by its own fault, and says how far up that reaches: a second in three spoils the
/// tail, two in three the median.
#[test]
fn strict_turns_an_invalid_verdict_into_exit_4() {
    for (stopped, code, valid_to) in [(1000, 0, Some("50")), (2000, 4, None)] {
        let server = Server::start(Faults::default());
        let _alone = alone();
        let path = scratch("stopped.json");
        let line =
            format!("-c5 -R200 -d3s --warmup 0s -q --strict --json {} {}", path.display(), server.url());
        let mut child = loadgen(&line).stdout(Stdio::null()).spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        std::thread::sleep(Duration::from_millis(800));
        nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP).unwrap();
        std::thread::sleep(Duration::from_millis(stopped));
        nix::sys::signal::kill(pid, nix::sys::signal::SIGCONT).unwrap();
        let status = child.wait().unwrap();
        let report = report::load(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // The server is not blamed: many messages slipped, and the wire was quick.
        let at = |stat: &Option<loadgen::report::Stat>, q| {
            stat.as_ref().unwrap().histogram().unwrap().value_at_quantile(q)
        };
        let times = &report.latency_ns;
        assert!(at(&times.own_slip, 0.9) > 500_000_000 && at(&times.response, 0.9) > 500_000_000);
        assert!(at(&times.wire, 0.9) < 100_000_000, "{:?}", times.wire);
        let p90 = report.verdict.trust.iter().find(|t| t.p == "90").unwrap();
        assert!(!p90.trusted && p90.ours_ns > 400_000_000, "{:?}", report.verdict);
        if code == 4 {
            assert_eq!(report.verdict.status, Status::Invalid);
            assert!(codes(&report.verdict.reasons).contains(&"own_slip"), "{:?}", report.verdict);
        }
        // A busy host may spoil the median of the first run, too, and says so then.
        let spoilt = report.verdict.status == Status::Invalid;
        assert_eq!(status.code(), Some(if spoilt { 4 } else { code }));
        assert!(spoilt || report.verdict.valid_to.as_deref() == valid_to, "{:?}", report.verdict);
    }
}

#[test]
fn two_threads_keep_one_schedule() {
    let server = Server::start(Faults::default());
    let (report, _) = measure(&format!(
        "-t2 -c21 -R300:500 -d2s --warmup 500ms --arrival even --interval 500ms {}",
        server.url()
    ));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (800, 800, 0), "{m:?}");
    let rows: Vec<(Phase, u64)> = report.intervals.iter().map(|i| (i.phase, i.sent)).collect();
    let run: Vec<u64> = rows.iter().filter(|(phase, _)| *phase == Phase::Run).map(|(_, n)| *n).collect();
    // 25 messages a second more in each half second: 162.5, 187.5, 212.5, 237.5.
    assert_eq!(
        run.iter().sum::<u64>()
            + rows.iter().filter(|(p, _)| *p == Phase::Drain).map(|(_, n)| n).sum::<u64>(),
        800
    );
    assert!(run.is_sorted() && run.len() == 4, "{rows:?}");
    assert_eq!(rows[0], (Phase::Warmup, 150), "{rows:?}");
}

/// What is kept is what a run of the same size and about as many connections is held against.
#[test]
fn a_calibration_stands_beside_later_runs_of_its_size() {
    let (cache, server) = (scratch("cache"), Server::start(Faults::default()));
    let _alone = alone();
    let calibrated =
        loadgen("calibrate -q -d 300ms --size 1k").env("XDG_CACHE_HOME", &cache).output().unwrap();
    assert!(calibrated.status.success(), "{}", String::from_utf8_lossy(&calibrated.stderr));
    let kept = std::fs::read_to_string(cache.join("loadgen/calibration.json")).unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_str(&kept).unwrap();
    assert!(entries.iter().all(|e| e["size"] == 1024 && e["ceiling"].as_f64() > Some(100.0)), "{kept}");
    // A host as busy as this may have had no floor.
    let floors = entries.iter().filter(|e| e["connections"] == 1).any(|e| e["floor_p50_ns"].is_u64());
    for (size, known) in [(1024, true), (64, false)] {
        let output = loadgen(&format!("-c1 -R200 -d500ms --warmup 0s --size {size} -q {}", server.url()))
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.contains("of this host's ceiling"), known, "{text}");
        assert_eq!(text.contains("× this host's own echo"), known && floors, "{text}");
    }
    std::fs::remove_dir_all(&cache).unwrap();
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
