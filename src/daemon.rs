//! From options to a running server.

use crate::activation;
use crate::args::{Address, Options, Policy, StatsPlace, everywhere};
use crate::log;
use crate::memory_limit::memory_limit;
use crate::notify::{self, Manager};
use crate::proto::handshake::Routes;
use crate::proto::limits::Limits;
use crate::reactor::Reactor;
use crate::reactor::boards::Rules;
use crate::reactor::config::Config;
use crate::reactor::listener::Role;
use crate::reactor::system::{BACKLOG, Listener, System, is_lacking, listen, listen_any, listen_unix};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{User, initgroups, setgid, setuid};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Descriptors that are not clients: standard streams, epoll, signals, the service manager, whoever asks a full server for
/// its health, and room to spare.
const OTHER_DESCRIPTORS: usize = 16;
/// A hard limit above this (2^30 is seen) is more than anyone means.
const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Bytes that are kept for all clients together at most, if nobody says how many.
const BUFFERED_MAX: usize = 256 << 20;
/// A Unix socket is for its owner and the group of a proxy.
const SOCKET_MODE: u32 = 0o660;

/// Why the server did not start, or stopped: one line, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line, which says what to do.
    pub text: String,
    /// What the program ends with.
    pub status: u8,
}

impl Failure {
    /// Something the system would not do.
    pub const SYSTEM: u8 = 1;
    /// A mistake in the options.
    pub const USAGE: u8 = 2;
    /// The policy listener was asked for and cannot be had.
    const POLICY: u8 = 4;

    fn new(status: u8, text: String) -> Failure {
        Failure { text, status }
    }

