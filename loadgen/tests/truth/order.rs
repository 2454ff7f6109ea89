//! Servers that are not an echo in order: they overtake, lose, repeat, change, push, fall silent.

use crate::server::{Nature, Server, Time};
use crate::support::{codes, measure};
use crate::{agrees, ms, row, stat_cell, truth, truth_cell, words};

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
    row("answers out of order", load, &truth_cell(&truth), &stat_cell(found), &words(&report));
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
