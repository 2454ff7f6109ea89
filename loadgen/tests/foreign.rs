//! Short runs against servers that are not ours, and against wsecho: what loadgen sends is understood, and what they
//! send is.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::foreign::{EVERYTHING, Process, exercise, node, python, short};
use support::{codes, disturbance, measure};

#[test]
fn pythons_websockets() {
    exercise(&python(&[]).url, "", &EVERYTHING);
}

#[test]
fn nodes_ws() {
    exercise(&node(&[]).url, "", &EVERYTHING);
}

#[test]
fn the_request_says_what_the_command_line_does() {
    let server = python(&[
        "--header",
        "Host: a.example",
        "--header",
        "Origin: https://o.example",
        "--header",
        "X-Trace: 7",
        "--basic",
        "ann:pa@s s",
        "--subprotocol",
        "chat",
    ]);
    let url = server.url.replace("127.0.0.1", "ann:pa%40s%20s@127.0.0.1");
    let all = [
        "-H",
        "Host: a.example",
        "-H",
        "origin: https://o.example",
        "-H",
        "X-Trace: 7",
        "--subprotocol",
        "x,chat",
    ];
    let (report, said) = short(&[&all[..], &[&url]].concat());
    assert_eq!((report.connections.opened, report.messages.errors()), (4, 0), "{said}");
    assert!(report.messages.received > 0);

    // And each left out is noticed: the checks above are real.
    let (report, _) = short(&[&all[2..], &[&*url]].concat());
    let refused = "upgrade: HTTP 403 Forbidden: it may want another Origin (--origin)";
    assert_eq!(report.connections.failed.get(refused), Some(&4), "{:?}", report.connections.failed);
    assert!(
        report.connections.answers[refused].starts_with("Host ['127.0.0.1:"),
        "{:?}",
        report.connections.answers
    );
    let wrong = url.replace("pa%40s%20s", "s3cret");
    let (report, said) = short(&[&all[..], &[&*wrong]].concat());
    assert!(said.contains("HTTP 401 Unauthorized: it wants credentials"), "{said}");
    let json = serde_json::to_string(&report).unwrap();
    assert!(!said.contains("s3cret") && !json.contains("s3cret"), "{said}{json}");
    assert!(json.contains("***@127.0.0.1"), "{json}");
    let (report, said) = short(&[&all[..6], &[&*url]].concat());
    assert_eq!(report.connections.opened, 0, "without a subprotocol in common: {said}");
}

