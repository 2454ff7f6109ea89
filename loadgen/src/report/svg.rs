//! The plots, by hand: a few axes, lines and bands in SVG, coloured by style sheet for light and dark.

mod charts;

use std::fmt::Write;

use super::format;
use super::model::Report;
use super::text::status_word;

pub use charts::charts;

/// What the classes of the plots look like. Colours are literal, not CSS variables, for the sake of viewers that know
/// SVG but little CSS. The four series keep their order and differ in lightness as well as in hue.
pub const STYLE: &str = "
.plot text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#4a5160}
.plot .strong{fill:#14171f;font-weight:600}
.plot .grid{stroke:#e3e6ec;stroke-width:1;fill:none}
.plot .axis{stroke:#9aa2b1;stroke-width:1;fill:none}
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.plot .faint{stroke-dasharray:2 5;opacity:.8}
.plot .halo{stroke-width:5;opacity:.5}
.plot .dash{stroke-dasharray:6 4;stroke-width:1.5}
.plot .s1{stroke:#1f6feb}.plot .f1{fill:#1f6feb}
.plot .s2{stroke:#0f8a5f}.plot .f2{fill:#0f8a5f}
.plot .s3{stroke:#b45309}.plot .f3{fill:#b45309}
.plot .s4{stroke:#8b5cf6}.plot .f4{fill:#8b5cf6}
.plot .s0{stroke:#6b7280}.plot .f0{fill:#6b7280}
.plot .area{opacity:.18}
.plot .b1{fill:#1f6feb;opacity:.75}.plot .b2{fill:#1f6feb;opacity:.42}.plot .b3{fill:#1f6feb;opacity:.18}
.plot .phase{fill:#6b7280;opacity:.1}
.plot .paper{fill:#fff}
@media(prefers-color-scheme:dark){
.plot text{fill:#aab2c0}.plot .strong{fill:#eef1f6}
.plot .grid{stroke:#2a303b}.plot .axis{stroke:#697386}
.plot .s1{stroke:#6aa5ff}.plot .f1,.plot .b1,.plot .b2,.plot .b3{fill:#6aa5ff}
.plot .s2{stroke:#4cc99b}.plot .f2{fill:#4cc99b}
.plot .s3{stroke:#f0a04b}.plot .f3{fill:#f0a04b}
.plot .s4{stroke:#b69cff}.plot .f4{fill:#b69cff}
.plot .s0{stroke:#98a1b0}.plot .f0{fill:#98a1b0}
.plot .paper{fill:#14171f}
}
";

/// All plots of the report in one picture, 860 pixels wide, the verdict on top.
pub fn render(report: &Report) -> String {
    const WIDTH: f64 = 860.0;
    const GAP: f64 = 44.0;
    let charts = charts(report, WIDTH);
    let height = 76.0 + charts.iter().map(|c| c.height + GAP).sum::<f64>();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"strong\" x=\"16\" y=\"28\" style=\"font-size:16px\">{title}</text>\n",
        title = escape(&headline(report)),
    );
    let _ = writeln!(out, "<text x=\"16\" y=\"50\">{}</text>", escape(&subtitle(report, WIDTH)));
    let mut y = 76.0;
    for chart in &charts {
        let _ = writeln!(
            out,
            "<text class=\"strong\" x=\"16\" y=\"{:.0}\">{}</text>",
            y + 14.0,
            escape(&chart.title)
        );
        let _ = writeln!(out, "<g transform=\"translate(0 {:.0})\">\n{}</g>", y + 22.0, chart.body);
        y += chart.height + GAP;
    }
    out.push_str("</svg>\n");
    out
}

/// The run in a few words.
pub fn headline(report: &Report) -> String {
    let what = report.run.name.clone().unwrap_or_else(|| report.target.urls.join(" "));
    format!("{} · {what}", status_word(report.verdict.status))
}

fn subtitle(report: &Report, width: f64) -> String {
    let text = match report.verdict.reasons.first() {
        Some(reason) => reason.text.clone(),
        None => {
            let rate = format::short(report.messages.achieved_rate);
            format!("{} connections, {rate} messages/s", format::count(report.connections.held_min))
        }
    };
    let room = (width / 6.5) as usize;
    if text.chars().count() <= room { text } else { text.chars().take(room - 1).chain(['…']).collect() }
}

/// `text` with the characters that mean something in XML written as references.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters, not even as references.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// One direction of a plot: where a value stands, in pixels.
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// Linear from 0 to a round number at or above `high`.
    pub fn from_zero(high: f64, from: f64, to: f64) -> Axis {
        let step = round_step(high.max(1e-9) / 4.0);
        Axis { low: 0.0, high: (high.max(1e-9) / step).ceil() * step, log: false, from, to }
    }

    /// Linear, exactly from `low` to `high`.
    pub fn exact(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: if high > low { high } else { low + 1.0 }, log: false, from, to }
    }

    /// Logarithmic over at least the given values, at most six decades.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let high = high.max(10.0);
        let low = low.clamp(high / 1e6, high / 3.0);
        Axis { low: round_down(low), high: high * 1.15, log: true, from, to }
    }

    /// The pixel of `value`; values beyond the ends stay at the end.
    pub fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values to label, about one to 50 pixels and never more than fit.
    pub fn ticks(&self, pixels: f64) -> Vec<f64> {
        let most = ((self.to - self.from).abs() / pixels).max(2.0);
        if !self.log {
            let step = round_step((self.high - self.low) / most);
            let first = (self.low / step).ceil() as i64;
            return (first..)
                .map(|k| k as f64 * step)
                .take_while(|v| *v <= self.high * (1.0 + 1e-9))
                .collect();
        }
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let within = |marks: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|d| marks.iter().map(move |m| m * 10f64.powi(d)).collect::<Vec<_>>());
            all.filter(|v| (self.low * 0.999..=self.high).contains(v)).collect()
        };
        let fine = within(&[1.0, 2.0, 5.0]);
        if fine.len() as f64 <= most { fine } else { within(&[1.0]) }
    }
}

/// 1, 2 or 5 times a power of ten, at or above `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * decade)
        .find(|s| *s >= step * 0.999)
        .unwrap_or(10.0 * decade)
}

/// 1, 2 or 5 times a power of ten, at or below `value`.
fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|m| m * decade).find(|s| *s <= value * 1.001).unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_on_a_round_number() {
        let axis = Axis::from_zero(49_998.0, 0.0, 100.0);
        assert_eq!(axis.high, 60_000.0);
        assert_eq!(axis.at(30_000.0), 50.0);
        assert_eq!(axis.ticks(25.0), [0.0, 20_000.0, 40_000.0, 60_000.0]);
    }

    #[test]
    fn a_log_axis_labels_decades_or_finer() {
        let axis = Axis::log(3_000.0, 2e6, 300.0, 0.0);
        assert_eq!(axis.low, 2000.0);
        assert_eq!(axis.ticks(25.0)[..4], [2000.0, 5000.0, 10_000.0, 20_000.0]);
        assert_eq!(axis.ticks(100.0), [10_000.0, 100_000.0, 1_000_000.0]);
        assert_eq!(axis.at(0.0), 300.0);
        assert_eq!(axis.at(1e12), 0.0);
    }

    #[test]
    fn text_from_outside_cannot_become_markup() {
        assert_eq!(escape("<b a=\"1\">&\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp;\u{fffd}");
    }
}
