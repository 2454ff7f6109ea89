//! Many reports of one run, from many processes or machines, as one.

use std::collections::{BTreeMap, BTreeSet};

use super::format;
use super::model::{
    Connections, ConnsStep, Finding, Interval, Latencies, Messages, Part, Report, Server, Signature, Stat,
    Status, TlsInfo, TlsSessions, Verdict,
};
use super::stats::Slope;

/// Adds reports up: counts and rates are summed, histograms are added bucket by bucket, so that percentiles are those
/// of all the messages and never averages of percentiles.
///
/// The verdict is the worst of the parts', with every reason, and INVALID where shards are missing: the load was not
/// the one asked for.
///
/// # Errors
/// When there is nothing to merge, a report comes twice, the parts did different things, a histogram is missing, or
/// the mode has results that do not add up (`find`, `fanout`, `storm`).
pub fn reports(parts: &[Report]) -> Result<Report, String> {
    let (first, rest) = parts.split_first().ok_or("there is no report to merge")?;
    let mut ids = BTreeSet::new();
    for part in parts {
        // What is in a sum is in it, whichever file it came from.
        for Part { id, .. } in as_parts(part) {
            if !ids.insert(id.clone()) {
                return Err(format!("report {id} is given twice"));
            }
        }
        if part.find.is_some() || part.fanout.is_some() || part.storm.is_some() {
            return Err(format!("report {}: a {} cannot be merged", part.run.id, part.config.mode));
        }
        if let Some(what) = difference(first, part) {
            return Err(format!("reports {} and {} differ in {what}", first.run.id, part.run.id));
        }
    }

    let mut whole = first.clone();
    whole.verdict = verdict(parts);
    whole.parts = parts.iter().flat_map(as_parts).collect();
    whole.thresholds.clear();
    whole.run.shard = None;
    if !rest.is_empty() {
        whole.run.id = format!("{}+{}", first.run.id, whole.parts.len() - 1);
        // No one command makes the whole.
        whole.run.command = None;
        whole.host.name =
            first.host.name.clone().filter(|n| rest.iter().all(|r| r.host.name.as_ref() == Some(n)));
    }
    for part in rest {
        add(&mut whole, part).map_err(|e| format!("report {}: {e}", part.run.id))?;
    }
    whole.assess();
    whole.bound();
    whole.slowest.sort_by_key(|slow| std::cmp::Reverse(slow.response_ns));
    whole.slowest.truncate(first.slowest.len().max(100));
    if let Some(conns) = &mut whole.conns {
        let points = |y: fn(&ConnsStep) -> Option<u64>| -> Vec<(f64, f64)> {
            conns.steps.iter().filter_map(|s| Some((s.held as f64, y(s)? as f64))).collect()
        };
        let (user, kernel) = (points(|s| s.server_rss_bytes), points(|s| s.kernel_bytes));
        conns.slope = Slope::fit(&user);
        conns.kernel_slope = Slope::fit(&kernel);
    }
    Ok(whole)
}

fn difference(a: &Report, b: &Report) -> Option<&'static str> {
    let (x, y) = (&a.config, &b.config);
    let steps = |r: &Report| r.conns.as_ref().map(|c| c.steps.len());
    let slow = |r: &Report| r.slow_readers.as_ref().map(|slow| slow.rate);
    [
        ("mode", x.mode != y.mode),
        ("duration", x.duration_ns != y.duration_ns || x.warmup_ns != y.warmup_ns),
        ("message size", x.size != y.size || x.opcode != y.opcode || x.fragment != y.fragment),
        ("draft", x.draft != y.draft),
        ("compression", x.deflate != y.deflate),
        ("arrival", x.arrival != y.arrival),
        ("pipeline", x.pipeline != y.pipeline),
        ("think", x.think != y.think),
        ("slow readers", slow(a) != slow(b)),
        ("stamps", x.stamps != y.stamps),
        ("matching", x.matching != y.matching),
        ("conversation", x.conversation != y.conversation),
        ("steps", steps(a) != steps(b)),
    ]
    .into_iter()
    .find_map(|(what, differs)| differs.then_some(what))
}

