//! Where clients come in.

use super::moment::Moment;
use super::stats::Kind;
use crate::proto::session::Session;
use std::io::{self, ErrorKind};

/// Clients that ask for numbers and are let in beyond the limit: when the server is full is when its health is asked.
pub const STATS_SPARE: usize = 4;

/// What the clients of a listener want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// WebSocket, and the pages.
    Echo,
    /// The same, behind a proxy that says who the client is.
    ProxiedEcho,
    /// Echo in TLS.
    #[cfg(feature = "tls")]
    SecureEcho,
    /// The same, where a proxy says in front of it who the client is.
    #[cfg(feature = "tls")]
    ProxiedSecureEcho,
    /// Flash's policy.
    Policy,
    /// The numbers.
    Stats,
}

impl Role {
    /// What its clients' bytes mean at first.
    pub fn session(self) -> Session {
        match self {
            Role::Echo => Session::greeting(),
            Role::ProxiedEcho => Session::behind_proxy(),
            #[cfg(feature = "tls")]
            Role::SecureEcho => Session::greeting(),
            #[cfg(feature = "tls")]
            Role::ProxiedSecureEcho => Session::behind_proxy(),
            Role::Policy => Session::policy(),
            Role::Stats => Session::stats(),
        }
    }

    /// How its clients are counted.
    pub fn kind(self) -> Kind {
        match self {
            Role::Echo | Role::ProxiedEcho => Kind::Echo,
            #[cfg(feature = "tls")]
            Role::SecureEcho | Role::ProxiedSecureEcho => Kind::Echo,
            Role::Policy => Kind::Policy,
            Role::Stats => Kind::Stats,
        }
    }
}

/// One listening socket, as the reactor sees it.
#[derive(Debug)]
pub struct ListenerState {
    /// What it is for.
    pub role: Role,
    /// Whether clients can be accepted.
    pub state: AcceptState,
    /// A stall is logged once, until everybody who waited was let in.
    pub stall_was_told: bool,
}

impl ListenerState {
    /// Clients may wait already.
    pub fn new(role: Role) -> ListenerState {
        ListenerState { role, state: AcceptState::Pending, stall_was_told: false }
    }

    /// Notes that clients may wait.
    pub fn note(&mut self) {
        if self.state != AcceptState::Closed {
            self.state = AcceptState::Pending;
        }
    }

    /// Nobody waits any more.
    pub fn drained(&mut self) {
        self.state = AcceptState::Quiet;
        self.stall_was_told = false;
    }
}

/// Whether clients can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptState {
    /// Nobody waits, as far as is known.
    Quiet,
    /// Somebody may wait.
    Pending,
    /// It listens no more.
    Closed,
    /// There is no room. The edge that announced the clients in the queue is spent and will not come again, so the
    /// reactor itself tries again: when any connection ends, and at this moment.
    Stalled(Moment),
}

/// What a failed accept means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Nobody waits.
    Drained,
    /// That client is gone, or the call was interrupted; the next may be fine.
    Retry,
    /// The system has run out of something that only time or a closed connection brings back.
    Stall,
}

impl Accept {
    /// Sorts the errors of accept(2).
    pub fn after(error: &io::Error) -> Accept {
        use nix::errno::Errno;
        match error.kind() {
            ErrorKind::WouldBlock => return Accept::Drained,
            ErrorKind::Interrupted | ErrorKind::ConnectionAborted => return Accept::Retry,
            _ => {}
        }
        // accept(2): Linux passes pending network errors of the new socket on, to be treated like EAGAIN. Not so EPERM and
        // EOPNOTSUPP: a security module or a system call filter says the former, and says it again at once.
        match error.raw_os_error().map(Errno::from_raw) {
            Some(
                Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::ECONNRESET,
            ) => Accept::Retry,
            _ => Accept::Stall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn an_error_that_lasts_is_not_tried_again_at_once() {
        for errno in
            [Errno::EMFILE, Errno::ENOMEM, Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP, Errno::EINVAL]
        {
            assert_eq!(Accept::after(&errno.into()), Accept::Stall, "{errno}");
        }
        for errno in [Errno::EINTR, Errno::ECONNABORTED, Errno::EPROTO, Errno::ENETDOWN] {
            assert_eq!(Accept::after(&errno.into()), Accept::Retry, "{errno}");
        }
        assert_eq!(Accept::after(&Errno::EAGAIN.into()), Accept::Drained);
    }
}
