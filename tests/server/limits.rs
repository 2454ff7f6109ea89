//! What the options bound: paths, sizes, patience, connections, descriptors; and a process that is stopped and goes on.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use socket2::SockRef;
use support::client::*;
use support::process::{descriptors, listening_ports, processor_time, state, wait_until};
use support::server::{PATIENCE, Server};
use support::wire::fault;

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 49\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nnothing is served here; open / for the test page\n";

fn server(options: &[&str]) -> Server {
    Server::start(&[&["--policy", "off"], options].concat())
}

/// Stops the process where it waits for events, so that SIGCONT makes epoll_wait(2) fail with EINTR.
fn stop(server: &Server) {
    wait_until("the server waits", || state(server.pid()) == 'S');
    server.signal(Signal::SIGSTOP);
    wait_until("the process is stopped", || state(server.pid()) == 'T');
}

fn is_let_in(server: &Server, target: &str) {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(target, ""));
    client.expect(SWITCHING);
    client.echo(target);
}

fn is_not_found(server: &Server, target: &str) {
    let mut client = Client::connect(server.echo);
    client.send(upgrade(target, ""));
    assert_eq!(String::from_utf8_lossy(&client.rest()), NOT_FOUND, "{target}");
}

#[test]
fn the_paths_that_echo_are_those_that_were_named() {
    let default = server(&[]);
    for target in ["/", "/echo", "/?q", "/echo?room=1&x=/y", "ws://localhost/echo", "http://localhost"] {
        is_let_in(&default, target);
    }
    let named = server(&["--echo-path", "/a", "--echo-path", "/b/c"]);
    for target in ["/a", "/b/c", "/a?/b"] {
        is_let_in(&named, target);
    }
    for target in ["/", "/echo", "/b", "/a/", "/c"] {
        is_not_found(&named, target);
    }
    let any = server(&["--echo-path", "/a", "--echo-path", "*"]);
    for target in ["/", "/echo", "/any/thing?q", "*"] {
        is_let_in(&any, target);
    }
}

#[test]
fn a_message_beyond_the_limit_is_told_by_its_header() {
    let server = server(&["--max-message", "1000"]);
    let whole = [0; 1000];
    for (good, bad) in [
        (vec![], header(FIN | BINARY, 1001)),
        (vec![], header(FIN | TEXT, u64::MAX >> 1)),
        (frame(BINARY, &whole[..600]), header(CONTINUATION, 401)),
        (frame(BINARY, &whole), header(FIN, 1)),
        (
            [frame(BINARY, &whole[..999]), frame(CONTINUATION, b"x"), frame(FIN | PING, b"x")].concat(),
            header(FIN, 1),
        ),
    ] {
        let mut client = Client::open(&server);
        // The sum starts anew with each message, and control frames do not count.
        client.send(frame(FIN | BINARY, &whole));
        client.expect(reply(FIN | BINARY, &whole));
        client.send([good, bad].concat());
        let rest = client.rest();
        assert!(rest.ends_with(&fault("message too big")), "{} does not end with 1009", shown(&rest));
    }
    let mut client = Client::open(&server);
    client.send([frame(BINARY, &whole[..600]), frame(FIN, &whole[..400])].concat());
    client.expect([reply(BINARY, &whole[..600]), reply(FIN, &whole[..400])].concat());
}

#[test]
fn without_a_limit_any_header_is_good() {
    let server = server(&["--max-message", "0"]);
    let mut client = Client::open(&server);
    client.send([header(FIN | BINARY, u64::MAX >> 1), vec![0x37 ^ b'a', 0xFA ^ b'b']].concat());
    client.expect(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffab");
}

#[test]
fn a_handshake_that_drips_is_cut_off_in_the_middle() {
    let server = server(&["--handshake-timeout", "1"]);
    let mut silent = Client::connect(server.echo);
    let mut prefix = Client::connect(server.echo);
    prefix.send("<policy-file");
    let mut open = Client::open(&server);

    // If every byte bought more time, this one would go on for as long as a test waits.
    let mut dripping = Client::connect(server.echo);
    SockRef::from(&dripping.stream).set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
    dripping.send("GET /echo HTTP/1.1\r\nX: ");
    let start = Instant::now();
    let mut byte = [0];
    loop {
        use std::io::{ErrorKind, Read, Write};
        match dripping.read(&mut byte) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("half a head is answered: {other:?} {byte:?}"),
        }
        // Once the server has dropped it, this fails, and the next read says so.
        let _ = dripping.stream.write(b"x");
        assert!(start.elapsed() < PATIENCE, "the drip goes on");
    }
    silent.expect_dropped();
    prefix.expect_dropped();
    open.echo("the handshake's patience ends with it");
}

