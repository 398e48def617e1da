//! Hosts and revisions that nobody thought of: the same for the same seed.

use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::world::{World, listed, mapping, permission};
use crate::appspec::{AppSpec, Mode, NamePattern, PermissionEntry, PermissionTarget};
use crate::deployment::FileExistsBehavior::{Disallow, Overwrite, Retain};
use crate::install::{InstallError, Installed, Ownership};
use crate::plan::acl::Who;
use crate::plan::{Acl, Plan};
use crate::revision::Revision;

/// Few names, so that two trees have much in common.
const NAMES: [&str; 6] = ["a", "b", "c", "run.sh", ".hidden", "a-name-of-some-length"];
/// How often a revision that clashes is given up for another.
const TRIES: usize = 6;

/// A host that has an old revision, a new one, and what its owner did in between.
pub(super) struct Host {
    pub(super) world: World,
    new: Version,
}

impl Host {
    /// The host of a seed, in a directory of its own.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new();
        world.ownership = *random.choice([Ownership::Root, Ownership::Preserve].iter()).unwrap();
        let target = world.path("");
        let has_releases = random.u8(..3) == 0;
        if has_releases {
            release(&mut random, &target);
        }
        if random.u8(..3) == 0 {
            meddle(&mut random, &target);
        }
        if random.u8(..4) == 0 {
            world.group("other").behavior = Overwrite;
            let (revision, appspec) = version(&mut random, &world, "o-1", None);
            // A group that cannot install has nothing here, which is a host too.
            let _ = world.run_spec("o-1", &revision, &appspec);
        }
        world.group("group").behavior = Overwrite;
        let mut old = None;
        if random.u8(..8) != 0 {
            let (revision, appspec) = version(&mut random, &world, "d-1", None);
            if world.run_spec("d-1", &revision, &appspec).is_ok() {
                old = Some((revision, appspec));
            }
        }
        if random.bool() {
            meddle(&mut random, &target);
        }
        if has_releases {
            release(&mut random, &target);
        }
        world.behavior = *random.choice([Disallow, Overwrite, Retain].iter()).unwrap();
        let old = old.filter(|_| random.u8(..4) != 0);
        // Some are to clash, most are not.
        let new = match random.u8(..16) {
            0 => revision(&mut random, &world, "d-2", old.as_ref()),
            _ => version(&mut random, &world, "d-2", old.as_ref()),
        };
        Self { world, new }
    }

    /// Installs the new revision.
    pub(super) fn install(&self) -> Result<Installed, InstallError> {
        let (revision, appspec) = &self.new;
        self.world.run_spec("d-2", revision, appspec)
    }

    /// What it will change.
    pub(super) fn plan(&self) -> Result<Plan, InstallError> {
        let (revision, appspec) = &self.new;
        self.world.plan_spec("d-2", revision, appspec)
    }

    /// The new revision's AppSpec, for whoever reads of a failure.
    pub(super) fn appspec(&self) -> &AppSpec {
        &self.new.1
    }
}

/// A revision and its AppSpec.
type Version = (Revision, AppSpec);

/// A revision that can be installed, unless none is found; with much of an earlier one, if there is one.
fn version(random: &mut Rng, world: &World, deployment: &str, earlier: Option<&Version>) -> Version {
    for _ in 1..TRIES {
        let (revision, appspec) = revision(random, world, deployment, earlier);
        if world.plan_spec(deployment, &revision, &appspec).is_ok() {
            return (revision, appspec);
        }
    }
    revision(random, world, deployment, earlier)
}

fn revision(random: &mut Rng, world: &World, deployment: &str, earlier: Option<&Version>) -> Version {
    let revision = world.revision(deployment, &[]);
    let Some((old, old_appspec)) = earlier else {
        let entries = random.usize(1..24);
        grow(random, revision.root(), entries);
        let appspec = appspec(random, world, revision.root());
        return (revision, appspec);
    };
    revise(random, old.root(), revision.root());
    let entries = random.usize(..6);
    grow(random, revision.root(), entries);
    let mut appspec = appspec(random, world, revision.root());
    if random.u8(..4) != 0 {
        appspec.files.clone_from(&old_appspec.files);
    }
    if random.bool() {
        appspec.permissions.clone_from(&old_appspec.permissions);
    }
    (revision, appspec)
}

