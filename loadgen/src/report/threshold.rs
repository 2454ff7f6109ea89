//! `--fail-if 'p99>5ms'` and `--slo 'p99<2ms'`: one comparison between a number of the report and a limit.
//!
//! ```text
//! p50 … p99.99   a percentile of the response time      p99>5ms       (any number between 0 and 100)
//! max  mean      of the response time                    max>1s
//! rate           achieved messages a second              rate<49k      rate<99%    (of the target)
//! errors         lost, duplicated, reordered, corrupt,   errors>0      errors>0.1% (of those sent)
//!                unanswered and shed messages
//! held           fewest connections held                 held<10k      held<100%   (of those asked for)
//! rss_per_conn   server memory a connection              rss_per_conn>2KiB
//! ```
//!
//! Operators are `>`, `>=`, `<`, `<=`. Numbers are read as those of options are: a time without a unit is seconds, k is
//! 1000 of a count and 1024 of bytes.

use std::fmt;
use std::str::FromStr;

use super::model::{Report, ThresholdResult};
use super::{format, stats, units};

/// A comparison that is true or false of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    expr: String,
    metric: Metric,
    op: Op,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Nanoseconds at a quantile, 0 to 1.
    Percentile(f64),
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

fn metric_and_limit(name: &str, limit: &str) -> Result<(Metric, f64), String> {
    let time = || units::duration(limit).map(|time| time.as_nanos() as f64);
    let count_or_share = |count: Metric, share: Metric| {
        let number = match limit.ends_with('%') {
            true => units::share(limit).map(|n| (share, n)),
            false => units::number(limit).map(|n| (count, n)),
        };
        number.map_err(|_| format!("`{limit}` is neither a number such as 10k nor a share such as 0.1%"))
    };
    match name {
        "max" => Ok((Metric::Max, time()?)),
        "mean" => Ok((Metric::Mean, time()?)),
        "rate" => count_or_share(Metric::Rate, Metric::RateShare),
        "errors" => count_or_share(Metric::Errors, Metric::ErrorShare),
        "held" => count_or_share(Metric::Held, Metric::HeldShare),
        "rss_per_conn" => units::bytes(limit).map(|n| (Metric::RssPerConn, n)),
        _ => match name.strip_prefix('p').and_then(|p| p.parse::<f64>().ok()) {
            Some(p) if p > 0.0 && p < 100.0 => Ok((Metric::Percentile(p / 100.0), time()?)),
            _ => {
                Err(format!("`{name}` is none of p50…p99.99, max, mean, rate, errors, held and rss_per_conn"))
            }
        },
    }
}

impl Condition {
    /// Whether the condition is true of `report`, and the value found.
    ///
    /// # Errors
    /// When the report cannot say: no such measurement, or too few samples for the percentile.
    pub fn holds(&self, report: &Report) -> Result<(bool, f64), String> {
        let value = self.value(report)?;
        let holds = match self.op {
            Op::Above => value > self.limit,
            Op::AtLeast => value >= self.limit,
            Op::Below => value < self.limit,
            Op::AtMost => value <= self.limit,
        };
        Ok((holds, value))
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
        matches!(self.metric, Metric::Percentile(_) | Metric::Max | Metric::Mean).then_some(self.limit)
    }

    /// How many samples the condition takes to be judged: ten beyond its percentile.
    pub fn samples(&self) -> u64 {
        match self.metric {
            Metric::Percentile(q) => (10.0 / (1.0 - q)).round() as u64,
            _ => 0,
        }
    }

    /// `value` with the unit of this condition's metric.
    pub fn show(&self, value: f64) -> String {
        match self.metric {
            Metric::Percentile(_) | Metric::Max | Metric::Mean => format::time(value),
            Metric::Rate => format!("{}/s", format::short(value)),
            Metric::RateShare | Metric::ErrorShare | Metric::HeldShare => format!("{:.3}%", value * 100.0),
            Metric::Errors | Metric::Held => format::count(value as u64),
            Metric::RssPerConn => format::bytes(value),
        }
    }

    fn value(&self, report: &Report) -> Result<f64, String> {
        let response = || report.latency_ns.response.as_ref().ok_or("no response times were measured");
        let share_of = |part: u64, whole: u64, what: &str| {
            if whole == 0 { Err(format!("no {what}")) } else { Ok(part as f64 / whole as f64) }
        };
        Ok(match self.metric {
            Metric::Percentile(q) => {
                let h = response()?.histogram()?;
                let found = stats::percentile(&h, q);
                found.ok_or_else(|| too_few(h.len(), self.samples()))? as f64
            }
            Metric::Max | Metric::Mean if response()?.count == 0 => {
                return Err("no message was answered".into());
            }
            Metric::Max => response()?.max as f64,
            Metric::Mean => response()?.mean,
            Metric::Rate => report.messages.achieved_rate,
            Metric::RateShare => {
                let target = report.messages.target_rate.filter(|r| *r > 0.0);
                report.messages.achieved_rate / target.ok_or("closed mode has no target rate")?
            }
            Metric::Errors => report.messages.errors() as f64,
            Metric::ErrorShare => {
                share_of(report.messages.errors(), report.messages.sent, "message was sent")?
            }
            Metric::Held => report.connections.held_min as f64,
            Metric::HeldShare => {
                share_of(report.connections.held_min, report.connections.asked, "connection was asked for")?
            }
            Metric::RssPerConn => {
                let server = report.server.as_ref().and_then(|s| s.bytes_per_connection);
                let slope = server.or(report.conns.as_ref().and_then(|c| c.slope));
                slope.ok_or("memory per connection was not measured (it takes --server-pid)")?.slope
            }
        })
    }
}

fn too_few(samples: u64, needed: u64) -> String {
    format!("{} samples are too few: it takes {}", format::count(samples), format::count(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Stat;

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
}
