//! The words for what deployments, hosts and events can be.

use crate::text::words;

words! {
    /// State of a deployment.
    pub enum DeploymentStatus {
        /// Made, not begun.
        Created = "Created",
        /// Waits for another.
        Queued = "Queued",
        /// Under way.
        InProgress = "InProgress",
        /// Watched after its last host.
        Baking = "Baking",
        /// Ended well.
        Succeeded = "Succeeded",
        /// Ended badly.
        Failed = "Failed",
        /// Was stopped.
        Stopped = "Stopped",
        /// Waits to be continued.
        Ready = "Ready",
    }
}

words! {
    /// State of one host in a deployment.
    pub enum TargetStatus {
        /// Not begun.
        Pending = "Pending",
        /// Begun.
        InProgress = "InProgress",
        /// Ended well.
        Succeeded = "Succeeded",
        /// Ended badly.
        Failed = "Failed",
        /// Will not begin.
        Skipped = "Skipped",
        /// Nothing is known.
        Unknown = "Unknown",
        /// Waits to be continued.
        Ready = "Ready",
    }
}

words! {
    /// State of a lifecycle event on one host.
    pub enum EventStatus {
        /// Not taken by the host.
        Pending = "Pending",
        /// Taken.
        InProgress = "InProgress",
        /// Ended well.
        Succeeded = "Succeeded",
        /// Ended badly.
        Failed = "Failed",
        /// Will not run.
        Skipped = "Skipped",
        /// Nothing is known.
        Unknown = "Unknown",
    }
}

words! {
    /// How an event ended, in the API's words.
    pub enum EventError {
        /// Well.
        Success = "Success",
        /// The revision lacks a script.
        ScriptMissing = "ScriptMissing",
        /// A script could not be executed.
        ScriptNotExecutable = "ScriptNotExecutable",
        /// A script took too long.
        ScriptTimedOut = "ScriptTimedOut",
        /// A script ended badly.
        ScriptFailed = "ScriptFailed",
        /// Anything else.
        UnknownError = "UnknownError",
    }
}

words! {
    /// Who made a deployment.
    pub enum Creator {
        /// A user.
        User = "user",
        /// The service, to roll another back.
        Rollback = "codeDeployRollback",
    }
}

words! {
    /// What happens to a file that is in the way.
    pub enum FileExists {
        /// The deployment fails.
        Disallow = "DISALLOW",
        /// It is replaced.
        Overwrite = "OVERWRITE",
        /// It stays.
        Retain = "RETAIN",
    }
}

words! {
    /// Why a deployment gives out nothing more.
    pub enum Halt {
        /// A user stopped it; whether it is rolled back is by its rule.
        Stop = "Stop",
        /// A user stopped it and wants it rolled back.
        StopAndRollBack = "StopAndRollBack",
        /// A user stopped it and does not want it rolled back.
        StopAndStay = "StopAndStay",
        /// It took too long.
        Timeout = "Timeout",
        /// Its group was deleted.
        GroupDeleted = "GroupDeleted",
        /// Its application was deleted.
        ApplicationDeleted = "ApplicationDeleted",
    }
}

words! {
    /// Why a deployment did not succeed.
    pub enum ErrorCode {
        /// The application was deleted.
        ApplicationMissing = "APPLICATION_MISSING",
        /// The group was deleted.
        DeploymentGroupMissing = "DEPLOYMENT_GROUP_MISSING",
        /// Too many hosts failed.
        HealthConstraints = "HEALTH_CONSTRAINTS",
        /// The configuration leaves no host to take.
        HealthConstraintsInvalid = "HEALTH_CONSTRAINTS_INVALID",
        /// A user stopped it.
        ManualStop = "MANUAL_STOP",
        /// No host matches.
        NoInstances = "NO_INSTANCES",
        /// It took too long.
        Timeout = "TIMEOUT",
    }
}
