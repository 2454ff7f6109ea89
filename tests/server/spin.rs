//! `--spin` over real sockets: the loop does not sleep between messages that follow each other, and sleeps behind the last.

use std::fs;

use support::client::Client;
use support::process::{state, wait_until};
use support::server::Server;

/// How often a process has gone to sleep of its own accord.
fn sleeps(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("proc(5) has it")
}

#[test]
fn while_messages_come_it_does_not_sleep_and_afterwards_it_does() {
    const MESSAGES: u64 = 100;
    let server = Server::start(&["--policy", "off", "--spin", "20s"]);
    let mut client = Client::open(&server);
    client.echo("first");
    let before = sleeps(server.pid());
    for _ in 0..MESSAGES {
        client.echo("again");
    }
    let slept = sleeps(server.pid()) - before;
    assert!(slept < MESSAGES / 4, "slept {slept} times");
    let server = Server::start(&["--policy", "off", "--spin", "30ms"]);
    Client::open(&server).echo("only");
    wait_until("it sleeps", || {
        let before = sleeps(server.pid());
        std::thread::sleep(std::time::Duration::from_millis(100));
        state(server.pid()) == 'S' && sleeps(server.pid()) == before
    });
}
