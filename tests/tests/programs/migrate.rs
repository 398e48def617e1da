//! `migrate --check`, on hosts as AWS's agent leaves them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{self, Program};
use slipway_tests::revision::app;
use slipway_tests::until::until;

const GROUP: &str = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901";
const OLD: &str = "d-0LDAGENT1";

/// A host with the configuration of AWS's packages and a deployment of that agent.
struct Host<'a> {
    agent: Agent<'a>,
    place: &'a Place,
    /// Where the stand-in of systemctl is.
    programs: PathBuf,
}

impl<'a> Host<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        let host = Self { agent: Agent::alone(place, "web-1")?, place, programs: place.directory("bin")? };
        let root = host.agent.root();
        let on_premises = host.agent.home().join("conf/codedeploy.onpremises.yml");
        fs::write(
            host.agent.config_file(),
            format!(
                "---\n:log_aws_wire: false\n:log_dir: '{0}/log/'\n:pid_dir: '{0}/state/.pid/'\n\
                 :program_name: codedeploy-agent\n:root_dir: '{1}'\n:verbose: false\n:wait_between_runs: 1\n\
                 :proxy_uri: http://user:geheim@proxy.example.com:3128\n:max_revisions: 3\n:children: 1\n\
                 on_premises_config_file: {2}\n",
                host.agent.home().display(),
                root.display(),
                on_premises.display()
            ),
        )?;
        fs::write(
            &on_premises,
            "---\nregion: eu-central-1\niam_user_arn: arn:aws:iam::111122223333:user/web-1\n\
             aws_access_key_id: AKIAEXAMPLE\naws_secret_access_key: geheim\n",
        )?;
        let archive = root.join(GROUP).join(OLD).join("deployment-archive");
        fs::create_dir_all(&archive)?;
        app(&place.path().join("app"), "old", &[]).write(&archive)?;
        host.instruction("-cleanup", "/srv/app\n/srv/app/page\n")?;
        let deployment = root.join(GROUP).join(OLD).display().to_string();
        host.instruction("_last_successful_install", &deployment)?;
        host.instruction("_most_recent_install", &deployment)?;
        host.systemd("Id=codedeploy-agent.service\nLoadState=not-found\nActiveState=inactive\n")?;
        Ok(host)
    }

    fn instruction(&self, ending: &str, text: &str) -> Result<()> {
        let folder = self.agent.root().join("deployment-instructions");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(format!("{GROUP}{ending}")), text)?)
    }

    /// What systemd knows of the unit of AWS's agent. The machine of the tests may run none, so a script says it.
    fn systemd(&self, answer: &str) -> Result<()> {
        let program = self.programs.join("systemctl");
        fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{answer}END\n"))?;
        Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.agent.command(arguments)?;
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.programs.display()));
        Ok(command)
    }

    /// What was found, each as `verdict about: what (todo)`; held to the exit status.
    fn notes(&self) -> Result<Vec<String>> {
        let output = program::output(self.place, &mut self.command(&["migrate", "--check", "--json"])?)?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        let rows = report["notes"].as_array().context("a list")?;
        let ready = !rows.iter().any(|row| row["verdict"] == "needs_you");
        ensure!(report["ready"] == ready && output.status.code() == Some(i32::from(!ready)), "{output:?}");
        let text = |row: &Value, member: &str| row[member].as_str().unwrap_or_default().to_owned();
        let line = |row: &Value| {
            format!("{} {}: {} ({})", text(row, "verdict"), text(row, "about"), text(row, "what"), text(row, "todo"))
        };
        let lines: Vec<String> = rows.iter().map(line).collect();
        ensure!(!lines.concat().contains("geheim"), "a secret is shown: {lines:#?}");
        Ok(lines)
    }

    /// Holds that one of the notes has all of the parts.
    fn has_note(&self, parts: &[&str]) -> Result<()> {
        let notes = self.notes()?;
        ensure!(
            notes.iter().any(|note| parts.iter().all(|part| note.contains(part))),
            "{parts:?} is not in {notes:#?}"
        );
        Ok(())
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(!self.notes()?.iter().any(|note| note.starts_with("needs_you")))
    }
}

