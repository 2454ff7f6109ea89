//! What is wrong with a path under `/ws`, in one line for whoever typed it.

use crate::escape::Escaped;
use std::fmt;

/// Most bytes of a step that are repeated to whoever wrote it.
const SHOWN_MAX: usize = 80;

/// A path that makes no chain: the HTTP status, and a line that names the step and says what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// 404 where there is no such step, else 400.
    pub status: u16,
    /// What is wrong, in one line.
    pub line: String,
}

impl Problem {
    /// There is no step of that name.
    pub fn unknown(name: &str) -> Problem {
        let name = shown(name);
        Problem { status: 404, line: format!("there is no step '{name}': GET /ws lists what there is") }
    }

    /// `step` as it was written is not what it takes.
    pub fn bad(step: &str, takes: impl fmt::Display) -> Problem {
        Problem::request(format_args!("step '{}': {takes}", shown(step)))
    }

    /// The path, or the request for it, cannot be served as a whole.
    pub fn request(line: impl fmt::Display) -> Problem {
        Problem { status: 400, line: line.to_string() }
    }
}

fn shown(text: &str) -> String {
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "..." } else { "" };
    format!("{}{more}", Escaped(&text.as_bytes()[..end]))
}
