use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Result, Row};
use crate::disk;

/// Longest list of processes that is read, in bytes.
const MAX_LIST: u64 = 4 << 20;

/// A control group that systemd made for one unit: the directory that lists its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The group of this process, if it is that of the unit named `unit`: any other group holds processes
    /// that have nothing to do with it.
    pub fn of_unit(unit: &str) -> Option<Self> {
        let text = disk::read_bounded("/proc/self/cgroup".as_ref(), 64 << 10).ok()?;
        Self::find(&String::from_utf8_lossy(&text), unit)
    }

    /// A line is `number:controllers:path`. The unified hierarchy has no controllers there; where it is not
    /// mounted at the top, systemd keeps one of its own beside the others.
    fn find(lines: &str, unit: &str) -> Option<Self> {
        let path_of = |wanted: &str| {
            lines.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                (controllers == wanted && Path::new(path).file_name()? == unit).then(|| path.trim_start_matches('/'))
            })
        };
        let places =
            [("", "/sys/fs/cgroup"), ("", "/sys/fs/cgroup/unified"), ("name=systemd", "/sys/fs/cgroup/systemd")];
        places
            .into_iter()
            .filter_map(|(controllers, mount)| Some(Path::new(mount).join(path_of(controllers)?)))
            .find(|directory| disk::Dir::open(directory).is_ok())
            .map(Self)
    }

    /// The group that systemd knows by this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
        let places = mounts.iter().map(|mount| Path::new(mount).join(path.trim_start_matches('/')));
        places.into_iter().find(|directory| disk::Dir::open(directory).is_ok()).map(Self)
    }

    /// The processes in it and below it that have not ended; none where it is gone.
    pub fn processes(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut ahead = vec![self.0.clone()];
        while let Some(directory) = ahead.pop() {
            // A group goes when it is empty, also while it is looked at.
            let Ok(text) = disk::read_bounded(&directory.join("cgroup.procs"), MAX_LIST) else { continue };
            for pid in String::from_utf8_lossy(&text).lines().filter_map(|line| line.trim().parse().ok()) {
                rows.extend(Row::of(pid)?.filter(|row| !row.ended()));
            }
            let entries = disk::Dir::open(&directory).and_then(|dir| dir.entries()).unwrap_or_default();
            let below = entries.into_iter().filter(|entry| entry.kind == disk::Kind::Directory);
            ahead.extend(below.map(|entry| directory.join(entry.name)));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_of_the_unit_itself_is_taken() {
        let lines =
            "12:pids:/system.slice/hook.service\n1:name=systemd:/system.slice/hook.service\n0::/x/hook.service\n";
        assert_eq!(Cgroup::find(lines, "other.service"), None);
        assert_eq!(Cgroup::find("", "hook.service"), None);
        assert_eq!(Cgroup::of_unit("no-such-unit.service"), None);
    }

    #[test]
    fn a_group_that_is_gone_has_no_processes() {
        assert!(Cgroup(PathBuf::from("/sys/fs/cgroup/no/such/group")).processes().unwrap().is_empty());
    }
}
