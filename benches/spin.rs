//! What `--spin` gains, beside a plain TCP echo that never sleeps, and what it costs.
//!
//! `cargo bench --bench spin` prints two tables. The first: the median round trip of 20 bytes with 1, 10 and 100 connections
//! that have each one message in flight, from a client that never sleeps, to four servers by turns: a plain TCP echo on one
//! epoll, spinning and sleeping, and wsecho, spinning and sleeping. The ratio is that of the two that spin, with its quartiles
//! over the rounds. The second: one connection, a message some time after each answer, and of the server its round trip and
//! the share of a processor that it used. With two CPUs or more the client has the first and the servers the second.

#[path = "spin/client.rs"]
mod client;
#[expect(dead_code, reason = "text is for the other bench")]
#[path = "common/frame.rs"]
mod frame;
#[path = "floor/plain_echo.rs"]
mod plain_echo;
#[expect(dead_code, reason = "memory is for the other bench")]
#[path = "floor/server.rs"]
mod server;
#[expect(dead_code, reason = "here are four sides")]
#[path = "common/turns.rs"]
mod turns;

use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use argh::FromArgs;
use client::Client;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use server::{Server, pin};
use turns::quantile;

/// The round trip that --spin gives, beside a plain TCP echo, and its price.
#[derive(FromArgs)]
struct Args {
    /// how long each server is driven in a round (0.5)
    #[argh(option, default = "0.5")]
    seconds: f64,

    /// rounds of each row of the first table (9)
    #[argh(option, default = "9")]
    rounds: usize,

    /// what cargo says to every bench
    #[argh(switch, hidden_help)]
    #[expect(dead_code, reason = "a bench is all this program can run")]
    bench: bool,

    /// be the plain TCP echo: spin or sleep
    #[argh(option, hidden_help)]
    plain_echo: Option<String>,
}

const SPINS: [&str; 4] = ["0", "50us", "200us", "1ms"];
const GAPS: [Duration; 4] =
    [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(1), Duration::from_millis(10)];

fn main() -> io::Result<()> {
    let args: Args = argh::from_env();
    if let Some(how) = &args.plain_echo {
        return plain_echo::run(how == "spin");
    }
    let cpus = cpus()?;
    if cpus.len() > 1 {
        pin(Pid::from_raw(0), cpus[0])?;
    }
    let last = cpus[cpus.len() - 1];
    let time = Duration::from_secs_f64(args.seconds);
    gain(time, args.rounds, last)?;
    println!();
    price(time, last)
}

/// The round trips of the four servers.
fn gain(time: Duration, rounds: usize, cpu: usize) -> io::Result<()> {
    println!(
        "{:28}{:>14}{:>14}{:>14}{:>14}{:>8}  quartiles  aim",
        "round trip, p50", "plain, spins", "wsecho --spin", "plain, sleeps", "wsecho", "ratio"
    );
    for connections in [1, 10, 100] {
        let servers = [plain("spin", cpu)?, wsecho("10s", cpu)?, plain("sleep", cpu)?, wsecho("0", cpu)?];
        let mut clients = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            clients.push(Client::open(server.address, at % 2 == 1, connections)?);
            server.send(Signal::SIGSTOP)?;
        }
        let mut medians = [const { Vec::new() }; 4];
        let mut ratios = Vec::new();
        for round in 0..=rounds {
            let mut now = [0.0; 4];
            for (at, client) in clients.iter_mut().enumerate() {
                // Two that spin on one processor would halve each other.
                servers[at].send(Signal::SIGCONT)?;
                now[at] = median(&mut client.round_trips(time, Duration::ZERO)?);
                servers[at].send(Signal::SIGSTOP)?;
            }
            if round > 0 {
                ratios.push(now[1] / now[0]);
                medians.iter_mut().zip(now).for_each(|(all, one)| all.push(one));
            }
        }
        print!("{:28}", format!("{connections} connections, 20 B"));
        for all in &mut medians {
            print!("{:>11.1} µs", quantile(all, 0.5) / 1000.0);
        }
        let (low, high) = (quantile(&mut ratios, 0.25), quantile(&mut ratios, 0.75));
        println!("{:>8.2}  {low:.2}-{high:.2}  1.15", quantile(&mut ratios, 0.5));
    }
    Ok(())
}

/// What a gap between messages costs a server that spins through it, or does not.
fn price(time: Duration, cpu: usize) -> io::Result<()> {
    print!("{:28}", "round trip, p50; CPU");
    SPINS.iter().for_each(|spin| print!("{:>20}", format!("--spin {spin}")));
    println!();
    for gap in GAPS {
        print!("{:28}", format!("a message {gap:?} after an answer"));
        for spin in SPINS {
            let server = wsecho(spin, cpu)?;
            let mut client = Client::open(server.address, true, 1)?;
            client.round_trips(time / 5, gap)?;
            let (start, before) = (Instant::now(), server.cpu()?);
            let trip = median(&mut client.round_trips(time, gap)?);
            let share = (server.cpu()? - before) as f64 / start.elapsed().as_nanos() as f64;
            print!("{:>20}", format!("{:.1} µs; {:.0} %", trip / 1000.0, share * 100.0));
            io::stdout().flush()?;
        }
        println!();
    }
    Ok(())
}

fn plain(how: &str, cpu: usize) -> io::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--plain-echo", how]);
    start(command, cpu)
}

fn wsecho(spin: &str, cpu: usize) -> io::Result<Server> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
    command.args(["--listen", "127.0.0.1:0", "--policy", "off", "--spin", spin]);
    start(command, cpu)
}

fn start(command: Command, cpu: usize) -> io::Result<Server> {
    let server = Server::start(command)?;
    server.pin(cpu)?;
    Ok(server)
}

/// The processors that this process may use.
fn cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect())
}

fn median(times: &mut [u64]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2] as f64
}