#[test]
fn an_idle_client_is_closed_with_1001_and_a_lively_one_is_not() {
    let server = server(&["--idle-timeout", "1.5"]);
    let mut idle = Client::open(&server);
    let mut half = Client::open(&server);
    half.send(&frame(FIN | TEXT, b"never whole")[..9]);
    let mut lively = Client::open(&server);
    let mut done = false;
    while !done {
        lively.echo("here");
        idle.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        done = idle.stream.peek(&mut [0]).is_ok();
    }
    for client in [&mut idle, &mut half] {
        client.expect(b"\x88\x06\x03\xe9idle");
    }
    idle.stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    idle.send(frame(FIN | CLOSE, &[]));
    idle.expect_eof();
    lively.echo("still here");
    // In the middle of its frame it cannot answer; it is waited for, and then not any more.
    half.expect_eof();
}

#[test]
fn a_quiet_client_is_pinged_and_dropped_unless_it_answers() {
    let server = server(&["--ping-interval", "1"]);
    let mut deaf = Client::open(&server);
    let mut polite = Client::open(&server);
    // Four intervals: twice what a client has that answers nothing.
    for _ in 0..4 {
        polite.expect(b"\x89\x00");
        polite.send(frame(FIN | PONG, b""));
    }
    polite.echo("still here");
    deaf.expect(b"\x89\x00");
    deaf.expect_dropped();
}

#[test]
fn a_client_is_not_idle_while_its_bytes_lie_waiting() {
    let server = server(&["--idle-timeout", "2", "--ping-interval", "1.5"]);
    let mut client = Client::open(&server);
    stop(&server);
    client.send(frame(FIN | TEXT, b"said in time"));
    // Nothing can go wrong by waiting longer.
    sleep(Duration::from_millis(3500));
    server.signal(Signal::SIGCONT);
    client.expect(reply(FIN | TEXT, b"said in time"));
}

#[test]
fn no_client_of_many_is_idle_while_its_bytes_lie_waiting() {
    // More than one poll tells of.
    const CROWD: usize = 1500;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit(2)");
    assert!(hard as usize > CROWD + 100, "the hard descriptor limit is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raising the soft limit");
    let server = server(&["--idle-timeout", "6"]);
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| knock(server.echo)).collect();
    for client in &mut crowd {
        served(client, 0);
    }
    for client in &mut crowd {
        client.echo("here");
    }
    stop(&server);
    for client in &mut crowd {
        client.send(frame(FIN | TEXT, b"said in time"));
    }
    // Nothing can go wrong by waiting longer.
    sleep(Duration::from_millis(6500));
    server.signal(Signal::SIGCONT);
    for client in &mut crowd {
        client.expect(reply(FIN | TEXT, b"said in time"));
    }
}

#[test]
fn the_client_beyond_the_limit_waits_and_is_served_when_one_leaves() {
    let server = server(&["--max-connections", "3"]);
    let mut clients = vec![Client::open(&server), Client::open(&server), Client::open(&server)];
    let mut waiting: Vec<Client> = (0..3)
        .map(|number| {
            let mut client = Client::connect(server.echo);
            client.send([upgrade("/echo", "").into_bytes(), frame(FIN | TEXT, &[b'0' + number])].concat());
            client
        })
        .collect();
    server.wait_for("all 3 connections are taken");
    for client in &mut clients {
        client.echo("nobody is pushed out");
    }
    waiting[0].expect_nothing();
    // One leaves politely, one says nothing, one resets: each makes room for one.
    let mut polite = clients.remove(0);
    polite.send(frame(FIN | CLOSE, b""));
    polite.expect(b"\x88\x00");
    polite.expect_eof();
    drop(polite);
    served(&mut waiting[0], 0);
    waiting[1].expect_nothing();
    drop(clients.remove(0));
    served(&mut waiting[1], 1);
    waiting[2].expect_nothing();
    clients.remove(0).reset();
    served(&mut waiting[2], 2);
    let stalls = server.lines().iter().filter(|line| line.contains("wait in the queue")).count();
    assert_eq!(stalls, 1, "one stall, one line: {:?}", server.lines());
}