fn as_parts(report: &Report) -> Vec<Part> {
    if !report.parts.is_empty() {
        return report.parts.clone();
    }
    vec![Part {
        id: report.run.id.clone(),
        host: report.host.name.clone(),
        shard: report.run.shard,
        status: report.verdict.status,
        started_unix_ns: report.run.measured_from_unix_ns,
        clock_error_ns: report.host.clock_error_ns,
        command: report.run.command.clone(),
    }]
}

fn verdict(reports: &[Report]) -> Verdict {
    let mut verdict = Verdict::default();
    for report in reports {
        verdict.status = verdict.status.max(report.verdict.status);
        let named = |finding: &Finding| match reports.len() {
            1 => finding.clone(),
            _ => Finding::new(&finding.code, format!("{}: {}", report.run.id, finding.text)),
        };
        verdict.reasons.extend(report.verdict.reasons.iter().map(named));
        verdict.findings.extend(report.verdict.findings.iter().map(named));
        for note in &report.verdict.notes {
            // Every part on one host notes the same, in other numbers: once is enough.
            // Whether the whole is too short, or its clocks apart, is seen from the whole.
            if !["short", "clocks"].contains(&&*note.code)
                && !verdict.notes.iter().any(|n| n.code == note.code)
            {
                verdict.notes.push(note.clone());
            }
        }
    }
    let parts: Vec<Part> = reports.iter().flat_map(as_parts).collect();
    if let Some(of) = parts.iter().filter_map(|p| Some(p.shard?[1])).max() {
        let present: BTreeSet<u32> = parts.iter().filter_map(|p| Some(p.shard?[0])).collect();
        if present.len() as u32 != of || parts.len() as u32 != of {
            let text = format!(
                "{} of {of} shards in {} reports: this is not the load that was asked for",
                present.len(),
                parts.len()
            );
            verdict.doubt(Status::Invalid, "shards", text);
        }
    }
    let started = parts.iter().map(|p| p.started_unix_ns).filter(|t| *t > 0);
    if let (Some(earliest), Some(latest)) = (started.clone().min(), started.max()) {
        let apart = latest - earliest;
        let duration = reports[0].config.duration_ns;
        if apart > duration / 20 {
            let text = format!(
                "the parts began {} apart, over 5% of their duration: they did not load the server together",
                format::ns(apart)
            );
            verdict.doubt(Status::Invalid, "started_apart", text);
        }
    }
    if let Some(text) = clocks(&parts) {
        verdict.note("clocks", text);
    }
    verdict
}

/// How far apart the clocks may be by which parts of several hosts began: as far as the two worst of them.
fn clocks(parts: &[Part]) -> Option<String> {
    let mut worst: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for part in parts {
        let error = worst.entry(part.host.as_deref().unwrap_or("?")).or_insert(Some(0));
        *error = (*error).zip(part.clock_error_ns).map(|(a, b)| a.max(b));
    }
    if worst.len() < 2 {
        return None;
    }
    let mut errors: Vec<u64> = worst.values().flatten().copied().collect();
    errors.sort_unstable();
    let unkept: Vec<&str> =
        worst.iter().filter(|(_, error)| error.is_none()).map(|(host, _)| *host).collect();
    Some(match unkept.is_empty() {
        true => format!(
            "the parts began by clocks of {} hosts, which may be {} apart, say their kernels",
            worst.len(),
            format::ns(errors.iter().rev().take(2).sum())
        ),
        false => format!(
            "the parts began by clocks of {} hosts, and nobody keeps that of {}, says its kernel: how far apart they began \
             is not known",
            worst.len(),
            unkept.join(", ")
        ),
    })
}