#[test]
fn sockets_in_the_file_system_are_connected_to() {
    for start in [|path: &str| python(&["--unix", path]), |path: &str| node(&[path])] {
        let path = support::scratch("socket");
        let server = start(path.to_str().unwrap());
        let (report, said) = short(&[&format!("ws+unix:{}:/echo?x", path.display())]);
        assert_eq!((report.connections.opened, report.messages.errors()), (4, 0), "{said}");
        assert!(report.messages.received > 0);
        assert_eq!(report.target.addresses, [path.to_str().unwrap()]);
        drop(server);
        let (_, said) = short(&[&format!("ws+unix:{}:/", path.display())]);
        assert!(said.contains("Connection refused") && said.lines().count() == 1, "{said}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// The kernel does not let a client wait for room in such a backlog, as it does with TCP.
#[test]
fn a_full_backlog_of_a_socket_in_the_file_system_is_waited_for() {
    let path = support::scratch("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    socket2::SockRef::from(&listener).listen(1).unwrap();
    thread::spawn(move || {
        // Nobody is let in until the first has waited for a while.
        thread::sleep(std::time::Duration::from_millis(300));
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut socket = tungstenite::accept(stream.unwrap()).unwrap();
                while let Ok(message) = socket.read() {
                    if message.is_text() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let (report, said) = short(&["-c20", &format!("ws+unix:{}:/", path.display())]);
    assert_eq!((report.connections.opened, report.messages.errors()), (20, 0), "{said}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_name_is_looked_up_and_what_it_leads_to_is_said() {
    let server = python(&[]);
    let (report, said) = short(&[&server.url.replace("127.0.0.1", "localhost")]);
    assert_eq!((report.connections.opened, report.messages.errors()), (4, 0), "{said}");
    let address = server.url.trim_start_matches("ws://").trim_end_matches("/echo").to_owned();
    assert_eq!(report.target.addresses, [&*address]);
    assert!(said.contains(&format!("at {address}")), "{said}");
    // Elsewhere, with the name still asked for.
    let other = python(&["--header", "Host: nobody.invalid:8087"]);
    let place = other.url.trim_start_matches("ws://").trim_end_matches("/echo");
    let (report, said) = short(&["--connect-to", place, "WS://nobody.invalid:8087/#top"]);
    assert_eq!((report.connections.opened, report.messages.errors()), (4, 0), "{said}");
    assert_eq!(report.target.addresses, [place]);
}

/// A server that falls silent, rather than end its connections, is noticed by those that send and by those that do not, in
/// the time that was asked for; when it goes on, all come back.
#[test]
fn a_server_that_is_stopped_is_noticed_and_come_back_to() {
    let server = python(&[]);
    let pid = Pid::from_raw(server.child.id() as i32);
    let stopped = thread::spawn(move || {
        for (after, what) in [(1500, Signal::SIGSTOP), (3000, Signal::SIGCONT)] {
            thread::sleep(Duration::from_millis(after));
            kill(pid, what).unwrap();
        }
    });
    let load = "-c20 --survivors 10 --timeout 1s --connect-timeout 1s --backoff fixed:100ms";
    let (report, output) = measure(&format!("storm --server {load} --before 1s --after 9s {}", server.url));
    stopped.join().unwrap();
    let storm = report.storm.as_ref().unwrap();
    assert_eq!((storm.dropped, storm.silent, storm.back), (20, 20, 20), "{storm:?}");
    // A message a hundredth of a second, a ping on each connection twice a second.
    let detected = Duration::from_nanos(storm.detected_ns.unwrap());
    let lost = Duration::from_nanos(storm.lost_ns.unwrap());
    let late = Duration::from_nanos(disturbance(&report)) + Duration::from_millis(100);
    assert!(
        detected >= Duration::from_millis(900) && detected <= Duration::from_secs(1) + late,
        "{detected:?}"
    );
    assert!(detected + lost <= Duration::from_millis(1500) + late, "{lost:?}");
    // None came back while it was stopped, which was for three seconds.
    assert!(
        detected + Duration::from_nanos(storm.first_back_ns.unwrap()) > Duration::from_millis(2900),
        "{storm:?}"
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("by silence 20"), "{said}");

    // Whoever answers is not silent, however little it is asked.
    let (report, _) = measure(&format!("storm --server {load} --before 1s --after 2s {}", server.url));
    assert_eq!(codes(&report.verdict.findings), ["no_outage"], "{:?}", report.verdict);
}

#[test]
fn who_is_no_websocket_server_is_named_in_one_line() {
    let root = support::scratch("pages");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("index.html"), "<h1>It works</h1>").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let child = Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &port, "--directory"])
        .arg(&root)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let server = Process { child, url: format!("ws://127.0.0.1:{port}/") };
    while std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_err() {
        thread::sleep(std::time::Duration::from_millis(20));
    }
    let (_, said) = short(&[&server.url]);
    assert!(said.contains("HTTP 200 OK: this is no WebSocket server, or none at this path"), "{said}");
    assert!(said.contains("it said: <h1>It works</h1>") && said.lines().count() == 1, "{said}");
    drop(server);
    std::fs::remove_dir_all(&root).unwrap();
    // A page of Node's, asked for in a way it does not know.
    let (_, said) = short(&["-H", "Connection: close", &node(&[]).url]);
    assert!(said.contains("HTTP 426 Upgrade Required") && said.contains("only WebSocket"), "{said}");
    let (_, said) = short(&[&format!("ws://127.0.0.1:{port}/")]);
    assert!(said.contains("Connection refused") && said.lines().count() == 1, "{said}");
}

#[test]
fn rusts_tungstenite() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut socket = tungstenite::accept(stream).unwrap();
                while let Ok(message) = socket.read() {
                    if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    exercise(&url, "", &EVERYTHING);
}

/// wsecho, of this workspace and profile.
fn wsecho() -> Process {
    let loadgen = Path::new(env!("CARGO_BIN_EXE_loadgen"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "wsecho", "--bin", "wsecho"]);
    if loadgen.parent().unwrap().ends_with("release") {
        build.arg("--release");
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    let mut child = Command::new(loadgen.with_file_name("wsecho"))
        .args(["--listen", "127.0.0.1:0", "--policy", "off"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    // The pipe stays open, and is read, for as long as the server writes to it.
    thread::spawn(move || lines.for_each(drop));
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("ws://"))
        .expect("it says where it echoes")
        .to_owned();
    Process { child, url }
}

#[test]
fn our_own_wsecho() {
    let server = wsecho();
    exercise(&server.url, "", &EVERYTHING);
    let pid = server.child.id();
    let (report, _) = measure(&format!("-c50 -R500 -d1s --warmup 0s --server-pid {pid} {}", server.url));
    let found = report.server.expect("it was named");
    assert!(found.pid == pid && found.rss_bytes > 100_000 && found.fds >= 50, "{found:?}");
    assert!(report.intervals.iter().any(|i| i.server.is_some()));
}

#[test]
fn our_own_wsecho_in_every_draft() {
    let server = wsecho();
    for (draft, possible) in [
        (8, &["--binary --size 65536 --fragment 4096", "--ping 200ms"][..]),
        (7, &["--binary", "--closed -p 4"]),
        (76, &["", "--size 0", "--size 8", "--size 1..70000", "--closed -p 4"]),
        (75, &["", "--size 0", "--size 8", "--size 1..70000", "--closed -p 4"]),
    ] {
        exercise(&server.url, &format!("--draft {draft}"), possible);
        let own =
            ["--origin http://a.example --subprotocol chat", "--no-stamp --size 20", "--size 300k -R20"];
        exercise(&server.url, &format!("--draft {draft}"), &own);
        let (report, _) = measure(&format!("-c2 -R20 -d500ms --draft {draft} {}", server.url));
        assert_eq!((report.config.draft, report.config.deflate), (draft, false));
        assert_eq!(report.messages.closes_received, 0);
    }
}

#[test]
fn our_own_wsecho_compressed() {
    let server = wsecho();
    exercise(&server.url, "--deflate", &EVERYTHING);
    exercise(&server.url, "--deflate --draft 8", &["", "--size 300k -R20"]);
    // What compresses goes out, and comes back, smaller than it is.
    let path = support::scratch("zeros");
    std::fs::write(&path, [b'0'; 10_000]).unwrap();
    let line = format!("-c2 -R100 -d500ms --warmup 0s --payload {} {}", path.display(), server.url);
    let [(plain, _), (small, _)] = ["", "--deflate"].map(|options| measure(&format!("{options} {line}")));
    std::fs::remove_file(&path).unwrap();
    assert!(small.config.deflate && !plain.config.deflate);
    for report in [&plain, &small] {
        let m = &report.messages;
        assert_eq!((m.sent, m.received, m.errors()), (50, 50, 0), "{m:?}");
    }
    assert!(plain.messages.bytes_sent >= 50 * 10_000 && small.messages.bytes_sent < 50 * 200);
    assert!(small.messages.bytes_received < 50 * 200, "{:?}", small.messages);
}
