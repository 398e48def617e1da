//! An image: a host is deployed to, made ready, and its disk booted twice, as two hosts that are not the first.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries::repository;
use slipway_tests::fleet::TAG_VALUE;
use slipway_tests::program;
use slipway_tests::until::until_true;

use crate::app;
use crate::host::{CONFIG, GROUP, Host, PATIENCE, UNIT, succeeded};
use crate::job::Ground;
use crate::machine::Machine;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 7;

const CLONES: [&str; 2] = ["clone-1", "clone-2"];
const IDENTITY: &str = "codedeploy.onpremises.yml";
const MACHINE_ID: &str = "etc/machine-id";
/// The page of the revision that is deployed into the image.
const BAKED: &str = "baked";

/// All of it.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "baked")?;
    let secrets = secrets(&host)?;
    host.check(report, "the host that is baked is deployed to", |host| deployed(host, "v1"));
    host.check(report, "image-clean is refused while the agent runs, and --check says what is there", refused);
    host.check(report, "the template's last step deploys, removes it all, and finds nothing left", clean);
    host.machine.power_off()?;
    report.check("no file of the image holds a secret", search(&host.machine.layer(ground)?, &secrets));

    let mut clones = Vec::new();
    for name in CLONES {
        let clone = host.machine.clone_as(ground, name)?;
        give_identity(ground, &host, &clone, name)?;
        clones.push(clone);
    }
    let mut slowest = Duration::ZERO;
    for (clone, name) in clones.iter_mut().zip(CLONES) {
        let begun = Instant::now();
        clone.boot()?;
        until_true(&format!("{name} to poll"), PATIENCE, || {
            Ok(host.wire.polled_by().iter().any(|host| host.ends_with(&format!("user/{name}"))))
        })?;
        slowest = slowest.max(begun.elapsed());
    }
    report.notes.push(format!("from power-on of a baked image to the first poll: at most {slowest:.2?}"));
    report.check("both clones poll as themselves, and as nobody else", as_themselves(&host, &clones));
    report.check("the application is still there, and known", still_there(&clones));
    report.check("a deployment reaches both", both_deployed(&host, &clones));
    Ok(())
}

fn deployed(host: &Host<'_>, page: &str) -> Result<()> {
    host.deploy(&host.push(page, &app::revision(page))?)
}

/// What of the first host must not be in the image.
fn secrets(host: &Host<'_>) -> Result<Vec<(String, String)>> {
    let text = host.read(&format!("{CONFIG}/{IDENTITY}"));
    let keys = ["aws_secret_access_key", "aws_access_key_id", "iam_user_arn"];
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let value = line.with_context(|| format!("the identity has {key}"))?.trim_matches('"').to_owned();
        Ok((key.to_owned(), value))
    };
    keys.into_iter().map(value).collect()
}

fn refused(host: &mut Host<'_>) -> Result<()> {
    let output = host.machine.command(&["slipway-agent", "image-clean"])?.output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("systemctl stop slipway-agent"), "{output:?}");
    let output = host.machine.command(&["slipway-agent", "image-clean", "--check"])?.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{output:?}");
    for what in ["identity of this host", "record of this host", "host commands", "the agent runs", "/etc/machine-id"] {
        ensure!(said.contains(what), "{what} is missing in:\n{said}");
    }
    Ok(())
}

/// As the template for images does it, by its own script: another revision is deployed, and the rest goes.
fn clean(host: &mut Host<'_>) -> Result<()> {
    let status = host.status()?;
    let group = status["groups"][0]["id"].as_str().context("a group was deployed to")?.to_owned();
    let root = host.machine.root();
    app::revision(BAKED).write(&root.join("srv/revision"))?;
    fs::copy(repository().join("packaging/image/finish.sh"), root.join("srv/finish.sh"))?;
    let group = format!("DEPLOYMENT_GROUP={group}");
    let words = ["env", "REVISION=/srv/revision", "REVISION_TYPE=directory", &group, "sh", "/srv/finish.sh"];
    let said = host.machine.run(&words)?;
    ensure!(
        said.contains("removed  identity of this host") && said.ends_with("Nothing of this host is left.\n"),
        "{said}"
    );
    ensure!(host.read(MACHINE_ID).is_empty(), "the machine's id is still there");
    host.agent(&["drift"]).map(drop)
}

