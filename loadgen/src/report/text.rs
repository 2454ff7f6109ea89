//! The report for a terminal: the verdict first, then what was held and sent, then the latencies.

use std::fmt::Write;

use super::advice::advice;
use super::format::{bytes, count, ns, short, time};
use super::model::{
    Conns, Fanout, Find, Listen, Mode, PERCENTILES, Report, SlowClients, Stat, Status, Storm, ThresholdResult,
};
use super::stats::Slope;
use super::threshold::Condition;

/// Fewer messages than these have no rate.
const FEW_MESSAGES: u64 = 10;

/// `report` in lines of about 110 columns. `color` is for a terminal that wants it.
pub fn render(report: &Report, color: bool) -> String {
    let mut out = String::new();
    title(&mut out, report);
    verdict(&mut out, report, color);
    out.push('\n');
    counts(&mut out, report);
    if report.latency_ns.each().next().is_some() {
        out.push('\n');
        latencies(&mut out, report);
    }
    if let Some(conns) = &report.conns {
        out.push('\n');
        conns_steps(&mut out, conns);
    }
    if let Some(find) = &report.find {
        out.push('\n');
        find_steps(&mut out, find);
    }
    if let Some(fanout) = &report.fanout {
        out.push('\n');
        fanout_lines(&mut out, fanout);
    }
    if let Some(slow) = &report.slow_readers {
        slow_line(&mut out, slow);
    }
    if let Some(listen) = &report.listen {
        out.push('\n');
        listen_line(&mut out, listen);
    }
    if let Some(storm) = &report.storm {
        out.push('\n');
        storm_lines(&mut out, storm);
    }
    out.push('\n');
    server(&mut out, report);
    for signature in &report.signatures {
        let text = signature.text.as_deref().unwrap_or(&signature.kind);
        let _ = writeln!(out, "signature    {text} ({:.1}% of samples)", signature.share * 100.0);
    }
    thresholds(&mut out, &report.thresholds, color);
    let of_parts = report.parts.iter().filter_map(|part| part.command.as_ref());
    for (i, command) in report.run.command.iter().chain(of_parts).enumerate() {
        let _ = writeln!(out, "{:13}{command}", if i == 0 { "to repeat" } else { "" });
    }
    if let Some(advice) = advice(report) {
        let _ = writeln!(out, "to do        {advice}");
    }
    out
}

fn title(out: &mut String, report: &Report) {
    let urls = report.target.urls.join(" ");
    // A URL that names its address says all.
    let unnamed = report.target.addresses.iter().filter(|address| !urls.contains(address.as_str()));
    let addresses = unnamed.map(|address| format!(" at {address}")).collect::<String>();
    let _ = write!(
        out,
        "loadgen {}   {urls}{addresses}   {} {}",
        report.tool.version, report.config.mode, report.run.id
    );
    let _ = write!(out, "  seed {}", report.run.seed);
    if let Some(name) = &report.run.name {
        let _ = write!(out, "  {name}");
    }
    if !report.parts.is_empty() {
        let _ = write!(out, "  merged from {}", report.parts.len());
    }
    out.push('\n');
}

