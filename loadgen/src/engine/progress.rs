//! Progress on stderr: a view that renews itself on a terminal, a line an interval elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::engine::live_view::{Frame, History};
use crate::engine::plan::Plan;
use crate::engine::recorder::Recorder;
use crate::engine::spec::Gauges;
use crate::host::clock::{self, Moment, Nanos, SECOND};
use crate::host::procfs::{self, Cpu};
use crate::report::format;
use crate::report::model::Interval;

/// Where progress goes.
pub struct Progress {
    mode: Style,
    /// Lines that stand there and are to be overwritten.
    lines_up: usize,
    history: History,
    /// The tick that is being put together from all threads.
    window: Window,
    cpu: [(Moment, Cpu); 2],
    last_opening: Moment,
    /// Takes a line of JSON an interval.
    lines: Option<Box<dyn Write + Send>>,
}

/// What `--ndjson` writes: a row of the time series, and when it was over.
#[derive(Serialize)]
struct Line {
    unix_ns: u64,
    #[serde(flatten)]
    row: Interval,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Quiet,
    Terminal,
    Plain,
}

struct Window {
    recorder: Recorder,
    /// Of the tick; none before the first.
    number: Option<i64>,
}

impl Progress {
    /// Progress as befits stderr; none at all when `quiet`. And to `lines` a line of JSON an interval.
    pub fn new(quiet: bool, lines: Option<Box<dyn Write + Send>>) -> Progress {
        let mode = match quiet {
            true => Style::Quiet,
            false if stderr().is_terminal() => Style::Terminal,
            false => Style::Plain,
        };
        Progress {
            mode,
            lines_up: 0,
            history: History::default(),
            window: Window { recorder: Recorder::default(), number: None },
            cpu: Default::default(),
            last_opening: Moment(0),
            lines,
        }
    }

    /// How far the opening of connections is.
    pub fn opening(&mut self, held: u64, asked: u64, failed: u64) {
        let failures = if failed > 0 { format!("  failed {}", format::count(failed)) } else { String::new() };
        let line = format!("connecting  {}/{}{failures}", format::count(held), format::count(asked));
        match self.mode {
            Style::Terminal => {
                let line = line.chars().take(size().0.saturating_sub(1)).collect();
                self.renew(&[line]);
            }
            // Lines in a log come once a second.
            Style::Plain if Moment::now() >= self.last_opening + Nanos::SECOND => {
                self.last_opening = Moment::now();
                self.say(&line);
            }
            _ => {}
        }
    }

    /// One thread's tick of a run between the two times of `window`.
    pub fn tick(
        &mut self,
        gauges: &[Arc<Gauges>],
        plan: &Plan,
        window: (Moment, Moment),
        number: i64,
        recorder: &Recorder,
    ) {
        if self.mode != Style::Terminal {
            return;
        }
        if self.window.number == Some(number) {
            self.window.recorder.add(recorder);
            return;
        }
        // A tick of the next number: the one before is whole.
        let done =
            std::mem::replace(&mut self.window, Window { recorder: recorder.clone(), number: Some(number) });
        if done.number.is_some() {
            let frame = self.frame(gauges, plan, window, &done.recorder);
            let lines = self.history.show(&frame, size(), !no_color());
            self.renew(&lines);
        }
    }

