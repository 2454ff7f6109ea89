//! Whether the server kept up with what was asked of it.

use crate::engine::measured::Measured;
use crate::report::format;
use crate::report::model::{Report, Verdict};
use crate::verdict::facts::Facts;

/// Says first what was not sent, or not answered in time.
pub fn find(verdict: &mut Verdict, report: &mut Report, measured: &Measured, facts: &Facts) {
    let counts = &measured.total.counts;
    if counts.capped > 0 {
        let share = 100.0 * counts.capped as f64 / (counts.capped + counts.sent) as f64;
        let text = format!(
            "{} messages, {share:.1}% of the schedule, were not sent because --max-inflight were out: what they would \
             have waited for is in no figure",
            format::count(counts.capped)
        );
        verdict.find("capped", text);
    }
    // Who is never answered waits in no queue.
    let unheard =
        measured.outcome.silent > 0 || counts.received == 0 || report.connections.held_min < facts.asked;
    if facts.closed || facts.listening || facts.fanout || measured.interrupted || unheard {
        return;
    }
    let seconds = measured.window().seconds();
    let target = measured.scheduled / seconds;
    let least_ns = measured.total.wire.without(&measured.outcome.unanswered).histogram.min();
    let waiting = target * least_ns as f64 / 1e9;
    if let Some(grown) = growth(measured.outcome.in_flight, measured.scheduled, waiting, counts.lost) {
        let rate = grown / (seconds / 2.0);
        report.messages.queue_growth = Some(rate);
        let text = format!(
            "the server answered {} of {}/s; the queue grew by {}/s, so that every percentile grows with the length of \
             the run",
            format::short(report.messages.answered_rate),
            format::short(target),
            format::short(rate)
        );
        verdict.find("overload", text);
    }
}

/// By how much a queue grew between the second quarter and the last, if it did.
///
/// `least` is how few messages were in flight in each quarter, of `scheduled` in all: whoever keeps up comes to the end
/// of the queue now and then. `waiting` are in flight without any queue, because each takes so long, and `lost` will be
/// for ever.
fn growth(least: [i64; 4], scheduled: f64, waiting: f64, lost: u64) -> Option<f64> {
    let mut queue = [0.0; 4];
    for (quarter, n) in least.into_iter().enumerate() {
        let gone = lost as f64 * (quarter + 1) as f64 / 4.0;
        queue[quarter] = (n as f64 - waiting - gone).max(0.0);
    }
    let [_, second, third, last] = queue;
    let grown = last - second;
    // A queue near saturation wanders by the square root of its length.
    let wandering = 4.0 * last.sqrt().max(2.0);
    (second < third && third < last && grown > wandering && grown > 0.002 * scheduled).then_some(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_grows_is_told_from_one_that_wanders() {
        for (why, least, scheduled, waiting, lost, grown) in [
            ("2,000 of 2,400/s for 2 s", [0, 200, 400, 600], 4_800.0, 0.0, 0, Some(400.0)),
            ("20 of 24/s for 20 s", [0, 20, 40, 60], 480.0, 0.0, 0, Some(40.0)),
            ("keeps up", [0, 0, 0, 0], 4_800.0, 0.0, 0, None),
            ("a stall in the last quarter", [0, 0, 0, 3], 4_800.0, 0.0, 0, None),
            ("a fixed delay, from an empty start", [0, 50, 100, 150], 200.0, 150.0, 0, None),
            ("a fixed delay, all the time", [150, 150, 150, 150], 200.0, 150.0, 0, None),
            ("a queue near saturation", [1, 2, 8, 14], 1_600.0, 0.0, 0, None),
            ("loses one in fifty", [0, 25, 50, 75], 5_000.0, 0.0, 100, None),
            ("a queue that shrinks", [900, 600, 300, 0], 4_800.0, 0.0, 0, None),
        ] {
            assert_eq!(growth(least, scheduled, waiting, lost), grown, "{why}");
        }
    }
}
