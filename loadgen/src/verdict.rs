//! Whether the numbers are the server's or loadgen's own.

pub mod assemble;
pub mod pattern;

use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::report::format;
use crate::report::model::{LittlesLaw, Messages, Status, Verdict};

/// Everything the judgement rests on besides the measurement.
pub struct Facts {
    pub closed: bool,
    /// Messages go to everyone: no replies are owed, and a wake-up finds many deliveries.
    pub fanout: bool,
    pub local: bool,
    pub asked: u64,
    pub throttled: u64,
    pub steal_pct: f64,
    /// Messages a second this host was calibrated to reach.
    pub ceiling: Option<f64>,
}

/// Judges a run.
///
/// INVALID: the numbers say more about loadgen or the host than about the server. SUSPECT: they may. The limits are
/// those of the table in the README; a limit on a time has a floor, below which no user would see the difference.
pub fn judge(measured: &Measured, opening: &Opening, facts: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    let total = &measured.total;
    let wire_p50 = total.wire.at(0.5);
    let window_ns = measured.window().0 as f64;

    if measured.interrupted && total.counts.sent == 0 {
        verdict.doubt(Status::Invalid, "interrupted", "interrupted before anything was measured");
        return verdict;
    }
    let held = measured.held_min.min(opening.opened);
    if held < facts.asked {
        verdict.doubt(
            Status::Invalid,
            "held",
            format!("held {} of {} connections", format::count(held), format::count(facts.asked)),
        );
    }
    if !facts.closed {
        let (name, slip) = total.own_slip.high();
        let text = |limit: &str| format!("own slip {name} {} is over {limit}", format::ns(slip));
        if slip > 1_000_000.max(wire_p50 / 2) {
            verdict.doubt(Status::Invalid, "own_slip", text("1 ms and over half of wire p50"));
        } else if slip > 200_000.max(wire_p50 / 10) {
            verdict.doubt(Status::Suspect, "own_slip", text("200 µs and over a tenth of wire p50"));
        }
    }
    let busy = measured.busy_pct;
    if busy > 95.0 {
        let text =
            format!("loadgen was busy {busy:.0}% of the time: try more threads (-t) or a lower rate (-R)");
        verdict.doubt(Status::Invalid, "loop_busy", text);
    } else if busy > 70.0 {
        verdict.doubt(Status::Suspect, "loop_busy", format!("loadgen was busy {busy:.0}% of the time"));
    }
    let lag = total.read_lag.at(0.99);
    // In a closed loop every wake-up finds a batch, which is what makes it a ceiling.
    if !facts.closed && !facts.fanout && lag > 200_000.max(wire_p50 / 4) {
        let text = format!("replies waited for loadgen: read lag p99 {}", format::ns(lag));
        verdict.doubt(Status::Suspect, "read_lag", text);
    }
    if let Some((law, significant)) = littles_law(measured)
        && significant
    {
        let LittlesLaw { inflight, lambda_w, gap_pct } = law;
        let text = format!(
            "Little's law: {inflight:.2} messages in flight were seen and {lambda_w:.2} follow from the \
             latencies, {gap_pct:.0}% apart"
        );
        verdict.doubt(Status::Invalid, "littles_law", text);
    }
    if facts.throttled > 0 {
        verdict.doubt(
            Status::Suspect,
            "throttled",
            format!("the cgroup was throttled {} times", facts.throttled),
        );
    }
    if facts.steal_pct > 2.0 {
        verdict.doubt(
            Status::Suspect,
            "steal",
            format!("the hypervisor took {:.1}% of the time", facts.steal_pct),
        );
    }
    let (hiccup, tail) = (measured.samples.hiccup.at(0.999), total.response.at(0.999));
    if !total.response.histogram.is_empty() && hiccup > 1_000_000 && hiccup > tail / 5 {
        let text = format!(
            "this host delays any thread by {} (p99.9): response p99.9 {} is partly the host's",
            format::ns(hiccup),
            format::ns(tail)
        );
        verdict.doubt(Status::Suspect, "hiccup", text);
    }
    let achieved = total.counts.sent as f64 * 1e9 / window_ns;
    if let Some(share) = facts.ceiling.map(|ceiling| 100.0 * achieved / ceiling)
        && share > 70.0
    {
        let text = format!("the rate is {share:.0}% of what this host reached against a null server");
        verdict.doubt(Status::Suspect, "ceiling", text);
    }

    notes(&mut verdict, measured, facts);
    verdict
}

