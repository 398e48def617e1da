//! What is on the host where a revision is to go. Reads, and changes nothing.

use super::Cause;
use super::accounts;
use super::capability::Capability;
use super::follow::{self, Trust};
use super::root::Root;
use super::rules::Semanage;
use super::surveyor::{Host, Surveyor};
use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Mounts};
use crate::layout::Layout;
use crate::plan::grounds::{Selinux, Site, Survey};
use crate::plan::{Claims, Label, Target};
use crate::store::Digests;

/// What is known before anything was looked at.
pub(super) struct Known<'a> {
    /// Who owns what.
    pub claims: &'a Claims,
    /// Digests of files that nobody has touched since; what is read now is added.
    pub digests: &'a mut Digests,
}

/// Looks at every target, and at everything that the group owns.
pub(super) fn survey<'a>(
    layout: &Layout,
    appspec: &AppSpec,
    targets: Vec<Target<'a>>,
    known: Known<'_>,
) -> Result<(Survey, Vec<Site<'a>>), Cause> {
    let claims = known.claims;
    let root = Root::open()?;
    let own = follow::directory(&root, &layout.own(), Trust::Any)?.unwrap_or_else(|| layout.own());
    let mounts = Mounts::read()?;
    let wants_labels = appspec.permissions.iter().any(|entry| entry.context.is_some());
    let gave_labels = claims.left_rules().next().is_some()
        || claims.ours().any(|(path, _)| claims.label(path).is_some())
        || targets.iter().any(|target| claims.label(&target.path).is_some());
    let wants_acls = appspec.permissions.iter().any(|entry| entry.acls.is_some());
    let capability = |is_wanted: bool, is_kept| {
        if is_wanted { Capability::wanted(is_kept) } else { Capability::not_wanted() }
    };
    let accounts = accounts::resolve(&appspec.permissions)?;
    let mut survey = Survey { accounts, own, ..Survey::default() };
    if wants_labels || gave_labels {
        survey.selinux = selinux(appspec, &mounts, &mut survey.warnings)?;
    }
    let mut surveyor = Surveyor::new(Host {
        root: &root,
        mounts: &mounts,
        claims,
        digests: known.digests.lookup(),
        acls: capability(wants_acls, Dir::keeps_acls),
        labels: capability(wants_labels, Dir::keeps_labels),
        looks_at_labels: wants_labels || gave_labels,
    });
    // One piece of the right size: what grows leaves holes in the memory that are as large as itself.
    let mut sites = Vec::with_capacity(targets.len());
    for target in targets {
        sites.push(surveyor.site(target)?);
    }
    surveyor.leaves(&mut sites)?;
    let mut targeted = vec![false; claims.ours().len()];
    for number in sites.iter().filter_map(|site| claims.number(site.path())) {
        if let Some(targeted) = targeted.get_mut(number) {
            *targeted = true;
        }
    }
    for ((path, _), _) in claims.ours().zip(targeted).filter(|(_, targeted)| !targeted) {
        survey.owned.insert(path.to_owned(), surveyor.place(path, None)?);
    }
    for (path, stamp, digest) in surveyor.into_digests() {
        known.digests.insert(path, stamp, digest);
    }
    Ok((survey, sites))
}

/// What the host knows of labels. Only where an entry asks for one must it know anything.
fn selinux(appspec: &AppSpec, mounts: &Mounts, warnings: &mut Vec<String>) -> Result<Selinux, Cause> {
    let contexts: Vec<_> = appspec.permissions.iter().filter_map(|entry| entry.context.as_ref()).collect();
    let Some(semanage) = Semanage::find() else { return Ok(Selinux::Unmanaged) };
    let rules = match semanage.rules() {
        Err(error) if contexts.is_empty() => {
            warnings.push(format!("SELinux rules of earlier deployments stay: {error}"));
            return Ok(Selinux::Unmanaged);
        }
        rules => rules?,
    };
    let labels = contexts.into_iter().map(Label::of);
    let unknown = match mounts.of_kind("selinuxfs") {
        Some(selinuxfs) => labels.filter(|label| !disk::has_label(&selinuxfs.point, &label.to_bytes())).collect(),
        None if labels.len() == 0 => Default::default(),
        None => {
            let hint = "SELinux is not enabled on this host: what `context` gives has no effect until it is";
            warnings.push(hint.to_owned());
            Default::default()
        }
    };
    Ok(Selinux::Managed { rules, unknown })
}
