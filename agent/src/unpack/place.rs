use std::path::{Path, PathBuf};

use super::{Named, Policy, Task, UnpackError, UnpackReport, UnpackWarning, copy_directory, unpack_as};
use crate::deployment::{BundleType, RelativePath};
use crate::disk::{self, Dir, Kind, StagedAttributes};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::process::{self, StopSignal};
use crate::revision::Revision;
use crate::store::{AttributeList, Attributes, Digests, Known, Origin, Stamp};

/// What becomes the revision.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A bundle.
    Bundle {
        /// The file.
        path: &'a Path,
        /// Its type.
        bundle_type: BundleType,
    },
    /// A directory of this host.
    Directory(&'a Path),
    /// A revision that was unpacked on this host. Owners and modes are the archive's, wherever they are put down.
    Revision(&'a Revision),
}

/// A revision in place, and what was done for it.
#[derive(Debug)]
pub struct Staged {
    /// The revision.
    pub revision: Revision,
    /// What was unpacked.
    pub report: UnpackReport,
    /// Scripts that lacked the executable bit and got it.
    pub made_executable: Vec<RelativePath>,
}

/// Which deployment the revision is for, and how its AppSpec is found.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where everything is.
    pub layout: &'a Layout,
    /// The group.
    pub group: &'a GroupId,
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// The AppSpec's name in the specification; `appspec.yaml` and `appspec.yml` are looked for too.
    pub appspec: &'a RelativePath,
}

/// Unpacks into the staging directory, strips a single top-level directory that holds the AppSpec, makes
/// `scripts` executable, makes all of it durable, and puts it in place by one rename. `scripts` is asked
/// once the content is there, with its root; scripts that are not there are passed over, the engine names
/// them when they should run. On any error nothing is left.
pub fn into_revision(
    content: Content<'_>,
    place: &Place<'_>,
    policy: &Policy,
    scripts: impl FnOnce(&Path) -> Vec<RelativePath>,
    stop: &StopSignal,
) -> Result<Staged, UnpackError> {
    let deployment = place.layout.deployment(place.group, place.deployment);
    let staging = place.layout.archive_staging(place.group, place.deployment);
    let archive = place.layout.archive(place.group, place.deployment);
    let (Some(staging_name), Some(archive_name)) = (staging.file_name(), archive.file_name()) else {
        return Err(UnpackError::Staging(disk::Error::new("use", staging, std::io::ErrorKind::InvalidInput)));
    };
    let home = Dir::open_or_create(&deployment, 0o755).map_err(UnpackError::Staging)?;
    disk::sweep_temporaries(&deployment).map_err(UnpackError::Staging)?;
    home.remove_tree(staging_name).map_err(UnpackError::Staging)?;
    let revision = Revision::at(archive.clone());
    let staged = || {
        let mut list = AttributeList::begin(&revision.attributes(), Origin::Unpacked).map_err(UnpackError::Staging)?;
        let task = Task { policy, stop: stop.clone(), list: Some(&mut list) };
        let (root, report) = stage(&home, Path::new(staging_name), content, place.appspec, task)?;
        let made_executable = make_executable(&home, &root, scripts)?;
        let stripped = root.strip_prefix(staging_name).unwrap_or(Path::new(""));
        // Before the files: without it, nobody would know whose they are to become.
        list.publish(stripped).map_err(UnpackError::Staging)?;
        put(&home, &root, Path::new(archive_name)).map_err(UnpackError::Staging)?;
        remember(&revision, &report, stripped);
        Ok(Staged { revision: revision.clone(), report, made_executable })
    };
    let staged = staged();
    // After success this is what a stripped directory was in, or the content that was replaced.
    let cleaned = home.remove_tree(staging_name).map_err(UnpackError::Staging);
    let staged = staged?;
    cleaned?;
    Ok(staged)
}

/// As [`into_revision`], for a revision that is only looked at: unpacks into an existing empty directory,
/// and makes nothing durable. What was unpacked before an error is left for the caller to remove.
pub fn into_scratch(
    content: Content<'_>,
    home: &Dir,
    appspec: &RelativePath,
    policy: &Policy,
    scripts: impl FnOnce(&Path) -> Vec<RelativePath>,
) -> Result<Staged, UnpackError> {
    let name = Path::new("revision");
    // Where the root is in what was unpacked is known only afterwards, and the list is beside it.
    let unpacked = Revision::at(home.path().join(name)).attributes();
    let mut list = AttributeList::begin(&unpacked, Origin::Unpacked).map_err(UnpackError::Staging)?;
    let task = Task { policy, stop: StopSignal::default(), list: Some(&mut list) };
    let (root, report) = stage(home, name, content, appspec, task)?;
    let made_executable = make_executable(home, &root, scripts)?;
    list.publish(root.strip_prefix(name).unwrap_or(Path::new(""))).map_err(UnpackError::Staging)?;
    let revision = Revision::at(home.path().join(root));
    let beside = |list: &Path| list.strip_prefix(home.path()).unwrap_or(list).to_owned();
    let (from, to) = (beside(&unpacked), beside(&revision.attributes()));
    if from != to {
        home.rename(&from, &to).map_err(UnpackError::Staging)?;
    }
    Ok(Staged { revision, report, made_executable })
}

