//! Servers that are no echo: JSON-RPC, logins, heartbeats.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use loadgen::report::{Report, Status};

use crate::server::{Handled, Nature, Server, Speech, Time};
use crate::support::{codes, disturbance, measure};
use crate::{MS, agrees, at, ms, row, stat_cell, truth, truth_cell, words};

const CALL: &str = r#"--message {"jsonrpc":"2.0","method":"sum","params":[{conn},{rand:9}],"id":{seq}}"#;
pub const MATCH: &str = r#"--match "id":{seq}"#;

/// Four replies in five overtake another.
pub fn rpc() -> Nature {
    Nature {
        delay: Time::Between(ms(1), ms(100)),
        overtakes: true,
        speech: Speech::Rpc(1, Duration::ZERO),
        ..Nature::default()
    }
}

#[test]
fn answers_calls_out_of_order() {
    let load = format!("-c4 -R400 -d2s {MATCH}");
    let server = Server::start(rpc());
    let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors(), m.unsolicited), (800, 800, 0, 0), "{m:?}");
    assert!(m.reordered > 400, "{m:?}");
    assert_eq!((&*report.config.matching, codes(&report.verdict.findings)), ("number", vec!["reordered"]));
    // A call says nothing of when it was due: the log knows when it came.
    let (truth, wire) = (truth(&server.log()), report.latency_ns.wire.as_ref().unwrap());
    agrees(&report, wire, &truth);
    row("JSON-RPC, answers out of order", &load, &truth_cell(&truth), &stat_cell(wire), &words(&report));
}

#[test]
fn answers_each_call_with_three_messages() {
    let load = format!("-c4 -R100 -d2s --replies 3 {MATCH}");
    let server = Server::start(Nature { speech: Speech::Rpc(3, ms(20)), ..rpc() });
    let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors(), m.unsolicited), (200, 200, 0, 0), "{m:?}");
    // The log has the last of the three, and the first left 40 ms before.
    let last = truth(&server.log());
    let first: Vec<u64> = last.iter().map(|t| t - 40 * MS).collect();
    let (found, found_last) =
        (report.latency_ns.first_reply.as_ref().unwrap(), report.latency_ns.wire.as_ref().unwrap());
    agrees(&report, found_last, &last);
    let found_first = found.histogram().unwrap();
    for q in [0.5, 0.9] {
        let (found, true_) = (found_first.value_at_quantile(q), at(&first, q));
        let most = true_ + true_ / 20 + 2 * MS + disturbance(&report);
        assert!(found + MS / 2 >= true_ && found <= most, "{q}: {found} for {true_}");
    }
    let truth = format!("first {}, last {}", truth_cell(&first), truth_cell(&last));
    let cell = format!("first {}, last {}", stat_cell(found), stat_cell(found_last));
    row("JSON-RPC, three messages a call, 20 ms apart", &load, &truth, &cell, &words(&report));
}

/// Where nothing tells replies apart there are bounds, and they hold the truth; one at a time there is a number.
#[test]
fn answers_what_nothing_tells_apart() {
    let load = "-c4 -R400 -d2s --match any";
    let server = Server::start(rpc());
    let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
    let times = &report.latency_ns;
    assert!(times.response.is_none() && times.wire.is_none(), "a number that may be wrong");
    let slip = times.own_slip.as_ref().map_or(0, |stat| stat.min);
    let truth: Vec<u64> = truth(&server.log()).into_iter().map(|t| t + slip).collect();
    let [low, high] =
        [&times.response_low, &times.response_high].map(|s| s.as_ref().unwrap().histogram().unwrap());
    for q in [0.5, 0.9, 0.99] {
        let (low, high, true_) = (low.value_at_quantile(q), high.value_at_quantile(q), at(&truth, q));
        let most = true_ + true_ / 100 + disturbance(&report);
        assert!(low <= most && true_ <= high + high / 500, "{q}: {low} {true_} {high}");
    }
    assert_eq!(codes(&report.verdict.findings), ["ambiguous"], "{:?}", report.verdict);
    let [low, high] = [&times.response_low, &times.response_high].map(|s| stat_cell(s.as_ref().unwrap()));
    row(
        "JSON-RPC, answers out of order",
        load,
        &truth_cell(&truth),
        &format!("{low} to {high}"),
        &words(&report),
    );

    // Every message is alone in flight: 10 ms there, 500 ms between two on one connection.
    let load = "-c20 -R40 -d2s --match any";
    let nature =
        Nature { delay: Time::Fixed(ms(10)), speech: Speech::Rpc(1, Duration::ZERO), ..Nature::default() };
    let server = Server::start(nature);
    let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
    let (m, truth) = (&report.messages, crate::truth(&server.log()));
    if m.ambiguous == 0 {
        let wire = report.latency_ns.wire.as_ref().unwrap();
        agrees(&report, wire, &truth);
        row("JSON-RPC, 10 ms", load, &truth_cell(&truth), &stat_cell(wire), &words(&report));
    }
}

