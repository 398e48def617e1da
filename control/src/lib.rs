//! Slipway's self-hosted control service: the public CodeDeploy API for operators, the commands
//! protocol for agents, and an embedded S3 for bundles, over one data directory.
//!
//! Modules import only from those above them in this list.

pub mod caller;
pub mod error;
pub mod data_dir;
pub mod envelope;
pub mod pki;
pub mod db;
pub mod disk_space;
pub mod keys;
pub mod sigv4;
pub mod text;
pub mod clock;
pub mod ids;
pub mod page;
pub mod tags;
pub mod revisions;
pub mod health;
pub mod instances;
pub mod service;
pub mod apps;
pub mod deployments;
pub mod commands;
pub mod timekeeper;
pub mod api;
pub mod s3;
pub mod server;
pub mod host_config;
pub mod cli;

#[cfg(test)]
mod simulation;
