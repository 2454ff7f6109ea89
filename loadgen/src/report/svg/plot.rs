//! A plot: its frame, its axes, and what can be drawn in it.

use std::fmt::Write;

use super::axis::Axis;
use crate::report::escape::escape;

/// One plot: `body` is SVG without the outer element, `width` times `height` pixels.
pub struct Chart {
    pub title: String,
    /// How to read it.
    pub caption: &'static str,
    pub width: f64,
    pub height: f64,
    pub body: String,
}

pub const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
pub const BOTTOM: f64 = 40.0;

/// A plot under construction: its frame, and the body so far.
pub struct Plot {
    pub width: f64,
    pub top: f64,
    pub bottom: f64,
    pub body: String,
}

impl Plot {
    /// Room for `inner` pixels of plot under a legend of class, dash and name.
    pub fn new(width: f64, inner: f64, legend: &[(&str, &str)]) -> Plot {
        let mut plot = Plot { width, top: 0.0, bottom: 0.0, body: String::new() };
        let (mut x, mut y) = (LEFT, 12.0);
        for (class, name) in legend {
            let wide = 26.0 + 6.6 * name.chars().count() as f64 + 16.0;
            if x > LEFT && x + wide > width {
                (x, y) = (LEFT, y + 18.0);
            }
            let key = if class.starts_with('b') {
                format!(
                    "<rect class=\"{class}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"18\" height=\"9\"/>",
                    y - 8.0
                )
            } else {
                format!("<path class=\"line {class}\" d=\"M{x:.0} {:.0}h18\"/>", y - 4.0)
            };
            let _ =
                writeln!(plot.body, "{key}<text x=\"{:.0}\" y=\"{y:.0}\">{}</text>", x + 25.0, escape(name));
            x += wide;
        }
        plot.top = y + 14.0;
        plot.bottom = plot.top + inner;
        plot
    }

    pub fn right(&self) -> f64 {
        self.width - RIGHT
    }

    /// Grid lines and labels of the vertical axis.
    pub fn y_axis(&mut self, axis: &Axis, label: impl Fn(f64) -> String) {
        for value in axis.ticks(28.0) {
            let (y, right) = (axis.at(value), self.right());
            let _ = writeln!(self.body, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right:.0}\"/>");
            self.text(LEFT - 8.0, y + 4.0, "end", "", &label(value));
        }
    }

    /// The horizontal axis with `ticks`, labelled where there is room.
    pub fn x_axis(&mut self, axis: &Axis, ticks: &[(f64, String)], title: &str) {
        let (bottom, right) = (self.bottom, self.right());
        let mut free = f64::NEG_INFINITY;
        for (value, label) in ticks {
            let (x, half) = (axis.at(*value), 3.8 * label.chars().count() as f64);
            let x_text = x.min(right + RIGHT - half);
            let _ = writeln!(self.body, "<path class=\"axis\" d=\"M{x:.1} {bottom:.0}v5\"/>");
            if x_text - half > free {
                self.text(x_text, bottom + 18.0, "middle", "", label);
                free = x_text + half + 8.0;
            }
        }
        let _ = writeln!(self.body, "<path class=\"axis\" d=\"M{LEFT} {bottom:.0}H{right:.0}\"/>");
        if !title.is_empty() {
            self.text((LEFT + right) / 2.0, bottom + 35.0, "middle", "", title);
        }
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.len() > 1 {
            let _ = writeln!(self.body, "<path class=\"line {class}\" d=\"{}\"/>", path(points));
        }
    }

    /// The area between two edges that share their x positions.
    pub fn area(&mut self, class: &str, upper: &[(f64, f64)], lower: &[(f64, f64)]) {
        let outline: Vec<_> = upper.iter().chain(lower.iter().rev()).copied().collect();
        if outline.len() > 3 {
            let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{}Z\"/>", path(&outline));
        }
    }

    /// A dot that tells its value to a pointer that rests on it.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), tip: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}</title></circle>",
            escape(tip)
        );
    }

    pub fn finish(self, title: impl Into<String>, caption: &'static str) -> Chart {
        let height = self.bottom + BOTTOM;
        Chart { title: title.into(), caption, width: self.width, height, body: self.body }
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    d
}

pub fn inner_height(width: f64) -> f64 {
    if width < 500.0 { 200.0 } else { 260.0 }
}
