//! Revisions that others could change: those that an earlier version or AWS's agent unpacked, whose files have the
//! archive's owners. Before the agent runs a script of one, or goes back to it, it takes the files for itself, and holds
//! the AppSpec and its scripts to the digests that it put down when it unpacked them.

use std::path::{Path, PathBuf};

use super::failure::StageError;
use super::{Engine, download};
use crate::deployment::DeploymentSpec;
use crate::disk::{self, Dir, Kind, StagedAttributes, Stat};
use crate::ids::DeploymentId;
use crate::install;
use crate::plan::Sha256;
use crate::process::Account;
use crate::revision::{Revision, read_appspec};
use crate::store::{AttributeList, Attributes, Digests, Given, ListError, Origin, is_editable_by_others, own_mode};

/// A new copy of a file on its way to its place, beside the revision.
const RENEWED: &str = ".renewed";

/// What others could change.
#[derive(Debug, Default)]
struct Editable {
    /// How many entries.
    count: u64,
    /// The first one, its user and its mode.
    first: Option<(PathBuf, u32, u32)>,
}

impl Engine {
    /// Sees to it that nobody else can change a revision that is on this host already.
    pub(super) fn take_custody(
        &self,
        spec: &DeploymentSpec,
        (deployment, revision): (&DeploymentId, &Revision),
    ) -> Result<(), StageError> {
        let known = Attributes::read(&revision.attributes())?;
        let origin = known.as_ref().map(Attributes::origin);
        if origin == Some(Origin::Unpacked) {
            return Ok(());
        }
        let root = Dir::open(revision.root())?;
        let editable = find(&root)?;
        if editable.count == 0 && origin.is_none() {
            return Ok(());
        }
        let could = could(&editable);
        if editable.count > 0 {
            note(&root, revision, known.as_ref())?;
            take(&root, revision)?;
            tracing::warn!(
                revision = %revision.root().display(),
                entries = editable.count,
                "{could} could change files of a revision whose scripts the agent runs: an earlier version, or AWS's agent, \
                 gave them the owners of the archive. They are the agent's user's alone now; only what is installed has \
                 the archive's owners"
            );
        }
        let refused = |file: &Path| StageError::Tampered {
            file: file.display().to_string(),
            deployment: deployment.clone(),
            could: could.clone(),
            owner: Account::own().ok().flatten().map_or_else(|| "the agent".to_owned(), |account| account.name),
            group: spec.group_id.clone(),
        };
        let held = held(&root, spec);
        let digests = Digests::read(&revision.digests());
        for (path, known) in digests.all().filter(|(path, _)| held.iter().any(|held| held == path)) {
            let Some(now) = root.stat_if_exists(path)?.filter(|stat| stat.kind == Kind::File) else { continue };
            if renew(revision, path, now.mode)?.is_some_and(|found| found != known.digest) {
                return Err(refused(path));
            }
        }
        Ok(())
    }
}

/// Who could change something, for messages.
fn could(editable: &Editable) -> String {
    match &editable.first {
        Some((path, uid, _)) if *uid != 0 => format!("user {uid}, who owned {},", path.display()),
        Some((path, _, mode)) => format!("others, by the mode {mode:04o} of {},", path.display()),
        None => "others".to_owned(),
    }
}

/// The AppSpec and its scripts: what decides what is run.
fn held(root: &Dir, spec: &DeploymentSpec) -> Vec<PathBuf> {
    let scripts = download::scripts_of(root.path(), spec);
    let appspec = read_appspec(root, &spec.appspec_filename).ok().map(|(name, _)| name);
    appspec.into_iter().chain(scripts.into_iter().map(|script| script.as_path().to_owned())).collect()
}

/// Goes through a tree, each directory before what is in it; not into what is mounted there.
fn walk(
    dir: &Dir,
    prefix: &Path,
    visit: &mut impl FnMut(&Dir, &Path, &Stat) -> Result<(), StageError>,
) -> Result<(), StageError> {
    visit(dir, prefix, &dir.stat_self()?)?;
    for entry in dir.entries()? {
        let path = prefix.join(&entry.name);
        match dir.stat(&entry.name)? {
            stat if stat.kind != Kind::Directory => visit(dir, &path, &stat)?,
            _ => {
                if let Some(below) = dir.open_dir_of_same_mount(Path::new(&entry.name))? {
                    walk(&below, &path, visit)?;
                }
            }
        }
    }
    Ok(())
}

