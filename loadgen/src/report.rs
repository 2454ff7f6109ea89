//! Reports: what a run found out, as data, and every way of showing and judging it.
//!
//! [`Report`] is the data ([`model`]). The rest are pure functions of it, and these are what the command line calls:
//!
//! - `loadgen report FILE --format F`: [`load`], then [`Format::render`];
//! - `loadgen compare OLD NEW --noise-threshold P`, and `--baseline FILE` of a run: [`load`] both, then
//!   [`compare::reports`]; print [`compare::Comparison::text`]; exit by its [`decision`](compare::Comparison::decision);
//! - `loadgen merge FILES… -o OUT`: [`load`] each, then [`merge::reports`] and [`save`];
//! - `--fail-if EXPR`: parse each to a [`Condition`] before the run (a usage error if it does not), afterwards [`judge`];
//! - `--json F`, `--hdr F.hgrm`, `--hlog F`, `--csv F`, `--svg F`, `--html F`: [`save`] with that format.

pub mod advice;
pub mod blocks;
pub mod compare;
mod csv;
mod escape;
pub mod fit;
pub mod format;
mod hgrm;
mod hlog;
mod html;
mod judgement;
pub mod merge;
pub mod metrics;
mod mode_results;
pub mod model;
mod stat;
pub mod stats;
mod svg;
mod text;
pub mod threshold;
pub mod trust;
pub mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use crate::protocol::shown::escaped;

pub use model::{Finding, Mode, Phase, Report, SCHEMA, SCHEMA_1, Stat, Status};
pub use text::status_word;
pub use threshold::Condition;

/// How a report can be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Tables for people.
    Text,
    /// The whole report, which loadgen reads again.
    Json,
    /// The time series.
    Csv,
    /// The percentiles of the response times, as HdrHistogram plots them.
    Hgrm,
    /// All histograms, as HdrHistogram logs them.
    Hlog,
    /// The plots.
    Svg,
    /// One page, with the whole report inside.
    Html,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        Ok(match name {
            "text" => Format::Text,
            "json" => Format::Json,
            "csv" => Format::Csv,
            "hgrm" => Format::Hgrm,
            "hlog" => Format::Hlog,
            "svg" => Format::Svg,
            "html" => Format::Html,
            _ => {
                return Err(format!("`{name}` is none of text, json, csv, hgrm, hlog, svg and html"));
            }
        })
    }
}

impl Format {
    /// `report` in this format; `color` is for text on a terminal.
    ///
    /// # Errors
    /// When `.hgrm`, which is the response times and nothing else, is asked of a report without them.
    pub fn render(self, report: &Report, color: bool) -> Result<String, String> {
        Ok(match self {
            Format::Text => text::render(report, color),
            Format::Json => {
                let mut json = serde_json::to_string_pretty(report).expect("a report is plain data");
                json.push('\n');
                json
            }
            Format::Csv => csv::render(report),
            Format::Hgrm => {
                let response = report.latency_ns.response.as_ref();
                hgrm::render(&response.ok_or("the report has no response times for .hgrm")?.histogram()?)
            }
            Format::Hlog => hlog::render(report),
            Format::Svg => svg::render(report),
            Format::Html => html::render(report),
        })
    }
}

/// Reads a report from the JSON or the HTML file that loadgen wrote.
///
/// # Errors
/// A sentence naming the file, when it cannot be read or is no report of a schema this version knows.
pub fn load(path: &Path) -> Result<Report, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    read(&text, &name.to_string())
}

/// Reads a report from its text, which is called `name` in errors.
///
/// # Errors
/// See [`load`].
pub fn read(text: &str, name: &str) -> Result<Report, String> {
    let json = html::json_inside(text).unwrap_or(text);
    let mut value: Value = serde_json::from_str(json).map_err(|_| format!("{name}: not a loadgen report"))?;
    // Whoever wrote it may have meant the terminal, or an overflow.
    escape(&mut value);
    if !is_plausible(&value) {
        return Err(format!("{name}: has numbers that no run can have"));
    }
    let mut report: Report =
        serde_json::from_value(value).map_err(|_| format!("{name}: not a loadgen report"))?;
    match report.schema.as_str() {
        SCHEMA => {}
        SCHEMA_1 => {
            SCHEMA.clone_into(&mut report.schema);
            report.config.stamps = "read".into();
        }
        other => return Err(format!("schema `{other}` is none of {SCHEMA_1} and {SCHEMA}")),
    }
    Ok(report)
}

/// Whether every number in `value` but seeds and the time of day is one that doubles hold exactly, if it is whole: nanoseconds of a hundred
/// days, or bytes of 8 PiB. So sums of them do not overflow.
fn is_plausible(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() <= (1u64 << 53) as f64),
        Value::Array(all) => all.iter().all(is_plausible),
        Value::Object(map) => map.iter().all(|(key, value)| {
            matches!(key.as_str(), "seed" | "measured_from_unix_ns" | "started_unix_ns")
                || is_plausible(value)
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Escapes every text in `value`.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = escaped(text),
        Value::Array(all) => all.iter_mut().for_each(escape),
        Value::Object(map) => {
            *map = std::mem::take(map).into_iter().map(|(key, value)| (escaped(&key), value)).collect();
            map.values_mut().for_each(escape);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Writes `report` to `path`, replacing the file in one step so that no reader sees half of it.
///
/// # Errors
/// A sentence naming the file.
pub fn save(report: &Report, format: Format, path: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let text = format.render(report, false).map_err(|e| format!("{}: {e}", path.display()))?;
    // A pipe or a device cannot be renamed over: /dev/stdout stays what it is.
    if path.exists() && !path.is_file() {
        return fs::write(path, text).map_err(failed);
    }
    let partial = partial(path);
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).map_err(failed)
}

/// Tries whether [`save`] will be able to write to `path`, and leaves nothing there.
///
/// # Errors
/// The system's.
pub fn try_path(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let partial = partial(path);
    fs::File::create(&partial)?;
    fs::remove_file(&partial)
}

/// Where the content of `path` is put together.
fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

/// Judges the `--fail-if` conditions, filling [`Report::thresholds`]. An interrupted run is not judged.
pub fn judge(report: &mut Report, conditions: &[Condition]) {
    report.thresholds = match report.run.interrupted {
        true => Vec::new(),
        false => conditions.iter().map(|c| c.judge(report)).collect(),
    };
}
