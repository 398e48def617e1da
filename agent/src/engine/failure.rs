//! What can go wrong in a stage, and the wire code that it has.

use std::path::PathBuf;

use crate::appspec::AppSpecErrors;
use crate::bundle::BundleError;
use crate::deployment::RelativePath;
use crate::disk;
use crate::hooks::HookError;
use crate::ids::{DeploymentId, GroupId};
use crate::install::InstallError;
use crate::outcome::{ErrorCode, Failure, Outcome};
use crate::revision::NoAppSpec;
use crate::store::StoreError;
use crate::unpack::UnpackError;

/// Why an order failed before, or without, a script.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// State could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An earlier install of the group is not settled.
    #[error("{0} Nothing new was begun.")]
    Waiting(String),
    /// The bundle could not be had.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The AppSpec has mistakes.
    #[error("the AppSpec has mistakes, and nothing was installed:\n{0}")]
    AppSpec(#[from] AppSpecErrors),
    /// There is no AppSpec to read.
    #[error(transparent)]
    NoAppSpec(#[from] NoAppSpec),
    /// It was there, and a script has removed it.
    #[error(
        "the AppSpec is gone from {}, {left}: a script of this deployment has removed it. The last that ran was {last}. \
         Scripts run from that directory, and later events need what is in it: correct the script, so that it removes \
         nothing there, and deploy again",
        root.display()
    )]
    Emptied {
        /// The revision's directory.
        root: PathBuf,
        /// What else is there.
        left: String,
        /// The script that ran last, and its event.
        last: String,
    },
    /// The AppSpec that somebody named is not there.
    #[error(
        "the revision has no {wanted}, which was named as its AppSpec; at its top level are {found}: correct the name"
    )]
    NoNamedAppSpec {
        /// What was named.
        wanted: RelativePath,
        /// What is there.
        found: String,
    },
    /// The revision could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A hook could not be run.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The revision is not on this host.
    #[error(
        "the revision of deployment {deployment} is not on this host: there is no {}. DownloadBundle has to run first; \
         if it did, the directory was removed since: deploy again",
        root.display()
    )]
    NoRevision {
        /// Whose revision.
        deployment: DeploymentId,
        /// Where it should be.
        root: PathBuf,
    },
    /// The first script to run cannot.
    #[error("{}", .0.message)]
    FirstScript(Box<Failure>),
    /// The AppSpec has hooks for events that the service does not know.
    #[error("the AppSpec has hooks for {unknown}, which this deployment never runs; its events are {possible}")]
    ImpossibleEvents {
        /// Events of the AppSpec.
        unknown: String,
        /// Events of the deployment.
        possible: String,
    },
    /// The deployment has events that the AppSpec has no hooks for.
    #[error("this deployment runs the custom events {0}, and the AppSpec has no hooks for them")]
    MissingEvents(String),
    /// Somebody does not want it any more.
    #[error("nothing was begun: {0}")]
    Cancelled(String),
    /// It was cancelled while it was carried out.
    #[error("the download was ended: {0}")]
    Ended(String),
    /// Others could change a revision that is about to be used, and one of its scripts was.
    #[error(
        "{file} of the revision of deployment {deployment} is not what was unpacked, and is not run: {could} could change \
         it. The files of that revision are {owner}'s alone now. Look at who changed it; then deploy a revision \
         anew, or make the host forget this one with `slipway-agent forget --group {group}`"
    )]
    Tampered {
        /// The script, or the AppSpec.
        file: String,
        /// Whose revision it is.
        deployment: DeploymentId,
        /// Who could change files of it.
        could: String,
        /// Who alone can now.
        owner: String,
        /// The group.
        group: GroupId,
    },
    /// There is nothing to go back to.
    #[error("group {0} has no other good revision on this host")]
    NothingGood(GroupId),
    /// There was no time left to go back.
    #[error("there was no time left before {step}: the service waits for one event no longer than 4,200 s")]
    RestoreTooLate {
        /// What was not begun.
        step: &'static str,
    },
    /// A step of going back failed.
    #[error("{step}: {message}")]
    RestoreFailed {
        /// Which one.
        step: &'static str,
        /// What it said.
        message: String,
    },
    /// Going back could not begin.
    #[error("{0}")]
    Restore(String),
    /// The agent was told to update itself.
    #[error(
        "the service asked for an update of the agent (UpdateDeploymentAgent), which this host refuses: here the agent is \
         updated by the host's package manager, `apt-get install --only-upgrade slipway-agent` or `dnf upgrade \
         slipway-agent`. Where deployments may have that done, set update_agent: packages in the agent's configuration"
    )]
    UpdateRefused,
    /// The agent cannot be updated.
    #[error("the agent was not updated: {0}")]
    NoUpdate(String),
    /// The revision of an earlier deployment has a mistake.
    #[error(
        "{source}\nThis is the revision of deployment {deployment}, not of the one you are deploying. To deploy all the \
         same, set ignore-application-stop-failures on the deployment, or make the host forget it with \
         `slipway-agent forget --group {group}`"
    )]
    OfAnother {
        /// What is wrong with it.
        source: Box<StageError>,
        /// Whose revision it is.
        deployment: DeploymentId,
        /// The group of both.
        group: GroupId,
    },
}

impl StageError {
    /// Whether a stage ended because that was asked for.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::Bundle(BundleError::Stopped) | Self::Unpack(UnpackError::Stopped))
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Disk(_)
            | Self::Store(_)
            | Self::Waiting(_)
            | Self::Bundle(_)
            | Self::Unpack(_)
            | Self::AppSpec(_)
            | Self::NoAppSpec(_)
            | Self::Emptied { .. }
            | Self::NoNamedAppSpec { .. }
            | Self::Install(_)
            | Self::Hook(_)
            | Self::NoRevision { .. }
            | Self::ImpossibleEvents { .. }
            | Self::MissingEvents(_)
            | Self::Cancelled(_)
            | Self::Ended(_)
            | Self::Tampered { .. }
            | Self::NothingGood(_)
            | Self::RestoreTooLate { .. }
            | Self::RestoreFailed { .. }
            | Self::Restore(_)
            | Self::UpdateRefused
            | Self::NoUpdate(_) => ErrorCode::UnknownError,
            Self::FirstScript(failure) => failure.code,
            Self::OfAnother { source, .. } => source.code(),
        }
    }
}

impl From<StageError> for Outcome {
    fn from(error: StageError) -> Self {
        match error {
            StageError::FirstScript(failure) => Self::Failed(*failure),
            error => Self::Failed(Failure::new(error.code(), error.to_string())),
        }
    }
}
