//! Rows for a spreadsheet: the steps of `conns` or `find`, else the time series.

use std::fmt::Write;

use super::model::{Report, Stat};

/// One header line, then one line an interval (or a step). Times are seconds (`start_s`) or nanoseconds (`_ns`); a
/// cell is empty where nothing was measured or the samples do not carry the percentile.
pub fn render(report: &Report) -> String {
    match (&report.conns, &report.find) {
        (Some(conns), _) => table(
            "asked,held,opened_per_s,connect_p99_ns,upgrade_p99_ns,syn_retransmits,server_rss_bytes,kernel_bytes,\
             echo_p50_ns,echo_p99_ns,echo_max_ns",
            conns.steps.iter().map(|s| {
                vec![
                    s.asked.to_string(),
                    s.held.to_string(),
                    s.opened_per_s.to_string(),
                    percentile(&s.connect, "99"),
                    percentile(&s.upgrade, "99"),
                    s.syn_retransmits.to_string(),
                    optional(s.server_rss_bytes),
                    optional(s.kernel_bytes),
                    percentile(&s.echo, "50"),
                    percentile(&s.echo, "99"),
                    max(&s.echo),
                ]
            }),
        ),
        (_, Some(find)) => table(
            "load,ok,value,achieved_rate,p50_ns,p99_ns,p99_9_ns,max_ns,verdict",
            find.steps.iter().map(|s| {
                vec![
                    s.load.to_string(),
                    s.ok.to_string(),
                    optional(s.value),
                    s.achieved_rate.to_string(),
                    percentile(&s.response, "50"),
                    percentile(&s.response, "99"),
                    percentile(&s.response, "99.9"),
                    max(&s.response),
                    super::text::status_word(s.verdict.status).to_lowercase(),
                ]
            }),
        ),
        _ => table(
            "start_s,len_s,phase,target_rate,achieved_rate,sent,received,held,inflight,errors,response_p50_ns,\
             response_p99_ns,response_p99_9_ns,response_max_ns,wire_p99_ns,own_slip_p99_ns,loop_busy_pct,\
             server_cpu_pct,server_rss_bytes",
            report.intervals.iter().map(|i| {
                vec![
                    (i.start_ns as f64 / 1e9).to_string(),
                    (i.len_ns as f64 / 1e9).to_string(),
                    i.phase.to_string(),
                    optional(i.target_rate),
                    i.achieved_rate.to_string(),
                    i.sent.to_string(),
                    i.received.to_string(),
                    i.held.to_string(),
                    i.inflight.to_string(),
                    i.errors.to_string(),
                    percentile(&i.response, "50"),
                    percentile(&i.response, "99"),
                    percentile(&i.response, "99.9"),
                    max(&i.response),
                    percentile(&i.wire, "99"),
                    percentile(&i.own_slip, "99"),
                    i.loop_busy_pct.to_string(),
                    optional(i.server.map(|s| s.cpu_pct)),
                    optional(i.server.map(|s| s.rss_bytes)),
                ]
            }),
        ),
    }
}

fn table(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = format!("{head}\n");
    for row in rows {
        let _ = writeln!(out, "{}", row.join(","));
    }
    out
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn percentile(stat: &Option<Stat>, key: &str) -> String {
    optional(stat.as_ref().and_then(|stat| stat.p.get(key)))
}

fn max(stat: &Option<Stat>) -> String {
    optional(stat.as_ref().filter(|stat| stat.count > 0).map(|stat| stat.max))
}
