//! `loadgen find`: the highest load that meets an objective.

use std::time::Duration;

use crate::cli::args::Find;
use crate::cli::problem::Problem;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::modes::session::{Session, measure, plan};
use crate::report::format;
use crate::report::model::{Find as Found, FindStep, Mode, Status};
use crate::report::{Condition, Report};

/// A step is lengthened up to this for a percentile that takes many samples.
const LENGTH_MAX: Duration = Duration::from_secs(60);

/// How often a load is tried again when the numbers are not the server's.
const RETRIES: usize = 2;

/// Loads tried at most.
const STEPS_MAX: usize = 40;

/// The command: doubles the load until the objective is missed, then halves the gap (on a logarithmic scale) until it
/// is small. The report is that of the best load.
///
/// # Errors
/// When no load could be tried.
pub fn command(args: &Find) -> Result<(Session, Report), Problem> {
    let common = args.common();
    let most = common.connections as f64;
    let (low, high) = match args.by_connections {
        true => (args.min.unwrap_or(100.0).min(most), args.max.unwrap_or(most)),
        false => (args.min.unwrap_or(1e3), args.max.unwrap_or(1e6)),
    };
    if low > high {
        return Err(Problem::Usage(format!("--min {low} is above --max {high}")));
    }
    if args.precision < 0.001 {
        return Err(Problem::Usage("--precision takes a percentage of 0.1% or more".into()));
    }
    let mut session = Session::new(common)?;
    let mut found = Found {
        objective: args.slo.to_string(),
        axis: if args.by_connections { "connections" } else { "rate" }.into(),
        ..Found::default()
    };
    let mut best: Option<(f64, Report)> = None;
    let mut fallback = None;
    let mut search = Search::new(low, high, args.precision);
    while let Some(load) = search.next() {
        if found.steps.len() == STEPS_MAX {
            break;
        }
        let (connections, rate) = match args.by_connections {
            true => (load.round() as usize, args.per_conn_rate * load.round()),
            false => (session.common.connections, load),
        };
        let plan = Plan {
            rate: Some(Rate::Constant(rate)),
            warmup: args.warmup,
            duration: args.duration.max(length(&args.slo, rate)),
            ..plan(&session)
        };
        let (mut report, _) = measure(&mut session, Mode::Find, connections, &plan)?;
        for _ in 0..RETRIES {
            if report.run.interrupted || report.verdict.status < Status::Invalid {
                break;
            }
            // A hiccup of the host is not the server's limit; one that stays is a limit all the same.
            (report, _) = measure(&mut session, Mode::Find, connections, &plan)?;
        }
        if report.run.interrupted {
            found.stopped = "interrupted".into();
            fallback.get_or_insert(report);
            break;
        }
        let (ok, step) = judge(&args.slo, load, &report);
        let value = step.value.map_or("-".into(), |v| args.slo.show(v));
        let answer = match (ok, &step.note) {
            (true, _) => "ok".into(),
            (false, None) => "no".into(),
            (false, Some(why)) => format!("not judged: {why}"),
        };
        session.progress.say(&format!("{} {:>8}  {value:>10}  {answer}", found.axis, format::short(load)));
        found.steps.push(step);
        search.tell(load, ok);
        match ok {
            true => best = Some((load, report)),
            false => fallback = Some(report),
        }
    }
    if found.stopped.is_empty() {
        found.stopped = search.why();
        if let [only] = &found.steps[..]
            && let Some(why) = &only.note
        {
            found.stopped = format!("the least load was not judged: {why}");
        }
        let limit = found.steps.iter().filter(|step| !step.ok).min_by(|a, b| a.load.total_cmp(&b.load));
        if limit.is_some_and(|step| step.verdict.status == Status::Invalid) {
            found.stopped += "; at the load above, this host cannot tell (INVALID)";
        }
    }
    found.best = search.good;
    found.next_failed = search.bad;
    let mut report = match best {
        Some((_, report)) => report,
        None => fallback.ok_or_else(|| Problem::Failed("no load was tried".into()))?,
    };
    report.find = Some(found);
    Ok((session, report))
}

/// How long a step at `rate` lasts at least, so that the objective's percentile has its samples; zero when that would
/// take too long, which is then said.
fn length(slo: &Condition, rate: f64) -> Duration {
    // A few more, since those that are due at the very ends may fall to either side.
    let needed = Duration::from_secs_f64((slo.samples() + 5) as f64 / rate);
    if needed <= LENGTH_MAX { needed } else { Duration::ZERO }
}

/// Whether `report` meets the objective at `load`, and the step as the report has it. A load that loadgen could not
/// make, or whose numbers are not the server's, does not count as met.
fn judge(slo: &Condition, load: f64, report: &Report) -> (bool, FindStep) {
    let judged = slo.holds(report);
    let sustained =
        report.messages.target_rate.is_none_or(|target| report.messages.achieved_rate > 0.99 * target)
            && report.messages.received as f64 > 0.99 * report.messages.sent as f64;
    let ok = matches!(judged, Ok((true, _))) && sustained && report.verdict.status < Status::Invalid;
    let (value, note) = match judged {
        Ok((_, value)) => (Some(value), None),
        Err(why) => (None, Some(why)),
    };
    let step = FindStep {
        load,
        value,
        ok,
        note,
        achieved_rate: report.messages.achieved_rate,
        verdict: report.verdict.clone(),
        response: report.latency_ns.response.clone(),
    };
    (ok, step)
}

/// The search by itself: which load to try next.
struct Search {
    low: f64,
    high: f64,
    precision: f64,
    /// The highest load that was good, the lowest that was bad.
    good: Option<f64>,
    bad: Option<f64>,
}

impl Search {
    fn new(low: f64, high: f64, precision: f64) -> Search {
        Search { low, high, precision, good: None, bad: None }
    }

    fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(self.low),
            // Not even the least load will do.
            (None, Some(_)) => None,
            (Some(good), None) if good < self.high => Some((2.0 * good).min(self.high)),
            (Some(_), None) => None,
            (Some(good), Some(bad)) => (bad / good > 1.0 + self.precision).then(|| (good * bad).sqrt()),
        }
    }

    fn tell(&mut self, load: f64, ok: bool) {
        if ok {
            self.good = Some(load);
        } else {
            self.bad = Some(load);
        }
    }

    fn why(&self) -> String {
        match (self.good, self.bad) {
            (None, _) => "the least load misses the objective".into(),
            (Some(_), None) => "the greatest load meets the objective".into(),
            (Some(good), Some(bad)) => format!("within {:.1}%", 100.0 * (bad / good - 1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64) -> (Search, usize) {
        let mut search = Search::new(1e3, 1e6, 0.05);
        let mut steps = 0;
        while let Some(load) = search.next() {
            assert!((1e3..=1e6).contains(&load));
            search.tell(load, load <= limit);
            steps += 1;
        }
        (search, steps)
    }

    #[test]
    fn the_knee_is_found_in_a_few_steps() {
        for limit in [1_000.0, 1_500.0, 77_777.0, 999_000.0] {
            let (search, steps) = search(limit);
            let good = search.good.unwrap();
            assert!(
                good <= limit && good * 1.05 * 1.001 > limit.min(search.bad.unwrap_or(limit)),
                "{limit}: {good}"
            );
            assert!(steps <= 18, "{limit}: {steps} steps");
        }
        assert!(search(2e6).0.why().contains("greatest"));
        assert!(search(10.0).0.why().contains("least"));
    }
}
