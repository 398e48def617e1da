//! What the group owns: who says so, and what is at these paths now. Most of what a revision brings is there already, so
//! these paths are looked at while the revision is still read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::capability::Capability;
use super::claims::{self, Before};
use super::root::Root;
use super::surveyor::{Host, Surveyor};
use super::{Cause, InstallRequest};
use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Mounts};
use crate::plan::Claims;
use crate::plan::grounds::{FollowedLinks, Place};
use crate::store::Digests;

/// How many paths somebody looks at before others may go on.
const AT_ONCE: usize = 256;

/// What is known of the host before a revision is compared with it.
pub(super) struct Holdings {
    /// Who owns what.
    pub(super) before: Before,
    /// Digests of files that nobody has touched since they were read.
    pub(super) digests: Digests,
    root: Root,
    mounts: Mounts,
    wants_acls: bool,
    pub(super) wants_labels: bool,
    links: FollowedLinks,
    /// The number of the next path that nobody has looked at yet.
    next: AtomicUsize,
    /// Places of so many paths in order, by the number of the first one.
    looked_at: Mutex<Vec<(usize, Vec<Place>)>>,
}

impl Holdings {
    /// Reads who owns what. Nothing was looked at yet.
    pub(super) fn read(request: &InstallRequest<'_>) -> Result<Self, Cause> {
        let AppSpec { permissions, .. } = request.appspec;
        Ok(Self {
            before: claims::read(request)?,
            digests: Digests::read(&request.layout.digests(request.group)),
            root: Root::open()?,
            mounts: Mounts::read()?,
            wants_acls: permissions.iter().any(|entry| entry.acls.is_some()),
            wants_labels: permissions.iter().any(|entry| entry.context.is_some()),
            links: request.policy.refusals.links,
            next: AtomicUsize::new(0),
            looked_at: Mutex::default(),
        })
    }

    /// Looks at what the group owns, until somebody has looked at all of it.
    pub(super) fn look(&self) -> Result<(), disk::Error> {
        let mut surveyor = Surveyor::new(self.host());
        loop {
            let first = self.next.fetch_add(AT_ONCE, Ordering::Relaxed);
            let paths = (first..first + AT_ONCE).map_while(|number| self.claims().path(number));
            let places = paths.map(|path| surveyor.place(path, None)).collect::<Result<Vec<_>, _>>()?;
            if places.is_empty() {
                return Ok(());
            }
            self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).push((first, places));
        }
    }

    /// What was found at the paths that the group owns, in their order.
    pub(super) fn take_places(&mut self) -> Vec<Option<Place>> {
        let mut parts = std::mem::take(self.looked_at.get_mut().unwrap_or_else(PoisonError::into_inner));
        parts.sort_by_key(|(first, _)| *first);
        let mut all = Vec::with_capacity(self.claims().ours().len());
        all.extend(parts.into_iter().flat_map(|(_, places)| places).map(Some));
        all
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.before.claims
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether an entry asks for a label, or a deployment gave one earlier.
    pub(super) fn looks_at_labels(&self) -> bool {
        self.wants_labels || self.claims().left_rules().next().is_some() || self.claims().labels().next().is_some()
    }

    pub(super) fn host(&self) -> Host<'_> {
        let capability = |is_wanted: bool, is_kept| {
            if is_wanted { Capability::wanted(is_kept) } else { Capability::not_wanted() }
        };
        Host {
            root: &self.root,
            mounts: &self.mounts,
            claims: self.claims(),
            digests: self.digests.lookup(),
            acls: capability(self.wants_acls, Dir::keeps_acls),
            labels: capability(self.wants_labels, Dir::keeps_labels),
            looks_at_labels: self.looks_at_labels(),
            links: self.links,
        }
    }
}
