//! UpdateDeploymentAgent: refused, or left to the host's package manager.
//!
//! The package manager is run as a script is, under a runner: what it installs restarts the agent, and the agent's
//! next life reports what became of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::StageError;
use super::turn::{self, Turn};
use super::{Engine, Execution, Life, Order};
use crate::disk::{Dir, Lock};
use crate::hooks::{self, HostProgram, ProgramsRequest, Ran, Recovered, Wishes};
use crate::ids::{EventName, GroupId};
use crate::ledger::Work;
use crate::lifecycle::Command;
use crate::process;

/// How long a database of packages may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a package manager may take for its lists, and for the upgrade. The service waits 70 minutes for both.
const LISTS: Duration = Duration::from_secs(15 * 60);
const UPGRADE: Duration = Duration::from_secs(45 * 60);

/// Nobody is there to be asked, and nothing else of the host is to be restarted.
const APT_ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("NEEDRESTART_SUSPEND", "1"),
];
const RPM_ENVIRONMENT: &[(&str, &str)] = &[("LC_ALL", "C")];

/// What a request to update the agent leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updates {
    /// It is refused.
    Refused,
    /// The host's package manager upgrades the agent's package: `update_agent: packages`.
    Packages,
}

/// The package that the agent is of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Package {
    /// One of dpkg.
    Deb(String),
    /// One of rpm.
    Rpm(String),
}

impl Engine {
    /// Has the agent's package upgraded, once nothing else is under way on this host.
    pub(super) fn update_agent(&self, order: &Order, wishes: &Wishes) -> Result<Execution, StageError> {
        if self.policy.updates == Updates::Refused {
            return Err(StageError::UpdateRefused);
        }
        let Some(_alone) = self.alone(order, wishes)? else { return Ok(Execution::HandedOver) };
        let event = recorded_as()?;
        let programs = self.package()?.upgrade()?;
        if order.life == Life::First {
            self.forget_runs(&order.spec, &event)?;
        }
        tracing::info!(by = programs.last().map(HostProgram::shown), "the agent's package is upgraded");
        let request = ProgramsRequest {
            layout: &self.layout,
            group: &order.spec.group_id,
            deployment: &order.spec.deployment_id,
            event: &event,
            programs: &programs,
            settings: &self.policy.hooks,
            wishes,
        };
        Ok(match hooks::run_programs(&request)? {
            Ran::Over(outcome) => Execution::Over(outcome),
            Ran::HandedOver => Execution::HandedOver,
        })
    }

    /// Takes up an update that an earlier life was ended in, most often by the update itself. Nothing where it is not
    /// over then.
    pub(super) fn recover_update(&self, work: &Work, wishes: &Wishes) -> Option<Execution> {
        let recovered = recorded_as()
            .and_then(|event| hooks::recover(&self.layout, &work.deployment, &event, wishes).map_err(StageError::from));
        match recovered {
            Ok(Recovered::Over(outcome)) => Some(Execution::Over(outcome)),
            Ok(Recovered::NotStarted | Recovered::Partly) => None,
            Ok(Recovered::HandedOver) => Some(Execution::HandedOver),
            Err(error) => Some(Execution::Over(error.into())),
        }
    }

    /// Waits until no group is worked on, by the daemon or by hand, and keeps it so; nothing if the agent ends first.
    /// In the order of the names, so that two who do so do not wait for each other.
    fn alone(&self, order: &Order, wishes: &Wishes) -> Result<Option<Vec<Lock>>, StageError> {
        let mut groups = self.known_groups()?;
        groups.insert(order.spec.group_id.to_string());
        let mut locks = Vec::new();
        let group = |name: &String| GroupId::parse(name).ok();
        let mut files: Vec<PathBuf> =
            groups.iter().filter_map(group).map(|group| self.layout.group_lock(&group)).collect();
        files.push(self.layout.paths_lock());
        for file in files {
            match turn::wait(&file, &order.spec.deployment_id, wishes)? {
                Turn::Come(lock) => locks.push(lock),
                Turn::HandedOver => return Ok(None),
            }
        }
        Ok(Some(locks))
    }

    /// Names of all groups that anything was ever done for.
    fn known_groups(&self) -> Result<BTreeSet<String>, StageError> {
        let locks = match Dir::open(self.layout.locks()) {
            Err(error) if error.is_not_found() => return Ok(BTreeSet::new()),
            locks => locks?,
        };
        let group = |name: &OsStr| Some(name.to_str()?.strip_prefix("group-")?.to_owned());
        Ok(locks.entries()?.iter().filter_map(|entry| group(&entry.name)).collect())
    }

