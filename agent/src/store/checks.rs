//! When a group's files were last held against what was installed, and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// The last check of a group's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftCheck {
    /// When it was made.
    pub at: Timestamp,
    /// The deployment whose files they were.
    pub deployment: DeploymentId,
    /// How many paths were not as they were installed.
    pub drifted: usize,
}

impl Stored for DriftCheck {
    const WHAT: &'static str = "the record of a deployment group's last drift check";
    const FORMAT: u32 = 1;
}

/// The last check of a group; nothing where there was none.
pub fn read_drift_check(layout: &Layout, group: &GroupId) -> Result<Option<DriftCheck>, StoreError> {
    read(&layout.drift_check(group))
}

/// Remembers a check.
pub fn write_drift_check(layout: &Layout, group: &GroupId, check: &DriftCheck) -> Result<(), StoreError> {
    write(&layout.drift_check(group), check)
}
