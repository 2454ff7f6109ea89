//! The process itself: its log, its signals, its memory, its idleness. Most of these have a server of their own beside the
//! one that the witness speaks to.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::scene::{cpu, wait};
use crate::talk::request;
use nix::pty::openpty;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use support::client::{BINARY, CLOSE, Client, FIN, SWITCHING, TEXT, frame, header, reply, upgrade};
use support::command::{Running, wsecho};
use support::process::resident;
use support::server::Server;

const QUIET: [&str; 4] = ["--listen", "127.0.0.1:0", "--policy", "off"];
const LOUD: [&str; 6] = ["--listen", "127.0.0.1:0", "--policy", "off", "--log-level", "debug"];

pub const CASES: &[Case] = &[
    Case::new(
        "F86",
        "stderr is /dev/full, a pipe whose reader is gone, a full pipe, a terminal and a socket that nobody reads",
        "its echo, and an end on SIGTERM",
        "a log that cannot be written is lost, and nothing else",
        |_| {
            let (gone, dead) = pipe().expect("two descriptors");
            drop(gone);
            let (_full, unread) = pipe().expect("two descriptors");
            let terminal = openpty(None, None).expect("a terminal");
            let (_silent, socket) = UnixStream::pair().expect("two descriptors");
            let full: OwnedFd = File::options().write(true).open("/dev/full").expect("Linux has it").into();
            for stderr in [full, dead.into(), unread.into(), terminal.slave, socket.into()] {
                let mut server = Running::start(wsecho(&LOUD).stderr(stderr));
                let address = server.address();
                for _ in 0..500 {
                    let mut client = Client::connect(address);
                    client.send([request(""), frame(FIN | CLOSE, b"\x03\xe8")].concat());
                    client.expect(SWITCHING);
                    client.expect(b"\x88\x02\x03\xe8");
                    client.reset();
                }
                server.signal(Signal::SIGTERM);
                assert!(server.ended().success());
            }
        },
    ),
    Case::new(
        "F87",
        "2,000 lines of log a second, and nobody reads them",
        "nothing",
        "the same with the witness",
        |scene| {
            for _ in 0..2_000 {
                let mut client = scene.open();
                client.send(frame(FIN | CLOSE, b"\x03\xe8"));
                client.expect(b"\x88\x02\x03\xe8");
                client.reset();
            }
        },
    )
    .args(&["--log-level", "debug"]),
    Case::new(
        "F88",
        "500 clients who speak twice a second, and a server that is stopped for three times their patience",
        "nobody is dropped",
        "readiness is served before patience ends",
        |scene| {
            let mut clients: Vec<Client> = (0..500).map(|_| scene.open()).collect();
            for client in &mut clients {
                client.echo("before");
            }
            scene.while_stopped(|| {
                for client in &mut clients {
                    client.send(frame(FIN | TEXT, b"meanwhile"));
                }
                sleep(Duration::from_secs(3));
            });
            for client in &mut clients {
                client.expect(reply(FIN | TEXT, b"meanwhile"));
            }
            clients.into_iter().for_each(Client::reset);
        },
    )
    .args(&["--idle-timeout", "1"]),
    Case::new("F90", "SIGTERM to a server that is idle", "an end", "nothing is waited for", |_| {
        stops(|_| ())
    }),
    Case::new("F90b", "SIGTERM with 2,000 clients", "1001 to each, and an end", "all are told", |_| {
        let (mut told, mut kept) = (0, None);
        stops(|server| {
            let crowd = Crowd::start(server.echo, 2_000, Part::saying(request("")));
            wait("all are open", || crowd.heard() == 2_000 * SWITCHING.len() as u64);
            kept = Some(crowd);
        });
        wait("all are told", || {
            told = kept.as_ref().map_or(0, Crowd::heard) - 2_000 * SWITCHING.len() as u64;
            told >= 2_000 * 4
        });
    }),
    Case::new(
        "F90c",
        "SIGTERM with 100 clients who never read and never leave",
        "an end after --drain-timeout",
        "who does not go is not waited for",
        |_| {
            let mut kept = None;
            stops(|server| {
                let part = Part {
                    refrain: frame(FIN | BINARY, &[7; 60_000]),
                    times: None,
                    reads: false,
                    ..Part::saying(request(""))
                };
                let crowd = Crowd::start(server.echo, 100, part);
                crowd.until_stuck();
                kept = Some(crowd);
            });
        },
    ),
    Case::new(
        "F90d",
        "SIGTERM while 1,000 clients are about to come in",
        "1001 to each, and an end",
        "who is in the queue has connected, as far as he knows",
        |_| {
            let mut kept = None;
            stops(|server| {
                server.signal(Signal::SIGSTOP);
                wait("it stops", || support::process::state(server.pid()) == 'T');
                kept = Some(Crowd::start(server.echo, 1_000, Part::saying(request(""))));
                server.signal(Signal::SIGTERM);
                server.signal(Signal::SIGCONT);
                wait("all are told", || {
                    kept.as_ref().is_some_and(|crowd| crowd.heard() >= 1_000 * (SWITCHING.len() as u64 + 4))
                });
            });
        },
    ),
    Case::new(
        "F90e",
        "SIGTERM twice, with 100 clients who stay",
        "an end at once",
        "the second one means it",
        |_| {
            let server = Server::start(&["--policy", "off", "--drain-timeout", "600"]);
            let crowd = Crowd::start(server.echo, 100, Part { reads: false, ..Part::saying(request("")) });
            crowd.until_stuck();
            server.signal(Signal::SIGTERM);
            server.wait_for("stopping");
            server.signal(Signal::SIGTERM);
            assert!(server.ended().success());
        },
    ),
    Case::new(
        "F91",
        "3,000 clients with 31 KiB of a frame each, a server that may have 96 MiB of addresses",
        "no abort; the witness of that server is served",
        "memory is a budget, and not what malloc says no to",
        |_| {
            let server = Running::start(&mut limited(&["prlimit", "--as=100663296"]));
            presses(server);
        },
    ),
    Case::new(
        "F91b",
        "the same in a memory control group of 64 MiB",
        "the same",
        "there malloc never says no: the kernel kills",
        |_| {
            let group = Group::new(64 << 20);
            // The shell joins the group and becomes the server, which then finds its limit.
            let join = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.0);
            presses(Running::start(&mut limited(&["sh", "-c", &join, "sh"])));
        },
    ),
    Case::new(
        "F94",
        "2,000 idle clients for two seconds, on a server of their own",
        "not one millisecond of its time",
        "nothing happens, so nothing is done",
        |_| {
            let server = Server::start(&["--policy", "off"]);
            let crowd = Crowd::start(server.echo, 2_000, Part::saying(request("")));
            wait("all are open", || crowd.heard() == 2_000 * SWITCHING.len() as u64);
            sleep(Duration::from_millis(200));
            let before = cpu(server.pid());
            sleep(Duration::from_secs(2));
            let spent = cpu(server.pid()) - before;
            assert!(spent < Duration::from_millis(1), "{spent:?}");
            drop(crowd);
        },
    ),
    Case::new(
        "F95",
        "100 scrapes while 100 clients send as fast as they can",
        "numbers that agree with each other",
        "who measures must not be kept waiting, nor keep others waiting",
        |scene| {
            let part =
                Part { refrain: frame(FIN | BINARY, &[7; 1000]), times: None, ..Part::saying(request("")) };
            let crowd = Crowd::start(scene.server.echo, 100, part);
            let mut before = 0.0;
            for _ in 0..100 {
                let numbers = scene.numbers();
                let (received, sent) = (numbers["messages_received_total"], numbers["messages_sent_total"]);
                assert!(received >= before && sent <= received, "{sent} of {received}, and {before} before");
                before = received;
            }
            drop(crowd);
        },
    )
    .memory(64),
];