    /// The package that the agent's own program is of.
    fn package(&self) -> Result<Package, StageError> {
        let program = &self.policy.hooks.runner;
        let of_dpkg = ask("dpkg-query", &["-S".as_ref(), program.as_os_str()])?;
        if let Some(name) = of_dpkg.and_then(|said| deb_of(&said, program)) {
            return Ok(Package::Deb(name));
        }
        let question = ["-qf", "--queryformat", "package %{NAME}\\n"].map(OsStr::new);
        let of_rpm = ask("rpm", &[&question[..], &[program.as_os_str()]].concat())?;
        let name =
            of_rpm.and_then(|said| said.lines().find_map(|line| line.strip_prefix("package ").map(str::to_owned)));
        name.map(Package::Rpm).ok_or_else(|| {
            StageError::NoUpdate(format!(
                "{} belongs to no package of this host, so no package manager can upgrade it: install the package \
                 slipway-agent, or replace the program as it was installed",
                program.display()
            ))
        })
    }
}

impl Package {
    /// What upgrades it and nothing else, without asking.
    fn upgrade(&self) -> Result<Vec<HostProgram>, StageError> {
        match self {
            Self::Deb(name) => {
                let apt = one_of(&["apt-get"])?;
                // Other installations on the host are waited for, but not who reads the lists at that moment: apt has no
                // such wait, and says so. Configuration that somebody changed stays.
                let wait = ["-o", "DPkg::Lock::Timeout=600"];
                let keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];
                let install = ["install", "--only-upgrade", "--no-remove", "-q", "-y"];
                Ok(vec![
                    program(&apt, &[&["update", "-q"], &wait[..]].concat(), APT_ENVIRONMENT, LISTS),
                    program(&apt, &[&install, &wait[..], &keep, &[name]].concat(), APT_ENVIRONMENT, UPGRADE),
                ])
            }
            Self::Rpm(name) => {
                let dnf = one_of(&["dnf", "yum"])?;
                Ok(vec![program(&dnf, &["upgrade", "-y", name], RPM_ENVIRONMENT, UPGRADE)])
            }
        }
    }
}

/// As what an update is kept among the hooks.
fn recorded_as() -> Result<EventName, StageError> {
    EventName::parse(Command::UpdateAgent.name()).map_err(|error| StageError::NoUpdate(error.to_string()))
}

fn program(
    path: &Path,
    args: &[&str],
    environment: &'static [(&'static str, &'static str)],
    timeout: Duration,
) -> HostProgram {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    HostProgram { path: path.to_owned(), args, environment, timeout }
}

/// What a database of packages says; nothing where this host has none of that kind. That a path is of no package is
/// said by the exit status, so that does not count.
fn ask(name: &str, args: &[&OsStr]) -> Result<Option<String>, StageError> {
    let Some(program) = process::find_program(name) else { return Ok(None) };
    let answer = process::ask(&program, args, b"", PATIENCE)
        .map_err(|error| StageError::NoUpdate(format!("the package of the agent could not be looked up: {error}")))?;
    Ok(Some(String::from_utf8_lossy(&answer.stdout).into_owned()))
}

/// The package in the answer of `dpkg-query -S`: `name: path`, `name:architecture: path`, or several with commas.
fn deb_of(said: &str, program: &Path) -> Option<String> {
    let ending = format!(": {}", program.display());
    let owners =
        said.lines().filter(|line| !line.starts_with("diversion by ")).find_map(|line| line.strip_suffix(&ending))?;
    let first = owners.split(", ").next()?;
    Some(first.split(':').next().unwrap_or(first).to_owned())
}

fn one_of(names: &[&str]) -> Result<PathBuf, StageError> {
    names.iter().find_map(|name| process::find_program(name)).ok_or_else(|| {
        StageError::NoUpdate(format!("this host has no {}, with which the agent is upgraded", names.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_read_from_what_dpkg_says() {
        let program = Path::new("/usr/bin/slipway-agent");
        let of = |said: &str| deb_of(said, program);
        for said in [
            "slipway-agent: /usr/bin/slipway-agent\n",
            "slipway-agent:amd64: /usr/bin/slipway-agent\n",
            "diversion by x from: /usr/bin/slipway-agent\nslipway-agent, other: /usr/bin/slipway-agent\n",
        ] {
            assert_eq!(of(said).as_deref(), Some("slipway-agent"), "{said}");
        }
        assert_eq!(of(""), None);
        assert_eq!(of("diversion by x from: /usr/bin/slipway-agent\n"), None);
        assert_eq!(of("other: /usr/bin/slipway-agent-tool\n"), None);
    }

    #[test]
    fn nothing_but_the_package_is_upgraded_and_nobody_is_asked() {
        let programs = Package::Deb("slipway-agent".to_owned()).upgrade();
        let Ok(programs) = programs else {
            let why = "skipped: there is no apt-get here\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes());
            return;
        };
        let shown: Vec<_> = programs.iter().map(HostProgram::shown).collect();
        assert!(shown[0].starts_with("apt-get update "), "{shown:?}");
        assert!(shown[1].starts_with("apt-get install --only-upgrade ") && shown[1].ends_with(" slipway-agent"));
        assert!(programs.iter().all(|program| program.environment.contains(&("DEBIAN_FRONTEND", "noninteractive"))));
    }
}
