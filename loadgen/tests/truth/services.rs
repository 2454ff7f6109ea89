//! Servers that are no echo: JSON-RPC, logins, heartbeats.

use std::time::Duration;

use loadgen::report::{Report, Status};

use crate::server::{Handled, Nature, Server, Speech, Time};
use crate::support::{codes, disturbance, measure};
use crate::{MS, agrees, at, ms, row, stat_cell, truth, truth_cell, words};

const CALL: &str = r#"--message {"jsonrpc":"2.0","method":"sum","params":[{conn},{rand:9}],"id":{seq}}"#;
const MATCH: &str = r#"--match "id":{seq}"#;

/// Four replies in five overtake another.
fn rpc() -> Nature {
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
    let report = line(r#"--hello {"login":"ann"}"#, r#"--expect "ok":true --capture room="room":"{room}""#);
    assert_eq!(reasons(&report), ["hello: `\"room\":\"{room}\"` was expected and something else came"]);
    let report = line(r#"--hello {"type":"pong"}"#, "--expect ok --connect-timeout 300ms");
    assert_eq!(reasons(&report), ["hello: timed out waiting for `ok`"]);
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
    let url = format!("{}/{{conn}}?user={{line:{}}}&at={{now_ms}}", server.url(), path.display());
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
        pair("/truth/3?user=ann", "ann-3"),
        pair("/truth/4?user=bob", "bob-4"),
        pair("/truth/5?user=eve", "eve-5"),
    ];
    assert_eq!(heads, wanted);
}
