//! How much memory this process may have, as far as somebody set a limit.

use nix::sys::resource::{Resource, getrlimit};
use std::path::{Path, PathBuf};

/// The least of the limits on this process: of its address space, and of the memory cgroups it is in. `None` without any.
pub fn memory_limit() -> Option<u64> {
    let address_space = getrlimit(Resource::RLIMIT_AS).ok().map(|(soft, _)| soft);
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let cgroup = |path: &Path| std::fs::read_to_string(path).ok();
    // Larger ones are ways to say that there is none.
    address_space.into_iter().chain(cgroup_limits(&cgroups, cgroup)).filter(|limit| *limit < 1 << 60).min()
}

/// The limits of the cgroups that `cgroups`, in the format of /proc/self/cgroup, names, and of all that they are in; `read` reads
/// a file. Version 2 has one hierarchy, mounted in one of two places; version 1 has one for memory.
fn cgroup_limits(cgroups: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (roots, file): (&[&str], &str) = match controllers {
            "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (&["/sys/fs/cgroup/memory"], "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for root in roots {
            // In a container the path is often the host's, and only the root of the hierarchy is there.
            for directory in Path::new(path.trim_start_matches('/')).ancestors() {
                let file: PathBuf = [Path::new(root), directory, Path::new(file)].iter().collect();
                limits.extend(read(&file).and_then(|text| text.trim().parse::<u64>().ok()));
            }
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits found where these files are.
    fn limits(cgroups: &str, files: &[(&str, &str)]) -> Vec<u64> {
        cgroup_limits(cgroups, |path| {
            let content = files.iter().find(|(name, _)| Path::new(name) == path)?.1;
            Some(content.to_owned())
        })
    }

    #[test]
    fn the_limits_of_every_cgroup_above_are_found() {
        let files = [
            ("/sys/fs/cgroup/system.slice/wsecho.service/memory.max", "1000\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
            ("/sys/fs/cgroup/memory.max", "3000\n"),
            ("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n"),
        ];
        assert_eq!(limits("0::/system.slice/wsecho.service\n", &files), [1000, 3000]);
        assert_eq!(limits("0::/\n", &files), [3000]);
        let first = "5:cpu,memory:/docker\n3:cpuset:/\n1:name=systemd:/a:b\n";
        assert_eq!(limits(first, &files), [9_223_372_036_854_771_712, 5000]);
        assert_eq!(limits("nonsense\n\n", &files), [0u64; 0]);
    }
}
