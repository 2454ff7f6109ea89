//! Whether the numbers are the server's or loadgen's own, and whether the server did as it should.
//!
//! Two questions, and two words: INVALID where the measurement is in doubt, FAULTY where the server was at fault and
//! that was measured rightly. How far a valid run can be trusted is judged percentile by percentile
//! ([`Report::assess`]).

pub mod assemble;
pub mod facts;
pub mod memory;
mod overload;
pub mod pattern;

use crate::engine::measured::Measured;
use crate::engine::opened::Opening;
use crate::report::format;
use crate::report::model::{LittlesLaw, Report, Status, Verdict};
use crate::verdict::facts::Facts;

/// What to do about a host or a loadgen that is too slow for the question.
const REMEDY: &str =
    "give it a core of its own (taskset), more threads (-t), --spin 1ms, or fewer messages (-R)";

/// Judges a run of which everything else is in `report` already.
pub fn judge(report: &mut Report, measured: &Measured, opening: &Opening, facts: &Facts) {
    let mut verdict = Verdict::default();
    if measured.interrupted && measured.total.counts.sent == 0 {
        verdict.doubt(Status::Invalid, "interrupted", "interrupted before anything was measured");
        report.verdict = verdict;
        return;
    }
    overload::find(&mut verdict, report, measured, facts);
    connections(&mut verdict, report, opening, facts);
    if facts.listening {
        heard(&mut verdict, report, measured, facts);
    } else if !facts.fanout {
        // Of a fan-out, the collector knows what came.
        replies(&mut verdict, report);
        pushes(&mut verdict, measured.total.counts.pushed);
    }
    slow_readers(&mut verdict, report);
    measurement(&mut verdict, measured, facts);
    unsent(&mut verdict, measured, facts);
    notes(&mut verdict, measured, facts);
    report.verdict = verdict;
    report.assess();
    trust(report, measured);
}

/// Whether the connections that were asked for were there all the time.
fn connections(verdict: &mut Verdict, report: &Report, opening: &Opening, facts: &Facts) {
    let held = report.connections.held_min;
    let asked = if facts.allow_partial { opening.opened } else { facts.asked };
    if opening.opened < facts.asked {
        let text =
            format!("held {} of {} connections", format::count(opening.opened), format::count(facts.asked));
        if facts.allow_partial {
            verdict.note("partial", format!("{text}, which --allow-partial allows"));
        } else {
            return verdict.doubt(Status::Invalid, "held", text);
        }
    }
    if held < asked {
        let text = format!(
            "held {} of {} connections: the server lost the others",
            format::count(held),
            format::count(asked)
        );
        verdict.doubt(Status::Faulty, "held", text);
    }
    let silent = report.connections.silent;
    if silent > 0 && report.messages.received > 0 {
        let text =
            format!("{} of {} connections never had an answer", format::count(silent), format::count(asked));
        verdict.doubt(Status::Faulty, "silent", text);
    }
}

