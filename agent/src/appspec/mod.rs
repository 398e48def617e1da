//! The AppSpec file: what the author of a revision wants on a host.
//!
//! Grammar and meaning are those of AWS's EC2 and on-premises AppSpec. A value of [`AppSpec`] is
//! right by construction; the parser reports every mistake of a file at once.

pub mod acl;
pub mod files;
pub mod hooks;
pub mod mode;
pub mod pattern;
pub mod permissions;
pub mod selinux;

use std::collections::BTreeMap;

pub use files::{Destination, FileMapping};
pub use hooks::Script;
pub use permissions::{AclEntry, Mode, PathKind, Pattern, PermissionEntry, PermissionTarget, SelinuxContext};

use crate::deployment::FileExistsBehavior;
use crate::ids::EventName;

/// Line and column in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A whole AppSpec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// What goes where, in the file's order.
    pub files: Vec<FileMapping>,
    /// What to do about files that exist already; goes before the service's value.
    pub file_exists_behavior: Option<FileExistsBehavior>,
    /// Owners, modes and labels of what this deployment installs, in the file's order.
    pub permissions: Vec<PermissionEntry>,
    /// Scripts of each event, in the order in which they run. Events without scripts are left out.
    pub hooks: BTreeMap<EventName, Vec<Script>>,
}
