//! Servers that are not an echo in order: they overtake, lose, repeat, change, push, fall silent.

use loadgen::report::model::Phase;
use loadgen::report::{Report, Status};

use crate::server::{Nature, Server, Speech, Time};
use crate::support::{codes, disturbance, measure};
use crate::{MS, agrees, ms, row, stat_cell, truth, truth_cell, words};

/// Four replies in five overtake another.
const OVERTAKES: Nature = Nature {
    delay: Time::Between(ms(1), ms(100)),
    overtakes: true,
    work: Time::None,
    stall: None,
    drop: None,
    duplicate: None,
    corrupt: None,
    inverts: false,
    push: None,
    said: "",
    greets: false,
    half_silent: false,
    restart: None,
    room: None,
    speech: Speech::Echo,
};

#[test]
fn answers_out_of_order() {
    let load = "-c4 -R400 -d2s";
    let server = Server::start(OVERTAKES);
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.lost, m.duplicated, m.corrupt), (800, 800, 0, 0, 0), "{m:?}");
    assert!(m.reordered > 400, "{m:?}");
    let (truth, found) = (truth(&server.log()), report.latency_ns.response.as_ref().unwrap());
    agrees(&report, found, &truth);
    assert_eq!(codes(&report.verdict.findings), ["reordered"], "{:?}", report.verdict);
    row("answers out of order", load, &truth_cell(&truth), &stat_cell(found), &words(&report));
}

/// Replies that nothing tells apart give an interval that holds the truth, and never a number that does not.
#[test]
fn answers_out_of_order_what_nothing_tells_apart() {
    for options in ["--no-stamp --no-verify", "--payload"] {
        let path = crate::support::scratch("payload");
        std::fs::write(&path, "{\"type\":\"ping\"}").unwrap();
        let option =
            if options == "--payload" { format!("--payload {}", path.display()) } else { options.into() };
        let load = "-c4 -R400 -d2s";
        let server = Server::start(OVERTAKES);
        let (report, output) = measure(&format!("{load} --warmup 0s {option} {}", server.url()));
        std::fs::remove_file(&path).unwrap();
        let m = &report.messages;
        assert_eq!((m.sent, m.received), (800, 800), "{m:?}");
        assert!(m.ambiguous > 400, "{m:?}");
        let times = &report.latency_ns;
        assert!(times.response.is_none() && times.wire.is_none(), "a number that may be wrong");
        assert!(report.intervals.iter().all(|row| row.response.is_none() && row.wire.is_none()));
        let truth = truth(&server.log());
        let [low, high] =
            [&times.response_low, &times.response_high].map(|s| s.as_ref().unwrap().histogram().unwrap());
        for q in [0.5, 0.9, 0.99] {
            let (low, high, true_) =
                (low.value_at_quantile(q), high.value_at_quantile(q), crate::at(&truth, q));
            assert!(
                low <= true_ + true_ / 100 + disturbance(&report) && true_ <= high + high / 500,
                "{q}: {low} {true_} {high}"
            );
        }
        assert_eq!(codes(&report.verdict.findings), ["ambiguous"], "{:?}", report.verdict);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("response at least") && text.contains("response at most"), "{text}");
        let found = format!(
            "{} to {}",
            stat_cell(times.response_low.as_ref().unwrap()),
            stat_cell(times.response_high.as_ref().unwrap())
        );
        row("the same", &format!("{load} {options}"), &truth_cell(&truth), &found, &words(&report));
    }
}

/// In order, one at a time: there is nothing to tell apart, and the response is a number.
#[test]
fn echoes_what_nothing_tells_apart() {
    let load = "-c20 -R200 -d2s --no-stamp --no-verify";
    let server = Server::start(Nature::default());
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    // Unless this host held up a message until the next one was due on the same connection.
    if report.messages.ambiguous == 0 {
        agrees(&report, report.latency_ns.response.as_ref().unwrap(), &unstamped(&report, &server.log()));
    }
    assert_eq!(report.config.matching, "order");
}

/// Without stamps the log knows when a message arrived and not when it was due: what passed between is loadgen's.
fn unstamped(report: &Report, log: &[crate::server::Handled]) -> Vec<u64> {
    let slip = report.latency_ns.own_slip.as_ref().map_or(0, |stat| stat.min);
    truth(log).into_iter().map(|t| t + slip).collect()
}

