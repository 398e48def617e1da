//! Where the agent's own log goes, and what is read again at SIGHUP.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, succeeded};

fn hang_up(agent: &mut Agent<'_>) -> Result<()> {
    let id = agent.program().context("it runs")?.id();
    Ok(kill(Pid::from_raw(id.cast_signed()), Signal::SIGHUP)?)
}

#[test]
fn files_have_the_lines_of_awss_agent_and_follow_a_rotation() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let logs = place.path().join("log/deep");
        let configuration =
            format!("log_dir: {}\nprogram_name: my-agent\nrestrict_log_dir_permissions: true\n", logs.display());
        fleet.agent.configure("30-log.yml", &configuration)?;
        fleet.agent.start()?;
        let file = logs.join("my-agent.log");
        let page = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "exit 3")]);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?;
        failed_in(&finished, "AfterInstall")?;
        let text = fs::read_to_string(&file)?;
        let pid = fleet.agent.program().context("it runs")?.id();
        let line = text.lines().find(|line| line.contains("begun") && line.contains("AfterInstall"));
        let line = line.with_context(|| format!("no line tells of the event:\n{text}"))?;
        contains(line, &[&format!("INFO  [my-agent({pid})]: begun"), &format!("deployment_id=\"{}\"", finished.id)])?;
        ensure!(line.matches("deployment_id=").count() == 1, "{line}");
        let failed = text.lines().find(|line| line.contains("ERROR")).context("the failure is told")?;
        contains(failed, &["script=\"scripts/AfterInstall.sh\"", "event=\"AfterInstall\""])?;
        let mode = |path: &std::path::Path| -> Result<u32> {
            Ok(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o777)
        };
        ensure!(mode(&logs)? == 0o700 && mode(&file)? == 0o600);
        // Whoever sets the file aside need not tell anybody.
        fs::rename(&file, logs.join("aside"))?;
        hang_up(&mut fleet.agent)?;
        until_true("the log to go on in a new file", PATIENCE, || {
            Ok(fs::read_to_string(&file).unwrap_or_default().contains("SIGHUP"))
        })
    })
}

#[test]
fn a_configuration_is_read_again_and_a_bad_one_is_not_taken() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        until_true("the daemon to be alive", PATIENCE, || Ok(fleet.agent.status()?["daemon"]["alive"] == true))?;
        until_true("the service to answer", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["connection"]["state"] == "connected")
        })?;
        fleet.agent.configure("30-again.yml", "verbose: maybe\n")?;
        hang_up(&mut fleet.agent)?;
        until_true("the mistake to be told", PATIENCE, || {
            Ok(fleet.agent.log().contains("the configuration stays as it was"))
        })?;
        contains(&fleet.agent.log(), &["30-again.yml", "verbose"])?;
        fleet.agent.configure("30-again.yml", "verbose: true\nwait_between_runs: 0\nmax_revisions: 2\n")?;
        hang_up(&mut fleet.agent)?;
        until_true("the new one to be taken", PATIENCE, || {
            Ok(fleet.agent.log().contains("these wait for the next start: max_revisions"))
        })?;
        let page = app(&place.path().join("app"), "page", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?)?;
        fleet.agent.program().context("it runs")?.must_run()
    })
}

/// Process 1 of a container is not the daemon itself, which is the one that reads it again.
#[test]
fn a_configuration_is_read_again_in_a_container_too() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can make a namespace of processes");
        return Ok(());
    }
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.start_as_init()?;
        until_true("the service to answer", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["connection"]["state"] == "connected")
        })?;
        let unshare = fleet.agent.program().context("it runs")?.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"))?;
        let first: i32 = children.split_whitespace().next().context("process 1 runs")?.parse()?;
        kill(Pid::from_raw(first), Signal::SIGHUP)?;
        until_true("the configuration to be read again", PATIENCE, || Ok(fleet.agent.log().contains("SIGHUP")))?;
        fleet.agent.program().context("it runs")?.must_run()
    })
}

#[test]
fn json_is_json_in_files_too() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let logs = place.path().join("log");
        fleet.agent.configure("30-log.yml", &format!("log_dir: {}\nlog_format: json\n", logs.display()))?;
        fleet.agent.start()?;
        let page = app(&place.path().join("app"), "page", &[]);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?;
        succeeded(&finished)?;
        for text in [fs::read_to_string(logs.join("codedeploy-agent.log"))?, fleet.agent.log()] {
            let lines: Vec<serde_json::Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let begun = lines.iter().find(|line| line["fields"]["message"] == "begun").context("an event has begun")?;
            ensure!(begun["span"]["deployment_id"] == finished.id.as_str(), "{begun}");
            ensure!(begun["span"]["event"].is_string() && begun["span"]["group"].is_string(), "{begun}");
        }
        Ok(())
    })
}