#[test]
fn a_full_server_still_tells_its_health() {
    let server = server(&["--max-connections", "1", "--stats", "127.0.0.1:0"]);
    let mut client = Client::open(&server);
    let line = server.wait_for("numbers at http://");
    let (_, url) = line.split_once("http://").expect("just waited for");
    let stats: SocketAddr = url.trim_end_matches("/metrics").parse().expect("an address");
    for _ in 0..10 {
        let mut probe = Client::connect(stats);
        probe.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(String::from_utf8_lossy(&probe.rest()).ends_with("\r\n\r\nok\n"));
    }
    client.echo("and its clients are served");
}

fn served(client: &mut Client, number: u8) {
    client.expect(SWITCHING);
    client.expect(reply(FIN | TEXT, &[b'0' + number]));
}

#[test]
fn a_shutdown_does_not_wait_for_clients_in_the_queue() {
    let server = server(&["--max-connections", "1"]);
    let mut inside = Client::open(&server);
    let mut waiting = Client::connect(server.echo);
    waiting.send(upgrade("/echo", ""));
    server.signal(Signal::SIGTERM);
    inside.expect(STOPPING);
    waiting.expect_dropped();
    drop(inside);
    assert_eq!(server.ended().code(), Some(0));
}

/// A server in a child process with room for `limit` descriptors.
struct Confined {
    child: Child,
    echo: SocketAddr,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Confined {
    fn start(limit: u32) -> Confined {
        let script = format!("ulimit -n {limit} && exec \"$0\" --listen 127.0.0.1:0 --policy off");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_wsecho")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut confined = Confined { child, echo: ([127, 0, 0, 1], 0).into(), stderr };
        confined.wait_for("listening on");
        let [port] = listening_ports(confined.child.id())[..] else { panic!("one port") };
        confined.echo.set_port(port);
        confined
    }

    /// The next line on stderr that contains `text`. The test's own timeout is the only one.
    fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let count = self.stderr.read_line(&mut line).expect("a pipe and UTF-8");
            assert!(count > 0, "it ended without saying {text:?}");
        }
        line
    }

    fn limit(&self, limit: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}")]).status();
        assert!(status.expect("util-linux has prlimit").success());
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn knock(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send([upgrade("/echo", "").into_bytes(), frame(FIN | TEXT, b"0")].concat());
    client
}

/// Panics if the process is busy while nothing it could do is asked of it.
fn is_at_rest(pid: u32) {
    let window = Duration::from_secs(2);
    let before = processor_time(pid);
    sleep(window);
    let spent = processor_time(pid) - before;
    // A loop that spins has a processor to itself, or its share of a crowded one.
    assert!(spent < window / 20, "{spent:?} of {window:?} spent on waiting");
}

#[test]
fn the_descriptor_limit_is_the_connection_limit() {
    let mut server = Confined::start(64);
    let pid = server.child.id();
    let mut clients: Vec<Client> = (0..80).map(|_| knock(server.echo)).collect();
    let line = server.wait_for("wait in the queue");
    assert!(line.contains("connections are taken"), "{line}");
    let room = descriptors(pid);
    assert!(room <= 64);
    is_at_rest(pid);
    assert_eq!(descriptors(pid), room, "nobody leaves, nobody comes in");
    // Those who were in leave, those who waited come in, though no new client announces itself.
    while !clients.is_empty() {
        let mut client = clients.remove(0);
        served(&mut client, 0);
    }
    knock(server.echo).expect(SWITCHING);
}

