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
pub mod plan;
pub mod outcome;
pub mod causes;
// effects
pub mod disk;
pub mod config_files;
pub mod process;
// network
pub mod http;
pub mod identity;
// state
pub mod layout;
pub mod store;
pub mod ledger;
pub mod journal;
// stages
pub mod revision;
pub mod bundle;
pub mod unpack;
pub mod install;
pub mod hooks;
pub mod validate;
// engine
pub mod engine;
// edges
pub mod service;
pub mod daemon;
pub mod cli;
