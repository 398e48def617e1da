//! Kernels and file systems that lack a call: the agent installs the same without it. `strace` answers the call as
//! such a kernel does, and shows that it was asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::Revision;

/// What is lacking, how it answers, and how often at least it is asked for in two installs.
struct Lacking {
    calls: &'static [(&'static str, &'static str)],
    asked: usize,
}

const KERNELS: [(&str, Lacking); 7] = [
    ("before 5.6, or a sandbox: no openat2", Lacking { calls: &[("openat2", "ENOSYS")], asked: 20 }),
    ("a sandbox that forbids openat2", Lacking { calls: &[("openat2", "EPERM")], asked: 20 }),
    ("a file system without exchange", Lacking { calls: &[("renameat2", "EINVAL")], asked: 5 }),
    ("before 4.11: no statx", Lacking { calls: &[("statx", "ENOSYS")], asked: 20 }),
    ("copies through a buffer", Lacking { calls: &[("ioctl", "EOPNOTSUPP"), ("copy_file_range", "ENOSYS")], asked: 2 }),
    ("a file system that sets no space aside", Lacking { calls: &[("fallocate", "EOPNOTSUPP")], asked: 2 }),
    (
        "none of it",
        Lacking {
            calls: &[
                ("openat2", "ENOSYS"),
                ("renameat2", "EINVAL"),
                ("statx", "ENOSYS"),
                ("ioctl", "EOPNOTSUPP"),
                ("copy_file_range", "ENOSYS"),
                ("fallocate", "EOPNOTSUPP"),
                ("faccessat2", "ENOSYS"),
                ("close_range", "ENOSYS"),
            ],
            asked: 50,
        },
    ),
];

#[test]
fn a_kernel_that_lacks_a_call_installs_the_same() -> Result<()> {
    scenario(|place| {
        let versions = versions(place)?;
        let expected = installed(place, "ordinary", &versions, Ok)?;
        ensure!(expected.len() > 8, "{expected:?}");
        for (number, (kernel, lacking)) in KERNELS.iter().enumerate() {
            let log = place.path().join(format!("strace-{number}"));
            let found =
                installed(place, &format!("host-{number}"), &versions, |command| Ok(traced(&command, lacking, &log)));
            let found = match found {
                Err(_) if !has("strace") => {
                    skipped("there is no strace to take calls away with");
                    return Ok(());
                }
                found => found.with_context(|| (*kernel).to_owned())?,
            };
            ensure!(found == expected, "{kernel}: {found:?}, not {expected:?}");
            let log = fs::read_to_string(&log)?;
            for (call, _) in lacking.calls.iter().take(1) {
                let asked = log.lines().filter(|line| line.contains(call) && line.contains("(INJECTED)")).count();
                ensure!(asked >= lacking.asked, "{kernel}: {call} was asked for {asked} times");
            }
        }
        Ok(())
    })
}

/// Before 5.8 `syncfs` says that all is well whatever happens, so that each file has to be synced.
#[test]
fn a_kernel_whose_syncfs_says_nothing_has_each_file_synced() -> Result<()> {
    scenario(|place| {
        if !has("strace") || !has("setarch") {
            skipped("there is no strace, or no setarch to play an old kernel with");
            return Ok(());
        }
        let versions = versions(place)?;
        let mut synced = Vec::new();
        for (name, old) in [("now", false), ("old", true)] {
            let log = place.path().join(format!("strace-{name}"));
            installed(place, name, &versions, |command| {
                let mut traced = Command::new(if old { "setarch" } else { "env" });
                if old {
                    traced.arg("--uname-2.6");
                }
                traced.args(["strace", "-f", "-y", "-A", "-o"]).arg(&log).args(["-e", "trace=fsync,fdatasync"]);
                traced.arg(command.get_program()).args(command.get_args());
                Ok(traced)
            })?;
            let text = fs::read_to_string(&log)?;
            let targets: Vec<String> = text
                .lines()
                .filter(|line| line.contains("/target/") && line.contains(".new"))
                .map(str::to_owned)
                .collect();
            synced.push(targets);
        }
        let [now, old] = &synced[..] else { unreachable!("two hosts") };
        ensure!(now.is_empty(), "a kernel that has syncfs syncs what is staged by itself: {now:?}");
        for name in [".app.", ".file.", ".new."] {
            ensure!(old.iter().any(|line| line.contains(name)), "{name} was not synced: {old:?}");
        }
        Ok(())
    })
}