fn add(whole: &mut Report, part: &Report) -> Result<(), String> {
    whole.run.measured_from_unix_ns = whole.run.measured_from_unix_ns.min(part.run.measured_from_unix_ns);
    whole.run.interrupted |= part.run.interrupted;
    for url in &part.target.urls {
        if !whole.target.urls.contains(url) {
            whole.target.urls.push(url.clone());
        }
    }
    for address in &part.target.addresses {
        if !whole.target.addresses.contains(address) {
            whole.target.addresses.push(address.clone());
        }
    }
    whole.target.local |= part.target.local;

    let (c, p) = (&mut whole.config, &part.config);
    c.connections += p.connections;
    c.active += p.active;
    c.threads += p.threads;
    c.rate = sum(c.rate, p.rate);

    add_connections(&mut whole.connections, &part.connections);
    add_tls(&mut whole.tls, part.tls.as_ref());
    add_messages(&mut whole.messages, &part.messages);
    add_signatures(whole, part);
    add_latencies(&mut whole.latency_ns, &part.latency_ns)?;

    whole.checks.loop_busy_pct = whole.checks.loop_busy_pct.max(part.checks.loop_busy_pct);
    if let (Some(a), Some(b)) = (&mut whole.checks.littles_law, &part.checks.littles_law) {
        a.inflight += b.inflight;
        a.lambda_w += b.lambda_w;
        let larger = a.inflight.max(a.lambda_w);
        a.gap_pct = if larger > 0.0 { (a.inflight - a.lambda_w).abs() / larger * 100.0 } else { 0.0 };
    } else {
        whole.checks.littles_law = None;
    }
    whole.checks.ceiling_used_pct = None;
    whole.checks.floor_p50_ns = None;

    whole.server = one_server(whole.server.take(), part.server.clone());
    whole.client.cpu_pct += part.client.cpu_pct;
    whole.client.rss_bytes += part.client.rss_bytes;
    whole.client.ctx_involuntary += part.client.ctx_involuntary;
    whole.host.clock_error_ns =
        whole.host.clock_error_ns.zip(part.host.clock_error_ns).map(|(a, b)| a.max(b));
    whole.host.steal_pct = whole.host.steal_pct.max(part.host.steal_pct);
    whole.host.throttled = whole.host.throttled.max(part.host.throttled);
    whole.slowest.extend(&part.slowest);
    add_intervals(&mut whole.intervals, &part.intervals)?;
    add_receivers(whole, part);
    if let (Some(a), Some(b)) = (&mut whole.conns, &part.conns) {
        for (step, other) in a.steps.iter_mut().zip(&b.steps) {
            step.asked += other.asked;
            step.held += other.held;
            step.opened_per_s += other.opened_per_s;
            step.syn_retransmits += other.syn_retransmits;
            step.server_rss_bytes = step.server_rss_bytes.max(other.server_rss_bytes);
            step.kernel_bytes = step.kernel_bytes.max(other.kernel_bytes);
            add_stat(&mut step.connect, &other.connect)?;
            add_stat(&mut step.upgrade, &other.upgrade)?;
            add_stat(&mut step.echo, &other.echo)?;
        }
    }
    Ok(())
}

/// What slow readers and listeners got.
fn add_receivers(whole: &mut Report, part: &Report) {
    if let (Some(a), Some(b)) = (&mut whole.slow_readers, &part.slow_readers) {
        a.connections += b.connections;
        a.received += b.received;
        a.unanswered += b.unanswered;
        let (mine, its) = (a.connections - b.connections, b.connections);
        let sum = a.achieved_rate * mine as f64 + b.achieved_rate * its as f64;
        a.achieved_rate = if a.connections > 0 { sum / a.connections as f64 } else { 0.0 };
        a.bytes_read += b.bytes_read;
    }
    if let (Some(a), Some(b)) = (&mut whole.listen, &part.listen) {
        a.received += b.received;
        a.unstamped += b.unstamped;
        a.ahead += b.ahead;
    }
}

