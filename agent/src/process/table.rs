use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::{Error, Identity, Presence, Result};
use crate::disk;

/// Longest environment that is searched, in bytes. The system's own limit is about as much.
const MAX_ENVIRONMENT: u64 = 4 << 20;
/// Longest command line that a message shows, in characters.
const MAX_COMMAND: usize = 100;

/// What `/proc/<pid>/stat` says of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Ticks from the boot to its start.
    pub started: u64,
    state: char,
}

impl Row {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Result<Option<Self>> {
        let path = format!("/proc/{pid}/stat");
        match disk::read_bounded(path.as_ref(), 8192) {
            Ok(text) => Self::parse(pid, &String::from_utf8_lossy(&text))
                .map(Some)
                .ok_or_else(|| Error::Proc { what: path, source: std::io::ErrorKind::InvalidData.into() }),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Error::Proc { what: path, source: error.source }),
        }
    }

    /// Whether it is only waiting for its parent to notice that it has ended.
    pub fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// The command's name can hold spaces and brackets: the fields begin behind the last one.
    fn parse(pid: i32, text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |n: usize| fields.get(n - 3)?.parse::<i32>().ok();
        Some(Self {
            pid,
            parent: number(4)?,
            group: number(5)?,
            session: number(6)?,
            started: fields.get(22 - 3)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
        })
    }
}

fn is_gone(error: &disk::Error) -> bool {
    error.is_not_found() || error.source.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
}

/// A process that holds something, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: i32,
    /// Its command line, cut to 100 characters.
    pub command: String,
}

/// All processes at one moment.
#[derive(Debug)]
pub struct ProcessTable {
    rows: BTreeMap<i32, Row>,
}

impl ProcessTable {
    /// Looks at all processes. Those that end meanwhile are left out.
    pub fn now() -> Result<Self> {
        let proc = |error: disk::Error| Error::Proc { what: "/proc".to_owned(), source: error.source };
        let mut rows = BTreeMap::new();
        for entry in disk::Dir::open("/proc").and_then(|dir| dir.entries()).map_err(proc)? {
            if let Some(pid) = entry.name.to_str().and_then(|name| name.parse().ok())
                && let Some(row) = Row::of(pid)?
            {
                rows.insert(pid, row);
            }
        }
        Ok(Self { rows })
    }

    /// All but this process and those that have ended.
    pub fn running(&self) -> impl Iterator<Item = &Row> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        self.rows.values().filter(move |row| row.pid != own && !row.ended())
    }

    /// All that descend from `pid`, those that have ended left out.
    pub fn descendants(&self, pid: i32) -> Vec<&Row> {
        let mut found: Vec<&Row> = Vec::new();
        let mut parents = vec![pid];
        while let Some(parent) = parents.pop() {
            for row in self.rows.values().filter(|row| row.parent == parent && row.pid != parent) {
                parents.push(row.pid);
                found.push(row);
            }
        }
        found.retain(|row| !row.ended());
        found
    }

    /// This process and those that it descends from.
    pub fn own_line(&self) -> Vec<i32> {
        let mut line = Vec::new();
        let mut next = i32::try_from(std::process::id()).ok();
        while let Some(pid) = next.filter(|pid| *pid > 0 && !line.contains(pid)) {
            line.push(pid);
            next = self.rows.get(&pid).map(|row| row.parent);
        }
        line
    }

    /// What is left of a process group, whose first process had `leader`'s identity. Nothing where its
    /// number has been given to another process since: a number is free again only once its group is empty.
    pub fn group_of(&self, leader: &Identity) -> Vec<&Row> {
        let reused = self.rows.get(&leader.pid()).is_some_and(|row| row.started != leader.started());
        let member = |row: &&Row| row.group == leader.pid() && row.started >= leader.started() && !row.ended();
        if reused { Vec::new() } else { self.rows.values().filter(member).collect() }
    }

    /// All whose environment was given `NAME=value`. Processes of other users whose environment may not
    /// be read are left out.
    pub fn with_variable(&self, name: &str, value: &str) -> Vec<&Row> {
        let wanted = format!("{name}={value}");
        let has = |row: &&Row| {
            disk::read_bounded(format!("/proc/{}/environ", row.pid).as_ref(), MAX_ENVIRONMENT)
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
        };
        self.rows.values().filter(|row| !row.ended()).filter(has).collect()
    }

    /// All but this process that have one of these pipes open, by the pipes' inodes.
    pub fn holding_pipes(&self, inodes: &[u64]) -> Vec<&Row> {
        let wanted: Vec<String> = inodes.iter().map(|inode| format!("pipe:[{inode}]")).collect();
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let holds = |row: &&Row| {
            let Ok(dir) = disk::Dir::open(format!("/proc/{}/fd", row.pid)) else { return false };
            let Ok(entries) = dir.entries() else { return false };
            entries.iter().any(|entry| {
                dir.read_link(&entry.name)
                    .is_ok_and(|target| wanted.iter().any(|pipe| target.as_os_str() == pipe.as_str()))
            })
        };
        self.rows.values().filter(|row| row.pid != own && !row.ended()).filter(holds).collect()
    }
}

impl Row {
    /// A path as this process sees it, which may have another root or other mounts.
    pub fn seen_by(&self, path: &Path) -> PathBuf {
        let relative = path.strip_prefix("/").unwrap_or(path);
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(relative)
    }

    /// The files that it holds open, by the paths that they were opened by. None where they may not be looked at.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let Ok(dir) = disk::Dir::open(format!("/proc/{}/fd", self.pid)) else { return Vec::new() };
        let Ok(entries) = dir.entries() else { return Vec::new() };
        let targets = entries.iter().filter_map(|entry| dir.read_link(&entry.name).ok());
        targets.filter(|target| target.is_absolute()).collect()
    }

    /// The process with its command line, for messages.
    pub fn holder(&self) -> Holder {
        let read = |file: &str| disk::read_bounded(format!("/proc/{}/{file}", self.pid).as_ref(), MAX_ENVIRONMENT);
        let text =
            read("cmdline").ok().filter(|line| !line.is_empty()).or_else(|| read("comm").ok()).unwrap_or_default();
        let line = String::from_utf8_lossy(&text).replace('\0', " ");
        let command = line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_COMMAND).collect();
        Holder { pid: self.pid, command }
    }

    /// Sends a signal, but only to the very process that this row was read of.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match Identity::of(self.pid)? {
            Some(identity) if identity.started() == self.started => match identity.presence()? {
                Presence::Running(running) => running.signal(signal),
                Presence::Ended | Presence::OtherBoot => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
