//! One HTML file that needs nothing else: the verdict, the numbers, the plots, and the report itself as JSON inside.

use std::fmt::Write;

use super::escape::escape;
use super::format::{bytes, count, ns, short, time};
use super::mode_results::{Conns, Find, StormPhase};
use super::model::{PERCENTILES, Report, Stat, Status};
use super::svg;
use super::text::{called, status_word, trusted};
use super::threshold::Condition;

/// Marks the embedded JSON, which [`json_inside`] finds again.
const JSON_OPEN: &str = "<script type=\"application/json\" id=\"loadgen-report\">";

const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#14171f;--soft:#4a5160;--line:#dde1e8;
--valid:#0b6b3a;--suspect:#8a4b00;--invalid:#b42318}
@media(prefers-color-scheme:dark){:root{--paper:#14171f;--card:#1c212b;--ink:#eef1f6;--soft:#aab2c0;--line:#323a47;
--valid:#5bd397;--suspect:#f3b562;--invalid:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:940px;padding:24px 20px 48px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
h1{font-size:20px;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:16px;margin:36px 0 8px}
p{margin:4px 0}
.soft,figcaption{color:var(--soft);font-size:13px}
.verdict{margin:16px 0;padding:12px 16px;background:var(--card);border-left:4px solid var(--tone);border-radius:0 6px 6px 0}
.verdict b{color:var(--tone);letter-spacing:.04em}
.verdict ul{margin:6px 0 0;padding-left:20px}
.valid{--tone:var(--valid)}.suspect{--tone:var(--suspect)}.invalid,.faulty{--tone:var(--invalid)}
.kind{text-transform:uppercase;font-size:12px;letter-spacing:.04em;color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(var(--n),1fr);gap:10px;margin:16px 0}
.tiles div{background:var(--card);border-radius:6px;padding:10px 12px}
.tiles dt{font-size:12.5px;color:var(--soft)}
.tiles dd{margin:0;font-size:19px;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.tiles small{display:block;font-size:12px;font-weight:400;color:var(--soft);white-space:normal}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:6px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child{text-align:left;padding-left:0}
thead th{font-weight:500;color:var(--soft)}
tbody th{font-weight:500}
th small{font-weight:400}
td.none{text-align:left}
td small,th small{display:block;color:var(--soft);font-size:11.5px}
figure{margin:0}
figure svg{display:block;max-width:100%;height:auto}
figcaption{margin:2px 0 0}
.narrow{display:none}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;font-size:13.5px;margin:0}
.facts dt{color:var(--soft)}
.facts dd{margin:0;overflow-wrap:anywhere}
.bad{color:var(--invalid);font-weight:600}
@media(max-width:700px){
body{padding:16px 14px 32px}
.wide{display:none}.narrow{display:block}
.tiles{grid-template-columns:1fr 1fr}
.cards thead{display:none}
.cards,.cards tbody{display:block}
.cards tr{display:grid;grid-template-columns:repeat(4,1fr);padding:8px 0;border-bottom:1px solid var(--line)}
.cards th{grid-column:1/-1}
.cards th,.cards td{border:0;padding:3px 0;text-align:left}
.cards td small{white-space:normal;padding-right:6px}
.cards td.none{grid-column:1/-1}
.cards td[data-l]::before{content:attr(data-l);display:block;color:var(--soft);font-size:11.5px}
.facts{grid-template-columns:1fr;gap:0}
.facts dd{margin-bottom:8px}
}
";

/// The page. Light or dark follows the reader's system; there is no script to run.
pub fn render(report: &Report) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = escape(&svg::headline(report));
    let _ = writeln!(out, "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    // An empty icon, so that no browser asks a server for one.
    let _ = writeln!(out, "<link rel=\"icon\" href=\"data:,\">\n<title>{title} – loadgen</title>");
    let _ = writeln!(out, "<style>{STYLE}{}</style>\n</head>\n<body>", svg::STYLE);
    header(&mut out, report);
    tiles(&mut out, report);
    if report.latency_ns.each().next().is_some() {
        latencies(&mut out, report);
    }
    if let Some(conns) = &report.conns {
        conns_steps(&mut out, conns);
    }
    if let Some(find) = &report.find {
        find_steps(&mut out, find);
    }
    // Drawn twice, since a plot scaled to half its width has letters of half their size.
    for (wide, narrow) in svg::charts(report, 900.0).into_iter().zip(svg::charts(report, 372.0)) {
        let _ = writeln!(out, "<h2>{}</h2>\n<figure>", escape(&wide.title));
        for (class, chart) in [("wide", &wide), ("narrow", &narrow)] {
            let _ = writeln!(
                out,
                "<svg class=\"plot {class}\" viewBox=\"0 0 {w} {h:.0}\" width=\"{w}\" height=\"{h:.0}\" role=\"img\" \
                 aria-label=\"{label}\">\n{}</svg>",
                chart.body,
                w = chart.width,
                h = chart.height,
                label = escape(&chart.title),
            );
        }
        let _ = writeln!(out, "<figcaption>{}</figcaption>\n</figure>", escape(wide.caption));
    }
    facts(&mut out, report);
    let json = serde_json::to_string(report).expect("a report is plain data");
    // `</script>` in a name would end the element early; in JSON, \u003c is the same character.
    let _ = writeln!(out, "{JSON_OPEN}{}</script>\n</body>\n</html>", json.replace('<', "\\u003c"));
    out
}

/// The JSON report inside a page made by [`render`], if `text` is one.
pub fn json_inside(text: &str) -> Option<&str> {
    text.split_once(JSON_OPEN)?.1.split_once("</script>").map(|(json, _)| json)
}

fn header(out: &mut String, report: &Report) {
    let name = report.run.name.clone().unwrap_or_else(|| report.target.urls.join(" "));
    let _ = writeln!(out, "<h1>{}</h1>", escape(&name));
    let mut line =
        vec![report.target.urls.join(" "), report.run.started.replace('T', " ").replace('Z', " UTC")];
    line.push(format!("run {}", report.run.id));
    if !report.parts.is_empty() {
        line.push(format!("merged from {} reports", report.parts.len()));
    }
    line.retain(|part| !part.is_empty() && *part != name);
    let _ = writeln!(out, "<p class=\"soft\">{}</p>", escape(&line.join(" · ")));

    let status = report.verdict.status;
    let trusted = trusted(report);
    let meaning = match status {
        // How far they are has been said.
        Status::Valid if !trusted.is_empty() => "",
        Status::Valid => " The numbers are the server’s.",
        Status::Suspect => " The numbers may be in part loadgen’s or this host’s.",
        Status::Faulty => " The server did not do as it should.",
        Status::Invalid => " The numbers are not the server’s.",
    };
    let word = status_word(status);
    let _ = write!(
        out,
        "<div class=\"verdict {}\"><p><b>{word}</b>{}.{meaning}</p>",
        word.to_lowercase(),
        escape(&trusted)
    );
    let verdict = &report.verdict;
    let kinds = [("finding", &verdict.findings), ("reason", &verdict.reasons), ("note", &verdict.notes)];
    let mut findings: Vec<(&str, &str)> =
        kinds.into_iter().flat_map(|(kind, all)| all.iter().map(move |f| (kind, f.text.as_str()))).collect();
    if report.run.interrupted {
        findings.push(("note", "interrupted: the numbers cover what ran"));
    }
    if !findings.is_empty() {
        out.push_str("<ul>");
        for (kind, text) in findings {
            let _ = write!(out, "<li><span class=\"kind\">{kind}</span> {}</li>", escape(text));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div>\n");
}

fn tiles(out: &mut String, report: &Report) {
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    let (m, c) = (&report.messages, &report.connections);
    if let Some((best, find)) = report.find.as_ref().and_then(|f| Some((f.best?, f))) {
        tiles.push(("highest load", short(best), format!("that meets {}", find.objective)));
    }
    let slope = report.server.as_ref().and_then(|s| s.bytes_per_connection);
    if let Some(slope) = slope.or(report.conns.as_ref().and_then(|c| c.slope)) {
        tiles.push(("server memory", bytes(slope.slope), "a connection (slope)".into()));
    }
    if let Some(back) = report.storm.as_ref().map(|s| s.back_ns.get("99")) {
        tiles.push(("99% back", back.map_or("never".into(), |t| ns(*t)), "after the drop".into()));
    }
    if let Some(f) = report.fanout.as_ref().filter(|f| f.expected > 0) {
        let reach = f.received as f64 / f.expected as f64 * 100.0;
        tiles.push(("reach", format!("{reach:.2}%"), format!("of {} deliveries", count(f.expected))));
    }
    if let Some(r) = report.latency_ns.response.as_ref().filter(|r| r.count > 0) {
        for (name, key) in [("p50", "50"), ("p99", "99"), ("p99.9", "99.9")] {
            if let Some(value) = r.p.get(key) {
                tiles.push((name, ns(*value), "response time".into()));
            }
        }
        tiles.push(("max", ns(r.max), "response time".into()));
    }
    if m.sent > 0 {
        let of = m.target_rate.map_or("closed loop".into(), |t| format!("of {}/s asked", short(t)));
        tiles.push(("achieved", format!("{}/s", short(m.achieved_rate)), of));
        tiles.push(("errors", count(m.errors()), format!("of {} messages", count(m.sent))));
    }
    tiles.push(("held", count(c.held_min), format!("of {} connections", count(c.asked))));
    let columns = if tiles.len() > 7 { tiles.len().div_ceil(2) } else { tiles.len() };
    let _ = writeln!(out, "<dl class=\"tiles\" style=\"--n:{columns}\">");
    for (name, value, about) in tiles {
        let (value, about) = (escape(&value), escape(&about));
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}<small>{about}</small></dd></div>");
    }
    out.push_str("</dl>\n");
}

fn latencies(out: &mut String, report: &Report) {
    out.push_str("<h2>Latency</h2>\n<table class=\"cards\">\n<thead><tr><th></th>");
    for (key, _) in PERCENTILES {
        let _ = write!(out, "<th>p{key}</th>");
    }
    out.push_str("<th>max</th><th>mean</th><th>samples</th></tr></thead>\n<tbody>\n");
    for (name, stat) in report.latency_ns.each() {
        if let Some(label) = called(report, name) {
            stat_row(out, label, stat);
        }
    }
    let extra = [
        (("fan-out", "first receiver"), report.fanout.as_ref().and_then(|f| f.first.as_ref())),
        (("fan-out", "median receiver"), report.fanout.as_ref().and_then(|f| f.median.as_ref())),
        (("fan-out", "last receiver"), report.fanout.as_ref().and_then(|f| f.last.as_ref())),
        (("fan-out", "last less first"), report.fanout.as_ref().and_then(|f| f.spread.as_ref())),
        (("storm", "handshake"), report.storm.as_ref().and_then(|s| s.handshake.as_ref())),
    ];
    for (label, stat) in extra {
        stat.into_iter().for_each(|stat| stat_row(out, label, stat));
    }
    out.push_str("</tbody>\n</table>\n<p class=\"soft\">Small print: 95 % confidence interval. ");
    out.push_str("– where fewer than ten samples lie beyond the percentile.</p>\n");
}

/// One row, of a name and what it spans.
fn stat_row(out: &mut String, (name, about): (&str, &str), stat: &Stat) {
    let _ = write!(out, "<tr><th>{name}<small>{about}</small></th>");
    if stat.count == 0 || (name == "backpressure" && stat.max == 0) {
        out.push_str("<td class=\"none\" colspan=\"8\">none</td></tr>\n");
        return;
    }
    for (key, _) in PERCENTILES {
        let value = stat.p.get(key).map_or("–".into(), |v| ns(*v));
        let _ = write!(out, "<td data-l=\"p{key}\">{value}");
        if let Some([low, high]) = stat.ci95.get(key) {
            let _ = write!(out, "<small>{}</small>", range(*low, *high));
        }
        out.push_str("</td>");
    }
    let (max, mean) = (ns(stat.max), time(stat.mean));
    let _ = write!(out, "<td data-l=\"max\">{max}</td><td data-l=\"mean\">{mean}</td>");
    let _ = writeln!(out, "<td data-l=\"samples\">{}</td></tr>", count(stat.count));
}

/// `61.6 – 61.9 µs`: the unit once if it is the same.
fn range(low: u64, high: u64) -> String {
    let (low, high) = (ns(low), ns(high));
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} – {high}"),
        _ => format!("{low} – {high}"),
    }
}

/// A percentile, where the samples carry it.
fn percentile(stat: &Option<Stat>, key: &str) -> String {
    stat.as_ref().and_then(|stat| stat.p.get(key)).map_or("–".into(), |value| ns(*value))
}

/// A table of steps: its title, what its columns are called, and a row a step.
fn steps_table(out: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(out, "<h2>{title}</h2>\n<table class=\"cards\"><thead><tr>");
    heads.iter().for_each(|head| out.push_str(&format!("<th>{}</th>", escape(head))));
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (i, (head, cell)) in heads.iter().zip(row).enumerate() {
            let (head, cell) = (escape(head), escape(&cell));
            let _ = match i {
                0 => write!(out, "<th>{cell}<small>{head}</small></th>"),
                _ => write!(out, "<td data-l=\"{head}\">{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

fn conns_steps(out: &mut String, conns: &Conns) {
    let heads = [
        "held",
        "opened/s",
        "connect p99",
        "upgrade p99",
        "SYN retransmits",
        "server RSS",
        "kernel TCP",
        "echo p99",
    ];
    let memory = |n: Option<u64>| n.map_or("–".into(), |n| bytes(n as f64));
    let rows = conns.steps.iter().map(|step| {
        vec![
            count(step.held),
            short(step.opened_per_s),
            percentile(&step.connect, "99"),
            percentile(&step.upgrade, "99"),
            count(step.syn_retransmits),
            memory(step.server_rss_bytes),
            memory(step.kernel_bytes),
            percentile(&step.echo, "99"),
        ]
    });
    steps_table(out, "What each number of connections cost", &heads, rows);
}

fn find_steps(out: &mut String, find: &Find) {
    let heads = [find.axis.as_str(), "achieved", "p50", "p99", "p99.9", "verdict", find.objective.as_str()];
    let rows = find.steps.iter().map(|step| {
        vec![
            short(step.load),
            format!("{}/s", short(step.achieved_rate)),
            percentile(&step.response, "50"),
            percentile(&step.response, "99"),
            percentile(&step.response, "99.9"),
            status_word(step.verdict.status).to_owned(),
            step.answer().word().to_owned(),
        ]
    });
    steps_table(out, "The loads that were tried", &heads, rows);
    let _ = writeln!(out, "<p class=\"soft\">Stopped: {}</p>", escape(&find.stopped));
}

/// What is to be said of the connections.
fn connected(facts: &mut Vec<(&str, String)>, report: &Report) {
    if let Some(advice) = super::advice::advice(report) {
        facts.push(("what to do", advice));
    }
    for line in report.tls.iter().flat_map(|tls| tls.lines()) {
        facts.push(("TLS", line));
    }
    for (why, n) in &report.connections.failed {
        let said = report
            .connections
            .answers
            .get(why)
            .map_or(String::new(), |answer| format!("; it said: {answer}"));
        facts.push(("failed connections", format!("{}: {why}{said}", count(*n))));
    }
}

/// When the clients of a storm were back.
fn storm(facts: &mut Vec<(&str, String)>, report: &Report) {
    if let Some(s) = &report.storm {
        let back = |share: &str| s.back_ns.get(share).map_or("never".into(), |t| ns(*t));
        let [half, most, nearly, all] = ["50", "90", "99", "100"].map(back);
        let dropped = format!("{} dropped ({}), reconnect {}", count(s.dropped), s.fault, s.policy);
        facts.push(("storm", format!("{dropped}; back: 50% {half}, 90% {most}, 99% {nearly}, 100% {all}")));
        let phase = |phase: &StormPhase| format!("{} {}", phase.name, percentile(&phase.echo, "99"));
        let phases: Vec<String> = s.phases.iter().map(phase).collect();
        if !phases.is_empty() {
            facts.push(("survivors", format!("{}: p99 {}", count(s.survivors), phases.join(", "))));
        }
    }
}

/// What was asked for, and what came of the messages.
fn load(facts: &mut Vec<(&str, String)>, report: &Report) {
    let (c, m) = (&report.config, &report.messages);
    let rate = match (&c.rate_plan, c.rate) {
        (Some(plan), _) => format!("{plan} messages/s, {}", c.arrival),
        (None, Some(rate)) => format!("{} messages/s, {}", count(rate.round() as u64), c.arrival),
        (None, None) => format!("{} in flight a connection", c.pipeline.unwrap_or(1)),
    };
    facts.push(("load", format!("{}, {rate}, {} of {} connections active", c.mode, c.active, c.connections)));
    facts.push((
        "time",
        format!(
            "{} measured after {} of warm-up, then up to {} for the last replies",
            ns(c.duration_ns),
            ns(c.warmup_ns),
            ns(c.drain_ns)
        ),
    ));
    let size = c.size.spec.clone().unwrap_or(format!("{} B", c.size.bytes));
    facts.push((
        "messages",
        format!("{size} {}, sent {}, received {}", c.opcode, count(m.sent), count(m.received)),
    ));
    facts.push((
        "checked",
        format!(
            "lost {}, duplicated {}, reordered {}, corrupt {}, unanswered {}, not sent {}",
            m.lost, m.duplicated, m.reordered, m.corrupt, m.unanswered, m.not_sent
        ),
    ));
}

/// What ran, and where.
fn machines(facts: &mut Vec<(&str, String)>, report: &Report) {
    let (c, h) = (&report.config, &report.host);
    if let Some(s) = &report.server {
        facts.push((
            "server",
            format!(
                "pid {}, CPU {:.0}%, RSS {}, {} descriptors",
                s.pid,
                s.cpu_pct,
                bytes(s.rss_bytes as f64),
                s.fds
            ),
        ));
    }
    facts.push((
        "loadgen",
        format!(
            "{}, CPU {:.0}%, loop busy {:.0}%, RSS {}, {} {}, {}, seed {}",
            report.tool.version,
            report.client.cpu_pct,
            report.checks.loop_busy_pct,
            bytes(report.client.rss_bytes as f64),
            c.threads,
            if c.threads == 1 { "thread" } else { "threads" },
            c.idle,
            report.run.seed
        ),
    ));
    let governor = h.governor.as_ref().map_or(String::new(), |g| format!(", governor {g}"));
    facts.push((
        "host",
        format!(
            "Linux {}, {} CPUs, clock {}{governor}, steal {:.1}%, throttled {}",
            h.kernel, h.cpus, h.clocksource, h.steal_pct, h.throttled
        ),
    ));
}

fn thresholds(out: &mut String, report: &Report) {
    for t in &report.thresholds {
        let condition = t.expr.parse::<Condition>().ok();
        let found = match (t.value, &t.note) {
            (Some(v), _) => condition.map_or(v.to_string(), |c| c.show(v)),
            (None, note) => format!("not judged: {}", note.as_deref().unwrap_or("")),
        };
        let (class, word) = if t.ok { ("", "ok") } else { ("bad", "FAIL") };
        let (expr, found) = (escape(&t.expr), escape(&found));
        let _ =
            writeln!(out, "<dt>fail if {expr}</dt><dd><span class=\"{class}\">{word}</span> ({found})</dd>");
    }
}

fn facts(out: &mut String, report: &Report) {
    let mut facts: Vec<(&str, String)> = Vec::new();
    load(&mut facts, report);
    connected(&mut facts, report);
    if let Some(l) = &report.checks.littles_law {
        facts.push((
            "Little’s law",
            format!(
                "{:.2} in flight counted, {:.2} from rate × latency, gap {:.1}%",
                l.inflight, l.lambda_w, l.gap_pct
            ),
        ));
    }
    storm(&mut facts, report);
    machines(&mut facts, report);
    for s in &report.signatures {
        let text = s.text.as_deref().unwrap_or(&s.kind);
        facts.push(("signature", format!("{text} ({:.1}% of samples)", s.share * 100.0)));
    }
    let of_parts = report.parts.iter().filter_map(|part| part.command.as_ref());
    for command in report.run.command.iter().chain(of_parts) {
        facts.push(("to repeat", command.clone()));
    }
    out.push_str("<h2>How it was measured</h2>\n<dl class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    thresholds(out, report);
    out.push_str("</dl>\n");
}
