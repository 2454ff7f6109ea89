//! `loadgen find`: the highest load that meets an objective.
//!
//! A step says something about its own load only if the server begins it with nothing left to do, so each waits until its
//! last reply is in, and where some never come, until the server answers a few messages as fast as it did at first.

use std::time::{Duration, Instant};

use crate::cli::args::FindArgs;
use crate::cli::problem::Problem;
use crate::engine::plan::Plan;
use crate::engine::schedule::Rate;
use crate::modes::measurement::{Measurement, measure, plan};
use crate::report::format;
use crate::report::model::{Answer, Find, FindStep, Mode};
use crate::report::{Condition, Report};

/// A step is lengthened up to this for a percentile that takes many samples.
const LENGTH_MAX: Duration = Duration::from_secs(60);

/// How long a step's last replies are waited for, and how long a server may take to come to rest after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a load is tried before it counts as missed, or as one that this host cannot tell: a hiccup of the host is
/// not the server's limit.
const TRIES: usize = 3;

/// Loads tried at most.
const STEPS_MAX: usize = 40;

/// Where loads are tried: on the sockets of a measurement, or in a simulation.
pub trait Ground {
    /// A plan that sends nothing in particular, for steps to fill in.
    fn plan(&self) -> Plan;

    /// Opens `connections`, runs `plan` and closes.
    ///
    /// # Errors
    /// Those of [`measure`].
    fn measure(&mut self, connections: usize, plan: &Plan) -> Result<Report, Problem>;

    /// Shows a step that is over.
    fn say(&mut self, line: &str);
}

impl Ground for Measurement {
    fn plan(&self) -> Plan {
        plan(self)
    }

    fn measure(&mut self, connections: usize, plan: &Plan) -> Result<Report, Problem> {
        Ok(measure(self, Mode::Find, connections, plan)?.0)
    }

    fn say(&mut self, line: &str) {
        self.progress.say(line);
    }
}

/// The command: see [`search`].
///
/// # Errors
/// When the options contradict each other, or no load could be tried.
pub fn command(args: &FindArgs) -> Result<(Measurement, Report), Problem> {
    search(args, || Measurement::new(args.common()))
}

/// Doubles the load until the objective is missed, then halves the gap (on a logarithmic scale) until it is small. The
/// report is that of the best load.
///
/// # Errors
/// When the options contradict each other, `ground` cannot be had, or no load could be tried.
pub fn search<G: Ground>(
    args: &FindArgs,
    ground: impl FnOnce() -> Result<G, Problem>,
) -> Result<(G, Report), Problem> {
    let most = args.connections as f64;
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
    let ground = ground()?;
    let found = Find {
        objective: args.slo.to_string(),
        axis: if args.by_connections { "connections" } else { "rate" }.into(),
        ..Find::default()
    };
    let mut hunt = Hunt { args, ground, found, best: None, other: None, rested: None };
    let mut search = Search::new(low, high, args.precision);
    while let Some(load) = search.next()
        && hunt.found.steps.len() < STEPS_MAX
    {
        match hunt.step(load)? {
            Some(answer) => search.tell(load, answer),
            None => break,
        }
    }
    hunt.end(&search)
}

/// A search under way.
struct Hunt<'a, G> {
    args: &'a FindArgs,
    ground: G,
    found: Find,
    /// The report of the best load.
    best: Option<Report>,
    /// That of another, in case no load is good.
    other: Option<Report>,
    /// The longest response at the first load that was good, nanoseconds: that of a server at rest.
    rested: Option<u64>,
}

