//! The order in which a fleet's hosts are taken: those in need first.

use crate::deployments::TargetStatus;

/// What a group knows of a host from earlier deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How its last deployment of this group ended.
    pub last_status: TargetStatus,
    /// Key of the revision that it last took well.
    pub revision_key: Option<String>,
}

/// Classes of hosts in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Its last deployment failed.
    Failed,
    /// Nothing is known of it.
    Unknown,
    /// It has another revision.
    Older,
    /// It has the revision already.
    Current,
}

/// The class of a host for a deployment of the revision with this key.
pub fn class(history: Option<&History>, revision_key: &str) -> Class {
    match history {
        None => Class::Unknown,
        Some(History { last_status: TargetStatus::Failed, .. }) => Class::Failed,
        Some(History { revision_key: None, .. }) => Class::Unknown,
        Some(History { revision_key: Some(key), .. }) if key == revision_key => Class::Current,
        Some(_) => Class::Older,
    }
}

/// Sorts hosts by class, at random within one: so that no host is always the first to meet a bad
/// revision.
pub fn arrange<T>(mut hosts: Vec<T>, class: impl Fn(&T) -> Class) -> Vec<T> {
    fastrand::shuffle(&mut hosts);
    hosts.sort_by_key(class);
    hosts
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn history(last_status: TargetStatus, key: Option<&str>) -> Option<History> {
        Some(History { last_status, revision_key: key.map(str::to_owned) })
    }

    #[test]
    fn classes() {
        for (history, expected) in [
            (None, Class::Unknown),
            (history(TargetStatus::Failed, Some("new")), Class::Failed),
            (history(TargetStatus::Failed, None), Class::Failed),
            (history(TargetStatus::Succeeded, Some("new")), Class::Current),
            (history(TargetStatus::Succeeded, Some("old")), Class::Older),
            (history(TargetStatus::Skipped, None), Class::Unknown),
        ] {
            assert_eq!(class(history.as_ref(), "new"), expected, "{history:?}");
        }
    }

    #[test]
    fn in_need_first_and_shuffled_within_a_class() {
        let classes = [Class::Current, Class::Older, Class::Failed, Class::Unknown];
        let hosts: Vec<(usize, Class)> = (0..40).map(|host| (host, classes[host % 4])).collect();
        let mut firsts = HashSet::new();
        for _ in 0..50 {
            let arranged = arrange(hosts.clone(), |host| host.1);
            assert!(arranged.is_sorted_by_key(|host| host.1));
            assert_eq!(arranged.iter().map(|host| host.0).collect::<HashSet<_>>().len(), 40);
            firsts.insert(arranged[0].0);
        }
        assert!(firsts.len() > 1, "the first host is always the same");
    }
}
