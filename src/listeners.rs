//! The ports that the options ask for.

use crate::activation;
use crate::args::{Address, Options, Policy, StatsPlace, everywhere};
use crate::failure::Failure;
use crate::log;
use crate::reactor::listener::Role;
use crate::reactor::system::{Listener, Sharing, is_lacking, listen, listen_any, listen_unix};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// A Unix socket is for its owner and the group of a proxy.
const SOCKET_MODE: u32 = 0o660;

/// The listeners, and what they are for.
#[derive(Debug)]
pub struct Listeners {
    sharing: Sharing,
    /// What is listened on.
    pub sockets: Vec<Listener>,
    /// What each of them is for.
    pub roles: Vec<Role>,
    names: Vec<String>,
}

impl Listeners {
    /// Opens every port.
    ///
    /// # Errors
    /// The first that cannot be had, with its remedy.
    pub fn open(options: &Options) -> Result<Listeners, Failure> {
        let mut listeners =
            Listeners::shared(if options.reuse_port { Sharing::Others } else { Sharing::Nobody });
        let passed = activation::listeners().map_err(|text| Failure::new(Failure::USAGE, text))?;
        let is_activated = !passed.is_empty();
        for (role, listener) in passed {
            let role = match role {
                Role::Echo => echo(options),
                #[cfg(feature = "tls")]
                Role::SecureEcho => secure(options),
                role => role,
            };
            let name = listener.address().map_or("a passed socket".to_owned(), |address| address.to_string());
            listeners.add(role, listener, name);
        }
        listeners.bind_echo(options, is_activated)?;
        if let Some(StatsPlace::At(address)) = &options.stats {
            listeners.bind_or_fail(Role::Stats, address, "--stats")?;
        }
        match &options.policy {
            Policy::Off => {}
            // Who passes sockets decides which there are.
            Policy::IfPossible(_) if is_activated => {}
            Policy::IfPossible(address) => {
                if let Err(error) = listeners.bind(Role::Policy, address) {
                    tell_no_policy(address, &error);
                }
            }
            Policy::At(address) => {
                listeners.bind(Role::Policy, address).map_err(|error| {
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

    /// Binds the ports of echo for others to serve, which keeps them from everybody else.
    ///
    /// # Errors
    /// The first that cannot be had, with its remedy.
    pub fn hold(options: &Options) -> Result<Listeners, Failure> {
        let mut listeners = Listeners::shared(Sharing::OthersAlone);
        listeners.bind_echo(options, false)?;
        Ok(listeners)
    }

    fn shared(sharing: Sharing) -> Listeners {
        Listeners { sharing, sockets: Vec::new(), roles: Vec::new(), names: Vec::new() }
    }

    /// The ports of echo: those that were asked for, or else the default, unless sockets were passed.
    fn bind_echo(&mut self, options: &Options, is_activated: bool) -> Result<(), Failure> {
        for address in &options.listen {
            self.bind_or_fail(echo(options), address, "--listen")?;
        }
        #[cfg(feature = "tls")]
        for address in &options.tls.listen {
            self.bind_or_fail(secure(options), address, "--listen-tls")?;
        }
        if options.tls.want_a_port() && !self.are_secure() {
            let text = "--tls-cert, --tls-key, --tls-client-ca and --tls-wrong want --listen-tls";
            return Err(Failure::new(Failure::USAGE, text.to_owned()));
        }
        if !is_activated && options.listen.is_empty() && options.tls.listen.is_empty() {
            let address = options.default_listen().map_err(|text| Failure::new(Failure::USAGE, text))?;
            self.bind_or_fail(echo(options), &address, "--listen")?;
        }
        Ok(())
    }

    fn bind_or_fail(&mut self, role: Role, address: &Address, option: &str) -> Result<(), Failure> {
        self.bind(role, address).map_err(|error| {
            let why = reason(&error);
            Failure::system(format!("cannot listen on {address}: {why}; choose another with {option}"))
        })
    }

    fn bind(&mut self, role: Role, address: &Address) -> io::Result<()> {
        match address {
            Address::Any(port) => {
                let listener = listen_any(*port, self.sharing)?;
                let name = listener.address().map_or_else(|| address.to_string(), everywhere);
                self.add(role, listener, name);
            }
            Address::Tcp(address) => self.add_tcp(role, listen(*address, self.sharing)?),
            Address::Name(host, port) => {
                for listener in bind_name(host, *port, self.sharing)? {
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
    pub fn announcements(&self, echo_path: &str) -> Vec<String> {
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
                (Role::Stats, _) => {}
            }
        }
        lines.extend(self.numbers());
        lines
    }

    /// What is bound, each as an option takes it: a port of every address as its number.
    pub fn addresses(&self) -> impl Iterator<Item = (Role, String)> {
        self.roles.iter().zip(&self.sockets).zip(&self.names).filter_map(|((role, listener), name)| {
            let bound = listener.address()?;
            let is_any = bound.is_ipv6() && *name != bound.to_string();
            Some((*role, if is_any { bound.port().to_string() } else { bound.to_string() }))
        })
    }

    /// Whether any of them speaks TLS.
    pub fn are_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.roles.iter().any(|role| matches!(role, Role::SecureEcho | Role::ProxiedSecureEcho));
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Where the numbers are, a line each.
    pub fn numbers(&self) -> Vec<String> {
        let listeners = self.roles.iter().zip(&self.sockets).zip(&self.names);
        let numbers = listeners.filter(|((role, _), _)| **role == Role::Stats);
        numbers
            .map(|((_, listener), name)| match listener.address() {
                Some(bound) => format!("numbers at http://{}/metrics", reachable(bound)),
                None => format!("numbers at /metrics on {name}"),
            })
            .collect()
    }
}

/// What a port of plain echo is.
fn echo(options: &Options) -> Role {
    if options.proxy_protocol { Role::ProxiedEcho } else { Role::Echo }
}

/// What a port of echo in TLS is.
#[cfg(feature = "tls")]
fn secure(options: &Options) -> Role {
    if options.proxy_protocol { Role::ProxiedSecureEcho } else { Role::SecureEcho }
}

/// Binds every address of a name that this host has, all with the same port.
///
/// # Errors
/// When the name has none, or one of them is in use. An address that this host lacks is left out, since `localhost` is
/// `::1`, too, on machines without IPv6; that all are lacking is an error.
fn bind_name(host: &str, port: u16, sharing: Sharing) -> io::Result<Vec<Listener>> {
    /// Another program may hold, on the second address, the port that was free on the first.
    const ATTEMPTS: usize = 16;
    let mut addresses: Vec<SocketAddr> = match host {
        // RFC 6761 §6.3, whatever the hosts file says: browsers do not ask it.
        "localhost" => vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()],
        _ => (host, port).to_socket_addrs()?.collect(),
    };
    addresses.sort_unstable();
    addresses.dedup();
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match bind_each(&addresses, sharing) {
            Err(error) if port == 0 && attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

/// Binds `addresses`; where they ask for any free port, those behind the first get the port that it got.
fn bind_each(addresses: &[SocketAddr], sharing: Sharing) -> io::Result<Vec<Listener>> {
    let mut bound: Vec<Listener> = Vec::new();
    let mut lacking = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let mut address = *address;
        if let Some(first) = bound.first().and_then(Listener::address) {
            address.set_port(first.port());
        }
        match listen(address, sharing) {
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
