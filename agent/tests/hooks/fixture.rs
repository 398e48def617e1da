//! A host with one revision of scripts in a temporary directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use slipway_agent::appspec::extensions::Extensions;
use slipway_agent::appspec::hooks::Sudo;
use slipway_agent::appspec::{Position, Script};
use slipway_agent::deployment::{DeploymentSpec, RelativePath};
use slipway_agent::hooks::{self, EventRequest, HookError, HookSettings, Ran, Recovered, ScriptsOf, Wishes};
use slipway_agent::ids::EventName;
use slipway_agent::layout::Layout;
use slipway_agent::outcome::{Failure, Outcome};
use slipway_agent::revision::Revision;

pub const RUNNER: &str = env!("CARGO_BIN_EXE_slipway-agent");

pub struct Host {
    _temp: tempfile::TempDir,
    pub dir: PathBuf,
    pub layout: Layout,
    pub revision: Revision,
    pub spec: DeploymentSpec,
    pub settings: HookSettings,
    pub event: EventName,
    pub scripts_of: ScriptsOf,
}

impl Host {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        // Other users must reach their scripts.
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self::at(temp.path().to_owned(), temp)
    }

    /// A host whose root is `dir`, which `temp` holds.
    pub fn at(dir: PathBuf, temp: tempfile::TempDir) -> Self {
        let layout = Layout::new(dir.join("root"));
        let spec = DeploymentSpec::from_json(
            br#"{"DeploymentId":"d-1","DeploymentGroupId":"g-1","DeploymentGroupName":"group","ApplicationName":"app",
                "Revision":{"RevisionType":"S3","S3Revision":{"Bucket":"b","Key":"k","BundleType":"zip"}}}"#,
        )
        .unwrap();
        let revision = Revision::at(layout.archive(&spec.group_id, &spec.deployment_id));
        std::fs::create_dir_all(revision.root()).unwrap();
        let mut settings = HookSettings::new(RUNNER);
        settings.kill_grace = Duration::from_millis(300);
        settings.output_grace = Duration::from_millis(500);
        let event = EventName::parse("AfterInstall").unwrap();
        Self { _temp: temp, dir, layout, revision, spec, settings, event, scripts_of: ScriptsOf::ThisDeployment }
    }

    /// Puts an executable file into the revision; `DIR` in it stands for the host's directory.
    pub fn script(&self, name: &str, content: &str) -> Script {
        let path = self.revision.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content.replace("DIR", &self.dir.display().to_string())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.entry(name)
    }

    /// A shell script.
    pub fn sh(&self, name: &str, body: &str) -> Script {
        self.script(name, &format!("#!/bin/sh\n{body}\n"))
    }

    /// An AppSpec entry, whatever there is in the revision.
    pub fn entry(&self, name: &str) -> Script {
        Script {
            location: RelativePath::parse(name).unwrap(),
            written: name.to_owned(),
            timeout: Duration::from_secs(60),
            runas: None,
            sudo: Sudo::No,
            extensions: Extensions::default(),
            at: Position { line: 7, column: 5 },
        }
    }

    pub fn try_run(&self, scripts: &[Script]) -> Result<Outcome, HookError> {
        match self.run_until(scripts, &Wishes::new().unwrap())? {
            Ran::Over(outcome) => Ok(outcome),
            Ran::HandedOver => panic!("it was handed over, and nobody wished that"),
        }
    }

    /// As an agent that can be asked for something meanwhile.
    pub fn run_until(&self, scripts: &[Script], wishes: &Wishes) -> Result<Ran, HookError> {
        hooks::run_event(&EventRequest {
            layout: &self.layout,
            spec: &self.spec,
            event: &self.event,
            scripts,
            revision: &self.revision,
            scripts_of: &self.scripts_of,
            settings: &self.settings,
            wishes,
        })
    }

    pub fn run(&self, scripts: &[Script]) -> Outcome {
        self.try_run(scripts).unwrap()
    }

    pub fn recover(&self) -> Recovered {
        self.recover_until(&Wishes::new().unwrap())
    }

    pub fn recover_until(&self, wishes: &Wishes) -> Recovered {
        hooks::recover(&self.layout, &self.spec.deployment_id, &self.event, wishes).unwrap()
    }

    pub fn hook_dir(&self, index: usize) -> PathBuf {
        self.layout.hook(&self.spec.deployment_id, &self.event, index)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        read(&self.path(name))
    }

    pub fn scripts_log(&self) -> String {
        read(&self.layout.scripts_log(&self.spec.group_id, &self.spec.deployment_id))
    }

    /// Waits until a script has written a pid into a file.
    pub fn pid(&self, name: &str) -> i32 {
        wait_for(&format!("a pid in {name}"), || {
            std::fs::read_to_string(self.path(name)).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok()
        })
    }

    /// Waits until a runner has taken a script, and tells its pid.
    pub fn runner_pid(&self, index: usize) -> i32 {
        let started = self.hook_dir(index).join("started");
        let text = wait_for("a runner", || std::fs::read_to_string(&started).ok());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        i32::try_from(json["runner"]["pid"].as_i64().unwrap()).unwrap()
    }
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Succeeded { log, .. } => panic!("it succeeded: {log}"),
    }
}

pub fn success_log(outcome: Outcome) -> String {
    match outcome {
        Outcome::Succeeded { log, .. } => log,
        Outcome::Failed(failure) => panic!("it failed: {failure:?}"),
    }
}

#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and not only a zombie that nobody has reaped.
pub fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

/// Field 22 of a process's `stat`.
pub fn start_ticks(pid: u32) -> u64 {
    let stat = read(format!("/proc/{pid}/stat").as_ref());
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

pub fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
