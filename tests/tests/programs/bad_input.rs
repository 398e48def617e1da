//! Hosts and AppSpecs that an install cannot work with: each is refused with the path and what to do about it,
//! and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::Revision;

use crate::expect::contains;

/// A host with a first revision installed at `target/app`.
struct Host<'a> {
    place: &'a Place,
    agent: Agent<'a>,
    target: PathBuf,
}

impl<'a> Host<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        Self::with(place, place.directory("target")?)
    }

    fn with(place: &'a Place, target: PathBuf) -> Result<Self> {
        let host = Self { place, agent: Agent::alone(place, "web-1")?, target };
        let first = host.revision("first", "")?.file("content/file", "one").file("content/gone", "g");
        let (code, said) = host.deploy("first", &first)?;
        ensure!(code == Some(0), "{said}");
        Ok(host)
    }

    fn revision(&self, name: &str, rest: &str) -> Result<Revision> {
        self.place.directory(name)?;
        let destination = self.destination().display().to_string();
        let rest = rest.replace("DESTINATION", &destination);
        Ok(Revision::with_appspec(&format!(
            "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {destination}}}\n{rest}"
        )))
    }

    fn destination(&self) -> PathBuf {
        self.target.join("app")
    }

    fn deploy(&self, name: &str, revision: &Revision) -> Result<(Option<i32>, String)> {
        let directory = self.place.path().join(name);
        revision.clone().write(&directory)?;
        self.run("deploy-local", &directory)
    }

    fn run(&self, command: &str, directory: &Path) -> Result<(Option<i32>, String)> {
        let output = self.agent.output(&[command, "-l", &directory.display().to_string(), "-g", "g"])?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), said))
    }

    /// Plans and deploys a revision: both say all of `parts`, and nothing is changed.
    fn refuses(&self, revision: &Revision, plan_code: i32, parts: &[&str]) -> Result<()> {
        let before = (tree(&self.target)?, self.state()?);
        let (code, said) = self.deploy("second", revision)?;
        ensure!(code == Some(1), "{code:?}: {said}");
        contains(&said, parts)?;
        ensure!((tree(&self.target)?, self.state()?) == before, "a refused deployment changed something");
        let (code, said) = self.run("plan", &self.place.path().join("second"))?;
        ensure!(code == Some(plan_code), "{code:?}: {said}");
        contains(&said, parts)?;
        ensure!((tree(&self.target)?, self.state()?) == before, "planning changed something");
        Ok(())
    }

    /// What the agent knows of what it installed, and whether it has left a transaction.
    fn state(&self) -> Result<BTreeMap<PathBuf, String>> {
        let own = self.agent.root().join(".slipway");
        let mut state = tree(&own.join("manifests"))?;
        state.extend(tree(&own.join("tx"))?);
        Ok(state)
    }

    fn manifest(&self) -> PathBuf {
        self.agent.root().join(".slipway/manifests/g.json")
    }
}

/// Everything below a directory: what it is, whose, and its content.
fn tree(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let mut shown = format!("{:o} {}:{} {}", metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime());
            if metadata.is_dir() {
                ahead.push(path.clone());
            } else if metadata.is_file() {
                shown += &format!("{:?}", fs::read(&path)?);
            }
            found.insert(path, shown);
        }
    }
    Ok(found)
}

/// Says why something is not tested here. Past the harness, which keeps what tests print that pass.
fn skipped(why: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped, since {why}\n"));
}

/// A file system in memory, unmounted at the end; nothing where this host mounts none.
struct Mounted(PathBuf);

