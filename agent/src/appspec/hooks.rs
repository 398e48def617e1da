//! The `hooks` section.

use std::time::Duration;

use super::Position;
use crate::deployment::RelativePath;

/// How long a script may run if its entry does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// One script of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Relative to the revision's root.
    pub location: RelativePath,
    /// The location as the author wrote it, for messages and reports.
    pub written: String,
    /// At least one second.
    pub timeout: Duration,
    /// The user that it runs as; the agent's own if absent.
    pub runas: Option<String>,
    /// Whether `sudo: true` was given. As root it changes nothing.
    pub sudo: Sudo,
    /// Where the entry is in the AppSpec.
    pub at: Position,
}

/// Whether a script asked for sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// It did.
    Yes,
    /// It did not.
    No,
}
