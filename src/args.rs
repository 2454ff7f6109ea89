//! The command line.

mod address;
mod mistakes;
mod workers;

use crate::log::{self, Format, Level};
use crate::print::What;
use crate::proto::handshake::{Paths, endpoint_of, is_board};
use crate::reactor::boards::Rules;
use crate::units;
pub use address::{Address, everywhere};
use argh::FromArgs;
use mistakes::explain;
use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;
pub use workers::{Worker, Workers};

/// Where echo is served unless told otherwise: a port of every address.
const LISTEN: u16 = 8087;
/// Where Flash players ask first.
const POLICY: u16 = 843;

/// What the server is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the user asked for it; empty for the default.
    pub listen: Vec<Address>,
    /// The environment's, which only the default looks at.
    pub port: Option<OsString>,
    /// The Flash policy listener.
    pub policy: Policy,
    /// Where messages are echoed.
    pub echo_paths: Paths,
    /// What TLS is served with.
    pub tls: TlsOptions,
    /// `None`: as many as there are descriptors for.
    pub max_connections: Option<usize>,
    /// Bytes; 0 for any.
    pub max_message: u64,
    /// `None`: what the limits on this process allow.
    pub max_buffered: Option<usize>,
    /// Polling without sleep after the last event.
    pub spin: Duration,
    /// From the connection to the end of its request.
    pub handshake_timeout: Duration,
    /// Silence that ends a connection.
    pub idle_timeout: Option<Duration>,
    /// Silence after which a Ping goes out.
    pub ping_interval: Option<Duration>,
    /// Those that may connect; empty for all.
    pub origins: Vec<String>,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// `None`: no boards are served.
    pub boards: Option<Rules>,
    /// Whether `/ws` is served.
    pub test_paths: bool,
    /// What comes first is a PROXY header.
    pub proxy_protocol: bool,
    /// Several servers may share the ports.
    pub reuse_port: bool,
    /// Several processes are to serve, of which this one is the parent.
    pub workers: Option<Workers>,
    /// This is one of them.
    pub worker: Option<Worker>,
    /// Each of them stays on one processor.
    pub pin: bool,
    /// Whom to become.
    pub user: Option<String>,
    /// Where the numbers are served.
    pub stats: Option<StatsPlace>,
    /// Over how long the connections are closed.
    pub drain_spread: Duration,
    /// After how long the rest is cut off.
    pub drain_timeout: Duration,
    /// What is logged.
    pub level: Level,
    /// Whether lines of the log begin with the time.
    pub log_time: bool,
    /// How lines of the log look.
    pub format: Format,
}

/// What is served in TLS; in a build without it, nothing.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Where.
    pub listen: Vec<Address>,
    /// A file of PEM: the certificate and those between it and a root.
    pub cert: Option<PathBuf>,
    /// A file of PEM: the certificate's key.
    pub key: Option<PathBuf>,
    /// A file of PEM: who vouches for clients, which are asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Expired, other-name or self-signed.
    pub wrong: Option<&'static str>,
}

impl TlsOptions {
    /// Whether something is asked for that only a port of TLS can show.
    pub fn want_a_port(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.client_ca.is_some() || self.wrong.is_some()
    }
}

/// Certificates that are wrong on purpose.
const WRONG: [&str; 3] = ["expired", "other-name", "self-signed"];

impl Options {
    /// Where to listen when nothing says where: `$PORT`, or 8087.
    ///
    /// # Errors
    /// One line, when `$PORT` is no port.
    pub fn default_listen(&self) -> Result<Address, String> {
        match self.port.as_ref().filter(|port| !port.is_empty()) {
            None => Ok(Address::Any(LISTEN)),
            Some(port) => match port.to_str().and_then(units::port) {
                Some(port) => Ok(Address::Any(port)),
                None => Err(format!("the environment's PORT takes a port number, not '{}'", port.display())),
            },
        }
    }
}

/// Where the numbers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsPlace {
    /// On the echo port, and shown on the test page.
    Page,
    /// At an address of its own.
    At(Address),
}

/// The Flash policy listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// None.
    Off,
    /// Where Flash asks by default; the server does without if that cannot be had.
    IfPossible(Address),
    /// Where the user asked for it.
    At(Address),
}

/// What the command line comes to.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Options>),
    /// Text for stdout, and a good end.
    Print(String),
}