#[test]
fn running_out_of_descriptors_is_survived_and_needs_no_new_client_to_end() {
    let mut server = Confined::start(200);
    let pid = server.child.id();
    let mut clients: Vec<Client> = (0..20).map(|_| knock(server.echo)).collect();
    for client in &mut clients {
        served(client, 0);
    }
    // Below what is in use: accept(2) says EMFILE from here on.
    server.limit("10:200");
    let mut waiting: Vec<Client> = (0..5).map(|_| knock(server.echo)).collect();
    let line = server.wait_for("wait in the queue");
    assert!(line.contains("os error 24"), "{line}");
    clients[0].echo("those inside are served");
    waiting[0].expect_nothing();
    is_at_rest(pid);
    // The clock alone, no connection that ends and none that comes, lets them in.
    server.limit("200:200");
    for client in &mut waiting {
        served(client, 0);
    }
    clients[0].echo("and nobody was lost");

    // Again, and this time those who leave make the room.
    let used = descriptors(pid);
    server.limit("10:200");
    let mut late = knock(server.echo);
    server.wait_for("os error 24");
    late.expect_nothing();
    drop(clients);
    served(&mut late, 0);
    wait_until("every descriptor comes back", || descriptors(pid) == used - 20 + 1);
}

#[test]
fn nothing_at_all_is_done_while_nothing_happens() {
    let server = server(&["--log-level", "debug"]);
    let mut clients: Vec<Client> = (0..10).map(|_| Client::open(&server)).collect();
    // One that stopped reading in the middle of its echo is no reason to be busy either.
    let mut stuck = Client::open(&server);
    stuck.stuff(&frame(FIN | BINARY, &[0; 50_000]), 256 << 20, &mut clients[0]);
    is_at_rest(server.pid());
    clients[0].echo("awake");
}

#[test]
fn being_stopped_and_continued_is_no_reason_to_end() {
    let server = server(&["--log-level", "debug"]);
    let mut client = Client::open(&server);
    for round in 0..100 {
        stop(&server);
        client.send(frame(FIN | TEXT, format!("{round}").as_bytes()));
        for signal in [Signal::SIGWINCH, Signal::SIGCHLD, Signal::SIGURG, Signal::SIGPIPE, Signal::SIGCONT] {
            server.signal(signal);
        }
        client.expect(reply(FIN | TEXT, format!("{round}").as_bytes()));
    }
    assert!(!server.lines().iter().any(|line| line.contains("failed")), "{:?}", server.lines());
}

#[test]
fn a_crowd_that_comes_at_once_finds_room_in_the_queue() {
    const CROWD: usize = 400;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux");
    assert!(most.trim().parse::<usize>().expect("a number") > CROWD, "net.core.somaxconn is {most}");
    let server = server(&[]);
    stop(&server);
    // Beyond the queue's end, the kernel drops what a client says and lets it try again in seconds.
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| knock(server.echo)).collect();
    server.signal(Signal::SIGCONT);
    for client in &mut crowd {
        served(client, 0);
    }
}

#[test]
fn accepted_sockets_have_the_options_of_their_listener() {
    use wsecho::reactor::system::{Listener, Sharing, listen};

    let address = "127.0.0.1:0".parse().expect("an address");
    let Listener::Tcp(listener) = listen(address, Sharing::Nobody).expect("a port") else {
        panic!("a TCP listener")
    };
    let _client = Client::connect(listener.local_addr().expect("it is bound"));
    let mut accepted = None;
    wait_until("a client is accepted", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.expect("just now");
    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().expect("a TCP socket"));
    assert!(socket.keepalive().expect("a TCP socket"));
    assert_eq!(socket.tcp_keepalive_time().expect("a TCP socket"), Duration::from_secs(60));
    assert_eq!(socket.tcp_keepalive_interval().expect("a TCP socket"), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_retries().expect("a TCP socket"), 6);
    // It would also end connections whose window is closed on purpose.
    assert_eq!(socket.tcp_user_timeout().expect("a TCP socket"), None);
    assert_eq!(socket.tcp_notsent_lowat().expect("a TCP socket"), 64 * 1024);
}
