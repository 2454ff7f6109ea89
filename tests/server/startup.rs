//! The command line, how the server starts and refuses to, where it logs, and how it ends.

use std::fs::{self, File};
use std::io::{Read, pipe};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::client::*;
use support::process::{listening_ports, wait_until};
use support::server::Server;

/// The command, with nothing of the tests' own environment that it would look at.
fn wsecho(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
    command
        .args(arguments)
        .env_remove("PORT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running server that a test started by itself. Dropping it kills it.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("cargo has built wsecho"))
    }

    /// The address of its only listener, once it listens.
    fn address(&self) -> SocketAddr {
        let mut ports = Vec::new();
        wait_until("the server listens", || {
            ports = listening_ports(self.0.id());
            !ports.is_empty()
        });
        let [port] = ports[..] else { panic!("one port and not {ports:?}") };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.0.id().try_into().expect("a process id is positive");
        kill(Pid::from_raw(pid), signal).expect("the server is running");
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("just now")
    }

    /// What it wrote, once it has ended.
    fn output(mut self) -> Output {
        let status = self.ended();
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_end(&mut output.stdout).expect("a pipe");
        }
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut output.stderr).expect("a pipe");
        }
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the command to its end.
fn run(command: &mut Command) -> Output {
    Running::start(command).output()
}

/// The one line on stderr with which the command refuses to start. Panics if it is not one line, or another status.
fn refusal(command: &mut Command, status: i32) -> String {
    let output = run(command);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(status), "{command:?}: {stderr}");
    assert!(
        stderr.starts_with("wsecho: ") && stderr.lines().count() == 1 && stderr.ends_with('\n'),
        "{stderr:?}"
    );
    assert_eq!(output.stdout, b"");
    stderr
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(&mut wsecho(&["--help"]));
    let text = String::from_utf8(help.stdout.clone()).expect("text");
    assert!(help.status.success() && help.stderr.is_empty());
    for option in
        ["--listen", "--policy", "--echo-path", "--max-connections", "--max-message", "--handshake-timeout"]
    {
        assert!(text.contains(option), "{option} is not in {text}");
    }
    for option in
        ["--idle-timeout", "--ping-interval", "--origin", "--log-level", "--version", "--help", "-h"]
    {
        assert!(text.contains(option), "{option} is not in {text}");
    }
    assert_eq!(run(&mut wsecho(&["-h"])), help);
    // Whatever else is asked for, and though it could not be had.
    assert_eq!(run(wsecho(&["--listen", "127.0.0.1:0", "--help"]).env("PORT", "no port")), help);

    let version = run(&mut wsecho(&["--version"]));
    assert!(version.status.success() && version.stderr.is_empty());
    assert_eq!(version.stdout, concat!("wsecho ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
}

#[test]
fn text_that_nobody_takes_is_no_failure_and_a_full_disk_is_one() {
    for argument in ["--help", "-h", "--version"] {
        let (reader, writer) = pipe().expect("two descriptors");
        drop(reader);
        let output = run(wsecho(&[argument]).stdout(writer));
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        let output = run(&mut shell("exec \"$0\" \"$1\" >&-", &[argument]));
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));

        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = run(wsecho(&[argument]).stdout(full));
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(told.starts_with("wsecho: cannot write to stdout: ") && told.lines().count() == 1, "{told}");
    }
}

