//! What a terminal shows while a run is under way: where it is, how fast, how late, and how that went so far.

use std::collections::VecDeque;

use crate::report::fit::columns;
use crate::report::format;

/// Fewer columns or lines than these, and one line has to do.
const COLUMNS: usize = 60;
const LINES: usize = 12;

/// Samples kept: the widest terminal's worth.
const HISTORY: usize = 200;

/// One moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// `warm-up 3s`, `12s/60s`.
    pub when: String,
    /// Of the measured time.
    pub done: f64,
    /// Seconds until it is over.
    pub left: u64,
    /// Open connections.
    pub held: u64,
    /// A second.
    pub sent: f64,
    /// Replies a second.
    pub received: f64,
    /// Messages without a reply.
    pub inflight: i64,
    /// Of the last moment, nanoseconds.
    pub p50: u64,
    /// Response time, nanoseconds.
    pub p99: u64,
    /// Response time, nanoseconds.
    pub max: u64,
    /// Own lateness, 99th percentile, nanoseconds.
    pub slip: u64,
    /// `cpu me 3% srv 20%`.
    pub cpu: String,
    /// loadgen is late itself.
    pub slipping: bool,
}

/// The moments so far.
#[derive(Default)]
pub struct History {
    /// Rate, p50 and p99.
    samples: VecDeque<[f64; 3]>,
    /// How many of all moments were slipping.
    slipping: u64,
    all: u64,
}

impl History {
    /// What to show in so many columns and lines, with `frame` as the newest moment.
    pub fn show(&mut self, frame: &Frame, size: (usize, usize), color: bool) -> Vec<String> {
        let (width, height) = size;
        self.samples.push_back([frame.received, frame.p50 as f64, frame.p99 as f64]);
        if self.samples.len() > HISTORY {
            self.samples.pop_front();
        }
        self.all += 1;
        self.slipping += u64::from(frame.slipping);
        // The last column stays free: a terminal may break the line there.
        let room = width.saturating_sub(1);
        match width < COLUMNS || height < LINES {
            true => vec![one_line(frame, room)],
            false => self.lines(frame, room, color),
        }
    }

    fn lines(&self, frame: &Frame, room: usize, color: bool) -> Vec<String> {
        let so_far = match (self.slipping, self.slipping * 4 > self.all) {
            (0, _) => ("good so far", "32"),
            (_, false) => ("slipped at times", "33"),
            _ => ("SLIPPING: loadgen is late itself", "1;31"),
        };
        let held = format::count(frame.held);
        let head = joined(
            &[
                (0, frame.when.clone()),
                (0, bar(frame.done, 20)),
                (1, format!("{} s left", frame.left)),
                (2, format!("conns {held}")),
                (3, frame.cpu.clone()),
            ],
            room - columns(so_far.0).min(room) - 2,
        );
        let head = match color {
            true => format!("{head}  \x1b[{}m{}\x1b[0m", so_far.1, so_far.0),
            false => format!("{head}  {}", so_far.0),
        };
        let rate = |per_second: f64| format!("{}/s", format::short(per_second));
        let backlog = format!("sent {}  in flight {}", rate(frame.sent), frame.inflight);
        let tail = format!("max {}  own slip p99 {}", format::ns(frame.max), format::ns(frame.slip));
        vec![
            head,
            self.row(0, ("back", &rate(frame.received)), &backlog, room),
            self.row(1, ("p50", &format::ns(frame.p50)), "", room),
            self.row(2, ("p99", &format::ns(frame.p99)), &tail, room),
        ]
    }

    /// A name, a figure, how it went, and what else there is to say of it.
    fn row(&self, which: usize, (name, value): (&str, &str), more: &str, room: usize) -> String {
        const MORE: usize = 38;
        let begin = format!("{name:5}{value:>10}  ");
        let plot = room.saturating_sub(columns(&begin) + MORE).min(HISTORY);
        let skipped = self.samples.len().saturating_sub(plot);
        let values: Vec<f64> = self.samples.iter().skip(skipped).map(|sample| sample[which]).collect();
        // Rates from zero; times by their order of magnitude.
        let line = if which == 0 { spark(&values, |v| v) } else { spark(&values, |v| v.max(1.0).log10()) };
        format!("{begin}{line:plot$}  {more}").trim_end().to_owned()
    }
}

