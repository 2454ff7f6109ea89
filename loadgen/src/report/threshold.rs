//! `--fail-if 'p99>5ms'` and `--slo 'p99<2ms'`: one comparison between a number of the report and a limit.
//!
//! ```text
//! p50 … p99.99   a percentile of the response time      p99>5ms       (any number between 0 and 100; of a fan-out, of
//!                                                                      the time to each message's last receiver)
//! max  mean      of the response time                    max>1s
//! rate           achieved messages a second              rate<49k      rate<99%    (of the target)
//! errors         lost, duplicated, reordered, corrupt,   errors>0      errors>0.1% (of those sent)
//!                unanswered and shed messages
//! held           fewest connections held                 held<10k      held<100%   (of those asked for)
//! rss_per_conn   server memory a connection              rss_per_conn>2KiB
//! answered       replies a second while measuring        answered<49k  answered<99% (of those sent in that time)
//! NAME_p50 …     of another time: wire, connect,         upgrade_p99>1s
//!                upgrade, ping; first, median, last
//!                or spread of a fan-out; handshake of
//!                a storm's reconnects
//! reach          deliveries of a fan-out                 reach<1M      reach<100%   (of those that should have been)
//! back           connections back after a storm          back<10k      back<100%    (of those dropped)
//! back_p50 …     when so many per cent were back:        back_p99>5s
//!                50, 90, 99 or 100
//! best           the load that `find` found              best<50k
//! ```
//!
//! Operators are `>`, `>=`, `<`, `<=`. Numbers are read as those of options are: a time without a unit is seconds, k is
//! 1000 of a count and 1024 of bytes.

use std::fmt;
use std::str::FromStr;

use super::model::{Report, Stat, ThresholdResult, Trust};
use super::{format, stats, units};

/// A comparison that is true or false of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    expr: String,
    metric: Quantity,
    op: Op,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantity {
    /// Nanoseconds at a quantile, 0 to 1, of the mode's headline.
    Percentile(f64),
    /// … and of another time.
    Other(TimeKind, f64),
    Answered,
    AnsweredShare,
    Reach,
    ReachShare,
    Back,
    BackShare,
    /// When 50, 90, 99 or 100 % were back.
    BackAfter(&'static str),
    Best,
    Max,
    Mean,
    Rate,
    RateShare,
    Errors,
    ErrorShare,
    Held,
    HeldShare,
    RssPerConn,
}

/// The times that reports hold beside the headline.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TimeKind {
    Wire,
    Connect,
    Upgrade,
    Ping,
    First,
    Median,
    Last,
    Spread,
    Handshake,
}

impl TimeKind {
    fn named(name: &str) -> Option<TimeKind> {
        Some(match name {
            "wire" => TimeKind::Wire,
            "connect" => TimeKind::Connect,
            "upgrade" => TimeKind::Upgrade,
            "ping" => TimeKind::Ping,
            "first" => TimeKind::First,
            "median" => TimeKind::Median,
            "last" => TimeKind::Last,
            "spread" => TimeKind::Spread,
            "handshake" => TimeKind::Handshake,
            _ => return None,
        })
    }