/// Looks through all files of a disk.
fn search(layer: &Path, secrets: &[(String, String)]) -> Result<()> {
    let (mut ahead, mut looked) = (vec![layer.to_owned()], 0);
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                ahead.push(path);
            } else if kind.is_file() {
                let mut content = Vec::new();
                fs::File::open(&path)?.read_to_end(&mut content)?;
                for (name, secret) in secrets {
                    let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                    ensure!(!found, "{} holds {name}", path.display());
                }
                looked += 1;
            }
        }
    }
    ensure!(looked > 10, "only {looked} files were looked through: the image is not where this test looks");
    Ok(())
}

/// What the user data of an instance does: identity, and nothing else.
fn give_identity(ground: &Ground, host: &Host<'_>, clone: &Machine, name: &str) -> Result<()> {
    let directory: PathBuf = ground.place.path().join(format!("identity-{name}"));
    let mut command = host.control.cli()?;
    command.args(["host-config", name, "--installed-in", CONFIG, "--tag", &format!("{GROUP}={TAG_VALUE}")]);
    command.arg("--data").arg(host.control.data()).arg("--dir").arg(&directory);
    program::run(&ground.place, &mut command)?;
    let conf = clone.root().join(CONFIG.trim_start_matches('/'));
    fs::copy(directory.join(IDENTITY), conf.join(IDENTITY)).context("give the clone its identity").map(drop)
}

fn as_themselves(host: &Host<'_>, clones: &[Machine]) -> Result<()> {
    let polled = host.wire.polled_by();
    // The first one polled before it was made an image.
    ensure!(polled.len() == 1 + CLONES.len(), "{polled:?}");
    for (clone, name) in clones.iter().zip(CLONES) {
        let whoami = clone.run(&["slipway-agent", "whoami"])?;
        ensure!(whoami.contains(&format!("user/{name}")), "{name} is {whoami}");
        let journal = clone.run(&["journalctl", "--no-pager", "--unit", UNIT])?;
        ensure!(journal.contains(&format!("user/{name}")), "{journal}");
        // There was no state of another host to let go of, and nothing of the first one was taken up or reported.
        for word in ["of another instance", "user/baked", "did not end this", "poll failed"] {
            ensure!(!journal.contains(word), "{name} says {word:?}:\n{journal}");
        }
    }
    let ids: Vec<String> = clones.iter().map(|clone| clone.run(&["cat", "/etc/machine-id"])).collect::<Result<_>>()?;
    ensure!(ids[0] != ids[1], "both are machine {}", ids[0]);
    Ok(())
}

fn still_there(clones: &[Machine]) -> Result<()> {
    for clone in clones {
        ensure!(fs::read_to_string(clone.root().join("srv/app/page"))? == BAKED, "the application is not there");
        clone.run(&["slipway-agent", "drift"])?;
    }
    Ok(())
}

fn both_deployed(host: &Host<'_>, clones: &[Machine]) -> Result<()> {
    // The first host is off, and must not be waited for.
    host.group.api().call(
        "RemoveTagsFromOnPremisesInstances",
        serde_json::json!({"tags": [{"Key": GROUP, "Value": TAG_VALUE}], "instanceNames": ["baked"]}),
    )?;
    let finished = host.finish(&host.begin(&host.push("v2", &app::revision("v2"))?)?)?;
    succeeded(&finished)?;
    for (clone, name) in clones.iter().zip(CLONES) {
        ensure!(finished.events.iter().any(|event| event.host.contains(name)), "{name} was not deployed to");
        ensure!(fs::read_to_string(clone.root().join("srv/app/page"))? == "v2", "{name} has another page");
    }
    Ok(())
}
