//! Services that are left when their runners have ended: they stay as long as something that a script has
//! started in the background lives on.

use std::path::{Path, PathBuf};

use super::HookError;
use super::launch::description;
use super::record::{EXIT, UnitName};
use crate::disk::Dir;
use crate::layout::Layout;
use crate::process::Units;

/// Lets go of the service of one runner, unless something that its script has started lives on in it.
pub(super) fn tidy(name: &UnitName) -> Result<(), HookError> {
    let units = Units::connect()?;
    if units.processes(name.as_str())?.is_empty() {
        units.stop(name.as_str())?;
    }
    Ok(())
}

/// Lets go of the services of this root's runners in which nothing runs any more, and whose results are
/// known. Answers how many there are.
pub fn sweep(layout: &Layout) -> Result<usize, HookError> {
    if !Units::is_available() {
        return Ok(0);
    }
    let units = Units::connect()?;
    let mut stopped = 0;
    for (name, said) in units.list(UnitName::PREFIX)? {
        let Some(dir) = directory(layout, &said) else { continue };
        if !runs(&dir)? && units.processes(&name)?.is_empty() {
            units.stop(&name)?;
            stopped += 1;
        }
    }
    Ok(stopped)
}

/// The runner's directory that a service's description names, if it is one of this root.
fn directory(layout: &Layout, said: &str) -> Option<PathBuf> {
    let dir = Path::new(said.strip_prefix(&description(Path::new("")))?);
    dir.starts_with(layout.hooks()).then(|| dir.to_owned())
}

/// Whether the script of a directory has no result yet. That of one that is gone was forgotten.
fn runs(dir: &Path) -> Result<bool, HookError> {
    match Dir::open(dir) {
        Err(error) if error.is_not_found() => Ok(false),
        dir => Ok(dir?.stat_if_exists(EXIT)?.is_none()),
    }
}