fn verdict(out: &mut String, report: &Report, color: bool) {
    let status = status_word(report.verdict.status);
    let status = if color { painted(report.verdict.status, status) } else { status.into() };
    let _ = write!(out, "VERDICT  {status}{}", trusted(report));
    rates(out, report);
    if let Some(slip) = &report.latency_ns.own_slip {
        // The percentile that was judged: the highest of these that the samples carry.
        let high = ["99", "90", "50"].into_iter().find_map(|key| Some((key, slip.p.get(key)?)));
        let _ = match high {
            Some((key, value)) => write!(out, "  own slip p{key} {}", ns(*value)),
            None => write!(out, "  own slip max {}", ns(slip.max)),
        };
    }
    if report.messages.sent > 0 {
        let _ = write!(out, "  loop busy {:.0}%", report.checks.loop_busy_pct);
    }
    if let Some(little) = &report.checks.littles_law {
        let _ = write!(out, "  Little {:.2} vs {:.2}", little.inflight, little.lambda_w);
    }
    if let Some(used) = report.checks.ceiling_used_pct {
        let _ = write!(out, "  {used:.0}% of this host's ceiling");
    }
    out.push('\n');
    for finding in &report.verdict.findings {
        let _ = writeln!(out, "FINDING  {}", finding.text);
    }
    for reason in &report.verdict.reasons {
        let _ = writeln!(out, "REASON   {}", reason.text);
    }
    if report.run.interrupted {
        out.push_str("NOTE     interrupted: the numbers cover what ran, thresholds were not judged\n");
    }
    for note in &report.verdict.notes {
        let _ = writeln!(out, "NOTE     {}", note.text);
    }
}

/// How far the percentiles hold, where they do not all the way.
pub(super) fn trusted(report: &Report) -> String {
    let verdict = &report.verdict;
    let doubt = verdict.trust.iter().find(|t| !t.trusted);
    match (&verdict.valid_to, doubt) {
        (Some(to), Some(doubt)) if verdict.status != Status::Invalid => {
            let last = verdict.trust.last().unwrap_or(doubt);
            let over = if last.p == doubt.p { String::new() } else { format!(" to p{}", last.p) };
            format!(
                " to p{to}; p{}{over} may be ours by up to {}",
                doubt.p,
                ns(last.ours_ns.max(doubt.ours_ns))
            )
        }
        _ => String::new(),
    }
}

/// What was asked of the server, and what it did.
fn rates(out: &mut String, report: &Report) {
    let m = &report.messages;
    let whole = |rate: f64| count(rate.round() as u64);
    if report.config.mode == Mode::Listen {
        let _ = write!(out, "    {}/s came", whole(m.answered_rate));
        return;
    }
    if m.sent < FEW_MESSAGES {
        // So few have no rate, and an interrupted run may have had no time to reach any.
        if m.sent > 0 {
            let _ = write!(out, "    {} of {} messages answered", count(m.received), count(m.sent));
        }
        return;
    }
    match m.target_rate {
        Some(target) if target > 0.0 => {
            let _ = write!(out, "    target {}/s", whole(target));
            if (m.achieved_rate - target).abs() > target / 200.0 {
                let _ = write!(out, "  sent {}/s", whole(m.achieved_rate));
            }
            if report.config.mode == Mode::Fanout {
                // No reply is owed: who got what stands below.
                return;
            }
            let share = m.answered_rate / target * 100.0;
            let _ = write!(out, "  answered {}/s ({share:.1}%)", whole(m.answered_rate));
        }
        _ => {
            let _ = write!(out, "    answered {}/s", whole(m.answered_rate));
        }
    }
}

/// The verdict in capitals, as every output shows it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Valid => "VALID",
        Status::Suspect => "SUSPECT",
        Status::Faulty => "FAULTY",
        Status::Invalid => "INVALID",
    }
}

fn painted(status: Status, word: &str) -> String {
    let sgr = match status {
        Status::Valid => 32,
        Status::Suspect | Status::Faulty => 33,
        Status::Invalid => 31,
    };
    format!("\x1b[1;{sgr}m{word}\x1b[0m")
}

