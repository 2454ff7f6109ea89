//! What TLS costs loadgen: CPU time a message beside plain, memory a connection, and how fast connections open.
//!
//! `cargo bench -p loadgen --bench tls` drives one echo server, in a process of its own, that takes plain connections and
//! TLS 1.3 on the same port (rustls' buffered API, nothing checked), by turns with `loadgen --closed` over each. What is
//! compared is the CPU time of this whole process a message, round by round; beside it stands what rustls takes of it, which
//! opens and seals the same records in memory. Then as many TLS connections as this host's descriptors allow, up to 19,000,
//! are opened one after the other and held. Nothing is asserted: the aims are 1.25 and 4,000 bytes.
//!
//! `… --bench tls -- --alone N` only opens and seals, on N connections, for a profiler.

#[path = "tls/alone.rs"]
mod alone;
#[path = "tls/peer.rs"]
mod peer;
#[path = "common/turns.rs"]
mod turns;

use std::path::PathBuf;
use std::time::Instant;

use alone::Alone;
use loadgen::host::procfs;
use loadgen::modes::measurement::Measurement;
use nix::sys::resource::{Resource, getrlimit};
use turns::{Server, by_turns, columns, cost, cpu, measurement, quantile};

/// What is compared: connections, bytes a message, those of the frames that come and go, and the aim.
const ROWS: [(usize, &str, (usize, usize), &str); 4] = [
    (1, "128", (132, 136), "1.25"),
    (100, "128", (132, 136), "1.25"),
    (1000, "128", (132, 136), "1.25"),
    (100, "16k", (16_388, 16_392), ""),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name| arguments.iter().position(|word| word == name).map(|at| arguments[at + 1].clone());
    if let Some(certificate) = value("--peer") {
        return peer::serve(&certificate);
    }
    let (serving, asking) = peer::configurations();
    if let Some(connections) = value("--alone") {
        let connections = connections.parse().expect("a number");
        return println!("{:.0} ns", Alone::new(&serving, &asking, connections, ROWS[0].2).cost(10));
    }
    let peer = Peer::start();
    println!("{:24}{}{:>6}{:>14}", "CPU time a message", columns("plain", "TLS 1.3"), "aim", "rustls alone");
    for (connections, size, frames, aim) in ROWS {
        let mut rustls = Alone::new(&serving, &asking, connections, frames);
        let mut alone = Vec::new();
        let plain = || cost(peer.measurement("ws", connections, size), connections);
        let tls = || {
            alone.push(rustls.cost(10));
            cost(peer.measurement("wss", connections, size), connections)
        };
        let medians = by_turns(plain, tls);
        let title = format!("{connections} connections, {size}");
        println!("{title:24}{medians}{aim:>6}{:>11.0} ns", quantile(&mut alone, 0.5));
    }
    let most = (getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard) - 500).min(19_000) as usize;
    for scheme in ["ws", "wss"] {
        hold(&peer, scheme, most);
    }
}

/// Opens connections and says what each takes of this process's memory, and how fast they opened.
fn hold(peer: &Peer, scheme: &str, connections: usize) {
    let mut measurement = peer.measurement(scheme, connections, "128");
    let engine = measurement.engine(connections).expect("an engine");
    // The threads and their buffers are there before the connections.
    engine.open(1, &mut measurement.progress).expect("a connection");
    let (rss, began, used) = (procfs::rss(std::process::id()), Instant::now(), cpu());
    let opening = engine.open(connections, &mut measurement.progress).expect("connections");
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    let grown =
        procfs::rss(std::process::id()).zip(rss).map_or(0, |(after, before)| after.saturating_sub(before));
    println!(
        "{scheme:4} {} connections held: {} B each, opened in {seconds:.1} s ({:.0}/s), {:.0} us of loadgen's CPU each",
        opening.opened + 1,
        grown / connections as u64,
        opening.opened as f64 / seconds,
        used / 1000.0 / opening.opened.max(1) as f64
    );
    engine.close().expect("an end");
}

/// The server, until dropped, and the file that its certificate is in.
struct Peer {
    server: Server,
    certificate: PathBuf,
}

impl Peer {
    fn start() -> Peer {
        let certificate = std::env::temp_dir().join(format!("loadgen-bench-{}.pem", std::process::id()));
        let server = Server::start(&["--peer", &certificate.to_string_lossy()]);
        Peer { server, certificate }
    }

    fn measurement(&self, scheme: &str, connections: usize, size: &str) -> Measurement {
        let (count, url) = (connections.to_string(), format!("{scheme}://{}/", self.server.address));
        let certificate = self.certificate.to_string_lossy();
        let mut words = vec!["-c", &count, "--size", size, "--connect-rate", "100k", &url];
        if scheme == "wss" {
            words.extend(["--cacert", &certificate]);
        }
        measurement(&words)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}
