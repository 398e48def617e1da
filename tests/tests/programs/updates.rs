//! UpdateDeploymentAgent: refused, or done by the host's package manager, which restarts the agent in the middle of it.
//!
//! The control service never sends this command; a proxy makes it of another one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{Bundle, Fleet, Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{self, Program};
use slipway_tests::proxy::{Answer, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, succeeded};

/// The event whose command the proxy makes another one of, as the service knows it.
const EVENT: &str = "ApplicationStop";
/// For what runs a package manager on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// Makes the first command of each deployment one to update the agent, while it is on.
struct Renames(Arc<AtomicBool>);

impl Rule for Renames {
    fn answer(&self, request: &Passing, mut answer: Answer) -> Answer {
        if request.operation == "PollHostCommand"
            && self.0.load(Ordering::Relaxed)
            && let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body)
            && body["HostCommand"]["CommandName"] == EVENT
        {
            body["HostCommand"]["CommandName"] = json!("UpdateDeploymentAgent");
            answer.body = body.to_string().into_bytes();
        }
        answer
    }
}

/// A service whose hosts are told to update themselves.
struct World<'a> {
    fleet: Fleet<'a>,
    place: &'a Place,
    on: Arc<AtomicBool>,
    proxy: Proxy,
}

impl<'a> World<'a> {
    fn gather(place: &'a Place, settings: &str) -> Result<Self> {
        let fleet = Fleet::gather(place)?;
        let on = Arc::new(AtomicBool::new(true));
        let proxy = Proxy::start(&fleet.control, Renames(Arc::clone(&on)))?;
        fleet.agent.configure("20-proxy.yml", &format!("{}{settings}", proxy.configuration()))?;
        Ok(Self { fleet, place, on, proxy })
    }

    fn bundle(&self) -> Result<Bundle> {
        self.fleet.group.push("v1", &app(&self.place.path().join("app"), "page", &[]), BundleKind::Tgz)
    }

    fn deploy(&self) -> Result<Finished> {
        finish(&self.fleet.api, &self.fleet.group.begin(&self.bundle()?)?, LONG)
    }

    /// Programs that stand in for those of the host, before all others.
    fn stand_in(&self, name: &str, script: &str) -> Result<()> {
        let file = self.place.directory("stand-ins")?.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n"))?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
    }

    /// What the stand-ins were called with, a line each.
    fn record(&self) -> PathBuf {
        self.place.path().join("record")
    }

    fn recorded(&self) -> String {
        fs::read_to_string(self.record()).unwrap_or_default()
    }

    fn path(&self) -> String {
        let usual = std::env::var("PATH").unwrap_or_default();
        format!("{}:{usual}", self.place.path().join("stand-ins").display())
    }

