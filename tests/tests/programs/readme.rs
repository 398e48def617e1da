//! The README's way to a service of one's own, typed from top to bottom as it stands there; and what the messages say to who
//! takes a wrong step.
//!
//! Only what no test can have is something else: `deploy.example.com` is `localhost`, port 8443 a free one,
//! `/var/lib/slipway` a directory of the test (by `SLIPWAY_DATA`), and `scp` copies to a directory for each host, whose
//! agent runs already, as the package has it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::revision::Revision;
use slipway_tests::until::{until, until_true};
use slipway_tests::web::free_port;

use crate::expect::contains;

const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// The commands of the README's section, in their order.
fn commands() -> Result<Vec<String>> {
    let readme = fs::read_to_string(binaries::repository().join("README.md"))?;
    let section = readme.split("## Against a service of your own").nth(1).context("the section is there")?;
    let section = section.split("\n## ").next().context("it ends")?;
    let blocks = section.split("```").skip(1).step_by(2);
    let lines: Vec<String> = blocks.map(|block| block.trim().replace("\\\n", " ")).collect();
    Ok(lines.iter().flat_map(|block| block.lines()).map(str::to_owned).collect())
}

/// A machine of an operator: a terminal, and the programs on its path.
struct Terminal<'a> {
    place: &'a Place,
    port: u16,
    environment: BTreeMap<String, String>,
}

impl<'a> Terminal<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        let bin = place.directory("bin")?;
        place.directory("desk")?;
        for program in ["slipway-control", "slipway-agent"] {
            std::os::unix::fs::symlink(binaries::profile_directory()?.join(program), bin.join(program))?;
        }
        // To `root@HOST:/etc/codedeploy-agent/conf/`; the files name each other by that directory.
        let copy = "#!/bin/bash\nset -eu\nto=${@: -1}; host=${to#root@}; host=${host%%:*}\n\
                    conf=$HOSTS_OF_THE_TEST/$host/conf\n\
                    for file in \"${@:1:$#-1}\"; do\n\
                    sed \"s#/etc/codedeploy-agent/conf#$conf#g\" \"$file\" >\"$conf/.new\"; chmod 600 \"$conf/.new\"\n\
                    mv \"$conf/.new\" \"$conf/$(basename \"$file\")\"\ndone\n";
        fs::write(bin.join("scp"), copy)?;
        fs::set_permissions(bin.join("scp"), fs::Permissions::from_mode(0o755))?;
        let path = format!("{}:{}", bin.display(), path_with_aws()?);
        let environment = [
            ("PATH", path),
            ("HOME", place.path().display().to_string()),
            ("SLIPWAY_DATA", place.path().join("slipway").display().to_string()),
            ("HOSTS_OF_THE_TEST", place.path().join("hosts").display().to_string()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Ok(Self { place, port: free_port()?, environment: environment.into() })
    }

    /// A command line as it is typed here.
    fn line(&self, line: &str) -> String {
        line.replace("deploy.example.com", "localhost").replace("8443", &self.port.to_string())
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.place.path().join("desk")).env_clear().envs(&self.environment);
        command
    }

    /// Types a line; gives whether it ended well, and what it printed. What it exports stays.
    fn types(&mut self, line: &str) -> Result<(bool, String)> {
        let script = format!("{}\nstatus=$?\nenv -0 >\"$HOME/environment\"\nexit $status", self.line(line));
        let output = self.shell(&script).output()?;
        for pair in fs::read(self.place.path().join("environment"))?.split(|byte| *byte == 0) {
            if let Some((name, value)) = std::str::from_utf8(pair)?.split_once('=')
                && (name.starts_with("AWS_") || name.starts_with("SLIPWAY_"))
            {
                self.environment.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        Ok((output.status.success(), text))
    }

    fn succeeds(&mut self, line: &str) -> Result<String> {
        let (is_good, text) = self.types(line)?;
        ensure!(is_good, "{line}\n{text}");
        Ok(text)
    }

    /// The line is refused, with a message that holds the parts.
    fn is_refused(&mut self, line: &str, parts: &[&str]) -> Result<()> {
        let (is_good, text) = self.types(line)?;
        ensure!(!is_good, "{line} was taken: {text}");
        contains(&text, parts).with_context(|| line.to_owned())
    }

    /// Types a line that does not end, in a terminal of its own.
    fn runs(&self, line: &str) -> Result<Program> {
        let mut command = self.shell(&format!("exec {}", self.line(line)));
        Program::start(self.place, "control", &mut command)
    }

    fn endpoint(&self) -> PathBuf {
        self.place.path().join("slipway/endpoint")
    }
}

/// The search path, with the `aws` that `make test` makes first.
fn path_with_aws() -> Result<String> {
    let profile = binaries::profile_directory()?;
    let own = profile.parent().context("the profile is in a target directory")?.join("interop/bin");
    Ok(format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default()))
}

