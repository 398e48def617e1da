//! The real programs together: a control service, agents, and what comes between them.
#![allow(clippy::disallowed_methods, reason = "these tests are the world around the programs")]

mod expect;

mod bad_input;
mod bundles;
mod clock;
mod commands;
mod configuration;
mod crash_loop;
mod doctor;
mod downloads;
mod drift;
mod envelope;
mod failures;
mod groups;
mod hardening;
mod history;
mod identity;
mod integrity;
mod kill_moments;
mod labels;
mod local;
mod logging;
mod metrics;
mod network;
mod old_kernels;
mod outages;
mod plan;
mod progress;
mod proxies;
mod refusals;
mod requests;
mod restore;
mod rotation;
mod secrets;
mod signed_bundles;
mod small_groups;
mod space;
mod takeover;
mod tls;
mod updates;
mod validate;
mod watch;
mod wire;