/// Whether what came back is an echo at all, and whole.
pub fn replies(verdict: &mut Verdict, report: &Report) {
    let counts = &report.messages;
    let closed = report.config.pipeline.is_some();
    if counts.sent > 0 && counts.received == 0 {
        let text =
            format!("no replies: {} messages were sent and none came back", format::count(counts.sent));
        verdict.doubt(Status::Invalid, "no_replies", text);
    }
    if counts.corrupt * 2 > counts.sent.max(counts.received) {
        let text = format!(
            "{} replies were corrupt, that is changed or none of ours: this is not an echo server",
            format::count(counts.corrupt)
        );
        verdict.doubt(Status::Invalid, "corrupt", text);
    } else if counts.corrupt > 0 {
        let text = format!(
            "{} replies were corrupt, that is changed or none of ours",
            format::count(counts.corrupt)
        );
        verdict.doubt(Status::Faulty, "corrupt", text);
    }
    let slots = if closed { "slots of the loop had no reply to the end: its concurrency shrank" } else { "" };
    // What a growing queue has not come to yet is no fault but too much to do.
    let unanswered = if counts.queue_growth.is_some() { 0 } else { counts.unanswered };
    for (code, n, text) in [
        ("duplicated", counts.duplicated, "replies were duplicated: they came twice"),
        ("lost", counts.lost, "messages never came back though later ones did"),
        ("unanswered", unanswered, "messages had no reply"),
        ("stuck", counts.stuck, slots),
    ] {
        if n > 0 {
            verdict.doubt(Status::Faulty, code, format!("{} {text}", format::count(n)));
        }
    }
    if counts.reordered > 0 {
        let text = format!(
            "the server answers out of order: {} replies came after later ones; each was matched by what it says",
            format::count(counts.reordered)
        );
        verdict.find("reordered", text);
    }
    if report.latency_ns.response_low.is_some() {
        let text = format!(
            "nothing tells the replies apart, and {} came while more than one message was out on their connection: \
             their latency is an interval, between `response at least` and `response at most`",
            format::count(counts.ambiguous)
        );
        verdict.find("ambiguous", text);
    }
    for (code, n, text) in [
        (
            "unsolicited",
            counts.unsolicited,
            "messages came that answer nothing: pushes, heartbeats or greetings",
        ),
        ("late", counts.late, "replies came after their messages had been given up"),
        (
            "replaced",
            report.connections.replaced,
            "connections were given up with their messages and opened anew",
        ),
        ("timeouts", counts.timeouts, "replies came later than --timeout"),
    ] {
        if n > 0 {
            verdict.note(code, format!("{} {text}", format::count(n)));
        }
    }
}

/// Where each message that comes is taken for the reply to the oldest, a push is one too, unless nothing is out.
fn pushes(verdict: &mut Verdict, pushed: u64) {
    if pushed > 0 {
        let text = format!(
            "{} messages came while nothing was out on their connection, and nothing tells replies apart: others like \
             them were taken for replies, so no latency holds; tell them apart with --ignore, --answer or --match",
            format::count(pushed)
        );
        verdict.doubt(Status::Invalid, "pushes", text);
    }
}

/// Whether those who read slowly read as slowly as they were to.
fn slow_readers(verdict: &mut Verdict, report: &Report) {
    let Some(slow) = report.slow_readers.as_ref().filter(|slow| slow.connections > 0) else { return };
    let asked = slow.rate as f64;
    if (slow.achieved_rate - asked).abs() > asked / 10.0 {
        let why = if slow.achieved_rate > asked {
            "they are faster than they were to be"
        } else {
            "no more came for them, or the run is too short: where less is sent than they may read, they are not slow"
        };
        let text = format!(
            "each slow reader read {}/s and not {}/s: {why}",
            format::bytes(slow.achieved_rate),
            format::bytes(asked)
        );
        verdict.find("slow_readers", text);
    }
}

/// Whether anything came while nothing was sent, and by which clock.
fn heard(verdict: &mut Verdict, report: &Report, measured: &Measured, facts: &Facts) {
    if report.messages.received == 0 {
        verdict.doubt(Status::Invalid, "no_messages", "nothing came");
    }
    let ahead = measured.total.counts.ahead;
    if ahead * 100 > report.messages.received {
        let text = format!(
            "{} stamps are ahead of this host's clock: the sender's is fast by more than messages take, or in another unit, \
             so that of one-way latency only what is too long is left",
            format::count(ahead)
        );
        verdict.doubt(Status::Invalid, "clocks_apart", text);
    }
    if report.latency_ns.response.is_none() || facts.local {
        return;
    }
    let apart = "the stamps are of another host's clock, so that one-way latency holds how far apart the two clocks are";
    let Some(error) = report.host.clock_error_ns else {
        let text = format!(
            "{apart}: unknown, since nobody keeps this host's, says its kernel (adjtimex, chronyc tracking)"
        );
        return verdict.find("two_clocks", text);
    };
    let error_shown = format::ns(error);
    let text = format!(
        "{apart}: up to {error_shown} by this host's, says its kernel, and what the sender's says comes on top (adjtimex, \
         chronyc tracking)"
    );
    verdict.find("two_clocks", text);
    let median = measured.total.response.at(0.5);
    if median < error {
        let text = format!(
            "the median one-way latency of {} is less than the {error_shown} by which this host's clock may be wrong: \
             nothing follows from it",
            format::ns(median)
        );
        verdict.doubt(Status::Invalid, "clock_error", text);
    }
}

