//! What a path is, or should be.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::label::Label;
use super::{path_text, state_text};

/// Everything about a path that an install sets and compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", try_from = "state_text::Members")]
pub enum PathState {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// Owner, mode, access control lists and label.
        attrs: Attrs,
        /// Modification time.
        modified: Time,
        /// Length in bytes.
        size: u64,
        /// Digest of the content, where it was computed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
    /// A directory.
    Directory {
        /// Owner, mode and access control lists.
        attrs: Attrs,
    },
    /// A symbolic link. Links have no mode.
    Symlink {
        /// Owning user.
        uid: u32,
        /// Owning group.
        gid: u32,
        /// Where it points, as it was written.
        #[serde(with = "path_text")]
        target: PathBuf,
    },
    /// A device, socket or pipe; never made, only found.
    Other,
}

/// Owner, permission bits, access control lists and label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits, at most `0o7777`; those of the group are the mask where there is an access list.
    pub mode: u32,
    /// What the permission bits do not say; for most paths that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acls: Option<Box<Acls>>,
    /// The SELinux label. What is wanted has one only where the AppSpec gives one, what is found only where
    /// labels were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// The access control lists of a path that has at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Acls {
    /// Who may do what; only where it says more than the permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<Acl>,
    /// What is made in a directory begins with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Acl>,
}

/// Whether permission bits give more than ordinary rights: set-id bits, or everybody may write. A directory that
/// everybody may write to is safe if it is sticky, as `/tmp` is.
pub fn is_unsafe_mode(mode: u32) -> bool {
    mode & 0o6000 != 0 || (mode & 0o002 != 0 && mode & 0o1000 == 0)
}

/// A moment as file systems keep it: seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub i64, pub u32);

/// SHA-256 of a content; 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

/// Tells one inode of a file system from another, over renames and over boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Inode number.
    pub inode: u64,
    /// When the inode was made, where the file system keeps it: numbers are given out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth: Option<Time>,
}

impl Attrs {
    /// Attributes without access control lists and without a label.
    pub fn new(uid: u32, gid: u32, mode: u32) -> Self {
        Self { uid, gid, mode, acls: None, label: None }
    }

    /// Whether there is anything that the permission bits do not say.
    pub fn has_acls(&self) -> bool {
        self.acls.is_some()
    }

    /// The list of who may do what, where there is more to it than permission bits.
    pub fn access_acl(&self) -> Option<&Acl> {
        self.acls.as_ref()?.access.as_ref()
    }

    /// The list with which begins what is made in this directory.
    pub fn default_acl(&self) -> Option<&Acl> {
        self.acls.as_ref()?.default.as_ref()
    }

    /// The permission bits to set before the lists are. Those of the group are the owning group's own: the
    /// mask belongs to named users as well, and must not be the group's even for a moment.
    pub fn base_mode(&self) -> u32 {
        self.access_acl().map_or(self.mode, |access| self.mode & !0o777 | access.base_mode())
    }

    /// The same with another access list, which brings its permission bits with it.
    #[must_use]
    pub fn with_access_acl(mut self, access: Option<Acl>) -> Self {
        if let Some(access) = &access {
            self.mode = self.mode & !0o777 | access.mode();
        }
        let default = self.default_acl().cloned();
        self.with_lists(access, default)
    }

    /// The same with another default list.
    #[must_use]
    pub fn with_default_acl(self, default: Option<Acl>) -> Self {
        let access = self.access_acl().cloned();
        self.with_lists(access, default)
    }

    /// The same with another label, or without one.
    #[must_use]
    pub fn with_label(mut self, label: Option<Label>) -> Self {
        self.label = label;
        self
    }

    /// The same with another mode, which changes the access list too.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        match self.access_acl().map(|access| access.with_mode(mode)) {
            Some(access) => self.with_access_acl(Some(access)),
            None => self,
        }
    }

    /// Takes each attribute from `then` where that of `one` and `other` is the same, else from `otherwise`.
    /// Permission bits and access list are one attribute: who changes the one changes the other. The label is
    /// left out: nobody but an entry of the AppSpec gives one.
    pub(super) fn where_same([one, other]: [&Self; 2], then: &Self, otherwise: &Self) -> Self {
        let pick = |is_same: bool| if is_same { then } else { otherwise };
        let permissions = pick((one.mode, one.access_acl()) == (other.mode, other.access_acl()));
        let default = pick(one.default_acl() == other.default_acl());
        Self::new(pick(one.uid == other.uid).uid, pick(one.gid == other.gid).gid, permissions.mode)
            .with_lists(permissions.access_acl().cloned(), default.default_acl().cloned())
    }

    fn with_lists(mut self, access: Option<Acl>, default: Option<Acl>) -> Self {
        let access = access.filter(Acl::is_extended);
        self.acls = (access.is_some() || default.is_some()).then(|| Box::new(Acls { access, default }));
        self
    }
}

impl PathState {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Whether nothing is there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The attributes of a file or directory.
    pub fn attrs(&self) -> Option<&Attrs> {
        match self {
            Self::File { attrs, .. } | Self::Directory { attrs } => Some(attrs),
            Self::Absent | Self::Symlink { .. } | Self::Other => None,
        }
    }

    /// The label of a file or directory, if it has one that counts.
    pub fn label(&self) -> Option<&Label> {
        self.attrs()?.label.as_ref()
    }

    /// The same with another label, or without one, where it is a file or directory.
    #[must_use]
    pub fn with_label(self, label: Option<Label>) -> Self {
        match self {
            Self::File { attrs, modified, size, sha256 } => {
                Self::File { attrs: attrs.with_label(label), modified, size, sha256 }
            }
            Self::Directory { attrs } => Self::Directory { attrs: attrs.with_label(label) },
            other => other,
        }
    }

    /// The kind in one word, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
            Self::Symlink { .. } => "symlink",
            Self::Other => "device, socket or pipe",
        }
    }

    /// Whether `found` needs no change to be as this one, modification times aside: builds touch
    /// every file.
    pub fn is_met_by(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Absent, Self::Absent) => true,
            (
                Self::File { attrs, size, sha256, .. },
                Self::File { attrs: found_attrs, size: found_size, sha256: found_sha256, .. },
            ) => attrs == found_attrs && size == found_size && sha256.is_some() && sha256 == found_sha256,
            (Self::Directory { attrs }, Self::Directory { attrs: found }) => attrs == found,
            (Self::Symlink { .. }, Self::Symlink { .. }) => self == found,
            _ => false,
        }
    }
}

impl Identity {
    /// Whether both are the same inode as far as can be told.
    pub fn is_same(&self, other: &Self) -> bool {
        let births_differ = matches!((self.birth, other.birth), (Some(one), Some(two)) if one != two);
        self.inode == other.inode && !births_differ
    }
}

impl fmt::Display for Attrs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o} {}:{}", self.mode, self.uid, self.gid)?;
        if let Some(access) = self.access_acl() {
            write!(out, " acl {access}")?;
        }
        if let Some(default) = self.default_acl() {
            write!(out, " default acl {default}")?;
        }
        match &self.label {
            Some(label) => write!(out, " label {label}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent | Self::Other => out.write_str(self.kind()),
            Self::File { attrs, size, .. } => write!(out, "file {attrs}, {size} bytes"),
            Self::Directory { attrs } => write!(out, "directory {attrs}"),
            Self::Symlink { uid, gid, target } => write!(out, "symlink {uid}:{gid} to {}", target.display()),
        }
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}
