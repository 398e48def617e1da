//! A control service of a scenario's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::api::Api;
use crate::binaries;
use crate::fleet::TAG_VALUE;
use crate::place::Place;
use crate::program::{self, Program};
use crate::sign::AccessKey;
use crate::until::until;

/// Longest time for the service to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A control service: its data directory, and its process while it runs.
pub struct Control<'a> {
    place: &'a Place,
    data: PathBuf,
    endpoint: String,
    program: Option<Program>,
    /// How many files it may have open, if that is not the machine's limit.
    descriptors: Option<u32>,
}

impl<'a> Control<'a> {
    /// Starts a new service on a free loopback port.
    pub fn start(place: &'a Place) -> Result<Self> {
        Self::start_at(place, "127.0.0.1")
    }

    /// Starts a new service on a free port of that address.
    pub fn start_at(place: &'a Place, address: &str) -> Result<Self> {
        let mut control = Self::new(place);
        control.serve(&format!("{address}:0"))?;
        Ok(control)
    }

    /// Starts a new service that may have only so many files open.
    pub fn start_with_descriptors(place: &'a Place, most: u32) -> Result<Self> {
        let mut control = Self { descriptors: Some(most), ..Self::new(place) };
        control.serve("127.0.0.1:0")?;
        Ok(control)
    }

    fn new(place: &'a Place) -> Self {
        let data = place.path().join("control");
        Self { place, data, endpoint: String::new(), program: None, descriptors: None }
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The certificate of its authority.
    pub fn ca_file(&self) -> PathBuf {
        self.data.join("pki/ca.pem")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().map_or(Ok(()), |mut program| program.kill())
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut program) = self.program.take() {
            program.stop(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts it again on its data and its port.
    pub fn restart(&mut self) -> Result<()> {
        let address = self.endpoint.trim_start_matches("https://").to_owned();
        self.serve(&address)
    }

    /// Its process, while it runs.
    pub fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.program.as_ref().map(Program::id)
    }

    /// Lets it run beyond this value.
    pub fn release(mut self) {
        if let Some(program) = self.program.take() {
            program.release();
        }
    }

    fn serve(&mut self, listen: &str) -> Result<()> {
        let endpoint = self.data.join("endpoint");
        let _ = fs::remove_file(&endpoint);
        let mut command = binaries::control()?;
        if let Some(most) = self.descriptors {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--nofile={most}:{most}")).arg(command.get_program());
            limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = limited;
        }
        command.arg("serve").arg("--data").arg(&self.data).args(["--listen", listen, "--region", crate::sign::REGION]);
        let mut program = Program::start(self.place, "control", &mut command)?;
        self.endpoint = until("the control service to listen", PATIENCE, || {
            program.must_run()?;
            Ok(fs::read_to_string(&endpoint).ok().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()))
        })?;
        self.program = Some(program);
        Ok(())
    }

    /// Makes an administrator's access key and a client that uses it.
    pub fn administrator(&self, name: &str) -> Result<Api> {
        Api::new(&self.endpoint, &self.ca_file(), self.new_key(["--administrator", name])?)
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) -> Result<()> {
        let mut command = self.cli()?;
        command.args(["bucket", "create", name, "--data"]).arg(&self.data);
        program::run(self.place, &mut command).map(drop)
    }

    /// Registers a host with the tags of those groups and writes its configuration to `directory`.
    pub fn host_config(&self, name: &str, groups: &[&str], directory: &Path) -> Result<()> {
        let mut command = self.cli()?;
        command.args(["host-config", name, "--dir"]).arg(directory).arg("--data").arg(&self.data);
        for group in groups {
            command.arg("--tag").arg(format!("{group}={TAG_VALUE}"));
        }
        program::run(self.place, &mut command).map(drop)
    }

    /// Has the service know its one host by `identity`, such as that of an instance of EC2, which it registers
    /// none of by itself.
    pub fn know_host_as(&self, identity: &str) -> Result<()> {
        let script = "import sqlite3, sys\n\
                      db = sqlite3.connect(sys.argv[1], timeout=30)\n\
                      db.execute('UPDATE access_keys SET arn = ? WHERE kind = \"host\"', sys.argv[2:])\n\
                      db.execute('UPDATE instances SET identity_arn = ?', sys.argv[2:])\n\
                      db.commit()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(self.data.join("slipway.db")).arg(identity);
        program::run(self.place, &mut command).map(drop)
    }

    /// Makes a key for a host (`--host`) or an administrator (`--administrator`).
    pub fn new_key(&self, owner: [&str; 2]) -> Result<AccessKey> {
        let mut command = self.cli()?;
        command.args(["keys", "create"]).args(owner).args(["--json", "--data"]).arg(&self.data);
        let printed = program::run(self.place, &mut command)?;
        serde_json::from_str(&printed).with_context(|| "keys create --json prints a key")
    }

    /// Ends the validity of a key.
    pub fn revoke(&self, id: &str) -> Result<()> {
        let mut command = self.cli()?;
        command.args(["keys", "revoke", id, "--data"]).arg(&self.data);
        program::run(self.place, &mut command).map(drop)
    }

    /// The service's command line.
    pub fn cli(&self) -> Result<Command> {
        binaries::control()
    }
}