/// Whether the measurement contradicts itself, or the ceiling found is loadgen's.
fn measurement(verdict: &mut Verdict, measured: &Measured, facts: &Facts) {
    if let Some(law) = littles_law(measured)
        && law.gap_pct > 5.0
        && (law.inflight - law.lambda_w).abs() > 0.5
    {
        let LittlesLaw { inflight, lambda_w, gap_pct } = law;
        let text = format!(
            "Little's law: {inflight:.2} messages in flight were counted and {lambda_w:.2} follow from the \
             latencies, {gap_pct:.0}% apart"
        );
        verdict.doubt(Status::Invalid, "littles_law", text);
    }
    let busy = measured.busy_pct;
    if facts.closed && busy > 95.0 {
        let text = format!(
            "loadgen was busy {busy:.0}% of the time: the rate may be its own ceiling; try more threads (-t)"
        );
        verdict.doubt(Status::Invalid, "loop_busy", text);
    } else if busy > 70.0 {
        verdict.note("loop_busy", format!("loadgen was busy {busy:.0}% of the time"));
    }
}

/// Whether anything was sent where something was due, if nothing else says why not: connections may have waited for replies
/// since the warm-up, or for the server to let them go.
fn unsent(verdict: &mut Verdict, measured: &Measured, facts: &Facts) {
    let due = facts.closed || measured.scheduled >= 1.0;
    let sends = !facts.listening && !facts.fanout;
    if due && sends && measured.total.counts.sent == 0 && verdict.reasons.is_empty() {
        let text = "nothing was sent in the measured time: every connection waited for replies, or to be opened anew";
        verdict.doubt(Status::Invalid, "nothing_sent", text);
    }
}

/// Up to where the percentiles are the server's.
fn trust(report: &mut Report, measured: &Measured) {
    let total = &measured.total;
    if total.response.histogram.is_empty() {
        return;
    }
    let median = report.verdict.trust.first().map(|t| (t.response_ns, t.ours_ns, t.trusted));
    // Of a handful of messages no percentile is shown, but they were late or not.
    let (response, ours, trusted) = median.unwrap_or_else(|| {
        let (with, without) = (total.response.at(0.5), total.undisturbed.at(0.5));
        let ours = with.saturating_sub(without);
        (with, ours, ours <= crate::report::trust::tolerable(without))
    });
    if trusted {
        return;
    }
    let busy = if measured.busy_pct > 70.0 {
        format!(" (it was busy {:.0}% of the time)", measured.busy_pct)
    } else {
        String::new()
    };
    let text = format!(
        "of the median response of {} up to {} may be loadgen's or its host's own{busy}: {REMEDY}",
        format::ns(response),
        format::ns(ours)
    );
    report.verdict.doubt(Status::Invalid, "own_slip", text);
}

