//! Refusing what an install that is not settled holds back, and nothing else.

use std::path::PathBuf;

use super::reach::Reach;
use super::root::Root;
use super::settle::Settled;
use super::{Cause, InstallError};
use crate::disk;
use crate::ids::GroupId;
use crate::layout::Layout;
use crate::plan::{Conflict, Step};

/// How many paths a message names.
const EXAMPLES: usize = 3;

/// Refuses where an install of the same group is not settled.
pub(super) fn check_group(settled: &[Settled], group: &GroupId) -> Result<(), Cause> {
    match settled.iter().find(|one| one.holds_back(group)) {
        Some(one) => Err(Cause::HeldBack(one.to_string())),
        None => Ok(()),
    }
}

/// Refuses steps that change what an install of another group holds back.
pub(super) fn check_steps(settled: &[Settled], root: &Root, steps: &[Step]) -> Result<(), Cause> {
    for one in settled.iter().filter(|one| one.is_unsettled()) {
        let met = met(&one.reach, root, steps)?;
        if !met.is_empty() {
            return Err(refused(&met, one));
        }
    }
    Ok(())
}

/// What a plan's conflicts really are where one is about a path that is held back.
pub(super) fn explained(settled: &[Settled], cause: Cause) -> Cause {
    let Cause::Conflicts(blocked) = &cause else { return cause };
    let paths = || blocked.conflicts.0.iter().filter_map(Conflict::path);
    for one in settled.iter().filter(|one| one.is_unsettled()) {
        let met: Vec<PathBuf> = paths().filter(|path| one.reach.covers(path)).map(PathBuf::from).collect();
        if !met.is_empty() {
            return refused(&met, one);
        }
    }
    cause
}

/// What a deployment of the group is refused for now, with these steps; without trying to settle anything.
pub fn refusal(layout: &Layout, group: &GroupId, steps: &[Step]) -> Result<Option<String>, InstallError> {
    let root = Root::open().map_err(Cause::from)?;
    for one in super::unsettled(layout).map_err(Cause::from)? {
        // What nobody has tried to settle most likely will be, before the next deployment.
        if one.why.is_none() {
            continue;
        }
        if one.reach.holds(group) || !met(&one.reach, &root, steps).map_err(Cause::from)?.is_empty() {
            return Ok(Some(one.to_string()));
        }
    }
    Ok(None)
}

fn met(reach: &Reach, root: &Root, steps: &[Step]) -> Result<Vec<PathBuf>, disk::Error> {
    let mut met = Vec::new();
    for step in steps.iter().filter(|step| step.changes_something()) {
        if reach.meets(root, step)? {
            met.push(step.path.clone());
        }
    }
    Ok(met)
}

fn refused(met: &[PathBuf], by: &Settled) -> Cause {
    let shown: Vec<String> = met.iter().take(EXAMPLES).map(|path| path.display().to_string()).collect();
    let more = match met.len().saturating_sub(EXAMPLES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Cause::HeldBack(format!(
        "nothing was changed, since an install that is not settled holds back {}{more}: {by}",
        shown.join(", ")
    ))
}
