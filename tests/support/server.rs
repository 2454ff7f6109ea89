//! A server for an integration test: the real binary, in a process of its own, on ports nobody else has.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a test waits for what has to happen. It never has to wait that long: running out of it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary that cargo built for the test that runs, which lies in a directory beside it.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps");
    profile.join("wsecho")
}

/// A running wsecho. Dropping it kills the process and waits for it.
pub struct Server {
    /// Where it echoes: the first address it said it listens on.
    pub echo: SocketAddr,
    /// Where it answers Flash policy requests, if it was asked to.
    pub policy: Option<SocketAddr>,
    child: Child,
    log: Arc<Log>,
}

impl Server {
    /// Starts `wsecho --listen 127.0.0.1:0` with `args` after it, and returns once it listens.
    ///
    /// Pass `--policy off` or `--policy 127.0.0.1:0`: the default, port 843, is not a test's to take. Panics with
    /// what the server said if it does not come up.
    pub fn start(args: &[&str]) -> Server {
        Server::start_as(args, |_, _| {})
    }

    /// The same, after `prepare` has changed the command as it likes; it is shown the pipe that will be stderr.
    pub fn start_as(args: &[&str], prepare: impl FnOnce(&mut Command, &PipeWriter)) -> Server {
        Server::start_program(&program(), args, prepare)
    }

    /// The same for another build of it.
    pub fn start_program(
        program: &Path,
        args: &[&str],
        prepare: impl FnOnce(&mut Command, &PipeWriter),
    ) -> Server {
        let policy = args.windows(2).any(|pair| pair[0] == "--policy" && pair[1] != "off");
        assert!(args.contains(&"--policy"), "a test has to say --policy off or --policy 127.0.0.1:0");
        let (reader, writer) = pipe().expect("two descriptors");
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(args).stdin(Stdio::null());
        prepare(&mut command, &writer);
        let child = command.stderr(writer).spawn().expect("cargo has built wsecho");
        // With it goes our own copy of the pipe's end, or the log would never end.
        drop(command);
        let log = Log::of(reader);
        // Owned from here on, so that a panic below ends the process.
        let mut server = Server { echo: ([0, 0, 0, 0], 0).into(), policy: None, child, log };
        server.echo = address(&server.wait_for("listening on "), "listening on ");
        if policy {
            server.policy = Some(address(&server.wait_for("Flash policy on "), "Flash policy on "));
        }
        server
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines it has written to stderr so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.state.lock().expect("the log's reader does not panic").lines.clone()
    }

    /// The first line on stderr that contains `text`, as soon as it is there. Panics if it does not come.
    pub fn wait_for(&self, text: &str) -> String {
        let state = self.log.state.lock().expect("the log's reader does not panic");
        let found = |state: &State| state.lines.iter().find(|line| line.contains(text)).cloned();
        let (state, _) = self
            .log
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !state.ended && found(state).is_none())
            .expect("the log's reader does not panic");
        found(&state).unwrap_or_else(|| panic!("wsecho did not say {text:?}, but {:?}", state.lines))
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().try_into().expect("a process id is positive");
        kill(Pid::from_raw(pid), signal).expect("the server is running");
    }

    /// Waits for it to end by itself. Panics if it does not.
    pub fn ended(mut self) -> ExitStatus {
        let state = self.log.state.lock().expect("the log's reader does not panic");
        // It holds the only other end of stderr, which closes with it.
        let (state, _) = self
            .log
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !state.ended)
            .expect("the log's reader does not panic");
        assert!(state.ended, "wsecho still runs, and said {:?}", state.lines);
        drop(state);
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that follows `before` in a line of the start-up.
fn address(line: &str, before: &str) -> SocketAddr {
    let rest = line.split_once(before).map_or("", |(_, rest)| rest);
    let text = rest.split([',', ' ']).next().unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("no address after {before:?} in {line:?}"))
}

/// What a server wrote to stderr, filled by a thread of its own so that the server never waits for a reader.
#[derive(Default)]
struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn of(stderr: PipeReader) -> Arc<Log> {
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                writer.change(|state| state.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            writer.change(|state| state.ended = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no test panics while it holds the log"));
        self.changed.notify_all();
    }
}
