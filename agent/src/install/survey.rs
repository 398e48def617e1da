//! What is on the host where a revision is to go. Reads, and changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::accounts;
use super::attributes;
use super::follow::{self, Trust};
use super::index::digest;
use super::root::{Root, identity, name, shallow_state};
use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Facts, Mount, Mounts};
use crate::layout::Layout;
use crate::plan::grounds::{Foreign, Found, Place, Selinux, Site, Survey};
use crate::plan::{Claims, Index, PathState, Role, Sha256, Target};
use crate::store::{Digests, Stamp};

/// How many entries of somebody else a message names.
const EXAMPLES: usize = 3;
/// Where distributions have the command that manages the rules for labels.
const SEMANAGE: [&str; 3] = ["/usr/sbin/semanage", "/usr/bin/semanage", "/usr/local/sbin/semanage"];

/// What is known before anything was looked at.
pub(super) struct Known<'a> {
    /// Who owns what.
    pub claims: &'a Claims,
    /// Digests of files that nobody has touched since; what is read now is added.
    pub digests: &'a mut Digests,
}

/// Looks at every target, and at everything that the group owns.
pub(super) fn survey(
    layout: &Layout,
    appspec: &AppSpec,
    targets: Vec<Target>,
    index: &Index,
    known: Known<'_>,
) -> Result<(Survey, Vec<Site>), disk::Error> {
    let claims = known.claims;
    let root = Root::open()?;
    let own = follow::directory(&root, &layout.own(), Trust::Any)?.unwrap_or_else(|| layout.own());
    let mut surveyor = Surveyor {
        root,
        mounts: Mounts::read()?,
        claims,
        digests: known.digests,
        index,
        closed: BTreeMap::new(),
        ways: BTreeMap::new(),
        last: None,
        wants_acls: appspec.permissions.iter().any(|entry| entry.acls.is_some()),
        keeps_acls: BTreeMap::new(),
    };
    let accounts = accounts::resolve(&appspec.permissions)?;
    let mut survey = Survey { accounts, own, ..Survey::default() };
    if appspec.permissions.iter().any(|entry| entry.context.is_some()) {
        survey.selinux = surveyor.selinux()?;
    }
    let sites = targets.into_iter().map(|target| surveyor.site(target)).collect::<Result<Vec<_>, _>>()?;
    let known: HashSet<&Path> = sites.iter().map(|site| site.path.as_path()).collect();
    for (path, _) in claims.ours().filter(|(path, _)| !known.contains(path)) {
        survey.owned.insert(path.to_owned(), surveyor.place(path, None)?);
    }
    Ok((survey, sites))
}

struct Surveyor<'a> {
    root: Root,
    mounts: Mounts,
    claims: &'a Claims,
    digests: &'a mut Digests,
    index: &'a Index,
    /// Why nothing can be changed in a directory.
    closed: BTreeMap<PathBuf, Option<String>>,
    /// Directories as the AppSpec names them, and where they are.
    ways: BTreeMap<PathBuf, Way>,
    /// The directory that was looked into last: the next path is in it more often than not.
    last: Option<(PathBuf, Rc<Dir>)>,
    /// Whether a permission entry asks for access control lists.
    wants_acls: bool,
    /// Whether file systems keep access control lists, by mount point.
    keeps_acls: BTreeMap<PathBuf, bool>,
}

/// Where a directory of the AppSpec is.
#[derive(Clone)]
enum Way {
    /// It is there.
    Exists(PathBuf),
    /// It will be there: nothing can be below it yet.
    Missing(PathBuf),
}

