//! Looking at paths of the host, one after the other or several at once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::attributes;
use super::capability::Capability;
use super::follow::{self, Trust};
use super::index::digest;
use super::root::{Root, identity, shallow_state};
use crate::disk::{self, Dir, Facts, Mounts};
use crate::plan::grounds::{Foreign, Found, Limits, Place, Site};
use crate::plan::plain_path::{same, split};
use crate::plan::{Claims, PathState, Role, Sha256, Target};
use crate::store::{Lookup, Stamp};

/// How many entries of somebody else a message names.
const EXAMPLES: usize = 3;

/// Sites from which on they are looked at by several threads, and the most of these.
const MANY: usize = 2000;
const MOST_THREADS: usize = 4;

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
    /// Whether labels count: an entry asks for one, or the group gave one earlier.
    pub(super) looks_at_labels: bool,
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

/// A site, and whether what is there is known.
pub(super) enum Looked<'t> {
    At(Site<'t>),
    NotYet(Site<'t>),
}

/// Whether what was found at a path without knowing what is wanted there says all that has to be known of it.
fn says_all(place: &Place, target: &Target<'_>) -> bool {
    let Some(found) = &place.found else { return false };
    match (&found.state, target.state) {
        _ if target.role != Role::Leaf => true,
        (PathState::Directory { .. }, _) => false,
        (PathState::File { size, sha256: None, .. }, PathState::File { size: wanted, .. }) => size != wanted,
        _ => true,
    }
}

impl<'a> Surveyor<'a> {
    pub(super) fn new(host: Host<'a>) -> Self {
        Self { host, fresh: Vec::new(), closed: HashMap::new(), ways: HashMap::new(), last: None }
    }

    /// Digests of the files that had to be read, with the stamps that they had before that.
    pub(super) fn into_digests(self) -> Vec<(PathBuf, Stamp, Sha256)> {
        self.fresh
    }

    /// The site of a target. `known` is what was found before at the paths that the group owns; a leaf of which that
    /// does not say all is not looked at yet.
    pub(super) fn site<'t>(
        &mut self,
        target: Target<'t>,
        known: &mut [Option<Place>],
    ) -> Result<Looked<'t>, disk::Error> {
        let (path, exists) = self.way(&target);
        let claim = self.host.claims.number(path.as_deref().unwrap_or(&target.path));
        let known = claim.and_then(|number| known.get_mut(number)?.take_if(|place| says_all(place, &target)));
        let mut site = Site { target, elsewhere: path, claim, place: Place::default() };
        if site.target.role == Role::Leaf {
            return Ok(match known {
                Some(place) => Looked::At(Site { place, ..site }),
                None => Looked::NotYet(site),
            });
        }
        match known {
            Some(place) => site.place = place,
            None => self.look(&mut site)?,
        }
        if !exists {
            self.ways.insert(site.target.path.clone().into(), Way::Missing(site.path().to_owned()));
            return Ok(Looked::At(site));
        }
        if let Some(directory) = self.followed(&site)? {
            site.place = self.place(&directory, None)?;
            site.claim = self.host.claims.number(&directory);
            site.elsewhere = (directory != site.target.path).then_some(directory);
        }
        let exists = site.place.found.as_ref().is_some_and(|found| found.state.is_directory());
        let way = if exists { Way::Exists(site.path().to_owned()) } else { Way::Missing(site.path().to_owned()) };
        self.ways.insert(site.target.path.clone().into(), way);
        Ok(Looked::At(site))
    }

    /// Looks at leaves. Their directories are all known: they need not be looked at in any order.
    pub(super) fn leaves(&mut self, sites: &mut [&mut Site<'_>]) -> Result<(), disk::Error> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        if threads == 1 || sites.len() < MANY {
            return self.leaves_of(sites);
        }
        let (own, others) = sites.split_at_mut(sites.len().div_ceil(threads));
        let mut helpers: Vec<Self> =
            (1..threads).map(|_| Surveyor { fresh: Vec::new(), last: None, ..self.clone() }).collect();
        thread::scope(|scope| {
            let parts = others.chunks_mut(own.len()).zip(&mut helpers);
            let begun = parts.map(|(part, helper)| {
                thread::Builder::new().name("survey".to_owned()).spawn_scoped(scope, || helper.leaves_of(part))
            });
            let at_work: Vec<_> = begun
                .collect::<Result<_, _>>()
                .map_err(|error| disk::Error::new("start a thread that looks at what is below", "/", error))?;
            let mut done = self.leaves_of(own);
            for helper in at_work {
                done = done.and(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        })?;
        self.fresh.extend(helpers.into_iter().flat_map(|helper| helper.fresh));
        Ok(())
    }

    fn leaves_of(&mut self, sites: &mut [&mut Site<'_>]) -> Result<(), disk::Error> {
        for site in sites {
            self.look(site)?;
            let Site { target, elsewhere, place, .. } = &mut **site;
            if let Some(found) = &mut place.found
                && found.state.is_directory()
            {
                found.foreign = self.foreign(elsewhere.as_deref().unwrap_or(&target.path))?;
            }
        }
        Ok(())
    }

    /// Where a target really is, if not where the AppSpec names it; and whether its directory is there at all.
    fn way(&self, target: &Target<'_>) -> (Option<PathBuf>, bool) {
        let (parent, name) = split(&target.path);
        let (is, exists) = match self.ways.get(parent.as_os_str()) {
            Some(Way::Missing(is)) => (is, false),
            Some(Way::Exists(is)) => (is, true),
            None => return (None, true),
        };
        ((!same(is, parent)).then(|| is.join(name)), exists)
    }

    /// Finds out what is at a site.
    fn look(&mut self, site: &mut Site<'_>) -> Result<(), disk::Error> {
        let (_, exists) = self.way(&site.target);
        let want = (site.target.role == Role::Leaf).then_some(site.target.state);
        site.place = if exists { self.place(site.path(), want)? } else { self.nothing(site.path())? };
        Ok(())
    }

    /// Where a symlink in a directory's place leads, if it is one to follow. One of the group's own is
    /// not: it counts as absent.
    fn followed(&self, site: &Site<'_>) -> Result<Option<PathBuf>, disk::Error> {
        let Some(found) = &site.place.found else { return Ok(None) };
        let is_link = matches!(found.state, PathState::Symlink { .. });
        if !is_link || self.host.claims.is_ours(site.path(), &found.state) {
            return Ok(None);
        }
        let trust = if site.target.role == Role::Way { Trust::Any } else { Trust::RootAlone };
        follow::directory(self.host.root, site.path(), trust)
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
            return Some("it is marked immutable or append-only; run `chattr -i -a` on it first".to_owned());
        }
        let mounted = facts.mount_point || self.host.mounts.is_mount_point(path);
        mounted.then(|| "something is mounted on it; unmount it, or choose another destination".to_owned())
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
        if dir.space()?.read_only {
            return Ok(Some(format!("the file system of {shown} is mounted read-only; mount it writable first")));
        }
        let sealed = directory.parent().is_some() && self.host.root.facts(directory)?.is_some_and(|facts| facts.sealed);
        if sealed {
            return Ok(Some(format!("{shown} is marked immutable or append-only; run `chattr -i -a` on it first")));
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
