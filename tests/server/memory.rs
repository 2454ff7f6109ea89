//! What a process may have is enough for whatever its clients do, and it is given back.

use std::io::{ErrorKind, Write};
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use support::cgroup::Cgroup;
use support::client::*;
use support::process::{resident, wait_until};
use support::server::Server;

const BUDGET: usize = 16 << 20;
/// Beyond the budget: a client's place and one small read, and what the allocator needs for its own order.
const EACH: usize = 4 * 1024;
const SLACK: usize = 16 << 20;
/// What the system itself keeps for a client, with 32 KiB that are not read where that counts.
const KERNEL: usize = 6 * 1024;
const QUEUES: usize = 96 * 1024;
const ARGS: [&str; 6] = ["--policy", "off", "--log-level", "debug", "--max-buffered", "16M"];

/// Bytes of address space that a process has.
fn address_space(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process runs");
    statm.split(' ').next().and_then(|pages| pages.parse::<usize>().ok()).expect("a count of pages") * 4096
}

/// Lets the server have the address space that is promised to be enough for so many clients.
fn confine(server: &Server, clients: usize) {
    let limit = address_space(server.pid()) + BUDGET + clients * EACH + SLACK;
    let (pid, limit) = (server.pid().to_string(), format!("--as={limit}"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("util-linux");
    assert!(status.success(), "prlimit fails");
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
    const CLIENTS: usize = 300;
    let server = Server::start(&ARGS);
    let mut witness = Client::open(&server);
    witness.echo(&"x".repeat(60_000));
    let before = resident(server.pid());
    confine(&server, CLIENTS);

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

#[test]
fn a_newcomer_who_wants_little_is_not_the_one_who_is_cut_off() {
    let server = Server::start(&["--policy", "off", "--log-level", "debug", "--max-buffered", "1M"]);
    let (message, whole) = (frame(FIN | BINARY, &[7; 300]), frame(FIN | BINARY, &vec![7; 4 << 20]));
    let mut newcomer = Client::open(&server);
    newcomer.send(&message[..150]);
    let mut deaf: Vec<Client> = (0..8).map(|_| Client::open(&server)).collect();
    deaf.iter_mut().for_each(|client| push(client, &whole));
    server.wait_for("given up: memory is short");
    Client::open(&server).echo("and who comes now is served");
    newcomer.send(&message[150..]);
    newcomer.expect(reply(FIN | BINARY, &[7; 300]));
}

#[test]
fn what_is_promised_to_be_enough_is_what_is_tried_here() {
    let formula = format!("connections × {} KiB + `--max-buffered` + {} MiB", EACH >> 10, SLACK >> 20);
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    assert!(readme.contains(&formula), "{formula}");
}

#[test]
fn thousands_fit_into_the_address_space_and_the_cgroup_that_are_promised_to_be_enough() {
    const CLIENTS: usize = 3_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit(2)");
    assert!(hard as usize > CLIENTS + 500, "the hard descriptor limit is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raising the soft limit");
    let cgroup = Cgroup::new("wsecho-test", |cgroup| {
        let queues = if cgroup.counts_sockets { QUEUES } else { 0 };
        BUDGET + CLIENTS * (EACH + KERNEL + queues) + SLACK
    });
    let server = Server::start_as(&ARGS, |command, _| cgroup.confine(command));
    let mut witness = Client::open(&server);
    witness.echo(&"x".repeat(60_000));
    let before = resident(server.pid());
    confine(&server, CLIENTS);

    let small = frame(FIN | BINARY, &vec![7; 32 << 10]);
    let text = frame(FIN | TEXT, &vec![b'a'; 64 << 10]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::open(&server)).collect();
    // 31 KiB of 32 each, or half of a text: 90 MB in all.
    for (number, client) in clients.iter_mut().enumerate() {
        push(client, if number % 2 == 0 { &small[..31 << 10] } else { &text[..32 << 10] });
        if number % 50 == 0 {
            witness.echo("still served");
        }
    }
    server.wait_for("given up: memory is short");
    witness.echo("still served");
    clients.into_iter().for_each(Client::reset);
    wait_until("memory is given back", || {
        witness.echo("a round");
        resident(server.pid()) <= before + before / 10 + (8 << 20)
    });
    server.signal(Signal::SIGTERM);
    witness.expect(STOPPING);
    witness.finish();
    assert!(server.ended().success(), "the most that was in use: {:?}", cgroup.peak());
}
