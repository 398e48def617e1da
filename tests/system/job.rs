//! One row of the table, in a process of its own with namespaces of its own: whatever happens in it, no
//! mount, no process and no booted host outlives it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use slipway_tests::place::Place;

use crate::cgroup::{self, Cgroup};
use crate::report::Report;
use crate::survives::Interruption;
use crate::{
    background, birth, cost, deploys, diagnosed, examples, image, limits, offline, packages, reboots, survives,
    takeover, units, updates, user_data,
};

/// Programs without which no host can be booted.
const NEEDS: [&str; 7] = ["debootstrap", "systemd-nspawn", "nsenter", "unshare", "setpriv", "mount", "ip"];

/// The rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Test {
    /// The unit, deployments, a reboot between two, and a start without the service
    Deploys,
    /// The agent is restarted while a hook runs, for each event
    HookRestart,
    /// The agent is killed while a hook runs, for each event
    HookKill,
    /// The agent is stopped and started while a hook runs, for each event
    HookStop,
    /// The agent is replaced by another build while a hook runs, for each event
    HookUpgrade,
    /// The same four where hooks cannot have units of their own
    HookWithoutBus,
    /// A hook's unit comes and goes with its processes; a lost runner, TERM ignored, output left open
    HookUnits,
    /// What a hook leaves running outlives the hook and the agent
    Background,
    /// What a script is born with, by the daemon and by a local deployment, beside a service
    HookBirth,
    /// The host is rebooted in each state of a deployment
    RebootEachState,
    /// A hook asks for the reboot
    RebootAsked,
    /// What `doctor` says of a host that is well, and of one whose unit is not
    Doctor,
    /// The host boots without a network, which comes later
    Offline,
    /// Memory and processor time of a hook are limited by its unit
    Limits,
    /// What a hook costs over its script, as a service of systemd
    HookCost,
    /// The example of a website: nginx, and a reload that drops nothing
    ExampleNginx,
    /// The example of a service with its unit
    ExampleService,
    /// The example of WordPress: Apache, PHP, MariaDB and WordPress
    ExampleWordpress,
    /// An image is made of a host, and booted twice as two others
    Image,
    /// AWS's agent is there before, with a deployment of its own
    Takeover,
    /// The service asks for an update of the agent, and apt does it
    Updates,
    /// The agent's deb: installed, upgraded while a hook runs, stopped, removed, purged
    DebAgent,
    /// AWS's package is there, and the agent's deb takes its place
    DebTakeover,
    /// The control service's deb, in its sandbox
    DebControl,
    /// The agent's rpm
    RpmAgent,
    /// The script for user data, with EC2's metadata service and a bucket
    UserData,
}

/// One test, with what it needs.
#[derive(Clone, Debug)]
pub struct Job {
    /// The test.
    pub test: Test,
    /// What hosts are booted from.
    pub root: PathBuf,
}

/// Where a job boots its hosts: a place in memory, a control group, and what to boot.
pub struct Ground {
    /// Directories and programs of the job.
    pub place: Place,
    /// The control group of its hosts.
    pub cgroup: PathBuf,
    /// What hosts are booted from.
    pub root: PathBuf,
}

impl Test {
    /// Its name in the table.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How many checks it makes.
    pub fn wanted(self) -> u64 {
        match self {
            Self::Deploys => deploys::CHECKS,
            Self::HookRestart | Self::HookKill | Self::HookStop | Self::HookUpgrade => survives::CHECKS,
            Self::HookWithoutBus => survives::WITHOUT_BUS,
            Self::HookUnits => units::CHECKS,
            Self::Background => background::CHECKS,
            Self::HookBirth => birth::CHECKS,
            Self::RebootEachState => reboots::EACH_STATE,
            Self::RebootAsked => reboots::ASKED,
            Self::Doctor => diagnosed::CHECKS,
            Self::Offline => offline::CHECKS,
            Self::Limits => limits::CHECKS,
            Self::HookCost => cost::CHECKS,
            Self::ExampleNginx => examples::NGINX,
            Self::ExampleService => examples::SERVICE,
            Self::ExampleWordpress => examples::WORDPRESS,
            Self::Image => image::CHECKS,
            Self::Takeover => takeover::CHECKS,
            Self::Updates => updates::CHECKS,
            Self::DebAgent => packages::DEB_AGENT,
            Self::DebTakeover => packages::DEB_TAKEOVER,
            Self::DebControl => packages::DEB_CONTROL,
            Self::RpmAgent => packages::RPM_AGENT,
            Self::UserData => user_data::CHECKS,
        }
    }

    /// Whether its host installs packages of the distribution.
    pub fn wants_packages(self) -> bool {
        matches!(self, Self::ExampleNginx | Self::ExampleWordpress)
    }

