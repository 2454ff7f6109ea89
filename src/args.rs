//! The command line.

use crate::log::{self, Format, Level};
use crate::print::What;
use crate::proto::handshake::Paths;
use crate::reactor::boards::Rules;
use argh::FromArgs;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where echo is served unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8087);
/// Where Flash players ask first.
const POLICY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 843);

/// What the server is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the user asked for it; empty for the default.
    pub listen: Vec<Address>,
    pub default_listen: SocketAddr,
    pub policy: Policy,
    pub echo_paths: Paths,
    /// `None`: as many as there are descriptors for.
    pub max_connections: Option<usize>,
    pub max_message: u64,
    pub handshake_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    pub ping_interval: Option<Duration>,
    pub origins: Vec<String>,
    pub deflate: bool,
    /// `None`: no boards are served.
    pub boards: Option<Rules>,
    /// Whether `/ws` is served.
    pub test_paths: bool,
    pub proxy_protocol: bool,
    pub reuse_port: bool,
    pub user: Option<String>,
    pub stats: Option<Stats>,
    pub drain_spread: Duration,
    pub drain_timeout: Duration,
    pub level: Level,
    pub format: Format,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(out),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Where the numbers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stats {
    /// On the echo port, and shown on the test page.
    Page,
    At(Address),
}

/// The Flash policy listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Off,
    /// Where Flash asks by default; the server does without if that cannot be had.
    IfPossible(SocketAddr),
    /// Where the user asked for it.
    At(SocketAddr),
}

/// What the command line comes to.
#[derive(Debug)]
pub enum Command {
    Serve(Box<Options>),
    /// Text for stdout, and a good end.
    Print(String),
}

/// A WebSocket echo server. Echoes on / and /echo, to clients of every draft since 2010; / in a browser is a test page.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Arguments {
    /// listen for clients at ADDR:PORT (IPv6 in brackets, port 0 for any free one) or unix:/PATH; may be repeated (default 0.0.0.0:8087, or port $PORT)
    #[argh(option, arg_name = "addr:port", from_str_fn(address))]
    listen: Vec<Address>,
    /// serve the Flash socket policy at ADDR:PORT, or `off` (default 0.0.0.0:843, if that can be bound)
    #[argh(option, arg_name = "addr:port", from_str_fn(policy))]
    policy: Option<Policy>,
    /// echo on this path, `*` for any; may be repeated (default / and /echo)
    #[argh(option, arg_name = "path", from_str_fn(path))]
    echo_path: Vec<String>,
    /// hold at most this many clients at once; further ones wait (default: what the descriptor limit allows)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    max_connections: Option<usize>,
    /// close with 1009 a message of more bytes than this, 0 for no limit (default 64 MiB)
    #[argh(option, arg_name = "bytes", default = "64 << 20", from_str_fn(bytes))]
    max_message: u64,
    /// drop a client that has not finished its handshake after this long (default 10)
    #[argh(option, arg_name = "secs", default = "Duration::from_secs(10)", from_str_fn(seconds_above_zero))]
    handshake_timeout: Duration,
    /// close with 1001 a client that has sent nothing for this long, 0 for never (default 0)
    #[argh(option, arg_name = "secs", default = "Duration::ZERO", from_str_fn(seconds))]
    idle_timeout: Duration,
    /// ping a client that has sent nothing for this long, and drop it if as much time passes again; 0 for never (default 0)
    #[argh(option, arg_name = "secs", default = "Duration::ZERO", from_str_fn(seconds))]
    ping_interval: Duration,
    /// let only this Origin connect, exactly; may be repeated (default: any)
    #[argh(option, arg_name = "origin")]
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
    /// how long a board exists, 0 for ever (default 300)
    #[argh(option, arg_name = "secs", default = "Duration::from_secs(300)", from_str_fn(seconds))]
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
    /// become this user once every port is bound
    #[argh(option, arg_name = "name")]
    user: Option<String>,
    /// serve /metrics and /healthz at ADDR:PORT or unix:/PATH, or with `page` beside the test page, which then shows them
    #[argh(option, arg_name = "addr:port", from_str_fn(stats))]
    stats: Option<Stats>,
    /// when stopping, spread the closes over this long (default 0)
    #[argh(option, arg_name = "secs", default = "Duration::ZERO", from_str_fn(seconds))]
    drain_spread: Duration,
    /// when stopping, drop the last client after this long (default 5)
    #[argh(option, arg_name = "secs", default = "Duration::from_secs(5)", from_str_fn(seconds))]
    drain_timeout: Duration,
    /// log as text or json (default text, with priorities under the journal)
    #[argh(option, arg_name = "format", from_str_fn(format))]
    log_format: Option<Format>,
    /// write this much to stderr: off, error, info or debug (default info)
    #[argh(option, arg_name = "level", default = "Level::Info", from_str_fn(level))]
    log_level: Level,
    /// print a unit file, the man page or completions: unit, socket, policy-socket, activated-unit, man, completions-bash, completions-zsh or completions-fish
    #[argh(option, arg_name = "what", from_str_fn(what))]
    print: Option<What>,
    /// print the version
    #[argh(switch)]
    version: bool,
}