    /// The agent's own program is of that package of dpkg.
    fn is_of_dpkg(&self) -> Result<()> {
        self.stand_in("dpkg-query", r#"[ "$1" = -S ] && echo "slipway-agent: $2""#)
    }
}

/// A stand-in's line that writes down how it was called.
fn records(file: &Path, name: &str) -> String {
    format!("echo \"{name} $*\" >> {}", file.display())
}

#[test]
fn it_is_refused_with_how_the_agent_is_updated_here() -> Result<()> {
    scenario(|place| {
        let mut world = World::gather(place, "")?;
        world.fleet.agent.start()?;
        let message = failed_in(&world.deploy()?, EVENT)?;
        contains(
            &message,
            &[
                "UpdateDeploymentAgent",
                "refuses",
                "`apt-get install --only-upgrade slipway-agent`",
                "`dnf upgrade slipway-agent`",
                "update_agent: packages",
            ],
        )
    })
}

#[test]
fn what_the_package_manager_could_not_do_is_reported_with_its_last_words() -> Result<()> {
    scenario(|place| {
        let mut world = World::gather(place, "update_agent: packages\n")?;
        world.is_of_dpkg()?;
        let called = records(&world.record(), "apt-get");
        let fails = r#"[ "$1" = update ] || { echo "E: Unable to correct problems, you have held broken packages." >&2; exit 100; }"#;
        world.stand_in("apt-get", &format!("{called}\n{fails}"))?;
        let path = world.path();
        world.fleet.agent.start_with(|command| {
            command.env("PATH", path);
        })?;
        let finished = world.deploy()?;
        let message = failed_in(&finished, EVENT)?;
        contains(&message, &["The host's program `apt-get install --only-upgrade", "exit code 100", "held broken"])?;
        contains(finished.event(EVENT)?.diagnostic("logTail"), &["[stderr]E: Unable to correct problems"])?;
        let recorded = world.recorded();
        let lines: Vec<_> = recorded.lines().collect();
        ensure!(lines.len() == 2 && lines[0].starts_with("apt-get update "), "{recorded}");
        ensure!(lines[1].contains(" -y ") && lines[1].ends_with(" slipway-agent"), "{recorded}");
        Ok(())
    })
}

#[test]
fn a_package_of_rpm_is_upgraded_by_dnf() -> Result<()> {
    scenario(|place| {
        let mut world = World::gather(place, "update_agent: packages\n")?;
        world.stand_in("dpkg-query", "echo \"dpkg-query: no path found matching pattern $2\" >&2; exit 1")?;
        world.stand_in("rpm", "echo 'package slipway-agent'")?;
        world.stand_in("dnf", &format!("{}\necho 'Upgraded: slipway-agent'", records(&world.record(), "dnf")))?;
        let path = world.path();
        world.fleet.agent.start_with(|command| {
            command.env("PATH", path);
        })?;
        let finished = world.deploy()?;
        succeeded(&finished)?;
        contains(finished.event(EVENT)?.diagnostic("logTail"), &["[stdout]Upgraded: slipway-agent"])?;
        ensure!(world.recorded() == "dnf upgrade -y slipway-agent\n", "{}", world.recorded());
        Ok(())
    })
}

#[test]
fn an_agent_of_no_package_is_not_updated() -> Result<()> {
    scenario(|place| {
        let mut world = World::gather(place, "update_agent: packages\n")?;
        for database in ["dpkg-query", "rpm"] {
            world.stand_in(database, "exit 1")?;
        }
        for manager in ["apt-get", "dnf", "yum"] {
            world.stand_in(manager, &records(&world.record(), manager))?;
        }
        let path = world.path();
        world.fleet.agent.start_with(|command| {
            command.env("PATH", path);
        })?;
        contains(&failed_in(&world.deploy()?, EVENT)?, &["slipway-agent belongs to no package of this host"])?;
        ensure!(world.recorded().is_empty(), "{}", world.recorded());
        Ok(())
    })
}

#[test]
fn an_update_waits_for_the_work_of_all_groups() -> Result<()> {
    scenario(|place| {
        let world = World::gather(place, "")?;
        world.on.store(false, Ordering::Relaxed);
        let mut host = Agent::register(place, &world.fleet.control, "shared-1", &["red", "green"])?;
        host.configure("20-proxy.yml", &format!("{}update_agent: packages\n", world.proxy.configuration()))?;
        world.is_of_dpkg()?;
        world.stand_in("apt-get", &records(&world.record(), "apt-get"))?;
        let path = world.path();
        host.start_with(|command| {
            command.env("PATH", path);
        })?;
        let red = Group::create(&world.fleet.control, &world.fleet.api, "red", OnFailure::Leave)?;
        let green = Group::create(&world.fleet.control, &world.fleet.api, "green", OnFailure::Leave)?;
        let file = |name: &str| place.path().join(name);
        let (began, go_on) = (file("began"), file("go-on"));
        let hook = format!(
            "touch {}\nuntil [ -e {} ]; do sleep 0.05; done\necho hook >> {}",
            began.display(),
            go_on.display(),
            world.record().display()
        );
        let working = app(&file("red"), "red", &[Hook::new("BeforeInstall", &hook)]);
        let first = red.begin(&red.push("v1", &working, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
        world.on.store(true, Ordering::Relaxed);
        let second = green.begin(&green.push("v1", &app(&file("green"), "green", &[]), BundleKind::Tgz)?)?;
        until_true("the update to wait for the hook", PATIENCE, || {
            let running = host.status()?["daemon"]["running"].clone();
            Ok(running.as_array().is_some_and(|all| all.iter().any(|one| one["behind"] == first.as_str())))
        })?;
        ensure!(world.recorded().is_empty(), "{}", world.recorded());
        fs::write(&go_on, "")?;
        succeeded(&finish(&world.fleet.api, &first, LONG)?)?;
        succeeded(&finish(&world.fleet.api, &second, LONG)?)?;
        let recorded = world.recorded();
        ensure!(recorded.starts_with("hook\napt-get update") && recorded.lines().count() == 3, "{recorded}");
        Ok(())
    })
}

/// A host whose agent came from a repository of packages, with databases of its own for dpkg and apt: the machine's
/// are not touched.
struct Packaged<'a> {
    place: &'a Place,
    /// Where the package puts the agent.
    program: PathBuf,
}

impl<'a> Packaged<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        let packaged = Self { place, program: place.path().join("installed/slipway-agent") };
        for directory in ["dpkg/info", "dpkg/updates", "dpkg/triggers", "repository", "apt/etc/apt/apt.conf.d"] {
            place.directory(directory)?;
        }
        for directory in ["apt/etc/apt/preferences.d", "apt/var/lib/apt/lists/partial", "apt/var/log"] {
            place.directory(directory)?;
        }
        place.directory("apt/var/cache/apt/archives/partial")?;
        for file in ["dpkg/status", "dpkg/available"] {
            fs::write(place.path().join(file), "")?;
        }
        let sources = format!("deb [trusted=yes] file:{}/repository ./\n", place.path().display());
        fs::write(place.path().join("apt/etc/apt/sources.list"), sources)?;
        let configuration = format!(
            "Dir \"{0}/apt/\";\nDir::State::status \"{0}/dpkg/status\";\nDPkg::Options {{ \"--admindir={0}/dpkg\"; \
             \"--log={0}/dpkg.log\"; }};\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n",
            place.path().display()
        );
        fs::write(packaged.configuration(), configuration)?;
        Ok(packaged)
    }

