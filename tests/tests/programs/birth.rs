//! What a script is born with, whoever started the agent: by the daemon and by `deploy-local`, without systemd. The
//! same table with systemd is a row of `tests/system`.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::libc;
use slipway_tests::agent::Agent;
use slipway_tests::birth::{Born, limit_of, probe};
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, Revision, app};

use crate::expect::succeeded;

/// The table. AWS's agent gives its scripts the same but where a row says else.
fn is_as_it_should_be(born: &Born) -> Result<()> {
    let pid = born.get("pid")?;
    let own_score = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let own_nice = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(16)).unwrap_or_default();
    let rows = [
        // AWS's: Ruby blocks none, ignores none, and what it handles is reset by the exec.
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
        // AWS's inherits it; its unit evaluates /etc/profile first.
        ("umask", "0022"),
        // AWS's: by the daemon; by codedeploy-local it is the caller's.
        ("cwd", "/"),
        // AWS's is in a group of its own in the agent's session, which by codedeploy-local has the caller's terminal.
        ("session", pid),
        ("group", pid),
        ("terminal", "0"),
        ("fd 0", "/dev/null"),
        // AWS's inherits these, too.
        ("nice", own_nice),
        ("oom_score_adj", own_score.trim()),
    ];
    for (name, expected) in rows {
        let found = born.get(name)?;
        ensure!(found == expected, "{name} is {found}, not {expected}");
    }
    ensure!(born.inherited().is_empty(), "descriptors were inherited: {born:?}");
    // These, too: limits and control group are the agent's, which here are the test's.
    for (name, expected) in std::fs::read_to_string("/proc/self/limits")?.lines().filter_map(limit_of) {
        let found = born.get(&format!("limit {name}"))?;
        ensure!(found == expected, "the limit {name} is {found}, not {expected}");
    }
    let cgroup = std::fs::read_to_string("/proc/self/cgroup")?;
    ensure!(cgroup.lines().last().is_none_or(|line| born.get("cgroup").is_ok_and(|own| own == line)), "{born:?}");
    Ok(())
}

/// Has a program started as badly as a careless parent can: everything blocked, what can be ignored ignored, a file
/// left open, and a umask that keeps others out.
fn carelessly(command: &mut Command) -> Result<()> {
    let file = std::fs::File::open("/dev/zero")?;
    let prepare = move || {
        // SAFETY: only system calls, in the copy that becomes the program.
        unsafe {
            for number in 1..=64 {
                libc::signal(number, libc::SIG_IGN);
            }
            libc::umask(0o077);
            libc::dup2(file.as_raw_fd(), 7);
            libc::dup2(file.as_raw_fd(), 63);
        }
        Ok(nix::sys::signal::SigSet::all().thread_block()?)
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

fn probing(place: &Place) -> Revision {
    let probe = probe(&place.path().join("facts"));
    app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &probe)])
}

fn skipped(why: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
}

#[test]
fn a_local_deployment_gives_scripts_nothing_of_a_careless_parent() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("10-profile.yml", "hook_profile: none\n")?;
        let directory = place.directory("revision")?;
        probing(place).write(&directory)?;
        let mut command = host.command(&["deploy-local", "-l", &directory.display().to_string()])?;
        carelessly(&mut command)?;
        for name in ["HOME", "USER", "LOGNAME", "SHELL"] {
            command.env_remove(name);
        }
        program::run(place, &mut command)?;
        let born = Born::read(&place.path().join("facts"))?;
        let own = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("there is an own user")?;
        ensure!(born.get("env HOME")? == own.dir.display().to_string(), "{born:?}");
        ensure!(born.get("env SHELL")? == own.shell.display().to_string(), "{born:?}");
        ensure!(born.get("env USER")? == own.name && born.get("env LOGNAME")? == own.name, "{born:?}");
        is_as_it_should_be(&born)
    })
}

