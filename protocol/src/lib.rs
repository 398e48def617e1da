//! Wire types of the CodeDeploy commands protocol, shared by the agent and the control service.
//!
//! Every type serialises to, and parses from, the JSON that AWS's agents and service exchange:
//! members in PascalCase, absent members left out. The files under `golden/` hold one example of
//! each and the tests hold both directions to them.
//!
//! These types say what travels, not what is right: the agent turns a [`specification`] into domain
//! types that cannot be wrong before it touches anything.

pub mod commands;
pub mod diagnostics;
pub mod specification;
pub mod wire;

#[cfg(test)]
mod tests;
