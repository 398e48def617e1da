//! A part of the matrix that runs in a process of its own, with namespaces of its own: whatever happens
//! in it, no mount, no loop device and no process outlives it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::host::{self, Host, Kind, Reach};
use crate::report::Report;
use crate::{corrupt, errors, kill, power, selftest, stuck};

/// The rows of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Test {
    /// SIGKILL before every call that changes anything
    KillEverySyscall,
    /// SIGKILL in the recovery, up to three deep
    KillRecovery,
    /// ENOSPC, EIO, EDQUOT and EROFS at every call
    SyscallError,
    /// An error at calls of a recovery that does not go away
    SettleStuck,
    /// A damaged journal
    JournalCorrupt,
    /// Every prefix of the writes of an install
    PowerPrefix,
    /// Random subsets of the writes that were not flushed
    PowerReorder,
    /// Both, of the writes of a recovery
    PowerRecovery,
    /// An installer that leaves out one of its syncs
    HarnessSelftest,
}

/// One process's part of a test.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The test.
    pub test: Test,
    /// On which file systems.
    pub kind: Kind,
    /// Which part.
    pub shard: Shard,
}

/// Every n-th of something, beginning with one of the first n.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    /// The first, from 0.
    pub first: usize,
    /// n.
    pub of: usize,
}

impl Shard {
    /// This shard's part of them.
    pub fn of<T>(self, all: &[T]) -> impl Iterator<Item = &T> {
        all.iter().skip(self.first).step_by(self.of)
    }
}

impl Test {
    /// Its name in the table.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The fewest faults that the test is worth something with, on each file system.
    pub fn wanted(self) -> u64 {
        match self {
            Self::KillEverySyscall => 500,
            Self::KillRecovery => 300,
            Self::SyscallError => 2000,
            Self::SettleStuck => 15,
            Self::JournalCorrupt => 1000,
            Self::PowerPrefix | Self::PowerReorder => 300,
            Self::PowerRecovery => 200,
            Self::HarnessSelftest => 9,
        }
    }

    /// The file systems that it runs on. What a call answers and what a journal holds is the same on all.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::SyscallError | Self::SettleStuck | Self::JournalCorrupt => &[Kind::Ext4],
            _ => &[Kind::Ext4, Kind::Xfs],
        }
    }

    /// Processes that share its work on one file system.
    pub fn shards(self) -> usize {
        match self {
            Self::SyscallError | Self::KillRecovery => 2,
            _ => 1,
        }
    }

    /// Programs without which there is nothing to run.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::KillEverySyscall
            | Self::KillRecovery
            | Self::SyscallError
            | Self::SettleStuck
            | Self::JournalCorrupt => &["strace"],
            Self::PowerPrefix | Self::PowerReorder | Self::PowerRecovery => &["qemu-storage-daemon"],
            Self::HarnessSelftest => &["strace", "qemu-storage-daemon"],
        }
    }
}

impl Job {
    /// Runs it in a new process with its own mounts and its own process ids.
    pub fn spawn(self) -> Result<Report> {
        // Whoever ends this program ends the job with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]).args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.arg(env::current_exe()?).arg("job").arg(self.test.name()).arg(self.kind.name());
        command.arg(self.shard.first.to_string()).arg(self.shard.of.to_string());
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run unshare")?;
        ensure!(output.status.success(), "the job {self:?} ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("read the report of a job")
    }

    /// Why it cannot run here, if so.
    pub fn obstacle(self) -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("only root can mount file systems".to_owned());
        }
        let mkfs = format!("mkfs.{}", self.kind.name());
        let missing: Vec<&str> =
            self.test.needs().iter().copied().chain([mkfs.as_str()]).filter(|program| !is_there(program)).collect();
        if !missing.is_empty() {
            return Some(format!("there is no {}; `tests/prepare faults` installs it", missing.join(" and no ")));
        }
        let devices = ["/dev/loop-control", "/dev/fuse"];
        if let Some(device) = devices.into_iter().find(|device| !Path::new(device).exists()) {
            return Some(format!("there is no {device} here"));
        }
        let may_mount = Command::new("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "true"]).output();
        if !may_mount.is_ok_and(|output| output.status.success()) {
            return Some("this root may not mount anything, as in many containers".to_owned());
        }
        None
    }

    /// Does the work, in the process made for it.
    pub fn work(self) -> Result<Report> {
        let place = private_memory()?;
        let reach = if self.test == Test::HarnessSelftest { Reach::Apart } else { Reach::Both };
        let mut host = Host::new(&place, self.kind, reach)?;
        match self.test {
            Test::KillEverySyscall => kill::every_call(&mut host, self.shard),
            Test::KillRecovery => kill::recovery(&mut host, self.shard),
            Test::SyscallError => errors::every_call(&mut host, self.shard),
            Test::SettleStuck => stuck::settling(&mut host),
            Test::JournalCorrupt => corrupt::journal(&mut host),
            Test::PowerPrefix => power::prefix(&mut host),
            Test::PowerReorder => power::reorder(&mut host),
            Test::PowerRecovery => power::recovery(&mut host),
            Test::HarnessSelftest => selftest::each_sync(&mut host),
        }
    }
}

/// An empty directory in memory that nobody else sees, and that goes with this process's mounts.
fn private_memory() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let mut points = ["/mnt", "/media", "/srv"].into_iter().map(Path::new);
    let point = points.find(|point| point.is_dir() && !own.starts_with(point));
    let point = point.context("there is none of /mnt, /media and /srv to mount something on")?;
    host::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "slipway-faults"]).arg(point))?;
    Ok(point.to_owned())
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/sbin".into(), "/usr/sbin".into()]).any(|folder| folder.join(program).exists())
}
