//! What a journal records.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{DeploymentId, GroupId};
use crate::plan::{Identity, Rule, Step, path_text};

/// The format that this version writes and the newest that it reads.
pub const FORMAT: u32 = 1;

/// One record of an install's journal, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Record {
    /// Which install it is. The first record.
    Begin(Begin),
    /// One path that is to change, with the state that it has and the state that it is to have.
    Step(Box<Step>),
    /// One rule for SELinux labels that is to change, with what it gives and what it is to give.
    Rule(Rule),
    /// All steps and rules were written. Before it nothing was staged.
    Planned {
        /// How many steps there are.
        steps: usize,
        /// How many rules there are.
        #[serde(default, skip_serializing_if = "is_zero")]
        rules: usize,
    },
    /// What is about to be moved by a step.
    Staged(Staged),
    /// Everything was staged and is durable. Before it no target was touched.
    Prepared,
    /// Every target has its new state, durably: the only commit point.
    Commit,
    /// Every target has its old state again, durably.
    RolledBack,
    /// Nothing is left to do.
    Done,
}

/// Which install it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The journal's format.
    pub format: u32,
    /// The group.
    pub group: GroupId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The deployment whose files were there before, for people.
    pub previous: Option<DeploymentId>,
    /// The file systems that the targets are on.
    pub filesystems: Vec<Filesystem>,
    /// The list for AWS's agent before the install; journals of early versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListStamp>,
}

/// Tells a list of AWS's agent from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStamp {
    /// Bytes; 0 where there is no list too.
    pub length: u64,
    /// Checksum.
    pub crc32c: u32,
}

impl ListStamp {
    /// That of a list, if there is one.
    pub fn of(list: Option<&[u8]>) -> Self {
        let list = list.unwrap_or_default();
        Self { length: list.len() as u64, crc32c: crc32c::crc32c(list) }
    }
}

/// A file system, so that its absence is not read as the absence of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted.
    #[serde(with = "path_text")]
    pub mount_point: PathBuf,
    /// Its type.
    pub kind: String,
    /// A name of the volume that stays the same across boots, where there is one: device numbers
    /// change.
    pub volume: Option<String>,
}

/// The inodes that a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The step's number, from 0.
    pub step: usize,
    /// What is at the target.
    pub old: Option<Identity>,
    /// What is at the stage name.
    pub new: Option<Identity>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
