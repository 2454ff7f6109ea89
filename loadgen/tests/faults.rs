//! The stopwatch, proved: a server with known faults, and what theory says a true measurement shows.
//!
//! Theory gives a least value, which holds on any machine. From above, a run is bounded by theory and what the host
//! itself did to it, as the report's own histograms tell.

mod support;

use std::time::Duration;

use loadgen::report::{Report, Status};
use support::{Faults, Server, codes, disturbance, measure, signatures};

const MS: u64 = 1_000_000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two seconds of 500 messages/s over 20 connections, after a short warm-up.
const SHORT: &str = "-c20 -R500 -d2s --warmup 200ms";

fn percentile(report: &Report, q: f64) -> u64 {
    report.latency_ns.response.as_ref().unwrap().histogram().unwrap().value_at_quantile(q)
}

/// Messages whose response took at least `ns`, as a share of all.
fn share_above(report: &Report, ns: u64) -> f64 {
    let histogram = report.latency_ns.response.as_ref().unwrap().histogram().unwrap();
    histogram.count_between(ns, u64::MAX) as f64 / histogram.len() as f64
}

/// The fault is the server's, and measured rightly.
fn named(report: &Report, code: &str) {
    assert!(codes(&report.verdict.reasons).contains(&code), "{:?}", report.verdict);
    // Or INVALID, where this host was too busy besides.
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
}

#[test]
fn a_server_that_never_replies_is_no_measurement() {
    let server = Server::start(Faults { drop: Some(1), ..Faults::default() });
    let (report, output) = measure(&format!("-c20 -R100 -d1s --warmup 0s --drain 300ms {}", server.url()));
    assert_eq!((report.messages.sent, report.messages.received), (100, 0));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report.verdict.status, Status::Invalid);
    assert!(codes(&report.verdict.reasons).contains(&"no_replies"), "{:?}", report.verdict);
    // Every message is in the histogram at its age, which is no delay of the server's.
    assert_eq!(report.latency_ns.response.as_ref().unwrap().count, 100);
    assert_eq!(signatures(&report), [""; 0], "{:?}", report.signatures);
}

#[test]
fn a_server_that_changes_everything_is_no_echo_server() {
    let server = Server::start(Faults { corrupt: Some(1), ..Faults::default() });
    let (report, _) = measure(&format!("-c20 -R100 -d1s --warmup 0s {}", server.url()));
    assert_eq!((report.messages.received, report.messages.corrupt), (100, 100));
    assert_eq!(report.verdict.status, Status::Invalid);
    assert!(
        report.verdict.reasons.iter().any(|r| r.text.contains("not an echo server")),
        "{:?}",
        report.verdict
    );
}

#[test]
fn replies_twice_make_the_run_faulty_and_fail_a_strict_one() {
    let server = Server::start(Faults { duplicate: Some(50), ..Faults::default() });
    let (report, output) = measure(&format!("{SHORT} --strict {}", server.url()));
    named(&report, "duplicated");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn a_sound_server_has_no_fault() {
    let server = Server::start(Faults::default());
    let (report, output) = measure(&format!("{SHORT} {}", server.url()));
    assert!(output.status.success());
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (1000, 1000, 0));
    assert_eq!(report.latency_ns.response.as_ref().unwrap().count, 1000);
    assert!(signatures(&report).iter().all(|kind| *kind == "fixed_delay"), "{:?}", report.signatures);
}

#[test]
fn a_fixed_delay_is_in_every_sample() {
    let server = Server::start(Faults { delay: ms(25), ..Faults::default() });
    let (report, _) = measure(&format!("{SHORT} {}", server.url()));
    assert!(report.latency_ns.response.as_ref().unwrap().min >= 25 * MS * 999 / 1000);
    assert!(percentile(&report, 0.5) <= 26 * MS + disturbance(&report));
    assert!(signatures(&report).contains(&"fixed_delay"));
}

