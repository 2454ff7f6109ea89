//! The command itself, for tests of how it starts, refuses to and ends.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{listening_ports, wait_until};
use crate::server::program;

/// The command, with nothing of the tests' own environment that it would look at.
pub fn wsecho(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_remove("PORT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running server that a test started by itself. Dropping it kills it.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("cargo has built wsecho"))
    }

    /// The address of its only listener, once it listens.
    pub fn address(&self) -> SocketAddr {
        let mut ports = Vec::new();
        wait_until("the server listens", || {
            ports = listening_ports(self.0.id());
            !ports.is_empty()
        });
        let [port] = ports[..] else { panic!("one port and not {ports:?}") };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().try_into().expect("a process id is positive");
        kill(Pid::from_raw(pid), signal).expect("the server is running");
    }

    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("just now")
    }

    /// What it wrote, once it has ended.
    pub fn output(mut self) -> Output {
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
pub fn run(command: &mut Command) -> Output {
    Running::start(command).output()
}

/// The one line on stderr with which the command refuses to start. Panics if it is not one line, or another status.
pub fn refusal(command: &mut Command, status: i32) -> String {
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

/// `script`, with the command as `$0` and these arguments as `$1` and on.
pub fn shell(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program()).args(arguments).env_remove("PORT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