/// What each option takes, for whoever gave it something else.
const TAKES: &[(&str, &str)] = &[
    ("--listen", "an address and port such as 127.0.0.1:8087 or [::]:8087, or unix:/path"),
    ("--policy", "an address and port such as 0.0.0.0:843, or off"),
    ("--echo-path", "a path that begins with a slash, or *"),
    ("--max-connections", "a number from 1"),
    ("--max-message", "a number of bytes, 0 for no limit"),
    ("--handshake-timeout", "a number of seconds above 0"),
    ("--idle-timeout", "a number of seconds, 0 for never"),
    ("--ping-interval", "a number of seconds, 0 for never"),
    ("--origin", "an Origin such as https://example.com"),
    ("--board-lifetime", "a number of seconds, 0 for ever"),
    ("--max-boards", "a number from 1"),
    ("--max-board-members", "a number from 1"),
    ("--user", "the name of a user"),
    ("--stats", "an address and port such as 127.0.0.1:9087, unix:/path, or page"),
    ("--drain-spread", "a number of seconds"),
    ("--drain-timeout", "a number of seconds"),
    ("--log-format", "text or json"),
    ("--log-level", "off, error, info or debug"),
    (
        "--print",
        "unit, socket, policy-socket, activated-unit, man, completions-bash, completions-zsh or completions-fish",
    ),
];

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
    let arguments = match Arguments::from_args(&["wsecho"], &words) {
        Ok(arguments) => arguments,
        Err(early) if early.status.is_ok() => return Ok(Command::Print(early.output)),
        Err(early) => return Err(explain(&early.output, &words)),
    };
    if arguments.version {
        return Ok(Command::Print(format!("wsecho {}\n", env!("CARGO_PKG_VERSION"))));
    }
    if let Some(what) = arguments.print {
        return Ok(Command::Print(what.text(&help())));
    }
    let format = match arguments.log_format {
        Some(Format::Text) | None if log::is_journal() => Format::Journal,
        asked => asked.unwrap_or(Format::Text),
    };
    Ok(Command::Serve(Box::new(Options {
        listen: arguments.listen,
        default_listen: default_listen(port)?,
        policy: arguments.policy.unwrap_or(Policy::IfPossible(POLICY)),
        echo_paths: echo_paths(arguments.echo_path),
        max_connections: arguments.max_connections,
        max_message: arguments.max_message,
        handshake_timeout: arguments.handshake_timeout,
        idle_timeout: above_zero(arguments.idle_timeout),
        ping_interval: above_zero(arguments.ping_interval),
        origins: arguments.origin,
        deflate: !arguments.no_deflate,
        test_paths: !arguments.no_test_paths,
        boards: (!arguments.no_boards).then_some(Rules {
            lifetime: above_zero(arguments.board_lifetime),
            max_boards: arguments.max_boards,
            max_members: arguments.max_board_members,
        }),
        proxy_protocol: arguments.proxy_protocol,
        reuse_port: arguments.reuse_port,
        user: arguments.user,
        stats: arguments.stats,
        drain_spread: arguments.drain_spread,
        drain_timeout: arguments.drain_timeout,
        level: arguments.log_level,
        format,
    })))
}

fn help() -> String {
    Arguments::from_args(&["wsecho"], &["--help"]).err().map(|early| early.output).unwrap_or_default()
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

/// argh's complaint, in one line that says what the option takes.
fn explain(complaint: &str, words: &[&str]) -> String {
    let complaint = complaint.lines().next().unwrap_or_default().trim_end_matches('.');
    for (at, word) in words.iter().enumerate() {
        let Some((name, takes)) = TAKES.iter().find(|(name, _)| name == word) else {
            continue;
        };
        if complaint.contains(&format!("'{name}'")) {
            if complaint.ends_with("duplicate values provided") {
                return format!("{name} may be given once");
            }
            return match words.get(at + 1) {
                // A repeated option may have been right the other times.
                Some(value) if !complaint.contains(&format!("'{value}'")) => continue,
                Some(value) => format!("{name} takes {takes}, not '{value}'"),
                None => format!("{name} takes {takes}"),
            };
        }
    }
    format!("{complaint}; wsecho --help lists the options")
}

fn default_listen(port: Option<OsString>) -> Result<SocketAddr, String> {
    let Some(port) = port else { return Ok(LISTEN) };
    match port.to_str().and_then(|port| port.parse().ok()) {
        Some(port) => Ok(SocketAddr::new(LISTEN.ip(), port)),
        None => Err(format!("the environment's PORT takes a port number, not '{}'", port.display())),
    }
}

fn echo_paths(paths: Vec<String>) -> Paths {
    if paths.is_empty() {
        return Paths::These(vec!["/".to_owned(), "/echo".to_owned()]);
    }
    if paths.iter().any(|path| path == "*") { Paths::Any } else { Paths::These(paths) }
}

fn above_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// The text of these errors is never shown: [`explain`] says what the option takes.
type Parsed<T> = Result<T, String>;

fn address(text: &str) -> Parsed<Address> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(Address::Unix(path.into())),
        Some(_) => Err(String::new()),
        None => port(text).map(Address::Tcp),
    }
}