fn find(root: &Dir) -> Result<Editable, StageError> {
    let mut found = Editable::default();
    walk(root, Path::new(""), &mut |_, path, stat| {
        if is_editable_by_others(stat) {
            found.count += 1;
            found.first.get_or_insert_with(|| (path.to_owned(), stat.uid, stat.mode));
        }
        Ok(())
    })?;
    Ok(found)
}

/// What an entry has once it is taken.
fn taken_mode(stat: &Stat) -> u32 {
    match stat.kind {
        Kind::Symlink => stat.mode,
        Kind::Directory => own_mode(stat.mode) | 0o700,
        Kind::File | Kind::Other => own_mode(stat.mode),
    }
}

/// Puts down the owners and modes that the files have until now: what is installed gets them still.
fn note(root: &Dir, revision: &Revision, known: Option<&Attributes>) -> Result<(), StageError> {
    let mut list = AttributeList::begin(&revision.attributes(), Origin::Mended)?;
    walk(root, Path::new(""), &mut |_, path, stat| {
        let given = known.and_then(|known| known.of(path, stat));
        let kept = if is_editable_by_others(stat) { taken_mode(stat) } else { stat.mode };
        let given = match given {
            Some(given) => given,
            None if is_editable_by_others(stat) => Given { mode: stat.mode, uid: stat.uid, gid: stat.gid },
            None => return Ok(()),
        };
        list.add(path, kept, given).map_err(|error| match error {
            ListError::Disk(error) => StageError::Disk(error),
            ListError::TooLong => {
                let error = std::io::Error::other(ListError::TooLong);
                StageError::Disk(disk::Error::new("put down the owners of", revision.root(), error))
            }
        })
    })?;
    Ok(list.publish(Path::new(""))?)
}

/// Takes what others could change.
fn take(root: &Dir, revision: &Revision) -> Result<(), StageError> {
    let (uid, gid) = own();
    walk(root, Path::new(""), &mut |dir, path, stat| {
        if !is_editable_by_others(stat) {
            return Ok(());
        }
        let name = Path::new(path.file_name().unwrap_or_default());
        match stat.kind {
            Kind::Directory => {
                disk::set_owner(dir, dir.path(), uid, gid)?;
                disk::set_mode(dir, dir.path(), taken_mode(stat))?;
            }
            // Its other name can be a file of somebody else.
            Kind::File if stat.links > 1 => {
                renew(revision, path, taken_mode(stat))?;
            }
            Kind::File => {
                let file = dir.open_file(name)?;
                let path = dir.path().join(name);
                disk::set_owner(&file, &path, uid, gid)?;
                disk::set_mode(&file, &path, taken_mode(stat))?;
            }
            Kind::Symlink | Kind::Other => dir.set_owner_at(name, uid, gid)?,
        }
        Ok(())
    })
}

fn own() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Makes a file anew, with the same content: a descriptor that was opened while others could write to it leads to the old
/// one. Returns the digest of the new one, which is this process's.
fn renew(revision: &Revision, path: &Path, mode: u32) -> Result<Option<Sha256>, StageError> {
    let (Some(home), Some(name)) = (revision.root().parent(), revision.root().file_name()) else { return Ok(None) };
    let home = Dir::open(home)?;
    let at = Path::new(name).join(path);
    let stat = home.stat(&at)?;
    home.remove_tree(RENEWED)?;
    let file = home.create_file(RENEWED, 0o600)?;
    let place = home.path().join(RENEWED);
    disk::copy(&home.open_file(&at)?, &file, &place)?;
    let attributes = StagedAttributes { mode, owner: Some(own()), modified: Some(stat.modified) };
    disk::finish_file(&file, &place, &attributes)?;
    disk::sync_file(&file, &place)?;
    let digest = install::digest(&home.open_file(RENEWED)?, &place)?;
    home.rename(RENEWED, &at)?;
    Ok(Some(digest))
}
