//! Lines to stderr that neither block nor panic.
//!
//! The loop must not stop because nobody reads a pipe, nor end because a disk is full: a line that cannot be written at
//! once is dropped and counted. Nor must peers fill a disk: lines that they cause are limited to a few a second.

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::termios::tcgetsid;
use std::fmt::{self, Write as _};
use std::fs::{File, metadata};
use std::io::{self, IsTerminal, Write as _, stderr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Off,
    /// What an operator has to do something about.
    Error,
    /// And what the server does.
    Info,
    /// And what each connection does.
    Debug,
    /// A line a header and a frame.
    Trace,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// `wsecho: what happened`
    Text,
    /// `<6>what happened`, as the journal reads priorities (sd-daemon(3)).
    Journal,
    /// `{"time":1790000000.123,"level":"info","message":"what happened"}`
    Json,
}

/// Lines of one cause, limited together.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    /// What clients are refused for.
    Refused,
    /// Clients that could not be let in.
    Accept,
    /// Numbers that a signal asked for.
    Report,
}

impl Class {
    const COUNT: usize = 3;
    /// Lines of a class in one second; further ones are counted.
    const PER_SECOND: u64 = 10;
}

/// Off until `main` says otherwise, so that tests of the library are silent.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Off as u8);
static FORMAT: AtomicU8 = AtomicU8::new(Format::Text as u8);
/// Whether lines of text begin with the time.
static TIMED: AtomicBool = AtomicBool::new(false);
/// Whose lines these are, of several processes that share a log: one more than its number, 0 for the only one.
static WORKER: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
/// The last line was not taken whole: the next begins with the line's end that it has not.
static TORN: AtomicBool = AtomicBool::new(false);
static SINK: OnceLock<Sink> = OnceLock::new();
static RATES: [Rate; Class::COUNT] = [const { Rate::new() }; Class::COUNT];

/// Opened anew, this is another description of the same file, whose flags nobody shares.
const STDERR: &str = "/proc/self/fd/2";

/// Longest line. Less than the 4096 bytes (PIPE_BUF) that a pipe takes whole or not at all, and at once if it polls writable.
const LINE_MAX: usize = 1024;

/// What is written from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

/// How lines look from now on.
pub fn set_format(format: Format) {
    FORMAT.store(format as u8, Relaxed);
}

/// Has every line of text begin with the time; JSON has it anyway.
pub fn set_timed(timed: bool) {
    TIMED.store(timed, Relaxed);
}

/// Has every line say that this worker wrote it.
pub fn set_worker(number: usize) {
    WORKER.store(number + 1, Relaxed);
}

/// Whether stderr is the journal: `$JOURNAL_STREAM` names the file that it must be (systemd.exec(5)).
pub fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    metadata(STDERR).is_ok_and(|file| stream == *format!("{}:{}", file.st_dev(), file.st_ino()))
}

/// Whether lines of this level are written: ask before preparing an expensive one.
pub fn enabled(level: Level) -> bool {
    LEVEL.load(Relaxed) >= level as u8
}

/// Lines that could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Lines that were too many.
pub fn suppressed() -> u64 {
    SUPPRESSED.load(Relaxed)
}

/// Writes a line that an operator has to do something about.
pub fn error(text: fmt::Arguments) {
    line(Level::Error, text);
}

/// Writes a line of what the server does.
pub fn info(text: fmt::Arguments) {
    line(Level::Info, text);
}

/// Writes one line of this level.
pub fn line(level: Level, text: fmt::Arguments) {
    if enabled(level) {
        compose(level, text, |bytes| sink().write(bytes));
    }
}

/// Finds out how lines leave, which is easier before privileges are dropped. Otherwise the first line does it.
pub fn prepare() {
    sink();
}

/// Writes one of the lines that others can cause at will, unless there were too many of its class in this second. One of
/// level `Off` is written whatever the level.
pub fn limited(class: Class, level: Level, text: fmt::Arguments) {
    if !enabled(level) {
        return;
    }
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match RATES[class as usize].admit(second) {
        Admission::Suppress => {
            SUPPRESSED.fetch_add(1, Relaxed);
        }
        Admission::Write { withheld } => {
            if withheld > 0 {
                line(level, format_args!("({withheld} lines like the next were suppressed)"));
            }
            line(level, text);
        }
    }
}

