//! People of all kinds: who thinks, who reads slowly, who leaves and comes back, and a server that does so itself.

use loadgen::report::{Report, Status};

use crate::order::named;
use crate::server::{Handled, Nature, Server, Time};
use crate::services::{MATCH, rpc};
use crate::support::{codes, disturbance, measure};
use crate::{MS, ms, row, stat_cell, truth, truth_cell, words};

/// Little's law of a closed system: 40 clients that think 200 ms on average before each call of 50 ms make
/// 40 / (0.2 + 0.05) = 160 calls a second, whatever the server's queue; and it is said to be closed.
#[test]
fn is_asked_by_people_who_think() {
    let load = "-c40 --think exp:200ms -d4s";
    let server = Server::start(Nature { delay: Time::Fixed(ms(50)), overtakes: true, ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 500ms {}", server.url()));
    let rate = report.messages.answered_rate;
    // On a busy host calls take longer, and then there are fewer.
    assert!(rate < 160.0 * 1.15, "{rate}");
    let response = report.latency_ns.response.as_ref().unwrap();
    let expected = 40.0 / (0.2 + response.mean / 1e9);
    assert!((rate - expected).abs() < expected * 0.15, "{rate} for {expected}");
    assert!(codes(&report.verdict.notes).contains(&"closed_system"), "{:?}", report.verdict);
    assert_eq!((report.config.think.as_deref(), report.messages.errors()), (Some("exp:200ms"), 0));
    let log: Vec<Handled> = server.log().into_iter().collect();
    // The log begins with the warm-up.
    let truth = truth(&log);
    let found = format!("{}, {rate:.0}/s", stat_cell(response));
    row("answers 50 ms late", load, &format!("{}, 160/s", truth_cell(&truth)), &found, &words(&report));
}

/// What some read slowly costs the others nothing where the server has a thread for each, and their own times stand
/// apart. What they read is what was said.
#[test]
fn is_read_slowly_by_a_tenth() {
    let load = "-c20 -R100 -d3s --size 20k --slow-readers 10%:20k/s";
    let server = crate::support::Server::start(crate::support::Faults::default());
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let (slow, m) = (report.slow_readers.as_ref().unwrap(), &report.messages);
    assert_eq!((slow.connections, slow.rate), (2, 20 * 1024));
    // Two of twenty are sent 15 messages of 20 kB in 3 s each, which is five times what they read.
    let achieved = slow.achieved_rate / slow.rate as f64;
    assert!((0.8..=1.1).contains(&achieved), "{achieved} {slow:?}");
    assert!(slow.received + slow.unanswered >= 20 && slow.unanswered > 0, "{slow:?}");
    // The others have all their replies, and nobody's fault is counted twice.
    assert_eq!((m.errors(), m.received), (0, m.sent - slow.unanswered), "{m:?} {slow:?}");
    let stat = report.latency_ns.slow_readers.as_ref().unwrap();
    let response = report.latency_ns.response.as_ref().unwrap();
    assert_eq!(response.count + stat.count, m.sent);
    assert!(stat.max > 1000 * MS, "{stat:?}");
    let truth = "20.0 KiB/s each";
    let found =
        format!("{:.1} KiB/s each, {} of them unanswered", slow.achieved_rate / 1024.0, slow.unanswered);
    row("has a thread for each client, of whom a tenth read slowly", load, truth, &found, &words(&report));
}

/// Whatever the rate and the size of what is sent, those who only listen read as fast as they were told; where there is not
/// so much to read a finding says so.
#[test]
fn is_read_at_the_rate_that_was_asked() {
    let said = String::leak("x".repeat(100_000));
    for (rate, bytes) in
        [("5k/s", 5_120.0), ("20k/s", 20_480.0), ("100k/s", 102_400.0), ("400k/s", 409_600.0)]
    {
        let load = format!("listen -c4 -d4s --slow-readers 50%:{rate}");
        let server = Server::start(Nature { push: Some(ms(50)), said, ..Nature::default() });
        let (report, _) = measure(&format!("{load} --warmup 500ms {}", server.url()));
        let slow = report.slow_readers.as_ref().unwrap();
        let achieved = slow.achieved_rate / bytes;
        assert!((0.8..=1.1).contains(&achieved), "{achieved} of {rate}: {slow:?}");
        let found = format!("{:.1} KiB/s each", slow.achieved_rate / 1024.0);
        let truth = format!("{:.1} KiB/s each", bytes / 1024.0);
        row("pushes 100 kB every 50 ms", &load, &truth, &found, &words(&report));
    }
    let server = Server::start(Nature { push: Some(ms(20)), said: "little", ..Nature::default() });
    let (report, _) =
        measure(&format!("listen -c4 -d1s --warmup 0s --slow-readers 50%:20k/s {}", server.url()));
    assert!(codes(&report.verdict.findings).contains(&"slow_readers"), "{:?}", report.verdict);
}

/// The server goes away by itself and comes back at another time: what was lost is noticed, and all come back.
#[test]
fn goes_away_and_comes_back() {
    let load = "storm --server -c20 --survivors 10 --backoff fixed:50ms";
    let server = Server::start(Nature { restart: Some(ms(1000)), ..Nature::default() });
    let (report, output) = measure(&format!("{load} --before 1s --after 2s {}", server.url()));
    let storm = report.storm.as_ref().unwrap();
    assert_eq!(
        (&*storm.fault, storm.dropped, storm.back),
        ("server", 20, 20),
        "{storm:?} {:?}",
        report.connections
    );
    assert!(storm.first_back_ns.unwrap() <= storm.back_ns["100"], "{storm:?}");
    // Every connection tries again 50 ms after it was lost.
    assert!(storm.first_back_ns.unwrap() >= 50 * MS && storm.lost_ns.is_some(), "{storm:?}");
    // The last sign of life was a reply, of which there are a hundred a second.
    assert!(storm.detected_ns.unwrap() <= 1000 * MS, "{storm:?}");
    assert_eq!(report.connections.held_min, 20, "who comes back is not missing");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("after the last sign of life"), "{text}");
    let times = [storm.detected_ns, storm.lost_ns, storm.first_back_ns, storm.back_ns.get("100").copied()];
    let [detected, lost, first, last] = times.map(|time| time.unwrap() as f64 / 1e6);
    let found = format!(
        "{} lost, noticed {detected:.0} ms after the last reply and within {lost:.0} ms, {} back after {first:.0} to {last:.0} ms",
        storm.dropped, storm.back
    );
    let truth = "20 lost at once, up to 10 ms after a reply, back after 50 ms";
    row("cuts every connection after 1 s", load, truth, &found, &words(&report));

    let server = Server::start(Nature::default());
    let (report, _) = measure(&format!("storm --server -c4 --before 200ms --after 300ms {}", server.url()));
    assert_eq!(codes(&report.verdict.findings), ["no_outage"], "{:?}", report.verdict);
}

/// Messages that nobody could send, since a host that stopped for so long left every connection with replies to wait for.
fn away(report: &Report) -> u64 {
    if disturbance(report) > 200 * MS { report.messages.not_sent } else { 0 }
}

/// `{seq}` counts the messages of a connection, and begins with 0 on each.
#[test]
fn counts_anew_on_each_connection() {
    let server = Server::start(rpc());
    let call = r#"--message {"id":{seq}}"#;
    let load = format!("-c12 -R100 -d2s --messages-per-connection 5 {MATCH} {call}");
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.errors() - away(&report), m.received, m.unsolicited), (0, m.sent, 0), "{m:?}");
    assert_eq!(m.sent + m.not_sent, 200, "every message of the schedule is one or the other");
    assert!(report.connections.reopened > 20, "{:?}", report.connections);
    let mut ids: Vec<u64> = server.ids();
    ids.sort_unstable();
    assert_eq!((ids.first(), ids.last()), (Some(&0), Some(&4)), "{ids:?}");
}

