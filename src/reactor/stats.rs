//! What has happened so far, in numbers.
//!
//! Everything is counted where it happens, by adding to a field: a scrape costs the same with ten clients and with a million.

use super::end::End;
use super::memory::Memory;
use super::moment::Moment;
use crate::log;
use crate::proto::Version;
use crate::proto::handshake::{Endpoint, Question, Refusal};
use std::fmt;

/// What a client is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages of its own, back.
    Echo,
    /// A board.
    Board,
    /// Flash's policy.
    Policy,
    /// The numbers.
    Stats,
}

/// Which side sent the first Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Peer,
    /// We.
    Server,
}

/// What of a client was given up because memory was short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// A message whose rest was to come.
    Unfinished,
    /// Answers that it did not take.
    Untaken,
    /// What its board said.
    Behind,
}

const GIVEN_UP: [&str; 3] = ["unfinished", "untaken", "behind"];
const KINDS: [&str; 4] = ["echo", "board", "policy", "stats"];
const SIDES: [&str; 2] = ["peer", "server"];
/// Names of the versions; the first is for clients that have none (yet).
const VERSIONS: [&str; 6] = ["none", "hixie75", "hixie76", "7", "8", "13"];
const STATUSES: [u16; 8] = [400, 403, 404, 405, 426, 431, 503, 505];
const FIRST_CODE: usize = 1000;
const REGISTERED_CODES: usize = 16;
/// Registered codes one by one; those that are free to use together, for a peer may use any; and none at all.
const CODES: usize = REGISTERED_CODES + 3;

/// Counters and gauges of one server.
#[derive(Debug, Default)]
pub struct Stats {
    /// The server is on its way out.
    pub draining: bool,
    accepted: [u64; KINDS.len()],
    open: [[u64; VERSIONS.len()]; KINDS.len()],
    opened: [u64; VERSIONS.len()],
    refused: [u64; STATUSES.len()],
    /// Served to browsers.
    pub pages: u64,
    /// Served to Flash.
    pub policies: u64,
    /// Messages that came whole, and messages that were sent; control frames are neither.
    pub messages_received: u64,
    /// Echoed or delivered whole.
    pub messages_sent: u64,
    /// Read from sockets.
    pub bytes_received: u64,
    /// Written to sockets.
    pub bytes_sent: u64,
    closes: [[u64; CODES]; SIDES.len()],
    ends: [u64; End::NAMES.len()],
    /// Clients that do not take their answers, now.
    pub blocked: u64,
    /// What is kept for clients, now.
    pub memory: Memory,
    given_up: [u64; GIVEN_UP.len()],
    /// Accepts that failed.
    pub accept_errors: u64,
    ticks: u64,
    /// In microseconds.
    longest_tick: u64,
}

impl Stats {
    /// Nothing has happened yet.
    pub fn within(memory: Memory) -> Stats {
        Stats { memory, ..Stats::default() }
    }

    /// A client was let in.
    pub fn accepted(&mut self, kind: Kind) {
        self.accepted[kind as usize] += 1;
        self.open[kind as usize][0] += 1;
    }

    /// Connections of that kind, now.
    pub fn open(&self, kind: Kind) -> u64 {
        self.open[kind as usize].iter().sum()
    }

    /// A client finished its handshake; it becomes a `kind`, if it was not one already.
    pub fn opened(&mut self, was: Kind, kind: Kind, version: Version) {
        self.opened[index_of(Some(version))] += 1;
        self.open[was as usize][0] -= 1;
        self.open[kind as usize][index_of(Some(version))] += 1;
    }

