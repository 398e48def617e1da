//! Starting a runner where it outlives the agent: as a service of systemd, else as nobody's child.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::attach::Begun;
use super::record::{EXIT, RUNNER_LOG, RunnerSpec, UnitName};
use super::{HookError, HookSettings, attach};
use crate::disk::{self, Dir};
use crate::outcome::tail;
use crate::process::{self, Identity, Presence, UnitLimits, UnitRequest, UnitStart, Units};

/// How long a runner may take until it has taken its script.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often its directory is looked at until then.
const LOOK: Duration = Duration::from_millis(2);
/// How often systemd is asked until then.
const ASK: Duration = Duration::from_millis(100);
/// What a service that is to end has beyond the grace of its script.
const STOP_SLACK: Duration = Duration::from_secs(20);

/// How runners are started on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// As transient services of systemd.
    Units,
    /// As processes in sessions of their own, which belong to nobody.
    Detached,
}

impl Launcher {
    /// As services where systemd is the host's init, and takes orders from this process.
    pub fn of_this_host() -> Self {
        if !Units::is_available() {
            return Self::Detached;
        }
        match Units::connect() {
            Ok(_) => Self::Units,
            Err(error) => {
                tracing::warn!(
                    "{error}: hooks run without services of their own, so `memory_max` and `cpu_quota` have no effect; \
                     install and start dbus, then restart the agent"
                );
                Self::Detached
            }
        }
    }
}

/// A runner that was started and may not have taken its script yet.
enum Launched {
    Unit(Units),
    Process(Option<Identity>),
}

/// Starts the runner of `dir`, and waits until it has taken its script, or has left a result at once.
pub(super) fn launch(settings: &HookSettings, spec: &RunnerSpec, dir: &Path) -> Result<(), HookError> {
    let launched = match &spec.unit {
        Some(name) => Launched::Unit(start_unit(settings, spec, name, dir)?),
        None => {
            let directory = Dir::open(dir)?;
            directory.remove_tree(RUNNER_LOG)?;
            let errors = directory.create_file(RUNNER_LOG, 0o600)?;
            Launched::Process(process::start_detached(&settings.runner, &arguments(dir), errors)?)
        }
    };
    let deadline = Instant::now() + PATIENCE;
    let mut ask_at = Instant::now() + ASK;
    loop {
        if has_begun(dir)? {
            return Ok(());
        }
        let now = Instant::now();
        let over = match &launched {
            Launched::Process(runner) => is_gone(runner.as_ref())?.then(|| "it is gone".to_owned()),
            Launched::Unit(units) if now >= ask_at => {
                ask_at = now + ASK;
                unit_is_over(units, spec)?
            }
            Launched::Unit(_) => None,
        };
        // It may have begun between the two looks.
        if let Some(how) = over
            && !has_begun(dir)?
        {
            return Err(failed(spec, dir, how)?);
        }
        if now >= deadline {
            return Err(failed(spec, dir, format!("it did not begin within {} s", PATIENCE.as_secs()))?);
        }
        std::thread::sleep(LOOK);
    }
}

fn arguments(dir: &Path) -> [&OsStr; 2] {
    ["hook-runner".as_ref(), dir.as_os_str()]
}

fn start_unit(settings: &HookSettings, spec: &RunnerSpec, name: &UnitName, dir: &Path) -> Result<Units, HookError> {
    let units = Units::connect()?;
    let limits = spec.limits;
    let request = UnitRequest {
        name: name.as_str(),
        description: &description(dir),
        program: &settings.runner,
        args: &arguments(dir),
        stop_timeout: limits.kill_grace + limits.output_grace + STOP_SLACK,
        limits: UnitLimits { memory_max: limits.memory_max, cpu_quota_percent: limits.cpu_quota_percent },
    };
    // One of the same name is that of an earlier run: whether a script runs is known by its directory, which
    // was looked at before.
    for _ in 0..2 {
        if units.start(&request)? == UnitStart::Begun {
            return Ok(units);
        }
        units.stop(name.as_str())?;
        let until = Instant::now() + STOP_SLACK;
        while units.state(name.as_str())?.is_some_and(|state| state.active != "inactive") && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
    Err(HookError::UnitInTheWay(name.clone()))
}

/// What a runner's service says of itself; by it those of one root are told from those of others.
pub(super) fn description(dir: &Path) -> String {
    format!("Slipway hook {}", dir.display())
}

fn has_begun(dir: &Path) -> Result<bool, HookError> {
    Ok(matches!(attach::begun_now(dir)?, Begun::By(_)) || Dir::open(dir)?.stat_if_exists(EXIT)?.is_some())
}

fn is_gone(runner: Option<&Identity>) -> Result<bool, HookError> {
    let Some(runner) = runner else { return Ok(true) };
    Ok(!matches!(runner.presence()?, Presence::Running(_)))
}

fn unit_is_over(units: &Units, spec: &RunnerSpec) -> Result<Option<String>, HookError> {
    let Some(name) = &spec.unit else { return Ok(None) };
    Ok(match units.state(name.as_str())? {
        None => Some(format!("its service {} is gone", name.as_str())),
        Some(state) if !state.has_ended() => None,
        Some(state) => Some(format!("its service {} is {} ({})", name.as_str(), state.active, state.result)),
    })
}

fn failed(spec: &RunnerSpec, dir: &Path, how: String) -> Result<HookError, HookError> {
    let text = disk::read_if_exists(&dir.join(RUNNER_LOG), 64 << 10)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let said = match text.trim() {
        "" => "it said nothing".to_owned(),
        said => tail(said, 500).trim_end_matches('.').to_owned(),
    };
    Ok(HookError::RunnerFailed { script: spec.subject.name.clone(), how, said })
}