fn counts(out: &mut String, report: &Report) {
    let c = &report.connections;
    let _ = write!(out, "connections  held {} of {}", count(c.held_min), count(c.asked));
    if c.opened != c.held_min {
        let _ = write!(out, " (opened {})", count(c.opened));
    }
    if c.open_ns > 0 {
        let per_second = c.opened as f64 / (c.open_ns as f64 / 1e9);
        let _ = write!(out, "   opened in {} at {}/s", ns(c.open_ns), short(per_second));
    }
    if c.sources > report.parts.len().max(1) as u64 {
        let _ = write!(out, "   {} source addresses", c.sources);
    }
    for (what, n) in [
        ("opened anew", c.reopened),
        ("SYN retransmits", c.syn_retransmits),
        ("listen overflows", c.listen_overflows),
    ] {
        if n > 0 {
            let _ = write!(out, "   {what} {}", count(n));
        }
    }
    out.push('\n');
    for (why, n) in &c.failed {
        let _ = writeln!(out, "             failed {}: {why}", count(*n));
        if let Some(answer) = c.answers.get(why) {
            let _ = writeln!(out, "             it said: {answer}");
        }
    }

    for line in report.tls.iter().flat_map(|tls| tls.lines()) {
        let _ = writeln!(out, "tls          {line}");
    }
    if report.messages.sent + report.messages.received > 0 {
        messages(out, report);
    }
}

fn messages(out: &mut String, report: &Report) {
    let m = &report.messages;
    let _ = write!(out, "messages     sent {}   received {}", count(m.sent), count(m.received));
    let _ = write!(out, "   lost {}  dup {}", count(m.lost), count(m.duplicated));
    let _ = write!(out, "  reordered {}  corrupt {}", count(m.reordered), count(m.corrupt));
    let _ = writeln!(out, "  unanswered {}", count(m.unanswered));
    for (what, n) in [
        ("answer nothing: the server's own", m.unsolicited),
        ("to be ignored", m.ignored),
        ("heartbeats, answered", m.heartbeats_answered),
        ("came after they had been given up", m.late),
        ("later than --timeout", m.timeouts),
        ("never sent: their connections were gone, or waited for replies", m.not_sent),
        ("never sent: --max-inflight reached", m.capped_inflight),
    ] {
        if n > 0 {
            let _ = writeln!(out, "             {}  {what}", count(n));
        }
    }
    let seconds = report.measured_ns() as f64 / 1e9;
    let size = report.config.size.spec.clone().unwrap_or(format!("{} B", report.config.size.bytes));
    let _ = write!(out, "bytes        {size} {}", report.config.opcode);
    if report.config.deflate {
        out.push_str(" compressed");
    }
    if let draft @ (7 | 8 | 75 | 76) = report.config.draft {
        let _ = write!(out, " in draft {draft}");
    }
    if seconds > 0.0 {
        let _ = write!(out, "   out {}/s", bytes(m.bytes_sent as f64 / seconds));
        let _ = write!(out, "   in {}/s", bytes(m.bytes_received as f64 / seconds));
    }
    for (what, n) in [
        ("pings sent", m.pings_sent),
        ("pongs", m.pongs_received),
        ("pings answered", m.pings_answered),
        ("closes", m.closes_received),
    ] {
        if n > 0 {
            let _ = write!(out, "   {what} {}", count(n));
        }
    }
    out.push('\n');
}

/// What the table of latencies calls one, and what it spans; `None` for one that has no row there.
pub(super) fn called(report: &Report, name: &'static str) -> Option<(&'static str, &'static str)> {
    let closed = report.config.mode == Mode::Closed;
    let kernel = report.config.stamps == "kernel";
    Some(match name {
        // In a closed loop wire is the round trip; the other is what the verdict went by.
        "wire" if closed => return None,
        "undisturbed" => return None,
        "response" if closed => ("round trip", "closed"),
        "response" if report.config.mode == Mode::Listen => ("one way", "stamp→here"),
        "gap" => ("gap", "message→message"),
        "slow_readers" => ("slow readers", ""),
        "response" if report.config.mode == Mode::Fanout => ("delivery", "sched→received"),
        "response" if kernel => ("response", "sched→kernel"),
        "response" => ("response", "sched→read"),
        "wire" if kernel => ("wire", "written→kernel"),
        "wire" => ("wire", "written→read"),
        "response_low" => ("response at least", ""),
        "response_high" => ("response at most", ""),
        "own_slip" => ("own slip", "sched→write"),
        "read_lag" if kernel => ("read lag", "kernel→read"),
        "read_lag" => ("read lag", "wake→read"),
        "tls" => ("tls", "connected→done"),
        "upgrade" => ("upgrade", "GET→101"),
        "hello" => ("hello", "101→last word"),
        "first_reply" => ("first reply", ""),
        "ping" => ("ping → pong", ""),
        "hiccup" => ("host hiccup", ""),
        other => (other, ""),
    })
}

