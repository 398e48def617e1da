//! From grounds to a plan.

mod wanted;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::conflict::{Conflict, Conflicts, PathOwner};
use super::grounds::{Found, Grounds, Site};
use super::heritage::Heritage;
use super::label_rules::label_rules;
use super::permission::{Bare, Permissions};
use super::plain_path::{below, in_order, same};
use super::state::{Attrs, PathState};
use super::target::Role;
use super::{Blocked, Change, Plan, Step};
use crate::appspec::PathKind;
use crate::deployment::FileExistsBehavior;
use wanted::modified;

/// Makes the plan, or says everything that keeps it from being made, and what it would do otherwise. `sites` are the targets with what
/// is in their places; `conflicts` are those that were found before.
pub fn build(
    grounds: &Grounds<'_>,
    mut sites: Vec<Site<'_>>,
    mut conflicts: Vec<Conflict>,
) -> Result<Plan, Box<Blocked>> {
    sites.sort_by(|one, other| in_order(one.path(), other.path()).then(one.target.role.cmp(&other.target.role)));
    conflicts.extend(sites.windows(2).filter_map(duplicate));
    sites.dedup_by(|later, earlier| same(later.path(), earlier.path()));
    let permissions = Permissions::new(grounds, &mut conflicts);
    let mut builder = Builder {
        grounds,
        behavior: grounds.appspec.file_exists_behavior.unwrap_or(grounds.file_exists),
        permissions,
        steps: Vec::with_capacity(sites.len()),
        conflicts,
        warnings: grounds.survey.warnings.clone(),
        replaced: BTreeSet::new(),
        retained: Vec::new(),
        wanted: vec![false; grounds.claims.ours().len()],
        heritage: Heritage::default(),
        without_acls: BTreeSet::new(),
        without_labels: BTreeSet::new(),
    };
    for site in sites {
        builder.target(site);
    }
    // A link that is followed stays, whoever put it in the place of a directory of the group.
    for followed in &grounds.survey.followed {
        builder.permissions.meet_symlink(&followed.named, &mut builder.conflicts);
        if let Some(wanted) = grounds.claims.number(&followed.at).and_then(|number| builder.wanted.get_mut(number)) {
            *wanted = true;
        }
    }
    builder.leftovers();
    builder.finish()
}

/// Directories that several sources go to are merged; nothing else is.
fn duplicate(pair: &[Site<'_>]) -> Option<Conflict> {
    let [one, other] = pair else { return None };
    (same(one.path(), other.path()) && other.target.role == Role::Leaf).then(|| Conflict::DuplicateTarget {
        path: other.target.path.clone(),
        first: (one.target.source.to_owned(), one.target.entry),
        second: (other.target.source.to_owned(), other.target.entry),
    })
}

struct Builder<'a> {
    grounds: &'a Grounds<'a>,
    behavior: FileExistsBehavior,
    permissions: Permissions<'a>,
    steps: Vec<Step>,
    conflicts: Vec<Conflict>,
    warnings: Vec<String>,
    /// Directories that something else takes the place of, with all that is in them.
    replaced: BTreeSet<PathBuf>,
    /// What RETAIN left where a directory should be, and how many paths are not installed below it.
    retained: Vec<(PathBuf, usize)>,
    /// What the group owns and the revision has too, by its number.
    wanted: Vec<bool>,
    heritage: Heritage,
    /// Mount points of file systems of which it was said that they keep no access control lists, or labels.
    without_acls: BTreeSet<PathBuf>,
    without_labels: BTreeSet<PathBuf>,
}

/// What happens at a target.
struct Decision {
    change: Change,
    want: PathState,
    given: Option<Attrs>,
}

/// Whether something keeps a step from being done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Free,
    /// A conflict says what.
    InTheWay,
}

impl Decision {
    fn new(change: Change, want: PathState) -> Option<Self> {
        Some(Self { change, want, given: None })
    }
}

impl<'a> Builder<'a> {
    fn target(&mut self, site: Site<'_>) {
        if let Some(wanted) = site.claim.and_then(|number| self.wanted.get_mut(number)) {
            *wanted = true;
        }
        if let Some((_, count)) = self.retained.iter_mut().find(|(path, _)| site.path().starts_with(path)) {
            *count += 1;
            return;
        }
        let decision = self.decide(&site);
        let found = site.place.found.as_ref().map(|found| &found.state);
        self.heritage.note(site.path(), decision.as_ref().map(|decision| &decision.want), found);
        let Some(decision) = decision else { return };
        if self.check(&site, &decision) == Verdict::InTheWay {
            return;
        }
        let (was, identity) = match &site.place.found {
            // Of what stays there are the most: nothing that nobody asks for is kept of it.
            _ if !decision.change.is_one() => (None, None),
            Some(found) => {
                let was = self.as_it_counts(&site, &found.state, &decision.want).into_owned();
                (Some(Box::new(was)), Some(Box::new(found.identity)))
            }
            None => (Some(Box::new(PathState::Absent)), None),
        };
        let Site { target, elsewhere, .. } = site;
        let path = elsewhere.unwrap_or(target.path);
        self.steps.push(Step {
            path,
            change: decision.change,
            was,
            want: decision.want,
            identity,
            given: decision.given.map(Box::new),
            source: (target.role == Role::Leaf && decision.change.is_one()).then(|| target.source.to_owned()),
        });
    }

