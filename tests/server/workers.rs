//! Several processes behind one port, and the parent that sees to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::client::*;
use support::process::{state, wait_until};
use support::server::{PATIENCE, Server};

fn server(args: &[&str]) -> Server {
    let server = Server::start(&[&["--policy", "off", "--workers", "3"], args].concat());
    server.wait_for("3 workers, each with up to");
    server
}

/// The children of a process that live, by what their command line says they are.
fn workers(parent: u32) -> BTreeMap<usize, u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
    let pids = children.split_whitespace().map(|pid| pid.parse().expect("a number"));
    pids.filter_map(|pid: u32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = words.split('\0').skip_while(|word| *word != "--worker");
        let number = words.nth(1)?.strip_suffix(&format!(":{parent}"))?.parse().ok()?;
        Some((number, pid))
    })
    .collect()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("it runs");
}

/// Whether a process is no more, or only waits to be waited for.
fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_err() || state(pid) == 'Z'
}

/// A client each on every worker, and further ones: the kernel deals them out.
fn clients(server: &Server) -> Vec<Client> {
    let clients: Vec<Client> = (0..60).map(|_| Client::open(server)).collect();
    for pid in workers(server.pid()).into_values() {
        wait_until("every worker has a client", || established(pid) > 0);
    }
    clients
}

/// Connections of a process.
fn established(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let sockets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let sockets: Vec<String> = sockets.map(|link| link.display().to_string()).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("proc(5)");
    // 01 is ESTABLISHED.
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[3] == "01" && sockets.contains(&format!("socket:[{}]", fields[9]))).count()
}

/// Whether what is sent comes back, or nothing does.
fn echoes(client: &mut Client) -> bool {
    let answer = reply(FIN | TEXT, b"still there");
    let mut got = vec![0; answer.len()];
    let is_back = client.stream.write_all(&frame(FIN | TEXT, b"still there")).is_ok()
        && client.stream.read_exact(&mut got).is_ok();
    assert!(!is_back || got == answer, "{}", shown(&got));
    is_back
}

#[test]
fn one_that_dies_takes_only_its_own_clients_along_and_comes_back() {
    let server = server(&[]);
    let mut clients = clients(&server);
    let before = workers(server.pid());
    assert_eq!(before.len(), 3);
    let held = established(before[&1]);
    let mut dead = before[&1];
    // The second time it has died young, too, and is waited for twice as long.
    for wait in [100, 200] {
        signal(dead, Signal::SIGKILL);
        server.wait_for(&format!("worker 1 has ended (SIGKILL): it is started again in {wait} ms"));
        wait_until("it is there again", || {
            workers(server.pid()).get(&1).is_some_and(|pid| *pid != dead && !is_gone(*pid))
        });
        dead = workers(server.pid())[&1];
    }
    let after = workers(server.pid());
    assert_eq!((after[&0], after[&2]), (before[&0], before[&2]));
    // Who is left loses nothing; who was with it, is gone.
    let mut lost = 0;
    for client in &mut clients {
        if echoes(client) { client.echo("and again") } else { lost += 1 }
    }
    assert_eq!(lost, held);
    // The one that came back takes its share.
    let mut more = Vec::new();
    wait_until("it serves", || {
        more.push(Client::open(&server));
        established(after[&1]) > 0
    });
}

#[test]
fn a_stop_drains_every_worker() {
    let server = server(&[]);
    let mut clients = clients(&server);
    clients.iter_mut().for_each(|client| client.echo("before"));
    let pids = workers(server.pid());
    server.signal(Signal::SIGTERM);
    for client in &mut clients {
        let (first, payload) = client.frame();
        assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
        client.send(frame(0x88, &payload[..2]));
        client.expect_eof();
    }
    assert_eq!(server.ended().code(), Some(0));
    assert!(pids.into_values().all(is_gone));
}

#[test]
fn workers_do_not_outlive_their_parent() {
    let server = server(&[]);
    let pids = workers(server.pid());
    server.signal(Signal::SIGKILL);
    assert_eq!(server.ended().code(), None);
    for pid in pids.into_values() {
        wait_until("it ends, too", || is_gone(pid));
    }
}