/// With a journal of the test's own, in the place where the system's would be.
#[test]
fn the_journal_gets_fields_to_look_for() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let journal = place.directory("journal")?;
        let socket = UnixDatagram::bind(journal.join("socket"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // Only this process sees the mount, and it ends with it.
        let script = "set -e\nmount -t tmpfs none /run\nmkdir -p /run/systemd/journal\n\
                      mount --bind \"$1\" /run/systemd/journal\nshift\n\
                      export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)\nexec \"$@\"";
        let wrapped = |arguments: &[&std::ffi::OsStr]| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(&journal).args(arguments);
            command
        };
        let can = wrapped(&["true".as_ref()]).stdin(Stdio::null()).output();
        if !can.is_ok_and(|output| output.status.success()) {
            let why = "skipped: a journal of one's own cannot be mounted here\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes());
            return Ok(());
        }
        let agent = binaries::agent()?;
        let configuration = fleet.agent.config_file();
        let arguments = [agent.get_program(), "run".as_ref(), "--config".as_ref(), configuration.as_os_str()];
        let mut command = wrapped(&arguments);
        let _daemon = Program::start(place, "agent-journal", &mut command)?;
        let page = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "exit 3")]);
        // Read all the time: the socket takes no more than a few entries, and whoever logs waits for it.
        let of_failure = std::thread::spawn(move || -> Result<(Fields, Vec<Fields>)> {
            let mut buffer = [0; 64 << 10];
            let mut on_record = Vec::new();
            loop {
                let length = socket.recv(&mut buffer).context("no entry of the journal tells of the failure")?;
                let fields = Fields::read(&buffer[..length])?;
                if fields.get("SYSLOG_IDENTIFIER") == Some("slipway-audit") {
                    on_record.push(fields);
                } else if fields.get("SCRIPT").is_some() {
                    return Ok((fields, on_record));
                }
            }
        });
        let finished = fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?;
        failed_in(&finished, "AfterInstall")?;
        let (fields, on_record) =
            of_failure.join().map_err(|_| anyhow::anyhow!("the reader of the journal panicked"))??;
        ensure!(fields.get("SCRIPT") == Some("scripts/AfterInstall.sh"), "{fields:?}");
        ensure!(fields.get("DEPLOYMENT_ID") == Some(finished.id.as_str()), "{fields:?}");
        ensure!(fields.get("EVENT") == Some("AfterInstall"), "{fields:?}");
        ensure!(fields.get("GROUP").is_some_and(|group| !group.is_empty()), "{fields:?}");
        ensure!(fields.get("PRIORITY") == Some("3"), "{fields:?}");
        ensure!(fields.get("SYSLOG_IDENTIFIER") == Some("slipway-agent"), "{fields:?}");
        // The record of scripts is there too, with the head of its chain.
        ensure!(on_record.len() == 2, "{on_record:?}");
        for (number, entry) in on_record.iter().enumerate() {
            ensure!(entry.get("AUDIT_NUMBER") == Some((number + 1).to_string().as_str()), "{entry:?}");
            ensure!(entry.get("AUDIT_SHA256").is_some_and(|sha256| sha256.len() == 64), "{entry:?}");
            ensure!(entry.get("SCRIPT_SHA256").is_some_and(|sha256| sha256.len() == 64), "{entry:?}");
            ensure!(entry.get("SIGNER").is_some_and(|signer| signer.contains("certificate")), "{entry:?}");
        }
        ensure!(on_record[1].get("RESULT") == Some("exit 3"), "{on_record:?}");
        Ok(())
    })
}

/// An entry of the journal's native protocol.
#[derive(Debug)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(mut bytes: &[u8]) -> Result<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').context("a field ends with its line")?;
            let (line, rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 1..]);
            if let Some((name, value)) = line.split_once('=') {
                fields.push((name.to_owned(), value.to_owned()));
                bytes = rest;
            } else {
                let length: [u8; 8] = rest.get(..8).context("a length")?.try_into()?;
                let length = usize::try_from(u64::from_le_bytes(length))?;
                let value = rest.get(8..8 + length).context("a value as long as it says")?;
                fields.push((line, String::from_utf8_lossy(value).into_owned()));
                bytes = &rest[8 + length + 1..];
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}
