//! How much memory the system lets this process have.
//!
//! ```text
//! /proc/self/cgroup      0::/a/b             version 2: the only hierarchy
//!                        4:memory:/a/b       version 1: that of the memory controller
//! limit                  the least of /a/b, /a and the root
//! ```
//!
//! 1. A limit above what any machine has is none: that is how version 1 says "no limit".
//! 2. What cannot be read is no limit: a budget that is too large is better than none at all.
//!
//! After the kernel's `admin-guide/cgroup-v1/memory` and `cgroup-v2`.

use std::path::{Path, PathBuf};

/// Above this a limit is none: 2^60 bytes.
const LIMIT_MAX: u64 = 1 << 60;

/// Bytes that the control groups of this process allow it, if they say so. `read` reads a file.
pub(super) fn memory_limit(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = group.trim_start_matches('/');
        let folders = Path::new(group).ancestors().map(|group| PathBuf::from(root).join(group));
        folders.filter_map(|folder| read(&folder.join(name))?.trim().parse().ok()).min()
    });
    limits.min().filter(|limit: &u64| *limit < LIMIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_holds() {
        let groups = ("/proc/self/cgroup", "0::/a/b\n");
        let (inner, outer) = ("/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max");
        assert_eq!(limit(&[groups, (inner, "max\n"), (outer, "500\n")]), Some(500));
        assert_eq!(limit(&[groups, (inner, "400\n"), (outer, "500\n")]), Some(400));
        assert_eq!(limit(&[groups, (inner, "max\n")]), None);
        // As a container sees its own group.
        let root = ("/proc/self/cgroup", "0::/\n");
        assert_eq!(limit(&[root, ("/sys/fs/cgroup/memory.max", "700")]), Some(700));
    }

    #[test]
    fn version_1_has_a_hierarchy_of_its_own_and_a_number_for_no_limit() {
        let groups = ("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n");
        let at = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        assert_eq!(limit(&[groups, (at, "300\n")]), Some(300));
        assert_eq!(limit(&[groups, (at, "9223372036854771712\n")]), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("/proc/self/cgroup", "what is this")]), None);
    }
}
