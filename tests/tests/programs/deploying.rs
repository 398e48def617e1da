//! What a local deployment shows, to a person on a terminal, to a log, and to a program; and how it takes its revision.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{self, Program};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, page};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ends_with(output: &Output, code: i32) -> Result<String> {
    let said = said(output);
    ensure!(output.status.code() == Some(code), "it ended with {} and not {code}:\n{said}", output.status);
    Ok(said)
}

/// Writes a revision whose only script is that of an event.
fn write(place: &Place, name: &str, event: &str, lines: &str) -> Result<String> {
    let directory = place.directory(name)?;
    app(&place.path().join("app"), name, &[Hook::new(event, lines)]).write(&directory)?;
    Ok(directory.display().to_string())
}

/// A command on a terminal of 80 columns, by util-linux's `script`.
fn on_a_terminal(command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", &line.join(" "), "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal
}

/// A hook that says how far it is and waits to be told to go on.
fn held(place: &Place) -> (String, std::path::PathBuf) {
    let go_on = place.path().join("go-on");
    (format!("echo half way\nprintf '1 %%\\r50 %%\\n'\nuntil [ -e {} ]; do sleep 0.05; done", go_on.display()), go_on)
}

#[test]
fn on_a_terminal_the_event_that_runs_is_shown_live_with_its_last_lines() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let (hook, go_on) = held(place);
        let location = write(place, "one", "AfterInstall", &hook)?;
        let mut command = on_a_terminal(&host.command(&["deploy-local", &location, "-g", "shop"])?);
        let mut shown = Program::start(place, "terminal", &mut command)?;
        until_true("the script's lines to be shown below its event", PATIENCE, || {
            let text = shown.log_text();
            Ok(text.contains("AfterInstall         running for 1 s") && text.contains("      [stdout]half way"))
        })?;
        std::fs::write(&go_on, "")?;
        let status = until("the deployment to end", PATIENCE, || shown.ended())?;
        let text = shown.log_text();
        ensure!(status.success(), "{text}");
        contains(&text, &["\x1b[32msucceeded\x1b[0m in", "\x1b[J", "Deployed d-"])?;
        // What was drawn is taken away again: after its last erasure the event has one line.
        let rest = text.rsplit("\x1b[J").next().unwrap_or_default();
        ensure!(rest.trim_start().starts_with("AfterInstall") && !rest.contains("half way"), "{rest:?}");
        Ok(())
    })
}

#[test]
fn elsewhere_lines_tell_that_an_event_still_runs_and_nothing_is_drawn() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let (hook, go_on) = held(place);
        let location = write(place, "one", "AfterInstall", &hook)?;
        let mut shown = Program::start(place, "pipe", &mut host.command(&["deploy-local", &location])?)?;
        until_true("a line to tell that the event runs", PATIENCE, || {
            Ok(shown.log_text().contains("AfterInstall         running for 2 s: [stdout]"))
        })?;
        std::fs::write(&go_on, "")?;
        let status = until("the deployment to end", PATIENCE, || shown.ended())?;
        ensure!(status.success() && !shown.log_text().contains('\x1b'), "{:?}", shown.log_text());
        Ok(())
    })
}

#[test]
fn colours_are_off_where_they_are_not_wanted() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let location = write(place, "one", "AfterInstall", "true")?;
        for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let mut command = on_a_terminal(&host.command(&["deploy-local", &location])?);
            let shown = program::run(place, command.env(variable, value))?;
            ensure!(shown.contains("succeeded in") && !shown.contains("\x1b[3"), "{variable}: {shown:?}");
        }
        Ok(())
    })
}

#[test]
fn a_failure_ends_with_what_to_do_next_and_a_rollback_names_what_it_brings_back() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let good = write(place, "one", "ValidateService", "true")?;
        let bad = write(place, "two", "ValidateService", "echo oh no; exit 7")?;
        let first = ends_with(&host.output(&["deploy-local", &good, "-g", "shop"])?, 0)?;
        let first = first.split_whitespace().nth(1).context("an id")?.to_owned();
        let failed = host.output(&["deploy-local", &bad, "-g", "shop"])?;
        let text = ends_with(&failed, 1)?;
        let id = text.split_whitespace().nth(1).context("an id")?.to_owned();
        let logs = format!("next  slipway-agent logs {id}");
        contains(&text, &["FAILED in ValidateService", "exit code 7", "[stdout]oh no", &logs])?;
        contains(&text, &["slipway-agent rollback --group shop", &format!("goes back to {first}")])?;
        let back = ends_with(&host.output(&["rollback", "--group", "shop"])?, 0)?;
        contains(&back, &[&format!("brings back          {first}, good since"), "ago ("])?;
        contains(&back, &[&format!("Group shop is back at the revision of {first}")])?;
        ensure!(page(&place.path().join("app"))? == "one");
        Ok(())
    })
}

