//! Why there is no server.

/// Why the server did not start, or stopped: one line, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line, which says what to do; empty where another process has said it.
    pub text: String,
    /// What the program ends with.
    pub status: u8,
}

impl Failure {
    /// Something the system would not do.
    pub const SYSTEM: u8 = 1;
    /// A mistake in the options.
    pub const USAGE: u8 = 2;
    /// The policy listener was asked for and cannot be had.
    pub const POLICY: u8 = 4;

    /// With this exit status.
    pub fn new(status: u8, text: String) -> Failure {
        Failure { text, status }
    }

    /// Of the system.
    pub fn system(text: String) -> Failure {
        Failure::new(Failure::SYSTEM, text)
    }
}
