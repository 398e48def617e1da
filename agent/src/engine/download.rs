//! DownloadBundle: from the source to a revision on this host.

use std::path::Path;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::admission::Purpose;
use super::failure::StageError;
use super::{Access, Engine, Execution, KeepBundles};
use crate::appspec;
use crate::bundle::signature::KeyId;
use crate::bundle::{self, Acquired};
use crate::deployment::{DeploymentSpec, RelativePath, RevisionSource};
use crate::disk::{self, Dir};
use crate::hooks::{self, Wish, Wishes};
use crate::ids::DeploymentId;
use crate::outcome::{Outcome, WarningKind, Warnings};
use crate::process::StopSignal;
use crate::revision::{Revision, read_appspec};
use crate::store::{self, Others, Who};
use crate::unpack::{self, Content, Place};

impl Engine {
    /// Ends early where that is wished for: what was fetched and unpacked until then goes.
    pub(super) fn download(
        &self,
        spec: &DeploymentSpec,
        wishes: &Wishes,
        warnings: &mut Warnings,
    ) -> Result<Execution, StageError> {
        let done = self.download_unless(spec, wishes.stop(), warnings);
        match (done, wishes.made()) {
            (Ok(outcome), _) => Ok(Execution::Over(outcome)),
            (Err(error), Some(Wish::Cancel(reason))) if error.is_stop() => Err(StageError::Ended(reason)),
            // What was begun begins again.
            (Err(error), Some(Wish::HandOver)) if error.is_stop() => Ok(Execution::HandedOver),
            (Err(error), _) => Err(error),
        }
    }

    fn download_unless(
        &self,
        spec: &DeploymentSpec,
        stop: &StopSignal,
        warnings: &mut Warnings,
    ) -> Result<Outcome, StageError> {
        let logs = self.layout.scripts_log(&spec.group_id, &spec.deployment_id);
        if let Some(logs) = logs.parent() {
            Dir::open_or_create(logs, 0o755)?;
        }
        self.restrict(spec, Others::Kept)?;
        let bundle = self.layout.bundle(&spec.group_id, &spec.deployment_id);
        if let RevisionSource::S3(source) = &spec.source {
            // Nothing but `doctor` wants to know it.
            if let Err(error) = store::note_object(&self.layout, source, Timestamp::now()) {
                tracing::warn!(%error, "the name of the bundle was not put down: `doctor` will not ask S3 for it");
            }
        }
        let obtained = self.obtain(spec, &bundle, Purpose::Deploy, stop)?;
        if let Obtained::Acquired { acquired: Acquired::Fetched(fetched), .. } = &obtained {
            self.fetched.fetch_add(fetched.size, Ordering::Relaxed);
            tracing::info!(
                bytes = fetched.size,
                sha256 = fetched.sha256,
                verified_by = fetched.verified_by.join(", "),
                "fetched"
            );
        }
        let unpacked = self.unpack(spec, content(&obtained), stop, warnings);
        if self.policy.bundles == KeepBundles::No || unpacked.is_err() {
            disk::remove_if_exists(&bundle)?;
        }
        unpacked?;
        let revision = self.current_revision(spec)?;
        let key = match &obtained {
            Obtained::Acquired { key, .. } => key.map(|key| key.to_string()),
            Obtained::Revision(earlier) => store::read_bundle_key(&earlier.bundle_key())?,
        };
        store::write_bundle_key(&revision.bundle_key(), key)?;
        // A mistake in the AppSpec is worth knowing before anything of this host is stopped or changed.
        let appspec = self.new_appspec(&revision, spec, warnings)?;
        let mut scripts = appspec.hooks.values().flatten();
        if self.policy.hooks.default_user.is_some() || scripts.any(|script| script.runas.is_some()) {
            self.restrict(spec, Others::Pass)?;
        }
        let who = Who { application: spec.application_name.clone(), group: spec.group_name.clone() };
        store::mark_most_recent(&self.layout, &spec.group_id, &spec.deployment_id, &who)?;
        // What comes of an earlier deployment was held to what counted then.
        if !matches!(spec.source, RevisionSource::Retained(_)) {
            self.seal(&revision);
        }
        self.retain(spec)?;
        Ok(match (&spec.reuse_archive_from, &obtained) {
            (None, _) => Outcome::succeeded(),
            (Some(_), Obtained::Revision(_)) => from("archive-reuse"),
            (Some(_), _) => from("downloaded"),
        })
    }

    /// Closes the deployment's directory to others, where that is wanted.
    fn restrict(&self, spec: &DeploymentSpec, others: Others) -> Result<(), StageError> {
        match self.policy.access {
            Access::Open => Ok(()),
            Access::Restricted => {
                Ok(store::restrict_deployment(&self.layout, &spec.group_id, &spec.deployment_id, others)?)
            }
        }
    }

