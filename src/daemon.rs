//! From options to a running server.

use crate::args::{Options, Policy};
use crate::log;
use crate::proto::handshake::Site;
use crate::proto::session::Limits;
use crate::reactor::boards::Rules;
use crate::reactor::listener::Role;
use crate::reactor::system::{System, listen};
use crate::reactor::{Config, Reactor};
use mio::net::TcpListener;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Descriptors that are not clients: standard streams, epoll, the signal pipe, and room to spare.
const OTHER_DESCRIPTORS: usize = 16;
/// A hard limit above this (2^30 is seen) is more than anyone means.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Why the server did not start, or stopped: one line, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: String,
    pub status: u8,
}

impl Failure {
    /// Something the system would not do.
    const SYSTEM: u8 = 1;
    /// A mistake in the options.
    pub const USAGE: u8 = 2;
    /// The policy listener was asked for and cannot be had.
    const POLICY: u8 = 4;

    fn new(status: u8, text: String) -> Failure {
        Failure { text, status }
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Failure`] when the server cannot start as asked; nothing is left listening then.
pub fn run(options: Options) -> Result<(), Failure> {
    log::set_level(options.level);
    let max_connections = max_connections(&options)?;
    let mut listeners = Vec::new();
    let mut roles = Vec::new();
    for address in &options.listen {
        let listener = listen(*address).map_err(|error| {
            let why = reason(&error);
            let text = format!("cannot listen on {address}: {why}; choose another with --listen ADDR:PORT");
            Failure::new(Failure::SYSTEM, text)
        })?;
        listeners.push(listener);
        roles.push(Role::Echo);
    }
    if let Some(listener) = bind_policy(options.policy)? {
        listeners.push(listener);
        roles.push(Role::Policy);
    }
    let bound: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let config = Config {
        site: Site {
            echo_paths: options.echo_paths,
            origins: options.origins,
            deflate: options.deflate,
            boards: options.boards.is_some(),
            limits: Limits { max_message: options.max_message },
        },
        max_connections,
        handshake_timeout: options.handshake_timeout,
        idle_timeout: options.idle_timeout,
        ping_interval: options.ping_interval,
        boards: options.boards.unwrap_or(Rules { lifetime: None, max_boards: 0, max_members: 0 }),
    };
    let system = |error: io::Error| Failure::new(Failure::SYSTEM, format!("the event loop failed: {error}"));
    let kernel = System::new(listeners).map_err(system)?;
    announce(&bound, &roles);
    Reactor::new(kernel, &roles, config).run().map_err(system)
}

/// Raises the descriptor limit as far as it goes, and says how many clients that allows.
fn max_connections(options: &Options) -> Result<usize, Failure> {
    let limit = descriptor_limit();
    let others = OTHER_DESCRIPTORS + options.listen.len() + 1;
    let possible = limit.saturating_sub(others);
    match options.max_connections {
        Some(asked) if asked > possible => {
            let text = format!(
                "--max-connections {asked} needs a descriptor limit of {}, and this process may have {limit}: \
                 raise it (ulimit -Hn, LimitNOFILE=) or ask for at most {possible}",
                asked.saturating_add(others)
            );
            Err(Failure::new(Failure::USAGE, text))
        }
        Some(asked) => Ok(asked),
        None if possible == 0 => {
            let text =
                format!("the descriptor limit of {limit} leaves none for clients: raise it (ulimit -n)");
            Err(Failure::new(Failure::SYSTEM, text))
        }
        None => Ok(possible),
    }
}

fn descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    let wanted = hard.min(DESCRIPTORS_MAX);
    let raised = soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let limit = if raised { wanted } else { soft.min(DESCRIPTORS_MAX) };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn bind_policy(policy: Policy) -> Result<Option<TcpListener>, Failure> {
    match policy {
        Policy::Off => Ok(None),
        Policy::At(address) => listen(address).map(Some).map_err(|error| {
            let why = reason(&error);
            let text = format!("cannot serve the Flash policy on {address}: {why}; choose another address or --policy off");
            Failure::new(Failure::POLICY, text)
        }),
        Policy::IfPossible(address) => Ok(listen(address)
            .inspect_err(|error| {
                let why = reason(error);
                let remedy = match error.kind() {
                    io::ErrorKind::PermissionDenied => "`setcap cap_net_bind_service=+ep` on the binary allows it",
                    _ => "--policy ADDR:PORT moves it",
                };
                log::info(format_args!(
                    "no Flash policy on {address} ({why}; {remedy}): policy requests are answered on the echo port only"
                ));
            })
            .ok()),
    }
}

/// What the system said, in words.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// Says where everything is, with the ports that were really bound.
fn announce(bound: &[SocketAddr], roles: &[Role]) {
    for (bound, role) in bound.iter().zip(roles) {
        match role {
            Role::Echo => {
                let host = reachable(*bound);
                log::info(format_args!("listening on {bound}, echo at ws://{host}/echo"));
                log::info(format_args!("test page at http://{host}/"));
            }
            Role::Policy => log::info(format_args!("Flash policy on {bound}")),
        }
    }
}

/// The address as one would type it into a browser on this host.
fn reachable(bound: SocketAddr) -> String {
    let is_any = match bound.ip() {
        IpAddr::V4(address) => address == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(address) => address.is_unspecified(),
    };
    if is_any { format!("localhost:{}", bound.port()) } else { bound.to_string() }
}
