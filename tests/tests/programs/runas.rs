//! Scripts with `runas` beside what `su` runs on the same host, with files of the test's own over the host's: in a mount
//! namespace, which only root can make.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::Revision;

const USER: &str = "nobody";
/// Only lower than what there is: a container's root may not be able to raise a limit.
const LIMITS: &str =
    "* soft nofile 200\nnobody - nofile 150\n* hard core 100\n@nogroup soft core 40\nroot - nofile 180\n";
const VARIABLES: &str = "SLIPWAY_CASE=\"from the host\"\nexport OTHER='x'\nPATH=/of-the-host:/usr/bin:/bin\n\
                         AWS_SECRET_ACCESS_KEY=secret\n";
const SAYS: &str = "echo \"files $(ulimit -Sn) $(ulimit -Hn), core $(ulimit -Sc) $(ulimit -Hc), umask $(umask), \
                    case $SLIPWAY_CASE, other $OTHER, path $PATH, home $HOME\"";

fn skipped(why: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
}

/// The command, in a namespace in which the host's files are those of the test.
fn in_namespace(place: &Place, command: &Command) -> Result<Command> {
    let files = place.directory("host")?;
    std::fs::write(files.join("environment"), VARIABLES)?;
    std::fs::create_dir_all(files.join("limits.d"))?;
    std::fs::write(files.join("limits.d/of-a-test.conf"), LIMITS)?;
    let script = format!(
        "mount --bind {0}/environment /etc/environment && mount --bind {0}/limits.d /etc/security/limits.d && exec \"$@\"",
        files.display()
    );
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    inside.arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(variable, value),
            None => inside.env_remove(variable),
        };
    }
    Ok(inside)
}

/// What a script with `runas` says, deployed in such a namespace.
fn says(place: &Place, user: &str, settings: &str) -> Result<String> {
    let host = Agent::alone(place, &format!("host-{user}-{}", settings.len()))?;
    host.configure("10-settings.yml", &format!("hook_profile: none\n{settings}"))?;
    let said = place.path().join(format!("said-{user}-{}", settings.len()));
    std::fs::write(&said, "")?;
    open_to_all(&said)?;
    let directory = place.directory(&format!("revision-{user}"))?;
    let appspec =
        format!("version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: says.sh\n      runas: {user}\n");
    let script = format!("{{ {SAYS}; env | grep -c SECRET || :; }} > {}", said.display());
    Revision::with_appspec(&appspec).script("says.sh", &script).write(&directory)?;
    let command = host.command(&["deploy-local", "-l", &directory.display().to_string()])?;
    program::run(place, &mut in_namespace(place, &command)?)?;
    Ok(std::fs::read_to_string(said)?)
}

fn open_to_all(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).context("open a file to all")
}

/// What the host's own `su` gives; nothing where that cannot be known.
fn by_su(place: &Place, user: &str) -> Result<Option<String>> {
    let mut su = Command::new("su");
    su.args([user, "-s", "/bin/sh", "-c", SAYS]);
    let output = program::output(place, &mut in_namespace(place, &su)?)?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Whether this host's `su` has the modules that the test is about.
fn has_modules() -> bool {
    let text = std::fs::read_to_string("/etc/pam.d/su").unwrap_or_default();
    ["pam_limits.so", "pam_env.so"]
        .iter()
        .all(|module| text.lines().any(|line| line.starts_with("session") && line.contains(module)))
}

#[test]
fn a_script_gets_what_su_gives_its_user() -> Result<()> {
    if !nix::unistd::geteuid().is_root() || !has_modules() {
        skipped("this is for root, where PAM's su has pam_limits and pam_env");
        return Ok(());
    }
    scenario(|place| {
        open_place(place)?;
        for user in [USER, "root"] {
            let Some(expected) = by_su(place, user)? else {
                skipped("su or mounts do not work here");
                return Ok(());
            };
            let said = says(place, user, "")?;
            ensure!(said == format!("{expected}0\n"), "as {user}:\n{said}and su says\n{expected}");
        }
        ensure!(says(place, USER, "")?.contains("files 150 150, core "));
        let off = says(place, USER, "hook_pam: off\n")?;
        ensure!(!off.contains("of-the-host") && !off.contains("files 150") && off.contains("case , "), "{off}");
        Ok(())
    })
}

/// Other users must reach their scripts.
fn open_place(place: &Place) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).context("open the place")
}