/// Stall S every P at an even rate: S/P of the messages wait, evenly spread over [0, S]. So the share that waits
/// longer than x is S/P · (1 − x/S), and p90 and p99 are S/2 and 0.95 S.
#[test]
fn an_open_loop_sees_a_stall_as_theory_says() {
    let server = Server::start(Faults { stall: Some((ms(200), ms(1000))), ..Faults::default() });
    // Whole periods, so that every point of the period has as many messages.
    let (report, _) = measure(&format!("-c20 -R1k -d5s --warmup 200ms {}", server.url()));
    let noise = disturbance(&report);
    assert!(percentile(&report, 0.7) <= 10 * MS + noise, "p70 {}", percentile(&report, 0.7));
    for (q, expected) in [(0.9, 100 * MS), (0.95, 150 * MS), (0.99, 190 * MS)] {
        let found = percentile(&report, q);
        assert!(found >= expected - 5 * MS && found <= expected + 10 * MS + noise, "p{}: {found}", q * 100.0);
    }
    for x in [20, 60, 100, 140, 180] {
        let expected = 0.2 * (1.0 - x as f64 / 200.0);
        let found = share_above(&report, x * MS);
        assert!(found >= expected - 0.01, "{x} ms: {found} is less than {expected}");
        assert!(found <= expected + 0.02 + noise as f64 / 1e9, "{x} ms: {found} is more than {expected}");
    }
    assert!(signatures(&report).contains(&"periodic_stall"), "{:?}", report.signatures);
}

/// In a closed loop each connection has but one message in a stall: the same server looks a hundred times better.
#[test]
fn a_closed_loop_hides_a_stall_and_says_so() {
    let server = Server::start(Faults { stall: Some((ms(200), ms(1000))), ..Faults::default() });
    let (report, output) = measure(&format!("--closed -c20 -d5s --warmup 200ms {}", server.url()));
    // Six stalls at most touch five seconds, and a message or two of each connection.
    let waiting = share_above(&report, 50 * MS) * report.messages.received as f64;
    assert!(waiting <= 6.0 * 2.0 * 20.0, "{waiting}");
    assert!(share_above(&report, 100 * MS) < 0.05, "{}", share_above(&report, 100 * MS));
    assert!(codes(&report.verdict.notes).contains(&"closed_loop"), "{:?}", report.verdict);
    assert!(String::from_utf8_lossy(&output.stdout).contains("closed"));
}

#[test]
fn dropped_replies_are_counted_and_kept_in_the_histogram() {
    let server = Server::start(Faults { drop: Some(100), ..Faults::default() });
    let (report, _) = measure(&format!("-c20 -R500 -d2s --warmup 0s --drain 500ms {}", server.url()));
    let m = &report.messages;
    // The last message on a connection has no later one to show that it is lost.
    assert_eq!((m.sent, m.lost + m.unanswered), (1000, 10), "{m:?}");
    assert!(m.lost >= 8, "{m:?}");
    assert_eq!((m.received, m.duplicated, m.reordered, m.corrupt), (990, 0, 0, 0));
    assert_eq!(report.latency_ns.response.as_ref().unwrap().count, 1000);
    // They are as old as the run is long, less the time that went before them.
    assert!(report.latency_ns.response.as_ref().unwrap().max >= 500 * MS);
    named(&report, "lost");
}