impl Surveyor<'_> {
    fn site(&mut self, target: Target) -> Result<Site, disk::Error> {
        let name = target.path.file_name().unwrap_or_default();
        let path = match target.path.parent().and_then(|parent| self.ways.get(parent)) {
            Some(Way::Missing(parent)) => {
                let path = parent.join(name);
                self.ways.insert(target.path.clone(), Way::Missing(path.clone()));
                let place = Place { without_acls: self.without_acls(&path)?, ..Place::default() };
                return Ok(Site { target, path, place });
            }
            Some(Way::Exists(parent)) => parent.join(name),
            None => Path::new("/").join(name),
        };
        let want = if target.role == Role::Leaf { self.index.get(&target.source) } else { None };
        let mut site = Site { place: self.place(&path, want)?, target, path };
        if site.target.role == Role::Leaf {
            if let Some(found) = &mut site.place.found
                && found.state.is_directory()
            {
                self.foreign(&site.path, &mut found.foreign)?;
            }
            return Ok(site);
        }
        if let Some(directory) = self.followed(&site)? {
            site.place = self.place(&directory, None)?;
            site.path = directory;
        }
        let exists = site.place.found.as_ref().is_some_and(|found| found.state.is_directory());
        let way = if exists { Way::Exists(site.path.clone()) } else { Way::Missing(site.path.clone()) };
        self.ways.insert(site.target.path.clone(), way);
        Ok(site)
    }

    /// Where a symlink in a directory's place leads, if it is one to follow. One of the group's own is
    /// not: it counts as absent.
    fn followed(&self, site: &Site) -> Result<Option<PathBuf>, disk::Error> {
        let Some(found) = &site.place.found else { return Ok(None) };
        let is_link = matches!(found.state, PathState::Symlink { .. });
        if !is_link || self.claims.is_ours(&site.path, &found.state) {
            return Ok(None);
        }
        let trust = if site.target.role == Role::Way { Trust::Any } else { Trust::RootAlone };
        follow::directory(&self.root, &site.path, trust)
    }

    fn place(&mut self, path: &Path, want: Option<&PathState>) -> Result<Place, disk::Error> {
        let closed = self.closed(path.parent().unwrap_or(path))?;
        let without_acls = self.without_acls(path)?;
        let nothing = Place { found: None, closed: closed.clone(), without_acls: without_acls.clone() };
        let Some(parent) = self.parent(path)? else { return Ok(nothing) };
        let Some(facts) = parent.facts(name(path))? else { return Ok(nothing) };
        let mut state = attributes::add_acls(shallow_state(&facts.stat), &parent, name(path))?;
        let mut leads_to_directory = false;
        match &mut state {
            PathState::Symlink { target, .. } => {
                *target = parent.read_link(name(path))?;
                leads_to_directory = follow::directory(&self.root, path, Trust::Any)?.is_some();
            }
            PathState::File { size, sha256, .. } => {
                if matches!(want, Some(PathState::File { size: wanted, .. }) if wanted == size) {
                    *sha256 = Some(self.digest(&parent, path, &facts)?);
                }
            }
            _ => {}
        }
        let found = Found {
            state,
            identity: identity(&facts),
            links: facts.stat.links,
            fixed: self.fixed(path, &facts),
            foreign: Foreign::default(),
            leads_to_directory,
        };
        Ok(Place { found: Some(Box::new(found)), closed, without_acls })
    }

    /// The stamp is from before the file is read: what is changed meanwhile is read again the next time.
    fn digest(&mut self, parent: &Dir, path: &Path, facts: &Facts) -> Result<Sha256, disk::Error> {
        let stamp = Stamp::of(&facts.stat);
        if let Some(known) = self.digests.of(path, &stamp) {
            return Ok(known);
        }
        let digest = digest(&parent.open_file(name(path))?, path)?;
        self.digests.insert(path.to_owned(), stamp, digest);
        Ok(digest)
    }

    /// The directory that holds the path; nothing where there is none.
    fn parent(&mut self, path: &Path) -> Result<Option<Rc<Dir>>, disk::Error> {
        let directory = path.parent().unwrap_or(path);
        if let Some((known, dir)) = &self.last
            && known == directory
        {
            return Ok(Some(Rc::clone(dir)));
        }
        match self.root.dir(directory) {
            Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(None),
            dir => {
                let dir = Rc::new(dir?);
                self.last = Some((directory.to_owned(), Rc::clone(&dir)));
                Ok(Some(dir))
            }
        }
    }

    fn fixed(&self, path: &Path, facts: &Facts) -> Option<String> {
        if facts.sealed {
            return Some("it is marked immutable or append-only; run `chattr -i -a` on it first".to_owned());
        }
        let mounted = facts.mount_point || self.mounts.is_mount_point(path);
        mounted.then(|| "something is mounted on it; unmount it, or choose another destination".to_owned())
    }

    /// Why nothing can be made or removed in a directory; nothing too where it is missing.
    fn closed(&mut self, directory: &Path) -> Result<Option<String>, disk::Error> {
        if let Some(known) = self.closed.get(directory) {
            return Ok(known.clone());
        }
        let reason = self.closed_reason(directory)?;
        self.closed.insert(directory.to_owned(), reason.clone());
        Ok(reason)
    }

    fn closed_reason(&self, directory: &Path) -> Result<Option<String>, disk::Error> {
        let dir = match self.root.dir(directory) {
            Err(error) if error.is_not_found() || error.is_not_a_directory() => return Ok(None),
            other => other?,
        };
        let shown = directory.display();
        if dir.space()?.read_only {
            return Ok(Some(format!("the file system of {shown} is mounted read-only; mount it writable first")));
        }
        let sealed = directory.parent().is_some() && self.root.facts(directory)?.is_some_and(|facts| facts.sealed);
        if sealed {
            return Ok(Some(format!("{shown} is marked immutable or append-only; run `chattr -i -a` on it first")));
        }
        Ok(dir.check_writable().err().map(|error| format!("{error}; the agent needs to write there")))
    }

    /// The mount point of the file system that a path is on, or would be, if access control lists are
    /// wanted and it keeps none.
    fn without_acls(&mut self, path: &Path) -> Result<Option<PathBuf>, disk::Error> {
        let mount = if self.wants_acls { self.mounts.of(path.parent().unwrap_or(path)) } else { None };
        let Some(Mount { point, .. }) = mount else { return Ok(None) };
        let keeps = match self.keeps_acls.get(point) {
            Some(known) => *known,
            None => {
                let keeps = self.root.dir(point)?.keeps_acls()?;
                self.keeps_acls.insert(point.clone(), keeps);
                keeps
            }
        };
        Ok((!keeps).then(|| point.clone()))
    }

    fn selinux(&self) -> Result<Selinux, disk::Error> {
        if !self.mounts.has_kind("selinuxfs") {
            return Ok(Selinux::Absent);
        }
        for place in SEMANAGE {
            if self.root.facts(Path::new(place))?.is_some() {
                return Ok(Selinux::Managed);
            }
        }
        Ok(Selinux::WithoutSemanage)
    }

    fn foreign(&self, directory: &Path, foreign: &mut Foreign) -> Result<(), disk::Error> {
        let mut ahead = vec![directory.to_owned()];
        while let Some(directory) = ahead.pop() {
            let dir = self.root.dir(&directory)?;
            for entry in dir.entries()? {
                let path = directory.join(&entry.name);
                let Some(facts) = dir.facts(&entry.name)? else { continue };
                let state = shallow_state(&facts.stat);
                if !self.claims.is_ours(&path, &state) || self.fixed(&path, &facts).is_some() {
                    foreign.count += 1;
                    if foreign.examples.len() < EXAMPLES {
                        foreign.examples.push(path);
                    }
                } else if state.is_directory() {
                    ahead.push(path);
                }
            }
        }
        Ok(())
    }
}
