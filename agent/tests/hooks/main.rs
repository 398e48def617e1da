//! Hooks with real scripts, real runners and real processes.

mod fixture;
mod lost;
mod output;
mod refused;
mod run;
