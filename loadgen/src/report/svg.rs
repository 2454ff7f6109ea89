//! The plots, by hand: a few axes, lines and bands in SVG, coloured by style sheet for light and dark.

mod axis;
mod charts;
mod percentiles;
mod plot;

use std::fmt::Write;

use super::escape::escape;
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
