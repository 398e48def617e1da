//! Making the new state beside the old one, finished in every attribute, where nobody looks for it.

use std::path::Path;

use super::Cause;
use super::attributes;
use super::names::Names;
use super::root::{Root, name};
use super::threads::{spread, threads_for};
use crate::disk::{self, Dir, Syncfs, sync_file};
use crate::plan::{Attrs, PathState, Step, trees};
use crate::revision::Revision;

/// Stages everything that the steps create or replace, and makes it durable.
pub(super) fn stage(root: &Root, steps: &[Step], names: &Names, revision: &Revision) -> Result<(), Cause> {
    let source = Dir::open(revision.root())?;
    let stager = Stager { root, names, source, syncfs: Syncfs::of_this_kernel() };
    let trees: Vec<_> = trees(steps).filter(|(_, first, _)| first.is_staged()).collect();
    let stage =
        |part: &[(usize, &Step, &[Step])]| part.iter().try_for_each(|(_, first, members)| stager.tree(first, members));
    spread("staging", threads_for(trees.len()), &trees, stage).into_iter().collect()
}

struct Stager<'a> {
    root: &'a Root,
    names: &'a Names,
    source: Dir,
    syncfs: Syncfs,
}

impl Stager<'_> {
    fn tree(&self, first: &Step, members: &[Step]) -> Result<(), Cause> {
        let staged = self.names.staged(&first.path);
        let parent = self.root.parent(&staged)?;
        let base = Path::new(name(&staged));
        self.make(&parent, base, first)?;
        if first.want.is_directory() {
            // Whoever owns the parent can put another directory in its place, but nothing into it, which is closed to them.
            let top = parent.open_made_dir(base)?;
            let below = |step: &Step| step.path.strip_prefix(&first.path).unwrap_or(&step.path).to_owned();
            for member in members {
                self.make(&top, &below(member), member)?;
            }
            // Directories were closed to all but us while they were filled: deepest first, they open.
            for step in std::iter::once(first).chain(members).rev() {
                if let PathState::Directory { attrs } = &step.want {
                    self.open_up(&top.open_dir(below(step))?, attrs)?;
                }
            }
        }
        if self.syncfs == Syncfs::Swallows { Ok(parent.sync()?) } else { Ok(()) }
    }

    fn make(&self, parent: &Dir, at: &Path, step: &Step) -> Result<(), Cause> {
        match &step.want {
            PathState::File { attrs, modified, size, .. } => {
                let file = parent.create_file(at, 0o600)?;
                let path = parent.path().join(at);
                let from = step.source.as_deref().unwrap_or(Path::new(""));
                let content = self.source.open_file(from)?;
                let copied = disk::copy(&content, &file, &path)?;
                disk::forget_cached(&content);
                if copied != *size {
                    return Err(Cause::SourceChanged { path: self.source.path().join(from) });
                }
                attributes::set_on_file(&file, &path, attrs)?;
                disk::set_modified(&file, &path, (modified.0, modified.1))?;
                if self.syncfs == Syncfs::Swallows {
                    sync_file(&file, &path)?;
                }
            }
            PathState::Directory { attrs } => {
                parent.make_dir(at, 0o700)?;
                // At once: what is made in it gets its label from it.
                if attrs.label.is_some() {
                    attributes::set_label(&parent.open_dir(at)?, attrs.label.as_ref())?;
                }
            }
            PathState::Symlink { uid, gid, target } => {
                parent.symlink(target, at)?;
                parent.give_made_symlink(at, *uid, *gid)?;
            }
            PathState::Absent | PathState::Other => {}
        }
        Ok(())
    }

    fn open_up(&self, dir: &Dir, attrs: &Attrs) -> Result<(), disk::Error> {
        attributes::set_on_directory(dir, attrs)?;
        if self.syncfs == Syncfs::Swallows { dir.sync() } else { Ok(()) }
    }
}