/// Whether there is an `aws`; said aloud if not.
fn has_aws() -> Result<bool> {
    let mut command = Command::new("sh");
    command.args(["-c", "aws --version"]).env("PATH", path_with_aws()?);
    let is_there = command.output().is_ok_and(|output| output.status.success());
    if !is_there {
        let _ = writeln!(std::io::stderr(), "skipped: there is no `aws` command; `make test` makes it");
    }
    Ok(is_there)
}

/// Hosts on which the package runs the agent already, without a word of who they are.
fn hosts(place: &Place) -> Result<Vec<Agent<'_>>> {
    let mut agents = Vec::new();
    for name in HOSTS {
        let mut agent = Agent::alone(place, name)?;
        let conf = agent.home().join("conf");
        let own = format!(
            "root_dir: {}\non_premises_config_file: {}\n",
            agent.root().display(),
            conf.join("codedeploy.onpremises.yml").display()
        );
        agent.configure("10-place.yml", &own)?;
        agent.start()?;
        agents.push(agent);
    }
    Ok(agents)
}

/// Writes the revision. Both hosts are on one machine: each gets a file of its own, by where its script is.
fn shop(place: &Place) -> Result<()> {
    let appspec = "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: install.sh\n";
    let script = "echo the shop >\"${0%%/root/*}/deployed\"";
    Revision::with_appspec(appspec).script("install.sh", script).write(&place.directory("desk/shop")?)
}

fn listens(terminal: &Terminal<'_>, control: &mut Program) -> Result<()> {
    until_true("the service to listen", PATIENCE, || {
        control.must_run()?;
        Ok(terminal.endpoint().exists())
    })
}

#[test]
fn the_readmes_way_to_two_hosts_works_as_it_stands() -> Result<()> {
    if !has_aws()? {
        return Ok(());
    }
    scenario(|place| {
        let mut terminal = Terminal::new(place)?;
        let agents = hosts(place)?;
        shop(place)?;
        let commands = commands()?;
        ensure!(commands.len() <= 10, "{} commands: {commands:#?}", commands.len());
        let (serve, rest) = commands.split_first().context("the service is first")?;
        let mut control = terminal.runs(serve)?;
        listens(&terminal, &mut control)?;
        let mut said = String::new();
        for line in rest {
            said = terminal.succeeds(line)?;
        }
        let id = serde_json::from_str::<Value>(&said)?["deploymentId"].as_str().context("an id")?.to_owned();
        let ended = until("the deployment to end", PATIENCE, || {
            let told: Value =
                serde_json::from_str(&terminal.succeeds(&format!("slipway-control deployment {id} --json"))?)?;
            Ok(Some(told).filter(|told| !told["completed"].is_null()))
        })?;
        ensure!(ended["status"] == "Succeeded", "{ended:#}");
        ensure!(ended["hosts"].as_array().is_some_and(|hosts| hosts.len() == HOSTS.len()), "{ended:#}");
        for agent in &agents {
            ensure!(fs::read_to_string(agent.home().join("deployed"))? == "the shop\n", "{}", agent.name());
        }
        until_true("both hosts to be shown with their agents", PATIENCE, || {
            let table = terminal.succeeds("slipway-control hosts")?;
            let is_whole = |host: &&str| {
                let line = table.lines().find(|line| line.starts_with(host)).unwrap_or_default();
                ["slipway-agent/", "fleet=web", "shop/web: s3://bundles/shop-1.zip"]
                    .iter()
                    .all(|part| line.contains(part))
            };
            Ok(HOSTS.iter().filter(|host| is_whole(host)).count() == HOSTS.len())
        })?;
        contains(&terminal.succeeds("slipway-control deployments")?, &[&id, "shop/web", "Succeeded", "2 Succeeded"])?;
        drop(agents);
        control.stop(PATIENCE).map(drop)
    })
}

