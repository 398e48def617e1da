//! A user who owns a directory above a destination, and changes it while root installs: nothing outside is written, removed
//! or given away. `SLIPWAY_RACES` says how often; `make test-races` takes 1,000.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::revision::Revision;
use slipway_tests::until::until_true;

use crate::expect::contains;

/// A user of no name.
const USER: u32 = 12_345;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// As that user: exchanges two paths for as long as it lives, and tells after the first time.
const FLIPPER: &str = "
import ctypes, os, sys
user, one, other, told = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3].encode(), sys.argv[4]
os.setgroups([]); os.setgid(user); os.setuid(user)
call = ctypes.CDLL(None, use_errno=True).syscall
AT_FDCWD, EXCHANGE, RENAMEAT2 = -100, 2, {'x86_64': 316, 'aarch64': 276}[os.uname().machine]
done = 0
while True:
    if call(RENAMEAT2, AT_FDCWD, one, AT_FDCWD, other, EXCHANGE) == 0:
        done += 1
        if done == 1:
            open(told, 'w').close()
";

/// What a directory of root's looks like, to the inode.
fn look(directory: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let stat = fs::symlink_metadata(directory)?;
    let content = if stat.is_file() { fs::read(directory)? } else { Vec::new() };
    let line = format!("{:o} {}:{} {} {} {content:?}", stat.mode(), stat.uid(), stat.gid(), stat.ino(), stat.nlink());
    found.insert(directory.to_owned(), line);
    if stat.is_dir() {
        for entry in fs::read_dir(directory)? {
            look(&entry?.path(), found)?;
        }
    }
    Ok(())
}

fn seen(directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    look(directory, &mut found)?;
    Ok(found)
}

/// Two versions that write, change, remove and give away what is below the destination.
fn version(destination: &Path, number: usize) -> Revision {
    let appspec = format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {0}\nfile_exists_behavior: OVERWRITE\n\
         permissions:\n  - object: {0}\n    pattern: '**'\n    owner: nobody\n    mode: '0666'\n    type: [file]\n",
        destination.display()
    );
    Revision::with_appspec(&appspec)
        .file("content/passwd", format!("version {number}"))
        .file("content/cron.d/job", format!("version {number}"))
        .file(&format!("content/cron.d/only-{}", number % 2), "x")
        .file(&format!("content/only-{}", number % 2), "x")
}

/// The host of an attack: a user's directory with a real one and a link to root's beside each other.
struct Ground {
    home: PathBuf,
    system: PathBuf,
}

impl Ground {
    fn new(place: &Place) -> Result<Self> {
        let (home, system) = (place.directory("home")?, place.directory("system")?);
        for (name, text) in [("passwd", "root's"), ("only-0", "root's"), ("only-1", "root's"), ("cron.d/job", "root's")]
        {
            fs::create_dir_all(system.join("cron.d"))?;
            fs::write(system.join(name), text)?;
            fs::set_permissions(system.join(name), fs::Permissions::from_mode(0o600))?;
        }
        fs::create_dir(home.join("real"))?;
        symlink(&system, home.join("link"))?;
        for path in [home.clone(), home.join("real"), home.join("link")] {
            std::os::unix::fs::lchown(path, Some(USER), Some(USER))?;
        }
        Ok(Self { home, system })
    }

    fn flip(&self, place: &Place, one: &str, other: &str) -> Result<Program> {
        let told = self.home.join("told");
        let mut python = Command::new("python3");
        python.args(["-c", FLIPPER, &USER.to_string()]).arg(self.home.join(one)).arg(self.home.join(other)).arg(&told);
        let flipper = Program::start(place, "flipper", python.stdin(Stdio::null()))?;
        until_true("the first exchange", PATIENCE, || Ok(told.exists()))?;
        Ok(flipper)
    }
}

fn races() -> usize {
    std::env::var("SLIPWAY_RACES").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root installs for others");
    }
    is_root
}

/// Installs again and again below `home/<destination>` while a user exchanges two paths. Answers how many installs
/// succeeded and how many were refused for a link.
fn race(destination: &str, (one, other): (&str, &str), configuration: &str) -> Result<(usize, usize)> {
    let mut outcome = (0, 0);
    scenario(|place| {
        let ground = Ground::new(place)?;
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("30-links.yml", configuration)?;
        let before = seen(&ground.system)?;
        let revisions: Vec<PathBuf> = (0..2)
            .map(|number| {
                let directory = place.directory(&format!("revision-{number}"))?;
                version(&ground.home.join(destination), number).write(&directory)?;
                Ok(directory)
            })
            .collect::<Result<_>>()?;
        let mut flipper = ground.flip(place, one, other)?;
        for number in 0..races() {
            let location = revisions[number % 2].display().to_string();
            let output = agent.output(&["deploy-local", "--quiet", "-l", &location, "-g", "g1"])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(seen(&ground.system)? == before, "install {number} reached what is root's:\n{said}");
            match output.status.success() {
                true => outcome.0 += 1,
                false if said.contains("is not followed") => outcome.1 += 1,
                false => {}
            }
            flipper.must_run()?;
        }
        flipper.kill()?;
        // Whatever was interrupted is settled without reaching it, too.
        agent.output(&["recover"])?;
        ensure!(seen(&ground.system)? == before, "the recovery reached what is root's");
        Ok(())
    })?;
    Ok(outcome)
}

