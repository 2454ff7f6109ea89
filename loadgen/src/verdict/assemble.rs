//! A report out of what was measured.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::engine::measured::Measured;
use crate::engine::opened::{self, Opening};
use crate::engine::recorder::BoundedTimes;
use crate::host::clock::{Moment, Nanos};
use crate::host::clock_error::clock_error;
use crate::host::procfs::{self, Counters};
use crate::host::source_addresses::port_range;
use crate::protocol::tls::Agreed;
use crate::report::model::{Checks, Client, Host, Latencies, Messages, Report, Server, TlsSessions};
use crate::verdict::facts::Facts;
use crate::verdict::{self, pattern};

/// Fills in what `measured` found, and judges it.
pub fn fill(
    report: &mut Report,
    opening: &Opening,
    measured: &Measured,
    facts: &Facts,
    server_pid: Option<u32>,
) {
    let window = if measured.interrupted { Moment::now().min(measured.to) } else { measured.to };
    let seconds = (window - measured.from).max(Nanos(1)).seconds();
    connections(report, facts.asked, opening);
    reopened(report, opening, &measured.outcome.reopened);
    opened::add(&mut report.connections.failed, &measured.outcome.failures);
    report.connections.held_min = measured.outcome.held_min.min(opening.opened);
    report.connections.silent = measured.outcome.silent;
    report.connections.replaced = measured.outcome.replaced;
    report.messages = messages(measured, facts.closed, seconds);
    latencies(&mut report.latency_ns, measured, facts.closed);
    let counts = &measured.total.counts;
    let stamped = counts.reads > 0 && counts.reads_stamped * 100 >= counts.reads * 99;
    report.config.stamps = if stamped { "kernel" } else { "read" }.into();
    report.checks = Checks {
        littles_law: verdict::littles_law(measured),
        loop_busy_pct: measured.busy_pct,
        floor_p50_ns: facts.floor_p50_ns,
        ceiling_used_pct: facts.ceiling.map(|ceiling| 100.0 * report.messages.achieved_rate / ceiling),
    };
    report.server = measured.server.zip(server_pid).map(|(usage, pid)| Server {
        pid,
        cpu_pct: usage.cpu_pct(),
        cpu_user_pct: 100.0 * usage.cpu.user as f64 / usage.wall_ns.max(1) as f64,
        cpu_sys_pct: 100.0 * usage.cpu.system as f64 / usage.wall_ns.max(1) as f64,
        rss_bytes: usage.rss,
        fds: usage.descriptors,
        bytes_per_connection: None,
        kernel_bytes_per_connection: None,
    });
    report.client = Client {
        cpu_pct: measured.own.cpu_pct(),
        rss_bytes: measured.own.rss,
        ctx_involuntary: measured.own.involuntary,
    };
    report.signatures = pattern::find(measured, opening, facts);
    report.slowest = measured.total.slowest.list();
    report.intervals = measured.intervals.clone();
    let measured_ns = report.measured_ns();
    if let Some(slow) = &mut report.slow_readers {
        slow.achieve(measured_ns);
    }
    if report.latency_ns.response_low.is_some() {
        // What holds for the whole holds for its parts.
        for row in &mut report.intervals {
            (row.response, row.undisturbed, row.wire) = (None, None, None);
        }
    }
    verdict::judge(report, measured, opening, facts);
    if let Some(pid) = server_pid.filter(|_| measured.server.is_none() && measured.from < measured.to) {
        let text = format!("process {pid} was gone before the end: its figures are absent");
        report.verdict.note("server_gone", text);
    }
    opening_cost(report);
    report.bound();
}

/// Whoever opens connections as fast as it can waits for its own handshakes.
fn opening_cost(report: &mut Report) {
    let cpu = report.tls.as_ref().and_then(|tls| tls.opening_cpu_pct);
    if let Some(pct) = cpu.map(|pct| pct / report.config.threads.max(1) as f64).filter(|pct| *pct > 70.0) {
        let text = format!(
            "loadgen was busy {pct:.0}% while connections opened: their rows contain waiting for loadgen"
        );
        report.verdict.note("tls_cpu", text);
    }
}

fn messages(measured: &Measured, closed: bool, seconds: f64) -> Messages {
    let counts = &measured.total.counts;
    // Whose every reply was another than what was sent has answered, but not as an echo does.
    let changed = if counts.received == 0 { counts.alike } else { 0 };
    Messages {
        target_rate: (!closed).then(|| measured.scheduled / measured.window().seconds()),
        achieved_rate: counts.sent_inside as f64 / seconds,
        answered_rate: counts.answered_inside as f64 / seconds,
        queue_growth: None,
        sent: counts.sent,
        received: counts.received,
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        corrupt: counts.corrupt + changed,
        unanswered: counts.unanswered,
        late: counts.late,
        unsolicited: counts.unsolicited - changed,
        ignored: counts.ignored,
        heartbeats_answered: counts.answered,
        ambiguous: counts.ambiguous,
        stuck: measured.outcome.stuck,
        not_sent: counts.not_sent,
        timeouts: counts.timeouts,
        capped_inflight: counts.capped,
        bytes_sent: counts.bytes_sent,
        bytes_received: counts.bytes_received,
        pings_sent: counts.pings_sent,
        pings_answered: counts.pings_answered,
        pongs_received: counts.pongs_received,
        closes_received: counts.closes_received,
    }
}