/// `script`, with the command as `$0` and these arguments as `$1` and on.
fn shell(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_wsecho")]).args(arguments).env_remove("PORT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_and_2() {
    for (option, wrong) in [
        ("--listen", &["8087", "localhost", "127.0.0.1", "127.0.0.1:65536", "::1:8087", ":8087", ""][..]),
        ("--policy", &["on", "843", "127.0.0.1", "OFF"]),
        ("--echo-path", &["echo", "", "**", "http://a/echo"]),
        ("--max-connections", &["0", "-1", "many", "1.5", ""]),
        ("--max-message", &["-1", "64M", "18446744073709551616", "1e6"]),
        ("--handshake-timeout", &["0", "-1", "ten", "10s", "NaN", "inf"]),
        ("--idle-timeout", &["-1", "never", "1h"]),
        ("--ping-interval", &["-0.5", "x"]),
        ("--log-level", &["warn", "INFO", "3"]),
    ] {
        for value in wrong {
            let line = refusal(&mut wsecho(&[option, value]), 2);
            assert!(line.contains(option) && line.contains(&format!("not '{value}'")), "{line}");
            assert_eq!(refusal(&mut wsecho(&[&format!("{option}={value}")]), 2), line);
        }
        let line = refusal(&mut wsecho(&[option]), 2);
        assert!(line.contains(option), "{line}");
    }
    for wrong in ["--nope", "-x", "word", "--listen-to"] {
        let line = refusal(&mut wsecho(&["--listen", "127.0.0.1:0", "--policy", "off", wrong]), 2);
        assert!(line.contains(wrong) && line.contains("--help"), "{line}");
    }
    assert!(refusal(&mut wsecho(&["--origin"]), 2).contains("--origin"));
    assert!(refusal(wsecho(&["--policy", "off"]).env("PORT", "http"), 2).contains("PORT"));
    let many = ["--listen", "127.0.0.1:0", "--policy", "off", "--max-connections", "1000000000"];
    let line = refusal(&mut wsecho(&many), 2);
    assert!(line.contains("--max-connections 1000000000") && line.contains("descriptor limit"), "{line}");
}

#[test]
fn a_mistake_is_told_by_its_status_though_nobody_takes_the_line() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    assert_eq!(run(wsecho(&["--nope"]).stderr(full)).status.code(), Some(2));
    assert_eq!(run(&mut shell("exec \"$0\" --nope 2>&-", &[])).status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_one_line_with_the_address_and_1() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    let line = refusal(&mut wsecho(&["--listen", "127.0.0.1:0", "--listen", &address, "--policy", "off"]), 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    // An address of nobody's (RFC 5737).
    let line = refusal(&mut wsecho(&["--listen", "192.0.2.1:0", "--policy", "off"]), 1);
    assert!(line.contains("192.0.2.1:0"), "{line}");
}

#[test]
fn a_policy_that_was_asked_for_and_cannot_be_had_is_4() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    let line = refusal(&mut wsecho(&["--listen", "127.0.0.1:0", "--policy", &address]), 4);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

#[test]
fn the_default_policy_port_is_done_without() {
    // Who may not bind it cannot have it, and takes it from nobody.
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("Linux");
    assert!(
        first.trim().parse::<u16>().expect("a port") > 843,
        "everybody may bind port 843 here, from {first} on"
    );
    let mut command = wsecho(&[]);
    let directory = std::env::temp_dir().join(format!("wsecho-{}", std::process::id()));
    if fs::metadata("/proc/self").expect("Linux").uid() == 0 {
        // As nobody, who may not be let into the build's directory.
        fs::create_dir_all(&directory).expect("a writable temporary directory");
        let copy = directory.join("wsecho");
        fs::copy(env!("CARGO_BIN_EXE_wsecho"), &copy).expect("room for a copy");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("our own directory");
        command = Command::new(copy);
        command.uid(65534).gid(65534).env_remove("PORT").stdin(Stdio::null()).stderr(Stdio::piped());
    }
    let mut server = Running::start(command.args(["--listen", "127.0.0.1:0"]));
    let mut client = Client::connect(server.address());
    client.send(POLICY_REQUEST);
    client.expect(POLICY);
    client.expect_eof();
    drop(client);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
    let stderr = String::from_utf8(server.output().stderr).expect("text");
    let _ = fs::remove_dir_all(directory);
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("0.0.0.0:843")).collect();
    assert!(
        matches!(told[..], [line] if line.contains("no Flash policy") && line.contains("setcap")),
        "{stderr}"
    );
}

#[test]
fn every_listener_is_announced_with_its_real_port_and_served() {
    let server = Server::start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--policy", "[::1]:0"]);
    let lines = server.lines();
    let mut announced = Vec::new();
    for line in &lines {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let (address, url) = rest.split_once(", echo at ").expect("address and URL");
            assert_eq!(url, format!("ws://{address}/echo"));
            assert!(lines.contains(&format!("wsecho: test page at http://{address}/")));
            announced.push(address.parse::<SocketAddr>().expect("an address"));
        }
    }
    assert_eq!(announced.len(), 3, "{lines:?}");
    for address in &announced {
        let mut client = Client::connect(*address);
        client.send(upgrade("/echo", ""));
        client.expect(SWITCHING);
        client.echo(&address.to_string());
    }
    let policy = server.policy.expect("it was asked for");
    let mut client = Client::connect(policy);
    client.send(POLICY_REQUEST);
    client.expect(POLICY);
    let mut ports: Vec<u16> = announced.iter().chain([&policy]).map(SocketAddr::port).collect();
    ports.sort();
    assert_eq!(listening_ports(server.pid()), ports);
}

