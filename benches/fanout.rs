//! wsecho's CPU time for each message that a board's member is sent, beside the least that any server can spend.
//!
//! `cargo bench --bench fanout` starts two servers, each in a process of its own: a plain TCP fan-out that sends what it
//! has read from one connection to all the others, one send each, and wsecho. One member speaks, a thousand listen; the
//! next words follow when the last listener has heard. What is compared is the server's own CPU time, by turns, as in the
//! bench `floor`.

#[path = "common/frame.rs"]
#[expect(dead_code, reason = "binary is for the other benches")]
mod frame;
#[path = "fanout/plain_fanout.rs"]
mod plain_fanout;
#[path = "fanout/room.rs"]
mod room;
#[path = "floor/server.rs"]
#[expect(dead_code, reason = "memory is for the other bench")]
mod server;
#[path = "common/turns.rs"]
mod turns;

use std::io;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use argh::FromArgs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use room::{Language, Room};
use server::{Server, pin};
use turns::by_turns;

/// wsecho's CPU time a delivered message beside that of a plain TCP fan-out, measured by turns.
#[derive(FromArgs)]
struct Args {
    /// how long each server is driven in a round (1)
    #[argh(option, default = "1.0")]
    seconds: f64,

    /// rounds of each row (9)
    #[argh(option, default = "9")]
    rounds: usize,

    /// what cargo says to every bench
    #[argh(switch, hidden_help)]
    #[expect(dead_code, reason = "a bench is all this program can run")]
    bench: bool,

    /// be the plain TCP fan-out
    #[argh(switch, hidden_help)]
    plain_fanout: bool,
}

struct Row {
    title: &'static str,
    listeners: usize,
    size: usize,
    /// Messages that are said in one breath.
    burst: usize,
    aim: &'static str,
}

#[rustfmt::skip]
const ROWS: [Row; 3] = [
    Row { title: "1,000 listeners, 20 B",            listeners: 1000, size: 20,   burst: 1,  aim: "1.15" },
    Row { title: "1,000 listeners, 20 B, 16 at once", listeners: 1000, size: 20,   burst: 16, aim: "1.15" },
    Row { title: "1,000 listeners, 4 KiB",           listeners: 1000, size: 4096, burst: 1,  aim: "1.15" },
];

fn main() -> io::Result<()> {
    let args: Args = argh::from_env();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if args.plain_fanout {
        return plain_fanout::run();
    }
    let cpus = available_parallelism()?.get();
    if cpus > 1 {
        pin(Pid::from_raw(0), 0)?;
    }
    println!(
        "{:37}{:>13}{:>12}{:>8}  {:13}{:>6}",
        "server's CPU time per delivery", "plain fan-out", "wsecho", "ratio", "quartiles", "aim"
    );
    for row in &ROWS {
        compare(row, cpus, args.rounds, Duration::from_secs_f64(args.seconds))?;
    }
    Ok(())
}

/// A server, and one of its rooms.
struct Side {
    server: Server,
    room: Room,
}

impl Side {
    fn plain(row: &Row, cpus: usize) -> io::Result<Side> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--plain-fanout");
        Side::start(command, row, Language::Plain, cpus)
    }

    fn wsecho(row: &Row, cpus: usize) -> io::Result<Side> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
        command.args(["--listen", "127.0.0.1:0", "--policy", "off", "--board-lifetime", "0"]);
        Side::start(command, row, Language::WebSocket, cpus)
    }

    fn start(command: Command, row: &Row, language: Language, cpus: usize) -> io::Result<Side> {
        let server = Server::start(command)?;
        if cpus > 1 {
            server.pin(1)?;
        }
        let mut room = Room::open(server.address, language, row.listeners, row.size, row.burst)?;
        room.check()?;
        Ok(Side { server, room })
    }

    /// The server's CPU time for one message that one listener was sent, in nanoseconds.
    fn cost(&mut self, time: Duration) -> io::Result<f64> {
        let before = self.server.cpu()?;
        let deliveries = self.room.run(time)?;
        Ok((self.server.cpu()? - before) as f64 / deliveries as f64)
    }
}

/// Both servers by turns, after a turn each that does not count; prints the row's line.
fn compare(row: &Row, cpus: usize, rounds: usize, time: Duration) -> io::Result<()> {
    let (mut floor, mut ours) = (Side::plain(row, cpus)?, Side::wsecho(row, cpus)?);
    let comparison = by_turns(rounds, || io::Result::Ok([floor.cost(time)?, ours.cost(time)?]))?;
    println!("{:38}{comparison}{:>6}", row.title, row.aim);
    Ok(())
}
