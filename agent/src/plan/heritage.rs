//! What new paths take from the directory that they are made in, as the kernel does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::acl::Acl;
use super::label::Label;
use super::plain_path::split;
use super::state::PathState;

/// New directories in a directory with this bit take its group and the bit.
pub(super) const SETGID: u32 = 0o2000;

/// The directories of a plan that hand something on, as they will be.
#[derive(Default)]
pub(super) struct Heritage {
    /// Their default access control lists.
    defaults: BTreeMap<PathBuf, Acl>,
    /// The groups of those that are set-group-id.
    groups: BTreeMap<PathBuf, u32>,
    labels: BTreeMap<PathBuf, Label>,
}

impl Heritage {
    /// Notes what a directory hands on. Paths above it were noted before.
    pub(super) fn note(&mut self, path: &Path, want: Option<&PathState>, found: Option<&PathState>) {
        let Some(PathState::Directory { attrs }) = want.or(found) else { return };
        if let Some(default) = attrs.default_acl() {
            self.defaults.insert(path.to_owned(), default.clone());
        }
        if attrs.mode & SETGID != 0 {
            self.groups.insert(path.to_owned(), attrs.gid);
        }
        let known = [want, found].into_iter().flatten().find_map(PathState::label);
        if let Some(label) = known.or_else(|| self.label(path)).cloned() {
            self.labels.insert(path.to_owned(), label);
        }
    }

    /// The default list of the directory that a path is in.
    pub(super) fn default_acl(&self, path: &Path) -> Option<&Acl> {
        self.defaults.get(split(path).0)
    }

    /// The group of the directory that a path is in, where that hands it on to new directories.
    pub(super) fn group(&self, path: &Path) -> Option<u32> {
        self.groups.get(split(path).0).copied()
    }

    /// The label of the directory that a path is in.
    pub(super) fn label(&self, path: &Path) -> Option<&Label> {
        self.labels.get(split(path).0)
    }
}