fn tree(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut ahead) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                ahead.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_host_at_rest_is_taken_over_as_it_is() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let before = tree(&host.agent.root())?;
        ensure!(host.is_ready()?);
        for parts in [
            &["taken_over configuration", "max_revisions = 3", "codedeployagent.yml:10"][..],
            &["taken_over configuration", "proxy_uri = http://(credentials)@proxy.example.com:3128"],
            &["taken_over configuration", "pid_dir = ", "/state/.pid"],
            &["ignored configuration", "`children` has no effect"],
            &["taken_over identity", "arn:aws:iam::111122223333:user/web-1 in eu-central-1"],
            &["taken_over group", "2 paths of what is installed", "-cleanup"],
            &["taken_over group", OLD, "its scripts stop what runs now"],
            &["different group", "`rollback` on the host finds nothing to go back to"],
        ] {
            host.has_note(parts)?;
        }
        ensure!(tree(&host.agent.root())? == before, "looking has changed something");
        let text = program::run(place, &mut host.command(&["migrate", "--check"])?)?;
        ensure!(text.contains("0 to be done by a person before slipway-agent is started"), "{text}");
        Ok(())
    })
}

#[test]
fn an_agent_that_runs_or_comes_back_needs_a_person() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let unit = |state: &str| format!("Id=codedeploy-agent.service\nLoadState=loaded\n{state}FragmentPath=/lib/x\n");
        for (active, enabled, ready) in [
            ("active", "enabled", false),
            ("active", "disabled", false),
            ("inactive", "enabled", false),
            ("inactive", "disabled", true),
        ] {
            host.systemd(&unit(&format!("ActiveState={active}\nUnitFileState={enabled}\n")))?;
            ensure!(host.is_ready()? == ready, "{active} {enabled}");
            host.has_note(&[if ready { "ignored" } else { "needs_you" }, active, enabled])?;
        }
        host.has_note(&["codedeploy-agent.service is inactive and disabled"])?;
        host.systemd("Id=slipway-agent.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n")?;
        ensure!(host.is_ready()?, "its own unit has that name too");

        // Without systemd the pid file tells.
        let pids = host.agent.home().join("state/.pid");
        fs::create_dir_all(&pids)?;
        let mut command = Command::new("sleep");
        command.arg0("codedeploy-agent: master 1").arg("600");
        let mut running = Program::start(place, "awss-agent", &mut command)?;
        fs::write(pids.join("codedeploy-agent.pid"), running.id().to_string())?;
        ensure!(!host.is_ready()?);
        host.has_note(&["needs_you service", "AWS's agent runs, as process", "systemctl disable --now"])?;
        // Nor is this one started beside it.
        let mut refused = Program::start(place, "refused", &mut host.command(&["run"])?)?;
        let status = until("the daemon to end", PATIENCE, || refused.ended())?;
        let said = refused.log_text();
        ensure!(status.code() == Some(1) && said.contains("AWS's agent runs on this host, as process"), "{said}");
        running.kill()?;
        ensure!(host.is_ready()?);
        host.has_note(&["ignored service", "names no agent that runs"])?;
        // Somebody else has its number by now.
        fs::write(pids.join("codedeploy-agent.pid"), "1\n")?;
        ensure!(host.is_ready()?);
        Ok(())
    })
}

/// A process with the title of AWS's agent, which holds `open` open as long as it runs.
fn awss_agent(place: &Place, name: &str, open: &Path) -> Result<Program> {
    fs::create_dir_all(open.parent().context("a file is in a directory")?)?;
    let hold = format!("exec 9<>{}; exec -a 'codedeploy-agent: master 4242' sleep 600", open.display());
    let program = Program::start(place, name, Command::new("bash").args(["-c", &hold]))?;
    let title = PathBuf::from(format!("/proc/{}/cmdline", program.id()));
    until("the process to have its title", PATIENCE, || {
        Ok(fs::read(&title)?.starts_with(b"codedeploy-agent: master").then_some(()))
    })?;
    Ok(program)
}

impl Host<'_> {
    /// Holds that this agent is not started beside `running`, and that `migrate` and `doctor` say why.
    fn is_refused_beside(&self, running: &Program) -> Result<()> {
        let found = format!("as process {}", running.id());
        ensure!(!self.is_ready()?);
        self.has_note(&["needs_you service", &found, "codedeploy-agent: master 4242"])?;
        let output = program::output(self.place, &mut self.command(&["doctor", "--json"])?)?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        let rows = report["checks"].as_array().context("a list")?;
        let row = rows.iter().find(|row| row["check"] == "AWS's agent").context("its check")?;
        ensure!(row["result"] == "fail" && row["found"].as_str().unwrap_or_default().contains(&found), "{row}");
        let mut refused = Program::start(self.place, "refused", &mut self.command(&["run"])?)?;
        let status = until("the daemon to end", PATIENCE, || refused.ended())?;
        let said = refused.log_text();
        ensure!(status.code() == Some(1) && said.contains("AWS's agent runs on this host"), "{said}");
        Ok(())
    }
}

