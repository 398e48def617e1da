//! The agent is killed at many moments of the demo's deployments.