impl<G: Ground> Hunt<'_, G> {
    /// Tries `load` until it is known what it does; `None` when the search is over.
    fn step(&mut self, load: f64) -> Result<Option<Answer>, Problem> {
        let mut missed = 0;
        for attempt in 1..=TRIES {
            let report = self.attempt(load)?;
            if report.run.interrupted {
                self.found.stopped = "interrupted".into();
                self.other.get_or_insert(report);
                return Ok(None);
            }
            let rested = self.rest(&report)?;
            let step = judge(&self.args.slo, load, &report);
            let answer = step.answer();
            missed += usize::from(answer == Answer::Missed);
            // What the host does, it does not do every time; what a growing queue does, no host does.
            let clear = report.messages.queue_growth.is_some_and(|growth| growth > 0.05 * load);
            if answer != Answer::Met && missed < 2 && !clear && attempt < TRIES && rested {
                continue;
            }
            self.keep(step, report);
            if !rested {
                self.found.stopped = "the server did not come to rest after the last load".into();
                return Ok(None);
            }
            return Ok(Some(answer));
        }
        unreachable!("the last attempt decides")
    }

    fn attempt(&mut self, load: f64) -> Result<Report, Problem> {
        let (connections, rate) = match self.args.by_connections {
            true => (load.round() as usize, self.args.per_conn_rate * load.round()),
            false => (self.args.connections as usize, load),
        };
        let plan = Plan {
            rate: Some(Rate::Constant(rate)),
            warmup: self.args.warmup,
            duration: self.args.duration.max(length(&self.args.slo, rate)),
            drain: PATIENCE,
            ..self.ground.plan()
        };
        self.ground.measure(connections, &plan)
    }

    /// Waits until the server has nothing left to do, and says whether it came to that.
    fn rest(&mut self, report: &Report) -> Result<bool, Problem> {
        let response = report.latency_ns.response.as_ref();
        if self.rested.is_none() && report.messages.unanswered == 0 {
            self.rested = response.map(|stat| stat.max);
        }
        let Some(rested) = self.rested.filter(|_| report.messages.unanswered > 0) else { return Ok(true) };
        let enough = (2 * rested).max(10_000_000);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let few = Plan {
                rate: Some(Rate::Constant(20.0)),
                duration: Duration::from_millis(500),
                drain: PATIENCE,
                ..self.ground.plan()
            };
            let probe = self.ground.measure(few.shard.1, &few)?;
            let longest = probe.latency_ns.response.as_ref().map(|stat| stat.max);
            // One that loses messages loses these too, and is at rest for all that.
            if probe.run.interrupted || longest.is_some_and(|ns| ns <= enough || probe.messages.lost > 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keep(&mut self, step: FindStep, report: Report) {
        let value = step.value.map_or("-".into(), |v| self.args.slo.show(v));
        let why = step.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
        let line = format!(
            "{} {:>8}  {value:>10}  {}{why}",
            self.found.axis,
            format::short(step.load),
            step.answer().word()
        );
        self.ground.say(&line);
        match step.ok {
            true => self.best = Some(report),
            false => self.other = Some(report),
        }
        self.found.steps.push(step);
    }

    fn end(mut self, search: &Search) -> Result<(G, Report), Problem> {
        if self.found.stopped.is_empty() {
            self.found.stopped = search.why();
        }
        let by_load = |a: &&FindStep, b: &&FindStep| a.load.total_cmp(&b.load);
        let above = self.found.steps.iter().filter(|step| !step.ok).min_by(by_load);
        if let Some(step) = above.filter(|step| step.answer() == Answer::Unknown) {
            let why = step.note.as_deref().unwrap_or("this host was too busy");
            let unknown = format!("could not tell about {}: {why}", format::short(step.load));
            self.found.stopped = match search.good {
                Some(_) => format!("{}; {unknown}", self.found.stopped),
                None => unknown,
            };
        }
        self.found.best = search.good;
        let missed = self.found.steps.iter().filter(|step| step.answer() == Answer::Missed);
        self.found.next_failed = missed.min_by(by_load).map(|step| step.load);
        let report = self.best.or(self.other);
        let mut report = report.ok_or_else(|| Problem::Failed("no load was tried".into()))?;
        report.find = Some(self.found);
        Ok((self.ground, report))
    }
}

/// How long a step at `rate` lasts at least, so that the objective's percentile has its samples; zero when that would
/// take too long, which is then said.
fn length(slo: &Condition, rate: f64) -> Duration {
    // A few more, since those that are due at the very ends may fall to either side.
    let needed = Duration::from_secs_f64((slo.samples() + 5) as f64 / rate);
    if needed <= LENGTH_MAX { needed } else { Duration::ZERO }
}

/// Whether `report` meets the objective at `load`, and the step as the report has it.
///
/// Times hold loadgen's own lateness, so that an objective that is met is met, whatever the verdict says of the figures;
/// only one that is missed can be missed through our doing.
fn judge(slo: &Condition, load: f64, report: &Report) -> FindStep {
    let m = &report.messages;
    let judged = slo.holds(report);
    let value = judged.as_ref().ok().map(|(_, value)| *value);
    let made = m.target_rate.is_none_or(|target| m.achieved_rate > 0.99 * target);
    let waited = report.latency_ns.backpressure.as_ref().is_some_and(|stat| stat.count > 0);
    let (held, asked) = (report.connections.held_min, report.connections.asked);
    let (answer, note) = match judged {
        _ if held < asked => {
            let text = format!("{} of {} connections were held", format::count(held), format::count(asked));
            (Answer::Missed, Some(text))
        }
        _ if m.queue_growth.is_some() || m.received * 100 < m.sent * 99 => {
            let [answered, sent] = [m.answered_rate, m.achieved_rate].map(format::short);
            (Answer::Missed, Some(format!("{answered} of {sent}/s were answered")))
        }
        _ if !made && !waited => {
            let [achieved, target] = [m.achieved_rate, m.target_rate.unwrap_or(load)].map(format::short);
            (Answer::Unknown, Some(format!("loadgen sent {achieved} of {target}/s")))
        }
        Ok((true, _)) if made => (Answer::Met, None),
        Ok(_) => (Answer::Missed, None),
        Err(why) => (Answer::Unknown, Some(why)),
    };
    // Who has no processor answers late, and the next load late as well.
    let host = Some(answer).filter(|answer| *answer == Answer::Missed && held >= asked);
    let (answer, note) = match host.and_then(|_| slo.host_in_the_way(report)) {
        Some(why) => (Answer::Unknown, Some(why)),
        None => (answer, note),
    };
    FindStep {
        load,
        value,
        ok: answer == Answer::Met,
        answer: Some(answer),
        note,
        achieved_rate: m.achieved_rate,
        verdict: report.verdict.clone(),
        response: report.latency_ns.response.clone(),
    }
}

/// The search by itself: which load to try next.
struct Search {
    low: f64,
    high: f64,
    precision: f64,
    /// The highest load that was good, the lowest that was not.
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

    fn tell(&mut self, load: f64, answer: Answer) {
        match answer {
            Answer::Met => self.good = Some(load),
            Answer::Missed | Answer::Unknown => self.bad = Some(load),
        }
    }

    fn why(&self) -> String {
        match (self.good, self.bad) {
            (None, _) => "not even the least load meets the objective".into(),
            (Some(_), None) => "the greatest load meets the objective".into(),
            (Some(good), Some(bad)) => format!("within {:.1}%", 100.0 * (bad / good - 1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Stat, Status, Trust};

    fn search(limit: f64) -> (Search, usize) {
        let mut search = Search::new(1e3, 1e6, 0.05);
        let mut steps = 0;
        while let Some(load) = search.next() {
            assert!((1e3..=1e6).contains(&load));
            search.tell(load, if load <= limit { Answer::Met } else { Answer::Missed });
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

    /// A report of 1,000 messages at 100/s that took `ms` each.
    fn report(ms: u64) -> Report {
        let mut h = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        h.record_n(ms * 1_000_000, 1_000).unwrap();
        let mut report = Report::default();
        report.latency_ns.response = Some(Stat::new(&h, 0));
        let m = &mut report.messages;
        (m.sent, m.received, m.target_rate) = (1_000, 1_000, Some(100.0));
        (m.achieved_rate, m.answered_rate) = (100.0, 100.0);
        report
    }

    #[test]
    fn what_is_met_is_met_and_what_may_be_ours_is_not_missed() {
        let slo: Condition = "p99<20ms".parse().unwrap();
        let answer = |report: &Report| judge(&slo, 100.0, report).answer();
        let invalid = |ms, ours_ns| {
            let mut report = report(ms);
            report.verdict.status = Status::Invalid;
            report.verdict.trust =
                vec![Trust { p: "99".into(), response_ns: ms * 1_000_000, ours_ns, trusted: false }];
            report
        };
        assert_eq!((answer(&report(10)), answer(&report(30))), (Answer::Met, Answer::Missed));
        assert_eq!(answer(&invalid(10, 9_000_000)), Answer::Met, "own slip included, it is below");
        assert_eq!(answer(&invalid(30, 15_000_000)), Answer::Unknown);
        assert_eq!(answer(&invalid(30, 5_000_000)), Answer::Missed, "not even so much explains it");
        let mut slow = report(10);
        slow.messages.achieved_rate = 90.0;
        assert_eq!(answer(&slow), Answer::Unknown, "loadgen did not make the load");
        let mut growing = report(10);
        growing.messages.queue_growth = Some(5.0);
        assert_eq!(answer(&growing), Answer::Missed, "the drain hides no backlog");
        let mut starved = report(30);
        starved.latency_ns.hiccup = report(15).latency_ns.response;
        assert_eq!(answer(&starved), Answer::Missed, "another host's server");
        starved.target.local = true;
        assert_eq!(answer(&starved), Answer::Unknown, "no server can do better here");
        starved.latency_ns.hiccup = report(5).latency_ns.response;
        assert_eq!(answer(&starved), Answer::Missed, "not even so much explains it");
    }
}