    fn of(self, report: &Report) -> Option<&Stat> {
        let (times, fanout) = (&report.latency_ns, report.fanout.as_ref());
        match self {
            TimeKind::Wire => times.wire.as_ref(),
            TimeKind::Connect => times.connect.as_ref(),
            TimeKind::Upgrade => times.upgrade.as_ref(),
            TimeKind::Ping => times.ping.as_ref(),
            TimeKind::First => fanout?.first.as_ref(),
            TimeKind::Median => fanout?.median.as_ref(),
            TimeKind::Last => fanout?.last.as_ref(),
            TimeKind::Spread => fanout?.spread.as_ref(),
            TimeKind::Handshake => report.storm.as_ref()?.handshake.as_ref(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(expr: &str) -> Result<Condition, String> {
        let expr = expr.trim();
        let at = expr.find(['<', '>']).ok_or_else(|| {
            format!(
                "`{expr}` has no `<` or `>`; a condition reads like `p99>5ms`, `errors>0.1%` or `rate<49k`"
            )
        })?;
        let (name, rest) = expr.split_at(at);
        let (op, limit) = match (rest.strip_prefix(">="), rest.strip_prefix("<=")) {
            (Some(limit), _) => (Op::AtLeast, limit),
            (_, Some(limit)) => (Op::AtMost, limit),
            _ if rest.starts_with('>') => (Op::Above, &rest[1..]),
            _ => (Op::Below, &rest[1..]),
        };
        let (metric, limit) = metric_and_limit(name.trim(), &limit.replace(' ', ""))?;
        Ok(Condition { expr: expr.to_owned(), metric, op, limit })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.expr)
    }
}

fn metric_and_limit(name: &str, limit: &str) -> Result<(Quantity, f64), String> {
    let time = || units::duration(limit).map(|time| time.as_nanos() as f64);
    let count_or_share = |count: Quantity, share: Quantity| {
        let number = match limit.ends_with('%') {
            true => units::share(limit).map(|n| (share, n)),
            false => units::number(limit).map(|n| (count, n)),
        };
        number.map_err(|_| format!("`{limit}` is neither a number such as 10k nor a share such as 0.1%"))
    };
    match name {
        "max" => Ok((Quantity::Max, time()?)),
        "mean" => Ok((Quantity::Mean, time()?)),
        "rate" => count_or_share(Quantity::Rate, Quantity::RateShare),
        "errors" => count_or_share(Quantity::Errors, Quantity::ErrorShare),
        "held" => count_or_share(Quantity::Held, Quantity::HeldShare),
        "answered" => count_or_share(Quantity::Answered, Quantity::AnsweredShare),
        "reach" => count_or_share(Quantity::Reach, Quantity::ReachShare),
        "back" => count_or_share(Quantity::Back, Quantity::BackShare),
        "best" => Ok((Quantity::Best, units::number(limit)?)),
        "rss_per_conn" => units::bytes(limit).map(|n| (Quantity::RssPerConn, n)),
        _ => match percentile_named(name) {
            Some(metric) => Ok((metric, time()?)),
            None => Err(format!(
                "`{name}` is none of p50…p99.99, max, mean, rate, answered, errors, held, rss_per_conn, reach, back, best \
                 and NAME_p99 of wire, connect, upgrade, ping, first, median, last, spread, handshake and back"
            )),
        },
    }
}

/// `p99`, `upgrade_p99` or `back_p99`.
fn percentile_named(name: &str) -> Option<Quantity> {
    let (times, p) = name.rsplit_once('_').unwrap_or(("", name));
    let p = p.strip_prefix('p')?;
    if times == "back" {
        return ["50", "90", "99", "100"].into_iter().find(|share| *share == p).map(Quantity::BackAfter);
    }
    let q = p.parse::<f64>().ok().filter(|p| *p > 0.0 && *p < 100.0)? / 100.0;
    match times {
        "" => Some(Quantity::Percentile(q)),
        other => Some(Quantity::Other(TimeKind::named(other)?, q)),
    }
}

impl Condition {
    /// Whether the condition is true of `report`, and the value found.
    ///
    /// # Errors
    /// When the report cannot say: no such measurement, or too few samples for the percentile.
    pub fn holds(&self, report: &Report) -> Result<(bool, f64), String> {
        let value = self.value(report)?;
        let ours = self.doubt(report);
        if self.is_met_by(value) != self.is_met_by(value - ours) {
            let [value, ours] = [value, ours].map(format::time);
            return Err(format!("{value} was measured, of which up to {ours} may be loadgen's own"));
        }
        Ok((self.is_met_by(value), value))
    }

    fn is_met_by(&self, value: f64) -> bool {
        match self.op {
            Op::Above => value > self.limit,
            Op::AtLeast => value >= self.limit,
            Op::Below => value < self.limit,
            Op::AtMost => value <= self.limit,
        }
    }

    /// Why the host may be what keeps the condition from holding: client and server share it, and it would hold without
    /// what this host added to a bare timer in the same time.
    pub fn host_in_the_way(&self, report: &Report) -> Option<String> {
        let Quantity::Percentile(q) = self.metric else { return None };
        let hiccup = report.latency_ns.hiccup.as_ref().filter(|_| report.target.local)?.histogram().ok()?;
        let (value, late) = (self.value(report).ok()?, hiccup.value_at_quantile(q) as f64);
        let [shown, added] = [value, late].map(format::time);
        let met = !self.is_met_by(value) && self.is_met_by(value - late);
        met.then(|| format!("{shown} was measured, and this host alone made a timer late by {added}"))
    }

    /// The verdict of this condition as a `--fail-if`: it is `ok` only when the report shows the condition is false.
    pub fn judge(&self, report: &Report) -> ThresholdResult {
        let expr = self.expr.clone();
        match self.holds(report) {
            Ok((holds, value)) => ThresholdResult { expr, value: Some(value), ok: !holds, note: None },
            Err(why) => ThresholdResult { expr, value: None, ok: false, note: Some(why) },
        }
    }

    /// The limit in nanoseconds, when it is one on a latency.
    pub fn latency_limit(&self) -> Option<f64> {
        matches!(self.metric, Quantity::Percentile(_) | Quantity::Max | Quantity::Mean).then_some(self.limit)
    }

    /// How many samples the condition takes to be judged: ten beyond its percentile.
    pub fn samples(&self) -> u64 {
        match self.metric {
            Quantity::Percentile(q) | Quantity::Other(_, q) => (10.0 / (1.0 - q)).round() as u64,
            _ => 0,
        }
    }

    /// How much of the value may be loadgen's own, nanoseconds.
    fn doubt(&self, report: &Report) -> f64 {
        let Quantity::Percentile(q) = self.metric else { return 0.0 };
        // Of a percentile in between, that of the next one the report judged.
        let judged = |t: &&Trust| t.p.parse::<f64>().is_ok_and(|p| p / 100.0 >= q - 1e-9);
        let trust = &report.verdict.trust;
        trust.iter().find(judged).or(trust.last()).map_or(0.0, |t| t.ours_ns as f64)
    }

    /// `value` with the unit of this condition's metric.
    pub fn show(&self, value: f64) -> String {
        match self.metric {
            Quantity::Percentile(_)
            | Quantity::Other(..)
            | Quantity::BackAfter(_)
            | Quantity::Max
            | Quantity::Mean => format::time(value),
            Quantity::Rate | Quantity::Answered => format!("{}/s", format::short(value)),
            Quantity::RateShare
            | Quantity::ErrorShare
            | Quantity::HeldShare
            | Quantity::AnsweredShare
            | Quantity::ReachShare
            | Quantity::BackShare => format!("{:.3}%", value * 100.0),
            Quantity::Errors | Quantity::Held | Quantity::Reach | Quantity::Back => {
                format::count(value as u64)
            }
            Quantity::Best => format::short(value),
            Quantity::RssPerConn => format::bytes(value),
        }
    }

    fn value(&self, report: &Report) -> Result<f64, String> {
        let response = || report.latency_ns.response.as_ref().ok_or("no response times were measured");
        let fanout = || report.fanout.as_ref().ok_or("only `fanout` has deliveries");
        let storm = || report.storm.as_ref().ok_or("only `storm` has connections that come back");
        let share_of = |part: u64, whole: u64, what: &str| {
            if whole == 0 { Err(format!("no {what}")) } else { Ok(part as f64 / whole as f64) }
        };
        Ok(match self.metric {
            Quantity::Percentile(q) if report.fanout.is_some() => {
                self.percentile(TimeKind::Last.of(report), q)?
            }
            Quantity::Percentile(q) => self.percentile(Some(response()?), q)?,
            Quantity::Other(times, q) => self.percentile(times.of(report), q)?,
            Quantity::Answered => report.messages.answered_rate,
            Quantity::AnsweredShare if report.messages.achieved_rate <= 0.0 => {
                return Err("no message was sent".into());
            }
            Quantity::AnsweredShare => report.messages.answered_rate / report.messages.achieved_rate,
            Quantity::Reach => fanout()?.received as f64,
            Quantity::ReachShare => share_of(fanout()?.received, fanout()?.expected, "delivery was due")?,
            Quantity::Back => storm()?.back as f64,
            Quantity::BackShare => share_of(storm()?.back, storm()?.dropped, "connection was dropped")?,
            Quantity::BackAfter(share) => {
                let storm = storm()?;
                let after = storm.back_ns.get(share).map(|ns| *ns as f64);
                after.ok_or_else(|| format!("{} of {} came back", storm.back, storm.dropped))?
            }
            Quantity::Best => {
                let find = report.find.as_ref().ok_or("only `find` has a best load")?;
                find.best.unwrap_or(0.0)
            }
            Quantity::Max | Quantity::Mean if response()?.count == 0 => {
                return Err("no message was answered".into());
            }
            Quantity::Max => response()?.max as f64,
            Quantity::Mean => response()?.mean,
            Quantity::Rate => report.messages.achieved_rate,
            Quantity::RateShare => {
                let target = report.messages.target_rate.filter(|r| *r > 0.0);
                report.messages.achieved_rate / target.ok_or("closed mode has no target rate")?
            }
            Quantity::Errors => report.messages.errors() as f64,
            Quantity::ErrorShare => {
                share_of(report.messages.errors(), report.messages.sent, "message was sent")?
            }
            Quantity::Held => report.connections.held_min as f64,
            Quantity::HeldShare => {
                share_of(report.connections.held_min, report.connections.asked, "connection was asked for")?
            }
            Quantity::RssPerConn => {
                let server = report.server.as_ref().and_then(|s| s.bytes_per_connection);
                let slope = server.or(report.conns.as_ref().and_then(|c| c.slope));
                slope.ok_or("memory per connection was not measured (it takes --server-pid)")?.slope
            }
        })
    }

    fn percentile(&self, stat: Option<&Stat>, q: f64) -> Result<f64, String> {
        let h = stat.ok_or("no such times were measured")?.histogram()?;
        let found = stats::percentile(&h, q);
        found.map(|ns| ns as f64).ok_or_else(|| too_few(h.len(), self.samples()))
    }
}

fn too_few(samples: u64, needed: u64) -> String {
    format!("{} samples are too few: it takes {}", format::count(samples), format::count(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Fanout, Find, Storm};

    /// 10,000 response times of 1 µs to 10 ms, evenly spread.
    fn report() -> Report {
        let mut h = hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        for i in 1..=10_000 {
            h.record(i * 1000).unwrap();
        }
        let mut report = Report::default();
        report.latency_ns.response = Some(Stat::new(&h, 0));
        report.messages.sent = 10_000;
        report.messages.lost = 7;
        report.messages.corrupt = 3;
        report.messages.target_rate = Some(1000.0);
        report.messages.achieved_rate = 985.0;
        report.connections.asked = 100;
        report.connections.held_min = 99;
        report
    }

    #[test]
    fn conditions_say_what_they_mean() {
        let rows = [
            ("p99>5ms", true),
            ("p99 > 10ms", false),
            ("p50<=5.01ms", true),
            ("p99.9<9ms", false),
            ("max>9999us", true),
            ("mean>5ms", true),
            ("rate<990", true),
            ("rate<98%", false),
            ("rate>=0.985k", true),
            ("errors>0", true),
            ("errors>10", false),
            ("errors>=10", true),
            ("errors>0.1%", false),
            ("errors>=0.1%", true),
            ("held<100%", true),
            ("held<99", false),
        ];
        let report = report();
        for (expr, expected) in rows {
            let condition: Condition = expr.parse().unwrap();
            assert_eq!(condition.holds(&report).unwrap().0, expected, "{expr}");
            assert_eq!(condition.judge(&report).ok, !expected, "{expr}");
        }
    }

    #[test]
    fn what_cannot_be_judged_fails_and_says_why() {
        let report = report();
        for (expr, why) in [("p99.99>1m", "too few"), ("rss_per_conn>2KiB", "--server-pid")] {
            let judged = expr.parse::<Condition>().unwrap().judge(&report);
            assert!(!judged.ok && judged.value.is_none(), "{expr}");
            assert!(judged.note.unwrap().contains(why), "{expr}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        let rows = [
            ("p99", "no `<` or `>`"),
            ("p99>5x", "is not a time"),
            ("p100>5ms", "is none of"),
            ("p>5ms", "is none of"),
            ("latency>5ms", "is none of"),
            ("rate<fast", "neither a number"),
            ("errors>-1", "neither a number"),
            ("max>1.2.3s", "is not a time"),
            ("rss_per_conn>1%", "is not a size"),
        ];
        for (expr, why) in rows {
            let error = expr.parse::<Condition>().unwrap_err();
            assert!(error.contains(why), "{expr}: {error}");
        }
    }

    #[test]
    fn every_mode_has_its_own() {
        let mut report = report();
        let times = report.latency_ns.response.take();
        report.latency_ns.upgrade = times.clone();
        report.messages.answered_rate = 900.0;
        report.messages.achieved_rate = 1000.0;
        report.fanout =
            Some(Fanout { expected: 1000, received: 999, last: times.clone(), ..Fanout::default() });
        let back_ns = [("50".to_owned(), 1_000_000_000)].into();
        report.storm = Some(Storm { dropped: 10, back: 9, back_ns, handshake: times, ..Storm::default() });
        report.find = Some(Find { best: Some(50_000.0), ..Find::default() });
        for (expr, expected) in [
            ("p99>9.8ms", true),
            ("last_p99>10ms", false),
            ("upgrade_p50>4.9ms", true),
            ("handshake_p99>1s", false),
            ("reach<100%", true),
            ("reach<999", false),
            ("back<100%", true),
            ("back_p50>900ms", true),
            ("best<50k", false),
            ("best<51k", true),
            ("answered<95%", true),
            ("answered<900", false),
        ] {
            let condition: Condition = expr.parse().unwrap();
            assert_eq!(condition.holds(&report).unwrap().0, expected, "{expr}");
        }
        for (expr, why) in
            [("wire_p99>1s", "no such times"), ("back_p99>1h", "9 of 10"), ("first_p50>1s", "no such times")]
        {
            assert!(expr.parse::<Condition>().unwrap().holds(&report).unwrap_err().contains(why), "{expr}");
        }
        assert!("best<1k".parse::<Condition>().unwrap().holds(&Report::default()).is_err());
        assert!("connect_p0>1s".parse::<Condition>().is_err() && "back_p95>1s".parse::<Condition>().is_err());
    }

    /// A limit between what was measured and what is surely the server's decides nothing.
    #[test]
    fn what_may_be_loadgens_own_is_not_judged() {
        let mut report = report();
        report.verdict.trust =
            vec![Trust { p: "99".into(), response_ns: 9_900_000, ours_ns: 2_000_000, trusted: false }];
        let judged = |expr: &str| expr.parse::<Condition>().unwrap().holds(&report).map(|(holds, _)| holds);
        assert_eq!(judged("p99>12ms"), Ok(false));
        assert_eq!(judged("p99>7ms"), Ok(true));
        assert!(judged("p99>9ms").unwrap_err().contains("may be loadgen's own"));
    }
}