/// Before Linux 5.11 no one call marks all descriptors.
#[test]
fn nor_does_an_old_kernel() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("10-profile.yml", "hook_profile: none\n")?;
        let directory = place.directory("revision")?;
        probing(place).write(&directory)?;
        let agent = host.command(&["deploy-local", "-l", &directory.display().to_string()])?;
        let log = place.path().join("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=close_range", "-e", "inject=close_range:error=ENOSYS", "-o"]).arg(&log);
        command.arg(agent.get_program()).args(agent.get_args());
        for (variable, value) in agent.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        carelessly(&mut command)?;
        if command.spawn().and_then(|mut child| child.wait()).is_err() {
            skipped("there is no strace to play an old kernel with");
            return Ok(());
        }
        ensure!(std::fs::read_to_string(&log)?.contains("(INJECTED)"), "close_range was not asked for");
        let born = Born::read(&place.path().join("facts"))?;
        ensure!(born.inherited().is_empty(), "descriptors were inherited: {born:?}");
        Ok(())
    })
}

#[test]
fn so_does_the_daemon() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.configure("20-profile.yml", "hook_profile: none\n")?;
        let mut careless = Ok(());
        fleet.agent.start_with(|command| careless = carelessly(command))?;
        careless?;
        let bundle = fleet.group.push("v1", &probing(place), BundleKind::Tgz)?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        let born = Born::read(&place.path().join("facts"))?;
        is_as_it_should_be(&born)?;
        // The host is one that is not on EC2.
        ensure!(born.get("env AWS_HOST_IDENTIFIER")?.ends_with("user/web-1"), "{born:?}");
        ensure!(!born.get("env AWS_REGION")?.is_empty(), "{born:?}");
        ensure!(!born.all("env ").keys().any(|name| name.contains("KEY") && name.starts_with("AWS")), "{born:?}");
        // It can be told to end, though its parent had blocked that.
        fleet.agent.stop()
    })
}

#[test]
fn the_umask_of_scripts_is_that_of_the_profile() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let profile = place.path().join("profile");
        std::fs::write(&profile, "umask 027\n")?;
        host.configure("10-profile.yml", &format!("hook_profile: {}\n", profile.display()))?;
        let directory = place.directory("revision")?;
        probing(place).write(&directory)?;
        program::run(place, &mut host.command(&["deploy-local", "-l", &directory.display().to_string()])?)?;
        let born = Born::read(&place.path().join("facts"))?;
        ensure!(born.get("umask")? == "0027", "{born:?}");
        Ok(())
    })
}

#[test]
fn what_a_script_leaves_running_can_be_ended_by_the_next() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let pid = place.path().join("pid");
        // Python neither blocks nor unblocks anything by itself; neither does a shell's `exec`.
        let start = format!("(exec sleep 1000) >/dev/null 2>&1 & echo $! > {}", pid.display());
        let stop = format!(
            "read -r pid < {0}; kill $pid; n=0; while [ -d /proc/$pid ] && ! grep -q 'State:.Z' /proc/$pid/status; do \
             n=$((n+1)); [ $n -lt 600 ] || exit 9; sleep 0.05; done",
            pid.display()
        );
        let directory = place.directory("revision")?;
        app(
            &place.path().join("app"),
            "page",
            &[Hook::new("ApplicationStart", &start), Hook::new("ValidateService", &stop)],
        )
        .write(&directory)?;
        program::run(place, &mut host.command(&["deploy-local", "-l", &directory.display().to_string()])?)?;
        Ok(())
    })
}

#[test]
fn a_script_that_ends_itself_has_failed() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        for signal in ["TERM", "INT", "HUP"] {
            let end = format!("kill -{signal} $$; exit 0");
            app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &end)]).write(&directory)?;
            let output = host.output(&["deploy-local", "-l", &directory.display().to_string()])?;
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.code() == Some(1), "{signal}: it ended with {}:\n{said}", output.status);
            ensure!(said.contains(&format!("(SIG{signal})")), "{signal}: {said}");
        }
        Ok(())
    })
}