/// Writes one line whatever the level, to tell why there is no server: nobody is served who could be kept waiting.
pub fn last_words(text: fmt::Arguments) {
    compose(Level::Error, text, |bytes| match sink() {
        Sink::Terminal => write_if_ready(bytes),
        sink => sink.write(bytes),
    });
}

/// Has `write` take the line; one that is not taken whole is counted.
fn compose(level: Level, text: fmt::Arguments, write: impl FnOnce(&[u8]) -> io::Result<usize>) {
    let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
    if TORN.load(Relaxed) {
        line.bytes[0] = b'\n';
        line.len = 1;
    }
    // A line that is too long is cut, not lost.
    let _ = line.compose(level, text);
    line.end();
    match write(&line.bytes[..line.len]) {
        Ok(written) if written == line.len => return TORN.store(false, Relaxed),
        Ok(written) if written > 0 => TORN.store(true, Relaxed),
        Ok(_) | Err(_) => {}
    }
    DROPPED.fetch_add(1, Relaxed);
}

/// How lines leave without waiting. O_NONBLOCK would do, but the description that is stderr is shared with whoever started
/// us, and would be changed for them as well.
#[derive(Debug)]
enum Sink {
    /// Files and sockets do not need more: the former take all, the latter can be asked not to wait.
    File,
    Socket,
    /// A terminal or a pipe, opened anew.
    Own(File),
    /// Somebody else's pipe. One that polls writable has a page free, which is more than a line.
    Pipe,
    /// Somebody else's terminal. One that polls writable has room for a byte, and waits for the rest: nothing is written.
    Terminal,
}

fn sink() -> &'static Sink {
    SINK.get_or_init(Sink::find)
}

impl Sink {
    fn find() -> Sink {
        let open = |path| File::options().write(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path);
        let descriptor = stderr().as_fd().try_clone_to_owned().map(File::from);
        let Ok(kind) = descriptor.and_then(|file| file.metadata()).map(|data| data.file_type()) else {
            return Sink::File;
        };
        if kind.is_socket() {
            return Sink::Socket;
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Sink::File;
        }
        if let Ok(file) = open(STDERR) {
            return Sink::Own(file);
        }
        if kind.is_fifo() {
            return Sink::Pipe;
        }
        // After `su` the terminal is not ours to open, but still the one we are controlled by.
        match tcgetsid(stderr()).map(|_| open("/dev/tty")) {
            Ok(Ok(file)) => Sink::Own(file),
            _ if stderr().is_terminal() => Sink::Terminal,
            // /dev/null and its like.
            _ => Sink::File,
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File => stderr().lock().write(bytes),
            Sink::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(stderr().as_raw_fd(), bytes, flags)?)
            }
            Sink::Own(file) => (&*file).write(bytes),
            Sink::Pipe => write_if_ready(bytes),
            Sink::Terminal => Ok(0),
        }
    }
}

fn write_if_ready(bytes: &[u8]) -> io::Result<usize> {
    let stderr = stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO)? == 0 { Ok(0) } else { stderr.lock().write(bytes) }
}

/// How many lines of a class the current second has seen.
struct Rate {
    second: AtomicU64,
    lines: AtomicU64,
}

enum Admission {
    /// With how many of this class were withheld since the last.
    Write {
        withheld: u64,
    },
    Suppress,
}

impl Rate {
    const fn new() -> Rate {
        Rate { second: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }

    fn admit(&self, second: u64) -> Admission {
        let mut withheld = 0;
        if self.second.swap(second, Relaxed) != second {
            withheld = self.lines.swap(0, Relaxed).saturating_sub(Class::PER_SECOND);
        }
        match self.lines.fetch_add(1, Relaxed) {
            lines if lines < Class::PER_SECOND => Admission::Write { withheld },
            _ => Admission::Suppress,
        }
    }
}

struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Line {
    /// What every line ends with, for which room is kept.
    const ENDS: [&'static str; 2] = ["\n", "\"}\n"];

    fn compose(&mut self, level: Level, text: fmt::Arguments) -> fmt::Result {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = Stamp(TIMED.load(Relaxed).then_some(time));
        let worker = Author(WORKER.load(Relaxed));
        match format() {
            Format::Text => write!(self, "{stamp}wsecho: {worker}{text}"),
            Format::Journal => write!(self, "<{}>{stamp}{worker}{text}", priority(level)),
            Format::Json => {
                let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
                let level = name(level);
                write!(self, "{{\"time\":{seconds}.{milliseconds:03},\"level\":\"{level}\",\"message\":\"")?;
                write!(Quoted(self), "{worker}{text}")
            }
        }
    }

    /// Adds `text` whole or not at all: half an escape would take the quote behind it along.
    fn push(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.room() { Err(fmt::Error) } else { self.write_str(text) }
    }

    fn room(&self) -> usize {
        LINE_MAX - Line::ENDS[1].len() - self.len
    }

    fn end(&mut self) {
        let end = Line::ENDS[usize::from(format() == Format::Json)];
        self.bytes[self.len..self.len + end.len()].copy_from_slice(end.as_bytes());
        self.len += end.len();
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.floor_char_boundary(text.len().min(self.room()));
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// `worker 3: `, or nothing.
struct Author(usize);

impl fmt::Display for Author {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(1) {
            Some(number) => write!(out, "worker {number}: "),
            None => Ok(()),
        }
    }
}

/// The inside of a JSON string (RFC 8259 §7).
struct Quoted<'a>(&'a mut Line);

impl fmt::Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '"' => self.0.push("\\\""),
            '\\' => self.0.push("\\\\"),
            '\0'..' ' => self.0.push(&format!("\\u{:04x}", character as u32)),
            _ => self.0.write_char(character),
        })
    }
}

