//! wsecho's CPU time a message, beside the least that any echo server can spend.
//!
//! `cargo bench --bench floor` starts two servers, each in a process of its own: a plain TCP echo that does one recv
//! and one send a wake-up, and wsecho. The same closed-loop client drives them by turns over loopback. What is compared
//! is the server's own CPU time (`/proc/PID/schedstat`), round by round, so that a slow moment of the machine meets
//! both; the quartiles of the ratio say how far to trust its median. With two CPUs or more, the client has the first
//! and the servers the second. Nothing is asserted: the aim stands beside the figure.

#[path = "floor/client.rs"]
mod client;
#[path = "common/frame.rs"]
mod frame;
#[path = "floor/plain_echo.rs"]
mod plain_echo;
#[cfg(feature = "tls")]
#[path = "floor/secure.rs"]
mod secure;
#[expect(dead_code, reason = "signals are for the other bench")]
#[path = "floor/server.rs"]
mod server;
#[path = "common/turns.rs"]
mod turns;

use std::io::{self, Write};
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use argh::FromArgs;
use client::{Client, Script};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use server::{Server, pin};
use turns::by_turns;

/// wsecho's CPU time a message beside that of a plain TCP echo, measured by turns.
///
/// Rows: small, pipelined, 16k, 1m, text, connect, memory, and deflate, whose first column is wsecho too, without compression.
/// With `--features tls` there are those of wsecho in TLS beside others, all of whose names begin with tls.
#[derive(FromArgs)]
struct Args {
    /// rows to run; all of them without any
    #[argh(positional)]
    rows: Vec<String>,

    /// how long each server is driven in a round (0.7)
    #[argh(option, default = "0.7")]
    seconds: f64,

    /// rounds of each row (9)
    #[argh(option, default = "9")]
    rounds: usize,

    /// what cargo says to every bench
    #[argh(switch, hidden_help)]
    #[expect(dead_code, reason = "a bench is all this program can run")]
    bench: bool,

    /// be the plain TCP echo
    #[argh(switch, hidden_help)]
    plain_echo: bool,

    /// be an echo over rustls's buffered API, with the certificate in this folder
    #[argh(option, hidden_help)]
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no TLS in this build"))]
    rustls_echo: Option<std::path::PathBuf>,
}

struct Row {
    name: &'static str,
    title: &'static str,
    connections: usize,
    size: usize,
    in_flight: usize,
    work: Work,
    aim: &'static str,
}

#[derive(Clone, Copy)]
enum Work {
    /// Open connections exchange messages.
    Messages,
    /// The same, of text: it is checked, and waits until it is all there.
    Text,
    /// Connections open, have one message echoed, and close.
    Connect,
    /// Connections do nothing.
    Memory,
    /// Open connections exchange compressed messages with wsecho, beside others of the same size on the wire.
    Deflate,
}

#[rustfmt::skip]
const ROWS: [Row; 8] = [
    Row { name: "small", title: "100 connections, 20 B, 1 in flight", connections: 100, size: 20, in_flight: 1,
          work: Work::Messages, aim: "1.05" },
    Row { name: "pipelined", title: "100 connections, 20 B, 16 in flight", connections: 100, size: 20, in_flight: 16,
          work: Work::Messages, aim: "1.10" },
    Row { name: "16k", title: "20 connections, 16 KiB, 1 in flight", connections: 20, size: 16 << 10, in_flight: 1,
          work: Work::Messages, aim: "1.05" },
    Row { name: "1m", title: "4 connections, 1 MiB, 1 in flight", connections: 4, size: 1 << 20, in_flight: 1,
          work: Work::Messages, aim: "1.10" },
    Row { name: "text", title: "4 connections, 1 MiB of text, 1 in flight", connections: 4, size: 1 << 20, in_flight: 1,
          work: Work::Text, aim: "1.50" },
    Row { name: "connect", title: "15,000 connections: open, one echo, close", connections: 15_000, size: 20, in_flight: 1,
          work: Work::Connect, aim: "1.80" },
    Row { name: "memory", title: "15,000 idle connections: memory of one", connections: 15_000, size: 20, in_flight: 1,
          work: Work::Memory, aim: "128 B" },
    Row { name: "deflate", title: "100 connections, 200 B, compressed or not", connections: 100, size: 200, in_flight: 1,
          work: Work::Deflate, aim: "1.05" },
];