/// A WebSocket echo server for every draft; / in a browser is a test page.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Arguments {
    /// listen for clients at PORT of every address, at ADDR:PORT (IPv6 in brackets, port 0 for any free one), NAME:PORT or unix:/PATH; may be repeated (default $PORT, or 8087)
    #[argh(option, arg_name = "addr:port", from_str_fn(address))]
    listen: Vec<Address>,
    /// listen in TLS, for wss:// and https://, at PORT, ADDR:PORT, NAME:PORT or unix:/PATH; may be repeated (in builds with the feature tls)
    #[argh(option, arg_name = "addr:port", from_str_fn(address))]
    listen_tls: Vec<Address>,
    /// show this certificate, a chain in PEM (default: one of our own)
    #[argh(option, arg_name = "file", from_str_fn(file))]
    tls_cert: Option<PathBuf>,
    /// the private key of that certificate, in PEM
    #[argh(option, arg_name = "file", from_str_fn(file))]
    tls_key: Option<PathBuf>,
    /// let in only clients with a certificate of these authorities, in PEM
    #[argh(option, arg_name = "file", from_str_fn(file))]
    tls_client_ca: Option<PathBuf>,
    /// show a certificate of our own that is wrong on purpose: expired, other-name or self-signed
    #[argh(option, arg_name = "kind", from_str_fn(wrong))]
    tls_wrong: Option<&'static str>,
    /// serve the Flash socket policy at PORT or ADDR:PORT, or `off` (default 843, if that can be bound)
    #[argh(option, arg_name = "addr:port", from_str_fn(policy))]
    policy: Option<Policy>,
    /// echo on this path, `*` for any; may be repeated (default / and /echo)
    #[argh(option, arg_name = "path", from_str_fn(path))]
    echo_path: Vec<String>,
    /// hold at most this many clients at once; further ones wait (default: what the descriptor limit allows)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    max_connections: Option<usize>,
    /// close with 1009 a message of more bytes than this, counted as they come (compressed ones before they are inflated); 0 for no limit (default 64M)
    #[argh(option, arg_name = "size", default = "64 << 20", from_str_fn(bytes))]
    max_message: u64,
    /// keep at most this much for all clients together, 1M at least (default 256M, or a quarter of what this process may have if that is less)
    #[argh(option, arg_name = "size", from_str_fn(buffered))]
    max_buffered: Option<usize>,
    /// after the last event keep polling for so long without sleeping: a shorter round trip, for a processor that is busy meanwhile (default 0)
    #[argh(option, arg_name = "time", default = "Duration::ZERO", from_str_fn(time))]
    spin: Duration,
    /// drop a client that has not finished its handshake after this long (default 10s)
    #[argh(option, arg_name = "time", default = "Duration::from_secs(10)", from_str_fn(time_above_zero))]
    handshake_timeout: Duration,
    /// close with 1001 a client that has sent nothing for this long, 0 for never (default 0)
    #[argh(option, arg_name = "time", default = "Duration::ZERO", from_str_fn(time))]
    idle_timeout: Duration,
    /// ping a client that has sent nothing for this long, and drop it if as much time passes again; 0 for never (default 0)
    #[argh(option, arg_name = "time", default = "Duration::ZERO", from_str_fn(time))]
    ping_interval: Duration,
    /// let only this Origin connect, exactly, `*` for any; may be repeated (default: any)
    #[argh(option, arg_name = "origin", from_str_fn(origin))]
    origin: Vec<String>,
    /// do not agree to permessage-deflate
    #[argh(switch)]
    no_deflate: bool,
    /// serve no boards
    #[argh(switch)]
    no_boards: bool,
    /// do not serve /ws and the paths under it, which fail on demand
    #[argh(switch)]
    no_test_paths: bool,
    /// how long a board exists, 0 for ever (default 5m)
    #[argh(option, arg_name = "time", default = "Duration::from_secs(300)", from_str_fn(time))]
    board_lifetime: Duration,
    /// let at most this many boards exist at once (default 1000)
    #[argh(option, arg_name = "n", default = "1000", from_str_fn(count))]
    max_boards: usize,
    /// let at most this many clients be on one board (default 5000)
    #[argh(option, arg_name = "n", default = "5000", from_str_fn(count))]
    max_board_members: usize,
    /// expect a PROXY protocol header, version 1 or 2, in front of every echo connection
    #[argh(switch)]
    proxy_protocol: bool,
    /// let other processes listen on the same ports
    #[argh(switch)]
    reuse_port: bool,
    /// serve echo in so many processes behind the same ports, `auto` for one a processor; without boards, policy and Unix sockets (default: this process alone)
    #[argh(option, arg_name = "n", from_str_fn(workers::count))]
    workers: Option<usize>,
    /// keep each worker on a processor of its own, as far as there are
    #[argh(switch)]
    pin: bool,
    /// what the parent says to a worker: its number, and who the parent is
    #[argh(option, hidden_help, from_str_fn(workers::worker))]
    worker: Option<Worker>,
    /// become this user once every port is bound
    #[argh(option, arg_name = "name")]
    user: Option<String>,
    /// serve /metrics and /healthz at PORT, ADDR:PORT or unix:/PATH, or with `page` beside the test page, which then shows them
    #[argh(option, arg_name = "addr:port", from_str_fn(stats))]
    stats: Option<StatsPlace>,
    /// when stopping, spread the closes over this long (default 0)
    #[argh(option, arg_name = "time", default = "Duration::ZERO", from_str_fn(time))]
    drain_spread: Duration,
    /// when stopping, drop the last client after this long (default 5s)
    #[argh(option, arg_name = "time", default = "Duration::from_secs(5)", from_str_fn(time))]
    drain_timeout: Duration,
    /// log as text or json (default text, with priorities under the journal)
    #[argh(option, arg_name = "format", from_str_fn(format))]
    log_format: Option<Format>,
    /// write this much to stderr: off, error, info, debug, or trace for every header and frame (default info)
    #[argh(option, arg_name = "level", default = "Level::Info", from_str_fn(level))]
    log_level: Level,
    /// begin every line of the log with the time, in UTC
    #[argh(switch)]
    log_time: bool,
    /// print a unit file, the man page, completions or the authority of our own certificate: unit, socket, policy-socket, activated-unit, man, completions-bash, completions-zsh, completions-fish or cert
    #[argh(option, arg_name = "what", from_str_fn(what))]
    print: Option<What>,
    /// print the version
    #[argh(switch, short = 'V')]
    version: bool,
}