/// All in one line; what matters least goes first when there is no room.
fn one_line(frame: &Frame, room: usize) -> String {
    let rate = |per_second: f64| format!("{}/s", format::short(per_second));
    let doubt = if frame.slipping { "SLIPPING" } else { "ok" };
    joined(
        &[
            (0, frame.when.clone()),
            (4, format!("conns {}", format::count(frame.held))),
            (5, format!("sent {}", rate(frame.sent))),
            (2, format!("recv {}", rate(frame.received))),
            (6, format!("inflight {}", frame.inflight)),
            (1, format!("p50 {}", format::ns(frame.p50))),
            (1, format!("p99 {}", format::ns(frame.p99))),
            (7, format!("max {}", format::ns(frame.max))),
            (8, format!("slip p99 {}", format::ns(frame.slip))),
            (9, frame.cpu.clone()),
            (3, doubt.to_owned()),
        ],
        room,
    )
}

/// The parts in their order, two spaces apart; those of the highest number are left out until the rest fits.
fn joined(parts: &[(u8, String)], room: usize) -> String {
    let of = |most: u8| -> String {
        let kept: Vec<&str> = parts
            .iter()
            .filter(|(rank, text)| *rank <= most && !text.is_empty())
            .map(|(_, text)| &**text)
            .collect();
        kept.join("  ")
    };
    let fitting = (0..10).rev().map(of).find(|line| columns(line) <= room);
    fitting.unwrap_or_else(|| of(0).chars().take(room).collect())
}

/// How much is done.
fn bar(done: f64, width: usize) -> String {
    let full = ((done.clamp(0.0, 1.0) * width as f64) as usize).min(width);
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// A column a value, as high as `scale` says beside the others; from the lowest if that is not zero.
fn spark(values: &[f64], scale: impl Fn(f64) -> f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let scaled: Vec<f64> = values.iter().map(|value| scale(*value)).collect();
    let most = scaled.iter().copied().fold(f64::MIN, f64::max);
    let least = scaled.iter().copied().fold(f64::MAX, f64::min);
    // Differences of a few percent are none.
    let least = if most - least < 0.3 * most.abs() { most - 0.3 * most.abs() } else { least };
    let bar = |value: f64| match most - least {
        0.0 => BARS[0],
        range => BARS[(((value - least) / range * 7.0).round() as usize).min(7)],
    };
    scaled.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            when: "12s/60s".into(),
            done: 0.2,
            left: 48,
            held: 10_000,
            sent: 50_000.0,
            received: 49_900.0,
            inflight: 12_345,
            p50: 61_234,
            p99: 402_345,
            max: 2_100_000_000,
            slip: 9_000,
            cpu: "cpu me 31% srv 74%".into(),
            slipping: false,
        }
    }

    #[test]
    fn no_line_reaches_the_edge() {
        for width in 20..220 {
            for height in [5, 24] {
                let mut history = History::default();
                for i in 0..250 {
                    let frame = Frame { p99: 400_000 + i * 1_000_000, slipping: i % 3 == 0, ..frame() };
                    for line in history.show(&frame, (width, height), true) {
                        assert!(columns(&line) < width, "{width}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_matters_most_stays() {
        let mut history = History::default();
        let wide = history.show(&frame(), (160, 5), false);
        assert!(
            wide[0].contains("slip p99") && wide[0].contains("cpu me") && wide[0].ends_with("ok"),
            "{wide:?}"
        );
        let narrow = history.show(&frame(), (50, 24), false);
        assert!(
            narrow.len() == 1 && narrow[0].contains("p99 402 µs") && !narrow[0].contains("cpu"),
            "{narrow:?}"
        );
        let lines = history.show(&frame(), (80, 24), false);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("12s/60s  ████░") && lines[0].ends_with("good so far"), "{lines:?}");
        assert!(lines[3].starts_with("p99      402 µs  "), "{lines:?}");
        let late = history.show(&Frame { slipping: true, ..frame() }, (80, 24), true);
        assert!(late[0].contains("\x1b[33mslipped at times"), "{late:?}");
    }

    #[test]
    fn plots_show_what_changes() {
        assert_eq!(spark(&[0.0, 50.0, 100.0], |v| v), "▁▅█");
        assert_eq!(spark(&[100.0, 101.0, 99.0], |v| v), "███");
        assert_eq!(spark(&[1e3, 1e6, 1e9], f64::log10), "▁▅█");
        assert_eq!(spark(&[0.0, 0.0], |v| v), "▁▁");
        assert_eq!(spark(&[], |v| v), "");
    }
}
