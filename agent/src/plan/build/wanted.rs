//! The state that a path is to have, by the revision, the permission entries and the directory that it is in.

use std::borrow::Cow;

use super::Builder;
use crate::appspec::PathKind;
use crate::plan::grounds::{FileOwner, Site};
use crate::plan::heritage::SETGID;
use crate::plan::permission::Bare;
use crate::plan::{Attrs, PathState, Role, Time};

/// Directories that a deployment makes have this mode, whatever the bundle says, as in AWS's agent; below a
/// set-group-id directory they have that bit too.
const DIRECTORY_MODE: u32 = 0o755;

impl Builder<'_> {
    /// What the revision and the permission entries want at a site where something new is put.
    pub(super) fn want(&mut self, site: &Site<'_>) -> PathState {
        let Some(state) = (site.target.role == Role::Leaf).then_some(site.target.state) else {
            let bare = Bare { attrs: self.new_directory(site), mode: self.directory_mode(site) };
            let attrs = self.permissions.apply(&site.target.path, PathKind::Directory, bare, &mut self.conflicts);
            return PathState::Directory { attrs };
        };
        match state {
            PathState::File { attrs, modified, size, sha256 } => {
                let (uid, gid) = match self.grounds.owners.files {
                    FileOwner::Bundle => (attrs.uid, attrs.gid),
                    FileOwner::Fixed(owner) => (owner.uid, owner.gid),
                };
                let access = self.heritage.default_acl(site.path()).map(|default| default.with_mode(attrs.mode));
                let bare = Bare { attrs: Attrs::new(uid, gid, attrs.mode).with_access_acl(access), mode: attrs.mode };
                let attrs = self.permissions.apply(&site.target.path, PathKind::File, bare, &mut self.conflicts);
                PathState::File { attrs, modified: *modified, size: *size, sha256: *sha256 }
            }
            PathState::Symlink { uid, gid, target } => {
                self.permissions.meet_symlink(&site.target.path, &mut self.conflicts);
                let (uid, gid) = match self.grounds.owners.files {
                    FileOwner::Bundle => (*uid, *gid),
                    FileOwner::Fixed(owner) => (owner.uid, owner.gid),
                };
                PathState::Symlink { uid, gid, target: target.clone() }
            }
            PathState::Directory { .. } | PathState::Absent | PathState::Other => state.clone(),
        }
    }

    pub(super) fn new_directory(&self, site: &Site<'_>) -> Attrs {
        let owner = self.grounds.owners.directories;
        let gid = self.heritage.group(site.path()).unwrap_or(owner.gid);
        let default = self.heritage.default_acl(site.path());
        Attrs::new(owner.uid, gid, self.directory_mode(site))
            .with_access_acl(default.map(|default| default.with_mode(DIRECTORY_MODE)))
            .with_default_acl(default.cloned())
    }

    /// The mode of a new directory at a site.
    pub(super) fn directory_mode(&self, site: &Site<'_>) -> u32 {
        if self.heritage.group(site.path()).is_some() { DIRECTORY_MODE | SETGID } else { DIRECTORY_MODE }
    }

    /// What is at a site, as far as it counts: a label does only where one is wanted, or where it is the one
    /// that the group gave and does not want any more.
    pub(super) fn as_it_counts<'s>(
        &self,
        site: &Site<'_>,
        found: &'s PathState,
        want: &PathState,
    ) -> Cow<'s, PathState> {
        let Some(label) = found.label() else { return Cow::Borrowed(found) };
        if want.label().is_some() || self.grounds.claims.label(site.path()) == Some(label) {
            return Cow::Borrowed(found);
        }
        Cow::Owned(found.clone().with_label(None))
    }
}

/// When a file was modified.
pub(super) fn modified(state: &PathState) -> Option<Time> {
    match state {
        PathState::File { modified, .. } => Some(*modified),
        _ => None,
    }
}
