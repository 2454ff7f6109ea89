//! A report out of what was measured.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::engine::measured::Measured;
use crate::engine::opened::{self, Opening};
use crate::host::clock::{self, SECOND};
use crate::host::procfs::{self, Counters};
use crate::host::source_addresses::port_range;
use crate::report::model::{Checks, Client, Host, Latencies, Messages, Report, Server};
use crate::verdict::{self, Facts, pattern};

/// Fills in what `measured` found, and judges it.
pub fn fill(
    report: &mut Report,
    opening: &Opening,
    measured: &Measured,
    facts: &Facts,
    server_pid: Option<u32>,
) {
    let total = &measured.total;
    let counts = &total.counts;
    let window = if measured.interrupted { clock::now().min(measured.to) } else { measured.to };
    let seconds = window.saturating_sub(measured.from).max(1) as f64 / SECOND as f64;
    let achieved_rate = counts.sent as f64 / seconds;

    connections(report, facts.asked, opening);
    opened::add(&mut report.connections.failed, &measured.failures);
    report.connections.held_min = measured.held_min.min(opening.opened);
    report.messages = Messages {
        target_rate: (!facts.closed).then(|| measured.scheduled * 1e9 / (measured.to - measured.from) as f64),
        achieved_rate,
        sent: counts.sent,
        received: counts.received,
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        corrupt: counts.corrupt,
        unanswered: counts.unanswered,
        not_sent: counts.not_sent,
        timeouts: counts.timeouts,
        capped_inflight: counts.capped,
        bytes_sent: counts.bytes_sent,
        bytes_received: counts.bytes_received,
        pings_sent: counts.pings_sent,
        pings_answered: counts.pings_answered,
        pongs_received: counts.pongs_received,
        closes_received: counts.closes_received,
        ..Messages::default()
    };
    report.latency_ns = Latencies {
        response: total.response.stat(),
        wire: total.wire.stat(),
        own_slip: if facts.closed { None } else { total.own_slip.stat() },
        backpressure: total.backpressure.stat(),
        read_lag: total.read_lag.stat(),
        ping: total.ping.stat(),
        hiccup: measured.seen.hiccup.stat(),
        ..std::mem::take(&mut report.latency_ns)
    };
    report.checks = Checks {
        littles_law: verdict::littles_law(measured).map(|(law, _)| law),
        loop_busy_pct: measured.busy_pct,
        ceiling_used_pct: facts.ceiling.map(|ceiling| 100.0 * achieved_rate / ceiling),
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
    report.signatures = pattern::find(measured, opening);
    report.slowest = total.slowest.list();
    report.intervals = measured.intervals.clone();
    report.verdict = verdict::judge(measured, opening, facts);
    // Of a fan-out, the collector knows what came.
    if !facts.fanout {
        verdict::replies(&mut report.verdict, &report.messages);
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
    connections.open_ns = opening.began.map_or(0, |began| opening.ended.saturating_sub(began));
    report.latency_ns.connect = opening.connect.stat();
    report.latency_ns.upgrade = opening.upgrade.stat();
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
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        nofile: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        port_range: port_range().1,
        steal_pct: 100.0 * counted.steal as f64 / counted.total.max(1) as f64,
        throttled: counted.throttled,
    }
}