/// Reads the arguments (without the program's name) and `$PORT`.
///
/// # Errors
/// One line that names the option and what it takes.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    port: Option<OsString>,
) -> Result<Command, String> {
    let words = words(arguments)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut arguments = match Arguments::from_args(&["wsecho"], &words) {
        Ok(arguments) => arguments,
        Err(early) if early.status.is_ok() => return Ok(Command::Print(narrow(&early.output))),
        Err(early) => return Err(explain(&early.output, &words, &help())),
    };
    if arguments.version {
        return Ok(Command::Print(format!("wsecho {}\n", env!("CARGO_PKG_VERSION"))));
    }
    match arguments.print {
        Some(What::Cert) => return certificate().map(Command::Print),
        Some(what) => return Ok(Command::Print(what.text(&help()))),
        None => {}
    }
    let tls = tls_options(&arguments)?;
    let workers = workers(&mut arguments, &words)?;
    if let Some((path, what, option)) = taken(&arguments) {
        return Err(format!("--echo-path {path} would never echo: {what} are there, unless {option}"));
    }
    let format = match arguments.log_format {
        Some(Format::Text) | None if log::is_journal() => Format::Journal,
        asked => asked.unwrap_or(Format::Text),
    };
    Ok(Command::Serve(Box::new(Options {
        listen: arguments.listen,
        port,
        tls,
        policy: arguments.policy.unwrap_or(Policy::IfPossible(Address::Any(POLICY))),
        echo_paths: echo_paths(arguments.echo_path),
        max_connections: arguments.max_connections,
        max_message: arguments.max_message,
        max_buffered: arguments.max_buffered,
        spin: arguments.spin,
        handshake_timeout: arguments.handshake_timeout,
        idle_timeout: above_zero(arguments.idle_timeout),
        ping_interval: above_zero(arguments.ping_interval),
        origins: origins(arguments.origin),
        deflate: !arguments.no_deflate,
        test_paths: !arguments.no_test_paths,
        boards: (!arguments.no_boards).then_some(Rules {
            lifetime: above_zero(arguments.board_lifetime),
            max_boards: arguments.max_boards,
            max_members: arguments.max_board_members,
        }),
        proxy_protocol: arguments.proxy_protocol,
        reuse_port: arguments.reuse_port,
        workers,
        worker: arguments.worker,
        pin: arguments.pin,
        user: arguments.user,
        stats: arguments.stats,
        drain_spread: arguments.drain_spread,
        drain_timeout: arguments.drain_timeout,
        level: arguments.log_level,
        log_time: arguments.log_time,
        format,
    })))
}

