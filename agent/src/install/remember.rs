//! Putting down the digests of what was installed, so that the next install need not read it again.

use std::path::Path;

use super::InstallRequest;
use super::root::{Root, name};
use crate::disk::{self, Dir};
use crate::plan::{PathState, Step};
use crate::store::{Digests, Stamp};

/// Adds what the steps of an install brought to what was known before, and writes the list.
pub(super) fn remember(request: &InstallRequest<'_>, mut digests: Digests, steps: &[Step]) -> Result<(), disk::Error> {
    let root = Root::open()?;
    let mut last: Option<(&Path, Dir)> = None;
    for step in steps {
        digests.remove(&step.path);
        let PathState::File { attrs, sha256: Some(digest), modified, .. } = &step.want else { continue };
        // Of a file without a list, what is put down says that too.
        if attrs.has_acls() {
            continue;
        }
        let Some(directory) = step.path.parent() else { continue };
        let parent = match last.take().filter(|(known, _)| *known == directory) {
            Some((_, parent)) => parent,
            None => root.dir(directory)?,
        };
        // Another time than the one that was set: somebody has written to it since.
        if let Some(stat) = parent.stat_if_exists(name(&step.path))?
            && stat.modified == (modified.0, modified.1)
        {
            digests.insert(step.path.clone(), Stamp::of(&stat), *digest);
        }
        last = Some((directory, parent));
    }
    let path = request.layout.digests(request.group);
    if let Some(parent) = path.parent() {
        Dir::open_or_create(parent, 0o700)?;
    }
    digests.write(&path)
}