/// Every connection sends five messages, is closed and begins anew; the schedule is kept by those that are there.
#[test]
fn is_left_and_come_back_to() {
    let server = Server::start(Nature { delay: Time::Fixed(ms(5)), ..Nature::default() });
    for load in
        ["-c20 -R200 -d2s --messages-per-connection 5", "--closed -c4 -d1s --messages-per-connection 5"]
    {
        let before = server.heads().len();
        let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
        let (m, c) = (&report.messages, &report.connections);
        assert_eq!((m.errors() - away(&report), m.received, c.held_min), (0, m.sent, c.asked), "{m:?} {c:?}");
        // The last may be under way when the run ends.
        let fives = m.sent / 5;
        assert!(c.reopened <= fives && c.reopened + 2 * c.asked >= fives, "{c:?} {m:?}");
        assert!((server.heads().len() - before) as u64 >= c.opened + c.reopened, "{c:?}");
        let upgrades = report.latency_ns.upgrade.as_ref().unwrap().count;
        assert_eq!(upgrades, c.opened + c.reopened);
        let found = format!("{} opened anew", c.reopened);
        row("answers 5 ms late", load, &format!("{} times 5 messages", fives), &found, &words(&report));
    }
}

/// The last message of a connection has no reply: a closed loop gives it up, leaves and comes back. By a schedule the
/// connection waits for it to the end, and the others send in its place.
#[test]
fn loses_the_last_message_before_it_is_left() {
    let losing = |one_in| Server::start(Nature { drop: Some(one_in), ..Nature::default() });
    let load = "--closed -c1 -d3s --messages-per-connection 5 --timeout 300ms";
    let (report, _) = measure(&format!("{load} --warmup 0s {}", losing(5).url()));
    let (m, c) = (&report.messages, &report.connections);
    let fives = m.sent / 5;
    assert!(fives > 3, "{m:?}");
    // A host that stops for so long makes others late.
    assert!(m.unanswered == fives || m.unanswered > fives && disturbance(&report) > 200 * MS, "{m:?}");
    assert_eq!((m.lost, m.stuck), (0, 0), "{m:?}");
    assert!(c.reopened + 1 >= fives && c.reopened <= m.unanswered && c.held_min == 1, "{c:?} {m:?}");
    let found = format!("{} unanswered, {} opened anew", m.unanswered, c.reopened);
    row("loses a reply in 5", load, &format!("{fives} times the last of 5"), &found, &words(&report));

    let (report, _) =
        measure(&format!("-c20 -R200 -d2s --messages-per-connection 5 --warmup 0s {}", losing(50).url()));
    let (m, c) = (&report.messages, &report.connections);
    assert_eq!((m.sent + m.not_sent, m.not_sent), (400, away(&report)), "{m:?}");
    assert_eq!((m.lost + m.unanswered, m.received), (m.sent / 50, m.sent - m.sent / 50), "{m:?}");
    assert!(c.reopened > 20 && c.held_min == 20, "{c:?}");

    // Every connection waits since the warm-up.
    let (report, output) = measure(&format!(
        "-c4 -R40 -d1s --messages-per-connection 2 --warmup 1s --drain 200ms {}",
        losing(1).url()
    ));
    assert_eq!((report.messages.sent, report.messages.not_sent), (0, 40), "{:?}", report.messages);
    named(&report, "nothing_sent");
    assert_eq!((report.verdict.status, output.status.code()), (Status::Invalid, Some(1)));
}