    fn configuration(&self) -> PathBuf {
        self.place.path().join("apt.conf")
    }

    fn has(&self, name: &str) -> bool {
        self.place.path().join(name).exists()
    }

    /// Builds a version of the package.
    fn build(&self, version: &str, after: &str) -> Result<PathBuf> {
        let root = self.place.directory(&format!("packages/{version}"))?;
        let inside = root.join(self.program.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("a program is in a directory")?)?;
        let built = PathBuf::from(binaries::agent()?.get_program());
        let mut strip = Command::new("strip");
        if !strip.arg("-o").arg(&inside).arg(&built).output().is_ok_and(|output| output.status.success()) {
            fs::copy(&built, &inside)?;
        }
        fs::OpenOptions::new().append(true).open(&inside)?.write_all(version.as_bytes())?;
        let scripts = root.join("DEBIAN");
        fs::create_dir_all(&scripts)?;
        fs::write(scripts.join("control"), self.control(version))?;
        let postinst = scripts.join("postinst");
        fs::write(&postinst, format!("#!/bin/sh\nset -e\n{after}\n"))?;
        fs::set_permissions(&postinst, fs::Permissions::from_mode(0o755))?;
        let package = self.place.path().join(format!("repository/slipway-agent_{version}.deb"));
        let mut build = Command::new("dpkg-deb");
        program::run(self.place, build.args(["--build", "--root-owner-group", "-Znone"]).arg(&root).arg(&package))?;
        fs::remove_dir_all(&root)?;
        Ok(package)
    }

