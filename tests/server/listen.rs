//! Where the server listens, where it says so, and what happens when it cannot.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use support::client::*;
use support::command::*;
use support::process::{listening_ports, wait_until};
use support::server::{Server, program};

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
        fs::copy(program(), &copy).expect("room for a copy");
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
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("port 843")).collect();
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

/// Whether a client at this address is let in.
fn serves(address: impl Into<SocketAddr>) -> bool {
    let mut client = Client::connect(address.into());
    client.send(upgrade("/echo", ""));
    client.expect(SWITCHING);
    client.echo("served");
    true
}

#[test]
fn without_an_address_a_port_is_one_of_both_families() {
    let line = |port| {
        format!(
            "wsecho: listening on [::]:{port} and 0.0.0.0:{port}, echo at ws://localhost:{port}/echo\n\
             wsecho: test page at http://localhost:{port}/\n"
        )
    };
    let common = ["--policy", "off", "--log-level", "debug"];
    for (options, environment) in
        [(&[][..], "0"), (&["--listen", "0"], "tcp://10.0.0.1:80"), (&["--listen", ":0"], "")]
    {
        let server = Running::start(wsecho(&[&common, options].concat()).env("PORT", environment));
        let port = server.address().port();
        assert!(serves((Ipv4Addr::LOCALHOST, port)) && serves((Ipv6Addr::LOCALHOST, port)));
        server.signal(Signal::SIGTERM);
        let stderr = String::from_utf8(server.output().stderr).expect("text");
        assert!(stderr.starts_with(&line(port)), "{stderr}");
        // Who comes by IPv4 is known by an address of IPv4.
        assert!(
            stderr.contains("(127.0.0.1:") && stderr.contains("([::1]:") && !stderr.contains("::ffff"),
            "{stderr}"
        );
    }
    // Either family's port is enough to be in use.
    for holder in ["0.0.0.0:0", "[::1]:0"] {
        let held = TcpListener::bind(holder).expect("a free port");
        let port = held.local_addr().expect("it is bound").port().to_string();
        for (option, environment) in [(&[][..], port.as_str()), (&["--listen", &port], "")] {
            let line = refusal(wsecho(&[&common, option].concat()).env("PORT", environment), 1);
            assert!(line.contains(&format!("port {port}: the address is in use")), "{line}");
        }
    }
}

#[test]
fn the_port_of_the_environment_counts_for_the_default_alone() {
    let server = Running::start(
        wsecho(&["--policy", "off", "--listen", "127.0.0.1:0"]).env("PORT", "tcp://10.0.0.1:80"),
    );
    assert!(serves(server.address()));
    let line = refusal(wsecho(&["--policy", "off"]).env("PORT", "+17003"), 2);
    assert!(line.contains("PORT takes a port number, not '+17003'"), "{line}");
}

#[test]
fn a_name_is_bound_at_every_address_it_has() {
    let server = Running::start(&mut wsecho(&["--policy", "off", "--listen", "localhost:0"]));
    let mut told = Vec::new();
    wait_until("it listens", || {
        told = listening_ports(server.0.id());
        told.len() == 2
    });
    let [port, other] = told[..] else { panic!("two ports") };
    assert_eq!(port, other, "the port that was free on the first is used on the second");
    assert!(serves((Ipv4Addr::LOCALHOST, port)) && serves((Ipv6Addr::LOCALHOST, port)));
    drop(server);
    let held = TcpListener::bind("[::1]:0").expect("a free port");
    let address = format!("localhost:{}", held.local_addr().expect("it is bound").port());
    let line = refusal(&mut wsecho(&["--policy", "off", "--listen", &address]), 1);
    assert!(line.contains(&format!("{address}: the address is in use")), "{line}");
    // RFC 6761: nobody has it.
    let line = refusal(&mut wsecho(&["--policy", "off", "--listen", "host.invalid:0"]), 1);
    assert!(line.contains("host.invalid:0"), "{line}");
}

#[test]
fn the_policy_of_a_port_is_served_to_both_families() {
    let server = Running::start(&mut wsecho(&["--listen", "127.0.0.1:0", "--policy", "0"]));
    let mut ports = Vec::new();
    wait_until("both listen", || {
        ports = listening_ports(server.0.id());
        ports.len() == 2
    });
    let echoes = |port: u16| {
        let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into());
        client.send(POLICY_REQUEST);
        client.expect(POLICY);
        client.expect_eof();
    };
    ports.iter().for_each(|port| echoes(*port));
    let by_ipv6 =
        ports.iter().filter(|port| std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, **port)).is_ok());
    assert_eq!(by_ipv6.count(), 1, "the policy's and not the echo's");
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

/// A directory of this test's own, removed with what is in it when it goes.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("wsecho-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for temporary files");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn only_its_own_file_is_removed_in_the_end() {
    let directory = Directory::new("moved");
    let path = directory.0.join("socket");
    let address = format!("unix:{}", path.display());
    let start = || Server::start(&["--policy", "off", "--listen", &address]);
    // Moved away, removed: the second puts its own there while the first still runs.
    for away in [true, false] {
        let first = start();
        match away {
            true => fs::rename(&path, directory.0.join("old")).expect("it is ours"),
            false => fs::remove_file(&path).expect("it is ours"),
        }
        let second = start();
        first.signal(Signal::SIGTERM);
        assert_eq!(first.ended().code(), Some(0));
        UnixStream::connect(&path).expect("the second still listens there");
        second.signal(Signal::SIGTERM);
        assert_eq!(second.ended().code(), Some(0));
        assert!(!path.exists());
    }
}

#[test]
fn a_socket_whose_owner_is_too_busy_to_accept_is_in_use() {
    let directory = Directory::new("busy");
    let path = directory.0.join("socket");
    let owner = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
    owner.bind(&SockAddr::unix(&path).expect("a short path")).expect("a directory of our own");
    owner.listen(0).expect("it is bound");
    let waiting = UnixStream::connect(&path).expect("a place in the queue");
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
    full.set_nonblocking(true).expect("a socket");
    let refused = full.connect(&SockAddr::unix(&path).expect("a short path")).expect_err("the queue is full");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    let address = format!("unix:{}", path.display());
    let line = refusal(&mut wsecho(&["--policy", "off", "--listen", &address]), 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    drop((owner, waiting));
    // Nobody's now: replaced.
    let server = Server::start(&["--policy", "off", "--listen", &address]);
    UnixStream::connect(&path).expect("the server listens there");
    drop(server);
}
