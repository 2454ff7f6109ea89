//! Systems that fail: strace says in their place what the server's calls return.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Command, Stdio};
use support::process::wait_until;

/// As long as it lives, the calls of a process fail as it says.
pub struct Injection {
    strace: Child,
    pid: u32,
}

impl Injection {
    /// Each of `faults` is what strace(1) injects: `accept4:error=EMFILE:when=1+2`.
    pub fn into(pid: u32, faults: &[&str]) -> Injection {
        let calls: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let mut command = Command::new("strace");
        command.args([
            "-qq",
            "-o",
            "/dev/null",
            "-p",
            &pid.to_string(),
            "-e",
            &format!("trace={}", calls.join(",")),
        ]);
        for fault in faults {
            command.args(["-e", &format!("inject={fault}")]);
        }
        let strace = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace is there");
        let injection = Injection { strace, pid };
        wait_until("strace takes hold", || injection.is_in_force());
        injection
    }

    fn is_in_force(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It lets go of the process then.
        let _ = kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGINT);
        let _ = self.strace.wait();
    }
}