#[test]
fn a_port_that_another_has_is_said_once_and_ends_all() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    // The parent binds the ports of echo, and each worker that of its numbers.
    for (option, others) in [("--listen", &[][..]), ("--stats", &["--listen", "127.0.0.1:0"])] {
        let output = Command::new(env!("CARGO_BIN_EXE_wsecho"))
            .args(["--workers", "3", option, &address])
            .args(others)
            .stdin(Stdio::null())
            .output()
            .expect("cargo has built wsecho");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "wsecho: cannot listen on {address}: the address is in use; choose another with {option}\n"
            )
        );
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn the_path_of_the_failures_may_be_the_one_that_echoes() {
    let server = server(&["--echo-path", "/ws"]);
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/ws", ""));
    client.expect(SWITCHING);
    client.echo("hello");
}

#[test]
fn sockets_of_a_service_manager_do_not_go_with_workers() {
    let output = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --workers 2", env!("CARGO_BIN_EXE_wsecho")])
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("does not go with sockets of a service manager") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn each_has_numbers_of_its_own_and_tells_its_name() {
    let server = server(&["--stats", "127.0.0.1:0"]);
    for number in 0..3 {
        let line = server.wait_for(&format!("worker {number}: numbers at http://"));
        let address = line.split("http://").nth(1).and_then(|rest| rest.strip_suffix("/metrics"));
        let address = address.and_then(|address| address.parse().ok()).expect("an address");
        let mut client = Client::connect(address);
        client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let page = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(page.contains("\nwsecho_accepted_total{"));
        // What they may keep is shared out.
        let limit = page.lines().find_map(|line| line.strip_prefix("wsecho_buffered_limit_bytes "));
        let limit: usize = limit.and_then(|limit| limit.parse().ok()).expect("a number");
        assert!(3 * limit <= 256 << 20, "{limit} bytes each");
    }
    server.signal(Signal::SIGUSR1);
    for number in 0..3 {
        server.wait_for(&format!("worker {number}: accepted "));
    }
}

#[test]
fn pinned_each_has_a_processor_as_far_as_there_are() {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("sched_getaffinity(2)");
    let all: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu) == Ok(true)).collect();
    let server = server(&["--pin"]);
    for (number, pid) in workers(server.pid()) {
        let set = sched_getaffinity(Pid::from_raw(pid as i32)).expect("it runs");
        let set: Vec<usize> = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect();
        assert_eq!(set, [all[number % all.len()]]);
    }
}

#[test]
fn the_parent_speaks_for_all_to_a_service_manager() {
    let name = format!("wsecho-workers-manager-{}", std::process::id());
    let address = net::SocketAddr::from_abstract_name(&name).expect("a short name");
    let manager = UnixDatagram::bind_addr(&address).expect("a name nobody has");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let notice = || {
        let mut text = [0; 512];
        let length = manager.recv(&mut text).expect("the parent speaks");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let server = Server::start_as(&["--policy", "off", "--workers", "3"], |command, _| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "400000");
    });
    // Not before all serve.
    assert_eq!(notice(), "READY=1\nSTATUS=3 workers");
    assert_eq!(workers(server.pid()).len(), 3);
    assert_eq!((notice(), notice()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    // One that hangs is not spoken for.
    let hung = workers(server.pid())[&1];
    signal(hung, Signal::SIGSTOP);
    wait_until("it hangs", || state(hung) == 'T');
    manager.set_nonblocking(true).expect("a socket");
    while manager.recv(&mut [0; 512]).is_ok() {}
    manager.set_nonblocking(false).expect("a socket");
    let alive = [0, 2].map(|number| workers(server.pid())[&number]);
    // What the others said on their own is used up by one notice at most.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(alive.into_iter().all(|pid| !is_gone(pid)));
    manager.set_nonblocking(true).expect("a socket");
    let mut heard = 0;
    while manager.recv(&mut [0; 512]).is_ok() {
        heard += 1;
    }
    assert!(heard <= 1, "{heard} notices for one that hangs");
    signal(hung, Signal::SIGCONT);
    manager.set_nonblocking(false).expect("a socket");
    assert_eq!(notice(), "WATCHDOG=1");
    server.signal(Signal::SIGTERM);
    while !notice().starts_with("STOPPING=1\n") {}
    assert_eq!(server.ended().code(), Some(0));
}