/// A push that comes while a message is out is taken for its reply where nothing tells them apart; one that comes while
/// nothing is out gives that away. With `--ignore` the same server is measured rightly.
#[test]
fn pushes_where_nothing_tells_its_answers_apart() {
    let load = "-c4 -R20 -d2s --match any";
    let nature =
        Nature { delay: Time::Fixed(ms(50)), push: Some(ms(20)), said: r#"{"type":"tick"}"#, ..rpc() };
    let server = Server::start(nature);
    let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
    let found = codes(&report.verdict.reasons);
    assert!(found.contains(&"pushes"), "{:?}", report.verdict);
    assert_eq!(report.verdict.status, Status::Invalid);
    let cell = report.latency_ns.response.as_ref().map_or("bounds".into(), stat_cell);
    row(
        "JSON-RPC, 50 ms, pushes every 20 ms",
        load,
        &truth_cell(&truth(&server.log())),
        &cell,
        &words(&report),
    );

    let server = Server::start(nature);
    let (report, _) = measure(&format!(r#"{load} --ignore "tick" {CALL} --warmup 0s {}"#, server.url()));
    assert!(!codes(&report.verdict.reasons).contains(&"pushes"), "{:?}", report.verdict);
    assert_eq!((report.messages.unsolicited, report.messages.received), (0, 40), "{:?}", report.messages);
}

/// A push that looks like a reply to something that was never asked is no reply, and neither is a heartbeat.
#[test]
fn pushes_between_the_answers() {
    let nature = |said| Nature { push: Some(ms(13)), said, greets: true, ..rpc() };
    let said = r#"{"type":"ping","n":17,"id":999999}"#;
    for (options, ignored, answered) in [
        ("", false, false),
        (r#"--ignore "type":"ping""#, true, false),
        (r#"--answer "type":"ping","n":{n}=>{"type":"pong","n":{n}}"#, false, true),
    ] {
        let load = format!("-c4 -R200 -d2s {MATCH} {options}");
        let server = Server::start(nature(said));
        let (report, _) = measure(&format!("{load} {CALL} --warmup 0s {}", server.url()));
        let m = &report.messages;
        assert_eq!((m.sent, m.received, m.errors()), (400, 400, 0), "{m:?}");
        assert_eq!(
            (m.unsolicited > 400, m.unsolicited > 0),
            (!ignored && !answered, !ignored && !answered),
            "{m:?}"
        );
        assert_eq!((m.ignored > 400, m.heartbeats_answered > 400), (ignored, answered), "{m:?}");
        // Also those that were said before and after the time that is measured.
        assert!(server.pongs() >= m.heartbeats_answered, "{} {m:?}", server.pongs());
        let (truth, wire) = (truth(&server.log()), report.latency_ns.wire.as_ref().unwrap());
        agrees(&report, wire, &truth);
        let pushed = format!("{}", m.unsolicited + m.ignored + m.heartbeats_answered);
        let found = format!("{}, {pushed} pushes", stat_cell(wire));
        row("JSON-RPC that sends heartbeats", &load, &truth_cell(&truth), &found, &words(&report));
    }
}

const LOGIN: &str = r#"--hello {"login":"user{conn}","password":"t0ps3cret"} --expect "ok":true --capture token="token":"{token}""#;

/// Who has not said the opening words is answered with an error, so that every result is one more login that worked.
#[test]
fn wants_a_login_first() {
    let call = r#"--message {"id":{seq},"token":"{token}"} --match "result":1,"id":{seq}"#;
    let server =
        Server::start(Nature { delay: Time::Fixed(ms(5)), speech: Speech::Guarded, ..Nature::default() });
    let (report, output) = measure(&format!("-c10 -R200 -d2s --warmup 0s {LOGIN} {call} {}", server.url()));
    let (m, c) = (&report.messages, &report.connections);
    assert_eq!((m.sent, m.received, m.errors(), m.unsolicited, c.opened), (400, 400, 0, 0, 10), "{m:?}");
    assert_eq!(report.latency_ns.hello.as_ref().map(|stat| stat.count), Some(10));
    let text = serde_json::to_string(&report).unwrap() + &String::from_utf8_lossy(&output.stdout);
    for secret in ["t0ps3cret", "user7", "user{conn}"] {
        assert!(!text.contains(secret), "the report tells {secret}");
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 message text") && stdout.contains("--message '…'"), "{stdout}");
    let words_given = report.config.conversation.as_ref().unwrap();
    assert_eq!((words_given.hello, words_given.expect, words_given.capture), (1, 1, 1));
    let (truth, wire) = (truth(&server.log()), report.latency_ns.wire.as_ref().unwrap());
    agrees(&report, wire, &truth);
    row(
        "JSON-RPC for who has logged in",
        "-c10 -R200 -d2s --hello …",
        &truth_cell(&truth),
        &stat_cell(wire),
        &words(&report),
    );

    // Without them, no call has a result.
    let call = r#"--message {"id":{seq}} --match "result":1,"id":{seq}"#;
    let (report, _) = measure(&format!("-c2 -R20 -d500ms --warmup 0s --drain 200ms {call} {}", server.url()));
    assert_eq!((report.messages.received, report.messages.unsolicited), (0, 10), "{:?}", report.messages);
    assert_eq!(report.verdict.status, Status::Invalid);
}

fn reasons(report: &Report) -> Vec<&String> {
    report.connections.failed.keys().collect()
}

/// What went wrong with the opening words is said, with the first of what came instead and none of what is secret.
#[test]
fn refuses_a_login() {
    let server = Server::start(Nature { speech: Speech::Guarded, ..Nature::default() });
    let line = |hello: &str, rest: &str| {
        let (report, output) = measure(&format!("-c3 -d1s {hello} {rest} {}", server.url()));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!((report.connections.opened, report.messages.sent), (0, 0));
        report
    };
    let report = line(r#"--hello {"login":"mallory","password":"t0ps3cret"}"#, r#"--expect "ok":true"#);
    assert_eq!(reasons(&report), ["hello: `\"ok\":true` was expected and something else came"]);
    let answer = report.connections.answers.values().next().unwrap();
    assert!(answer.contains("not you") && !answer.contains("t0ps3cret"), "{answer}");
    // Nor what is no secret by its name, nor a token of the server's own.
    let report = line(r#"--hello {"login":"mallory","user":"bob-smith","pin":4711}"#, "--expect nope");
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!report.connections.answers.is_empty() && shown.contains("not you"), "{shown}");
    assert!(!["mallory", "bob-smith", "4711"].iter().any(|secret| shown.contains(secret)), "{shown}");
    let report = line(r#"--hello {"login":"ann"}"#, "--expect nope");
    let answer = report.connections.answers.values().next().unwrap();
    assert!(answer.contains("token") && !answer.contains("ann"), "{answer}");
    let report = line(r#"--hello {"login":"ann"}"#, r#"--expect "ok":true --capture room="room":"{room}""#);
    assert_eq!(reasons(&report), ["hello: `\"room\":\"{room}\"` was expected and something else came"]);
    let report = line(r#"--hello {"type":"pong"}"#, "--expect ok --connect-timeout 300ms");
    assert_eq!(reasons(&report), ["hello: timed out waiting for `ok`"]);
}

/// A server that repeats the request of whom it refuses repeats no line of a file.
#[test]
fn refuses_and_repeats_the_request() {
    let (path, listener) = (crate::support::scratch("names"), TcpListener::bind("127.0.0.1:0").unwrap());
    std::fs::write(&path, "ann-s3cret pass\n").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4096]);
            let length = stream.read(&mut request).unwrap();
            let said = String::from_utf8_lossy(&request[..length]).into_owned();
            let header = said.lines().find(|line| line.starts_with("X-Who")).unwrap();
            let text = format!("no room {} for {header}", said.split(' ').nth(1).unwrap());
            let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", text.len());
            let _ = stream.write_all((head + &text).as_bytes());
        }
    });
    let line = format!("{{line:{}}}", path.display());
    let (report, _) = measure(&format!("-c1 -d1s -H X-Who:{line} ws://{address}/room/{line}"));
    std::fs::remove_file(&path).unwrap();
    let answer = report.connections.answers.values().next().unwrap();
    assert!(answer.contains("no room /room/*** for X-Who:***"), "{answer}");
}

/// Whoever comes back says it again.
#[test]
fn wants_a_login_after_a_storm_too() {
    let server =
        Server::start(Nature { delay: Time::Fixed(ms(5)), speech: Speech::Guarded, ..Nature::default() });
    let call = r#"--message {"id":{seq},"token":"{token}"} --match "result":1,"id":{seq}"#;
    let line = "storm -c20 --survivors 5 --backoff none --before 500ms --after 1500ms";
    let (report, _) = measure(&format!("{line} {LOGIN} {call} {}", server.url()));
    let storm = report.storm.as_ref().unwrap();
    assert_eq!((storm.dropped, storm.back), (15, 15), "{:?}", report.connections.failed);
    assert_eq!(report.messages.errors(), 0, "{:?}", report.messages);
    let handled: Vec<Handled> = server.log();
    assert!(handled.len() >= report.messages.received as usize);
    row(
        "the same, hit by a storm",
        "storm -c20 --hello …",
        "15 dropped",
        &format!("{} back", storm.back),
        &words(&report),
    );
}

/// Each connection has its own line, path and header.
#[test]
fn is_asked_for_many_rooms() {
    let path = crate::support::scratch("lines");
    std::fs::write(&path, "ann\nbob\neve\n").unwrap();
    let server = Server::start(Nature::default());
    let url = format!("{}/{{shard}}/{{conn}}?user={{line:{}}}&at={{now_ms}}", server.url(), path.display());
    let load = "-c6 -R60 -d500ms --warmup 0s -H X-User:{line:LINES}-{conn} --shard 2/2";
    let load = load.replace("LINES", &path.display().to_string());
    let (report, _) = measure(&format!("{load} {url}"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(report.connections.opened, 3, "{:?}", report.connections);
    let mut heads: Vec<(String, String)> = server
        .heads()
        .iter()
        .map(|head| {
            let path = head.split(' ').nth(1).unwrap().split("&at=").next().unwrap().to_owned();
            let user = head.lines().find_map(|line| line.strip_prefix("X-User:")).unwrap().to_owned();
            (path, user)
        })
        .collect();
    heads.sort();
    // The second of two shards of six connections.
    let pair = |path: &str, user: &str| (path.to_owned(), user.to_owned());
    let wanted = [
        pair("/truth/2/3?user=ann", "ann-3"),
        pair("/truth/2/4?user=bob", "bob-4"),
        pair("/truth/2/5?user=eve", "eve-5"),
    ];
    assert_eq!(heads, wanted);
}

/// A stamp of the sender's says how long a message took, to its resolution, and gaps are those of the server's timer.
#[test]
fn pushes_on_a_timer_to_who_only_listens() {
    for (said, stamp, resolution) in
        [(r#"{"ts":@NS,"v":1}"#, r#""ts":{ns}"#, 1), (r#"{"ts":@MS,"v":1}"#, r#""ts":{ms}"#, MS)]
    {
        let nature = Nature {
            push: Some(ms(20)),
            said,
            delay: Time::Between(ms(5), ms(50)),
            overtakes: true,
            ..Nature::default()
        };
        let server = Server::start(nature);
        let load = format!("listen -c10 -d2s --stamp {stamp}");
        let (report, _) = measure(&format!("{load} --warmup 300ms {}", server.url()));
        let listen = report.listen.as_ref().unwrap();
        let response = report.latency_ns.response.as_ref().unwrap();
        // A hundred pushes on each of ten connections.
        assert!(
            (900..=1010).contains(&listen.received) && listen.unstamped + listen.ahead == 0,
            "{listen:?}"
        );
        assert_eq!((listen.resolution_ns, response.count), (resolution, listen.received));
        // The log has also what was pushed before and after: the same server, the same delays.
        let truth = truth(&server.log());
        let found = response.histogram().unwrap();
        for q in [0.5, 0.9] {
            let (found, true_) = (found.value_at_quantile(q), at(&truth, q));
            let most = true_ + true_ / 10 + resolution + MS + disturbance(&report);
            assert!(found + true_ / 10 >= true_ && found <= most, "{q}: {found} for {true_}");
        }
        // Who hears so many messages in so much time hears them so far apart.
        let gaps = report.latency_ns.gap.as_ref().unwrap();
        let sum = gaps.mean * gaps.count as f64;
        assert!(gaps.count + 10 >= listen.received && sum <= 10.0 * 2.05e9, "{gaps:?} {listen:?}");
        // What overtakes what makes gaps of two kinds; their median is still the timer's, nearly.
        let median = gaps.histogram().unwrap().value_at_quantile(0.5);
        assert!((10 * MS..=30 * MS).contains(&median) || disturbance(&report) > 5 * MS, "{median} of 20 ms");
        let found = format!("{}, gaps of {:.0} ms", stat_cell(response), gaps.mean / 1e6);
        let truth = format!("{}, gaps of 20 ms and its own time", truth_cell(&truth));
        row("pushes 5 to 50 ms after its stamp, every 20 ms", &load, &truth, &found, &words(&report));
    }
}

#[test]
fn says_nothing_to_who_listens() {
    let server = Server::start(Nature::default());
    let (report, output) = measure(&format!("listen -c2 -d300ms --warmup 0s {}", server.url()));
    assert_eq!((codes(&report.verdict.reasons), output.status.code()), (vec!["no_messages"], Some(1)));
}

/// First, median and last receiver of each message, over two threads, in an envelope, with words of their own for those
/// who send and those who listen.
#[test]
fn passes_on_to_subscribers() {
    let server = Server::start(Nature {
        delay: Time::Fixed(ms(5)),
        speech: Speech::Topic(ms(3)),
        ..Nature::default()
    });
    let (url, sub) = (server.url(), r#"--hello {"sub":"x"} --expect "subscribed":true"#);
    let load = "fanout -c12 --publishers 2 -t2 -R20 -d2s";
    let line = format!(
        r#"{load} --warmup 0s --publish {url} --message {{"pub":"x","data":"{{stamp}}"}} --subscribe {url} {sub}"#
    );
    let (report, output) = measure(&line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = text.lines().find(|line| line.starts_with("VERDICT")).unwrap();
    assert!(!verdict.contains("answered") && text.contains("reach 100"), "{text}");
    let fanout = report.fanout.as_ref().unwrap();
    assert_eq!((fanout.receivers, fanout.published, fanout.received), (10, 40, 400), "{fanout:?}");
    assert_eq!((fanout.duplicated, report.connections.opened), (0, 12), "{fanout:?}");
    let log = server.log();
    let sorted = |of: fn(&Handled) -> u64| {
        let mut all: Vec<u64> = log.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    let (first, last) = (sorted(|m| m.first - m.due), sorted(|m| m.left - m.due));
    let stats = [&fanout.first, &fanout.median, &fanout.last].map(|stat| stat.as_ref().unwrap());
    agrees(&report, stats[0], &first);
    agrees(&report, stats[2], &last);
    // The fifth of ten: four times 3 ms after the first.
    let median: Vec<u64> = first.iter().map(|t| t + 12 * MS).collect();
    let (found, true_) = (stats[1].histogram().unwrap().value_at_quantile(0.5), at(&median, 0.5));
    assert!(
        found + MS >= true_ && found <= at(&last, 0.5) + MS + disturbance(&report),
        "{found} for {true_}"
    );
    let truth = format!("first {}, last {}", truth_cell(&first), truth_cell(&last));
    let found = format!("first {}, last {}", stat_cell(stats[0]), stat_cell(stats[2]));
    row("pub/sub, 5 ms and 3 ms more for each of 10", load, &truth, &found, &words(&report));
}

#[test]
fn roles_come_in_pairs() {
    for (line, says) in [
        ("fanout --publish ws://127.0.0.1:9/", "together, or one URL"),
        (
            "fanout --publish ws://127.0.0.1:9/ --subscribe ws://127.0.0.1:9/ ws://127.0.0.1:9/",
            "together, or one URL",
        ),
        (
            "fanout -c2 --publishers 2 --publish ws://127.0.0.1:9/ --subscribe ws://127.0.0.1:9/",
            "none is left",
        ),
        ("fanout -c2 --message x ws://127.0.0.1:9/", "fanout needs stamped messages"),
        ("listen --stamp ts ws://127.0.0.1:9/", "the text around {ms} or {ns}"),
    ] {
        let output = crate::support::loadgen(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(says)), (Some(2), true), "{line}: {said}");
    }
}