impl Mounted {
    fn new(point: PathBuf, options: &str) -> Result<Option<Self>> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&point).output()?;
        if mounted.status.success() {
            return Ok(Some(Self(point)));
        }
        skipped(&format!("nothing can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr)));
        Ok(None)
    }

    fn remount(&self, options: &str) -> Result<()> {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status()?;
        ensure!(status.success(), "mount ended with {status}");
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Files that cannot be changed, until dropped; nothing where this file system has no such thing.
struct Sealed(Vec<PathBuf>);

impl Sealed {
    fn new(paths: Vec<PathBuf>) -> Result<Option<Self>> {
        let sealed = Self(paths);
        for path in &sealed.0 {
            if let Err(error) = seal(path, |flags| flags | IFlags::IMMUTABLE) {
                skipped(&format!("nothing can be made immutable here: {error:#}"));
                return Ok(None);
            }
        }
        Ok(Some(sealed))
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        for path in &self.0 {
            let opened = seal(path, |flags| flags - IFlags::IMMUTABLE);
            assert!(opened.is_ok() || std::thread::panicking(), "{opened:?}");
        }
    }
}

fn seal(path: &Path, change: impl Fn(IFlags) -> IFlags) -> Result<()> {
    let open = fs::File::open(path)?;
    let flags = ioctl_getflags(&open)?;
    if change(flags) != flags {
        ioctl_setflags(&open, change(flags))?;
    }
    Ok(())
}

#[test]
fn accounts_that_the_host_lacks() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let rest = "permissions:\n  - object: DESTINATION/file\n    owner: no-such-user-anywhere\n    \
                    group: no-such-group-anywhere\n    acls: ['u:nobody-at-all:r']\n";
        let revision = host.revision("second", rest)?.file("content/file", "two");
        host.refuses(
            &revision,
            3,
            &[
                "line 6: this host has no user \"no-such-user-anywhere\"; create it before the deployment",
                "line 6: this host has no group \"no-such-group-anywhere\"",
                "line 6: this host has no user \"nobody-at-all\"",
            ],
        )
    })
}

#[test]
fn two_rules_for_one_path() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let rest = "permissions:\n  - {object: DESTINATION, pattern: '*', mode: 0640}\n\
                    \x20 - {object: DESTINATION/file, mode: 0600}\n";
        let revision = host.revision("second", rest)?.file("content/file", "two");
        let path = host.destination().join("file");
        host.refuses(
            &revision,
            3,
            &[&format!("the permissions entries in lines 6 and 7 both mean {}", path.display()), "narrow one of them"],
        )?;
        let rest = "  - {source: other, destination: DESTINATION}\n";
        let revision = host.revision("second", rest)?.file("content/file", "two").file("other/file", "three");
        host.refuses(&revision, 3, &["two sources go to", "content/file", "other/file", "remove one of them"])
    })
}

#[test]
fn a_file_system_that_is_mounted_read_only() -> Result<()> {
    scenario(|place| {
        let Some(mounted) = Mounted::new(place.directory("target")?, "size=4m")? else { return Ok(()) };
        let host = Host::new(place)?;
        mounted.remount("ro")?;
        let revision = host.revision("second", "")?.file("content/file", "two").file("content/new", "n");
        let (at, point) = (host.destination().display().to_string(), place.path().join("target"));
        let said = format!("the file system of {at} is mounted read-only on {}", point.display());
        let remedy = format!("`mount -o remount,rw {}`", point.display());
        host.refuses(&revision, 3, &["app/file", "app/new", "app/gone cannot be changed", &said, &remedy])?;
        mounted.remount("rw")?;
        let (code, said) = host.deploy("second", &revision)?;
        ensure!(code == Some(0), "{said}");
        Ok(())
    })
}

#[test]
fn a_file_system_without_room_or_inodes() -> Result<()> {
    scenario(|place| {
        let Some(mounted) = Mounted::new(place.directory("target")?, "size=1m,nr_inodes=24")? else { return Ok(()) };
        let host = Host::new(place)?;
        let large = host.revision("second", "")?.file("content/file", "x".repeat(2 << 20));
        let at = format!("the file system mounted on {} has too little room", mounted.0.display());
        host.refuses(&large, 1, &[&at, "needed are 2097152 bytes", "free some", "du -xh"])?;
        let mut many = host.revision("second", "")?;
        for number in 0..40 {
            many = many.file(&format!("content/{number}"), "x");
        }
        fs::remove_dir_all(place.path().join("second"))?;
        host.refuses(&many, 1, &[&at, "and 40 inodes", "available are"])
    })
}

#[test]
fn files_that_are_immutable() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let paths = ["file", "gone"].map(|name| host.destination().join(name));
        let Some(sealed) = Sealed::new(paths.to_vec())? else { return Ok(()) };
        let revision = host.revision("second", "")?.file("content/file", "two");
        let parts =
            paths.each_ref().map(|path| format!("{} cannot be changed: it is marked immutable", path.display()));
        host.refuses(&revision, 3, &[&parts[0], &parts[1], "chattr -i -a"])?;
        drop(sealed);
        let (code, said) = host.deploy("second", &revision)?;
        ensure!(code == Some(0), "{said}");
        Ok(())
    })
}