#[test]
fn the_announced_path_echoes() {
    for (options, path) in [
        (&["--echo-path", "/mirror", "--echo-path", "/raw"][..], "/mirror"),
        (&["--echo-path", "/mirror", "--echo-path", "/echo"], "/echo"),
        (&["--echo-path", "*"], "/echo"),
    ] {
        let server = Server::start(&[&["--policy", "off"], options].concat());
        let line = server.wait_for("echo at ws://");
        assert!(line.ends_with(&format!("echo at ws://{}{path}", server.echo)), "{line}");
        let mut client = Client::connect(server.echo);
        client.send(upgrade(path, ""));
        client.expect(SWITCHING);
    }
}

#[test]
fn the_environments_port_is_used_when_no_listener_is_named() {
    let server = Running::start(wsecho(&["--policy", "off"]).env("PORT", "0"));
    let address = server.address();
    let mut client = Client::connect(address);
    client.send(upgrade("/echo", ""));
    client.expect(SWITCHING);
    server.signal(Signal::SIGTERM);
    drop(client);
    let stderr = String::from_utf8(server.output().stderr).expect("text");
    let port = address.port();
    let lines = format!(
        "wsecho: listening on 0.0.0.0:{port}, echo at ws://localhost:{port}/echo\n\
         wsecho: test page at http://localhost:{port}/\n"
    );
    assert!(stderr.starts_with(&lines), "{stderr}");

    let held = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = held.local_addr().expect("it is bound").port().to_string();
    let line = refusal(wsecho(&["--policy", "off"]).env("PORT", &port), 1);
    assert!(line.contains(&format!("0.0.0.0:{port}")), "{line}");
    // --listen beats it.
    let server = Running::start(wsecho(&["--policy", "off", "--listen", "127.0.0.1:0"]).env("PORT", &port));
    assert_ne!(server.address().port().to_string(), port);
}

#[test]
fn an_ipv6_wildcard_is_announced_as_localhost() {
    let server = Running::start(&mut wsecho(&["--policy", "off", "--listen", "[::]:0"]));
    let port = server.address().port();
    Client::connect((Ipv6Addr::LOCALHOST, port).into());
    server.signal(Signal::SIGTERM);
    let stderr = String::from_utf8(server.output().stderr).expect("text");
    let line = format!("wsecho: listening on [::]:{port}, echo at ws://localhost:{port}/echo\n");
    assert!(stderr.starts_with(&line), "{stderr}");
}

