//! Short runs against servers that are not ours, and against wsecho: what loadgen sends is understood, and what they
//! send is.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;

use support::measure;

/// A server in a process of its own, until dropped.
struct Process {
    child: Child,
    url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a message can be.
const EVERYTHING: [&str; 9] = [
    "",
    "--binary",
    "--size 0",
    "--size 8 --binary",
    "--size 1..70000",
    "--size 300 --fragment 50",
    "--binary --size 65536 --fragment 4096",
    "--closed -p 4",
    "--arrival poisson --ping 200ms",
];

/// Short runs, each with `always` and one of `each`.
fn exercise(url: &str, always: &str, each: &[&str]) {
    for options in each {
        let rate = if options.contains("closed") || options.contains("-R") { "" } else { "-R200" };
        let (report, output) =
            measure(&format!("-c10 {rate} -d500ms --warmup 100ms {always} {options} {url}"));
        assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stdout));
        let m = &report.messages;
        let least = if options.contains("-R20") { 10 } else { 50 };
        assert!(m.sent >= least && m.received == m.sent, "{options}: {m:?}");
        assert_eq!(m.errors(), 0, "{options}: {m:?}");
        assert!(report.connections.failed.is_empty(), "{options}: {:?}", report.connections.failed);
        if options.contains("ping") {
            assert!(m.pings_sent > 0 && m.pongs_received + 2 >= m.pings_sent, "{m:?}");
        }
    }
}

/// The folder where the foreign servers are installed.
fn installed() -> PathBuf {
    static ONCE: Once = Once::new();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign");
    ONCE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/prepare.sh");
        let output = Command::new(script).arg(&cache).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    cache
}

/// Starts `command`, which says its port in its first line.
fn server(mut command: Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = format!("ws://127.0.0.1:{}/echo", line.trim());
    Process { child, url }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

#[test]
fn pythons_websockets() {
    let mut command = Command::new(installed().join("python/bin/python"));
    command.arg(program("echo.py"));
    exercise(&server(command).url, "", &EVERYTHING);
}

#[test]
fn nodes_ws() {
    let mut command = Command::new("node");
    command.arg(program("echo.js")).env("NODE_PATH", installed().join("node/node_modules"));
    exercise(&server(command).url, "", &EVERYTHING);
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