/// Its pid file is where the configuration says, or beside the root as its packages have it.
#[test]
fn awss_agent_is_found_wherever_its_pid_file_is() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let (elsewhere, beside) = (place.path().join("run/pids"), host.agent.home().join("state/.pid"));
        host.agent
            .configure("20-pids.yml", &format!(":pid_dir: '{}/'\n:program_name: deployer\n", elsewhere.display()))?;
        for directory in [&elsewhere, &beside] {
            let mut running = awss_agent(place, "awss-agent", &place.path().join("nothing-of-it"))?;
            ensure!(host.is_ready()?, "a title alone says nothing of the root");
            fs::create_dir_all(directory)?;
            fs::write(directory.join("deployer.pid"), running.id().to_string())?;
            host.is_refused_beside(&running)?;
            running.kill()?;
            ensure!(host.is_ready()?);
            fs::remove_file(directory.join("deployer.pid"))?;
        }
        Ok(())
    })
}

/// Without its pid file, what a process of it holds open tells.
#[test]
fn awss_agent_is_found_by_its_process_on_this_root_and_on_no_other() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let root = host.agent.root();
        let other = place.path().join("other");
        for (file, is_here) in [
            (root.join("deployment-logs/codedeploy-agent-deployments.log"), true),
            (host.agent.home().join("state/.pid/codedeploy-agent.pid.lock"), true),
            (other.join("deployment-root/deployment-logs/codedeploy-agent-deployments.log"), false),
            (other.join("state/.pid/codedeploy-agent.pid.lock"), false),
        ] {
            let mut running = awss_agent(place, "awss-agent", &file)?;
            if is_here {
                host.is_refused_beside(&running)?;
            } else {
                ensure!(host.is_ready()?, "{} is not of this root", file.display());
            }
            running.kill()?;
        }
        Ok(())
    })
}

#[test]
fn a_deployment_in_the_middle_needs_a_person() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let ongoing = host.agent.root().join("ongoing-deployment");
        fs::create_dir_all(&ongoing)?;
        ensure!(host.is_ready()?);
        fs::write(ongoing.join("d-HALFDONE1"), "command")?;
        ensure!(!host.is_ready()?);
        host.has_note(&["needs_you deployments", "d-HALFDONE1", "wait for its end"])
    })
}

#[test]
fn what_is_missing_or_torn_is_told() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        host.instruction("-cleanup", "/srv/app\nsemanage\0/srv/app\n/srv/app/pa")?;
        host.has_note(&["taken_over group", "1 path and 1 rule for SELinux labels"])?;
        host.has_note(&["different group", "torn", "/srv/app/pa is nobody's"])?;
        fs::remove_dir_all(host.agent.root().join(GROUP))?;
        host.has_note(&["different group", "is not there any more", "stop the application by hand"])?;
        host.instruction("_last_successful_install", "/elsewhere")?;
        host.has_note(&["different group", "no deployment is known to have succeeded"])?;
        let instructions = host.agent.root().join("deployment-instructions");
        fs::remove_file(instructions.join(format!("{GROUP}-cleanup")))?;
        host.has_note(&["different group", "is nobody's, and stays", "OVERWRITE"])?;
        fs::write(instructions.join(".x-cleanup"), "")?;
        host.has_note(&["ignored groups", ".x-cleanup"])?;
        ensure!(host.is_ready()?);

        fs::write(host.agent.home().join("conf/codedeploy.onpremises.yml"), "region: eu-central-1\n")?;
        ensure!(!host.is_ready()?);
        host.has_note(&["needs_you identity", "iam_user_arn", "correct"])?;
        host.agent.configure("10-wrong.yml", "max_revisions: many\n")?;
        let output = program::output(place, &mut host.command(&["migrate", "--check"])?)?;
        ensure!(output.status.code() == Some(2), "{output:?}");
        Ok(())
    })
}

/// After the first deployment by this agent there is nothing left to take over.
#[test]
fn what_was_taken_over_is_told_as_such() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let directory = place.directory("revision")?;
        app(&place.path().join("app"), "new", &[]).write(&directory)?;
        let location = directory.display().to_string();
        program::run(place, &mut host.command(&["deploy-local", "-l", &location, "-g", GROUP])?)?;
        ensure!(host.is_ready()?);
        host.has_note(&["taken_over groups", "has deployed to 1 of 1 group already"])?;
        ensure!(!host.notes()?.iter().any(|note| note.contains("of what is installed")));
        Ok(())
    })
}
