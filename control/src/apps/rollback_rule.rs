//! When a deployment is rolled back by itself.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::text::words;

words! {
    /// What can trigger a rollback.
    pub enum RollbackEvent {
        /// The deployment failed.
        Failure = "DEPLOYMENT_FAILURE",
        /// An alarm stopped it. This service watches no alarms yet, so it does not happen.
        StopOnAlarm = "DEPLOYMENT_STOP_ON_ALARM",
        /// Somebody stopped it.
        StopOnRequest = "DEPLOYMENT_STOP_ON_REQUEST",
    }
}

/// A group's or a deployment's rule. Its JSON is the API's `AutoRollbackConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRollback {
    /// Without it the events mean nothing.
    #[serde(default)]
    pub enabled: bool,
    /// What triggers.
    #[serde(default)]
    pub events: Vec<RollbackEvent>,
}

impl AutoRollback {
    /// From a request's member.
    ///
    /// # Errors
    /// `InvalidAutoRollbackConfigException` if it is switched on for nothing.
    pub fn from_request(self) -> Result<Self, ApiError> {
        if self.enabled && self.events.is_empty() {
            return Err(ApiError::client(
                "InvalidAutoRollbackConfigException",
                "autoRollbackConfiguration is enabled and names no events: add DEPLOYMENT_FAILURE, \
                 DEPLOYMENT_STOP_ON_REQUEST or both.",
            ));
        }
        Ok(self)
    }

    /// Whether this event triggers a rollback.
    pub fn covers(&self, event: RollbackEvent) -> bool {
        self.enabled && self.events.contains(&event)
    }
}
