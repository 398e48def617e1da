use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::{Error, Result};

/// Keeps this process, and all that it starts from now on, from leaving core dumps: they would hold whatever was
/// in memory, credentials too. What it starts has the limit alone, which a collector of core dumps on the host may
/// disregard; this process itself cannot be dumped at all, nor be traced by others of its user.
pub fn forbid_core_dumps() -> Result<()> {
    let failed = |errno: rustix::io::Errno| Error::System { action: "forbid core dumps", source: errno.into() };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)
}
