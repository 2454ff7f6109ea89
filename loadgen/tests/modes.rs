//! The modes from outside, and what their reports say when a run is disturbed.

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
