//! From options to a running server.

use crate::args::{Address, Options, StatsPlace};
use crate::failure::Failure;
use crate::listeners::Listeners;
use crate::log;
use crate::memory_limit::memory_limit;
use crate::notify::{self, Manager};
use crate::proto::handshake::Routes;
use crate::proto::limits::Limits;
use crate::reactor::Reactor;
use crate::reactor::boards::Rules;
use crate::reactor::config::Config;
use crate::reactor::system::{BACKLOG, System};
use crate::worker;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{User, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Descriptors that are not clients: standard streams, epoll, signals, the service manager, whoever asks a full server for
/// its health, and room to spare.
const OTHER_DESCRIPTORS: usize = 16;
/// A hard limit above this (2^30 is seen) is more than anyone means.
const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Bytes that are kept for all clients together at most, if nobody says how many.
const BUFFERED_MAX: usize = 256 << 20;

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Failure`] when the server cannot start as asked; nothing is left listening then.
pub fn run(options: Options) -> Result<(), Failure> {
    open_log(&options);
    let mut listeners = Listeners::open(&options)?;
    let descriptors = descriptor_limit();
    let max_connections = max_connections(&options, descriptors, listeners.sockets.len())?;
    if let Some(user) = &options.user {
        become_user(user, &unix_paths(&options))?;
    }
    if let Some(one) = options.worker {
        worker::settle(one, options.pin)?;
    }
    let config = config(&options, max_connections);
    #[cfg(feature = "tls")]
    let service = match listeners.are_secure() {
        false => None,
        true => Some(identity(&options.tls).load().map_err(|text| Failure::new(Failure::USAGE, text))?),
    };
    let manager = Manager::from_environment();
    let lost = |error: io::Error| Failure::system(format!("the event loop failed: {error}"));
    let announcements = match options.worker {
        None => listeners.announcements(options.echo_paths.example()),
        Some(_) => listeners.numbers(),
    };
    let kernel =
        System::new(std::mem::take(&mut listeners.sockets), Manager::from_environment()).map_err(lost)?;
    for announcement in &announcements {
        log::info(format_args!("{announcement}"));
    }
    #[cfg(feature = "tls")]
    for note in service.iter().flat_map(|service| &service.notes) {
        log::info(format_args!("{note}"));
    }
    if options.worker.is_none() {
        log::info(format_args!(
            "up to {max_connections} clients ({descriptors} descriptors), backlog {BACKLOG} (net.core.somaxconn {})",
            somaxconn()
        ));
    }
    manager.tell(&format!("READY=1\nSTATUS={}", announcements.first().map_or("Serving", String::as_str)));
    let mut reactor = Reactor::new(kernel, &listeners.roles, config);
    #[cfg(feature = "tls")]
    reactor.show(service);
    reactor.run().map_err(lost)
}

/// Has the log be as the options say.
pub fn open_log(options: &Options) {
    log::set_level(options.level);
    log::set_timed(options.log_time);
    log::set_format(options.format);
    log::prepare();
}

fn config(options: &Options, max_connections: usize) -> Config {
    Config {
        routes: Routes {
            echo_paths: options.echo_paths.clone(),
            origins: options.origins.clone(),
            deflate: options.deflate,
            boards: options.boards.is_some(),
            board_lifetime: options.boards.and_then(|rules| rules.lifetime),
            test_paths: options.test_paths,
            stats: options.stats == Some(StatsPlace::Page),
            limits: Limits { max_message: options.max_message },
        },
        max_connections,
        max_buffered: options.max_buffered.unwrap_or_else(max_buffered),
        spin: options.spin,
        handshake_timeout: options.handshake_timeout,
        idle_timeout: options.idle_timeout,
        ping_interval: options.ping_interval,
        boards: options.boards.unwrap_or(Rules { lifetime: None, max_boards: 0, max_members: 0 }),
        drain_spread: options.drain_spread,
        drain_timeout: options.drain_timeout,
        watchdog: notify::watchdog(),
    }
}

/// Whose certificate is asked for.
#[cfg(feature = "tls")]
fn identity(options: &crate::args::TlsOptions) -> crate::tls::certificate::Identity {
    use crate::tls::certificate::{Identity, Wrong};
    let files = options.cert.clone().zip(options.key.clone());
    let wrong = Wrong::ALL.into_iter().find(|wrong| options.wrong == Some(wrong.name()));
    Identity { files, client_ca: options.client_ca.clone(), wrong }
}

/// How many clients can be held; fewer than the user asked for is an error, fewer by default is said at the start.
pub fn max_connections(options: &Options, descriptors: usize, listeners: usize) -> Result<usize, Failure> {
    let others = OTHER_DESCRIPTORS + listeners;
    let possible = descriptors.saturating_sub(others);
    match options.max_connections {
        Some(asked) if asked > possible => {
            let text = format!(
                "--max-connections {asked} needs a descriptor limit of {}, and this process may have {descriptors}: \
                 raise it (ulimit -Hn, LimitNOFILE=) or ask for at most {possible}",
                asked.saturating_add(others)
            );
            Err(Failure::new(Failure::USAGE, text))
        }
        Some(asked) => Ok(asked),
        None if possible == 0 => Err(Failure::system(format!(
            "the descriptor limit of {descriptors} leaves none for clients: raise it (ulimit -n)"
        ))),
        None => Ok(possible),
    }
}

/// Bytes that may be kept for clients by default: a part of what this process may have, which other things need as well.
pub fn max_buffered() -> usize {
    let part = memory_limit().map_or(u64::MAX, |limit| limit / 4);
    usize::try_from(part).unwrap_or(usize::MAX).clamp(1 << 20, BUFFERED_MAX)
}

/// Raises the descriptor limit as far as it goes, and says how far that is.
pub fn descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(DESCRIPTORS_MAX);
    let raised = soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let limit = if raised { wanted } else { soft.min(DESCRIPTORS_MAX) };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// What the system lowers a backlog to, as far as it tells.
fn somaxconn() -> String {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    limit.map_or_else(|_| "unknown".to_owned(), |limit| limit.trim().to_owned())
}

fn unix_paths(options: &Options) -> Vec<&Path> {
    let stats = match &options.stats {
        Some(StatsPlace::At(address)) => Some(address),
        _ => None,
    };
    let addresses = options.listen.iter().chain(&options.tls.listen).chain(stats);
    addresses
        .filter_map(|address| match address {
            Address::Unix(path) => Some(path.as_path()),
            _ => None,
        })
        .collect()
}

/// Goes on as `name`, with its groups and nothing else, once every port is bound; the Unix sockets at `paths` go along.
fn become_user(name: &str, paths: &[&Path]) -> Result<(), Failure> {
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        _ => {
            return Err(Failure::new(
                Failure::USAGE,
                format!("--user takes the name of a user, not '{name}'"),
            ));
        }
    };
    let become_it = || -> io::Result<()> {
        let name = CString::new(user.name.as_str())?;
        for path in paths {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        initgroups(&name, user.gid)?;
        setgid(user.gid)?;
        Ok(setuid(user.uid)?)
    };
    become_it()
        .map_err(|error| Failure::system(format!("cannot become user {name} ({error}): --user needs root")))
}