#[test]
fn loses_a_reply_in_fifty() {
    let load = "-c10 -R500 -d2s";
    let server = Server::start(Nature { drop: Some(50), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s --drain 500ms {}", server.url()));
    let (m, lost) = (&report.messages, server.log().iter().filter(|h| h.left == 0).count() as u64);
    assert_eq!((lost, m.lost + m.unanswered, m.received), (20, 20, 980), "{m:?}");
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
    let found = format!("{} lost or unanswered", m.lost + m.unanswered);
    row("loses a reply in 50", load, &format!("{lost} of 1,000"), &found, &words(&report));
}

#[test]
fn answers_one_in_a_hundred_twice() {
    let load = "-c10 -R500 -d2s";
    let server = Server::start(Nature { duplicate: Some(100), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    // The run may end with the first copy of the last message.
    assert!(m.received == 1000 && (9..=10).contains(&m.duplicated), "{m:?}");
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
    row("answers one in 100 twice", load, "10", &m.duplicated.to_string(), &words(&report));
}

#[test]
fn changes_a_bit_in_one_of_a_hundred() {
    let load = "-c10 -R500 -d2s";
    let server = Server::start(Nature { corrupt: Some(100), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.received, m.corrupt, m.unsolicited), (1000, 10, 0), "{m:?}");
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
    row("changes a bit in one of 100", load, "10", &m.corrupt.to_string(), &words(&report));
}

#[test]
fn changes_everything() {
    let load = "-c10 -R100 -d1s";
    let server = Server::start(Nature { inverts: true, ..Nature::default() });
    let (report, output) = measure(&format!("{load} --warmup 0s --drain 300ms {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.received, m.corrupt, m.unsolicited), (0, 100, 0), "{m:?}");
    assert!(report.verdict.findings.is_empty(), "{:?}", report.verdict);
    assert_eq!((report.verdict.status, output.status.code()), (Status::Invalid, Some(1)));
    assert!(codes(&report.verdict.reasons).contains(&"corrupt"), "{:?}", report.verdict);
    row("changes all of every reply", load, "100", &m.corrupt.to_string(), &words(&report));
}

/// Neither as long as a message of ours nor just as long does a push end anybody's wait.
#[test]
fn pushes() {
    for said in [
        "tick",
        "{\"type\":\"heartbeat\",\"padding\":\"..............................................................................................\"}",
    ] {
        let load = "-c10 -R300 -d2s";
        let nature = Nature {
            delay: Time::Fixed(ms(40)),
            push: Some(ms(13)),
            said,
            greets: true,
            ..Nature::default()
        };
        let server = Server::start(nature);
        let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
        let (m, response) = (&report.messages, report.latency_ns.response.as_ref().unwrap());
        assert_eq!((m.received, m.errors()), (600, 0), "{m:?}");
        assert!(m.unsolicited > 500, "{m:?}");
        assert!(response.min >= 40 * MS - MS / 10, "{response:?}");
        let truth = truth(&server.log());
        agrees(&report, response, &truth);
        let server = format!("answers 40 ms late and pushes {} bytes every 13 ms", said.len());
        row(&server, load, &truth_cell(&truth), &stat_cell(response), &words(&report));
    }
}

#[test]
fn greets_in_a_storm() {
    let server = Server::start(Nature { said: "welcome", greets: true, ..Nature::default() });
    let line =
        format!("storm -c40 --survivors 10 --backoff none --before 500ms --after 1500ms {}", server.url());
    let (report, _) = measure(&line);
    assert_eq!((report.messages.corrupt, report.messages.errors()), (0, 0), "{:?}", report.messages);
    assert_ne!(report.verdict.status, Status::Faulty, "{:?}", report.verdict);
    let storm = report.storm.as_ref().unwrap();
    let found = format!("{} back, {} corrupt", storm.back, report.messages.corrupt);
    row(
        "greets, and is hit by a storm",
        "storm -c40",
        &format!("{} dropped", storm.dropped),
        &found,
        &words(&report),
    );
}

#[test]
fn leaves_half_of_its_clients_unanswered() {
    let load = "-c10 -R200 -d2s";
    let server = Server::start(Nature { half_silent: true, ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s --drain 500ms {}", server.url()));
    let answered = server.log().iter().filter(|h| h.left > 0).count() as u64;
    assert_eq!((report.messages.received, report.connections.silent), (answered, 5));
    named(&report, "silent");
    let found = format!("{} silent", report.connections.silent);
    row("answers every other connection", load, "5 silent", &found, &words(&report));
}

/// A slot whose reply never comes is not waited for without end, in the warm-up either.
#[test]
fn loses_replies_of_a_closed_loop() {
    let load = "--closed -c10 -p2 -d2s --timeout 300ms";
    for options in ["", "--no-stamp --no-verify"] {
        let nature = Nature { delay: Time::Fixed(ms(5)), drop: Some(50), ..Nature::default() };
        let server = Server::start(nature);
        let (report, _) = measure(&format!("{load} {options} --warmup 500ms --drain 1s {}", server.url()));
        let (m, lost) = (&report.messages, server.log().iter().filter(|h| h.left == 0).count() as u64);
        // The loop goes on to the end of its time, and a given-up slot is refilled within two timeouts.
        let rows: Vec<u64> =
            report.intervals.iter().filter(|r| r.phase == Phase::Run).map(|r| r.received).collect();
        assert!(rows.iter().all(|n| *n > 20), "{rows:?}");
        assert!(m.unanswered > 0 && m.unanswered <= lost + 2 * report.connections.replaced, "{m:?} {lost}");
        assert_eq!((m.late, m.duplicated, m.corrupt), (0, 0, 0), "{m:?}");
        assert_eq!(report.connections.replaced > 0, !options.is_empty(), "{:?}", report.connections);
        assert_eq!(report.connections.held_min, 10, "{:?}", report.connections);
        named(&report, "unanswered");
        let found = format!("{} unanswered, {} replaced", m.unanswered, report.connections.replaced);
        row(
            "answers 5 ms late, loses a reply in 50",
            &format!("{load} {options}"),
            &format!("{lost} lost, warm-up and all"),
            &found,
            &words(&report),
        );
    }
}

/// With no bound that could have been reached the slots are stuck, and that is said.
#[test]
fn loses_every_reply_after_a_while() {
    let load = "--closed -c4 -d2s";
    let server = Server::start(Nature { delay: Time::Fixed(ms(5)), drop: Some(10), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 200ms --drain 300ms {}", server.url()));
    assert_eq!(report.messages.stuck, 4, "{:?}", report.messages);
    named(&report, "stuck");
    row(
        "loses a reply in 10",
        load,
        "4 slots stuck",
        &format!("{} stuck", report.messages.stuck),
        &words(&report),
    );
}

/// A reply that comes when it had been given up is late, once, and answers nothing else.
#[test]
fn answers_a_closed_loop_too_late() {
    let load = "--closed -c4 -d2s --timeout 200ms";
    let nature = Nature { stall: Some((ms(500), ms(1000))), ..Nature::default() };
    let server = Server::start(nature);
    let (report, _) = measure(&format!("{load} --warmup 0s --drain 1s {}", server.url()));
    let m = &report.messages;
    assert!(m.late > 0 && m.late <= m.unanswered, "{m:?}");
    assert_eq!((m.duplicated, m.corrupt, m.stuck), (0, 0, 0), "{m:?}");
    assert!(report.latency_ns.response.as_ref().unwrap().count == m.received + m.unanswered, "{m:?}");
    row(
        "stops for 500 ms a second",
        load,
        "every slot waits longer",
        &format!("{} unanswered, {} late", m.unanswered, m.late),
        &words(&report),
    );
}

#[track_caller]
pub fn named(report: &Report, code: &str) {
    assert!(codes(&report.verdict.reasons).contains(&code), "{:?}", report.verdict);
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
}

/// Who was allowed fewer connections than it asked for is judged by those it has.
#[test]
fn has_no_room_for_all() {
    let load = "-c10 -R200 -d1s";
    let server = || Server::start(Nature { room: Some(5), ..Nature::default() });
    let (report, output) = measure(&format!("{load} --warmup 0s {}", server().url()));
    assert_eq!((report.connections.opened, output.status.code()), (5, Some(1)), "{:?}", report.connections);
    named(&report, "held");
    let (report, output) = measure(&format!("{load} --warmup 0s --allow-partial {}", server().url()));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, output.status.code()), (200, 200, Some(0)), "{m:?}");
    assert!(!codes(&report.verdict.reasons).contains(&"held"), "{:?}", report.verdict);
    assert!(codes(&report.verdict.notes).contains(&"partial"), "{:?}", report.verdict);
    let found = format!("{} held, {} answered", report.connections.held_min, m.received);
    row("has room for 5 of 10", "-c10 -R200 -d1s --allow-partial", "5, 200", &found, &words(&report));
}

#[test]
fn cuts_every_connection() {
    let load = "-c10 -R200 -d2s";
    let server = Server::start(Nature { restart: Some(ms(1000)), ..Nature::default() });
    let (report, output) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let (m, c) = (&report.messages, &report.connections);
    // Every message of the schedule is accounted for, and none answered that the server did not answer.
    assert_eq!((m.sent + m.not_sent, m.received + m.unanswered + m.lost), (400, m.sent), "{m:?}");
    assert!(m.received <= server.log().iter().filter(|h| h.left > 0).count() as u64, "{m:?}");
    assert_eq!((c.held_min, c.failed.values().sum::<u64>()), (0, 10), "{c:?}");
    assert!(codes(&report.verdict.reasons).contains(&"held"), "{:?}", report.verdict);
    assert_eq!(output.status.code(), Some(1));
    row(
        "cuts every connection after 1 s",
        load,
        "200 answered",
        &format!("{} answered", m.received),
        &words(&report),
    );
}