#[test]
fn programs_get_one_object_or_silence() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let good = write(place, "one", "ValidateService", "echo fine")?;
        let bad = write(place, "two", "ValidateService", "echo oh no; exit 7")?;
        let output = host.output(&["deploy-local", &good, "-g", "shop", "-a", "hello", "--json"])?;
        ends_with(&output, 0)?;
        let one: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(one["outcome"] == "succeeded" && one["group"] == "shop" && one["application"] == "hello", "{one:#}");
        let events = one["events"].as_array().context("events")?;
        let validate = events.iter().find(|event| event["name"] == "ValidateService").context("ValidateService")?;
        ensure!(validate["outcome"] == "succeeded" && validate["seconds"].is_f64(), "{one:#}");
        ensure!(events[0]["name"] == "ApplicationStop" && events[0]["outcome"] == "no_scripts", "{one:#}");
        let output = host.output(&["deploy-local", &bad, "-g", "shop", "--json"])?;
        ends_with(&output, 1)?;
        let two: Value = serde_json::from_slice(&output.stdout)?;
        let failure = &two["failure"];
        ensure!(two["outcome"] == "failed" && failure["event"] == "ValidateService" && failure["code"] == 4, "{two:#}");
        ensure!(failure["rollback_to"] == one["deployment"] && failure["installed"] == two["deployment"], "{two:#}");
        contains(failure["log"].as_str().unwrap_or_default(), &["oh no"])?;
        let output = host.output(&["rollback", "-g", "shop", "--json"])?;
        ends_with(&output, 0)?;
        let back: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(back["brings_back"] == one["deployment"], "{back:#}");

        let quiet = host.output(&["deploy-local", &good, "-g", "shop", "--quiet"])?;
        ensure!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
        let quiet = host.output(&["deploy-local", &bad, "-g", "shop", "-q"])?;
        ensure!(quiet.status.code() == Some(1) && quiet.stdout.is_empty(), "{quiet:?}");
        contains(&String::from_utf8_lossy(&quiet.stderr), &["FAILED in ValidateService", "exit code 7"])
    })
}

/// Whoever reads the table may have seen enough.
#[test]
fn a_reader_that_goes_does_not_end_a_deployment() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let read = place.path().join("read");
        // It goes on once nobody reads any more.
        let hook = format!("until [ -e {} ]; do sleep 0.05; done", read.display());
        let location = write(place, "one", "AfterInstall", &hook)?;
        let command = host.command(&["deploy-local", &location, "-g", "shop"])?;
        let words = command.get_args().map(|word| format!("'{}'", word.to_string_lossy()));
        let line = format!(
            "'{}' {} | {{ head -n 1; touch {}; }}",
            command.get_program().to_string_lossy(),
            words.collect::<Vec<_>>().join(" "),
            read.display()
        );
        let mut shell = Command::new("bash");
        program::run(place, shell.args(["-c", &format!("set -o pipefail; {line}")]).env("HOME", "/nonexistent"))?;
        ensure!(page(&place.path().join("app"))? == "one");
        Ok(())
    })
}

#[test]
fn warnings_stand_below_their_event_and_each_is_told_once() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("20-old.yml", "children: 2\n")?;
        let location = write(place, "one", "AfterInstall", "true")?;
        let output = host.output(&["deploy-local", &location, "-g", "shop"])?;
        let text = ends_with(&output, 0)?;
        ensure!(text.matches("children").count() == 1, "{text}");
        contains(&String::from_utf8_lossy(&output.stderr), &["warning: "])?;
        ensure!(!text.contains(" WARN "), "no line of a log is between those of the table:\n{text}");
        Ok(())
    })
}

