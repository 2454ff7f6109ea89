//! Why a command ends early.

/// Why a command ends early.
#[derive(Debug, PartialEq)]
pub enum Problem {
    /// The command line asks for something that makes no sense: exit 2.
    Usage(String),
    /// It could not be done: exit 1.
    Failed(String),
}

impl From<std::io::Error> for Problem {
    fn from(e: std::io::Error) -> Problem {
        Problem::Failed(e.to_string())
    }
}
