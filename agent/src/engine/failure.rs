//! What can go wrong in a stage, and the wire code that it has.

use std::path::PathBuf;

use crate::appspec::AppSpecErrors;
use crate::bundle::BundleError;
use crate::disk;
use crate::hooks::HookError;
use crate::ids::{DeploymentId, GroupId};
use crate::install::{InstallError, SettleError};
use crate::outcome::{ErrorCode, Failure, Outcome};
use crate::revision::NoAppSpec;
use crate::store::StoreError;
use crate::unpack::UnpackError;

/// Why an order failed before, or without, a script.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an install that was cut off could not be settled, so nothing new was begun: {0}")]
    Settle(#[from] SettleError),
    #[error("{0} Nothing new was begun.")]
    Waiting(String),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("the AppSpec has mistakes, and nothing was installed:\n{0}")]
    AppSpec(#[from] AppSpecErrors),
    #[error(transparent)]
    NoAppSpec(#[from] NoAppSpec),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(
        "the revision of deployment {deployment} is not on this host: there is no {}. DownloadBundle has to run first; \
         if it did, the directory was removed since: deploy again",
        root.display()
    )]
    NoRevision { deployment: DeploymentId, root: PathBuf },
    #[error("the AppSpec has hooks for {unknown}, which this deployment never runs; its events are {possible}")]
    ImpossibleEvents { unknown: String, possible: String },
    #[error("this deployment runs the custom events {0}, and the AppSpec has no hooks for them")]
    MissingEvents(String),
    #[error(
        "this agent is updated by the host's package manager, never by a deployment; upgrade the slipway-agent \
         package instead"
    )]
    UpdateAgent,
    #[error(
        "{source}\nThis is the revision of deployment {deployment}, not of the one you are deploying. To deploy all the \
         same, set ignore-application-stop-failures on the deployment, or make the host forget it with \
         `slipway-agent forget --group {group}`"
    )]
    OfAnother { source: Box<StageError>, deployment: DeploymentId, group: GroupId },
}

impl StageError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Disk(_)
            | Self::Store(_)
            | Self::Settle(_)
            | Self::Waiting(_)
            | Self::Bundle(_)
            | Self::Unpack(_)
            | Self::AppSpec(_)
            | Self::NoAppSpec(_)
            | Self::Install(_)
            | Self::Hook(_)
            | Self::NoRevision { .. }
            | Self::ImpossibleEvents { .. }
            | Self::MissingEvents(_)
            | Self::UpdateAgent => ErrorCode::UnknownError,
            Self::OfAnother { source, .. } => source.code(),
        }
    }
}

impl From<StageError> for Outcome {
    fn from(error: StageError) -> Self {
        let code = error.code();
        Self::Failed(Failure { code, script: String::new(), message: error.to_string(), log: String::new() })
    }
}
