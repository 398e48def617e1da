//! What is on the host where a revision is to go. Reads, and changes nothing.

use super::Cause;
use super::accounts;
use super::follow::{self, Trust};
use super::holdings::Holdings;
use super::rules::Semanage;
use super::surveyor::{Looked, Surveyor};
use crate::appspec::AppSpec;
use crate::disk::{self, Mounts};
use crate::layout::Layout;
use crate::plan::grounds::{Followed, Selinux, Site, Survey};
use crate::plan::{Label, Links, Target};

/// Looks at every target, and at everything that the group owns. Digests of what had to be read are added to those of
/// `holdings`.
pub(super) fn survey<'a>(
    layout: &Layout,
    appspec: &AppSpec,
    targets: Vec<Target<'a>>,
    holdings: &mut Holdings,
) -> Result<(Survey, Vec<Site<'a>>), Cause> {
    let mut known = holdings.take_places();
    let claims = holdings.claims();
    let own = follow::directory(holdings.root(), &layout.own(), Trust::Any)?.unwrap_or_else(|| layout.own());
    let gave_labels = claims.left_rules().next().is_some()
        || claims.labels().next().is_some()
            && (claims.ours().any(|(path, _)| claims.label(path).is_some())
                || targets.iter().any(|target| claims.label(&target.path).is_some()));
    let accounts = accounts::resolve(&appspec.permissions)?;
    let warnings = holdings.before.warnings.clone();
    let mut survey = Survey { accounts, own, warnings, ..Survey::default() };
    if holdings.wants_labels || gave_labels {
        survey.selinux = selinux(appspec, holdings.mounts(), &mut survey.warnings)?;
    }
    let mut surveyor = Surveyor::new(holdings.host());
    // One piece of the right size: what grows leaves holes in the memory that are as large as itself.
    let (mut sites, mut ahead) = (Vec::with_capacity(targets.len()), Vec::with_capacity(targets.len()));
    let mut targeted = vec![false; claims.ours().len()];
    for target in targets {
        let (site, is_ahead) = match surveyor.site(target, &mut known)? {
            Looked::At(site) => (site, false),
            Looked::NotYet(site) => (site, true),
        };
        if let Some(targeted) = site.claim.and_then(|number| targeted.get_mut(number)) {
            *targeted = true;
        }
        sites.push(site);
        ahead.push(is_ahead);
    }
    survey.followed = surveyor.take_followed();
    let pair = |followed: &Followed| (followed.named.clone(), followed.led_to.clone());
    let destinations = appspec.files.iter().map(|mapping| mapping.destination.as_path());
    survey.links = Links::new(survey.followed.iter().map(pair), destinations, &holdings.before.links);
    let ahead = sites.iter_mut().zip(ahead).filter_map(|(site, is_ahead)| is_ahead.then_some(site));
    surveyor.leaves(&mut ahead.collect::<Vec<_>>())?;
    for (number, (path, _)) in claims.ours().enumerate().filter(|(number, _)| targeted.get(*number) == Some(&false)) {
        let place = match known.get_mut(number).and_then(Option::take) {
            Some(place) => place,
            None => surveyor.place(path, None)?,
        };
        survey.owned.insert(path.to_owned(), place);
    }
    for (path, stamp, digest) in surveyor.into_digests() {
        holdings.digests.insert(path, stamp, digest);
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
