//! A connection in TLS: where that begins, and where it fails.

use super::super::kernel::Stream;
use super::super::listener::Role;
use super::super::moment::Moment;
use super::super::stats::Stats;
use super::super::turn::{Context, Shared, Turn};
use super::Connection;
use crate::log::Level;
use crate::proto::session::Stage;
use crate::tls::connection::Tls;
use std::io;
use std::ops::Range;

impl<S: Stream> Connection<S> {
    /// The same in TLS, where it came to a port of that; behind a proxy that says first who it is, TLS begins when that was
    /// said.
    pub fn secured(mut self, role: Role, shared: &mut Shared) -> io::Result<Connection<S>> {
        match role {
            Role::SecureEcho => {
                self.session.secure();
                self.transport.begin_tls(tls(shared)?, &[], &mut shared.stats);
            }
            Role::ProxiedSecureEcho => self.aside.get_or_insert_default().is_secured = true,
            _ => {}
        }
        Ok(self)
    }

    pub(super) fn is_secured_behind_proxy(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.is_secured)
    }

    /// TLS begins behind what a proxy said: with `scratch[read]`, which came along with it.
    pub(super) fn begin_tls(&mut self, shared: &mut Shared, read: Range<usize>) -> io::Result<()> {
        let tls = tls(shared)?;
        self.session.secure();
        let Shared { scratch, stats, .. } = shared;
        self.transport.keep(&[], 0, stats);
        self.transport.begin_tls(tls, &scratch[read], stats);
        Ok(())
    }

    /// What came was no part of the conversation, but a sign of life.
    pub(super) fn after_part(&mut self, now: Moment) -> Turn {
        if self.session.stage() == Stage::Open {
            self.is_there(now);
        }
        if self.transport.is_readable() || self.transport.could_write() { Turn::Again } else { Turn::Wait }
    }

    /// TLS has no way on, and has said so: what is left is to wait for the peer to go.
    pub(super) fn fail_tls(&mut self, shared: &mut Shared, context: &Context) -> io::Result<Turn> {
        let why = self.transport.tls().and_then(|tls| tls.fault().map(str::to_owned));
        self.log(Level::Debug, format_args!("TLS: {}", why.unwrap_or_default()));
        self.session.end();
        self.said_all(&mut shared.stats, context.now)?;
        Ok(self.after_part(context.now))
    }

    /// Sends `scratch[reply]`, sealed where it stands if nothing around it is needed any more.
    #[inline]
    pub(super) fn send_in_place(
        &mut self,
        scratch: &mut [u8],
        reply: Range<usize>,
        is_alone: bool,
        stats: &mut Stats,
    ) -> io::Result<()> {
        if self.transport.tls().is_none() || self.is_traced() {
            return self.send(&scratch[reply], stats);
        }
        self.transport.send_in_place(scratch, reply, is_alone, stats)
    }

    /// Whether its expanded keys are to be put on the list of those that may be given up; they are on it then.
    pub fn lists_keys(&mut self) -> bool {
        self.transport.tls().is_some_and(Tls::lists_keys)
    }

    /// Gives up expanded keys.
    pub fn give_up_keys(&mut self) {
        if let Some(tls) = self.transport.tls() {
            tls.contract();
        }
    }
}

/// A server's end of a handshake.
fn tls(shared: &Shared) -> io::Result<Tls> {
    let service = shared.tls.as_ref().ok_or_else(|| io::Error::other("no certificate"))?;
    Tls::new(service.config.clone()).map_err(io::Error::other)
}