    fn control(&self, version: &str) -> String {
        format!(
            "Package: slipway-agent\nVersion: {version}\nArchitecture: all\nMaintainer: tests <tests@example.invalid>\n\
             Description: the agent, for this test alone\n"
        )
    }

    /// Puts a package into the repository's list, alone.
    fn publish(&self, version: &str, package: &Path) -> Result<()> {
        let content = fs::read(package)?;
        let name = package.file_name().context("a package has a name")?.to_string_lossy();
        let entry = format!(
            "{}Filename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            self.control(version),
            content.len(),
            hex::encode(Sha256::digest(&content))
        );
        Ok(fs::write(self.place.path().join("repository/Packages"), entry)?)
    }

    fn install(&self, package: &Path) -> Result<()> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--admindir={}/dpkg", self.place.path().display()));
        dpkg.arg(format!("--log={}/dpkg.log", self.place.path().display())).arg("--install").arg(package);
        program::run(self.place, &mut dpkg).map(drop)
    }

    fn start(&self, agent: &Agent<'_>) -> Result<Program> {
        let mut command = Command::new(&self.program);
        for (variable, value) in binaries::agent()?.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.env("APT_CONFIG", self.configuration());
        command.env("DPKG_ADMINDIR", self.place.path().join("dpkg"));
        command.arg("run").arg("--config").arg(agent.config_file());
        Program::start(self.place, "agent-web-1", &mut command)
    }

    /// Whether this machine can do that.
    fn is_possible() -> bool {
        let has = |program: &str| {
            let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        };
        nix::unistd::geteuid().is_root() && ["apt-get", "dpkg", "dpkg-deb", "dpkg-query"].into_iter().all(has)
    }
}

#[test]
fn apt_upgrades_the_agent_which_is_restarted_by_that_and_reports_it_all_the_same() -> Result<()> {
    if !Packaged::is_possible() {
        std::io::stderr().write_all(b"skipped: this needs apt and dpkg, as root\n")?;
        return Ok(());
    }
    scenario(|place| {
        let world = World::gather(place, "update_agent: packages\n")?;
        let packaged = Packaged::new(place)?;
        packaged.install(&packaged.build("1", "exit 0")?)?;
        let first = fs::read(&packaged.program)?;
        let file = |name: &str| place.path().join(name).display().to_string();
        let after = format!(
            "echo x >> {}\nuntil [ -e {} ]; do sleep 0.05; done\necho the agent is restarted",
            file("configuring"),
            file("restarted")
        );
        packaged.publish("2", &packaged.build("2", &after)?)?;
        let mut daemon = packaged.start(&world.fleet.agent)?;
        let id = world.fleet.group.begin(&world.bundle()?)?;
        until_true("the new package to be configured", LONG, || {
            daemon.must_run()?;
            Ok(packaged.has("configuring"))
        })?;
        ensure!(fs::read(&packaged.program)? != first, "the program was not replaced");
        // As the package's own script does it with systemd.
        daemon.stop(PATIENCE)?;
        let mut daemon = packaged.start(&world.fleet.agent)?;
        until_true("the new agent to take it up", PATIENCE, || {
            daemon.must_run()?;
            Ok(world.fleet.agent.log().contains("an earlier life of the agent did not end this"))
        })?;
        fs::write(place.path().join("restarted"), "")?;
        let finished = finish(&world.fleet.api, &id, LONG)?;
        succeeded(&finished)?;
        let said = finished.event(EVENT)?.diagnostic("logTail").to_owned();
        contains(&said, &["Setting up slipway-agent (2)", "the agent is restarted"])?;
        ensure!(fs::read_to_string(place.path().join("configuring"))? == "x\n", "it was upgraded twice");
        let status = fs::read_to_string(place.path().join("dpkg/status"))?;
        contains(&status, &["Status: install ok installed", "Version: 2"])?;
        // The next one finds nothing to do.
        let again = world.deploy()?;
        succeeded(&again)?;
        contains(again.event(EVENT)?.diagnostic("logTail"), &["slipway-agent is already the newest version"])
    })
}