#[test]
fn a_manifest_that_is_damaged() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let manifest = host.manifest();
        let whole = fs::read_to_string(&manifest)?;
        let revision = host.revision("second", "")?.file("content/file", "two");
        let name = manifest.display().to_string();
        let parts = [name.as_str(), "restore the file, or move it away"];
        // Another path, which somebody else may own: without a checksum it would be removed as the group's own.
        let other = whole.replacen("app/gone", "app/mine", 1);
        for damaged in ["", &whole[..whole.len() / 2], &whole.replacen('{', "[", 1), &other] {
            fs::write(&manifest, damaged)?;
            fs::write(host.destination().join("mine"), "m")?;
            host.refuses(&revision, 1, &parts)?;
            // Nor does another group go on, which cannot know whose is whose.
            let directory = place.path().join("second").display().to_string();
            let neighbour = host.agent.output(&["deploy-local", "-l", &directory, "-g", "neighbour"])?;
            ensure!(neighbour.status.code() == Some(1), "{neighbour:?}");
            contains(&String::from_utf8_lossy(&neighbour.stderr), &parts)?;
        }
        let newer = whole.replacen("\"format\":1", "\"format\":99", 1);
        fs::write(&manifest, newer)?;
        host.refuses(&revision, 1, &[&name, "has format 99", "install the newer slipway-agent"])?;
        fs::write(&manifest, &whole)?;
        let (code, said) = host.deploy("second", &revision)?;
        ensure!(code == Some(0), "{said}");
        ensure!(!host.destination().join("gone").exists() && host.destination().join("mine").exists());
        Ok(())
    })
}

/// A host that died in the middle of an install, with a journal that the disk then damaged.
#[test]
fn a_journal_that_is_damaged_in_the_middle() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let directory = place.directory("second")?;
        let revision = host.revision("second", "")?.file("content/file", "two").file("content/new", "n");
        revision.write(&directory)?;
        let Some(journal) = cut_off(&host, &directory)? else { return Ok(()) };
        let whole = fs::read(&journal)?;
        let middle = whole.iter().position(|byte| *byte == b'\n').context("a record")? + 40;
        let mut damaged = whole.clone();
        damaged[middle] ^= 4;
        fs::write(&journal, &damaged)?;
        let before = tree(&host.target)?;
        let name = journal.display().to_string();
        let parts = [name.as_str(), "is damaged", "nothing was touched", "check the disk", "recover --abandon"];
        let arguments: [&[&str]; 2] =
            [&["recover"], &["deploy-local", "-g", "g", "-l", &directory.display().to_string()]];
        for arguments in arguments {
            let output = host.agent.output(arguments)?;
            ensure!(output.status.code() == Some(1), "{output:?}");
            contains(&String::from_utf8_lossy(&output.stderr), &parts)?;
            ensure!(tree(&host.target)? == before, "{arguments:?} changed something");
            ensure!(fs::read(&journal)? == damaged, "{arguments:?} changed the journal");
        }
        fs::write(&journal, &whole)?;
        let recovered = host.agent.output(&["recover"])?;
        ensure!(recovered.status.success(), "{recovered:?}");
        ensure!(!journal.exists(), "the transaction is still there");
        Ok(())
    })
}

/// Kills a deployment in its install; answers the journal that it leaves.
fn cut_off(host: &Host<'_>, directory: &Path) -> Result<Option<PathBuf>> {
    let location = directory.display().to_string();
    let command = host.agent.command(&["deploy-local", "-g", "g", "-l", &location])?;
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:signal=KILL:when=1"])
        .args(["-P", &host.destination().display().to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .output();
    if !traced.is_ok_and(|output| !output.status.success()) {
        skipped("there is no strace to end the agent in the middle of an install");
        return Ok(None);
    }
    let transactions: Vec<_> =
        fs::read_dir(host.agent.root().join(".slipway/tx"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let [transaction] = &transactions[..] else { anyhow::bail!("{transactions:?} are left, not one transaction") };
    Ok(Some(transaction.join("journal")))
}