/// Copies a revision, but for what changed in the next one.
fn revise(random: &mut Rng, old: &Path, new: &Path) {
    for path in below(old) {
        let copy = new.join(path.strip_prefix(old).unwrap());
        // What was above it may be gone, or no directory any more.
        if !is_reachable(new, &copy) {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let change = random.u8(..24);
        if change == 0 {
            continue;
        } else if change == 1 {
            symlink(["a", "nowhere"][random.usize(..2)], &copy).unwrap();
        } else if change == 2 && !meta.is_dir() {
            std::fs::create_dir_all(copy.join("inner")).unwrap();
        } else if change == 3 && meta.is_dir() {
            write(random, &copy, "no directory");
        } else if meta.is_dir() {
            std::fs::create_dir(&copy).unwrap();
        } else if meta.is_symlink() {
            symlink(std::fs::read_link(&path).unwrap(), &copy).unwrap();
        } else {
            let text = if change < 8 { "revised\n".to_owned() } else { std::fs::read_to_string(&path).unwrap() };
            write(random, &copy, &text);
            if change > 12 {
                std::fs::File::open(&copy).unwrap().set_modified(meta.modified().unwrap()).unwrap();
            }
        }
        if copy.symlink_metadata().unwrap().file_type() == meta.file_type() {
            lchown(&copy, Some(meta.uid()), Some(meta.gid())).unwrap();
            if !meta.is_symlink() {
                std::fs::set_permissions(&copy, meta.permissions()).unwrap();
            }
        }
        if change == 9 {
            dress(random, &copy);
        }
    }
}

fn appspec(random: &mut Rng, world: &World, revision: &Path) -> AppSpec {
    let mut appspec = AppSpec { files: Vec::new(), ..world.appspec() };
    let mut sources: Vec<PathBuf> = below(revision);
    sources.push(revision.to_owned());
    for _ in 0..random.usize(1..4) {
        let source = random.choice(&sources).unwrap().strip_prefix(revision).unwrap().to_owned();
        let destination = ["app", "app", "app/a", "etc", "etc/b/c", "current", "current/b"][random.usize(..7)];
        appspec.files.push(mapping(&format!("/{}", source.display()), &world.path(destination)));
    }
    appspec.file_exists_behavior = [None, None, Some(Overwrite), Some(Retain), Some(Disallow)][random.usize(..5)];
    appspec.permissions = (0..random.usize(..4)).map(|_| permission_entry(random, world)).collect();
    appspec
}

fn permission_entry(random: &mut Rng, world: &World) -> PermissionEntry {
    let object = world.path(["app", "app/a", "app/b", "etc", "etc/b"][random.usize(..5)]);
    let pattern = ["**", "**", "*", "*.sh", "[a-b]", "?"][random.usize(..6)];
    let mode = ["0640", "0755", "0600", "2750", "4711"][random.usize(..5)];
    let list: &[&str] = [
        &["u:1234:rwx", "m::rwx"] as &[_],
        &["g:4321:rx"],
        &["u:1:r", "g:7:rwx", "m::rw"],
        &["u:1234:rwx", "d:u:1234:rx", "d:g::rx"],
    ][random.usize(..4)];
    let mut entry = match random.u8(..3) {
        0 => listed(&object, pattern, mode, list),
        _ => permission(&object, pattern, mode),
    };
    // Only directories have lists for what is made in them.
    entry.target = if entry.acls.iter().flatten().any(|acl| acl.default) {
        PermissionTarget::Directories
    } else {
        [PermissionTarget::Both, PermissionTarget::Files, PermissionTarget::Directories][random.usize(..3)]
    };
    if random.u8(..3) == 0 {
        entry.except = vec![NamePattern::parse(["a", "*.sh", "[c-z]*"][random.usize(..3)])];
    }
    if random.u8(..4) == 0 {
        entry.mode = None::<Mode>;
    }
    if rustix::process::geteuid().is_root() && random.u8(..3) == 0 {
        entry.owner = Some("1000".to_owned());
        entry.group = random.bool().then(|| "1001".to_owned());
    }
    entry
}

/// What happens on a host beside deployments: things come, go, and get other attributes.
fn meddle(random: &mut Rng, target: &Path) {
    let app = target.join(["app", "etc", ""][random.usize(..3)]);
    if std::fs::create_dir_all(&app).is_ok() && app.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        let entries = random.usize(..6);
        grow(random, &app, entries);
    }
    for path in below(target) {
        let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        match random.u8(..24) {
            0 if is_directory => {
                std::fs::remove_dir_all(&path).unwrap();
                match random.u8(..3) {
                    0 => write(random, &path, "in a directory's place"),
                    1 => {
                        std::fs::create_dir_all(target.join("shared/a")).unwrap();
                        let depth = path.strip_prefix(target).unwrap().components().count() - 1;
                        symlink(Path::new(&"../".repeat(depth)).join("shared"), &path).unwrap();
                    }
                    _ => {}
                }
            }
            1 if path.symlink_metadata().is_ok() && !is_directory => {
                std::fs::remove_file(&path).unwrap();
                match random.u8(..4) {
                    0 => symlink("..", &path).unwrap(),
                    1 => std::fs::create_dir_all(path.join("theirs")).unwrap(),
                    _ => {}
                }
            }
            2 if path.symlink_metadata().is_ok_and(|meta| meta.is_file()) => {
                let _ = std::fs::hard_link(&path, target.join("another-name"));
            }
            3 => dress(random, &path),
            4 if is_directory => {
                let entries = [(Who::User(99), 5), (Who::Mask, 7)].into();
                let bytes = Acl::completed(entries, 0o750).to_bytes();
                let name = "system.posix_acl_default";
                rustix::fs::setxattr(&path, name, &bytes, rustix::fs::XattrFlags::empty()).unwrap();
            }
            _ => {}
        }
    }
}