fn stats(text: &str) -> Parsed<Stats> {
    if text == "page" { Ok(Stats::Page) } else { address(text).map(Stats::At) }
}

fn port(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| String::new())
}

fn format(text: &str) -> Parsed<Format> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(String::new()),
    }
}

fn policy(text: &str) -> Parsed<Policy> {
    if text == "off" { Ok(Policy::Off) } else { port(text).map(Policy::At) }
}

fn path(text: &str) -> Parsed<String> {
    if text == "*" || text.starts_with('/') { Ok(text.to_owned()) } else { Err(String::new()) }
}

fn count(text: &str) -> Parsed<usize> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(String::new)
}

fn bytes(text: &str) -> Parsed<u64> {
    text.parse().map_err(|_| String::new())
}

/// Whole seconds, or with up to three decimals. By hand: the library's reading of floating point numbers alone is a
/// thirtieth of the binary.
fn seconds(text: &str) -> Parsed<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
        return Err(String::new());
    }
    let seconds: u32 = whole.parse().map_err(|_| String::new())?;
    let milliseconds: u64 = format!("{decimals:0<3}").parse().map_err(|_| String::new())?;
    Ok(Duration::from_secs(seconds.into()) + Duration::from_millis(milliseconds))
}

fn seconds_above_zero(text: &str) -> Parsed<Duration> {
    seconds(text).and_then(|duration| above_zero(duration).ok_or_else(String::new))
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
        _ => return Err(String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from), None)
    }

    fn options(words: &[&str], port: Option<&str>) -> Options {
        match parse(words.iter().map(OsString::from), port.map(OsString::from)) {
            Ok(Command::Serve(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn listen_beats_port_beats_the_default() {
        assert_eq!(options(&[], None).default_listen, LISTEN);
        assert_eq!(options(&[], Some("9000")).default_listen.to_string(), "0.0.0.0:9000");
        let words = ["--listen", "[::1]:1", "--listen=127.0.0.1:2", "--listen", "unix:/run/w"];
        let listen: Vec<String> =
            options(&words, Some("9000")).listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, ["[::1]:1", "127.0.0.1:2", "unix:/run/w"]);
    }

    #[test]
    fn a_wrong_value_is_told_with_what_the_option_takes() {
        for (name, takes) in TAKES {
            let error = parsed(&[name]).expect_err("an option without its value");
            assert_eq!(error, format!("{name} takes {takes}"));
            if !["--origin", "--user"].contains(name) {
                for value in ["nonsense", "-1", ""] {
                    let error = parsed(&[name, value]).expect_err("a wrong value");
                    assert_eq!(error, format!("{name} takes {takes}, not '{value}'"));
                }
            }
        }
        let error = parsed(&["--idle-timeout", "1", "--idle-timeout", "x"]).expect_err("wrong or repeated");
        assert!(error.contains("--idle-timeout"), "{error}");
        assert!(parsed(&["--max-connections", "0"]).is_err());
        assert!(parsed(&["--handshake-timeout", "0"]).is_err());
        for words in [&["--nope"][..], &["word"]] {
            let error = parsed(words).expect_err("unknown");
            assert!(error.contains(words[0]) && error.contains("--help") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn seconds_may_have_decimals() {
        for (text, milliseconds) in [("0", 0), ("10", 10_000), ("0.5", 500), ("1.25", 1250), ("2.007", 2007)]
        {
            assert_eq!(seconds(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [".5", "1.", "1.0005", "1e3", "inf", "-1", "99999999999", "1 "] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_option_is_in_the_help_and_says_what_it_takes() {
        let Ok(Command::Print(help)) = parsed(&["--help"]) else { panic!("no help") };
        let listed: Vec<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
        for (name, _) in TAKES {
            assert!(listed.contains(name), "{name}");
        }
        for name in listed {
            let is_switch = [
                "--no-deflate",
                "--proxy-protocol",
                "--reuse-port",
                "--no-boards",
                "--no-test-paths",
                "--version",
                "--help,",
                "--help",
            ]
            .contains(&name);
            assert!(is_switch || TAKES.iter().any(|(each, _)| *each == name), "{name}");
        }
    }
}