fn add_connections(c: &mut Connections, p: &Connections) {
    c.asked += p.asked;
    c.opened += p.opened;
    c.held_min += p.held_min;
    c.syn_retransmits += p.syn_retransmits;
    c.sources += p.sources;
    c.silent += p.silent;
    c.replaced += p.replaced;
    c.reopened += p.reopened;
    c.open_ns = c.open_ns.max(p.open_ns);
    // A counter of the whole host, so parts on one host all saw the same drops.
    c.listen_overflows = c.listen_overflows.max(p.listen_overflows);
    for (why, n) in &p.failed {
        *c.failed.entry(why.clone()).or_default() += n;
    }
    for (why, answer) in &p.answers {
        c.answers.entry(why.clone()).or_insert_with(|| answer.clone());
    }
}

fn add_messages(m: &mut Messages, part: &Messages) {
    // Field by field without `..`, so that a new one cannot be forgotten here.
    let &Messages {
        target_rate,
        achieved_rate,
        answered_rate,
        queue_growth,
        sent,
        received,
        lost,
        duplicated,
        reordered,
        corrupt,
        unanswered,
        late,
        unsolicited,
        ignored,
        heartbeats_answered,
        ambiguous,
        stuck,
        not_sent,
        timeouts,
        capped_inflight,
        bytes_sent,
        bytes_received,
        pings_sent,
        pings_answered,
        pongs_received,
        closes_received,
    } = part;
    m.target_rate = sum(m.target_rate, target_rate);
    m.achieved_rate += achieved_rate;
    m.answered_rate += answered_rate;
    m.queue_growth = sum(m.queue_growth, queue_growth);
    m.sent += sent;
    m.received += received;
    m.lost += lost;
    m.duplicated += duplicated;
    m.reordered += reordered;
    m.corrupt += corrupt;
    m.unanswered += unanswered;
    m.late += late;
    m.unsolicited += unsolicited;
    m.ignored += ignored;
    m.heartbeats_answered += heartbeats_answered;
    m.ambiguous += ambiguous;
    m.stuck += stuck;
    m.not_sent += not_sent;
    m.timeouts += timeouts;
    m.capped_inflight += capped_inflight;
    m.bytes_sent += bytes_sent;
    m.bytes_received += bytes_received;
    m.pings_sent += pings_sent;
    m.pings_answered += pings_answered;
    m.pongs_received += pongs_received;
    m.closes_received += closes_received;
}

/// Shares become shares of all the samples, so this must see both counts before they are added.
fn add_signatures(whole: &mut Report, part: &Report) {
    let samples = |r: &Report| r.latency_ns.wire.as_ref().map_or(0.0, |s| s.count as f64);
    let (a, b) = (samples(whole), samples(part));
    if a + b == 0.0 {
        return;
    }
    for signature in &mut whole.signatures {
        signature.share *= a / (a + b);
    }
    for signature in &part.signatures {
        let share = signature.share * b / (a + b);
        match whole.signatures.iter_mut().find(|s| s.kind == signature.kind) {
            Some(same) => same.share += share,
            None => whole.signatures.push(Signature { share, ..signature.clone() }),
        }
    }
}

fn add_tls(whole: &mut Option<TlsInfo>, part: Option<&TlsInfo>) {
    let Some(part) = part else { return };
    let whole = whole.get_or_insert_with(|| TlsInfo { verified: true, ..TlsInfo::default() });
    whole.verified &= part.verified;
    // Each part has a processor of its own.
    whole.opening_cpu_pct = None;
    for more in &part.sessions {
        let kind = |session: &TlsSessions| TlsSessions { connections: 0, ..session.clone() };
        match whole.sessions.iter_mut().find(|session| kind(session) == kind(more)) {
            Some(session) => session.connections += more.connections,
            None => whole.sessions.push(more.clone()),
        }
    }
}

