//! A revision that is on this host already, used again instead of another download of it.

use aws_lc_rs::digest::{Context, SHA256};

use super::{Engine, Policy};
use crate::deployment::DeploymentSpec;
use crate::disk;
use crate::ids::DeploymentId;
use crate::install::{self, Cause};
use crate::revision::Revision;

/// More is no seal.
const MAX_SEAL: u64 = 256;

/// Whether an unpacked revision is used again where the service asks for that: the setting `enable_archive_reuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is, if nothing of it was changed.
    Allowed,
    /// The bundle is downloaded again.
    Refused,
}

impl Engine {
    /// The revision of the deployment that the service names for that, if nothing of it was changed since it was
    /// unpacked. Whatever is in doubt is downloaded.
    pub(super) fn reusable(&self, spec: &DeploymentSpec) -> Option<Revision> {
        let earlier = spec.reuse_archive_from.as_ref().filter(|_| self.policy.reuse == Reuse::Allowed)?;
        // A key may sign what is newer meanwhile, and only a rollback goes back behind that.
        match self.may_be_older(spec, earlier) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(%earlier, "the revision is not used again: the group was given another signed bundle since");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "the revision is not used again");
                return None;
            }
        }
        let root = self.layout.archive(&spec.group_id, earlier);
        let revision = Revision::at(&root);
        let doubt = match disk::read_if_exists(&revision.seal(), MAX_SEAL) {
            Ok(Some(sealed)) => match self.held_imprint(spec, earlier, &revision) {
                // Nothing of it was changed, and nothing can be.
                Ok(found) if sealed == found.as_bytes() => return Some(revision),
                Ok(_) => "it was changed since it was unpacked, or bundles are held to something else now".to_owned(),
                Err(error) => error,
            },
            Ok(None) => "it is not on this host, or was unpacked before this setting was made".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!(revision = %root.display(), "the revision is not used again: {doubt}; its bundle is downloaded");
        None
    }

    /// Puts down what a revision is now, where it may be used again. Without that it is downloaded again.
    pub(super) fn seal(&self, revision: &Revision) {
        if self.policy.reuse == Reuse::Refused {
            return;
        }
        let sealed =
            self.imprint(revision).and_then(|seal| Ok(disk::write_unsynced(&revision.seal(), seal.as_bytes(), 0o600)?));
        if let Err(error) = sealed {
            tracing::warn!(%error, "the revision was not sealed, and will be downloaded where it could be used again");
        }
    }

    /// What a revision is, once nobody else can change it any more.
    fn held_imprint(
        &self,
        spec: &DeploymentSpec,
        deployment: &DeploymentId,
        revision: &Revision,
    ) -> Result<String, String> {
        self.take_custody(spec, (deployment, revision)).map_err(|error| error.to_string())?;
        self.imprint(revision).map_err(|error| error.to_string())
    }

    /// A digest of all that a revision holds: paths, kinds, owners, modes, times, targets of links and contents. And of
    /// what the bundle was held to in its time: the keys that are trusted, and what must be known beforehand.
    fn imprint(&self, revision: &Revision) -> Result<String, Cause> {
        let content = install::everything(revision)?;
        let mut digest = Context::new(&SHA256);
        let Policy { trusted_keys, requirement, .. } = &self.policy;
        digest.update(format!("{}\n{requirement:?}\n", trusted_keys.shown()).as_bytes());
        for (path, state) in content.iter() {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update(&[0]);
            digest.update(format!("{state:?}\n").as_bytes());
        }
        Ok(format!("slipway seal 1\n{}\n", hex::encode(digest.finish())))
    }
}
