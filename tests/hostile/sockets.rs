//! Descriptors that run out, calls that fail, connections that come and go.

use crate::Case;
use crate::crowd::{Crowd, Part};
use crate::inject::Injection;
use crate::scene::{Scene, wait};
use crate::talk::request;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use support::client::{CLOSE, Client, FIN, SWITCHING, TEXT, frame};
use support::process::descriptors;
use support::server::Server;

pub const CASES: &[Case] = &[
    Case::new(
        "E70",
        "200 clients want 64 places",
        "63 are let in, the others wait, and waiting costs nothing",
        "an edge-triggered listener is told once; a level-triggered one without end",
        |scene| {
            let crowd = Crowd::start(scene.server.echo, 200, Part::saying(request("")));
            let let_in = |count: u64| crowd.heard() == count * SWITCHING.len() as u64;
            wait("63 are let in", || let_in(63));
            sleep(Duration::from_millis(300));
            assert!(let_in(63), "and nobody else");
            drop(crowd);
        },
    )
    .args(&["--max-connections", "64"]),
    Case::new(
        "E71",
        "ten of 64 leave, while others wait",
        "ten of those are let in",
        "no event will come for them",
        |scene| {
            let mut held: Vec<Client> = (0..63).map(|_| scene.open()).collect();
            let crowd = Crowd::start(scene.server.echo, 20, Part::saying(request("")));
            held.truncate(53);
            wait("ten are let in", || crowd.heard() == 10 * SWITCHING.len() as u64);
            drop((held, crowd));
        },
    )
    .args(&["--max-connections", "64"]),
    Case::new(
        "E72",
        "the descriptor limit falls below what is in use, and rises again",
        "those who are in are served, others wait, and then get in",
        "limits change under a running process",
        |scene| {
            let mut held: Vec<Client> = (0..50).map(|_| scene.open()).collect();
            limit(scene, "--nofile=20:");
            let crowd = Crowd::start(scene.server.echo, 20, Part::saying(request("")));
            for client in &mut held {
                client.echo("still there");
            }
            assert_eq!(crowd.heard(), 0, "there is no descriptor for them");
            limit(scene, "--nofile=1000:");
            wait("they are let in", || crowd.heard() == 20 * SWITCHING.len() as u64);
            drop((held, crowd));
        },
    ),
    Case::new(
        "E73",
        "accept fails with each of its errors, twice in three times",
        "all are let in, a little later",
        "most concern one client, and some pass",
        |scene| {
            for error in [
                "ENFILE",
                "ENOBUFS",
                "ENOMEM",
                "EPERM",
                "ECONNABORTED",
                "EPROTO",
                "EINTR",
                "ENETDOWN",
                "EHOSTUNREACH",
                "EINVAL",
            ] {
                let every = format!("accept4:error={error}:when=1+3");
                let next = format!("accept4:error={error}:when=2+3");
                for fault in [every, next] {
                    let injection = Injection::into(scene.server.pid(), &[&fault]);
                    let clients: Vec<Client> = (0..5).map(|_| scene.open()).collect();
                    clients.into_iter().for_each(Client::reset);
                    drop(injection);
                }
            }
        },
    )
    .memory(16),
    Case::new(
        "E73b",
        "accept fails without end, and SIGTERM comes",
        "an end",
        "an error that is tried again is tried again so often",
        |_| {
            for error in ["ECONNABORTED", "ENETDOWN", "EMFILE", "EINTR"] {
                let server = Server::start(&["--policy", "off"]);
                let client = Client::open(&server);
                let injection = Injection::into(server.pid(), &[&format!("accept4:error={error}")]);
                let waiting = Client::connect(server.echo);
                server.signal(Signal::SIGTERM);
                drop((client, waiting));
                ends_well(server);
                drop(injection);
            }
        },
    ),
    Case::new(
        "E74",
        "epoll has no room for every second client",
        "it is turned away, the others are served",
        "fs.epoll.max_user_watches can be reached before any other limit",
        |scene| {
            let injection = Injection::into(scene.server.pid(), &["epoll_ctl:error=ENOSPC:when=1+2"]);
            let mut opened = 0;
            for _ in 0..40 {
                let mut client = Client::connect(scene.server.echo);
                let mut answer = vec![0; SWITCHING.len()];
                // Said to one that is turned away, it is answered with a reset.
                let said = client.stream.write_all(&request(""));
                opened += usize::from(said.is_ok() && client.stream.read_exact(&mut answer).is_ok());
            }
            assert_eq!(opened, 20);
            drop(injection);
        },
    ),
    Case::new(
        "E75",
        "epoll_wait is interrupted every second time, on a server of its own",
        "nothing",
        "a signal that nobody handles interrupts it as well",
        |_| interrupts(&["epoll_wait:error=EINTR:when=1+2"]),
    ),
    Case::new(
        "E75b",
        "the server is stopped and continued 100 times",
        "nothing",
        "epoll_wait says EINTR then, though no handler ran",
        |scene| {
            let mut client = scene.open();
            for number in 0..100 {
                scene.server.signal(Signal::SIGSTOP);
                scene.server.signal(Signal::SIGCONT);
                client.echo(&number.to_string());
            }
            client.reset();
        },
    ),
    Case::new(
        "E75c",
        "SIGWINCH, SIGCHLD, SIGURG, SIGHUP and SIGPIPE, 1,000 of each",
        "nothing",
        "they come with a terminal, or by mistake",
        |scene| {
            for _ in 0..1_000 {
                for signal in
                    [Signal::SIGWINCH, Signal::SIGCHLD, Signal::SIGURG, Signal::SIGHUP, Signal::SIGPIPE]
                {
                    scene.server.signal(signal);
                }
            }
            scene.open().echo("still there");
        },
    ),
    Case::new(
        "E76",
        "recv and send are interrupted every second time, on a server of its own",
        "nothing",
        "EINTR is no news",
        |_| interrupts(&["recvfrom:error=EINTR:when=1+2", "sendto:error=EINTR:when=1+2"]),
    ),
    Case::new(
        "E76b",
        "recv fails for every fifth call with each of its errors, and send as well, on a server of its own",
        "that client is gone, the others are served",
        "an error belongs to one connection",
        |_| {
            for error in ["ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENOBUFS", "EPIPE"] {
                let server = Server::start(&["--policy", "off"]);
                for call in ["recvfrom", "sendto"] {
                    let injection =
                        Injection::into(server.pid(), &[&format!("{call}:error={error}:when=5+5")]);
                    let opens = (0..50).filter(|_| {
                        let mut client = Client::connect(server.echo);
                        let mut answer = vec![0; SWITCHING.len()];
                        client.stream.write_all(&request("")).is_ok()
                            && client.stream.read_exact(&mut answer).is_ok()
                    });
                    assert!(opens.count() >= 25, "{call} {error}");
                    drop(injection);
                }
                let mut client = Client::open(&server);
                client.echo("still there");
                client.reset();
                server.signal(Signal::SIGTERM);
                ends_well(server);
            }
        },
    ),
    Case::new(
        "E76c",
        "the read of the signal is interrupted once, and it was SIGTERM",
        "an end",
        "what is left there is announced no more",
        |_| {
            let server = Server::start(&["--policy", "off"]);
            let injection = Injection::into(server.pid(), &["read:error=EINTR:when=1"]);
            server.signal(Signal::SIGTERM);
            ends_well(server);
            drop(injection);
        },
    ),
    Case::new("E76d", "shutdown fails", "an end", "a peer may be gone before we say that we are", |scene| {
        let injection = Injection::into(scene.server.pid(), &["shutdown:error=ENOTCONN"]);
        for _ in 0..20 {
            let mut client = scene.open();
            client.send(frame(FIN | CLOSE, b"\x03\xe8"));
            client.expect(b"\x88\x02\x03\xe8");
            client.reset();
        }
        drop(injection);
    }),
    Case::new(
        "E77",
        "20,000 resets: at once, in a head, in a frame, with an answer on its way",
        "nothing",
        "an end may come anywhere",
        |scene| {
            let opening = [request(""), frame(FIN | TEXT, b"hello"), frame(FIN | TEXT, b"hello")].concat();
            for number in 0..20_000 {
                let mut client = Client::connect(scene.server.echo);
                let much = [0, 20, opening.len() - 3, opening.len()][number % 4];
                // It may be over before it began.
                let _ = client.stream.write_all(&opening[..much]);
                client.reset();
            }
        },
    ),
    Case::new(
        "E78",
        "20,000 clients come, speak and close, one after the other",
        "their echo",
        "a slot that is used again must not hear of its last user",
        |scene| {
            let opening = [request(""), frame(FIN | TEXT, b"hello")].concat();
            for _ in 0..20_000 {
                let mut client = Client::connect(scene.server.echo);
                client.send(&opening);
                client.expect(SWITCHING);
                client.expect(b"\x81\x05hello");
                client.reset();
            }
        },
    ),
    Case::new(
        "E80",
        "4,000 clients connect at once while the server stands still",
        "all are let in",
        "the queue is 4,096 long, not 128",
        |scene| {
            let mut crowd = None;
            scene.while_stopped(|| {
                crowd = Some(Crowd::start(scene.server.echo, 4_000, Part::saying(request(""))))
            });
            let crowd = crowd.expect("it was made");
            wait("all are let in", || crowd.heard() == 4_000 * SWITCHING.len() as u64);
        },
    ),
    Case::new(
        "E81",
        "four silent clients ask for numbers, all places are taken, and a probe asks for its health",
        "ok",
        "when it is full is when its health is asked",
        |scene| {
            let held: Vec<Client> = (0..15).map(|_| scene.open()).collect();
            let silent: Vec<Client> = (0..4).map(|_| Client::connect(scene.numbers_at)).collect();
            assert!(scene.ask("/healthz").ends_with("ok\n"));
            drop((held, silent));
        },
    )
    .args(&["--max-connections", "16", "--handshake-timeout", "60"]),
    Case::new(
        "T02",
        "8,000 clients close and stay, with alarms that were set three times each",
        "an end after two seconds",
        "clearing them away must not cost a look at all of them",
        |scene| {
            let opening = [request(""), frame(FIN | CLOSE, b"\x03\xe8")].concat();
            let part = Part { reads: true, ..Part::saying(opening) };
            let crowd = Crowd::start(scene.server.echo, 8_000, part);
            wait("they are gone", || crowd.gone() == 8_000 && scene.clients() == 1);
        },
    )
    .args(&["--ping-interval", "5"]),
    Case::new(
        "T03",
        "4,000 silent clients are to be pinged at the same moment, and answer nothing",
        "a ping each, and an end",
        "alarms that ring together are heard in slices",
        |scene| {
            let mut crowd = None;
            scene.while_stopped(|| {
                crowd = Some(Crowd::start(
                    scene.server.echo,
                    4_000,
                    Part { reads: true, ..Part::saying(request("")) },
                ))
            });
            let crowd = crowd.expect("it was made");
            wait("all are dropped", || crowd.gone() == 4_000);
            assert_eq!(crowd.heard(), 4_000 * (SWITCHING.len() + 2) as u64, "a 101 and a ping each");
        },
    )
    .args(&["--ping-interval", "1"]),
    Case::new(
        "T04",
        "300 clients send urgent data between their messages",
        "their echo",
        "a read ends in front of it, whatever lies behind",
        |scene| {
            let mut clients: Vec<Client> = (0..300).map(|_| scene.open()).collect();
            for _ in 0..5 {
                for client in &mut clients {
                    client.send(frame(FIN | TEXT, b"before"));
                    socket2::SockRef::from(&client.stream).send_out_of_band(b"!").expect("a TCP socket");
                    client.send(frame(FIN | TEXT, b"behind"));
                }
                for client in &mut clients {
                    client.expect(b"\x81\x06before\x81\x06behind");
                }
            }
            clients.into_iter().for_each(Client::reset);
        },
    ),
];

fn limit(scene: &Scene, limit: &str) {
    let pid = scene.server.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, limit]).status();
    assert!(status.expect("util-linux has it").success());
    assert!(descriptors(scene.server.pid()) > 0);
}

/// Echoes on a server of its own whose calls are interrupted. The witness's is not used: strace may let go of a process in the
/// middle of a call that it tampers with, which then fails in a way that no system has.
fn interrupts(faults: &[&str]) {
    let server = Server::start(&["--policy", "off"]);
    let injection = Injection::into(server.pid(), faults);
    let mut client = Client::open(&server);
    (0..200).for_each(|number| client.echo(&number.to_string()));
    client.reset();
    sleep(Duration::from_millis(100));
    drop(injection);
    Client::open(&server).echo("still there");
    server.signal(Signal::SIGTERM);
    ends_well(server);
}

/// Waits for its end, which has to be good.
fn ends_well(server: Server) {
    let status = server.ended();
    assert!(status.success(), "it ends with {status}");
}
