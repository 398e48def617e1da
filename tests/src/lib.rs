//! Starts Slipway's real programs together: what the demo, the bench and the tests of whole programs
//! are made of.
//!
//! Everything that one scenario makes lives in a [`place::Place`]: one temporary directory, and every
//! process that carries its path in the environment. When the place goes, both go.
#![allow(clippy::disallowed_methods, reason = "this crate is the world around the programs, not a part of them")]

pub mod until;
pub mod place;
pub mod program;
pub mod binaries;
pub mod birth;
pub mod sign;
pub mod api;
pub mod authority;
pub mod revision;
pub mod web;
pub mod control;
pub mod agent;
pub mod deployment;
pub mod fleet;
pub mod forward;
pub mod proxy;
pub mod metadata;
pub mod polled;
pub mod secret;
pub mod timeline;