/// All but the times of opening. Replies that nothing tells apart: where it makes a difference which of them answers
/// which message, the response is an interval.
fn latencies(times: &mut Latencies, measured: &Measured, closed: bool) {
    let total = &measured.total;
    *times = Latencies {
        own_slip: if closed { None } else { total.own_slip.stat() },
        backpressure: total.backpressure.stat(),
        read_lag: total.read_lag.stat(),
        gap: total.gap.as_ref().and_then(|gap| gap.stat()),
        slow_readers: total.slow.as_ref().and_then(|slow| slow.stat()),
        ping: total.ping.stat(),
        hiccup: measured.hiccup.stat(),
        ..std::mem::take(times)
    };
    let differs = |bounds: &&BoundedTimes| {
        let differs = |q| bounds.high.at(q) > bounds.low.at(q) + bounds.low.at(q) / 50;
        [0.5, 0.9, 0.99].into_iter().any(differs)
    };
    match total.bounds.as_deref().filter(differs) {
        Some(bounds) => (times.response_low, times.response_high) = (bounds.low.stat(), bounds.high.stat()),
        None => {
            times.response = total.response.stat();
            times.first_reply = total.first.as_ref().and_then(|first| first.stat());
            times.wire = total.wire.stat();
            times.undisturbed = total.undisturbed.stat();
        }
    }
}

/// Fills in how the opening of `asked` connections went.
fn connections(report: &mut Report, asked: u64, opening: &Opening) {
    let connections = &mut report.connections;
    connections.asked = asked;
    connections.opened = opening.opened;
    connections.held_min = opening.opened;
    connections.failed = opening.failures.clone();
    connections.answers = opening.answers.clone();
    connections.open_ns = opening.began.map_or(0, |began| (opening.ended - began).0);
    report.latency_ns.connect = opening.connect.stat();
    report.latency_ns.tls = opening.tls.stat();
    report.latency_ns.upgrade = opening.upgrade.stat();
    report.latency_ns.hello = opening.hello.stat();
    if let Some(tls) = &mut report.tls {
        tls.opening_cpu_pct = Some(opening.cpu_pct).filter(|pct| *pct > 0.0);
        tls.sessions = opening.agreed.iter().map(|(agreed, n)| sessions(agreed, *n)).collect();
    }
}

/// Adds to the times of opening those of the connections that were opened anew.
fn reopened(report: &mut Report, opening: &Opening, again: &Opening) {
    let mut all = Opening::default();
    all.add(opening);
    all.add(again);
    report.connections.reopened = again.opened;
    let times = &mut report.latency_ns;
    (times.connect, times.tls) = (all.connect.stat(), all.tls.stat());
    (times.upgrade, times.hello) = (all.upgrade.stat(), all.hello.stat());
}

/// `n` connections that agreed on this.
fn sessions(agreed: &Agreed, n: u64) -> TlsSessions {
    let Agreed { version, suite, key_exchange, resumed } = agreed.clone();
    TlsSessions { version, suite, key_exchange, resumed, connections: n }
}

/// This host, and what happened to it in the time `counted`.
pub fn host(counted: &Counters) -> Host {
    let first_line = |path: &str| fs::read_to_string(path).map(|t| t.trim().to_owned()).ok();
    Host {
        name: first_line("/proc/sys/kernel/hostname"),
        kernel: first_line("/proc/sys/kernel/osrelease").unwrap_or_default(),
        cpus: procfs::cpus() as u64,
        clocksource: first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .unwrap_or_default(),
        clock_error_ns: clock_error().map(|most| most.0),
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        nofile: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        port_range: port_range().1,
        steal_pct: 100.0 * counted.steal as f64 / counted.total.max(1) as f64,
        throttled: counted.throttled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::TlsInfo;

    #[test]
    fn a_report_says_when_handshakes_kept_loadgen_busy() {
        for (cpu, threads, says) in [
            (None, 1, ""),
            (Some(60.0), 1, ""),
            (Some(95.0), 1, "busy 95%"),
            (Some(95.0), 2, ""),
            (Some(190.0), 2, "busy 95%"),
        ] {
            let mut report = Report::default();
            report.config.threads = threads;
            report.tls = Some(TlsInfo { opening_cpu_pct: cpu, ..TlsInfo::default() });
            opening_cost(&mut report);
            let notes: String = report.verdict.notes.iter().map(|note| &*note.text).collect();
            assert!(
                notes.contains(says) && notes.is_empty() == says.is_empty(),
                "{cpu:?} of {threads}: {notes}"
            );
        }
    }
}