#[test]
fn the_type_of_a_revision_is_found_by_its_content() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        for (kind, name) in [(BundleKind::Zip, "zip"), (BundleKind::Tgz, "tgz"), (BundleKind::Tar, "tar")] {
            // The name says nothing.
            let bundle = place.path().join(format!("bundle-{}", name.len()));
            std::fs::write(&bundle, app(&destination, name, &[]).pack(kind)?)?;
            let location = bundle.display().to_string();
            let planned = ends_with(&host.output(&["plan", &location, "-g", "shop"])?, 0)?;
            contains(&planned, &["Plan for group shop"])?;
            ends_with(&host.output(&["deploy-local", &location, "-g", "shop"])?, 0)?;
            ensure!(page(&destination)? == name);
        }
        let directory = write(place, "directory", "AfterInstall", "true")?;
        ends_with(&host.output(&["deploy-local", &directory, "-g", "shop"])?, 0)?;
        ensure!(page(&destination)? == "directory");
        let text = place.path().join("text");
        std::fs::write(&text, "no bundle")?;
        let text = text.display().to_string();
        let rows: [(&[&str], &[&str]); 6] = [
            (&[&directory, "-t", "tgz"], &["is a directory", "leave --type out"]),
            (&[&text, "-t", "directory"], &["is a file", "leave --type out"]),
            (&[&text], &["is no bundle", "tar, tgz, tar.zst or zip"]),
            (&["/nowhere/at/all"], &["there is no /nowhere/at/all"]),
            (&["s3://bucket/app"], &["say how it is packed"]),
            (&[&directory, "-A", "other.yml"], &["has no other.yml", "--appspec-filename"]),
        ];
        for (words, parts) in rows {
            for command in ["deploy-local", "plan"] {
                let said = ends_with(&host.output(&[&[command], words].concat())?, 2)?;
                contains(&said, parts)?;
            }
        }
        for words in [&["deploy-local"][..], &["plan"], &["deploy-local", &text, "-l", &text]] {
            contains(&ends_with(&host.output(words)?, 2)?, &["Usage: slipway-agent", "LOCATION"])?;
        }
        // In a bundle it is missed once that is unpacked, and nothing is installed.
        let bundle = place.path().join("bundle.tgz");
        std::fs::write(&bundle, app(&destination, "other", &[]).pack(BundleKind::Tgz)?)?;
        let bundle = bundle.display().to_string();
        let missing = ends_with(&host.output(&["deploy-local", &bundle, "-A", "other.yml", "-g", "shop"])?, 1)?;
        contains(&missing, &["FAILED in DownloadBundle", "other.yml", "appspec.yml"])?;
        contains(&ends_with(&host.output(&["plan", &bundle, "-A", "other.yml"])?, 1)?, &["other.yml", "appspec.yml"])?;
        ensure!(page(&destination)? == "directory");
        Ok(())
    })
}

#[test]
fn an_event_that_nothing_knows_is_an_error() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let location = write(place, "one", "AfterInstall", "true")?;
        let output = host.output(&["deploy-local", &location, "-e", "AfterInstal", "-g", "shop"])?;
        ensure!(!output.status.success(), "{output:?}");
        contains(&said(&output), &["AfterInstal (did you mean AfterInstall?)", "FAILED in DownloadBundle"])?;
        ensure!(!place.path().join("app/page").exists(), "something was installed");
        Ok(())
    })
}

/// AWS's tool by its name, in a directory.
fn tool(place: &Place, host: &Agent<'_>, directory: &Path, words: &[&str]) -> Result<Output> {
    let mut command = binaries::agent()?;
    command.arg0("codedeploy-local").args(words).arg("-c").arg(host.config_file()).current_dir(directory);
    program::output(place, &mut command)
}