    /// What happens at a target; nothing where a conflict was found, or where there is nothing to do
    /// and nothing to own.
    fn decide(&mut self, site: &Site<'_>) -> Option<Decision> {
        let Some(found) = &site.place.found else {
            return Decision::new(Change::Create, self.want(site));
        };
        match (site.target.role, &found.state) {
            (Role::Way | Role::Directory, PathState::Directory { attrs }) => self.directory(site, found, attrs),
            (Role::Way, PathState::Symlink { target, .. })
                if let Some(by) = site.place.limits.as_ref().and_then(|limits| limits.distrusted.clone()) =>
            {
                let (path, target) = (site.target.path.clone(), target.clone());
                self.conflicts.push(Conflict::SymlinkOnTheWay { path, target, by });
                None
            }
            (Role::Way | Role::Directory, PathState::Symlink { target, .. })
                if found.leads_to_directory && !self.is_ours(site, found) =>
            {
                let (path, target) = (site.target.path.clone(), target.clone());
                let by = site.place.limits.as_ref().and_then(|limits| limits.distrusted.clone());
                self.conflicts.push(Conflict::SymlinkInTheWay { path, target, by });
                None
            }
            _ => self.occupied(site, found),
        }
    }

    /// A directory is where one should be: it is merged with. Only the group's own gets attributes, and
    /// of these only what nobody changed since: scripts give directories to other users.
    fn directory(&mut self, site: &Site<'_>, found: &Found, now: &Attrs) -> Option<Decision> {
        if !self.is_ours(site, found) {
            return None;
        }
        let fresh = self.new_directory(site);
        let given = self.grounds.claims.directory(site.path()).unwrap_or(&fresh);
        let attrs = Attrs::where_same([given, now], &fresh, now);
        let is_fresh = (attrs.mode, attrs.access_acl()) == (fresh.mode, fresh.access_acl());
        let bare = Bare { mode: if is_fresh { self.directory_mode(site) } else { attrs.base_mode() }, attrs };
        let path = &site.target.path;
        let want = self.permissions.apply(path, PathKind::Directory, bare, &mut self.conflicts);
        let recorded = Attrs::where_same([&want, now], given, &want).with_label(want.label.clone());
        let is_given = given.label.is_some() && given.label == now.label;
        let want = match want.label {
            // What the group gave goes when no entry gives it any more.
            None if is_given => want.with_label(self.heritage.label(site.path()).cloned()),
            _ => want,
        };
        let counts = want.label.is_some();
        let is_met = want == now.clone().with_label(now.label.clone().filter(|_| counts));
        Some(Decision {
            change: if is_met { Change::Keep } else { Change::Attributes },
            given: (recorded != want).then_some(recorded),
            want: PathState::Directory { attrs: want },
        })
    }

    /// Something is there that cannot stay if the target is to be installed as it is.
    fn occupied(&mut self, site: &Site<'_>, found: &Found) -> Option<Decision> {
        let ours = self.is_ours(site, found);
        if !ours {
            match self.behavior {
                FileExistsBehavior::Overwrite => {}
                FileExistsBehavior::Retain => {
                    if site.target.role != Role::Leaf {
                        self.retained.push((site.path().to_owned(), 0));
                    }
                    return Decision::new(Change::Retain, found.state.clone());
                }
                FileExistsBehavior::Disallow => {
                    self.conflicts.push(Conflict::Exists {
                        path: site.target.path.clone(),
                        kind: found.state.kind(),
                        owner: match self.grounds.claims.owner(site.path()) {
                            Some(installer) => PathOwner::Group(installer.clone()),
                            None => PathOwner::Unknown,
                        },
                    });
                    return None;
                }
            }
        }
        if ours
            && self.behavior == FileExistsBehavior::Retain
            && let Some(foreign) = &found.foreign
        {
            self.warnings.push(format!(
                "{} stays a directory, since it holds {} that the deployment group did not install; what the revision \
                 has for this path is not installed",
                site.target.path.display(),
                foreign.counted()
            ));
            return Decision::new(Change::Retain, found.state.clone());
        }
        let want = self.want(site);
        if let Some(foreign) = &found.foreign {
            self.conflicts.push(Conflict::ForeignEntries {
                path: site.target.path.clone(),
                want: want.kind(),
                examples: foreign.examples.clone(),
                count: foreign.count,
            });
            return None;
        }
        let shared = matches!(found.state, PathState::File { .. }) && found.links > 1;
        if want.is_met_by(&self.as_it_counts(site, &found.state, &want)) && !shared {
            let change = if modified(&want) == modified(&found.state) { Change::Keep } else { Change::Touch };
            return Decision::new(change, want);
        }
        if found.state.is_directory() {
            self.replaced.insert(site.path().to_owned());
        }
        if let (PathState::Symlink { target, .. }, true) =
            (&found.state, found.leads_to_directory && want.is_directory())
            && ours
        {
            self.warnings.push(format!(
                "{} is a symlink to {} where the deployment group had a directory: the directory takes its place, and \
                 what the link leads to stays as it is; a script that needs the link has to make it again",
                site.target.path.display(),
                target.display()
            ));
        }
        Decision::new(Change::Replace, want)
    }

