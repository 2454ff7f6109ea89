//! The command line, how the server starts and refuses to, where it logs, and how it ends.

use std::fs::File;
use std::io::pipe;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use support::client::*;
use support::command::*;
use support::process::{listening_ports, wait_until};
use support::server::Server;

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
    assert_eq!(run(&mut wsecho(&["-V"])), version);
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

#[test]
fn a_mistake_on_the_command_line_is_one_line_and_2() {
    for (option, wrong) in [
        (
            "--listen",
            &["localhost", "127.0.0.1", "127.0.0.1:65536", "::1:8087", "+8087", "*:8087", ":", ""][..],
        ),
        ("--policy", &["on", "127.0.0.1", "OFF", "unix:/run/policy"]),
        ("--echo-path", &["echo", "", "**", "http://a/echo", "/a?b", "/a#b", "/a b"]),
        ("--max-connections", &["0", "-1", "many", "1.5", ""]),
        ("--max-message", &["-1", "64MiB", "18446744073709551616", "1e6"]),
        ("--handshake-timeout", &["0", "0ms", "-1", "ten", "10S", "NaN", "inf"]),
        ("--idle-timeout", &["-1", "never", "1d"]),
        ("--ping-interval", &["-0.5", "x"]),
        ("--origin", &["example.com", "https://example.com/", "https://Example.com"]),
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
    for wrong in ["--nope", "-x", "word", "--hear"] {
        let line = refusal(&mut wsecho(&["--listen", "127.0.0.1:0", "--policy", "off", wrong]), 2);
        assert!(line.contains(wrong) && line.contains("--help"), "{line}");
    }
    let line = refusal(&mut wsecho(&["--lisen", "127.0.0.1:0"]), 2);
    assert!(line.contains("--lisen") && line.contains("did you mean --listen?"), "{line}");
    let line =
        refusal(&mut wsecho(&["--listen", "127.0.0.1:0", "--policy", "off", "--tls-wrong", "expired"]), 2);
    assert!(line.contains("--tls-wrong want --listen-tls"), "{line}");
    let line = refusal(&mut wsecho(&["--echo-path", "/board/room"]), 2);
    assert!(line.contains("--echo-path /board/room") && line.contains("--no-boards"), "{line}");
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
            client.expect(STOPPING);
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
    witness.expect(STOPPING);
    let mut echoed = 0;
    loop {
        match slow.frame() {
            (first, payload) if first == FIN | BINARY => {
                assert_eq!(payload, [9; 10_000]);
                echoed += 1;
            }
            close => break assert_eq!(close, (FIN | CLOSE, STOPPING[2..].to_vec())),
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
    staying.expect(STOPPING);
    staying.expect_eof();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn everybody_is_told_before_the_time_is_over() {
    let server = Server::start(&["--policy", "off", "--drain-spread", "3600", "--drain-timeout", "0.5"]);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::open(&server)).collect();
    server.signal(Signal::SIGTERM);
    for client in &mut clients {
        client.expect(STOPPING);
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