    pub(super) fn obtain(
        &self,
        spec: &DeploymentSpec,
        destination: &Path,
        purpose: Purpose,
        stop: &StopSignal,
    ) -> Result<Obtained, StageError> {
        if let RevisionSource::Retained(earlier) = &spec.source {
            return Ok(Obtained::Revision(self.retained_revision(spec, earlier)?));
        }
        if let Some(earlier) = self.reusable(spec) {
            if purpose == Purpose::Deploy {
                self.note_reuse(spec)?;
            }
            return Ok(Obtained::Revision(earlier));
        }
        let request = bundle::Request {
            source: &spec.source,
            destination,
            limit: self.policy.unpack.limits.bytes,
            requirement: self.policy.requirement,
            github_token: spec.github_token.as_ref(),
            stop,
        };
        let mut key = None;
        let acquired = self.policy.trusted_keys.acquire(
            &request,
            |request| bundle::acquire(request, &self.s3, &self.github),
            |verified| {
                key = Some(verified.key);
                self.admit(spec, verified, purpose)
            },
        )?;
        Ok(Obtained::Acquired { acquired, key })
    }

    fn unpack(
        &self,
        spec: &DeploymentSpec,
        content: Content<'_>,
        stop: &StopSignal,
        warnings: &mut Warnings,
    ) -> Result<(), StageError> {
        let place = Place {
            layout: &self.layout,
            group: &spec.group_id,
            deployment: &spec.deployment_id,
            appspec: &spec.appspec_filename,
        };
        let policy = self.unpack_policy(spec);
        let staged = unpack::into_revision(content, &place, &policy, |root| scripts_of(root, spec), stop)?;
        staged.report.warnings.iter().for_each(|warning| warnings.add(WarningKind::Bundle, warning));
        for script in &staged.made_executable {
            let text = format!(
                "the script {script} was not executable in the bundle and was made so: set its mode where the bundle is made"
            );
            warnings.add(WarningKind::Script, text);
        }
        Ok(())
    }

    fn retained_revision(&self, spec: &DeploymentSpec, earlier: &DeploymentId) -> Result<Revision, StageError> {
        let root = self.layout.archive(&spec.group_id, earlier);
        match Dir::open(&root) {
            Ok(_) => {
                let revision = Revision::at(root);
                self.take_custody(spec, (earlier, &revision))?;
                Ok(revision)
            }
            Err(error) if error.is_not_found() => Err(StageError::NoRevision { deployment: earlier.clone(), root }),
            Err(error) => Err(error.into()),
        }
    }

    /// Old revisions go. One that cannot be removed is said, and stops nothing.
    fn retain(&self, spec: &DeploymentSpec) -> Result<(), StageError> {
        let protected = store::read_markers(&self.layout, &spec.group_id)?.protected();
        let by_count = store::retain(&self.layout, &spec.group_id, self.policy.max_revisions, &protected)?;
        self.tell_retained(&by_count)?;
        let Some(bytes) = self.policy.retain_bytes else { return Ok(()) };
        let shrunk = store::shrink(&self.layout, &spec.group_id, bytes)?;
        self.tell_retained(&shrunk.retention)?;
        if shrunk.left > bytes {
            tracing::warn!(
                retain_bytes = bytes,
                left = shrunk.left,
                "the revisions that have to stay take more than retain_bytes: the newest, the last successful and the \
                 last good one of each group, and those of groups that are worked on"
            );
        }
        Ok(())
    }

    fn tell_retained(&self, retention: &store::Retention) -> Result<(), StageError> {
        for removed in &retention.removed {
            tracing::info!(%removed, "an old revision was removed");
            hooks::forget(&self.layout, removed)?;
            store::withdraw_cancel(&self.layout, removed)?;
        }
        for error in &retention.failed {
            tracing::warn!(%error, "an old revision could not be removed and keeps its space");
        }
        Ok(())
    }
}

/// From where a deployment's revision comes.
#[derive(Debug)]
pub(super) enum Obtained {
    /// From outside of the deployments' directories.
    Acquired {
        /// The bundle, or the directory.
        acquired: Acquired,
        /// The trusted key that signed it, where the host trusts keys.
        key: Option<KeyId>,
    },
    /// It is a revision of this host.
    Revision(Revision),
}

/// As a deployment is told that would rather not have downloaded anything.
fn from(source: &str) -> Outcome {
    Outcome::succeeded_with(format!("Succeeded: BundleSource={source}"), "")
}

/// What is unpacked of what was acquired.
pub(super) fn content(obtained: &Obtained) -> Content<'_> {
    let acquired = match obtained {
        Obtained::Revision(revision) => return Content::Revision(revision),
        Obtained::Acquired { acquired, .. } => acquired,
    };
    match acquired {
        Acquired::Directory(path) => Content::Directory(path),
        Acquired::InPlace { path, bundle_type } => Content::Bundle { path, bundle_type: *bundle_type },
        Acquired::Fetched(fetched) => Content::Bundle { path: &fetched.path, bundle_type: fetched.bundle_type },
    }
}

/// The scripts that the staged AppSpec names. One that cannot be read names none here; its mistakes
/// are reported once the revision is in place.
pub(super) fn scripts_of(root: &Path, spec: &DeploymentSpec) -> Vec<RelativePath> {
    let parsed = Dir::open(root)
        .map_err(StageError::from)
        .and_then(|root| Ok(read_appspec(&root, &spec.appspec_filename)?))
        .and_then(|(name, text)| Ok(appspec::parse(&text, &name.display().to_string())?));
    match parsed {
        Ok(parsed) => parsed.spec.hooks.into_values().flatten().map(|script| script.location).collect(),
        Err(_) => Vec::new(),
    }
}
