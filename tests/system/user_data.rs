//! The script for user data: from a bucket with an instance's role, of which only version 2 of the metadata service
//! tells, and from a directory; twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use slipway_tests::binaries;
use slipway_tests::control::Control;
use slipway_tests::metadata::{Given, Metadata};
use slipway_tests::sign::REGION;
use slipway_tests::until::until_true;

use crate::host::{PATIENCE, UNIT};
use crate::job::Ground;
use crate::machine::{Machine, Network, PATH};
use crate::packages::{Version, bring, package};
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 6;

const SCRIPT: &str = "packaging/user-data/install.sh";
const BUCKET: &str = "packages";
/// Where the programs are that the script calls, each of which notes its command line first, and where to.
const NOTING: &str = "/root/noting";
const COMMAND_LINES: &str = "/root/command-lines";

/// A new instance: nothing on it knows of an agent.
struct Instance<'a> {
    machine: Machine,
    control: Control<'a>,
    metadata: Metadata,
    /// What the role gives, and nobody else is to see.
    secrets: [String; 2],
}

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let control = Control::start(&ground.place)?;
    let api = control.administrator("packager")?;
    control.bucket(BUCKET)?;
    let deb = package(Version::Own, "slipway-agent", ".deb")?;
    let name = deb.file_name().context("the package has a name")?.to_string_lossy().into_owned();
    api.put_file(BUCKET, &format!("slipway/{name}"), &deb)?;
    let key = api.key();
    let given = Given { secret: key.secret_access_key.clone(), ..Given::expiring(&key.access_key_id, 3600) };
    let secrets = [given.secret.clone(), given.token.clone()];
    let metadata = Metadata::start("i-0123456789abcdef0", given)?;
    let mut machine = Machine::create(ground, "user-data", Network::Shared)?;
    bring(&machine, &binaries::repository().join(SCRIPT))?;
    bring(&machine, &control.ca_file())?;
    note_command_lines(&machine)?;
    machine.boot()?;
    let instance = Instance { machine, control, metadata, secrets };
    let digest = hex::encode(Sha256::digest(fs::read(&deb)?));

    report.check("another package than was wanted is not installed", instance.refuses());
    report.check("from a bucket, with the instance's role: installed and active", instance.installs(&digest));
    report.check("no command line had a secret in it", instance.kept_secrets());
    report.check("the second time nothing is asked, fetched or restarted", instance.leaves_alone(&digest));
    report.check("a version that is higher is an upgrade; from a directory", instance.upgrades());
    report.check("a place where it is not is told, and nothing changes", instance.says_where());
    Ok(())
}

impl Instance<'_> {
    fn run(&self, from: &str, version: Version, digest: &str) -> Result<Output> {
        let mut command: Command = self.machine.command(&["sh", "/root/install.sh"])?;
        command.env("SLIPWAY_FROM", from).env("SLIPWAY_VERSION", version.number()).env("SLIPWAY_SHA256", digest);
        command.env("AWS_REGION", REGION).env("AWS_ENDPOINT_URL_S3", self.control.endpoint());
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.metadata.endpoint());
        command.env("CURL_CA_BUNDLE", "/root/ca.pem").env("PATH", format!("{NOTING}:{PATH}"));
        command.output().context("run the script")
    }

    fn of_bucket(&self, digest: &str) -> Result<Output> {
        self.run(&format!("s3://{BUCKET}/slipway"), Version::Own, digest)
    }

    fn installed(&self) -> Result<String> {
        self.machine.try_run(&["dpkg-query", "--show", "--showformat=${Version}", "slipway-agent"])
    }

    fn property(&self, name: &str) -> Result<String> {
        Ok(self.machine.run(&["systemctl", "show", "--property", name, "--value", UNIT])?.trim().to_owned())
    }

    fn active(&self) -> Result<()> {
        until_true("the agent to be ready", PATIENCE, || Ok(self.property("ActiveState")? == "active"))
    }

    fn refuses(&self) -> Result<()> {
        let output = self.of_bucket(&"0".repeat(64))?;
        ensure!(output.status.code() == Some(1), "it ended with {}: {}", output.status, said(&output));
        ensure!(said(&output).contains("is not what was wanted"), "{}", said(&output));
        ensure!(self.installed()?.is_empty(), "it was installed");
        Ok(())
    }

    fn installs(&self, digest: &str) -> Result<()> {
        let output = self.of_bucket(digest)?;
        ensure!(output.status.success(), "it ended with {}: {}", output.status, said(&output));
        ensure!(self.installed()? == format!("{}-1", Version::Own.number()), "{}", self.installed()?);
        self.active()?;
        let asked = self.metadata.asked();
        ensure!(asked.iter().any(|asked| asked.what == "PUT /latest/api/token"), "no token was asked for: {asked:?}");
        ensure!(asked.iter().all(|asked| asked.status == 200), "version 1 was asked, or what is not there: {asked:?}");
        Ok(())
    }

    fn kept_secrets(&self) -> Result<()> {
        let lines = fs::read_to_string(self.machine.root().join(COMMAND_LINES.trim_start_matches('/')))?;
        for expected in ["curl --config", "openssl dgst"] {
            ensure!(lines.contains(expected), "nobody called {expected}:\n{lines}");
        }
        for secret in self.secrets.iter().flat_map(|secret| [secret.clone(), hex::encode(secret)]) {
            ensure!(!lines.contains(&secret), "{secret} is in a command line:\n{lines}");
        }
        // With its signature an address opens the bucket too.
        ensure!(!lines.contains("X-Amz-Signature"), "{lines}");
        ensure!(!lines.contains("metadata-token: "), "{lines}");
        Ok(())
    }

    fn leaves_alone(&self, digest: &str) -> Result<()> {
        let (asked, pid) = (self.metadata.asked().len(), self.property("MainPID")?);
        let output = self.of_bucket(digest)?;
        ensure!(output.status.success() && said(&output).contains("is installed"), "{}", said(&output));
        ensure!(self.metadata.asked().len() == asked, "it asked the metadata service");
        ensure!(self.property("MainPID")? == pid, "the agent is another process");
        Ok(())
    }

    fn upgrades(&self) -> Result<()> {
        let deb = package(Version::Next, "slipway-agent", ".deb")?;
        bring(&self.machine, &deb)?;
        let output = self.run("/root", Version::Next, &hex::encode(Sha256::digest(fs::read(&deb)?)))?;
        ensure!(output.status.success(), "it ended with {}: {}", output.status, said(&output));
        ensure!(self.installed()? == format!("{}-1", Version::Next.number()), "{}", self.installed()?);
        self.active()
    }

    fn says_where(&self) -> Result<()> {
        let output = self.run("/nowhere", Version::Own, &"0".repeat(64))?;
        ensure!(!output.status.success() && said(&output).contains("/nowhere/slipway-agent_"), "{}", said(&output));
        self.active()
    }
}

fn note_command_lines(machine: &Machine) -> Result<()> {
    let folder = machine.root().join(NOTING.trim_start_matches('/'));
    fs::create_dir(&folder)?;
    for program in ["curl", "openssl", "sed", "od", "tr", "head"] {
        let script =
            format!("#!/bin/sh\necho \"{program} $*\" >>{COMMAND_LINES}\nPATH={PATH}\nexec {program} \"$@\"\n");
        let path = folder.join(program);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
