//! What the fuzz targets hold: one module for each, and what they share.
//!
//! A target is `targets/NAME.rs`, which hands its bytes to `NAME::check` here. A check panics where
//! the agent breaks a promise; that, and every panic of the agent itself, is a crash that is kept.

pub mod appspec;
pub mod config;
pub mod digests;
pub mod edits;
pub mod envelope;
pub mod journal;
pub mod place;
pub mod runner_files;
pub mod settle;
pub mod tar_blocks;
pub mod unpack;
