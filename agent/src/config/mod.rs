//! The agent's configuration: optional layers, merged into settings that are valid as a whole.
//!
//! Files come first to last, a later one over an earlier one; the environment gives what no file
//! sets; the rest are defaults, which `profile: strict` hardens. Every value remembers where it came
//! from. Reading the files is [`crate::config_files`]' part.

mod environment;
mod error;
mod exposure;
mod keys;
mod merge;
pub mod on_premises;
mod origin;
mod read;
mod retired;
mod values;

pub use environment::Environment;
pub use error::{ConfigErrors, ConfigWarning, Mistake};
pub use exposure::{Exposure, is_of_aws};
pub use keys::{Described, KEYS, Settings};
pub use merge::{Layer, Loaded, merge};
pub use on_premises::OnPremises;
pub use origin::{Origin, Setting};
pub use values::{
    FollowLinks, HookPam, HookProfile, LogFormat, OnFailure, Ownership, Profile, ProgressUpdates, ProxyUri,
    ScriptRecord, UpdateAgent,
};

#[cfg(test)]
mod tests;