const LABEL: usize = 23;
const COLUMN: usize = 10;

fn latencies(out: &mut String, report: &Report) {
    let _ = write!(out, "{:LABEL$}", "");
    for head in
        PERCENTILES.map(|(key, _)| format!("p{key}")).iter().map(String::as_str).chain(["max", "mean"])
    {
        let _ = write!(out, "{head:>COLUMN$}");
    }
    let _ = writeln!(out, "{:>13}", "n");
    for (name, stat) in report.latency_ns.each() {
        let Some((called, about)) = called(report, name) else { continue };
        let label = if about.is_empty() { called.to_owned() } else { format!("{called} ({about})") };
        if name == "backpressure" && stat.max == 0 {
            let _ = writeln!(out, "{label:LABEL$}{:>COLUMN$}", "none");
            continue;
        }
        stat_row(out, &label, stat);
        if name == "response" {
            intervals(out, stat);
            if let (Some(p50), Some(floor)) =
                (stat.p.get("50"), report.checks.floor_p50_ns.filter(|ns| *ns > 0))
            {
                let times = *p50 as f64 / floor as f64;
                let _ = writeln!(
                    out,
                    "  p50 is {times:.1} × this host's own echo ({}, loadgen calibrate)",
                    ns(floor)
                );
            }
        }
        if stat.saturated > 0 {
            let _ = writeln!(out, "  {} beyond the histogram's range", count(stat.saturated));
        }
    }
}

fn stat_row(out: &mut String, label: &str, stat: &Stat) {
    let _ = write!(out, "{label:LABEL$}");
    for (key, _) in PERCENTILES {
        let _ = write!(out, "{:>COLUMN$}", at(stat, key));
    }
    let (max, mean) =
        if stat.count == 0 { ("-".into(), "-".into()) } else { (ns(stat.max), time(stat.mean)) };
    let _ = writeln!(out, "{max:>COLUMN$}{mean:>COLUMN$}{:>13}", count(stat.count));
}

/// The larger side of each percentile's interval, as `±`.
fn intervals(out: &mut String, stat: &Stat) {
    if stat.ci95.is_empty() {
        return;
    }
    let _ = write!(out, "{:LABEL$}", "  ± 95% CI");
    for (key, _) in PERCENTILES {
        let half = match (stat.p.get(key), stat.ci95.get(key)) {
            (Some(value), Some([low, high])) => {
                format!("±{}", ns(value.saturating_sub(*low).max(high.saturating_sub(*value))))
            }
            _ => "-".into(),
        };
        let _ = write!(out, "{half:>COLUMN$}");
    }
    out.push('\n');
}

/// The percentile `key` of `stat`, or `-` when the samples do not carry it.
fn at(stat: &Stat, key: &str) -> String {
    stat.p.get(key).map_or("-".into(), |value| ns(*value))
}

fn maybe_at(stat: &Option<Stat>, key: &str) -> String {
    stat.as_ref().map_or("-".into(), |stat| at(stat, key))
}

fn slope(s: &Slope) -> String {
    format!("{} (95% CI {} to {})", bytes(s.slope), bytes(s.ci95[0]), bytes(s.ci95[1]))
}

