//! Looking at paths of the host, one after the other or several at once.

mod sites;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::attributes;
use super::capability::Capability;
use super::follow::{self, Trust};
use super::index::digest;
use super::root::{Root, identity, shallow_state};
use crate::disk::{self, Dir, Facts, Mount, Mounts};
use crate::plan::grounds::{Followed, FollowedLinks, Foreign, Found, Limits, Place};
use crate::plan::plain_path::split;
use crate::plan::{Claims, PathState, Sha256};
use crate::store::{Lookup, Stamp};
pub(super) use sites::Looked;

/// How many entries of somebody else a message names.
const EXAMPLES: usize = 3;

/// What is known of the host before any path is looked at.
#[derive(Clone)]
pub(super) struct Host<'a> {
    pub(super) root: &'a Root,
    pub(super) mounts: &'a Mounts,
    pub(super) claims: &'a Claims,
    /// Digests of files that nobody has touched since.
    pub(super) digests: Lookup<'a>,
    pub(super) acls: Capability,
    pub(super) labels: Capability,
    /// Whether labels count: an entry asks for one, or a deployment gave one earlier.
    pub(super) looks_at_labels: bool,
    /// The symlinks that are followed.
    pub(super) links: FollowedLinks,
}

#[derive(Clone)]
pub(super) struct Surveyor<'a> {
    host: Host<'a>,
    /// Digests of files that were read now.
    fresh: Vec<(PathBuf, Stamp, Sha256)>,
    /// Why nothing can be changed in a directory. By its bytes, here and below: to hash a path is to take it apart.
    closed: HashMap<OsString, Option<String>>,
    /// Directories as the AppSpec names them, and where they are.
    ways: HashMap<OsString, Way>,
    /// The symlinks that were followed to directories.
    followed: Vec<Followed>,
    /// The directory that was looked into last: the next path is in it more often than not.
    last: Option<(PathBuf, Arc<Dir>)>,
}

/// Where a directory of the AppSpec is.
#[derive(Clone)]
enum Way {
    /// It is there.
    Exists(PathBuf),
    /// It will be there: nothing can be below it yet.
    Missing(PathBuf),
}

impl<'a> Surveyor<'a> {
    pub(super) fn new(host: Host<'a>) -> Self {
        let (closed, ways) = (HashMap::new(), HashMap::new());
        Self { host, fresh: Vec::new(), closed, ways, followed: Vec::new(), last: None }
    }

    /// The symlinks that were followed, each once.
    pub(super) fn take_followed(&mut self) -> Vec<Followed> {
        std::mem::take(&mut self.followed)
    }

    /// Digests of the files that had to be read, with the stamps that they had before that.
    pub(super) fn into_digests(self) -> Vec<(PathBuf, Stamp, Sha256)> {
        self.fresh
    }

    /// What is at a path; a file is read where it may be what is wanted, and no digest of it is known.
    pub(super) fn place(&mut self, path: &Path, want: Option<&PathState>) -> Result<Place, disk::Error> {
        let (directory, name) = split(path);
        let closed = self.closed(directory)?;
        let nothing = self.limited(path, closed)?;
        let Some(parent) = self.dir(directory)? else { return Ok(nothing) };
        let Some(facts) = parent.facts(name)? else { return Ok(nothing) };
        let mut state = shallow_state(&facts.stat);
        let untouched = self.untouched(path, &state, &facts);
        if untouched.is_none() {
            state = attributes::add_acls(state, &parent, name)?;
        }
        if self.host.looks_at_labels {
            state = attributes::add_label(state, &parent, name)?;
        }
        let mut leads_to_directory = false;
        match &mut state {
            PathState::Symlink { target, .. } => {
                *target = parent.read_link(name)?;
                leads_to_directory = follow::directory(self.host.root, path, Trust::Any)?.is_some();
            }
            PathState::File { size, sha256, .. } => {
                *sha256 = untouched;
                if untouched.is_none() && matches!(want, Some(PathState::File { size: wanted, .. }) if wanted == size) {
                    *sha256 = Some(digest(&parent.open_file(name)?, path)?);
                }
            }
            _ => {}
        }
        // With the stamp from before it was read: what is changed meanwhile is read again the next time.
        if let PathState::File { attrs, sha256: Some(digest), .. } = &state
            && untouched.is_none()
            && !attrs.has_acls()
        {
            self.fresh.push((path.to_owned(), Stamp::of(&facts.stat), *digest));
        }
        let found = Found {
            state,
            identity: identity(&facts),
            links: facts.stat.links,
            fixed: self.fixed(path, &facts).map(Into::into),
            foreign: None,
            leads_to_directory,
        };
        Ok(Place { found: Some(Box::new(found)), ..nothing })
    }

    /// A place where nothing is, and nothing keeps anybody from making something.
    fn nothing(&mut self, path: &Path) -> Result<Place, disk::Error> {
        self.limited(path, None)
    }