/// Whether what came back is an echo at all: the time that a wrong reply takes is no figure of an echo server.
pub fn replies(verdict: &mut Verdict, counts: &Messages) {
    if counts.sent > 0 && counts.received == 0 {
        let text =
            format!("no replies: {} messages were sent and none came back", format::count(counts.sent));
        verdict.doubt(Status::Invalid, "no_replies", text);
    }
    let corrupt = if counts.corrupt * 2 > counts.sent.max(counts.received) {
        "replies were corrupt, that is changed or none of ours: this is not an echo server"
    } else {
        "replies were corrupt, that is changed or none of ours"
    };
    for (code, n, text) in [
        ("corrupt", counts.corrupt, corrupt),
        ("duplicated", counts.duplicated, "replies were duplicated: they came twice"),
        ("reordered", counts.reordered, "replies were reordered: they came after later ones"),
    ] {
        if n > 0 {
            let status =
                if n * 100 > counts.sent.max(counts.received) { Status::Invalid } else { Status::Suspect };
            verdict.doubt(status, code, format!("{} {text}", format::count(n)));
        }
    }
}

/// What does not cast doubt on the numbers but a reader must know: what they are not, and what went wrong.
fn notes(verdict: &mut Verdict, measured: &Measured, facts: &Facts) {
    let total = &measured.total;
    let counts = &total.counts;
    let mut note = |code: &str, text: String| verdict.note(code, text);
    if facts.closed {
        note(
            "closed_loop",
            "a reply sends the next message, so that a stall keeps away the very messages it would have delayed: \
             latencies are too good, the rate is what counts; use -R for latencies"
                .into(),
        );
    }
    if facts.local {
        let server = measured.server.map_or(String::new(), |s| format!(", server {:.0}%", s.cpu_pct()));
        note(
            "local",
            format!("client and server share this host (me {:.0}%{server} of a CPU)", measured.own.cpu_pct()),
        );
    }
    let received_rate = counts.received as f64 / measured.window().seconds();
    // Poisson arrivals may be fewer than their mean by chance.
    let shortfall = measured.scheduled - counts.received as f64;
    if !facts.closed
        && !facts.fanout
        && !measured.interrupted
        && shortfall > 0.005 * measured.scheduled + 4.0 * measured.scheduled.sqrt()
    {
        let target = measured.scheduled / measured.window().seconds();
        let queue = target - received_rate;
        note(
            "overload",
            format!(
                "the rate was not sustained: {} messages/s were not answered in time",
                format::short(queue)
            ),
        );
    }
    for (code, n, text) in [
        ("lost", counts.lost, "messages never came back though later ones did"),
        ("unanswered", counts.unanswered, "messages were still out at the end"),
        ("not_sent", counts.not_sent, "messages were due on connections that were gone"),
        ("timeouts", counts.timeouts, "replies came later than --timeout"),
        ("capped", counts.capped, "messages were not sent because --max-inflight were out"),
        ("saturated", total.response.saturated, "response times were beyond the histogram's 60 s"),
    ] {
        if n > 0 {
            note(code, format!("{} {text}", format::count(n)));
        }
    }
    if !total.backpressure.histogram.is_empty() {
        let n = total.backpressure.histogram.len();
        let worst = format::ns(total.backpressure.histogram.max());
        note("backpressure", format!("{} messages waited for the socket, up to {worst}", format::count(n)));
    }
}

/// Little's law: messages in flight as sampled, against the time messages spent in flight by the histograms' account.
/// The flag says whether they contradict each other beyond what sampling explains.
pub fn littles_law(measured: &Measured) -> Option<(LittlesLaw, bool)> {
    let (sampled, error) = measured.samples.inflight()?;
    let lambda_w = measured.total.counts.flight_ns as f64 / measured.window().0 as f64;
    if measured.interrupted || lambda_w <= 0.0 {
        return None;
    }
    let gap = (sampled - lambda_w).abs();
    let law = LittlesLaw { inflight: sampled, lambda_w, gap_pct: 100.0 * gap / lambda_w };
    // Samples a millisecond apart are not independent: four times the naive error is a modest allowance. And a sampler
    // that wakes late, because the messages keep every CPU busy, sees those done that were in flight when it was due.
    let rate = measured.total.counts.received as f64 / measured.window().0 as f64;
    let late = 2.0 * rate * measured.samples.hiccup.histogram.mean();
    Some((law, law.gap_pct > 5.0 && gap > late.max(0.5) + 4.0 * error))
}
