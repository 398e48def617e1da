//! A host in a temporary directory.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::appspec::{
    AclEntry, AppSpec, Destination, FileMapping, Mode, Pattern, PermissionEntry, PermissionTarget, Position,
};
use crate::deployment::{FileExistsBehavior, RelativePath};
use crate::ids::{DeploymentId, GroupId};
use crate::install::{self, Cause, InstallError, InstallPolicy, InstallRequest, Installed, Ownership, Settled};
use crate::journal::Journal;
use crate::layout::Layout;
use crate::plan::{Acl, Conflict, Plan, Refusals};
use crate::revision::Revision;

/// A root directory for the agent, and a `target` directory to install into.
pub(super) struct World {
    pub(super) temp: tempfile::TempDir,
    pub(super) layout: Layout,
    pub(super) group: GroupId,
    pub(super) behavior: FileExistsBehavior,
    pub(super) permissions: Vec<PermissionEntry>,
    pub(super) ownership: Ownership,
    pub(super) refusals: Refusals,
    pub(super) destination: PathBuf,
}

impl World {
    /// In memory where there is a place for it: most tests are about what happens, not about how long
    /// a disk takes for it.
    pub(super) fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let temp = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self::within(temp.unwrap())
    }

    /// On a disk, usually.
    pub(super) fn on_disk() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(super) fn within(temp: tempfile::TempDir) -> Self {
        let layout = Layout::new(temp.path().join("root"));
        crate::store::prepare(&layout).unwrap();
        let destination = temp.path().join("target/app");
        std::fs::create_dir(temp.path().join("target")).unwrap();
        Self {
            layout,
            group: GroupId::parse("group").unwrap(),
            behavior: FileExistsBehavior::Disallow,
            permissions: Vec::new(),
            ownership: Ownership::Root,
            refusals: Refusals::default(),
            destination,
            temp,
        }
    }

    /// Another group on the same host.
    pub(super) fn group(&mut self, name: &str) -> &mut Self {
        self.group = GroupId::parse(name).unwrap();
        self
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.temp.path().join("target").join(relative)
    }

    /// Something that is there without any deployment.
    pub(super) fn put(&self, lines: &[&str]) {
        make(&self.temp.path().join("target"), lines);
    }

    pub(super) fn revision(&self, deployment: &str, lines: &[&str]) -> Revision {
        let root = self.layout.archive(&self.group, &id(deployment));
        if root.exists() {
            std::fs::remove_dir_all(&root).unwrap();
        }
        std::fs::create_dir_all(&root).unwrap();
        make(&root, lines);
        Revision::at(root)
    }

    pub(super) fn appspec(&self) -> AppSpec {
        AppSpec {
            files: vec![mapping("/", &self.destination)],
            file_exists_behavior: None,
            permissions: self.permissions.clone(),
            hooks: BTreeMap::new(),
        }
    }

    pub(super) fn run(&self, deployment: &str, lines: &[&str]) -> Result<Installed, InstallError> {
        let revision = self.revision(deployment, lines);
        self.run_spec(deployment, &revision, &self.appspec())
    }

    pub(super) fn run_spec(
        &self,
        deployment: &str,
        revision: &Revision,
        appspec: &AppSpec,
    ) -> Result<Installed, InstallError> {
        self.with(deployment, revision, appspec, |request| install::run(&request))
    }

    pub(super) fn plan(&self, deployment: &str, lines: &[&str]) -> Result<Plan, InstallError> {
        let revision = self.revision(deployment, lines);
        self.plan_spec(deployment, &revision, &self.appspec())
    }

    pub(super) fn plan_spec(
        &self,
        deployment: &str,
        revision: &Revision,
        appspec: &AppSpec,
    ) -> Result<Plan, InstallError> {
        self.with(deployment, revision, appspec, |request| install::plan(&request))
    }

    fn with<T>(
        &self,
        deployment: &str,
        revision: &Revision,
        appspec: &AppSpec,
        work: impl FnOnce(InstallRequest<'_>) -> T,
    ) -> T {
        let deployment = id(deployment);
        let policy = InstallPolicy {
            file_exists: self.behavior,
            ownership: self.ownership,
            default_owner: None,
            refusals: self.refusals,
        };
        work(InstallRequest {
            layout: &self.layout,
            group: &self.group,
            deployment: &deployment,
            revision,
            appspec,
            policy,
        })
    }

    /// Settles, however often that was cut off. A process that another test is just starting may hold a copy of the journal's descriptor
    /// for a moment, and then the install counts as alive: that moment is waited for.
    /// An error where one cannot be settled.
    pub(super) fn settle(&self) -> Result<Vec<Settled>, String> {
        self.wait_for_journals();
        settled(install::settle_all_the_same(&self.layout))
    }

    /// As the daemon settles at its start.
    pub(super) fn settle_at_start(&self) -> Result<Vec<Settled>, String> {
        self.wait_for_journals();
        settled(install::settle(&self.layout))
    }

    fn wait_for_journals(&self) {
        for transaction in std::fs::read_dir(self.layout.transactions()).unwrap() {
            let journal = transaction.unwrap().path().join("journal");
            while Journal::is_held(&journal).unwrap() {
                std::thread::yield_now();
            }
        }
    }

    /// Everything below `target`, and whether transactions are left.
    pub(super) fn tree(&self) -> BTreeMap<PathBuf, String> {
        tree(&self.temp.path().join("target"))
    }

    pub(super) fn assert_no_transactions(&self) {
        let left: Vec<_> = std::fs::read_dir(self.layout.transactions()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    pub(super) fn has_no_transactions(&self) -> bool {
        std::fs::read_dir(self.layout.transactions()).unwrap().next().is_none()
    }

    pub(super) fn read(&self, relative: &str) -> String {
        std::fs::read_to_string(self.path(relative)).unwrap()
    }

    pub(super) fn inode(&self, relative: &str) -> u64 {
        std::fs::symlink_metadata(self.path(relative)).unwrap().ino()
    }

    pub(super) fn mode(&self, relative: &str) -> u32 {
        std::fs::symlink_metadata(self.path(relative)).unwrap().permissions().mode() & 0o7777
    }
}

fn settled(result: Result<Vec<Settled>, crate::disk::Error>) -> Result<Vec<Settled>, String> {
    let all = result.map_err(|error| error.to_string())?;
    match all.iter().find(|one| matches!(one.ending, install::Ending::Failed { .. })) {
        Some(failed) => Err(failed.to_string()),
        None => Ok(all),
    }
}

/// `dir/`, `file=content`, `link->target`, each made in order, parents too.
pub(super) fn make(root: &Path, lines: &[&str]) {
    for line in lines {
        if let Some((link, target)) = line.split_once("->") {
            parents(&root.join(link));
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        } else if let Some((file, content)) = line.split_once('=') {
            parents(&root.join(file));
            std::fs::write(root.join(file), content).unwrap();
            let file = std::fs::File::open(root.join(file)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
        } else {
            std::fs::create_dir_all(root.join(line)).unwrap();
        }
    }
}

fn parents(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
}

/// The conflicts of a plan that could not be made.
pub(super) fn conflicts(error: InstallError) -> Vec<Conflict> {
    match error.cause {
        Cause::Conflicts(blocked) => blocked.conflicts.0,
        other => panic!("{other}"),
    }
}

/// Every path below `root` with all that an install sets.
pub(super) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let owner = format!("{}:{}{}", meta.uid(), meta.gid(), acls(&path, &meta));
            let shown = if meta.is_symlink() {
                format!("link {owner} {}", std::fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                ahead.push(path.clone());
                format!("dir {:o} {owner}", meta.mode() & 0o7777)
            } else {
                let content = std::fs::read_to_string(&path).unwrap();
                format!("file {:o} {owner} {}.{} {content}", meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec())
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), shown);
        }
    }
    found
}