fn add_latencies(a: &mut Latencies, part: &Latencies) -> Result<(), String> {
    let Latencies {
        response,
        first_reply,
        wire,
        undisturbed,
        response_low,
        response_high,
        own_slip,
        backpressure,
        read_lag,
        slow_readers,
        gap,
        connect,
        tls,
        upgrade,
        hello,
        ping,
        hiccup,
    } = part;
    add_stat(&mut a.undisturbed, undisturbed)?;
    add_stat(&mut a.response_low, response_low)?;
    add_stat(&mut a.response_high, response_high)?;
    add_stat(&mut a.response, response)?;
    add_stat(&mut a.wire, wire)?;
    add_stat(&mut a.own_slip, own_slip)?;
    add_stat(&mut a.backpressure, backpressure)?;
    add_stat(&mut a.read_lag, read_lag)?;
    add_stat(&mut a.connect, connect)?;
    add_stat(&mut a.tls, tls)?;
    add_stat(&mut a.upgrade, upgrade)?;
    add_stat(&mut a.hello, hello)?;
    add_stat(&mut a.gap, gap)?;
    add_stat(&mut a.slow_readers, slow_readers)?;
    add_stat(&mut a.first_reply, first_reply)?;
    add_stat(&mut a.ping, ping)?;
    add_stat(&mut a.hiccup, hiccup)
}

/// Adds `b`'s histogram to `a`'s.
fn add_stat(a: &mut Option<Stat>, b: &Option<Stat>) -> Result<(), String> {
    let Some(b) = b else { return Ok(()) };
    let Some(sum) = a else {
        *a = Some(b.clone());
        return Ok(());
    };
    let mut h = sum.histogram()?;
    h.auto(true); // the other may reach further
    h.add(b.histogram()?).map_err(|e| format!("histograms do not add: {e}"))?;
    *a = Some(Stat::new(&h, sum.saturated + b.saturated));
    Ok(())
}

/// Lines intervals up by when they began, counted from each part's own start.
fn add_intervals(whole: &mut Vec<Interval>, part: &[Interval]) -> Result<(), String> {
    for other in part {
        let half = (other.len_ns / 2) as i64;
        let same = |i: &&mut Interval| i.phase == other.phase && (i.start_ns - other.start_ns).abs() < half;
        let Some(interval) = whole.iter_mut().find(same) else {
            whole.push(other.clone());
            continue;
        };
        interval.target_rate = sum(interval.target_rate, other.target_rate);
        interval.achieved_rate += other.achieved_rate;
        interval.sent += other.sent;
        interval.received += other.received;
        interval.held += other.held;
        interval.inflight += other.inflight;
        interval.errors += other.errors;
        interval.loop_busy_pct = interval.loop_busy_pct.max(other.loop_busy_pct);
        interval.server = interval.server.or(other.server);
        // Where a part has none, the sum would be of the others alone.
        let whole = [&*interval, other].iter().all(|i| i.undisturbed.is_some() || i.response.is_none());
        add_stat(&mut interval.response, &other.response)?;
        match whole {
            true => add_stat(&mut interval.undisturbed, &other.undisturbed)?,
            false => interval.undisturbed = None,
        }
        for (a, b) in [(&mut interval.wire, &other.wire), (&mut interval.own_slip, &other.own_slip)] {
            // A mere summary cannot be added; better no number than a made-up one.
            if add_stat(a, b).is_err() {
                *a = None;
            }
        }
    }
    whole.sort_by_key(|i| i.start_ns);
    Ok(())
}

/// Parts that watched the same process saw the same thing; of different processes there is no one row to show.
fn one_server(a: Option<Server>, b: Option<Server>) -> Option<Server> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) if a.pid == b.pid => (a, b),
        (Some(_), Some(_)) => return None,
        (a, b) => return a.or(b),
    };
    Some(Server {
        cpu_pct: a.cpu_pct.max(b.cpu_pct),
        rss_bytes: a.rss_bytes.max(b.rss_bytes),
        fds: a.fds.max(b.fds),
        // Each part's slope took all the growth for its own connections'.
        bytes_per_connection: None,
        kernel_bytes_per_connection: None,
        ..a
    })
}

fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? + b?)
}

#[cfg(test)]
mod tests;