fn help() -> String {
    Arguments::from_args(&["wsecho"], &["--help"]).err().map(|early| early.output).unwrap_or_default()
}

/// `help` for a terminal: its first line, in which argh has every option, is broken between them.
fn narrow(help: &str) -> String {
    let (usage, rest) = help.split_once('\n').unwrap_or((help, ""));
    let (mut text, mut column) = (String::new(), 0);
    for option in usage.split_inclusive(']') {
        if column + option.len() > 80 {
            text.push_str("\n   ");
            column = 3;
        }
        column += option.len();
        text.push_str(option);
    }
    format!("{text}\n{rest}")
}

/// The arguments as text, with `--option=value` taken apart, which argh does not do.
fn words(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for argument in arguments {
        let word = argument.into_string().map_err(|word| format!("{} is not UTF-8", word.display()))?;
        match word.split_once('=').filter(|(name, _)| name.starts_with("--")) {
            Some((name, value)) => words.extend([name.to_owned(), value.to_owned()]),
            None => words.push(word),
        }
    }
    Ok(words)
}

/// The workers that are asked for. They serve no boards.
///
/// # Errors
/// One line, where something does not go with them.
fn workers(arguments: &mut Arguments, words: &[&str]) -> Result<Option<Workers>, String> {
    let Some(count) = arguments.workers else {
        let is_lonely = arguments.pin && arguments.worker.is_none();
        return if is_lonely { Err("--pin is about --workers".to_owned()) } else { Ok(None) };
    };
    let stats = match &arguments.stats {
        Some(StatsPlace::At(address)) => Some(address),
        _ => None,
    };
    let mut addresses = arguments.listen.iter().chain(&arguments.listen_tls).chain(stats);
    let in_the_way = match &arguments.policy {
        Some(policy) if *policy != Policy::Off => Some("--policy"),
        _ if addresses.any(|address| matches!(address, Address::Unix(_))) => Some("a Unix socket"),
        _ => workers::about_boards(words),
    };
    if let Some(what) = in_the_way {
        return Err(format!(
            "{what} does not go with --workers, which serve echo on TCP ports and nothing else"
        ));
    }
    if arguments.stats == Some(StatsPlace::Page) {
        return Err("--stats page would show one worker's numbers: with --workers, --stats ADDR:PORT gives \
                    each a port of its own, from PORT on"
            .to_owned());
    }
    if !arguments.listen_tls.is_empty() && arguments.tls_cert.is_none() {
        return Err("--listen-tls with --workers wants --tls-cert and --tls-key, the same for all".to_owned());
    }
    arguments.no_boards = true;
    arguments.policy = Some(Policy::Off);
    Ok(Some(Workers { count, words: workers::for_workers(words) }))
}

/// A path that was to echo where something else is served: what, and what frees it.
fn taken(arguments: &Arguments) -> Option<(&str, &'static str, &'static str)> {
    let mut paths = arguments.echo_path.iter().map(String::as_str);
    paths.find_map(|path| match path {
        _ if !arguments.no_boards && is_board(path) => Some((path, "boards", "--no-boards")),
        // These two echo anyway.
        "/ws" | "/ws/echo" => None,
        _ if !arguments.no_test_paths && path.starts_with("/ws/") => {
            Some((path, "test paths", "--no-test-paths"))
        }
        _ if arguments.stats == Some(StatsPlace::Page) && endpoint_of(path).is_some() => {
            Some((path, "the numbers", "--stats has a port of its own"))
        }
        _ => None,
    })
}

/// What is asked for in TLS.
///
/// # Errors
/// One line, where the options do not go together, or this build has no TLS.
fn tls_options(arguments: &Arguments) -> Result<TlsOptions, String> {
    let Arguments { listen_tls, tls_cert, tls_key, tls_client_ca, tls_wrong, .. } = arguments;
    if !listen_tls.is_empty() && !cfg!(feature = "tls") {
        return Err(NO_TLS.to_owned());
    }
    if tls_cert.is_some() != tls_key.is_some() {
        return Err("--tls-cert and --tls-key go together".to_owned());
    }
    if tls_cert.is_some() && tls_wrong.is_some() {
        return Err("--tls-wrong is about our own certificates, and does not go with --tls-cert".to_owned());
    }
    Ok(TlsOptions {
        listen: listen_tls.clone(),
        cert: tls_cert.clone(),
        key: tls_key.clone(),
        client_ca: tls_client_ca.clone(),
        wrong: *tls_wrong,
    })
}

