//! What to do about a run whose figures are not all the server's.

use super::format::{ns, short};
use super::model::{Mode, Report, Status};

/// One line that says what disturbed the run and what to try, if anything of ours or of this host's did.
pub fn advice(report: &Report) -> Option<String> {
    let verdict = &report.verdict;
    let ours = ["own_slip", "loop_busy", "littles_law"];
    let invalid =
        verdict.status == Status::Invalid && verdict.reasons.iter().any(|r| ours.contains(&&*r.code));
    let doubt = verdict.trust.iter().find(|t| !t.trusted);
    let what = match doubt {
        Some(t) => format!("p{} may be this host's own by up to {}", t.p, ns(t.ours_ns)),
        None if invalid => "the figures may be this host's own".to_owned(),
        None => return None,
    };
    Some(format!("{what}: {}", remedies(report).join(", or ")))
}

/// What fits the run, the likeliest first.
fn remedies(report: &Report) -> Vec<String> {
    let mut all = Vec::new();
    let config = &report.config;
    if report.host.throttled > 0 || report.host.steal_pct > 2.0 {
        all.push("measure on a host whose processors nobody takes away (steal, cgroup limits)".to_owned());
    }
    if report.checks.loop_busy_pct > 70.0 && (config.threads as usize) < report.host.cpus as usize {
        all.push(format!("use more threads (-t {})", config.threads + 1));
    }
    if report.target.local && report.host.cpus > 1 {
        let last = report.host.cpus - 1;
        all.push(format!(
            "keep client and server apart (taskset -c {last} loadgen …, the server on the others)"
        ));
    } else if report.host.cpus > 1 {
        all.push("give loadgen processors of its own (taskset)".to_owned());
    }
    if config.mode != Mode::Closed && config.spin_ns < 200_000 && report.host.cpus > 1 {
        all.push("sleep less (--spin 200us)".to_owned());
    }
    if let Some(rate) = config.rate.filter(|rate| *rate >= 2.0) {
        all.push(format!("send fewer messages (-R {})", short(rate / 2.0)));
    }
    if all.is_empty() {
        all.push("measure on a quieter host".to_owned());
    }
    all.truncate(3);
    all
}

#[cfg(test)]
mod tests {
    use super::super::model::{TargetInfo, Trust};
    use super::*;

    #[test]
    fn who_cannot_trust_a_run_is_told_what_to_try() {
        let mut report = Report::default();
        report.config.mode = Mode::Open;
        report.config.rate = Some(10_000.0);
        report.config.threads = 1;
        report.host.cpus = 4;
        assert_eq!(advice(&report), None);
        let doubt = Trust { p: "99".into(), response_ns: 2_000_000, ours_ns: 900_000, trusted: false };
        report.verdict.trust = vec![Trust { p: "50".into(), trusted: true, ..doubt.clone() }, doubt];
        let said = advice(&report).unwrap();
        assert_eq!(
            said,
            "p99 may be this host's own by up to 900 µs: give loadgen processors of its own (taskset), or sleep less \
             (--spin 200us), or send fewer messages (-R 5k)"
        );
        report.target = TargetInfo { local: true, ..TargetInfo::default() };
        report.checks.loop_busy_pct = 90.0;
        assert!(advice(&report).unwrap().contains("more threads (-t 2), or keep client and server apart"));
        // The server's faults are not for this line.
        report.verdict.trust.clear();
        report.verdict.doubt(Status::Invalid, "no_replies", "none");
        assert_eq!(advice(&report), None);
        report.verdict.doubt(Status::Invalid, "own_slip", "late");
        assert!(advice(&report).unwrap().starts_with("the figures may be this host's own: "));
    }
}