    fn system(text: String) -> Failure {
        Failure::new(Failure::SYSTEM, text)
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Failure`] when the server cannot start as asked; nothing is left listening then.
pub fn run(options: Options) -> Result<(), Failure> {
    log::set_level(options.level);
    log::set_timed(options.log_time);
    log::set_format(options.format);
    log::prepare();
    let mut listeners = Listeners::open(&options)?;
    let descriptors = descriptor_limit();
    let max_connections = max_connections(&options, descriptors, listeners.sockets.len())?;
    if let Some(user) = &options.user {
        become_user(user, &unix_paths(&options))?;
    }
    let config = config(&options, max_connections);
    #[cfg(feature = "tls")]
    let service = match listeners.are_secure() {
        false => None,
        true => Some(identity(&options.tls).load().map_err(|text| Failure::new(Failure::USAGE, text))?),
    };
    let manager = Manager::from_environment();
    let lost = |error: io::Error| Failure::system(format!("the event loop failed: {error}"));
    let announcements = listeners.announcements(options.echo_paths.example());
    let kernel =
        System::new(std::mem::take(&mut listeners.sockets), Manager::from_environment()).map_err(lost)?;
    for announcement in &announcements {
        log::info(format_args!("{announcement}"));
    }
    #[cfg(feature = "tls")]
    for note in service.iter().flat_map(|service| &service.notes) {
        log::info(format_args!("{note}"));
    }
    log::info(format_args!(
        "up to {max_connections} clients ({descriptors} descriptors), backlog {BACKLOG} (net.core.somaxconn {})",
        somaxconn()
    ));
    manager.tell(&format!("READY=1\nSTATUS={}", announcements.first().map_or("Serving", String::as_str)));
    let mut reactor = Reactor::new(kernel, &listeners.roles, config);
    #[cfg(feature = "tls")]
    reactor.show(service);
    reactor.run().map_err(lost)
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

/// The listeners, and what they are for.
#[derive(Debug, Default)]
struct Listeners {
    sockets: Vec<Listener>,
    roles: Vec<Role>,
    names: Vec<String>,
}

impl Listeners {
    fn open(options: &Options) -> Result<Listeners, Failure> {
        let mut listeners = Listeners::default();
        let echo = if options.proxy_protocol { Role::ProxiedEcho } else { Role::Echo };
        #[cfg(feature = "tls")]
        let secure = if options.proxy_protocol { Role::ProxiedSecureEcho } else { Role::SecureEcho };
        let passed = activation::listeners().map_err(|text| Failure::new(Failure::USAGE, text))?;
        let is_activated = !passed.is_empty();
        for (role, listener) in passed {
            let role = match role {
                Role::Echo => echo,
                #[cfg(feature = "tls")]
                Role::SecureEcho => secure,
                role => role,
            };
            let name = listener.address().map_or("a passed socket".to_owned(), |address| address.to_string());
            listeners.add(role, listener, name);
        }
        for address in &options.listen {
            listeners.bind_or_fail(echo, address, "--listen", options.reuse_port)?;
        }
        #[cfg(feature = "tls")]
        for address in &options.tls.listen {
            listeners.bind_or_fail(secure, address, "--listen-tls", options.reuse_port)?;
        }
        if options.tls.want_a_port() && !listeners.are_secure() {
            let text = "--tls-cert, --tls-key, --tls-client-ca and --tls-wrong want --listen-tls";
            return Err(Failure::new(Failure::USAGE, text.to_owned()));
        }
        if !is_activated && options.listen.is_empty() && options.tls.listen.is_empty() {
            let address = options.default_listen().map_err(|text| Failure::new(Failure::USAGE, text))?;
            listeners.bind_or_fail(echo, &address, "--listen", options.reuse_port)?;
        }
        if let Some(StatsPlace::At(address)) = &options.stats {
            listeners.bind_or_fail(Role::Stats, address, "--stats", options.reuse_port)?;
        }
        match &options.policy {
            Policy::Off => {}
            // Who passes sockets decides which there are.
            Policy::IfPossible(_) if is_activated => {}
            Policy::IfPossible(address) => {
                if let Err(error) = listeners.bind(Role::Policy, address, options.reuse_port) {
                    tell_no_policy(address, &error);
                }
            }
            Policy::At(address) => {
                listeners.bind(Role::Policy, address, options.reuse_port).map_err(|error| {
                    let why = reason(&error);
                    let text = format!(
                        "cannot serve the Flash policy on {address}: {why}; choose another address or --policy off"
                    );
                    Failure::new(Failure::POLICY, text)
                })?;
            }
        }
        Ok(listeners)
    }

    /// Whether any is for TLS.
    fn are_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.roles.iter().any(|role| matches!(role, Role::SecureEcho | Role::ProxiedSecureEcho));
        #[cfg(not(feature = "tls"))]
        false
    }

    fn bind_or_fail(
        &mut self,
        role: Role,
        address: &Address,
        option: &str,
        reuse_port: bool,
    ) -> Result<(), Failure> {
        self.bind(role, address, reuse_port).map_err(|error| {
            let why = reason(&error);
            Failure::system(format!("cannot listen on {address}: {why}; choose another with {option}"))
        })
    }

    fn bind(&mut self, role: Role, address: &Address, reuse_port: bool) -> io::Result<()> {
        match address {
            Address::Any(port) => {
                let listener = listen_any(*port, reuse_port)?;
                let name = listener.address().map_or_else(|| address.to_string(), everywhere);
                self.add(role, listener, name);
            }
            Address::Tcp(address) => self.add_tcp(role, listen(*address, reuse_port)?),
            Address::Name(host, port) => {
                for listener in bind_name(host, *port, reuse_port)? {
                    self.add_tcp(role, listener);
                }
            }
            Address::Unix(path) => self.add(role, bind_unix(path)?, address.to_string()),
        }
        Ok(())
    }

    fn add_tcp(&mut self, role: Role, listener: Listener) {
        // The port that was really bound.
        let name = listener.address().map_or_else(|| "a TCP socket".to_owned(), |bound| bound.to_string());
        self.add(role, listener, name);
    }

    fn add(&mut self, role: Role, listener: Listener, name: String) {
        self.names.push(name);
        self.roles.push(role);
        self.sockets.push(listener);
    }

    /// What to tell the user, a line each; `echo_path` is one that echoes.
    fn announcements(&self, echo_path: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for ((role, listener), name) in self.roles.iter().zip(&self.sockets).zip(&self.names) {
            match (role, listener.address()) {
                (Role::Echo | Role::ProxiedEcho, Some(bound)) => {
                    let host = reachable(bound);
                    lines.push(format!("listening on {name}, echo at ws://{host}{echo_path}"));
                    lines.push(format!("test page at http://{host}/"));
                }
                (Role::Echo | Role::ProxiedEcho, None) => lines.push(format!("listening on {name}")),
                #[cfg(feature = "tls")]
                (Role::SecureEcho | Role::ProxiedSecureEcho, Some(bound)) => {
                    let host = reachable(bound);
                    lines.push(format!("TLS on {name}, echo at wss://{host}{echo_path}"));
                    lines.push(format!("test page at https://{host}/"));
                }
                #[cfg(feature = "tls")]
                (Role::SecureEcho | Role::ProxiedSecureEcho, None) => lines.push(format!("TLS on {name}")),
                (Role::Policy, _) => lines.push(format!("Flash policy on {name}")),
                (Role::Stats, Some(bound)) => {
                    lines.push(format!("numbers at http://{}/metrics", reachable(bound)))
                }
                (Role::Stats, None) => lines.push(format!("numbers at /metrics on {name}")),
            }
        }
        lines
    }
}

/// Binds every address of a name that this host has, all with the same port.
///
/// # Errors
/// When the name has none, or one of them is in use. An address that this host lacks is left out, since `localhost` is
/// `::1`, too, on machines without IPv6; that all are lacking is an error.
fn bind_name(host: &str, port: u16, reuse_port: bool) -> io::Result<Vec<Listener>> {
    /// Another program may hold, on the second address, the port that was free on the first.
    const ATTEMPTS: usize = 16;
    let addresses: BTreeSet<SocketAddr> = match host {
        // RFC 6761 §6.3, whatever the hosts file says: browsers do not ask it.
        "localhost" => {
            BTreeSet::from([(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        _ => (host, port).to_socket_addrs()?.collect(),
    };
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match bind_each(&addresses, reuse_port) {
            Err(error) if port == 0 && attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

/// Binds `addresses`; where they ask for any free port, those behind the first get the port that it got.
fn bind_each(addresses: &BTreeSet<SocketAddr>, reuse_port: bool) -> io::Result<Vec<Listener>> {
    let mut bound: Vec<Listener> = Vec::new();
    let mut lacking = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let mut address = *address;
        if let Some(first) = bound.first().and_then(Listener::address) {
            address.set_port(first.port());
        }
        match listen(address, reuse_port) {
            Ok(listener) => bound.push(listener),
            Err(error) if is_lacking(&error) => lacking = error,
            Err(error) => return Err(error),
        }
    }
    if bound.is_empty() { Err(lacking) } else { Ok(bound) }
}

/// Binds a Unix socket, in place of one that nobody listens on.
fn bind_unix(path: &Path) -> io::Result<Listener> {
    remove_stale(path)?;
    let listener = listen_unix(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Removes the socket that a server which is no more left at `path`; one that listens is in use, however busy it is.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Of a listener that accepts nobody (SIGSTOP) with a full queue, connect would wait for ever.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// How many clients can be held; fewer than the user asked for is an error, fewer by default is said at the start.
fn max_connections(options: &Options, descriptors: usize, listeners: usize) -> Result<usize, Failure> {
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
fn max_buffered() -> usize {
    let part = memory_limit().map_or(u64::MAX, |limit| limit / 4);
    usize::try_from(part).unwrap_or(usize::MAX).clamp(1 << 20, BUFFERED_MAX)
}

/// Raises the descriptor limit as far as it goes, and says how far that is.
fn descriptor_limit() -> usize {
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

fn tell_no_policy(address: &Address, error: &io::Error) {
    let why = reason(error);
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "`setcap cap_net_bind_service=+ep` on the binary allows it",
        _ => "--policy PORT moves it",
    };
    log::info(format_args!(
        "no Flash policy on {address} ({why}; {remedy}): policy requests are answered on the echo port only"
    ));
}

/// What the system said, in words.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "this needs a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// The address as one would type it into a browser on this host.
fn reachable(bound: SocketAddr) -> String {
    if bound.ip().is_unspecified() { format!("localhost:{}", bound.port()) } else { bound.to_string() }
}
