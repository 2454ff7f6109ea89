//! loadgen's CPU time a message, beside a client that does nothing but send and read.
//!
//! `cargo bench -p loadgen` drives one null server, in a process of its own, by turns with `loadgen --closed` (the
//! engine, as the program runs it: verification, four histograms, time series and watch thread) and with a plain epoll
//! client that writes a ready-made frame and looks only at the length of the answer. What is compared is the CPU time
//! of this whole process a message, round by round; the quartiles of the ratio say how far to trust its median. With
//! two CPUs or more, the clients have the first and the server the second. Nothing is asserted: the aim is 1.3.

#[path = "cost/plain.rs"]
mod plain;
#[path = "common/turns.rs"]
mod turns;

use loadgen::modes::null_server::null_peer;
use turns::{ROUND, Server, by_turns, columns, cost, cpu, measurement};

const SIZE: usize = 128;

fn main() {
    if std::env::args().any(|arg| arg == "--null-peer") {
        println!("{}", null_peer().expect("a listener on loopback"));
        loop {
            std::thread::park();
        }
    }
    println!("{:24}{}{:>5}", "client's CPU time", columns("plain epoll", "loadgen"), "aim");
    for connections in [1, 100, 1000] {
        let server = Server::start(&["--null-peer"]);
        let (count, url) = (connections.to_string(), format!("ws://{}/", server.address));
        let loadgen = || cost(measurement(&["-c", &count, &url]), connections);
        let medians = by_turns(|| plain_cost(&server.address, connections), loadgen);
        println!("{:24}{medians}{:>5}", format!("{connections} connections"), "1.3");
    }
}

/// CPU time of this process a message of the plain client, ns.
fn plain_cost(address: &str, connections: usize) -> f64 {
    let mut client = plain::Client::open(address.parse().expect("an address"), connections, SIZE);
    let before = cpu();
    let messages = client.run(ROUND);
    (cpu() - before) / messages as f64
}
