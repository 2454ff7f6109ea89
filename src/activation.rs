//! Sockets that a service manager opened for us (sd_listen_fds(3)).

#[cfg(not(feature = "tls"))]
use crate::args::NO_TLS;
use crate::reactor::listener::Role;
use crate::reactor::system::{Listener, adopt_tcp, adopt_unix};
use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use std::os::fd::AsFd;

/// More than this is a mistake, not a set of sockets.
const SOCKETS_MAX: usize = 64;
/// Where Flash players ask: a socket without a name that is bound there is for them.
const POLICY_PORT: u16 = 843;

/// The listeners that were passed to this process, with what they are for: by their names (`echo`, `echo-tls`, `policy`, `stats`), or
/// by their port where they have none of these.
///
/// # Errors
/// One line, when what was passed is not listening stream sockets, or one is for TLS and this build has none.
pub fn listeners() -> Result<Vec<(Role, Listener)>, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let is_for_us = variable("LISTEN_PID").is_some_and(|pid| pid.parse() == Ok(std::process::id()));
    if !is_for_us {
        return Ok(Vec::new());
    }
    let count = variable("LISTEN_FDS").unwrap_or_default();
    let count: usize = match count.parse() {
        Ok(count @ 1..=SOCKETS_MAX) => count,
        _ => return Err(format!("LISTEN_FDS takes a number from 1 to {SOCKETS_MAX}, not '{count}'")),
    };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    (0..count)
        .map(|index| {
            let listener = take(&mut passed, index).map_err(|why| {
                format!("descriptor {} of LISTEN_FDS is not a listening socket: {why}", 3 + index)
            })?;
            Ok((role(names.next().unwrap_or_default(), &listener)?, listener))
        })
        .collect()
}

fn take(passed: &mut ListenFd, index: usize) -> Result<Listener, String> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
        check_listens(&listener)?;
        return adopt_tcp(listener).map_err(|error| error.to_string());
    }
    match passed.take_unix_listener(index) {
        Ok(Some(listener)) => {
            check_listens(&listener)?;
            adopt_unix(listener).map_err(|error| error.to_string())
        }
        Ok(None) => Err("there is none".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn check_listens(socket: &impl AsFd) -> Result<(), String> {
    match getsockopt(socket, AcceptConn) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not listen".to_owned()),
        // nix's own text for an error brings a table of them all.
        Err(error) => Err(std::io::Error::from(error).to_string()),
    }
}

fn role(name: &str, listener: &Listener) -> Result<Role, String> {
    Ok(match name {
        "echo" => Role::Echo,
        #[cfg(feature = "tls")]
        "echo-tls" => Role::SecureEcho,
        #[cfg(not(feature = "tls"))]
        "echo-tls" => return Err(format!("a socket named echo-tls was passed, and {NO_TLS}")),
        "policy" => Role::Policy,
        "stats" => Role::Stats,
        _ if listener.address().is_some_and(|address| address.port() == POLICY_PORT) => Role::Policy,
        _ => Role::Echo,
    })
}