/// Said where TLS is asked of a build without it.
pub const NO_TLS: &str = "this build has no TLS: build one with `cargo build --release --features tls`";

/// The authority that clients have to trust, in PEM.
fn certificate() -> Result<String, String> {
    #[cfg(feature = "tls")]
    return crate::tls::certificate::Own::find().map(|own| own.authority);
    #[cfg(not(feature = "tls"))]
    Err(NO_TLS.to_owned())
}

fn echo_paths(paths: Vec<String>) -> Paths {
    if paths.is_empty() {
        return Paths::These(vec!["/".to_owned(), "/echo".to_owned()]);
    }
    if paths.iter().any(|path| path == "*") { Paths::Any } else { Paths::These(paths) }
}

fn origins(origins: Vec<String>) -> Vec<String> {
    if origins.iter().any(|origin| origin == "*") { Vec::new() } else { origins }
}

fn above_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// The text of these errors is never shown: [`explain`] says what the option takes.
type Parsed<T> = Result<T, String>;

fn address(text: &str) -> Parsed<Address> {
    Address::parse(text).ok_or_else(String::new)
}

fn file(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() { Err(String::new()) } else { Ok(text.into()) }
}

fn wrong(text: &str) -> Parsed<&'static str> {
    WRONG.into_iter().find(|name| *name == text).ok_or_else(String::new)
}

fn stats(text: &str) -> Parsed<StatsPlace> {
    if text == "page" { Ok(StatsPlace::Page) } else { address(text).map(StatsPlace::At) }
}

fn format(text: &str) -> Parsed<Format> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(String::new()),
    }
}

fn policy(text: &str) -> Parsed<Policy> {
    match Address::parse(text) {
        _ if text == "off" => Ok(Policy::Off),
        None | Some(Address::Unix(_)) => Err(String::new()),
        Some(address) => Ok(Policy::At(address)),
    }
}

/// A path as it can stand in a request: nothing that a query, a fragment or a space would end.
fn path(text: &str) -> Parsed<String> {
    let is_path =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if text == "*" || is_path { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// An Origin as it can stand in a request (RFC 6454 §6.2): a scheme and a host, in lower case, and a port that is not the
/// scheme's own. `file://` has no host.
fn origin(text: &str) -> Parsed<String> {
    let is_serial = text.split_once("://").is_some_and(|(scheme, rest)| {
        let own_port = match scheme {
            "http" | "ws" => Some("80"),
            "https" | "wss" => Some("443"),
            _ => None,
        };
        let is_scheme =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(is_scheme)
            && if rest.is_empty() { own_port.is_none() } else { is_host(rest, own_port) }
    });
    if matches!(text, "*" | "null") || is_serial { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// A host as clients write it, and a port if it is not `own_port`.
fn is_host(text: &str, own_port: Option<&str>) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = |byte: u8| {
        byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/?#@,:[]<>\\^|%".contains(&byte)
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // Of the ways to write it clients take the shortest.
        Some(literal) => literal
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_ipv4_mapped().is_some() || address.to_string() == literal),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
    is_host && port.is_none_or(|port| is_port(port) && Some(port) != own_port)
}

fn count(text: &str) -> Parsed<usize> {
    units::count(text).ok_or_else(String::new)
}

fn bytes(text: &str) -> Parsed<u64> {
    units::bytes(text).ok_or_else(String::new)
}

fn buffered(text: &str) -> Parsed<usize> {
    bytes(text)?.try_into().ok().filter(|bytes| *bytes >= 1 << 20).ok_or_else(String::new)
}

fn time(text: &str) -> Parsed<Duration> {
    units::time(text).ok_or_else(String::new)
}

fn time_above_zero(text: &str) -> Parsed<Duration> {
    time(text).and_then(|duration| above_zero(duration).ok_or_else(String::new))
}

fn what(text: &str) -> Parsed<What> {
    What::named(text).ok_or_else(String::new)
}

fn level(text: &str) -> Parsed<Level> {
    Ok(match text {
        "off" => Level::Off,
        "error" => Level::Error,
        "info" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => return Err(String::new()),
    })
}

#[cfg(test)]
mod tests;