    fn frame(
        &mut self,
        gauges: &[Arc<Gauges>],
        plan: &Plan,
        (from, to): (Moment, Moment),
        recorder: &Recorder,
    ) -> Frame {
        let now = Moment::now();
        let part = |a: Nanos, b: Nanos| format!("{}s/{}s", a.0 / SECOND, b.0.div_ceil(SECOND));
        let when = match now {
            t if t < from => format!("warm-up {}", (from - t).0.div_ceil(SECOND)),
            t if t < to => part(t - from, to - from),
            t => format!("draining {}s", (t - to).0 / SECOND),
        };
        let share = |cpu: Option<f64>| cpu.map_or("gone".to_owned(), |pct| format!("{pct:.0}%"));
        let mut cpu = format!("cpu me {}", share(self.cpu_since(0, std::process::id())));
        if let Some(pid) = plan.server_pid {
            cpu += &format!(" srv {}", share(self.cpu_since(1, pid)));
        }
        // Ticks are a quarter of a second.
        let per_second = |n: u64| n as f64 * 4.0;
        let slip = recorder.own_slip.at(0.99);
        Frame {
            when,
            done: (now - from).0 as f64 / (to - from).0.max(1) as f64,
            left: (to - now).0.div_ceil(SECOND),
            held: gauges.iter().map(|g| g.held.load(Ordering::Relaxed)).sum(),
            sent: per_second(recorder.counts.sent),
            received: per_second(recorder.counts.received),
            inflight: gauges.iter().map(|g| g.inflight.load(Ordering::Relaxed)).sum(),
            p50: recorder.response.at(0.5),
            p99: recorder.response.at(0.99),
            max: recorder.response.at(1.0),
            slip,
            cpu,
            slipping: slip > 1_000_000.max(recorder.wire.at(0.5) / 2),
        }
    }

    fn cpu_since(&mut self, which: usize, pid: u32) -> Option<f64> {
        let (then, before) = self.cpu[which];
        let (now, cpu) = (Moment::now(), procfs::cpu(pid)?);
        self.cpu[which] = (now, cpu);
        Some(100.0 * cpu.since(before).total() as f64 / (now - then).0.max(1) as f64)
    }

    /// An interval is over.
    pub fn row(&mut self, row: &Interval) {
        self.record(row);
        if self.mode != Style::Plain {
            return;
        }
        let p = |key: &str| {
            let value = row.response.as_ref().and_then(|stat| stat.p.get(key));
            value.map_or("-".to_owned(), |ns| format::ns(*ns))
        };
        let max = row.response.as_ref().map_or("-".to_owned(), |stat| format::ns(stat.max));
        let errors =
            if row.errors > 0 { format!("  errors {}", format::count(row.errors)) } else { String::new() };
        self.say(&format!(
            "{:>4}s {:<7} conns {}  sent {}/s  inflight {:.1}  p50 {} p99 {} max {max}  busy {:.0}%{errors}",
            (row.start_ns + row.len_ns as i64) / SECOND as i64,
            row.phase,
            format::count(row.held),
            format::short(row.achieved_rate),
            row.inflight,
            p("50"),
            p("99"),
            row.loop_busy_pct,
        ));
    }

    /// Writes the line of `--ndjson`.
    fn record(&mut self, row: &Interval) {
        let Some(lines) = &mut self.lines else { return };
        let mut row = row.clone();
        // A dashboard wants figures: the histograms are in the report.
        if let Some(response) = &mut row.response {
            response.hdr = None;
        }
        let line = Line { unix_ns: clock::wall_ns(), row };
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        if let Err(e) = lines.write_all(text.as_bytes()).and_then(|()| lines.flush()) {
            self.lines = None;
            self.say(&format!("--ndjson: {e}; no more lines are written"));
        }
    }

    /// A line that stays.
    pub fn say(&mut self, line: &str) {
        if self.mode != Style::Quiet {
            self.clear();
            // Progress that nobody reads any more is no reason to stop.
            let _ = writeln!(stderr(), "{line}");
        }
    }

    /// Writes `lines` over those that stand there.
    fn renew(&mut self, lines: &[String]) {
        let mut text = self.erase();
        text += &lines.join("\n");
        self.lines_up = lines.len();
        let _ = stderr().write_all(text.as_bytes());
    }

    /// What takes the lines that stand there off the terminal: up to the first, and away with all below.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.lines_up) {
            0 => String::new(),
            1 => "\r\x1b[J".to_owned(),
            lines => format!("\x1b[{}A\r\x1b[J", lines - 1),
        }
    }

    /// Takes what renews itself off the terminal.
    pub fn clear(&mut self) {
        let text = self.erase();
        let _ = stderr().write_all(text.as_bytes());
    }
}

/// Columns and lines of the terminal that stderr is.
fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(stderr());
    size.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// Whoever sets `NO_COLOR` to anything wants none (no-color.org).
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