/// Makes one of a few releases, or none, and points `current` there, as scripts do.
fn release(random: &mut Rng, target: &Path) {
    let release = Path::new("releases").join(["1", "2", "3"][random.usize(..3)]);
    let current = target.join("current");
    if current.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return;
    }
    if random.u8(..8) != 0 {
        std::fs::create_dir_all(target.join(&release)).unwrap();
    }
    let _ = std::fs::remove_file(&current);
    symlink(release, &current).unwrap();
}

/// Puts entries into a directory, no deeper than four below it.
fn grow(random: &mut Rng, root: &Path, entries: usize) {
    for _ in 0..entries {
        let mut path = root.to_owned();
        for _ in 0..random.usize(1..5) {
            path.push(NAMES[random.usize(..NAMES.len())]);
        }
        let mut above = path.ancestors().skip(1).take_while(|above| *above != root);
        let is_blocked = above.any(|above| above.symlink_metadata().is_ok_and(|meta| !meta.is_dir()));
        if is_blocked || path.symlink_metadata().is_ok() {
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match random.u8(..10) {
            0 => std::fs::create_dir(&path).unwrap(),
            1 => symlink(["a", "b", "../c", "/nowhere", "."][random.usize(..5)], &path).unwrap(),
            _ => {
                let text = ["", "one\n", "two\n", "a longer text\n"][random.usize(..4)];
                write(random, &path, text);
            }
        }
        dress(random, &path);
    }
}

/// Whether there are directories all the way down to a path, and no links.
fn is_reachable(root: &Path, path: &Path) -> bool {
    let mut above = path.ancestors().skip(1).take_while(|above| *above != root);
    above.all(|above| above.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
}

/// Owner, mode and time.
fn dress(random: &mut Rng, path: &Path) {
    let Ok(meta) = path.symlink_metadata() else { return };
    if rustix::process::geteuid().is_root() && random.u8(..4) == 0 {
        lchown(path, Some(1000 + random.u32(..2)), Some(1000)).unwrap();
    }
    if meta.is_symlink() {
        return;
    }
    let modes = if meta.is_dir() { [0o755, 0o700, 0o2775, 0o1777] } else { [0o644, 0o600, 0o755, 0o4755] };
    std::fs::set_permissions(path, PermissionsExt::from_mode(modes[random.usize(..4)])).unwrap();
}

/// A file that is as old as others: times are compared.
fn write(random: &mut Rng, path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + random.u64(..2));
    std::fs::File::open(path).unwrap().set_modified(moment).unwrap();
}

/// Everything below a directory, in an order that is the same everywhere.
fn below(root: &Path) -> Vec<PathBuf> {
    super::world::tree(root).into_keys().map(|path| root.join(path)).collect()
}
