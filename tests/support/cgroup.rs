//! A memory cgroup of a test's own. Making one wants root, and a hierarchy that may be written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup that may use so much memory and no more. It is gone when this is dropped, which has to be after its processes.
pub struct Cgroup {
    path: PathBuf,
    /// Of the second version, where the queues of sockets count as well.
    pub counts_sockets: bool,
}

impl Cgroup {
    /// Panics, and says what is wanted, where none can be made.
    pub fn new(name: &str, limit: impl FnOnce(&Cgroup) -> usize) -> Cgroup {
        let counts_sockets = Path::new(ROOT).join("cgroup.controllers").exists();
        let parent = if counts_sockets { PathBuf::from(ROOT) } else { PathBuf::from(ROOT).join("memory") };
        let path = parent.join(format!("{name}-{}", std::process::id()));
        let want = |what: &str, error| {
            panic!(
                "{what}: {error}; this test makes a memory cgroup: run it as root, with {ROOT} mounted and writable"
            )
        };
        fs::create_dir(&path).unwrap_or_else(|error| want(&path.display().to_string(), error));
        if counts_sockets {
            // Where it is on already, nothing changes.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let cgroup = Cgroup { path, counts_sockets };
        let file = if counts_sockets { "memory.max" } else { "memory.limit_in_bytes" };
        let limit = limit(&cgroup).to_string();
        fs::write(cgroup.path.join(file), limit).unwrap_or_else(|error| want(file, error));
        cgroup
    }

    /// Has a command run in it from its first instruction on.
    pub fn confine(&self, command: &mut Command) {
        let processes = self.path.join("cgroup.procs");
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(processes);
        inside.arg(command.get_program()).args(command.get_args());
        *command = inside;
    }

    /// The most memory that was in use, where the system tells (version 2 since Linux 5.19).
    pub fn peak(&self) -> Option<usize> {
        let file = if self.counts_sockets { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
