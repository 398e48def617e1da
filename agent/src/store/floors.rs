//! The newest signed bundle that each group was given, by the numbers that its signers count with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, update};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// The highest sequence of a group for each key that has signed one. A key that is no longer trusted counts no more, so
/// a number that was made up with a stolen key does not outlive the trust in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floors {
    /// By the key's id, as minisign writes it.
    keys: BTreeMap<String, Floor>,
}

/// The newest bundle by one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Its number.
    pub sequence: u64,
    /// The last deployment that brought it.
    pub deployment: DeploymentId,
}

impl Stored for Floors {
    const WHAT: &'static str = "the numbers of a deployment group's newest signed bundles";
    const FORMAT: u32 = 1;
}

impl Floors {
    /// The highest one of these keys, with the key.
    pub fn highest<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Option<(&'k str, &Floor)> {
        keys.filter_map(|key| Some((key, self.keys.get(key)?))).max_by_key(|(_, floor)| floor.sequence)
    }
}

/// The floors of a group; none where it had no numbered bundle.
pub fn read_floors(layout: &Layout, group: &GroupId) -> Result<Floors, StoreError> {
    Ok(read(&layout.floors(group))?.unwrap_or_default())
}

/// Notes, durably, that a group is given a numbered bundle. A lower number changes nothing.
pub fn raise_floor(layout: &Layout, group: &GroupId, key: &str, floor: Floor) -> Result<(), StoreError> {
    update::<Floors>(&layout.floors(group), |floors| {
        if floors.keys.get(key).is_none_or(|known| known.sequence <= floor.sequence) {
            floors.keys.insert(key.to_owned(), floor);
        }
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_of_the_keys_that_count_stays() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        let group = GroupId::parse("g").unwrap();
        let raise = |key, sequence, deployment| {
            let deployment = DeploymentId::parse(deployment).unwrap();
            raise_floor(&layout, &group, key, Floor { sequence, deployment }).unwrap();
        };
        let highest = |keys: &[&str]| {
            let floors = read_floors(&layout, &group).unwrap();
            floors.highest(keys.iter().copied()).map(|(_, floor)| (floor.sequence, floor.deployment.to_string()))
        };
        assert_eq!(highest(&["A"]), None);
        raise("A", 5, "d-1");
        raise("A", 4, "d-2");
        assert_eq!(highest(&["A", "B"]), Some((5, "d-1".to_owned())));
        raise("A", 5, "d-3");
        raise("B", 9, "d-4");
        assert_eq!(highest(&["A", "B"]), Some((9, "d-4".to_owned())));
        assert_eq!(highest(&["A"]), Some((5, "d-3".to_owned())), "the key B is not trusted any more");
        assert_eq!(read_floors(&layout, &GroupId::parse("other").unwrap()).unwrap(), Floors::default());
    }
}
