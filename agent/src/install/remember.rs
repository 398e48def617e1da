//! Putting down the digests of what was installed, so that the next install need not read it again.

use std::path::Path;

use super::InstallRequest;
use super::root::{Root, name};
use crate::disk::{self, Dir};
use crate::plan::{PathState, Step};
use crate::store::{Digests, Known, Stamp};

/// Adds what the steps of an install brought to what was known before, and writes the list.
pub(super) fn remember(request: &InstallRequest<'_>, digests: &Digests, steps: &[Step]) -> Result<(), disk::Error> {
    let mut places = Places { root: Root::open()?, last: None };
    let path = request.layout.digests(request.group);
    if let Some(parent) = path.parent() {
        Dir::open_or_create(parent, 0o700)?;
    }
    // What cannot be looked at is read again the next time.
    digests.write(&path, steps.iter().map(|step| (step.path.as_path(), places.known(step).ok().flatten())))
}

struct Places<'a> {
    root: Root,
    /// The directory that was looked into last: the next path is in it more often than not.
    last: Option<(&'a Path, Dir)>,
}

impl<'a> Places<'a> {
    fn known(&mut self, step: &'a Step) -> Result<Option<Known>, disk::Error> {
        let PathState::File { attrs, sha256: Some(digest), modified, .. } = &step.want else { return Ok(None) };
        let Some(directory) = step.path.parent() else { return Ok(None) };
        // Of a file without a list, what is put down says that too.
        if attrs.has_acls() {
            return Ok(None);
        }
        let parent = match self.last.take().filter(|(known, _)| *known == directory) {
            Some((_, parent)) => parent,
            None => self.root.dir(directory)?,
        };
        let stat = parent.stat_if_exists(name(&step.path))?;
        self.last = Some((directory, parent));
        // Another time than the one that was set: somebody has written to it since.
        let stat = stat.filter(|stat| stat.modified == (modified.0, modified.1));
        Ok(stat.map(|stat| Known { stamp: Stamp::of(&stat), digest: *digest }))
    }
}