fn server(out: &mut String, report: &Report) {
    if let Some(s) = &report.server {
        let _ = write!(out, "server       pid {}  cpu {:.0}%", s.pid, s.cpu_pct);
        if s.cpu_user_pct + s.cpu_sys_pct > 0.0 {
            let _ = write!(out, " (usr {:.0} sys {:.0})", s.cpu_user_pct, s.cpu_sys_pct);
        }
        let _ = write!(out, "  rss {}  fds {}", bytes(s.rss_bytes as f64), count(s.fds));
        if let Some(per) = &s.bytes_per_connection {
            let _ = write!(out, "  {}/connection (slope)", bytes(per.slope));
        }
        if let Some(kernel) = s.kernel_bytes_per_connection {
            let _ = write!(out, " + {} kernel", bytes(kernel));
        }
        out.push('\n');
    }
    let c = &report.client;
    let _ = write!(out, "loadgen      cpu {:.0}%  rss {}", c.cpu_pct, bytes(c.rss_bytes as f64));
    let _ =
        write!(out, "  threads {}  involuntary switches {}", report.config.threads, count(c.ctx_involuntary));
    let h = &report.host;
    let _ = write!(out, "\nhost         ");
    if let Some(name) = &h.name {
        let _ = write!(out, "{name}  ");
    }
    let _ = write!(out, "Linux {}  {} CPUs  clock {}", h.kernel, h.cpus, h.clocksource);
    if let Some(error) = h.clock_error_ns {
        let _ = write!(out, " within {}", ns(error));
    }
    if let Some(governor) = &h.governor {
        let _ = write!(out, "  governor {governor}");
    }
    let _ = writeln!(out, "  steal {:.1}%  throttled {}", h.steal_pct, count(h.throttled));
}

fn thresholds(out: &mut String, results: &[ThresholdResult], color: bool) {
    for result in results {
        let word = if result.ok { "ok" } else { "FAIL" };
        let word = match (color, result.ok) {
            (true, true) => format!("\x1b[32m{word}\x1b[0m"),
            (true, false) => format!("\x1b[1;31m{word}\x1b[0m"),
            _ => word.into(),
        };
        let _ = write!(out, "fail if      {}   {word}", result.expr);
        match (result.value, &result.note) {
            (Some(value), _) => {
                let shown = result.expr.parse::<Condition>().map_or(value.to_string(), |c| c.show(value));
                let _ = write!(out, " ({shown})");
            }
            (None, Some(note)) => {
                let _ = write!(out, " (not judged: {note})");
            }
            (None, None) => {}
        }
        out.push('\n');
    }
}

fn conns_steps(out: &mut String, conns: &Conns) {
    let heads =
        ["held", "open/s", "connect p99", "upgrade p99", "SYN-rtx", "server RSS", "kernel TCP", "echo p99"];
    row(out, &heads);
    for step in &conns.steps {
        let memory = |n: Option<u64>| n.map_or("-".into(), |n| bytes(n as f64));
        row(
            out,
            &[
                &count(step.held),
                &short(step.opened_per_s),
                &maybe_at(&step.connect, "99"),
                &maybe_at(&step.upgrade, "99"),
                &count(step.syn_retransmits),
                &memory(step.server_rss_bytes),
                &memory(step.kernel_bytes),
                &maybe_at(&step.echo, "99"),
            ],
        );
    }
    for (what, fit) in [("server memory", &conns.slope), ("kernel memory", &conns.kernel_slope)] {
        if let Some(fit) = fit {
            let _ = writeln!(out, "{what} per connection {}", slope(fit));
        }
    }
    if let (Some(rss), Some(residue)) = (conns.closed_rss_bytes, conns.residue_bytes) {
        let side = if residue < 0 { "under" } else { "over" };
        let residue = bytes(residue.unsigned_abs() as f64);
        let rss = bytes(rss as f64);
        let _ = writeln!(out, "after close  RSS {rss}, {residue} {side} what it was at first");
    }
}