#[test]
fn swapped_replies_are_named() {
    let server = Server::start(Faults { swap: Some(100), ..Faults::default() });
    // More than one message in flight on a connection, or there is nothing to swap with.
    let (report, _) = measure(&format!("-c2 -R500 -d2s --warmup 0s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.lost, m.duplicated, m.corrupt), (0, 0, 0), "{m:?}");
    assert!((9..=10).contains(&m.reordered), "{m:?}");
    // Each says which message it answers: that is no fault.
    assert!(codes(&report.verdict.findings).contains(&"reordered"), "{:?}", report.verdict);
}

#[test]
fn duplicated_replies_are_named() {
    for size in ["128", "8"] {
        let server = Server::start(Faults { duplicate: Some(100), ..Faults::default() });
        let (report, _) = measure(&format!("-c20 -R500 -d2s --warmup 0s --size {size} {}", server.url()));
        let m = &report.messages;
        assert_eq!((m.received, m.lost, m.corrupt), (1000, 0, 0), "{m:?}");
        // The run may end with the first copy of the last message.
        assert!((9..=10).contains(&m.duplicated), "{m:?}");
        named(&report, "duplicated");
    }
}

#[test]
fn corrupted_replies_are_named() {
    for options in ["", "--binary", "--binary --size 12"] {
        let server = Server::start(Faults { corrupt: Some(100), ..Faults::default() });
        let (report, _) = measure(&format!("-c20 -R500 -d2s --warmup 0s {options} {}", server.url()));
        let m = &report.messages;
        assert_eq!((m.received, m.corrupt, m.lost, m.duplicated), (1000, 10, 0, 0), "{options}: {m:?}");
        named(&report, "corrupt");
    }
}

#[test]
fn replies_forty_milliseconds_late_are_recognised() {
    let server = Server::start(Faults { late: Some((10, ms(40))), ..Faults::default() });
    let (report, _) = measure(&format!("-c50 -R200 -d3s --warmup 0s {}", server.url()));
    let found = report.signatures.iter().find(|s| s.kind == "cluster_40ms").expect("a cluster at 40 ms");
    assert!(found.share > 0.05 && found.share < 0.2, "{found:?}");
}

#[test]
fn unanswered_pings_are_named() {
    for no_pong in [true, false] {
        let server = Server::start(Faults { no_pong, ..Faults::default() });
        let (report, _) = measure(&format!("{SHORT} --ping 100ms {}", server.url()));
        let m = &report.messages;
        assert!(m.pings_sent > 300, "{m:?}");
        assert_eq!(signatures(&report).contains(&"no_pong"), no_pong);
        assert_eq!(report.latency_ns.ping.is_none(), no_pong);
        if !no_pong {
            assert!(m.pongs_received + 20 >= m.pings_sent, "{m:?}");
        }
    }
}

#[test]
fn a_full_backlog_shows_as_repeated_syns() {
    let server = Server::start(Faults { backlog: Some((4, ms(500))), ..Faults::default() });
    let (report, _) = measure(&format!("{SHORT} {}", server.url()));
    assert!(signatures(&report).contains(&"syn_retransmit"), "{:?}", report.signatures);
    assert!(report.connections.syn_retransmits > 0, "{:?}", report.connections);
    assert!(report.latency_ns.connect.as_ref().unwrap().max > 900 * MS);
}

#[test]
fn connections_that_end_early_are_the_servers_fault() {
    let server = Server::start(Faults { cut: Some(ms(1200)), ..Faults::default() });
    let (report, output) = measure(&format!("{SHORT} --strict {}", server.url()));
    assert_eq!(output.status.code(), Some(1));
    assert!(report.verdict.status >= Status::Faulty, "{:?}", report.verdict);
    assert_eq!(codes(&report.verdict.reasons)[0], "held", "{:?}", report.verdict);
    let failed: u64 = report.connections.failed.values().sum();
    assert_eq!((failed, report.connections.held_min), (20, 0), "{:?}", report.connections);
    assert!(report.messages.not_sent > 0);
    // Every message of the schedule is accounted for.
    let m = &report.messages;
    assert_eq!(m.sent + m.not_sent, 1000, "{m:?}");
    assert_eq!(m.received + m.unanswered + m.lost, m.sent, "{m:?}");
}

#[test]
fn a_server_that_does_not_read_shows_as_backpressure() {
    let server = Server::start(Faults { deaf: Some(ms(1500)), ..Faults::default() });
    let (report, _) = measure(&format!("-c2 -R40 --size 1M -d2s --warmup 0s --drain 5s {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (80, 80, 0), "{m:?}");
    let backpressure = report.latency_ns.backpressure.as_ref().expect("messages that waited");
    assert!(backpressure.max > 500 * MS, "{backpressure:?}");
    assert!(codes(&report.verdict.notes).contains(&"backpressure"));
    // The waiting is the server's doing and in the headline.
    assert!(report.latency_ns.response.as_ref().unwrap().max > backpressure.max);
    assert!(report.latency_ns.own_slip.as_ref().unwrap().max < backpressure.max);
}

#[test]
fn replies_in_pieces_are_put_together() {
    for faults in [
        Faults { fragment: Some(10), ..Faults::default() },
        Faults { dribble: true, ..Faults::default() },
        Faults { dribble: true, fragment: Some(30), ping: true, ..Faults::default() },
    ] {
        let server = Server::start(faults);
        let (report, _) = measure(&format!("-c5 -R100 -d1s --warmup 0s --fragment 50 {}", server.url()));
        let m = &report.messages;
        assert_eq!((m.sent, m.received, m.errors()), (100, 100, 0), "{faults:?}: {m:?}");
    }
}

#[test]
fn a_servers_pings_are_answered() {
    let server = Server::start(Faults { ping: true, ..Faults::default() });
    let (report, _) = measure(&format!("{SHORT} {}", server.url()));
    assert_eq!(report.messages.errors(), 0);
    assert_eq!(server.pongs.load(std::sync::atomic::Ordering::Relaxed), 20);
}

#[test]
fn a_refused_upgrade_says_why() {
    for (faults, reason) in [
        (
            Faults { refuse: Some(403), ..Faults::default() },
            "upgrade: HTTP 403 No: it may want another Origin (--origin)",
        ),
        (Faults { wrong_accept: true, ..Faults::default() }, "upgrade: wrong Sec-WebSocket-Accept"),
        (
            Faults { extensions: Some("x-webkit-deflate-frame"), ..Faults::default() },
            "upgrade: an extension was agreed to that was not offered",
        ),
    ] {
        let server = Server::start(faults);
        let (report, output) = measure(&format!("{SHORT} {}", server.url()));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(report.connections.failed.get(reason), Some(&20), "{:?}", report.connections.failed);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn early_hints_and_a_long_head_are_no_refusal() {
    let server = Server::start(Faults { chatty: true, ..Faults::default() });
    let (report, output) = measure(&format!("{SHORT} {}", server.url()));
    assert!(output.status.success());
    assert_eq!((report.connections.opened, report.messages.errors()), (20, 0));
}

const AGREED: Option<&str> =
    Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover");

#[test]
fn a_server_that_does_not_agree_to_deflate_says_so() {
    for (extensions, reason) in [
        (None, "upgrade: permessage-deflate was not agreed to"),
        (Some("permessage-deflate"), "upgrade: server_no_context_takeover was not agreed to"),
        (Some("x-webkit-deflate-frame"), "upgrade: an extension was agreed to that was not offered"),
        (
            Some("permessage-deflate; server_no_context_takeover; client_max_window_bits=9"),
            "upgrade: a parameter of permessage-deflate was agreed to that was not offered",
        ),
    ] {
        let server = Server::start(Faults { extensions, ..Faults::default() });
        let (report, output) = measure(&format!("{SHORT} --deflate {}", server.url()));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(report.connections.failed.get(reason), Some(&20), "{:?}", report.connections.failed);
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{reason}");
    }
}

#[test]
fn replies_to_compressed_messages_may_be_compressed_or_not() {
    for faults in [
        Faults { ..Faults::default() },
        Faults { inflate: true, ..Faults::default() },
        Faults { fragment: Some(10), dribble: true, ..Faults::default() },
        Faults { inflate: true, fragment: Some(30), ping: true, ..Faults::default() },
    ] {
        let server = Server::start(Faults { extensions: AGREED, ..faults });
        for options in ["", "--fragment 50", "--binary --size 0..3000"] {
            let line = format!("-c5 -R100 -d1s --warmup 0s --deflate {options} {}", server.url());
            let (report, _) = measure(&line);
            let m = &report.messages;
            assert_eq!((m.sent, m.received, m.errors()), (100, 100, 0), "{faults:?} {options}: {m:?}");
        }
    }
}

/// Bytes written are counted after compression, whether they had to wait or not.
#[test]
fn compressed_messages_wait_like_others() {
    let faults = Faults { extensions: AGREED, deaf: Some(ms(1500)), ..Faults::default() };
    let server = Server::start(faults);
    let (report, _) = measure(&format!(
        "-c1 -R8 --binary --size 4M -d2s --warmup 0s --drain 40s --deflate {}",
        server.url()
    ));
    let m = &report.messages;
    assert_eq!((m.sent, m.received, m.errors()), (16, 16, 0), "{m:?}");
    // Compressed they are still more than sockets hold.
    assert!(report.latency_ns.backpressure.as_ref().expect("messages that waited").max > 500 * MS);
    // What comes back is what went out, but for the mask.
    let whole = 16 * (4 << 20);
    assert!((whole / 8..whole / 2).contains(&m.bytes_sent), "messages are made of words: {m:?}");
    assert_eq!(m.bytes_sent, m.bytes_received + 16 * 4, "{m:?}");
}

#[test]
fn what_goes_wrong_with_compressed_replies_is_named() {
    let line = "-c2 -R500 -d2s --warmup 0s --deflate";
    for inflate in [false, true] {
        let sound = Faults { extensions: AGREED, inflate, ..Faults::default() };
        let every = Some(100);
        let server = Server::start(Faults { drop: every, ..sound });
        let m = measure(&format!("{line} {}", server.url())).0.messages;
        assert_eq!((m.sent, m.received, m.lost + m.unanswered, m.corrupt), (1000, 990, 10, 0), "{m:?}");
        let server = Server::start(Faults { duplicate: every, ..sound });
        let m = measure(&format!("{line} {}", server.url())).0.messages;
        assert!(m.received == 1000 && (9..=10).contains(&m.duplicated) && m.corrupt == 0, "{m:?}");
        let server = Server::start(Faults { swap: every, ..sound });
        let m = measure(&format!("{line} {}", server.url())).0.messages;
        assert!((9..=10).contains(&m.reordered) && m.corrupt == 0, "{m:?}");
    }
    let faults = Faults { extensions: AGREED, inflate: true, corrupt: Some(100), ..Faults::default() };
    let server = Server::start(faults);
    let m = measure(&format!("{line} {}", server.url())).0.messages;
    assert_eq!((m.received, m.corrupt, m.lost, m.duplicated), (1000, 10, 0, 0), "{m:?}");
    // "Hello", compressed, answers nothing that was sent; what does not inflate ends the connection, and so does a bomb.
    let mut zeros = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bomb = Vec::with_capacity(1 << 20);
    zeros.compress_vec(&vec![0; 64 << 20], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    let cases: [(&[u8], Option<&str>); 3] = [
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00", None),
        (b"\xff\xff\xff", Some("open: message that does not inflate")),
        (bomb.leak(), Some("open: message that inflates to more than any sent")),
    ];
    for (payload, reason) in cases {
        let faults = Faults { extensions: AGREED, payload: Some(payload), ..Faults::default() };
        let server = Server::start(faults);
        let (report, _) = measure(&format!("-c2 -R20 -d500ms --warmup 0s --deflate {}", server.url()));
        match reason {
            Some(reason) => {
                assert_eq!(report.connections.failed.get(reason), Some(&2), "{:?}", report.connections)
            }
            None => assert_eq!(report.messages.unsolicited, report.messages.sent, "{:?}", report.messages),
        }
    }
}

#[test]
fn replies_between_00_and_ff_are_checked_like_others() {
    let line = "-c2 -R500 -d2s --warmup 0s --draft 75";
    let every = Some(100);
    let m = |faults: Faults| {
        let server = Server::start(faults);
        let (report, output) = measure(&format!("{line} {}", server.url()));
        assert!(report.connections.failed.is_empty(), "{:?}", report.connections);
        assert!(output.status.success());
        assert_eq!(server.closes.load(std::sync::atomic::Ordering::Relaxed), 2, "FF 00 on each connection");
        report.messages
    };
    let sound = m(Faults::default());
    assert_eq!((sound.sent, sound.received, sound.errors()), (1000, 1000, 0), "{sound:?}");
    let pieces = m(Faults { dribble: true, ..Faults::default() });
    assert_eq!((pieces.sent, pieces.received, pieces.errors()), (1000, 1000, 0), "{pieces:?}");
    let fewer = m(Faults { drop: every, ..Faults::default() });
    assert_eq!((fewer.received, fewer.lost + fewer.unanswered, fewer.corrupt), (990, 10, 0), "{fewer:?}");
    let more = m(Faults { duplicate: every, ..Faults::default() });
    assert!(more.received == 1000 && (9..=10).contains(&more.duplicated), "{more:?}");
    let swapped = m(Faults { swap: every, ..Faults::default() });
    assert!((9..=10).contains(&swapped.reordered), "{swapped:?}");
    let changed = m(Faults { corrupt: every, ..Faults::default() });
    assert_eq!((changed.received, changed.corrupt, changed.duplicated), (1000, 10, 0), "{changed:?}");
    let server = Server::start(Faults { payload: Some(b"Hello"), ..Faults::default() });
    let (report, output) = measure(&format!("{line} --drain 300ms {}", server.url()));
    let m = &report.messages;
    assert_eq!((m.received, m.unsolicited, output.status.code()), (0, 1000, Some(1)), "{m:?}");
}
