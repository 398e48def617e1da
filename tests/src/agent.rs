//! An agent of a scenario's own, with a root directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binaries;
use crate::control::Control;
use crate::place::Place;
use crate::program::{self, Program};

/// Longest time for the agent to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host: its configuration, its root directory, and its agent while it runs.
pub struct Agent<'a> {
    place: &'a Place,
    name: String,
    home: PathBuf,
    program: Option<Program>,
}

impl<'a> Agent<'a> {
    /// Registers the host `name` with the service, for those groups, and writes its configuration.
    pub fn register(place: &'a Place, control: &Control<'_>, name: &str, groups: &[&str]) -> Result<Self> {
        let home = place.directory(&format!("hosts/{name}"))?;
        let agent = Self { place, name: name.to_owned(), home, program: None };
        control.host_config(name, groups, &agent.home.join("conf"))?;
        let root = agent.root();
        fs::create_dir_all(&root)?;
        agent.configure("10-place.yml", &format!("root_dir: {}\n", root.display()))?;
        Ok(agent)
    }

    /// A host that no service knows, for local deploys.
    pub fn alone(place: &'a Place, name: &str) -> Result<Self> {
        let home = place.directory(&format!("hosts/{name}"))?;
        let agent = Self { place, name: name.to_owned(), home, program: None };
        fs::create_dir_all(agent.root())?;
        fs::create_dir_all(agent.home.join("conf"))?;
        fs::write(agent.config_file(), format!("root_dir: {}\n", agent.root().display()))?;
        Ok(agent)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of all that is this host's.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The agent's root directory.
    pub fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    /// The file that `--config` names.
    pub fn config_file(&self) -> PathBuf {
        self.home.join("conf/codedeployagent.yml")
    }

    /// Writes a file of `conf.d`, which goes over the main one.
    pub fn configure(&self, file: &str, yaml: &str) -> Result<()> {
        let folder = self.home.join("conf/conf.d");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(file), yaml).with_context(|| format!("write {file} of {}", self.name))
    }

    /// Starts the daemon.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(|_| {})
    }

    /// Starts the daemon with something more in its environment.
    pub fn start_with(&mut self, prepare: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = binaries::agent()?;
        command.arg("run").arg("--config").arg(self.config_file());
        prepare(&mut command);
        self.program = Some(Program::start(self.place, &format!("agent-{}", self.name), &mut command)?);
        Ok(())
    }

    /// Starts the daemon as process 1 of a namespace of its own, as it is in a container. Only root can.
    pub fn start_as_init(&mut self) -> Result<()> {
        let daemon = binaries::agent()?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(daemon.get_program());
        for (variable, value) in daemon.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.arg("run").arg("--config").arg(self.config_file());
        self.program = Some(Program::start(self.place, &format!("agent-{}", self.name), &mut command)?);
        Ok(())
    }

    /// Its process, while it runs.
    pub fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// Ends the daemon as a power cut would; hook runners live on.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().map_or(Ok(()), |mut program| program.kill())
    }

    /// Asks the daemon to end, and waits.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut program) = self.program.take() {
            program.stop(PATIENCE)?;
        }
        Ok(())
    }

    /// Lets it run beyond this value.
    pub fn release(mut self) {
        if let Some(program) = self.program.take() {
            program.release();
        }
    }

    /// A command of the agent's command line, for this host.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = binaries::agent()?;
        command.args(arguments).arg("--config").arg(self.config_file());
        Ok(command)
    }

    /// Runs a command of the agent's command line to its end.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        program::output(self.place, &mut self.command(arguments)?)
    }

    /// What `status --json` prints, whatever it makes of that: it ends with 1 or 3 where something is to be mended.
    pub fn status(&self) -> Result<Value> {
        let output = self.output(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("status --json printed {output:?}"))
    }

    /// All that the daemon logged so far.
    pub fn log(&self) -> String {
        let log = self.place.logs().join(format!("agent-{}.log", self.name));
        fs::read_to_string(log).unwrap_or_default()
    }
}
