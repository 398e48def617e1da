//! The settings that the running daemon has, for commands that compare them with the configuration files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::layout::Layout;

/// Settings of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSettings {
    /// By key, as people read them, without passwords. What comes from the environment is left out: others have
    /// another one.
    pub settings: BTreeMap<String, String>,
}

impl Stored for RunningSettings {
    const WHAT: &'static str = "the settings of the running daemon";
    const FORMAT: u32 = 1;
}

/// The settings of the last daemon; nothing where none has run, or an early version.
pub fn read_running_settings(layout: &Layout) -> Result<Option<RunningSettings>, StoreError> {
    read(&layout.running_settings())
}

/// Puts down the settings of the daemon.
pub fn write_running_settings(layout: &Layout, settings: &RunningSettings) -> Result<(), StoreError> {
    write(&layout.running_settings(), settings)
}