#[test]
fn a_directory_above_the_destination_that_is_flipped_for_a_link_leads_root_nowhere() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let (installed, refused) = race("real/app", ("real", "link"), "")?;
    ensure!(installed + refused > 0, "no install met the user's directory or the user's link");
    Ok(())
}

#[test]
fn a_destination_that_is_flipped_for_a_link_leads_root_nowhere() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    for configuration in ["", "profile: strict\ndeployment_spec_ca_file: /etc/ssl/certs/ca-certificates.crt\n"] {
        race("real", ("real", "link"), configuration)?;
    }
    Ok(())
}

/// The attack without a race, and what each command says of it.
#[test]
fn a_users_link_is_a_clash_in_plan_and_install_and_is_told_before() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let ground = Ground::new(place)?;
        let agent = Agent::alone(place, "web-1")?;
        let before = seen(&ground.system)?;
        let link = ground.home.join("link");
        let directory = place.directory("revision")?;
        version(&link, 1).write(&directory)?;
        let location = directory.display().to_string();
        let parts = [&format!("{} is a symlink to", link.display()), "user 12345 owns", "in the AppSpec"];
        for command in [
            &["plan", "-l", &location, "-g", "g1"][..],
            &["deploy-local", "-l", &location, "-g", "g1"],
            &["validate", &location],
        ] {
            let output = agent.output(command)?;
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success() == (command[0] == "validate"), "{said}");
            contains(&said.split_whitespace().collect::<Vec<_>>().join(" "), &parts)?;
            ensure!(seen(&ground.system)? == before);
        }
        // Where the user owns what it leads to, nobody gains: compatible follows, strict does not.
        let own = ground.home.join("own");
        symlink(ground.home.join("real"), &own)?;
        std::os::unix::fs::lchown(&own, Some(USER), Some(USER))?;
        version(&own, 1).write(&directory)?;
        agent.configure("30-links.yml", "follow_links: root\n")?;
        let deploy = || agent.output(&["deploy-local", "-l", &location, "-g", "g1"]);
        let refused = deploy()?;
        ensure!(!refused.status.success());
        contains(&String::from_utf8_lossy(&refused.stderr), &["follow_links is `root`"])?;
        agent.configure("30-links.yml", "follow_links: safe\n")?;
        let output = deploy()?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(fs::read_to_string(ground.home.join("real/passwd"))? == "version 1");
        // Turned elsewhere since: neither the next revision nor a rollback follows it.
        fs::remove_file(&own)?;
        symlink(&ground.system, &own)?;
        std::os::unix::fs::lchown(&own, Some(USER), Some(USER))?;
        for command in [&["deploy-local", "-l", &location, "-g", "g1"][..], &["rollback", "--group", "g1"]] {
            let output = agent.output(command)?;
            ensure!(!output.status.success(), "{command:?}: {output:?}");
            ensure!(seen(&ground.system)? == before, "{command:?}");
        }
        Ok(())
    })
}

#[test]
fn reject_symlink_permission_targets_refuses_entries_that_mean_a_link() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        let destination = place.path().join("app");
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {0}\npermissions:\n  - object: {0}\n    \
             pattern: '**'\n    mode: '0640'\n",
            destination.display()
        );
        Revision::with_appspec(&appspec).file("content/file", "x").symlink("content/link", "file").write(&directory)?;
        let location = directory.display().to_string();
        let deploy = || agent.output(&["deploy-local", "-l", &location, "-g", "g1"]);
        agent.configure("30-links.yml", "reject_symlink_permission_targets: true\n")?;
        let refused = deploy()?;
        ensure!(!refused.status.success() && !destination.exists());
        let said = String::from_utf8_lossy(&refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        contains(&said, &["app/link", "which is a symlink", "reject_symlink_permission_targets"])?;
        agent.configure("30-links.yml", "reject_symlink_permission_targets: false\n")?;
        ensure!(deploy()?.status.success());
        let mode = |name: &str| Ok::<_, anyhow::Error>(fs::metadata(destination.join(name))?.mode() & 0o777);
        ensure!(mode("file")? == 0o640);
        Ok(())
    })
}

/// `migrate --check` on a host of AWS's agent that installed through a user's link.
#[test]
fn migrate_tells_of_links_that_the_next_deployment_does_not_follow() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let ground = Ground::new(place)?;
        let agent = Agent::alone(place, "web-1")?;
        let instructions = agent.root().join("deployment-instructions");
        fs::create_dir_all(&instructions)?;
        let list = format!("{}\n", ground.home.join("link/passwd").display());
        fs::write(instructions.join("11111111-2222-3333-4444-555555555555-cleanup"), list)?;
        chown(&instructions, Some(0), Some(0)).context("own the directory")?;
        let output = agent.output(&["migrate", "--check"])?;
        let said = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        contains(&said, &["is a symlink to", "is not followed", "the next deployment"])
    })
}