fn main() -> io::Result<()> {
    let args: Args = argh::from_env();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if args.plain_echo {
        return plain_echo::run(false);
    }
    let names = ROWS.iter().map(|row| row.name);
    #[cfg(feature = "tls")]
    if let Some(folder) = &args.rustls_echo {
        return secure::rustls_echo::run(folder);
    }
    #[cfg(feature = "tls")]
    let names = names.chain(secure::names());
    let names: Vec<_> = names.collect();
    if let Some(unknown) = args.rows.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(io::Error::other(format!("no row {unknown}: {}", names.join(", "))));
    }
    let cpus = available_parallelism()?.get();
    if cpus > 1 {
        pin(Pid::from_raw(0), 0)?;
    }
    if args.rows.is_empty() || ROWS.iter().any(|row| args.rows.iter().any(|name| name == row.name)) {
        println!(
            "{:42}{:>12}{:>12}{:>8}  {:13}{:>6}",
            "server's CPU time", "plain echo", "wsecho", "ratio", "quartiles", "aim"
        );
    }
    for row in ROWS.iter().filter(|row| args.rows.is_empty() || args.rows.iter().any(|name| name == row.name))
    {
        print!("{:42}", row.title);
        io::stdout().flush()?;
        match row.work {
            Work::Messages | Work::Text | Work::Deflate => {
                let time = Duration::from_secs_f64(args.seconds);
                compare(row, cpus, args.rounds, |client| client.run(time))?
            }
            Work::Connect => compare(row, cpus, args.rounds, |client| client.come_and_go(row.connections))?,
            Work::Memory => memory(row, cpus)?,
        }
    }
    #[cfg(feature = "tls")]
    secure::run(&args, cpus)?;
    Ok(())
}

/// A server, and the client that knows its language.
struct Side {
    server: Server,
    client: Client,
}

impl Side {
    fn plain(row: &Row, cpus: usize) -> io::Result<Side> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--plain-echo");
        Side::start(command, Script::plain(row.size, row.in_flight), cpus)
    }

    fn wsecho(script: Script, cpus: usize) -> io::Result<Side> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
        command.args(["--listen", "127.0.0.1:0", "--policy", "off"]);
        Side::start(command, script, cpus)
    }

    fn start(command: Command, script: Script, cpus: usize) -> io::Result<Side> {
        let server = Server::start(command)?;
        if cpus > 1 {
            server.pin(1)?;
        }
        let client = Client::new(server.address, script)?;
        Ok(Side { server, client })
    }

    /// The server's CPU time for one unit of what `work` counts, in nanoseconds.
    fn cost(&mut self, work: impl Fn(&mut Client) -> io::Result<u64>) -> io::Result<f64> {
        let before = self.server.cpu()?;
        let units = work(&mut self.client)?;
        Ok((self.server.cpu()? - before) as f64 / units as f64)
    }
}

/// Both servers by turns, after a turn each that does not count; prints the rest of the row's line.
fn compare(
    row: &Row,
    cpus: usize,
    rounds: usize,
    work: impl Fn(&mut Client) -> io::Result<u64>,
) -> io::Result<()> {
    let script = Script::web_socket(row.size, row.in_flight);
    let mut sides = match row.work {
        Work::Deflate => {
            [Side::wsecho(script, cpus)?, Side::wsecho(Script::deflate(row.size, row.in_flight), cpus)?]
        }
        Work::Text => [Side::plain(row, cpus)?, Side::wsecho(Script::text(row.size, row.in_flight), cpus)?],
        _ => [Side::plain(row, cpus)?, Side::wsecho(script, cpus)?],
    };
    if let Work::Messages | Work::Text | Work::Deflate = row.work {
        for side in &mut sides {
            side.client.open(row.connections)?;
        }
    }
    let [floor, ours] = &mut sides;
    let comparison = by_turns(rounds, || io::Result::Ok([floor.cost(&work)?, ours.cost(&work)?]))?;
    println!("{comparison}{:>6}", row.aim);
    Ok(())
}

/// Growth of each server's resident memory, from one connection that has had its echo to all of them.
fn memory(row: &Row, cpus: usize) -> io::Result<()> {
    let script = Script::web_socket(row.size, row.in_flight);
    for mut side in [Side::plain(row, cpus)?, Side::wsecho(script, cpus)?] {
        side.client.open(1)?;
        let before = side.server.resident()?;
        side.client.open(1 + row.connections)?;
        let growth = side.server.resident()? as f64 - before as f64;
        print!("{:>10.0} B", growth / row.connections as f64);
    }
    println!("{:23}{:>6}", "", row.aim);
    Ok(())
}
