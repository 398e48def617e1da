//! Control groups of the tests' own, on a mount of the version 2 hierarchy that only they see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use slipway_tests::until::until_true;

use crate::job::run;

/// Where systemd-nspawn looks for it.
const MOUNT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "slipway-system-";
/// The limits that hooks can have.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const PATIENCE: Duration = Duration::from_secs(10);

/// A control group with everything below it. It is removed when this is dropped, by then without processes.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

/// Puts the version 2 hierarchy where it is looked for, in this process's own mounts: whatever the host
/// has there, hosts that are booted see what hosts have today.
pub fn mount() -> Result<()> {
    run(Command::new("mount").args(["-t", "cgroup2", "slipway-system", MOUNT])).map(drop)
}

/// Removes what runs that were cut off have left.
pub fn sweep() {
    for entry in fs::read_dir(MOUNT).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

impl Cgroup {
    /// A new one for the job of that name.
    pub fn create(job: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{job}", std::process::id());
        // Where a controller belongs to the old hierarchy, or is not given to a container, there is no limit
        // to test; everything else does without.
        for controller in CONTROLLERS {
            let _ = fs::write(Path::new(MOUNT).join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let path = Path::new(MOUNT).join(name);
        fs::create_dir(&path).with_context(|| format!("make the control group {}", path.display()))?;
        for controller in CONTROLLERS {
            let _ = fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        Ok(Self(path))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The job's processes are killed with its process ids, which takes a moment.
        let gone = until_true("a control group to be empty", PATIENCE, || {
            remove(&self.0);
            Ok(!self.0.exists())
        });
        if let Err(error) = gone {
            eprintln!("the control group {} could not be removed: {error}", self.0.display());
        }
    }
}

/// Removes a control group and those below it, as far as they are empty.
pub fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
