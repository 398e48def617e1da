//! From the configuration to what the daemon alone needs.

use anyhow::Context as _;
use serde::Serialize;

use super::logging::{Files, Level, Plan, Readers, WhenFiles};
use super::services::CONNECT_TIMEOUT;
use super::settings::Context;
use crate::config::{self, Origin, ProgressUpdates};
use crate::daemon;
use crate::daemon::progress::ProgressReports;
use crate::daemon::reload::{Pace, Reload, Reloaded};
use crate::deployment::envelope::{Anchors, Sha1, Trust};
use crate::disk;
use crate::store::{self, RunningSettings, StoreError};

/// Longest file of certificates for specifications, in bytes.
const MAX_CA_FILE: u64 = 1 << 20;
/// What SIGHUP changes; everything else waits for the next start.
const RELOADED: [&str; 4] = ["verbose", "wait_between_runs", "wait_after_error", "kill_agent_max_wait_time_seconds"];

/// A setting that the daemon has otherwise than the files.
#[derive(Debug, Serialize)]
pub(super) struct Outdated {
    pub(super) key: String,
    pub(super) running: String,
    pub(super) files: String,
}

impl Context {
    pub(super) fn daemon_options(&self, level: Level) -> anyhow::Result<daemon::Options> {
        let settings = &self.settings;
        let anchors = match &*settings.deployment_spec_ca_file {
            None => None,
            Some(path) => {
                let text = disk::read_bounded(path, MAX_CA_FILE).context("deployment_spec_ca_file cannot be used")?;
                Some(Anchors::from_pem(&text)?)
            }
        };
        Ok(daemon::Options {
            trust: Trust { anchors, sha1: if *settings.allow_sha1_envelope { Sha1::Allowed } else { Sha1::Refused } },
            pace: self.pace(),
            reload: self.reload(level),
            settings: self.running_settings(),
            max_parallel_groups: settings.max_parallel_groups.get(),
            // Name resolution, proxy and redirects have their own timeouts within these.
            longest_poll: 4 * (CONNECT_TIMEOUT + *settings.http_read_timeout),
            progress: self.progress(),
            metrics_file: (*settings.metrics_file).clone(),
        })
    }

    /// AWS's services are not known to take reports of progress.
    fn progress(&self) -> ProgressReports {
        let is_own =
            (*self.settings.deploy_control_endpoint).as_ref().is_some_and(|endpoint| !config::is_of_aws(endpoint));
        match *self.settings.progress_updates {
            ProgressUpdates::Auto if is_own => ProgressReports::Sent,
            ProgressUpdates::Auto | ProgressUpdates::Off => ProgressReports::Off,
        }
    }

    fn pace(&self) -> Pace {
        let settings = &self.settings;
        Pace {
            wait_between_runs: *settings.wait_between_runs,
            longest_backoff: settings.wait_after_error.is_explicit().then_some(*settings.wait_after_error),
            max_wait_at_end: *settings.kill_agent_max_wait_time_seconds,
        }
    }

    /// What reads the configuration again, as this one was read.
    fn reload(&self, level: Level) -> Reload {
        let (path, before) = (self.path.clone(), self.settings.describe());
        let had = self.running_settings();
        Reload(Box::new(move || {
            let now = Self::load(path.as_deref())?;
            level.set(now.verbosity())?;
            let differs = |setting: &&config::Described| {
                before.iter().any(|was| was.key == setting.key && was.value != setting.value)
            };
            let after = now.settings.describe();
            let waiting = after.iter().filter(differs).map(|setting| setting.key).filter(|key| !RELOADED.contains(key));
            let mut settings = had.clone();
            settings
                .settings
                .extend(RELOADED.iter().filter_map(|key| now.running_settings().settings.remove_entry(*key)));
            Ok(Reloaded {
                pace: now.pace(),
                at_next_start: waiting.collect(),
                settings,
                warnings: now.warnings().chain(now.exposures()).collect(),
            })
        }))
    }

    /// The settings of a daemon that is started with this configuration.
    fn running_settings(&self) -> RunningSettings {
        let described = self.settings.describe().into_iter();
        let of_files = described.filter(|setting| !matches!(setting.origin, Origin::Environment(_)));
        RunningSettings { settings: of_files.map(|setting| (setting.key.to_owned(), setting.value)).collect() }
    }

    /// The settings that the last daemon has or had otherwise than the files have them now.
    pub(super) fn outdated(&self) -> Result<Vec<Outdated>, StoreError> {
        let Some(RunningSettings { settings: running }) = store::read_running_settings(&self.layout)? else {
            return Ok(Vec::new());
        };
        let mut files = self.running_settings().settings;
        let differing = running.into_iter().filter_map(|(key, running)| {
            let files = files.remove(&key).filter(|files| *files != running)?;
            Some(Outdated { key, running, files })
        });
        Ok(differing.collect())
    }

    /// How the daemon logs.
    pub(super) fn logging(&self) -> Plan {
        let settings = &self.settings;
        Plan {
            verbosity: self.verbosity(),
            shape: self.shape(),
            name: settings.program_name.is_explicit().then(|| (*settings.program_name).clone()),
            files: Files {
                directory: settings.log_dir.to_path_buf(),
                when: if settings.log_dir.is_explicit() { WhenFiles::Always } else { WhenFiles::NothingElse },
                readers: if *settings.restrict_log_dir_permissions { Readers::Own } else { Readers::All },
                name: (*settings.program_name).clone(),
            },
        }
    }
}
