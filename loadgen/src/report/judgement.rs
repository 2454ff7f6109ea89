//! What a report says of itself: whether its numbers are the server's, how far, and why not.

use serde::{Deserialize, Serialize};

/// Whether the numbers are the server's, and whether the server did as it should. Ordered: the worse is the greater.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    /// The numbers are the server's, up to [`Verdict::valid_to`].
    Valid,
    /// Of schema 1 only: the numbers may be in part loadgen's own.
    Suspect,
    /// The server changed, repeated, lost or refused something: its fault, and measured rightly.
    Faulty,
    /// The numbers are not the server's, or there are none.
    Invalid,
}

/// Whether the numbers are the server's, and why not.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Verdict {
    /// In a word.
    pub status: Status,
    /// The highest of the percentiles of a report up to which every percentile of the response that the samples carry can be
    /// trusted; absent when not even the first can, when there are none, and in reports of schema 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    /// How much of each percentile of the response may be loadgen's own doing.
    pub trust: Vec<Trust>,
    /// Why not [`Status::Valid`].
    pub reasons: Vec<Finding>,
    /// What the server did that a reader must know before any latency, such as that a queue grew.
    pub findings: Vec<Finding>,
    /// What a reader should know but which does not cast doubt by itself.
    pub notes: Vec<Finding>,
}

impl Verdict {
    /// Adds a reason and makes the status at least as bad as it.
    pub fn doubt(&mut self, status: Status, code: &str, text: impl Into<String>) {
        self.status = self.status.max(status);
        self.reasons.push(Finding::new(code, text));
    }

    /// Adds what the server did.
    pub fn find(&mut self, code: &str, text: impl Into<String>) {
        self.findings.push(Finding::new(code, text));
    }

    /// Adds a note.
    pub fn note(&mut self, code: &str, text: impl Into<String>) {
        self.notes.push(Finding::new(code, text));
    }
}

/// One thing found out about a run. In JSON it is a string, `own_slip: own slip p99 14 ms is over half of wire p50`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Finding {
    /// For machines, one word of `[a-z0-9_]`; empty in a report that names none.
    pub code: String,
    /// For people, a sentence.
    pub text: String,
}

impl Finding {
    /// The finding named `code`.
    pub fn new(code: &str, text: impl Into<String>) -> Finding {
        Finding { code: code.to_owned(), text: text.into() }
    }
}

impl From<String> for Finding {
    fn from(line: String) -> Finding {
        let word =
            |code: &str| code.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        match line.split_once(": ") {
            Some((code, text)) if word(code) => Finding::new(code, text),
            _ => Finding { code: String::new(), text: line },
        }
    }
}

impl From<Finding> for String {
    fn from(finding: Finding) -> String {
        match finding.code.as_str() {
            "" => finding.text,
            code => format!("{code}: {}", finding.text),
        }
    }
}

/// One percentile of the response: what it is, and what it would be without loadgen's own lateness.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Trust {
    /// A key of a histogram's `p`.
    pub p: String,
    /// The response time it is about.
    pub response_ns: u64,
    /// So much of it may be loadgen's or its host's.
    pub ours_ns: u64,
    /// Whether that is too little to matter.
    pub trusted: bool,
}
