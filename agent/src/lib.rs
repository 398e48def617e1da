//! Slipway's deployment agent: downloads revisions, installs them as a transaction, runs lifecycle
//! hooks, reports and rolls back.
//!
//! Modules stand on floors; each imports only from those above it in this list.

// pure
pub mod ids;
pub mod lifecycle;
pub mod deployment;
pub mod yaml;
pub mod appspec;
pub mod config;
pub mod outcome;
// effects
pub mod disk;
pub mod config_files;
// state
pub mod layout;
// stages
pub mod revision;