    /// A request was refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        if let Some(at) = STATUSES.iter().position(|status| *status == refusal.status()) {
            self.refused[at] += 1;
        }
    }

    /// The first Close frame was sent, with this code.
    pub fn closed(&mut self, side: Side, code: Option<u16>) {
        let at = match code {
            None => CODES - 1,
            Some(code @ 0..3000) => usize::from(code).saturating_sub(FIRST_CODE).min(REGISTERED_CODES - 1),
            Some(3000..4000) => REGISTERED_CODES,
            Some(_) => REGISTERED_CODES + 1,
        };
        self.closes[side as usize][at] += 1;
    }

    /// A client is gone.
    pub fn ended(&mut self, kind: Kind, version: Option<Version>, end: End) {
        self.open[kind as usize][index_of(version)] -= 1;
        self.ends[end as usize] += 1;
    }

    /// Memory was short.
    pub fn given_up(&mut self, what: GivenUp) {
        self.given_up[what as usize] += 1;
    }

    /// The loop went round once.
    pub fn tick(&mut self, from: Moment, to: Moment) {
        self.ticks += 1;
        self.longest_tick = self.longest_tick.max(to.0.saturating_sub(from.0));
    }

    /// One line for SIGUSR1.
    pub fn summary(&self) -> String {
        let open: u64 = self.open.iter().flatten().sum();
        format!(
            "accepted {} open {open} opened {} refused {} messages {} in {} out, bytes {} in {} out, blocked {} \
             buffered {} accept-errors {} ticks {} longest {} us log-dropped {} log-suppressed {}",
            self.accepted.iter().sum::<u64>(),
            self.opened.iter().sum::<u64>(),
            self.refused.iter().sum::<u64>(),
            self.messages_received,
            self.messages_sent,
            self.bytes_received,
            self.bytes_sent,
            self.blocked,
            self.memory.used(),
            self.accept_errors,
            self.ticks,
            self.longest_tick,
            log::dropped(),
            log::suppressed(),
        )
    }

    /// Appends the whole HTTP answer to `question` to `response`.
    pub fn answer(&self, question: Question, response: &mut Vec<u8>) {
        let (status, kind, body) = match question.endpoint {
            // The version of the text format is part of its type.
            Endpoint::Metrics => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", self.to_string()),
            Endpoint::Health if self.draining => {
                ("503 Service Unavailable", "text/plain; charset=utf-8", "draining\n".to_owned())
            }
            Endpoint::Health => ("200 OK", "text/plain; charset=utf-8", "ok\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        response.extend_from_slice(head.as_bytes());
        if !question.is_head {
            response.extend_from_slice(body.as_bytes());
        }
    }
}

fn index_of(version: Option<Version>) -> usize {
    version.map_or(0, |version| version as usize + 1)
}

fn code_name(at: usize) -> String {
    match at {
        0..REGISTERED_CODES => (FIRST_CODE + at).to_string(),
        REGISTERED_CODES => "3000-3999".to_owned(),
        at if at == CODES - 1 => "none".to_owned(),
        _ => "4000-4999".to_owned(),
    }
}

/// In Prometheus' text format.
impl fmt::Display for Stats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Exposition { out };
        page.family("accepted_total", "counter", "Connections accepted.")?;
        for (kind, count) in KINDS.iter().zip(self.accepted) {
            page.sample("accepted_total", format_args!("{{role=\"{kind}\"}}"), count)?;
        }
        page.family("open", "gauge", "Connections open, by what they are for and the version they speak.")?;
        for (kind, row) in KINDS.iter().zip(self.open) {
            for (version, count) in VERSIONS.iter().zip(row) {
                page.sample("open", format_args!("{{role=\"{kind}\",version=\"{version}\"}}"), count)?;
            }
        }
        page.family("handshakes_total", "counter", "Handshakes answered, by status and version.")?;
        for (version, count) in VERSIONS.iter().zip(self.opened).skip(1) {
            let labels = format_args!("{{status=\"101\",version=\"{version}\"}}");
            page.sample("handshakes_total", labels, count)?;
        }
        for (status, count) in STATUSES.iter().zip(self.refused) {
            page.sample("handshakes_total", format_args!("{{status=\"{status}\",version=\"none\"}}"), count)?;
        }
        page.family("closes_total", "counter", "Closing handshakes, by code and by who began.")?;
        for (side, row) in SIDES.iter().zip(self.closes) {
            for (at, count) in row.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                let labels = format_args!("{{code=\"{}\",side=\"{side}\"}}", code_name(at));
                page.sample("closes_total", labels, count)?;
            }
        }
        page.family("ends_total", "counter", "Connections ended, by reason.")?;
        for (reason, count) in End::NAMES.iter().zip(self.ends) {
            page.sample("ends_total", format_args!("{{reason=\"{reason}\"}}"), count)?;
        }
        page.family(
            "given_up_total",
            "counter",
            "Clients given up because memory was short, by what was kept.",
        )?;
        for (what, count) in GIVEN_UP.iter().zip(self.given_up) {
            page.sample("given_up_total", format_args!("{{kept=\"{what}\"}}"), count)?;
        }
        for (name, kind, help, value) in [
            ("pages_total", "counter", "Pages sent to browsers.", self.pages),
            ("policies_total", "counter", "Flash policies sent.", self.policies),
            ("messages_received_total", "counter", "Whole messages received.", self.messages_received),
            ("messages_sent_total", "counter", "Whole messages sent.", self.messages_sent),
            ("received_bytes_total", "counter", "Bytes read from clients.", self.bytes_received),
            ("sent_bytes_total", "counter", "Bytes written to clients.", self.bytes_sent),
            ("blocked", "gauge", "Connections that do not take their answers.", self.blocked),
            ("buffered_bytes", "gauge", "Bytes allocated for what is kept.", self.memory.used() as u64),
            ("buffered_limit_bytes", "gauge", "Bytes that may be.", self.memory.limit() as u64),
            ("accept_errors_total", "counter", "Failed calls of accept.", self.accept_errors),
            ("loop_iterations_total", "counter", "Rounds of the event loop.", self.ticks),
            ("log_lines_dropped_total", "counter", "Log lines that could not be written.", log::dropped()),
            ("log_lines_suppressed_total", "counter", "Log lines beyond the rate limit.", log::suppressed()),
        ] {
            page.family(name, kind, help)?;
            page.sample(name, format_args!(""), value)?;
        }
        page.family("loop_longest_seconds", "gauge", "The longest round of the event loop so far.")?;
        // Not as a floating point number: writing those is a thirtieth of the binary.
        let longest = format!("{}.{:06}", self.longest_tick / 1_000_000, self.longest_tick % 1_000_000);
        page.sample("loop_longest_seconds", format_args!(""), longest)
    }
}

struct Exposition<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
}

impl Exposition<'_, '_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.out, "# HELP wsecho_{name} {help}\n# TYPE wsecho_{name} {kind}")
    }

    fn sample(&mut self, name: &str, labels: fmt::Arguments, value: impl fmt::Display) -> fmt::Result {
        writeln!(self.out, "wsecho_{name}{labels} {value}")
    }
}