    /// The same in a directory that is closed, if it is.
    fn limited(&mut self, path: &Path, closed: Option<String>) -> Result<Place, disk::Error> {
        let limits = Limits {
            closed,
            without_acls: self.host.acls.lacking(self.host.root, self.host.mounts, path)?,
            without_labels: self.host.labels.lacking(self.host.root, self.host.mounts, path)?,
            distrusted: None,
        };
        Ok(Place { found: None, limits: (limits != Limits::default()).then(|| Box::new(limits)) })
    }

    /// The digest of a file that nobody has touched since it was put down. It has no access control lists then:
    /// only of files without any is a digest put down, and giving them some would have touched it.
    fn untouched(&mut self, path: &Path, state: &PathState, facts: &Facts) -> Option<Sha256> {
        matches!(state, PathState::File { .. }).then(|| self.host.digests.of(path, &Stamp::of(&facts.stat))).flatten()
    }

    /// The directory; nothing where there is none.
    fn dir(&mut self, directory: &Path) -> Result<Option<Arc<Dir>>, disk::Error> {
        if let Some((known, dir)) = &self.last
            && known.as_os_str() == directory.as_os_str()
        {
            return Ok(Some(Arc::clone(dir)));
        }
        match self.host.root.dir(directory) {
            Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(None),
            dir => {
                let dir = Arc::new(dir?);
                self.last = Some((directory.to_owned(), Arc::clone(&dir)));
                Ok(Some(dir))
            }
        }
    }

    fn fixed(&self, path: &Path, facts: &Facts) -> Option<String> {
        if facts.sealed {
            let shown = path.display();
            return Some(format!(
                "it is marked immutable or append-only: run `chattr -i -a {shown}`, then deploy again"
            ));
        }
        let mounts = self.host.mounts;
        (facts.mount_point || mounts.is_mount_point(path)).then(|| {
            let mount = mounts.of(path).filter(|mount| mount.point.as_os_str() == path.as_os_str());
            let what = mount.map_or_else(
                || "something is mounted on it".to_owned(),
                |Mount { kind, source, .. }| format!("{} ({kind}) is mounted on it", source.display()),
            );
            let shown = path.display();
            format!(
                "{what}, and what is mounted on cannot be replaced or removed: unmount it (`umount {shown}`) and deploy \
                 again, or leave the path out of `files`"
            )
        })
    }

    /// Why nothing can be made or removed in a directory; nothing too where it is missing.
    fn closed(&mut self, directory: &Path) -> Result<Option<String>, disk::Error> {
        if let Some(known) = self.closed.get(directory.as_os_str()) {
            return Ok(known.clone());
        }
        let reason = self.closed_reason(directory)?;
        self.closed.insert(directory.as_os_str().to_owned(), reason.clone());
        Ok(reason)
    }

    fn closed_reason(&self, directory: &Path) -> Result<Option<String>, disk::Error> {
        let dir = match self.host.root.dir(directory) {
            Err(error) if error.is_not_found() || error.is_not_a_directory() => return Ok(None),
            other => other?,
        };
        let shown = directory.display();
        if let Some(kind) = dir.kernel_filesystem()? {
            return Ok(Some(format!(
                "{shown} is on a file system of the kernel's own ({kind}), which cannot hold an install; choose another \
                 destination"
            )));
        }
        if dir.space()?.read_only {
            let point = self.host.mounts.of(directory).map_or(directory, |mount| mount.point.as_path()).display();
            return Ok(Some(format!(
                "the file system of {shown} is mounted read-only on {point}: make it writable (`mount -o remount,rw \
                 {point}`; `findmnt {point}` shows its options), or choose a destination on another file system"
            )));
        }
        let sealed = directory.parent().is_some() && self.host.root.facts(directory)?.is_some_and(|facts| facts.sealed);
        if sealed {
            return Ok(Some(format!(
                "its directory is marked immutable or append-only: run `chattr -i -a {shown}`, then deploy again"
            )));
        }
        Ok(dir.check_writable().err().map(|error| format!("{error}; the agent needs to write there")))
    }

    fn foreign(&self, directory: &Path) -> Result<Option<Box<Foreign>>, disk::Error> {
        let mut foreign = Foreign::default();
        let mut ahead = vec![directory.to_owned()];
        while let Some(directory) = ahead.pop() {
            let dir = self.host.root.dir(&directory)?;
            for entry in dir.entries()? {
                let path = directory.join(&entry.name);
                let Some(facts) = dir.facts(&entry.name)? else { continue };
                let state = shallow_state(&facts.stat);
                if !self.host.claims.is_ours(&path, &state) || self.fixed(&path, &facts).is_some() {
                    foreign.count += 1;
                    if foreign.examples.len() < EXAMPLES {
                        foreign.examples.push(path);
                    }
                } else if state.is_directory() {
                    ahead.push(path);
                }
            }
        }
        Ok((foreign.count > 0).then(|| Box::new(foreign)))
    }
}