#[test]
fn by_the_name_of_awss_tool_it_does_what_that_does() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let ran = place.path().join("ran");
        let hook = format!("echo $LIFECYCLE_EVENT >> {}", ran.display());
        let events = [
            "BeforeBlockTraffic",
            "AfterBlockTraffic",
            "ApplicationStop",
            "BeforeInstall",
            "AfterInstall",
            "ApplicationStart",
            "ValidateService",
            "BeforeAllowTraffic",
            "AfterAllowTraffic",
        ];
        let hooks: Vec<Hook<'_>> = events.iter().map(|event| Hook::new(event, &hook)).collect();
        let directory = place.directory("revision")?;
        app(&place.path().join("app"), "page", &hooks).write(&directory)?;
        // What a developer's checkout looks like: AWS's tool copies it as root, so root's it is.
        for file in ["content/page", "appspec.yml"] {
            let file = directory.join(file);
            if file.exists() && nix::unistd::Uid::effective().is_root() {
                std::os::unix::fs::chown(&file, Some(4321), Some(4321))?;
            }
        }
        // No location is the current directory.
        ends_with(&tool(place, &host, &directory, &[])?, 0)?;
        ensure!(page(&place.path().join("app"))? == "page");
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.path().join("app/page"))?);
        ensure!(owner == nix::unistd::Uid::effective().as_raw(), "the page is of {owner}");
        // The first deployment has no earlier revision to stop.
        let all = std::fs::read_to_string(&ran)?;
        ensure!(all.lines().eq(events[3..].iter().copied()), "{all}");
        std::fs::remove_file(&ran)?;
        ends_with(&tool(place, &host, &directory, &[])?, 0)?;
        let all = std::fs::read_to_string(&ran)?;
        ensure!(all.lines().eq(events.iter().copied()), "{all}");

        let late = ends_with(&tool(place, &host, &directory, &["-e", "ApplicationStart,DownloadBundle"])?, 2)?;
        contains(&late, &["ApplicationStart cannot run before DownloadBundle", "ApplicationStop"])?;
        let help = ends_with(&tool(place, &host, &directory, &["--help"])?, 0)?;
        contains(&help, &["Usage: codedeploy-local [OPTIONS] [LOCATION", "--bundle-location", "-v, --version"])?;
        contains(
            &ends_with(&tool(place, &host, &directory, &["-v"])?, 0)?,
            &["codedeploy-local ", env!("CARGO_PKG_VERSION")],
        )
    })
}

/// AWS's agent by its name, with one of its commands.
fn aws_agent(place: &Place, host: &Agent<'_>, words: &[&str]) -> Result<Output> {
    let mut command = binaries::agent()?;
    let config = format!("--config_file={}", host.config_file().display());
    command.arg0("/opt/codedeploy-agent/bin/codedeploy-agent").arg(config).args(words);
    program::output(place, &mut command)
}

#[test]
fn scripts_that_ask_awss_agent_get_its_words() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let none = aws_agent(place, &fleet.agent, &["status"])?;
        ensure!(none.status.code() == Some(1) && none.stdout.is_empty(), "{none:?}");
        ensure!(none.stderr == b"error: No AWS CodeDeploy agent running\n", "{none:?}");
        let nothing = aws_agent(place, &fleet.agent, &["stop"])?;
        ensure!(
            nothing.status.success() && nothing.stdout == b"Nothing running that could be stopped\n",
            "{nothing:?}"
        );
        fleet.agent.start()?;
        let pid = fleet.agent.program().context("the daemon")?.id();
        until_true("the daemon to be alive", PATIENCE, || Ok(fleet.agent.status()?["daemon"]["alive"] == true))?;
        let runs = aws_agent(place, &fleet.agent, &["status"])?;
        ensure!(runs.status.success(), "{runs:?}");
        let expected = format!("The AWS CodeDeploy agent is running as PID {pid}\n");
        ensure!(runs.stdout == expected.as_bytes(), "{runs:?}");
        contains(
            &ends_with(&aws_agent(place, &fleet.agent, &["start"])?, 0)?,
            &["is running already", &pid.to_string()],
        )?;
        if !Path::new("/run/systemd/system").exists() {
            let stop = ends_with(&aws_agent(place, &fleet.agent, &["stop"])?, 1)?;
            contains(&stop, &["error: systemd does not run this host", "slipway-agent run"])?;
        }
        Ok(())
    })
}

#[test]
fn an_error_says_its_cause_once() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let rows: [&[&str]; 3] =
            [&["validate", "/nowhere/at/all"], &["config", "-c", "/nowhere/at/all.yml"], &["doctor"]];
        for words in rows {
            let output = if words.contains(&"-c") || words[0] == "validate" {
                program::output(place, binaries::agent()?.args(words))?
            } else {
                host.output(words)?
            };
            let said = said(&output);
            for line in said.lines() {
                ensure!(line.matches("os error").count() <= 1, "{words:?}: {line}");
            }
        }
        Ok(())
    })
}