fn find_steps(out: &mut String, find: &Find) {
    let unit = if find.axis == "rate" { "/s" } else { " connections" };
    row(out, &[&find.axis, "achieved", "p50", "p99", "p99.9", "verdict", &find.objective]);
    for step in &find.steps {
        row(
            out,
            &[
                &short(step.load),
                &format!("{}/s", short(step.achieved_rate)),
                &maybe_at(&step.response, "50"),
                &maybe_at(&step.response, "99"),
                &maybe_at(&step.response, "99.9"),
                status_word(step.verdict.status),
                step.answer().word(),
            ],
        );
    }
    let _ = match (find.best, find.next_failed) {
        (Some(best), Some(failed)) => {
            writeln!(out, "best         {}{unit}   {}{unit} did not meet it", short(best), short(failed))
        }
        (Some(best), None) => writeln!(out, "best         {}{unit}   nothing tried did worse", short(best)),
        (None, _) => writeln!(out, "best         none of the loads tried met {}", find.objective),
    };
    let _ = writeln!(out, "stopped      {}", find.stopped);
}

fn row(out: &mut String, cells: &[&str]) {
    for cell in cells {
        let _ = write!(out, "{cell:>13}");
    }
    out.push('\n');
}

fn fanout_lines(out: &mut String, f: &Fanout) {
    let reach = if f.expected == 0 { 0.0 } else { f.received as f64 / f.expected as f64 * 100.0 };
    let _ = writeln!(
        out,
        "fan-out      {} published by {} to {} receivers   reach {reach:.3}% ({} of {})   dup {}  reordered {}",
        count(f.published),
        count(f.publishers),
        count(f.receivers),
        count(f.received),
        count(f.expected),
        count(f.duplicated),
        count(f.reordered)
    );
    let stats = [
        ("first receiver", &f.first),
        ("median receiver", &f.median),
        ("last receiver", &f.last),
        ("spread (last−first)", &f.spread),
    ];
    for (label, stat) in stats {
        if let Some(stat) = stat {
            stat_row(out, label, stat);
        }
    }
}

fn slow_line(out: &mut String, s: &SlowClients) {
    let _ = writeln!(
        out,
        "slow readers {} at {}/s, read {}/s   received {}  unanswered {}   read {}: in no other row",
        count(s.connections),
        bytes(s.rate as f64),
        bytes(s.achieved_rate),
        count(s.received),
        count(s.unanswered),
        bytes(s.bytes_read as f64)
    );
}

fn listen_line(out: &mut String, l: &Listen) {
    let _ = write!(out, "listened     {} messages", count(l.received));
    if l.stamp.is_some() {
        let _ =
            write!(out, "   {} without a stamp   {} ahead of this clock", count(l.unstamped), count(l.ahead));
        let _ = write!(out, "   stamps tell {}", ns(l.resolution_ns));
    }
    out.push('\n');
}

fn storm_lines(out: &mut String, s: &Storm) {
    let _ = write!(out, "storm        dropped {} ({}) at {}", count(s.dropped), s.fault, ns(s.dropped_at_ns));
    let _ = write!(out, "   back {}", count(s.back));
    for share in ["50", "90", "99", "100"] {
        let back = s.back_ns.get(share).map_or("never".into(), |t| ns(*t));
        let _ = write!(out, "   {share}% {back}");
    }
    let _ = writeln!(
        out,
        "\n             policy {}   attempts {}   handshake p99 {}   SYN retransmits {}   listen overflows {}",
        s.policy,
        count(s.attempts),
        maybe_at(&s.handshake, "99"),
        count(s.syn_retransmits),
        count(s.listen_overflows)
    );
    if let Some(detected) = s.detected_ns {
        let last = s.lost_ns.map_or("-".into(), ns);
        let first = s.first_back_ns.map_or("never".into(), ns);
        let _ = writeln!(
            out,
            "outage       noticed {} after the last sign of life, by the last {last} later, by silence {}   first back after \
             {first}",
            ns(detected),
            count(s.silent)
        );
    }
    if s.survivors > 0 {
        let _ = write!(out, "survivors    {}   echo p99", count(s.survivors));
        for phase in &s.phases {
            let _ = write!(out, "   {} {}", phase.name, maybe_at(&phase.echo, "99"));
        }
        out.push('\n');
    }
}