/// A time since 1970 as RFC 3339 has it, in UTC and microseconds, with a space behind it; or nothing.
struct Stamp(Option<Duration>);

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = self.0 else { return Ok(()) };
        let seconds = time.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let microseconds = time.subsec_micros();
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microseconds:06}Z ")
    }
}

/// Year, month and day, so many days after 1970-01-01. Years are counted from March, so that a leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 on; an era of 400 years always has as many days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}

fn format() -> Format {
    match FORMAT.load(Relaxed) {
        1 => Format::Journal,
        2 => Format::Json,
        _ => Format::Text,
    }
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Off | Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Off | Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_still_ends_as_it_must() {
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        assert!(write!(line, "{}", "\u{e9}".repeat(LINE_MAX)).is_err());
        line.end();
        assert!(line.len <= LINE_MAX);
        let text = std::str::from_utf8(&line.bytes[..line.len]).expect("cut between characters");
        assert!(text.ends_with("\u{e9}\n"));
    }

    #[test]
    fn a_stamp_is_the_time_of_rfc_3339() {
        for (seconds, micros, stamp) in [
            (0, 0, "1970-01-01T00:00:00.000000Z "),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z "),
            (951_782_400, 0, "2000-02-29T00:00:00.000000Z "),
            (951_868_800, 1, "2000-03-01T00:00:00.000001Z "),
            (1_764_108_059, 0, "2025-11-25T22:00:59.000000Z "),
            (1_798_761_599, 0, "2026-12-31T23:59:59.000000Z "),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z "),
        ] {
            assert_eq!(Stamp(Some(Duration::new(seconds, micros * 1000))).to_string(), stamp);
        }
        assert_eq!(Stamp(None).to_string(), "");
    }

    #[test]
    fn json_strings_are_quoted() {
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        write!(Quoted(&mut line), "a\"b\\c\n\u{1}\u{e9}").expect("room");
        assert_eq!(&line.bytes[..line.len], "a\\\"b\\\\c\\u000a\\u0001\u{e9}".as_bytes());
    }

    #[test]
    fn a_long_line_is_never_cut_inside_an_escape() {
        for (character, escape) in [("\\", r"\\"), ("\"", "\\\""), ("\n", r"\u000a")] {
            for lead in 0..escape.len() {
                let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
                let text = format!("{}{}", "a".repeat(lead), character.repeat(LINE_MAX));
                assert!(write!(Quoted(&mut line), "{text}").is_err());
                let escapes = &line.bytes[lead..line.len];
                let whole = escapes.chunks(escape.len()).all(|each| each == escape.as_bytes());
                assert!(whole && escapes.len() > LINE_MAX / 2, "{character:?} behind {lead}");
            }
        }
    }

    #[test]
    fn a_class_is_limited_by_the_second_and_tells_what_it_withheld() {
        let rate = Rate::new();
        let written = (0..25).filter(|_| matches!(rate.admit(7), Admission::Write { withheld: 0 })).count();
        assert_eq!(written, 10);
        assert!(matches!(rate.admit(8), Admission::Write { withheld: 15 }));
        assert!(matches!(rate.admit(8), Admission::Write { withheld: 0 }));
        assert!(matches!(rate.admit(10), Admission::Write { withheld: 0 }));
    }
}
