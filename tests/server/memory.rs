//! What a process may have is enough for whatever its clients do, and it is given back.

use std::io::{ErrorKind, Write};
use std::process::Command;

use support::client::*;
use support::process::{resident, wait_until};
use support::server::Server;

const CLIENTS: usize = 300;
const BUDGET: usize = 16 << 20;
/// Beyond the budget: a client's place and one small read, and what the allocator needs for its own order.
const EACH: usize = 5 * 1024;
const SLACK: usize = 16 << 20;

/// Bytes of address space that a process has.
fn address_space(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process runs");
    statm.split(' ').next().and_then(|pages| pages.parse::<usize>().ok()).expect("a count of pages") * 4096
}

/// Sends as much of `bytes` as anybody takes now.
fn push(client: &mut Client, mut bytes: &[u8]) {
    client.stream.set_nonblocking(true).expect("a socket");
    while let [_, ..] = bytes {
        match client.stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It was given up.
            Err(_) => break,
        }
    }
    client.stream.set_nonblocking(false).expect("a socket");
}

#[test]
fn an_onslaught_neither_ends_the_process_nor_leaves_it_large() {
    let server = Server::start(&["--policy", "off", "--log-level", "debug", "--max-buffered", "16M"]);
    let mut witness = Client::open(&server);
    witness.echo(&"x".repeat(60_000));
    let before = resident(server.pid());
    let limit = address_space(server.pid()) + BUDGET + CLIENTS * EACH + SLACK;
    let (pid, limit) = (server.pid().to_string(), format!("--as={limit}"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("util-linux");
    assert!(status.success(), "prlimit fails");

    let whole = frame(FIN | BINARY, &vec![7; 4 << 20]);
    let text = frame(FIN | TEXT, &vec![b'a'; 1 << 20]);
    let small = frame(FIN | BINARY, &vec![7; 32 << 10]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::open(&server)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        push(client, [&whole[..], &text[..1 << 19], &small[..31 << 10]][number % 3]);
        witness.echo("still served");
    }
    server.wait_for("given up: memory is short");
    for client in &mut clients {
        push(client, &whole);
        witness.echo("still served");
    }
    for client in clients {
        client.reset();
    }
    witness.echo("still served");
    wait_until("memory is given back", || {
        witness.echo("a round");
        resident(server.pid()) <= before + before / 10 + (8 << 20)
    });
}
