//! Processes of a bench: the server beside it, what this one has used, and which CPU each has.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use loadgen::host::procfs;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// This program again as a server, until dropped. With two CPUs or more, it has the second and this process the first.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// With arguments by which the bench knows what it is; says where it listens as its first line.
    pub fn start(arguments: &[&OsStr]) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("a process");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("its address");
        if procfs::cpus() > 1 {
            pin(child.id(), 1);
            pin(std::process::id(), 0);
        }
        Server { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that this process has used, in nanoseconds.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// Keeps the threads of a process on one CPU, and those that are to come.
fn pin(pid: u32, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU number");
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten() {
        let task: i32 = task.file_name().to_string_lossy().parse().expect("a thread's number");
        sched_setaffinity(Pid::from_raw(task), &set).expect("this CPU is ours");
    }
}