#[test]
fn the_next_message_mends_a_wrong_step() -> Result<()> {
    if !has_aws()? {
        return Ok(());
    }
    scenario(|place| {
        let mut terminal = Terminal::new(place)?;
        let mut agents = hosts(place)?;
        shop(place)?;
        let commands = commands()?;
        let [serve, key, bucket, host_config, _, _, application, group, push, deploy] = &commands[..] else {
            anyhow::bail!("ten commands, not {commands:#?}");
        };
        // The service is not there yet, or elsewhere.
        for line in [key, bucket, host_config] {
            // `eval` of nothing ends well: what counts is the message.
            let (_, said) = terminal.types(line)?;
            contains(&said, &["no control service in", "--data or SLIPWAY_DATA", "slipway-control serve"])?;
        }
        // The package was there first: its agent waits and says for what.
        until_true("the agent to say what it waits for", PATIENCE, || {
            let status = String::from_utf8_lossy(&agents[0].output(&["status"])?.stdout).into_owned();
            Ok(status.contains("on-premises file: there is none at") && status.contains("codedeploy.onpremises.yml"))
        })?;
        // A wrong name, and a port that is taken.
        terminal.is_refused(&serve.replace("--hostname ", "--hostname https://"), &["give the name alone"])?;
        let other = std::net::TcpListener::bind(("0.0.0.0", terminal.port))?;
        terminal.is_refused(serve, &["another program has that port", "--listen"])?;
        drop(other);
        let mut control = terminal.runs(serve)?;
        listens(&terminal, &mut control)?;
        terminal.is_refused(serve, &["serves from", "already", "stop it first"])?;
        // Another directory.
        terminal.is_refused(&format!("{bucket} --data {}", place.path().display()), &["no control service in"])?;
        terminal.succeeds(key)?;
        terminal.is_refused(push, &["bundles"])?;
        terminal.succeeds(bucket)?;
        terminal.is_refused(&host_config.replace("web-2", "i-2"), &["\"i-2\" cannot be a host's name"])?;
        terminal.is_refused(group, &["ApplicationDoesNotExistException", "shop"])?;
        terminal.succeeds(application)?;
        terminal.succeeds(group)?;
        terminal.is_refused(deploy, &["RevisionDoesNotExistException", "aws deploy push"])?;
        terminal.succeeds(push)?;
        // No host has the tag yet.
        let id = serde_json::from_str::<Value>(&terminal.succeeds(deploy)?)?["deploymentId"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        contains(&terminal.succeeds(&format!("slipway-control deployment {id}"))?, &["NO_INSTANCES"])?;
        // A key that was revoked, and another authority.
        let own = terminal.environment.get("AWS_ACCESS_KEY_ID").context("a key")?.clone();
        terminal.succeeds(&format!("slipway-control keys revoke {own}"))?;
        terminal.is_refused("aws deploy list-applications", &["was revoked", "slipway-control keys list"])?;
        terminal.succeeds(key)?;
        terminal.is_refused("env -u AWS_CA_BUNDLE aws deploy list-applications", &["CERTIFICATE_VERIFY_FAILED"])?;
        terminal.succeeds("aws deploy list-applications")?;
        agents.iter_mut().try_for_each(Agent::stop)?;
        control.stop(PATIENCE).map(drop)
    })
}
