//! Servers that are not ours, and loadgen run against them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use super::measure;

/// A server in a process of its own, until dropped.
pub struct Process {
    pub child: Child,
    pub url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a message can be.
pub const EVERYTHING: [&str; 9] = [
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
pub fn exercise(url: &str, always: &str, each: &[&str]) {
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
pub fn installed() -> PathBuf {
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
pub fn server(mut command: Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Or the path it listens at.
    let url = format!("ws://127.0.0.1:{}/echo", line.trim());
    Process { child, url }
}

pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

/// Python's websockets.
pub fn python(options: &[&str]) -> Process {
    let mut command = Command::new(installed().join("python/bin/python"));
    command.arg(program("echo.py")).args(options);
    server(command)
}

/// Node's ws.
pub fn node(arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command.arg(program("echo.js")).args(arguments).env("NODE_PATH", installed().join("node/node_modules"));
    server(command)
}

/// The report of a short run, and what is on stdout and stderr.
pub fn short(options: &[&str]) -> (loadgen::report::Report, String) {
    let path = super::scratch("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["-c4", "-R40", "-d300ms", "--warmup", "0s", "-q", "--json"])
        .arg(&path)
        .args(options)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let report = loadgen::report::load(&path).unwrap_or_else(|e| panic!("{e}: {said}"));
    std::fs::remove_file(&path).unwrap();
    (report, said)
}
