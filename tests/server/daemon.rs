//! What a supervisor, an operator and a proxy rely on: the log, the service manager's socket, users, shared ports, Unix
//! sockets, the PROXY protocol, and a slow way out.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{self, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::fstat;
use nix::unistd::{Uid, User, getgrouplist};
use support::client::*;
use support::process::{self, listening_ports, wait_until};
use support::server::{PATIENCE, Server};

fn server(args: &[&str]) -> Server {
    Server::start(&[&["--policy", "off"], args].concat())
}

/// What a server that does not come up says.
fn refuses(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsecho"));
    command.args(["--policy", "off"]).args(args).stdin(Stdio::null());
    let output = command.output().expect("cargo has built wsecho");
    assert!(!output.status.success(), "it ended well");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stop(server: Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
}

/// A path for a socket of this test; nothing is there yet.
fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("wsecho-{name}-{}", std::process::id()));
    // Of an earlier run whose number comes again.
    let _ = fs::remove_file(&path);
    path
}

// The log.

#[test]
fn every_line_is_json_whatever_clients_ask_for() {
    let server = server(&["--log-format", "json"]);
    for (target, message) in [
        ("/\"", "404 /\\\" ("),
        ("/\\", "404 /\\\\ ("),
        ("/\",\"level\":\"error", "404 /\\\",\\\"level\\\":\\\"error ("),
        ("/caf\u{e9}", "404 /caf\\xc3\\xa9 ("),
        (&format!("/q{}", "\"".repeat(300)), "404 /q\\\"\\\""),
        (&format!("/b{}", "\\".repeat(300)), "404 /b\\\\\\\\"),
    ] {
        let mut client = Client::connect(server.echo);
        client.send(upgrade(target, ""));
        client.rest();
        let escaped = serde_json::to_string(message).expect("a string");
        server.wait_for(escaped.trim_matches('"'));
        let lines = server.lines();
        let last = lines.last().expect("just waited for");
        let last: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {last}"));
        assert_eq!(last["level"], "info");
        assert!(last["message"].as_str().is_some_and(|text| text.starts_with(message)), "{last}");
    }
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    for line in server.lines() {
        let line: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let fields = line.as_object().expect("an object");
        assert_eq!(fields.len(), 3, "{line}");
        assert!(line["time"].as_f64().is_some_and(|time| time > 1e9), "{line}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(server.ended().code(), Some(0));
}

/// The log of a server from its start to its end, with `$JOURNAL_STREAM` as `name` makes it of stderr's device and inode.
fn log_under(args: &[&str], name: impl FnOnce(u64, u64) -> String) -> Vec<String> {
    let args = [&["--policy", "off", "--log-level", "debug"], args].concat();
    let server = Server::start_as(&args, |command, stderr| {
        let file = fstat(stderr).expect("an open descriptor");
        command.env("JOURNAL_STREAM", name(file.st_dev, file.st_ino));
    });
    Client::open(&server).echo("opened");
    server.wait_for("opened: version 13");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    let lines = server.lines();
    assert_eq!(server.ended().code(), Some(0));
    lines
}

#[test]
fn lines_have_priorities_exactly_where_stderr_is_the_journal() {
    for args in [&[][..], &["--log-format", "text"]] {
        let lines = log_under(args, |device, inode| format!("{device}:{inode}"));
        for line in &lines {
            let is_debug = line.contains("opened") || line.contains("lost") || line.contains("closed");
            let priority = if is_debug { "<7>" } else { "<6>" };
            assert!(line.starts_with(priority) && !line.contains("wsecho:"), "{line}");
        }
        assert!(lines.iter().any(|line| line.starts_with("<6>listening on ")), "{lines:?}");
    }
    for (device_off, inode_off) in [(1, 0), (0, 1)] {
        let lines = log_under(&[], |device, inode| format!("{}:{}", device + device_off, inode + inode_off));
        assert!(lines.iter().all(|line| line.starts_with("wsecho: ")), "{lines:?}");
    }
    let lines = log_under(&["--log-format", "json"], |device, inode| format!("{device}:{inode}"));
    assert!(lines.iter().all(|line| line.starts_with("{\"time\":")), "{lines:?}");
}

#[test]
fn a_flood_of_refused_clients_is_a_few_lines_and_a_count() {
    let server = server(&["--stats", "127.0.0.1:0"]);
    let line = server.wait_for("numbers at http://");
    let (_, url) = line.split_once("http://").expect("just waited for");
    let stats: SocketAddr = url.trim_end_matches("/metrics").parse().expect("an address");
    let knock = || {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/flood", ""));
        client
    };
    // While it is stopped they pile up, so that they are one burst to it however slow the test is.
    server.signal(Signal::SIGSTOP);
    wait_until("the server stops", || process::state(server.pid()) == 'T');
    let clients: Vec<Client> = (0..100).map(|_| knock()).collect();
    server.signal(Signal::SIGCONT);
    for mut client in clients {
        client.rest();
    }
    let of_the_burst = suppressed(stats);
    // However many seconds see it, each has ten lines of it at most.
    assert!(of_the_burst > 0, "none of 100 was suppressed");
    // The first line of a later second tells how many there were.
    let mut count = 100;
    wait_until("the suppressed lines are told", || {
        knock().rest();
        count += 1;
        server.lines().iter().any(|line| line.contains("suppressed)"))
    });
    let in_all = suppressed(stats);
    let refusals = || server.lines().iter().filter(|line| line.contains("404 /flood")).count();
    wait_until("every refusal is a line or counted", || refusals() + in_all >= count);
    assert_eq!(refusals() + in_all, count);

    let lines = server.lines();
    let number = |line: &String| {
        line.strip_prefix("wsecho: (")?.split_once(" lines like the next")?.0.parse::<usize>().ok()
    };
    let told: usize = lines.iter().filter_map(number).sum();
    // The burst may have crossed into another second, and what is suppressed behind the last such line is not told yet.
    assert!((1..=in_all).contains(&told), "1 to {in_all}, not {told}: {lines:?}");
    let last = lines.iter().rposition(|line| line.contains("suppressed)")).expect("waited for");
    assert!(lines[last + 1].contains("404 /flood"), "the count stands in front of the next line: {lines:?}");
}

fn suppressed(stats: SocketAddr) -> usize {
    let mut client = Client::connect(stats);
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let numbers = String::from_utf8(client.rest()).expect("text");
    let number = |line: &str| line.strip_prefix("wsecho_log_lines_suppressed_total ")?.parse().ok();
    numbers.lines().find_map(number).expect("it is counted")
}

// The way out.

#[test]
fn a_spread_drain_tells_some_while_others_are_served() {
    let server = server(&["--drain-spread", "4", "--drain-timeout", "60"]);
    let mut clients: VecDeque<Client> = (0..40).map(|_| Client::open(&server)).collect();
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping: 40 clients");
    let (mut told, mut served_behind_the_first, mut told_behind_an_echo) = (0, 0, 0);
    while let Some(mut client) = clients.pop_front() {
        client.send(frame(FIN | TEXT, b"still?"));
        match client.frame() {
            (0x81, text) => {
                assert_eq!(text, b"still?");
                served_behind_the_first += usize::from(told > 0);
                clients.push_back(client);
            }
            (0x88, code) => {
                assert_eq!(code, STOPPING[2..]);
                client.expect_eof();
                told += 1;
                told_behind_an_echo += usize::from(served_behind_the_first > 0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, 40);
    assert!(served_behind_the_first > 0 && told_behind_an_echo > 0, "all at once");
    assert_eq!(server.ended().code(), Some(0));
}

// The PROXY protocol.

const V2_TCP4: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x67\x1f\x97";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Version 2 for 2001:db8::7, port 4711, and a note behind the addresses.
fn v2_tcp6() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x28\x20\x01\x0d\xb8".to_vec();
    header.extend([0; 11]);
    header.push(7);
    header.extend([0; 16]);
    header.extend(b"\x12\x67\x1f\x97\x04\x00\x01x");
    header
}

#[test]
fn a_proxy_says_who_the_client_is() {
    let server = server(&["--proxy-protocol", "--log-level", "debug"]);
    let v1 = |port: u16| format!("PROXY TCP4 192.0.2.1 127.0.0.1 {port} 8087\r\n").into_bytes();
    for (header, client) in [
        (v1(4701), Some("192.0.2.1:4701")),
        (b"PROXY TCP6 2001:db8::1 ::1 4702 8087\r\n".to_vec(), Some("[2001:db8::1]:4702")),
        (V2_TCP4.to_vec(), Some("192.0.2.7:4711")),
        (v2_tcp6(), Some("[2001:db8::7]:4711")),
        // The proxy itself, or it does not know: who is connected is all that is known.
        (V2_LOCAL.to_vec(), None),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
    ] {
        let request = upgrade("/echo", "X-Forwarded-For: 203.0.113.9\r\n");
        let bytes = [&header, request.as_bytes()].concat();
        for pieces in [1, bytes.len()] {
            let before = server.lines().len();
            let mut peer = Client::connect(server.echo);
            bytes.chunks(bytes.len().div_ceil(pieces)).for_each(|piece| peer.send(piece));
            peer.expect(SWITCHING);
            peer.echo("through a proxy");
            let itself = peer.stream.local_addr().expect("it is connected").to_string();
            let line = format!("opened: version 13 ({})", client.unwrap_or(&itself));
            wait_until(&line, || server.lines()[before..].iter().any(|each| each.contains(&line)));
        }
    }
    assert!(!server.lines().iter().any(|line| line.contains("203.0.113.9")), "{:?}", server.lines());
}

#[test]
fn a_client_without_a_good_proxy_header_is_dropped_without_a_word() {
    let server = server(&["--proxy-protocol"]);
    let good = upgrade("/echo", "");
    let wrong_version = V2_TCP4.iter().enumerate().map(|(at, byte)| if at == 12 { 0x11 } else { *byte });
    for header in [
        Vec::new(),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 ::1 4711 8087\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 8087\n".to_vec(),
        b"proxy TCP4 192.0.2.1 127.0.0.1 4711 8087\r\n".to_vec(),
        wrong_version.collect(),
    ] {
        let before = server.lines().len();
        let mut client = Client::connect(server.echo);
        client.send([&header, good.as_bytes()].concat());
        client.expect_dropped();
        wait_until("it is told", || {
            server.lines()[before..].iter().any(|line| line.contains("no PROXY header"))
        });
    }
    let mut client = Client::connect(server.echo);
    client.send([V2_LOCAL, good.as_bytes()].concat());
    client.expect(SWITCHING);
    // Notes of 4 KiB are read to their end, wherever they are cut; those beyond what is waited for are told by their name.
    let with_notes = |size: u16| {
        let mut header = V2_TCP4.to_vec();
        header[14..16].copy_from_slice(&(12 + size).to_be_bytes());
        header.resize(header.len() + usize::from(size), b'n');
        header
    };
    let mut client = Client::connect(server.echo);
    for piece in [with_notes(4096), good.into_bytes()].concat().chunks(1000) {
        client.send(piece);
    }
    client.expect(SWITCHING);
    let mut client = Client::connect(server.echo);
    client.send(with_notes(9000));
    client.expect_dropped();
    server.wait_for("a PROXY header longer than 8208 bytes");
}

#[test]
fn a_proxy_header_that_was_not_asked_for_is_400() {
    let server = server(&[]);
    let good = upgrade("/echo", "");
    for header in [&b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 8087\r\n"[..], V2_TCP4] {
        let mut client = Client::connect(server.echo);
        client.send([header, good.as_bytes()].concat());
        let answer = client.rest();
        assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{}", shown(&answer));
    }
}

// Unix sockets.

fn unix_echo(path: &Path) {
    let mut stream = UnixStream::connect(path).expect("the server listens there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    let frame = frame(FIN | TEXT, b"by file");
    stream.write_all(&[upgrade("/echo", "").as_bytes(), &frame].concat()).expect("the server takes it");
    let expected = [SWITCHING.as_bytes(), &reply(FIN | TEXT, b"by file")].concat();
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).expect("an answer");
    assert!(got == expected, "{}", shown(&got));
}

#[test]
fn a_unix_socket_is_made_and_removed_and_replaces_only_a_stale_one() {
    let path = socket_path("echo");
    let address = format!("unix:{}", path.display());
    // A server that is no more has left this.
    drop(UnixListener::bind(&path).expect("a directory for temporary files"));
    let live = server(&["--listen", &address]);
    live.wait_for(&format!("listening on {address}"));
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    unix_echo(&path);

    let output = refuses(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("cannot listen on {address}: the address is in use")),
        "{output:?}"
    );
    unix_echo(&path);
    stop(live);
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn a_file_where_a_unix_socket_is_to_be_stays_as_it_is() {
    let path = socket_path("file");
    fs::write(&path, "precious").expect("a directory for temporary files");
    let output = refuses(&["--listen", &format!("unix:{}", path.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("precious"));
    fs::remove_file(&path).expect("it is ours");
    let link = socket_path("link");
    let target = socket_path("target");
    drop(UnixListener::bind(&target).expect("a directory for temporary files"));
    std::os::unix::fs::symlink(&target, &link).expect("a directory for temporary files");
    assert_eq!(refuses(&["--listen", &format!("unix:{}", link.display())]).status.code(), Some(1));
    assert!(fs::symlink_metadata(&target).is_ok_and(|file| file.file_type().is_socket()));
    fs::remove_file(&link).and_then(|()| fs::remove_file(&target)).expect("they are ours");
}

// Ports and users.

#[test]
fn processes_share_a_port_only_if_all_of_them_want_to() {
    let reusing = ["--reuse-port", "--log-level", "debug"];
    let first = server(&reusing);
    let address = first.echo.to_string();
    let second = server(&[&reusing[..], &["--listen", &address]].concat());
    for server in [&first, &second] {
        assert!(listening_ports(server.pid()).contains(&first.echo.port()));
    }
    let serves = |server: &Server| server.lines().iter().any(|line| line.contains("opened: version 13"));
    wait_until("both get clients", || {
        Client::open(&first).echo("whichever");
        serves(&first) && serves(&second)
    });
    let output = refuses(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("cannot listen on {address}: the address is in use")),
        "{output:?}"
    );
    stop(second);
    Client::open(&first).echo("one is left");

    let alone = server(&[]);
    let address = alone.echo.to_string();
    for args in [&["--listen", &address][..], &["--listen", &address, "--reuse-port"]] {
        assert_eq!(refuses(args).status.code(), Some(1), "{args:?}");
    }
    Client::open(&alone).echo("undisturbed");
}

#[test]
fn the_server_becomes_the_user_it_is_told_and_nothing_of_root_is_left() {
    if !Uid::effective().is_root() {
        let output = refuses(&["--listen", "127.0.0.1:0", "--user", "nobody"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains("--user needs root"), "{output:?}");
        return;
    }
    let server = server(&["--user", "nobody"]);
    Client::open(&server).echo("without privileges");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let numbers = |field: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("proc(5) has it");
        line.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    };
    let user = User::from_name("nobody").ok().flatten().expect("Debian has a nobody");
    assert!(user.uid.as_raw() != 0 && user.gid.as_raw() != 0);
    assert_eq!(numbers("Uid:"), [user.uid.as_raw(); 4], "real, effective, saved, file system");
    assert_eq!(numbers("Gid:"), [user.gid.as_raw(); 4]);
    let mut groups: Vec<u32> = getgrouplist(c"nobody", user.gid)
        .expect("a user's groups")
        .iter()
        .map(|group| group.as_raw())
        .collect();
    groups.sort();
    assert_eq!(numbers("Groups:"), groups);
    for capabilities in ["CapPrm:\t", "CapEff:\t"] {
        assert!(status.contains(&format!("{capabilities}0000000000000000\n")), "{status}");
    }
}

#[test]
fn an_unknown_user_is_a_mistake_in_the_options() {
    let output = refuses(&["--listen", "127.0.0.1:0", "--user", "no-such-user"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(said(&output), "wsecho: --user takes the name of a user, not 'no-such-user'\n");
}

// The service manager; how it hands over sockets is tested where strace can watch (tests/packaging/activation).

/// The next notice.
fn notice(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let len = manager.recv(&mut bytes).expect("a notice");
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// Starts a server under `manager`, which it finds at `name`, and ends it after `wanted` notices more than the first; all
/// but that one.
fn notices(manager: &UnixDatagram, name: &str, environment: &[(&str, &str)], wanted: usize) -> Vec<String> {
    manager.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    let server = Server::start_as(&["--policy", "off"], |command, _| {
        command.env("NOTIFY_SOCKET", name).envs(environment.iter().copied());
    });
    // It cannot have said this before it listened, for it tells where.
    let ready = notice(manager);
    assert!(ready.starts_with(&format!("READY=1\nSTATUS=listening on {}", server.echo)), "{ready}");
    Client::open(&server).echo("ready");
    let mut notices: Vec<String> = (0..wanted).map(|_| notice(manager)).collect();
    server.signal(Signal::SIGTERM);
    while !notices.last().is_some_and(|last| last.starts_with("STOPPING=1\n")) {
        notices.push(notice(manager));
    }
    assert_eq!(server.ended().code(), Some(0));
    manager.set_nonblocking(true).expect("a socket");
    while let Ok(len @ 1..) = manager.recv(&mut [0; 4096]) {
        notices.push(format!("{len} bytes more"));
    }
    notices
}

#[test]
fn a_manager_hears_that_it_is_ready_alive_and_stopping_once_each() {
    let path = socket_path("manager");
    let name = format!("wsecho-manager-{}", std::process::id());
    let bind = || {
        let address = net::SocketAddr::from_abstract_name(&name).expect("a short name");
        [
            (format!("@{name}"), UnixDatagram::bind_addr(&address).expect("a name nobody has")),
            (path.display().to_string(), UnixDatagram::bind(&path).expect("a directory for temporary files")),
        ]
    };
    // 1 is not the server: that watchdog is another's.
    for environment in
        [&[][..], &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")], &[("WATCHDOG_USEC", "0")]]
    {
        for (name, manager) in bind() {
            let all = notices(&manager, &name, environment, 0);
            assert!(all.len() == 1 && all[0].starts_with("STOPPING=1\n"), "{environment:?}: {all:?}");
        }
        fs::remove_file(&path).expect("it is ours");
    }
    for (name, manager) in bind() {
        let mut all = notices(&manager, &name, &[("WATCHDOG_USEC", "20000")], 3);
        all.retain(|notice| notice != "WATCHDOG=1");
        assert!(all.len() == 1 && all[0].starts_with("STOPPING=1\n"), "{all:?}");
    }
    fs::remove_file(&path).expect("it is ours");
}

#[test]
fn a_manager_that_is_dead_or_deaf_harms_nothing() {
    let (nobody, deaf, dead) = (socket_path("nobody"), socket_path("deaf"), socket_path("dead"));
    let deaf_manager = UnixDatagram::bind(&deaf).expect("a directory for temporary files");
    drop(UnixDatagram::bind(&dead).expect("a directory for temporary files"));
    let long = format!("/{}", "x".repeat(300));
    for name in [nobody.display().to_string(), deaf.display().to_string(), dead.display().to_string(), long] {
        let server = Server::start_as(&["--policy", "off"], |command, _| {
            command.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "200");
        });
        let mut client = Client::open(&server);
        // More notices than a queue holds (net.unix.max_dgram_qlen).
        for _ in 0..200 {
            client.echo("alive");
        }
        drop(client);
        stop(server);
    }
    assert!(notice(&deaf_manager).starts_with("READY=1\n"));
    fs::remove_file(&deaf).and_then(|()| fs::remove_file(&dead)).expect("they are ours");
}