/// Two revisions with every kind of change between them.
fn versions(place: &Place) -> Result<[PathBuf; 2]> {
    let revision = || {
        Revision::with_appspec(
            "version: 0.0\nos: linux\nfiles:\n  - {source: content, destination: TARGET/app}\n\
             permissions:\n  - {object: TARGET/app/file, mode: 0640}\n",
        )
    };
    let large = "x".repeat(200_000);
    let first = revision()
        .file("content/file", "one")
        .file("content/gone/deep/file", "g")
        .file("content/becomes-dir", "f")
        .file("content/large", &large)
        .symlink("content/link", "file");
    let second = revision()
        .file("content/file", "two")
        .file("content/becomes-dir/inner", "d")
        .file("content/large", large.replacen('x', "y", 1))
        .file("content/new/deep/file", "n")
        .file("content/new/other", "o")
        .symlink("content/link", "large");
    let [one, two] = [place.directory("first")?, place.directory("second")?];
    first.write(&one)?;
    second.write(&two)?;
    Ok([one, two])
}

/// Installs the versions on a host of their own, and answers what is there then.
fn installed(
    place: &Place,
    name: &str,
    versions: &[PathBuf; 2],
    around: impl Fn(Command) -> Result<Command>,
) -> Result<BTreeMap<PathBuf, String>> {
    let host = Agent::alone(place, name)?;
    let target = place.directory(&format!("hosts/{name}/target"))?;
    for version in versions {
        let appspec = version.join("appspec.yml");
        let template = fs::read_to_string(&appspec)?;
        fs::write(&appspec, template.replace("TARGET", &target.display().to_string()))?;
        let location = version.display().to_string();
        let command = host.command(&["deploy-local", "-g", "g", "-e", "BeforeInstall", "-l", &location])?;
        let output = program::output(place, &mut around(command)?);
        fs::write(&appspec, template)?;
        let output = output?;
        ensure!(output.status.success(), "{output:?}");
    }
    let transactions = host.root().join(".slipway/tx");
    ensure!(fs::read_dir(&transactions)?.next().is_none(), "a transaction is left");
    tree(&target)
}

/// The same command under a `strace` that takes calls away.
fn traced(command: &Command, lacking: &Lacking, log: &Path) -> Command {
    let names: Vec<&str> = lacking.calls.iter().map(|(call, _)| *call).collect();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-A", "-o"]).arg(log).args(["-e", &format!("trace={}", names.join(","))]);
    for (call, error) in lacking.calls {
        traced.args(["-e", &format!("inject={call}:error={error}")]);
    }
    traced.arg(command.get_program()).args(command.get_args());
    traced
}

/// Everything below a directory: what an install sets of it.
fn tree(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let mut shown = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
            if metadata.is_dir() {
                ahead.push(path.clone());
            } else if metadata.is_symlink() {
                shown += &fs::read_link(&path)?.display().to_string();
            } else {
                let start: String = fs::read_to_string(&path)?.chars().take(20).collect();
                shown += &format!(" {} {} bytes {start}", metadata.mtime(), metadata.len());
            }
            found.insert(path.strip_prefix(root)?.to_owned(), shown);
        }
    }
    Ok(found)
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Says why something is not tested here. Past the harness, which keeps what tests print that pass.
fn skipped(why: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped, since {why}\n"));
}
