//! What is served where, and to whom.

use crate::proto::limits::Limits;
use core::time::Duration;

/// What is served where, and to whom: the part of the configuration that the protocol needs.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Where messages are echoed.
    pub echo_paths: Paths,
    /// The Origins that may connect, compared byte for byte; empty for all.
    pub origins: Vec<String>,
    /// Whether compressed messages are agreed to.
    pub deflate: bool,
    /// Whether `/board` and `/board/<name>` are served.
    pub boards: bool,
    /// How long a board exists, which its page is told; `None` for ever.
    pub board_lifetime: Option<Duration>,
    /// Whether `/ws` and the paths under it are served: failures on demand.
    pub test_paths: bool,
    /// Whether `/metrics` and `/healthz` are served here too, and shown on the test page.
    pub stats: bool,
    /// What a connection may ask of us.
    pub limits: Limits,
}

/// The paths that echo.
#[derive(Debug, Clone)]
pub enum Paths {
    /// All that are not something else's.
    Any,
    /// These and no others.
    These(Vec<String>),
}

impl Paths {
    /// One of them, to tell a user: the usual one where it is among them.
    pub fn example(&self) -> &str {
        const USUAL: &str = "/echo";
        match self {
            Paths::These(paths) if !self.hold(USUAL) => paths.first().map_or(USUAL, String::as_str),
            _ => USUAL,
        }
    }

    /// Whether `path`, without its query, is among them.
    pub fn hold(&self, path: &str) -> bool {
        match self {
            Paths::Any => true,
            Paths::These(paths) => paths.iter().any(|each| each == path),
        }
    }
}

/// What a browser is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// At `/`.
    Test,
    /// At `/board` and `/board/<name>`.
    Board,
    /// At `/ws`.
    Paths,
}

/// What was asked where the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// What was asked for.
    pub endpoint: Endpoint,
    /// The answer has no body (HEAD).
    pub is_head: bool,
}

/// What is served where the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
}

/// What is at `path`, where the numbers are served.
pub fn endpoint_of(path: &str) -> Option<Endpoint> {
    match path {
        "/metrics" => Some(Endpoint::Metrics),
        "/healthz" => Some(Endpoint::Health),
        _ => None,
    }
}

/// Whether `path` belongs to the boards, where they are served.
pub fn is_board(path: &str) -> bool {
    path == "/board" || path.starts_with("/board/")
}

/// A board's name: 1 to 64 of `A-Za-z0-9._-`, but not `.` or `..`, which clients take out of a path.
pub fn board_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/board/")?;
    let is_good = (1..=64).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    is_good.then_some(name)
}
