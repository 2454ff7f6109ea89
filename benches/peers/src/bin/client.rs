//! A plain client that is nobody's: it drives one server for a while and says what it saw, as a line of JSON.

#[expect(dead_code, reason = "the floor bench uses the rest")]
#[path = "../../../floor/client.rs"]
mod client;
#[path = "../../../common/frame.rs"]
mod frame;
#[expect(dead_code, reason = "the floor bench uses the rest")]
#[path = "../../../floor/secure/client.rs"]
mod secure;

use argh::FromArgs;
use client::{Client, Script};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Drives an echo server and prints what it did.
#[derive(FromArgs)]
struct Args {
    /// where it listens
    #[argh(positional)]
    server: SocketAddr,
    /// its process id
    #[argh(positional)]
    pid: u32,
    /// what to do: echo, connect or idle
    #[argh(positional)]
    work: String,
    /// connections
    #[argh(option, default = "1")]
    connections: usize,
    /// bytes of a message
    #[argh(option, default = "20")]
    size: usize,
    /// messages in flight on each connection
    #[argh(option, default = "1")]
    in_flight: usize,
    /// how long in each round
    #[argh(option, default = "1.0")]
    seconds: f64,
    /// whose certificate the server shows, in PEM: TLS 1.3
    #[argh(option)]
    authority: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let args: Args = argh::from_env();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let script = Script::web_socket(args.size, args.in_flight);
    if let Some(authority) = &args.authority {
        let mut client = secure::Client::sealed(args.server, script, authority)?;
        client.open(args.connections)?;
        client.run(Duration::from_secs_f64(args.seconds / 5.0))?;
        return told(args.pid, || client.run(Duration::from_secs_f64(args.seconds)));
    }
    let mut client = Client::new(args.server, script)?;
    match args.work.as_str() {
        "idle" => {
            client.open(1)?;
            let before = resident(args.pid)?;
            client.open(1 + args.connections)?;
            let each = (resident(args.pid)? - before) / args.connections as f64;
            println!("{{\"bytes\":{each:.0}}}");
            Ok(())
        }
        "connect" => told(args.pid, || client.come_and_go(args.connections)),
        _ => {
            client.open(args.connections)?;
            client.run(Duration::from_secs_f64(args.seconds / 5.0))?;
            told(args.pid, || client.run(Duration::from_secs_f64(args.seconds)))
        }
    }
}

/// Prints the rate of what `work` counts, and the server's CPU time for one of it.
fn told(pid: u32, work: impl FnOnce() -> io::Result<u64>) -> io::Result<()> {
    let (start, before) = (Instant::now(), cpu(pid)?);
    let done = work()? as f64;
    let (time, cpu) = (start.elapsed().as_secs_f64(), cpu(pid)? - before);
    println!("{{\"rate\":{:.1},\"cpu_ns\":{:.1}}}", done / time, cpu / done);
    Ok(())
}

/// CPU time of all threads of a process, in nanoseconds.
fn cpu(pid: u32) -> io::Result<f64> {
    std::thread::sleep(Duration::from_millis(5));
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += schedstat.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}

/// Resident memory, in bytes.
fn resident(pid: u32) -> io::Result<f64> {
    std::thread::sleep(Duration::from_millis(50));
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("smaps_rollup without Rss"))? * 1024.0)
}
