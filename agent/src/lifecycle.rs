//! The lifecycle events, their order, and which revision's scripts each one runs.

use crate::ids::EventName;

/// What a host command asks the agent to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Fetch and unpack the revision.
    DownloadBundle,
    /// Install its files.
    Install,
    /// Run the scripts of an event.
    Hook(EventName),
    /// Replace the agent itself.
    UpdateAgent,
}

impl Command {
    /// Parses a command name of the protocol. Every path-safe name that is not one of the agent's
    /// own commands, and not an event of the service, is an event.
    pub fn parse(name: &str) -> Result<Self, CommandError> {
        match name {
            "DownloadBundle" => Ok(Self::DownloadBundle),
            "Install" => Ok(Self::Install),
            "UpdateDeploymentAgent" => Ok(Self::UpdateAgent),
            "BlockTraffic" | "AllowTraffic" => Err(CommandError(name.to_owned())),
            other => EventName::parse(other).map(Self::Hook).map_err(|_| CommandError(name.to_owned())),
        }
    }

    /// The protocol's name.
    pub fn name(&self) -> &str {
        match self {
            Self::DownloadBundle => "DownloadBundle",
            Self::Install => "Install",
            Self::UpdateAgent => "UpdateDeploymentAgent",
            Self::Hook(event) => event.as_str(),
        }
    }
}

/// A command that the agent cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the service sent the command {0:?}, which this agent does not know: an event that has hooks, DownloadBundle, \
     Install or UpdateDeploymentAgent was expected"
)]
pub struct CommandError(pub String);

/// The events that take scripts, in the order of an in-place deployment.
pub const HOOK_EVENTS: [&str; 9] = [
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "BeforeInstall",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
];

/// What a deployment on a host without a load balancer runs, in order.
pub const IN_PLACE: [&str; 7] = [
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
];

/// Events that belong to the service and take no scripts.
pub const SERVICE_EVENTS: [&str; 2] = ["BlockTraffic", "AllowTraffic"];

/// The revision whose scripts an event runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptSource {
    /// The one that this deployment brings.
    Current,
    /// The one whose Install succeeded last on this host for this group.
    LastSuccessful,
    /// The one that was unpacked last on this host for this group, installed or not.
    MostRecent,
}

/// How a deployment came to be, as far as it decides whose scripts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Anything but the next two.
    Ordinary,
    /// A `BLUE_GREEN` deployment, but for its rollback.
    BlueGreen,
    /// A rollback (`codeDeployRollback`) of a `BLUE_GREEN` deployment.
    BlueGreenRollback,
}

/// Which revision's scripts `event` runs. `current_unpacked`: whether this deployment's own revision
/// is on disk already.
///
/// By the AppSpec reference: the stop event and the two block events concern what runs now, so they
/// read the last successful revision until the current one was unpacked; all others the current one.
/// A blue-green rollback never installs, so its events read what is there.
pub fn script_source(event: &EventName, situation: Situation, current: CurrentRevision) -> ScriptSource {
    match (situation, event.as_str()) {
        (Situation::BlueGreenRollback, "BeforeBlockTraffic" | "AfterBlockTraffic") => ScriptSource::MostRecent,
        (Situation::BlueGreenRollback, "BeforeAllowTraffic" | "AfterAllowTraffic" | "ApplicationStop") => {
            ScriptSource::LastSuccessful
        }
        (_, "ApplicationStop" | "BeforeBlockTraffic" | "AfterBlockTraffic") => match current {
            CurrentRevision::NotUnpacked => ScriptSource::LastSuccessful,
            CurrentRevision::Unpacked => ScriptSource::Current,
        },
        _ => ScriptSource::Current,
    }
}

/// What a deployment did with the traffic of a load balancer before Install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nothing.
    Untouched,
    /// It was kept from the host; at the end the host gets it again.
    Blocked,
}

/// The event with which a deployment ends on a host. `possible` is the deployment's own list of events, where it has
/// one.
pub fn last_event(situation: Situation, traffic: Traffic, possible: Option<&[EventName]>) -> EventName {
    let usual = match (situation, traffic) {
        (Situation::Ordinary, Traffic::Untouched) => EventName::validate_service(),
        (Situation::Ordinary, Traffic::Blocked) | (Situation::BlueGreen | Situation::BlueGreenRollback, _) => {
            EventName::after_allow_traffic()
        }
    };
    match possible {
        Some([.., last]) if !possible.is_some_and(|events| events.contains(&usual)) => last.clone(),
        _ => usual,
    }
}

/// Whether a deployment's own revision is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentRevision {
    /// DownloadBundle has not run yet.
    NotUnpacked,
    /// It has.
    Unpacked,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> EventName {
        EventName::parse(name).unwrap()
    }

    #[test]
    fn commands_are_told_apart() {
        assert_eq!(Command::parse("Install"), Ok(Command::Install));
        assert_eq!(Command::parse("MyOwnEvent"), Ok(Command::Hook(event("MyOwnEvent"))));
        assert!(Command::parse("BlockTraffic").is_err());
        assert!(Command::parse("../x").is_err());
        assert!(Command::parse("").is_err());
    }

    #[test]
    fn a_deployment_ends_with_the_last_event_that_its_host_is_sent() {
        use Situation::{BlueGreen, Ordinary};
        use Traffic::{Blocked, Untouched};
        let own = [event("ApplicationStart"), event("SmokeTest")];
        let all = [event("ValidateService"), event("AfterAllowTraffic")];
        for (situation, traffic, possible, last) in [
            (Ordinary, Untouched, None, "ValidateService"),
            (Ordinary, Blocked, None, "AfterAllowTraffic"),
            (BlueGreen, Untouched, None, "AfterAllowTraffic"),
            (Ordinary, Untouched, Some(&all[..]), "ValidateService"),
            (Ordinary, Blocked, Some(&all[..]), "AfterAllowTraffic"),
            (Ordinary, Untouched, Some(&own[..]), "SmokeTest"),
            (Ordinary, Untouched, Some(&[]), "ValidateService"),
        ] {
            assert_eq!(
                last_event(situation, traffic, possible).as_str(),
                last,
                "{situation:?} {traffic:?} {possible:?}"
            );
        }
    }

    #[test]
    fn which_scripts_run() {
        use CurrentRevision::{NotUnpacked, Unpacked};
        use ScriptSource::{Current, LastSuccessful, MostRecent};
        let rows = [
            ("ApplicationStop", Situation::Ordinary, NotUnpacked, LastSuccessful),
            ("ApplicationStop", Situation::Ordinary, Unpacked, Current),
            ("BeforeBlockTraffic", Situation::Ordinary, NotUnpacked, LastSuccessful),
            ("AfterBlockTraffic", Situation::Ordinary, NotUnpacked, LastSuccessful),
            ("AfterBlockTraffic", Situation::BlueGreenRollback, Unpacked, MostRecent),
            ("BeforeAllowTraffic", Situation::BlueGreenRollback, NotUnpacked, LastSuccessful),
            ("ApplicationStop", Situation::BlueGreenRollback, Unpacked, LastSuccessful),
            ("BeforeAllowTraffic", Situation::Ordinary, Unpacked, Current),
            ("ValidateService", Situation::BlueGreenRollback, Unpacked, Current),
            ("Custom", Situation::Ordinary, Unpacked, Current),
        ];
        for (name, situation, current, expected) in rows {
            assert_eq!(script_source(&event(name), situation, current), expected, "{name} {situation:?} {current:?}");
        }
    }
}
