//! Servers that answer in order: delays, queues, stalls.

use crate::server::{Nature, Server, Time};
use crate::support::measure;
use crate::{agrees, ms, row, stat_cell, truth, truth_cell, words};

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
