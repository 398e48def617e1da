//! Which signed bundles a group is given: none that has expired, and none that is older than the newest one, but for a
//! rollback.

use jiff::Timestamp;

use super::Engine;
use crate::bundle::signature::{SignatureError, Verified};
use crate::deployment::{DeploymentSpec, OlderBundle};
use crate::ids::DeploymentId;
use crate::store::{self, Floor, StoreError};

/// What a bundle is acquired for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be deployed: its number is noted.
    Deploy,
    /// To be looked at: nothing changes.
    Look,
}

impl Engine {
    /// Holds a bundle that is rightly signed to what its signer says of it, and notes its number before it is unpacked.
    pub(super) fn admit(
        &self,
        spec: &DeploymentSpec,
        verified: &Verified,
        purpose: Purpose,
    ) -> Result<(), SignatureError> {
        let (bundle, key, claims) = (&verified.bundle, verified.key, verified.claims);
        if spec.older_bundle == OlderBundle::Refused {
            let now = Timestamp::now();
            if let Some(expires) = claims.expires.filter(|expires| *expires <= now) {
                return Err(SignatureError::Expired { bundle: bundle.clone(), key, expires, now });
            }
            match (self.floor(spec)?, claims.sequence) {
                (Some(floor), Some(sequence)) if sequence < floor.sequence => {
                    return Err(SignatureError::Older {
                        bundle: bundle.clone(),
                        key,
                        sequence,
                        newest: floor.deployment,
                        floor: floor.sequence,
                    });
                }
                (Some(floor), None) => {
                    return Err(SignatureError::Unnumbered {
                        bundle: bundle.clone(),
                        key,
                        newest: floor.deployment,
                        floor: floor.sequence,
                    });
                }
                _ => {}
            }
        }
        if let (Purpose::Deploy, Some(sequence)) = (purpose, claims.sequence) {
            let floor = Floor { sequence, deployment: spec.deployment_id.clone() };
            store::raise_floor(&self.layout, &spec.group_id, &key.to_string(), floor)?;
        }
        Ok(())
    }

    /// Whether a revision on this host can be of an older bundle than the group's newest one.
    pub(super) fn may_be_older(&self, spec: &DeploymentSpec, earlier: &DeploymentId) -> Result<bool, StoreError> {
        let is_newest = |floor: Floor| floor.deployment == *earlier;
        Ok(spec.older_bundle == OlderBundle::Refused && self.floor(spec)?.is_some_and(|floor| !is_newest(floor)))
    }

    /// Notes that a deployment brought the group's newest bundle again, out of the revision that was unpacked of it.
    pub(super) fn note_reuse(&self, spec: &DeploymentSpec) -> Result<(), StoreError> {
        let trusted = self.trusted_ids();
        let floors = store::read_floors(&self.layout, &spec.group_id)?;
        let Some((key, floor)) = floors.highest(trusted.iter().map(String::as_str)) else { return Ok(()) };
        let floor = Floor { sequence: floor.sequence, deployment: spec.deployment_id.clone() };
        store::raise_floor(&self.layout, &spec.group_id, key, floor)
    }

    fn trusted_ids(&self) -> Vec<String> {
        self.policy.trusted_keys.ids().map(|id| id.to_string()).collect()
    }

    fn floor(&self, spec: &DeploymentSpec) -> Result<Option<Floor>, StoreError> {
        let trusted = self.trusted_ids();
        if trusted.is_empty() {
            return Ok(None);
        }
        let floors = store::read_floors(&self.layout, &spec.group_id)?;
        Ok(floors.highest(trusted.iter().map(String::as_str)).map(|(_, floor)| floor.clone()))
    }
}
