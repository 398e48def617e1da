//! The newest deployment of a group that the host was given a bound specification of.

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, lock_beside, read, write};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// What is remembered of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Latest {
    deployment: DeploymentId,
    sequence: u64,
}

impl Stored for Latest {
    const WHAT: &'static str = "the number of a deployment group's newest deployment";
    const FORMAT: u32 = 1;
}

/// Why a specification does not follow on what the host was given before.
#[derive(Debug, thiserror::Error)]
pub enum OutOfOrder {
    /// It is older.
    #[error(
        "deployment {deployment} has number {sequence} in its group, and this host was given {newest} with number {known} \
         already; nothing was run: an old specification is not carried out again. To bring its revision back, deploy it anew"
    )]
    Older {
        /// The deployment.
        deployment: DeploymentId,
        /// Its number.
        sequence: u64,
        /// The newest one.
        newest: DeploymentId,
        /// Its number.
        known: u64,
    },
    /// It does not say how old it is, and those before did.
    #[error(
        "the specification of deployment {deployment} says neither for whom it is nor when it was made, and those of its \
         group before did; nothing was run: if the group moved to a service that signs without that, remove {} on this host",
        file.display()
    )]
    Unbound {
        /// The deployment.
        deployment: DeploymentId,
        /// Where it stands that those before did.
        file: std::path::PathBuf,
    },
    /// The state could not be read or written.
    #[error("nothing was run, since it could not be written down which deployment is the newest of its group: {0}")]
    Store(#[from] StoreError),
}

/// Notes, durably, that the host is given a deployment with that number; one without a number is none of Slipway's own
/// service. Returns an error for one that is older than the newest, which stays. Commands of one group that come at once are
/// compared one after the other.
pub fn follow_on(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    sequence: Option<u64>,
) -> Result<(), OutOfOrder> {
    let path = layout.latest(group);
    let _lock = sequence.map(|_| lock_beside(&path)).transpose()?;
    let (known, Some(sequence)) = (read::<Latest>(&path)?, sequence) else {
        return match read::<Latest>(&path)? {
            None => Ok(()),
            Some(_) => Err(OutOfOrder::Unbound { deployment: deployment.clone(), file: path }),
        };
    };
    match known {
        Some(known) if sequence < known.sequence => Err(OutOfOrder::Older {
            deployment: deployment.clone(),
            sequence,
            newest: known.deployment,
            known: known.sequence,
        }),
        Some(known) if sequence == known.sequence => Ok(()),
        _ => Ok(write(&path, &Latest { deployment: deployment.clone(), sequence })?),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_newest_is_refused_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        super::super::prepare(&layout).unwrap();
        let (group, other) = (GroupId::parse("a").unwrap(), GroupId::parse("b").unwrap());
        let given = |group, deployment: &str, sequence| {
            follow_on(&layout, group, &DeploymentId::parse(deployment).unwrap(), sequence)
        };
        given(&group, "d-AWS", None).unwrap();
        given(&group, "d-A", Some(5)).unwrap();
        given(&group, "d-A", Some(5)).unwrap();
        given(&group, "d-B", Some(9)).unwrap();
        let text = given(&group, "d-A", Some(5)).unwrap_err().to_string();
        assert!(text.contains("d-A has number 5") && text.contains("d-B with number 9"), "{text}");
        given(&group, "d-B", Some(9)).unwrap();
        assert!(matches!(given(&group, "d-AWS", None), Err(OutOfOrder::Unbound { .. })));
        given(&other, "d-A", Some(1)).unwrap();
        std::fs::write(layout.latest(&group), "{").unwrap();
        assert!(matches!(given(&group, "d-C", Some(10)), Err(OutOfOrder::Store(_))));
    }

    #[test]
    fn commands_that_come_at_once_never_lower_the_number() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        super::super::prepare(&layout).unwrap();
        let group = GroupId::parse("a").unwrap();
        for round in 0..50_u64 {
            let most = round * 8 + 7;
            std::thread::scope(|scope| {
                for sequence in round * 8..=most {
                    let (layout, group) = (&layout, &group);
                    scope.spawn(move || {
                        let deployment = DeploymentId::parse(&format!("d-{sequence}")).unwrap();
                        match follow_on(layout, group, &deployment, Some(sequence)) {
                            Ok(()) | Err(OutOfOrder::Older { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    });
                }
            });
            let known = read::<Latest>(&layout.latest(&group)).unwrap().unwrap();
            assert_eq!(known.sequence, most);
        }
    }
}