    /// Whether it is a part of the matrix of hooks and interruptions.
    pub fn is_survival(self) -> bool {
        matches!(self, Self::HookRestart | Self::HookKill | Self::HookStop | Self::HookUpgrade)
    }
}

impl Job {
    /// Runs it in a new process with its own mounts, network, process ids and control group.
    pub fn spawn(&self) -> Result<Report> {
        let cgroup = Cgroup::create(&self.test.name())?;
        // Whoever ends this program ends the job with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]);
        // A network of its own: hosts listen on the ports that their programs usually have, and reach nobody outside.
        command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(env::current_exe()?).arg("job").arg(self.test.name()).arg(&self.root).arg(cgroup.path());
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run unshare")?;
        ensure!(output.status.success(), "the job {} ended with {}", self.test.name(), output.status);
        serde_json::from_slice(&output.stdout).context("read the report of a job")
    }

    /// Does the work, in the process made for it.
    pub fn work(&self, cgroup: PathBuf) -> Result<Report> {
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let ground = Ground { place: Place::new_in(&private_memory()?)?, cgroup, root: self.root.clone() };
        let mut report = Report::default();
        let done = match self.test {
            Test::Deploys => deploys::test(&ground, &mut report),
            Test::HookRestart => survives::test(&ground, Interruption::Restart, &mut report),
            Test::HookKill => survives::test(&ground, Interruption::Kill, &mut report),
            Test::HookStop => survives::test(&ground, Interruption::Stop, &mut report),
            Test::HookUpgrade => survives::test(&ground, Interruption::Upgrade, &mut report),
            Test::HookWithoutBus => survives::without_bus(&ground, &mut report),
            Test::HookUnits => units::test(&ground, &mut report),
            Test::Background => background::test(&ground, &mut report),
            Test::HookBirth => birth::test(&ground, &mut report),
            Test::RebootEachState => reboots::each_state(&ground, &mut report),
            Test::RebootAsked => reboots::asked_by_a_hook(&ground, &mut report),
            Test::Doctor => diagnosed::test(&ground, &mut report),
            Test::Offline => offline::test(&ground, &mut report),
            Test::Limits => limits::test(&ground, &mut report),
            Test::HookCost => cost::test(&ground, &mut report),
            Test::ExampleNginx => examples::nginx(&ground, &mut report),
            Test::ExampleService => examples::service(&ground, &mut report),
            Test::ExampleWordpress => examples::wordpress(&ground, &mut report),
            Test::Image => image::test(&ground, &mut report),
            Test::Takeover => takeover::test(&ground, &mut report),
            Test::Updates => updates::test(&ground, &mut report),
            Test::DebAgent => packages::deb::agent(&ground, &mut report),
            Test::DebTakeover => packages::deb::takeover(&ground, &mut report),
            Test::DebControl => packages::control::deb(&ground, &mut report),
            Test::RpmAgent => packages::rpm::agent(&ground, &mut report),
            Test::UserData => user_data::test(&ground, &mut report),
        };
        if let Err(error) = done {
            report.complain(format!("the test itself failed: {error:#}"));
        }
        if !report.failures.is_empty() {
            eprintln!("{}", ground.place.last_words());
        }
        Ok(report)
    }
}

/// Why no host can be booted here, if so.
pub fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can boot hosts".to_owned());
    }
    let missing: Vec<&str> = NEEDS.into_iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        return Some(format!("there is no {}; `tests/prepare system` installs it", missing.join(" and no ")));
    }
    let probe = ["--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "cgroup2", "probe", "/sys/fs/cgroup"];
    match Command::new("unshare").args(probe).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "this root may not mount a control group hierarchy, as in many containers: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("unshare cannot be run: {error}")),
    }
}

/// Makes this process's mounts its own, with the control groups that hosts need.
pub fn prepare() -> Result<()> {
    cgroup::mount()?;
    cgroup::sweep();
    Ok(())
}

/// Runs a command to its end; an error with its output unless it succeeds.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} ended with {}: {printed}{errors}", output.status);
    Ok(printed.into_owned())
}

/// An empty directory in memory that nobody else sees, and that goes with this process's mounts.
fn private_memory() -> Result<PathBuf> {
    let own = env::current_exe()?;
    // systemd-nspawn keeps notes there, which would outlive the job.
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "slipway-system", "/run"]))?;
    let mut points = ["/mnt", "/media", "/srv"].into_iter().map(Path::new);
    let point = points.find(|point| point.is_dir() && !own.starts_with(point));
    let point = point.context("there is none of /mnt, /media and /srv to mount something on")?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "slipway-system"]).arg(point))?;
    Ok(point.to_owned())
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/sbin".into(), "/usr/sbin".into()]).any(|folder| folder.join(program).exists())
}
