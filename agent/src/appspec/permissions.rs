//! The `permissions` section.

use std::fmt;

use super::{Destination, Position};

/// Owner, group, mode and labels for what this deployment installs at or below one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionEntry {
    /// A file that this deployment installs, or a directory that holds such files.
    pub object: Destination,
    /// Which paths below a directory it means.
    pub pattern: Pattern,
    /// Which of those it does not mean.
    pub except: Vec<Pattern>,
    /// Whether it means files, directories or both.
    pub target: PermissionTarget,
    /// User name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Access control entries, `None` if the key is absent.
    pub acls: Option<Vec<AclEntry>>,
    /// SELinux context.
    pub context: Option<SelinuxContext>,
    /// Where the entry is in the AppSpec.
    pub at: Position,
}

/// The `type` list of a permission entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionTarget {
    /// Files and directories, the default.
    Both,
    /// Files alone.
    Files,
    /// Directories alone.
    Directories,
}

/// Permission bits, at most `0o7777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Parses one to four octal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if octal { u32::from_str_radix(text, 8).ok().map(Self) } else { None }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o}", self.0)
    }
}

/// Which paths below an object a permission entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `**`: everything at any depth.
    Everything,
    /// Any other: a glob for the names of direct children.
    Children(glob::Pattern),
}

/// One entry of an access control list, as written and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// `d:` or `default:` was written.
    pub default: bool,
    /// Whom it is for.
    pub who: AclWho,
    /// `r` 4, `w` 2, `x` 1.
    pub permissions: u8,
}

/// Whom an access control entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclWho {
    /// A user by name or number.
    User(String),
    /// A group by name or number.
    Group(String),
    /// The mask.
    Mask,
    /// The owner; default entries only.
    Owner,
    /// The owning group; default entries only.
    OwningGroup,
    /// All others; default entries only.
    Other,
}

/// An SELinux context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelinuxContext {
    /// The SELinux user.
    pub user: Option<String>,
    /// The type.
    pub kind: String,
    /// Sensitivity and categories, such as `s0-s1:c0.c3`.
    pub range: Option<String>,
}
