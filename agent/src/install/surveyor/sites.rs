//! Where targets of a revision really are.

use std::path::PathBuf;
use std::thread;

use super::super::follow::{self, Led, Trust};
use super::{Surveyor, Way};
use crate::disk;
use crate::plan::grounds::{Followed, Place, Site};
use crate::plan::plain_path::{same, split};
use crate::plan::{PathState, Role, Target};

/// Sites from which on they are looked at by several threads, and the most of these.
const MANY: usize = 2000;
const MOST_THREADS: usize = 4;

/// A site, and whether what is there is known.
pub(in crate::install) enum Looked<'t> {
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

impl Surveyor<'_> {
    /// The site of a target. `known` is what was found before at the paths that the group owns; a leaf of which that
    /// does not say all is not looked at yet.
    pub(in crate::install) fn site<'t>(
        &mut self,
        target: Target<'t>,
        known: &mut [Option<Place>],
    ) -> Result<Looked<'t>, disk::Error> {
        let (path, exists) = self.way(&target);
        let claim = self.host.claims.number(path.as_deref().unwrap_or(&target.path));
        let known = claim.filter(|_| exists).and_then(|number| known.get_mut(number));
        let known = known.and_then(|place| place.take_if(|place| says_all(place, &target)));
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
        if let Some(directory) = self.followed(&mut site)? {
            let (named, at, led_to) = (site.target.path.clone(), site.path().to_owned(), directory.clone());
            self.followed.push(Followed { named, at, led_to });
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
    pub(in crate::install) fn leaves(&mut self, sites: &mut [&mut Site<'_>]) -> Result<(), disk::Error> {
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

    /// Where a symlink in a directory's place leads, if it is one to follow. One that the group installed is not: it
    /// counts as absent. Neither is one in the place of a directory of the group, but on the way to a destination.
    fn followed(&self, site: &mut Site<'_>) -> Result<Option<PathBuf>, disk::Error> {
        let Some(found) = &site.place.found else { return Ok(None) };
        let (PathState::Symlink { .. }, claims) = (&found.state, self.host.claims) else { return Ok(None) };
        let is_own = match site.target.role {
            Role::Way => {
                let is_claimed = site.claim.is_some_and(|number| claims.covers(number, &found.state));
                is_claimed && claims.directory(site.path()).is_none()
            }
            Role::Directory | Role::Leaf => claims.is_ours(site.path(), &found.state),
        };
        if is_own || !found.leads_to_directory {
            return Ok(None);
        }
        match follow::lead(self.host.root, site.path(), Trust::Safe(self.host.links))? {
            Led::To(directory) => return Ok(Some(directory)),
            Led::Distrusted(why) => site.place.limits.get_or_insert_default().distrusted = Some(why),
            Led::Nowhere => {}
        }
        Ok(None)
    }
}
