//! Lines to stderr that neither block nor panic.
//!
//! The loop must not stop because nobody reads a pipe, nor end because a disk is full: a line that cannot be written at
//! once is dropped and counted.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Off,
    Error,
    Info,
    Debug,
}

/// Off until `main` says otherwise, so that tests of the library are silent.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Off as u8);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Longest line. A pipe that polls writable takes 4096 bytes (PIPE_BUF) at once.
const LINE_MAX: usize = 1024;

pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of this level are written: ask before preparing an expensive one.
pub fn enabled(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// Lines that could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

pub fn error(text: fmt::Arguments) {
    line(Level::Error, text);
}

pub fn info(text: fmt::Arguments) {
    line(Level::Info, text);
}

pub fn debug(text: fmt::Arguments) {
    line(Level::Debug, text);
}

/// Writes one line of this level.
pub fn line(level: Level, text: fmt::Arguments) {
    if enabled(level) && !write(text) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes one line whatever the level, for what must be said before or after logging; false when it could not be.
pub fn write(text: fmt::Arguments) -> bool {
    let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
    // A full line is cut, not lost.
    let _ = write!(line, "wsecho: {text}");
    line.bytes[line.len] = b'\n';
    let bytes = &line.bytes[..=line.len];
    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let writable = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    writable && stderr.lock().write(bytes).is_ok_and(|written| written == bytes.len())
}

struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays free for the line feed.
        let room = LINE_MAX - 1 - self.len;
        let taken = text.floor_char_boundary(text.len().min(room));
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut() {
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        assert!(write!(line, "{}", "\u{e9}".repeat(LINE_MAX)).is_err());
        assert_eq!(line.len, LINE_MAX - 2);
    }
}