/// Gives it much to log, sees that it serves all the same, and ends it.
fn serves_and_ends(server: &mut Running) {
    let address = server.address();
    let mut witness = Client::connect(address);
    witness.send(upgrade("/echo", ""));
    witness.expect(SWITCHING);
    for number in 0..1000 {
        // Two lines each, together more than a pipe holds (64 KiB).
        let mut client = Client::connect(address);
        client.send([upgrade("/echo", "").into_bytes(), frame(FIN | CLOSE, b"\x03\xe8")].concat());
        client.expect(SWITCHING);
        client.expect(b"\x88\x02\x03\xe8");
        // No FIN, so that no thousand sockets are left in TIME_WAIT.
        client.reset();
        if number % 50 == 0 {
            witness.echo("served");
        }
    }
    server.signal(Signal::SIGTERM);
    witness.expect(b"\x88\x02\x03\xe9");
    witness.expect_eof();
    drop(witness);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let arguments = ["--listen", "127.0.0.1:0", "--policy", "off", "--log-level", "debug"];
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    serves_and_ends(&mut Running::start(wsecho(&arguments).stderr(full)));
    let (reader, writer) = pipe().expect("two descriptors");
    drop(reader);
    serves_and_ends(&mut Running::start(wsecho(&arguments).stderr(writer)));
    serves_and_ends(&mut Running::start(&mut shell("exec \"$0\" \"$@\" >&- 2>&- <&-", &arguments)));
}

#[test]
fn a_log_that_nobody_reads_loses_whole_lines_and_stops_nothing() {
    let arguments = ["--listen", "127.0.0.1:0", "--policy", "off", "--log-level", "debug"];
    let mut server = Running::start(&mut wsecho(&arguments));
    serves_and_ends(&mut server);
    let stderr = String::from_utf8(server.output().stderr).expect("text");
    assert!(stderr.len() > 32 * 1024 && stderr.ends_with('\n'), "{} bytes", stderr.len());
    for line in stderr.lines() {
        assert!(line.starts_with("wsecho: ") && line.matches("wsecho: ").count() == 1, "{line:?}");
    }
    let told = stderr.matches("opened").count();
    assert!((100..1000).contains(&told), "{told} lines of 1001: some are lost, or this is no test");
}

#[test]
fn the_log_level_decides_what_is_told() {
    for (level, is_refusal_told, is_opening_told) in
        [("off", false, false), ("error", false, false), ("info", true, false), ("debug", true, true)]
    {
        let arguments = ["--listen", "127.0.0.1:0", "--policy", "off", "--log-level", level];
        let mut server = Running::start(&mut wsecho(&arguments));
        let mut client = Client::connect(server.address());
        client.send(upgrade("/nowhere", ""));
        client.rest();
        drop(client);
        let mut client = Client::connect(server.address());
        client.send(upgrade("/echo", ""));
        client.expect(SWITCHING);
        drop(client);
        server.signal(Signal::SIGTERM);
        server.ended();
        let stderr = String::from_utf8(server.output().stderr).expect("text");
        assert_eq!(stderr.contains("wsecho: 404 /nowhere ("), is_refusal_told, "{level}: {stderr}");
        assert_eq!(stderr.contains("wsecho: opened"), is_opening_told, "{level}: {stderr}");
        assert_eq!(stderr.is_empty(), !is_refusal_told, "{level}: {stderr}");
    }
}