/// Puts down the digests of a revision in place, whose root was `stripped` in the bundle. Without the list
/// its files are read again when they are installed.
fn remember(revision: &Revision, report: &UnpackReport, stripped: &Path) {
    let written = Dir::open(revision.root()).and_then(|root| {
        let known = report.digests.iter().filter_map(|(path, digest)| {
            let path = path.strip_prefix(stripped).ok()?;
            let stamp = Stamp::of(&root.stat(path).ok()?);
            Some((path, Some(Known { stamp, digest: *digest })))
        });
        Digests::default().write(&revision.digests(), known)
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the revision's digests were not put down");
    }
}

/// Where below `top` the revision's root is: nowhere else, or in the single directory that holds all of
/// it, the AppSpec included. What macOS adds beside that directory does not count.
pub fn revision_root(top: &Dir, appspec: &RelativePath) -> disk::Result<PathBuf> {
    Ok(single_directory(top, appspec)?.map(|only| only.path).unwrap_or_default())
}

/// Unpacks and tells where in `home` the revision's root is.
fn stage(
    home: &Dir,
    name: &Path,
    content: Content<'_>,
    appspec: &RelativePath,
    task: Task<'_>,
) -> Result<(PathBuf, UnpackReport), UnpackError> {
    home.make_dir(name, 0o755).map_err(UnpackError::Staging)?;
    let staging = || home.open_dir(name).map_err(UnpackError::Staging);
    let mut report = match content {
        Content::Bundle { path, bundle_type } => unpack_as(path, bundle_type, staging()?, task)?,
        Content::Directory(path) => copy_directory(path, None, staging()?, task)?,
        Content::Revision(revision) => {
            let attributes = Attributes::read(&revision.attributes()).map_err(UnpackError::Bundle)?;
            copy_directory(revision.root(), attributes.as_ref(), staging()?, task)?
        }
    };
    let staging = staging()?;
    match single_directory(&staging, appspec).map_err(UnpackError::Staging)? {
        None => Ok((name.to_owned(), report)),
        Some(Only { path: only, beside }) => {
            // The revision's root is this process's, and reachable for the users that hooks run as, whatever the archive
            // says.
            let only_dir = staging.open_dir(&only).map_err(UnpackError::Staging)?;
            let owner = process::is_root().then_some((0, 0));
            let attributes = StagedAttributes { mode: 0o755, owner, modified: None };
            disk::finish_dir(&only_dir, &attributes).map_err(UnpackError::Staging)?;
            report.warnings.extend((beside.total > 0).then_some(UnpackWarning::OfMacOs(beside)));
            Ok((name.join(only), report))
        }
    }
}

/// The directory that holds a whole bundle.
struct Only {
    path: PathBuf,
    /// What is beside it and means nothing.
    beside: Named,
}

/// The only entry at the top, but for what macOS adds, if it is a directory that holds the AppSpec and the top does not.
fn single_directory(staging: &Dir, appspec: &RelativePath) -> disk::Result<Option<Only>> {
    let entries = staging.entries()?;
    let mut beside = Named::default();
    let mut others = entries.iter().filter(|entry| {
        let is_of_macos = is_of_macos(entry);
        if is_of_macos {
            beside.add(&entry.name.to_string_lossy());
        }
        !is_of_macos
    });
    let (Some(only), None) = (others.next(), others.next()) else { return Ok(None) };
    if only.kind != Kind::Directory || holds_appspec(staging, appspec)? {
        return Ok(None);
    }
    let below = staging.open_dir(&only.name)?;
    Ok(holds_appspec(&below, appspec)?.then(|| Only { path: PathBuf::from(&only.name), beside }))
}

/// What the Finder and macOS's tar put into archives beside what was packed: a directory with attributes of files, one
/// file with those of each, and the Finder's own.
fn is_of_macos(entry: &disk::Entry) -> bool {
    match entry.kind {
        Kind::Directory => entry.name == "__MACOSX",
        Kind::File => entry.name == ".DS_Store" || entry.name.as_encoded_bytes().starts_with(b"._"),
        _ => false,
    }
}

fn holds_appspec(dir: &Dir, appspec: &RelativePath) -> disk::Result<bool> {
    for name in [appspec.as_path(), Path::new("appspec.yaml"), Path::new("appspec.yml")] {
        match dir.stat_if_exists(name) {
            Ok(Some(stat)) if stat.kind != Kind::Directory => return Ok(true),
            // A file where the name wants a directory: not there.
            Ok(_) => {}
            Err(error) if error.source.kind() == std::io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn make_executable(
    home: &Dir,
    root: &Path,
    scripts: impl FnOnce(&Path) -> Vec<RelativePath>,
) -> Result<Vec<RelativePath>, UnpackError> {
    let root = home.open_dir(root).map_err(UnpackError::Staging)?;
    let mut changed = Vec::new();
    for script in scripts(root.path()) {
        let stat = root.stat_if_exists(script.as_path());
        if script.is_root() || !matches!(stat, Ok(Some(stat)) if stat.kind == Kind::File) {
            continue;
        }
        if disk::make_executable(&root, script.as_path()).map_err(UnpackError::Staging)? {
            changed.push(script);
        }
    }
    Ok(changed)
}

/// Puts the root in place. Where a revision is there already, from an execution that was cut off after
/// this point, the new one takes its place. The group's lock is held: nothing else does so.
fn put(home: &Dir, root: &Path, archive: &Path) -> disk::Result<()> {
    home.sync_filesystem()?;
    match home.stat_if_exists(archive)? {
        None => home.rename(root, archive)?,
        // Not every file system can exchange.
        Some(_) => {
            home.refuse_mounts(archive)?;
            home.exchange(root, archive).or_else(|_| {
                home.remove_tree(archive)?;
                home.rename(root, archive)
            })?;
        }
    }
    home.sync()
}
