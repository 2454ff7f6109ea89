//! Servers that answer in order: delays, queues, stalls.

use crate::server::{Nature, Server, Time};
use crate::support::{codes, measure};
use crate::{MS, agrees, ms, row, stat_cell, truth, truth_cell, words};

/// Runs `load` and holds the response times against the log.
fn held_against_the_log(name: &str, load: &str, nature: Nature) {
    let server = Server::start(nature);
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let log = server.log();
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (log.len() as u64, log.len() as u64, 0), "{m:?}");
    let (truth, found) = (truth(&log), report.latency_ns.response.as_ref().unwrap());
    agrees(&report, found, &truth);
    row(name, load, &truth_cell(&truth), &stat_cell(found), &words(&report));
}

#[test]
fn answers_ten_milliseconds_late() {
    let nature = Nature { delay: Time::Fixed(ms(10)), ..Nature::default() };
    held_against_the_log("answers 10 ms late", "-c10 -R500 -d2s", nature);
}

#[test]
fn answers_late_by_an_exponential_time() {
    let nature = Nature { delay: Time::Exponential(ms(10)), overtakes: true, ..Nature::default() };
    held_against_the_log("answers after an exponential time of mean 10 ms", "-c200 -R500 -d3s", nature);
}

#[test]
fn is_a_queue_of_exponential_work() {
    let nature = Nature { work: Time::Exponential(ms(2)), ..Nature::default() };
    held_against_the_log(
        "M/M/1: exponential work of 2 ms, 80 % busy",
        "-c20 -R400 --arrival poisson -d4s",
        nature,
    );
}

#[test]
fn is_a_queue_of_fixed_work() {
    let nature = Nature { work: Time::Fixed(ms(2)), ..Nature::default() };
    held_against_the_log("M/D/1: work of 2 ms, 80 % busy", "-c20 -R400 --arrival poisson -d4s", nature);
}

#[test]
fn stops_two_hundred_milliseconds_a_second() {
    let nature = Nature { stall: Some((ms(200), ms(1000))), ..Nature::default() };
    held_against_the_log("stops for 200 ms a second (theory: 0 / 100 / 190)", "-c20 -R500 -d4s", nature);
}

/// What the server answered stands beside what was asked, and how fast the queue grew.
#[test]
fn cannot_keep_up() {
    let load = "-c20 -R600 -d3s";
    let server = Server::start(Nature { work: Time::Fixed(ms(2)), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s --drain 10s {}", server.url()));
    let log = server.log();
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (1800, 1800, 0), "{m:?}");
    agrees(&report, report.latency_ns.response.as_ref().unwrap(), &truth(&log));
    // As many as left while messages were due; the server cannot do more than 500 a second, and on a busy host does less.
    let first = log.iter().map(|m| m.due).min().unwrap();
    let left = log.iter().filter(|m| m.left < first + 3_000_000_000).count() as f64 / 3.0;
    assert!((m.answered_rate - left).abs() < left / 20.0 && left <= 501.0, "{m:?}, {left}");
    let grown = m.queue_growth.expect("a queue that grows");
    assert!((grown - (600.0 - left)).abs() < 40.0, "{grown}, {left}");
    assert_eq!(codes(&report.verdict.findings), ["overload"], "{:?}", report.verdict);
    // The time series shows the queue while it grows: half way, half of it.
    let rows: Vec<f64> = report.intervals.iter().take(3).map(|row| row.inflight).collect();
    assert!(rows[0] < rows[1] && rows[1] < rows[2], "{rows:?}");
    row(
        "does 500 of 600 messages a second",
        load,
        &format!("{left:.0}/s answered, the queue grows by {:.0}/s", 600.0 - left),
        &format!("{:.0}/s answered, the queue grows by {grown:.0}/s", m.answered_rate),
        &words(&report),
    );
}

#[test]
fn is_spared_by_max_inflight() {
    let load = "-c4 -R600 -d2s --max-inflight 1";
    let server = Server::start(Nature { delay: Time::Fixed(ms(50)), ..Nature::default() });
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.sent + m.capped_inflight, m.sent), (1200, server.log().len() as u64), "{m:?}");
    assert_eq!(codes(&report.verdict.findings)[0], "capped", "{:?}", report.verdict);
    let share = 100.0 * m.capped_inflight as f64 / 1200.0;
    assert!(report.verdict.findings[0].text.contains(&format!("{share:.1}%")), "{:?}", report.verdict);
    row(
        "answers 50 ms late",
        load,
        &format!("{} of 1,200 sent", server.log().len()),
        &format!("{share:.0} % not sent"),
        &words(&report),
    );
}

/// Sends that are made after the time is up are no rate, and one message is none either.
#[test]
fn is_asked_for_more_than_can_be_sent() {
    let load = "-c2 -R1e12 -d100ms --max-inflight 1";
    let server = Server::start(Nature::default());
    let (report, _) = measure(&format!("{load} --warmup 0s {}", server.url()));
    let m = &report.messages;
    let log = server.log();
    let end = log.iter().map(|handled| handled.due).min().unwrap() + 100 * MS;
    let inside = log.iter().filter(|handled| handled.arrived < end).count();
    assert!(m.sent as usize > inside, "nothing was sent behind its time: {m:?}");
    // A tenth of a second, and a message of each connection on the way at its end.
    assert!((m.achieved_rate / 10.0 - inside as f64).abs() <= 2.0, "{inside} in time: {m:?}");
    let (report, output) = measure(&format!("-c1 -R0.001 -d500ms --warmup 0s {}", server.url()));
    assert_eq!((report.messages.sent, report.messages.received), (1, 1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("1 of 1 messages answered") && !text.lines().nth(1).unwrap().contains("/s"),
        "{text}"
    );
}