#[test]
fn a_signal_closes_everybody_with_1001_and_ends_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::start(&["--policy", "127.0.0.1:0"]);
        let policy = server.policy.expect("it was asked for");
        let mut silent = [Client::connect(server.echo), Client::connect(policy)];
        let mut half = Client::connect(server.echo);
        half.send(&upgrade("/echo", "")[..50]);
        let mut idle: Vec<Client> = (0..20).map(|_| Client::open(&server)).collect();
        let mut midway = Client::open(&server);
        midway.send(frame(TEXT, b"unfinished"));
        midway.expect(reply(TEXT, b"unfinished"));
        let mut streaming = Client::open(&server);
        streaming.send(&frame(FIN | BINARY, &[7; 100_000])[..50_000]);
        streaming.expect(&reply(FIN | BINARY, &[7; 100_000])[..50_000 - 4]);

        server.signal(signal);
        for client in idle.iter_mut().chain([&mut midway]) {
            client.expect(b"\x88\x02\x03\xe9");
            client.expect_eof();
            client.send(frame(FIN | CLOSE, b"\x03\xe9"));
        }
        // There is no way to say it to those.
        for client in silent.iter_mut().chain([&mut half, &mut streaming]) {
            client.expect_dropped();
        }
        assert!(TcpStream::connect(server.echo).is_err() && TcpStream::connect(policy).is_err());
        drop((idle, midway));
        assert_eq!(server.ended().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_was_echoed_before_a_signal_arrives_before_the_close() {
    let server = Server::start(&["--policy", "off"]);
    let (mut slow, mut witness) = (Client::open(&server), Client::open(&server));
    let message = frame(FIN | BINARY, &[9; 10_000]);
    let sent = slow.stuff(&message, 256 << 20, &mut witness);
    server.signal(Signal::SIGTERM);
    witness.expect(b"\x88\x02\x03\xe9");
    let mut echoed = 0;
    loop {
        match slow.frame() {
            (first, payload) if first == FIN | BINARY => {
                assert_eq!(payload, [9; 10_000]);
                echoed += 1;
            }
            close => break assert_eq!(close, (FIN | CLOSE, vec![0x03, 0xE9])),
        }
    }
    assert!(echoed <= sent / message.len());
    slow.expect_eof();
}

#[test]
fn clients_that_do_not_leave_cannot_hold_the_server() {
    let server = Server::start(&["--policy", "off"]);
    let (mut staying, mut stuck) = (Client::open(&server), Client::open(&server));
    stuck.stuff(&frame(FIN | BINARY, &[9; 10_000]), 256 << 20, &mut staying);
    server.signal(Signal::SIGTERM);
    staying.expect(b"\x88\x02\x03\xe9");
    staying.expect_eof();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn the_socket_of_a_successor_is_left_alone() {
    let directory = std::env::temp_dir().join(format!("wsecho-successor-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    let path = directory.join("socket");
    let address = format!("unix:{}", path.display());
    let start = || {
        let options =
            ["--policy", "off", "--listen", &address, "--drain-timeout", "3600", "--drain-spread", "3600"];
        Server::start(&options)
    };
    let old = start();
    let mut clients: Vec<Client> = (0..100).map(|_| Client::open(&old)).collect();
    old.signal(Signal::SIGTERM);
    wait_until("the drain begins", || listening_ports(old.pid()).is_empty());
    let new = start();
    clients[0].echo("told last, and served until then");
    old.signal(Signal::SIGTERM);
    assert_eq!(old.ended().code(), Some(0));
    UnixStream::connect(&path).expect("the new server listens there");
    new.signal(Signal::SIGTERM);
    assert_eq!(new.ended().code(), Some(0));
    assert!(!path.exists(), "the last server leaves nothing");
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn everybody_is_told_before_the_time_is_over() {
    let server = Server::start(&["--policy", "off", "--drain-spread", "3600", "--drain-timeout", "0.5"]);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::open(&server)).collect();
    server.signal(Signal::SIGTERM);
    for client in &mut clients {
        client.expect(b"\x88\x02\x03\xe9");
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_hangup_does_nothing_and_a_report_is_one_line() {
    let server = Server::start(&["--policy", "off"]);
    let mut client = Client::open(&server);
    client.echo("counted");
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGUSR1);
    let line = server.wait_for("accepted ");
    assert!(line.contains("accepted 1 open 1 opened 1 refused 0 messages 1 in 1 out, bytes "), "{line}");
    client.echo("still here");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signals in [[Signal::SIGTERM, Signal::SIGINT], [Signal::SIGINT, Signal::SIGINT]] {
        // Left to itself, the drain lasts longer than any test waits.
        let server = Server::start(&["--policy", "off", "--drain-spread", "3600", "--drain-timeout", "3600"]);
        let mut clients: Vec<Client> = (0..100).map(|_| Client::open(&server)).collect();
        server.signal(signals[0]);
        wait_until("the drain begins", || listening_ports(server.pid()).is_empty());
        clients[0].echo("told last, and served until then");
        server.signal(signals[1]);
        assert_eq!(server.ended().code(), Some(0), "{signals:?}");
    }
}
