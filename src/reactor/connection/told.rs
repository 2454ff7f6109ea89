//! What is told of a connection in the log, and under which name.

use super::Connection;
use crate::log::{self, Level};
use crate::reactor::kernel::Stream;
use crate::reactor::trace::{Tell, Trace};
use std::net::SocketAddr;

impl<S: Stream> Connection<S> {
    #[cold]
    #[inline(never)]
    pub(super) fn log(&self, level: Level, text: std::fmt::Arguments) {
        if !log::enabled(level) {
            return;
        }
        let client = self.proxied().or_else(|| self.transport.peer());
        let say = |text: std::fmt::Arguments| match level {
            // Whoever asks for every line gets every line.
            Level::Debug | Level::Trace => log::line(level, text),
            _ => log::limited(log::Class::Refused, level, text),
        };
        match client {
            Some(client) => say(format_args!("{text} ({client})")),
            None => say(text),
        }
    }

    /// Who a proxy says the client is.
    pub(super) fn proxied(&self) -> Option<SocketAddr> {
        self.aside.as_ref().and_then(|aside| aside.client)
    }

    #[inline]
    pub(super) fn is_traced(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.trace.is_some())
    }

    /// Has the trace read along, and writes what it tells.
    #[cold]
    #[inline(never)]
    pub(super) fn trace(&mut self, read: impl FnOnce(&mut Trace, Tell)) {
        let Some(mut trace) = self.aside.as_mut().and_then(|aside| aside.trace.take()) else { return };
        read(&mut trace, &mut |line| self.log(Level::Trace, line));
        self.aside.get_or_insert_default().trace = Some(trace);
    }
}
