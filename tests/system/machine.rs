//! A host that is booted: `systemd-nspawn` over a layer of its own on the root that all share.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway_tests::until::{until, until_true};

use crate::cgroup;
use crate::job::{Ground, run};

/// Longest time for a boot and for a shutdown.
const PATIENCE: Duration = Duration::from_secs(90);
/// How systemd-nspawn ends when the host reboots.
const REBOOT: i32 = 133;
/// What programs on the host find others by.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A host: its layer, its control group, and its processes while it is booted.
#[derive(Debug)]
pub struct Machine {
    name: String,
    root: PathBuf,
    cgroup: PathBuf,
    console: PathBuf,
    network: Network,
    booted: Option<Booted>,
}

/// What a host is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The network of whoever runs the tests, so that it reaches a service on the loopback address.
    Shared,
    /// Nothing, until a cable is plugged in.
    Own,
}

#[derive(Debug)]
struct Booted {
    nspawn: Child,
    leader: Option<Pid>,
}

impl Machine {
    /// A new host, which is not booted yet.
    pub fn create(ground: &Ground, name: &str, network: Network) -> Result<Self> {
        Self::over(ground, name, network, &ground.root.display().to_string())
    }

    /// A new host whose disk begins as that of this one is now. This one must not be booted again.
    pub fn clone_as(&self, ground: &Ground, name: &str) -> Result<Self> {
        ensure!(self.booted.is_none(), "{} is booted", self.name);
        Self::over(ground, name, self.network, &format!("{}:{}", self.layer(ground)?.display(), ground.root.display()))
    }

    /// What makes its disk another one than the root that all share.
    pub fn layer(&self, ground: &Ground) -> Result<PathBuf> {
        Ok(ground.place.directory(&format!("machines/{}", self.name))?.join("upper"))
    }

    fn over(ground: &Ground, name: &str, network: Network, lower: &str) -> Result<Self> {
        let directory = ground.place.directory(&format!("machines/{name}"))?;
        let [upper, work, root] = ["upper", "work", "root"].map(|part| directory.join(part));
        for part in [&upper, &work, &root] {
            fs::create_dir(part)?;
        }
        let layers = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root))?;
        let machine_id = format!("{:032x}\n", fastrand::u128(..));
        fs::remove_file(root.join("etc/machine-id")).context("a disk without a machine id")?;
        fs::write(root.join("etc/machine-id"), machine_id)?;
        fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
        let console = ground.place.logs().join(format!("console-{name}.log"));
        let cgroup = ground.cgroup.join(name);
        Ok(Self { name: name.to_owned(), root, cgroup, console, network, booted: None })
    }

    /// Its file system, seen from outside; what it mounts itself, such as /run, is not in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Boots it, and waits until systemd has started everything.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.booted.is_none(), "{} is booted already", self.name);
        // The host begins with groups that are its own; what an earlier boot left would be strange to it.
        cgroup::remove(&self.cgroup);
        fs::create_dir_all(&self.cgroup)?;
        let into_group = "echo $$ > \"$0/cgroup.procs\" && exec systemd-nspawn \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-ec", into_group]).arg(&self.cgroup);
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"]);
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        if self.network == Network::Own {
            command.arg("--private-network");
        }
        command.arg("--machine").arg(&self.name).arg("--directory").arg(&self.root);
        let console = || OpenOptions::new().create(true).append(true).open(&self.console);
        let nspawn = command.stdin(Stdio::null()).stdout(console()?).stderr(console()?).spawn();
        self.booted = Some(Booted { nspawn: nspawn.context("start systemd-nspawn")?, leader: None });
        until_true(&format!("{} to boot", self.name), PATIENCE, || {
            if let Some(status) = self.ended()? {
                let words = fs::read_to_string(&self.console).unwrap_or_default();
                anyhow::bail!("{} ended with {status} while it booted:\n{words}", self.name);
            }
            let Some(booted) = &mut self.booted else { return Ok(false) };
            if booted.leader.is_none() {
                booted.leader = leader_of(booted.nspawn.id())?;
            }
            // Degraded too: a unit that fails is for a test to find.
            Ok(booted.leader.is_some()
                && matches!(self.try_run(&["systemctl", "is-system-running"])?.trim(), "running" | "degraded"))
        })
    }

    /// The host's first process.
    pub fn leader(&self) -> Result<Pid> {
        let leader = self.booted.as_ref().and_then(|booted| booted.leader);
        leader.with_context(|| format!("{} is not booted", self.name))
    }

    /// A command on the host, as root.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader()?.to_string(), "--mount", "--pid", "--ipc", "--uts", "--cgroup"]);
        command.args(["--net", "--root", "--wd", "--"]).args(words).stdin(Stdio::null());
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("SYSTEMD_PAGER", "");
        Ok(command)
    }

    /// Runs a command on the host to its end; an error unless it succeeds.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words)?)
    }

    /// What a command on the host prints, however it ends.
    pub fn try_run(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words)?.output().with_context(|| format!("run {words:?} on {}", self.name))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Reboots it in order, as `systemctl reboot` does.
    pub fn reboot(&mut self) -> Result<()> {
        self.go_down()?;
        self.boot_again()
    }

    /// Asks it to reboot, and does not wait for that.
    pub fn go_down(&self) -> Result<()> {
        // The command may be ended by what it asks for.
        self.try_run(&["systemctl", "reboot"]).map(drop)
    }

    /// Waits until it goes down for a reboot that somebody asked for, and boots it.
    pub fn boot_again(&mut self) -> Result<()> {
        let what = format!("{} to go down for its reboot", self.name);
        let status = until(&what, PATIENCE, || self.ended())?;
        ensure!(status.code() == Some(REBOOT), "{} was to reboot, and ended with {status}", self.name);
        self.booted = None;
        self.boot()
    }

    /// Shuts it down in order, and waits until it is off.
    pub fn power_off(&mut self) -> Result<()> {
        self.try_run(&["systemctl", "poweroff"])?;
        let status = until(&format!("{} to power off", self.name), PATIENCE, || self.ended())?;
        ensure!(status.success(), "{} was to power off, and ended with {status}", self.name);
        self.booted = None;
        Ok(())
    }

    /// Ends it at once, as a power cut does, but for what its disk had not written yet.
    pub fn cut_power(&mut self) -> Result<()> {
        let Some(mut booted) = self.booted.take() else { return Ok(()) };
        if let Some(leader) = booted.leader {
            let _ = kill(leader, Signal::SIGKILL);
        } else {
            let _ = booted.nspawn.kill();
        }
        booted.nspawn.wait().map(drop).context("wait for systemd-nspawn")
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let booted = self.booted.as_mut().with_context(|| format!("{} is not booted", self.name))?;
        Ok(booted.nspawn.try_wait()?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.cut_power();
        let _ = Command::new("umount").arg(&self.root).status();
    }
}

/// The process that is the host's first one.
fn leader_of(nspawn: u32) -> Result<Option<Pid>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let is_first = field("NSpid:").split_whitespace().last() == Some("1") && pid != 1;
        if is_first && field("PPid:").trim() == nspawn.to_string() {
            return Ok(Some(Pid::from_raw(pid)));
        }
    }
    Ok(None)
}
