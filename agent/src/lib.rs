//! Slipway's deployment agent: downloads revisions, installs them as a transaction, runs lifecycle
//! hooks, reports and rolls back.
//!
//! Modules stand on floors; each imports only from those above it in this list.

// pure
pub mod ids;
pub mod lifecycle;
pub mod deployment;
pub mod appspec;
pub mod plan;
pub mod outcome;
// effects
pub mod disk;
// state
pub mod layout;
pub mod store;
pub mod journal;
// stages
pub mod revision;
pub mod install;