/// What does not cast doubt on the numbers but a reader must know: what they are not, and what went wrong.
fn notes(verdict: &mut Verdict, measured: &Measured, facts: &Facts) {
    let total = &measured.total;
    let counts = &total.counts;
    let mut note = |code: &str, text: String| verdict.note(code, text);
    if let Some(think) = &facts.thinks {
        let text = format!(
            "a closed system: each connection sends its next message {think} after a reply, so that whoever answers late \
             is asked less"
        );
        note("closed_system", text);
    } else if facts.closed {
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
    for (code, n, text) in [
        (
            "not_sent",
            counts.not_sent,
            "messages were due on connections that were gone, or that waited for replies",
        ),
        ("saturated", total.response.saturated, "response times were beyond the histogram's 60 s"),
        ("throttled", facts.throttled, "times the cgroup was throttled"),
    ] {
        if n > 0 {
            note(code, format!("{} {text}", format::count(n)));
        }
    }
    let without = counts.reads - counts.reads_stamped;
    if facts.kernel_stamps && without > 0 {
        let steps = match measured.outcome.clock_steps {
            0 => String::new(),
            n => format!("; the clock was stepped {n} times"),
        };
        let text = format!(
            "{} of {} reads have no stamp of the kernel's: what they brought ends when it was read{steps}",
            format::count(without),
            format::count(counts.reads)
        );
        note("unstamped", text);
    }
    if facts.steal_pct > 2.0 {
        note("steal", format!("the hypervisor took {:.1}% of the time", facts.steal_pct));
    }
    let sent = counts.sent_inside as f64 * 1e9 / measured.window().0 as f64;
    if let Some(share) = facts.ceiling.map(|ceiling| 100.0 * sent / ceiling)
        && share > 70.0
    {
        note("ceiling", format!("the rate is {share:.0}% of what this host reached against a null server"));
    }
    if !total.backpressure.histogram.is_empty() {
        let n = total.backpressure.histogram.len();
        let worst = format::ns(total.backpressure.histogram.max());
        note("backpressure", format!("{} messages waited for the socket, up to {worst}", format::count(n)));
    }
}

/// Little's law: messages in flight as counted, against the time messages spent in flight by the histograms' account.
pub fn littles_law(measured: &Measured) -> Option<LittlesLaw> {
    let counts = &measured.total.counts;
    let window = measured.window().0 as f64;
    let (inflight, lambda_w) = (counts.inflight_inside_ns as f64 / window, counts.flight_ns as f64 / window);
    if measured.interrupted || lambda_w <= 0.0 {
        return None;
    }
    Some(LittlesLaw { inflight, lambda_w, gap_pct: 100.0 * (inflight - lambda_w).abs() / lambda_w })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Nanos;

    /// What is said of 100 messages that took `took`, and `ahead` that came before they were sent, by a sender on this host
    /// or on another, when this host's clock may be wrong by `error`.
    fn said(took: u64, ahead: u64, local: bool, error: Option<u64>) -> (Status, Vec<String>) {
        let mut measured = Measured::nothing(1, false);
        (0..100).for_each(|_| measured.total.response.record(Nanos(took)));
        measured.total.counts.ahead = ahead;
        let mut report = Report::default();
        report.messages.received = 100 + ahead;
        report.latency_ns.response = measured.total.response.stat();
        report.host.clock_error_ns = error;
        let mut verdict = Verdict::default();
        heard(&mut verdict, &report, &measured, &Facts { local, ..Facts::default() });
        let texts = verdict.findings.iter().chain(&verdict.reasons).map(|finding| finding.text.clone());
        (verdict.status, texts.collect())
    }

    #[test]
    fn a_run_that_sent_nothing_is_no_measurement() {
        let said = |sent, scheduled, facts: Facts| {
            let mut measured = Measured { scheduled, ..Measured::nothing(1, false) };
            measured.total.counts.sent = sent;
            let mut verdict = Verdict::default();
            unsent(&mut verdict, &measured, &facts);
            verdict.status
        };
        let (closed, open) = (|| Facts { closed: true, ..Facts::default() }, Facts::default);
        assert_eq!(said(0, 100.0, open()), Status::Invalid);
        assert_eq!(said(0, 0.0, closed()), Status::Invalid);
        assert_eq!((said(1, 100.0, open()), said(1, 0.0, closed())), (Status::Valid, Status::Valid));
        assert_eq!(said(0, 0.5, open()), Status::Valid, "nothing was due");
        assert_eq!(said(0, 0.0, Facts { listening: true, ..closed() }), Status::Valid);
    }

    #[test]
    fn one_way_latency_is_as_good_as_the_clocks() {
        assert_eq!(said(5_000_000, 0, true, None), (Status::Valid, vec![]), "one host has one clock");
        let (status, texts) = said(5_000_000, 0, false, None);
        assert!(status == Status::Valid && texts.len() == 1 && texts[0].contains("unknown"), "{texts:?}");
        let (status, texts) = said(5_000_000, 0, false, Some(2_000_000));
        assert!(status == Status::Valid && texts.len() == 1 && texts[0].contains("up to 2 ms"), "{texts:?}");
        let (status, texts) = said(5_000_000, 0, false, Some(6_000_000));
        assert!(status == Status::Invalid && texts[1].contains("5.00 ms is less than the 6 ms"), "{texts:?}");
        // Whoever is ahead is ahead on one host too.
        assert_eq!(said(5_000_000, 1, true, None).0, Status::Valid);
        let (status, texts) = said(5_000_000, 2, true, None);
        assert!(status == Status::Invalid && texts[0].contains("2 stamps are ahead"), "{texts:?}");
    }
}