/// What `prepare` does to a server of its own, and then SIGTERM, which it has to end on.
fn stops(prepare: impl FnOnce(&Server)) {
    let server = Server::start(&["--policy", "off", "--drain-timeout", "1"]);
    prepare(&server);
    server.signal(Signal::SIGTERM);
    let status = server.ended();
    assert!(status.success(), "it ends with {status}");
}

/// The server, started by a command that confines it.
fn limited(wrapper: &[&str]) -> Command {
    let mut command = Command::new(wrapper[0]);
    command
        .args(&wrapper[1..])
        .arg(support::server::program())
        .args(QUIET)
        .env_remove("PORT")
        .stderr(Stdio::null());
    command
}

/// Three thousand clients put into a server what it may keep of each; it has to live, serve, and end well.
fn presses(mut server: Running) {
    let address = server.address();
    let mut witness = Client::connect(address);
    witness.send(upgrade("/echo", ""));
    witness.expect(SWITCHING);
    let opening = [request(""), header(FIN | BINARY, 32_000)].concat();
    let part = Part { refrain: vec![7; 1_000], times: Some(31), waits: true, ..Part::saying(opening) };
    let crowd = Crowd::start(address, 3_000, part);
    crowd.until_stuck();
    crowd.go();
    for number in 0..50 {
        witness.echo(&format!("under pressure {number}"));
        sleep(Duration::from_millis(10));
    }
    crowd.until_stuck();
    witness.echo("still there");
    drop(crowd);
    witness.echo("and afterwards");
    assert!(resident(server.0.id()) > 0);
    server.signal(Signal::SIGTERM);
    assert!(server.ended().success());
    let mut rest = Vec::new();
    let _ = witness.stream.read_to_end(&mut rest);
}

/// A memory control group, of version 1 or 2, whichever there is. It goes with its last process.
struct Group(String);

impl Group {
    fn new(most: usize) -> Group {
        let first = "/sys/fs/cgroup/memory";
        let (root, file) = if fs::metadata(first).is_ok() {
            (first, "memory.limit_in_bytes")
        } else {
            ("/sys/fs/cgroup", "memory.max")
        };
        let directory = format!("{root}/wsecho-hostile-{}", std::process::id());
        fs::create_dir_all(&directory).expect("control groups can be made: run this as root");
        fs::write(format!("{directory}/{file}"), most.to_string()).expect("it has a memory controller");
        Group(directory)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