/// The access control lists of a path, as the kernel has them.
fn acls(path: &Path, meta: &std::fs::Metadata) -> String {
    if meta.is_symlink() {
        return String::new();
    }
    let read = |attribute: &str| {
        let mut buffer = [0; 512];
        let length = rustix::fs::lgetxattr(path, attribute, &mut buffer).ok()?;
        Some(format!("+{}", Acl::from_bytes(&buffer[..length]).unwrap()))
    };
    ["system.posix_acl_access", "system.posix_acl_default"].into_iter().filter_map(read).collect()
}

/// Says why something is not tested here.
pub(super) fn skipped(why: &str) {
    said(&format!("skipped, since {why}"));
}

/// Says something past the harness, which keeps what tests print that pass.
pub(super) fn said(what: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{what}\n"));
}

/// Whether this process may give files away; where not, the test that asks says so and is skipped.
pub(super) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped("it takes root");
    }
    is_root
}

pub(super) fn id(deployment: &str) -> DeploymentId {
    DeploymentId::parse(deployment).unwrap()
}

pub(super) fn mapping(source: &str, destination: &Path) -> FileMapping {
    FileMapping {
        source: RelativePath::parse(source).unwrap(),
        destination: Destination::parse(destination.to_str().unwrap()).unwrap(),
        at: Position { line: 4, column: 5 },
    }
}

pub(super) fn permission(object: &Path, pattern: &str, mode: &str) -> PermissionEntry {
    PermissionEntry {
        object: Destination::parse(object.to_str().unwrap()).unwrap(),
        pattern: Pattern::parse(pattern),
        except: vec![],
        target: PermissionTarget::Both,
        owner: None,
        group: None,
        mode: Mode::parse(mode),
        acls: None,
        context: None,
        at: Position { line: 8, column: 5 },
    }
}

/// A permission entry that gives access control entries.
pub(super) fn listed(object: &Path, pattern: &str, mode: &str, acls: &[&str]) -> PermissionEntry {
    let acls = acls.iter().map(|text| AclEntry::parse(text).unwrap()).collect();
    PermissionEntry { acls: Some(acls), ..permission(object, pattern, mode) }
}