    /// What the group owns and the revision lacks.
    fn leftovers(&mut self) {
        let unwanted = self.grounds.claims.ours().zip(std::mem::take(&mut self.wanted)).filter(|(_, wanted)| !wanted);
        for ((path, claim), _) in unwanted {
            let Some(place) = self.grounds.survey.owned.get(path) else { continue };
            let Some(found) = &place.found else { continue };
            let is_replaced = path.ancestors().skip(1).any(|above| self.replaced.contains(above));
            if is_replaced {
                continue;
            }
            if !claim.covers(&found.state) {
                self.warnings.push(format!(
                    "{} stays: the group installed something else there, now it is a {}",
                    path.display(),
                    found.state.kind()
                ));
                continue;
            }
            let change = if found.state.is_directory() { Change::RemoveDirectory } else { Change::Remove };
            let reasons = [found.fixed.as_deref(), place.closed()];
            if change == Change::Remove && self.check_changeable(path, reasons) == Verdict::InTheWay {
                continue;
            }
            self.steps.push(Step {
                path: path.to_owned(),
                change,
                was: Some(Box::new(found.state.clone())),
                want: PathState::Absent,
                identity: Some(Box::new(found.identity)),
                given: None,
                source: None,
            });
        }
    }

    fn finish(mut self) -> Result<Plan, Box<Blocked>> {
        for (path, count) in self.retained.iter().filter(|(_, count)| *count > 0) {
            let path = path.display();
            self.warnings
                .push(format!("{path} is no directory and stays, so {count} paths below it are not installed"));
        }
        self.warnings.extend(self.permissions.warnings());
        let rules = label_rules(self.grounds, &self.steps, &mut self.warnings);
        self.steps.sort_by(|one, other| in_order(&one.path, &other.path));
        let Self { grounds: Grounds { group, deployment, survey, .. }, steps, warnings, conflicts, .. } = self;
        if !conflicts.is_empty() {
            return Err(Box::new(Blocked { conflicts: Conflicts(conflicts), steps, rules, warnings }));
        }
        let (group, deployment) = ((*group).clone(), (*deployment).clone());
        Ok(Plan { group, deployment, steps, rules, links: survey.links.clone(), warnings })
    }

    /// Whether what is decided can be done at the site.
    fn check(&mut self, site: &Site<'_>, decision: &Decision) -> Verdict {
        let (path, own, change) = (&site.target.path, &self.grounds.survey.own, decision.change);
        if let Some(mount_point) = site.place.limits.as_ref().and_then(|limits| limits.without_acls.as_ref())
            && let PathState::File { attrs, .. } | PathState::Directory { attrs } = &decision.want
            && attrs.has_acls()
            && self.without_acls.insert(mount_point.clone())
        {
            self.conflicts.push(Conflict::NoAcls { path: path.clone(), mount_point: mount_point.clone() });
        }
        if let Some(mount_point) = site.place.limits.as_ref().and_then(|limits| limits.without_labels.as_ref())
            && decision.want.label().is_some()
            && self.without_labels.insert(mount_point.clone())
        {
            self.conflicts.push(Conflict::NoLabels { path: path.clone(), mount_point: mount_point.clone() });
        }
        if below(site.path(), own).is_some() {
            self.conflicts.push(Conflict::OwnState { path: path.clone(), own: own.clone() });
            return Verdict::InTheWay;
        }
        let fixed = site.place.found.as_ref().and_then(|found| found.fixed.as_deref());
        match change {
            Change::Create | Change::Replace => self.check_changeable(path, [fixed, site.place.closed()]),
            Change::Attributes | Change::Touch => self.check_changeable(path, [fixed, None]),
            Change::Remove | Change::RemoveDirectory | Change::Keep | Change::Retain => Verdict::Free,
        }
    }

    fn check_changeable(&mut self, path: &Path, reasons: [Option<&str>; 2]) -> Verdict {
        let Some(reason) = reasons.into_iter().flatten().next() else { return Verdict::Free };
        self.conflicts.push(Conflict::Unchangeable { path: path.to_owned(), reason: reason.to_owned() });
        Verdict::InTheWay
    }

    fn is_ours(&self, site: &Site<'_>, found: &Found) -> bool {
        let claims = self.grounds.claims;
        site.claim.is_some_and(|number| claims.covers(number, &found.state))
            || claims.is_taken_back(site.path(), &found.state)
    }
}
