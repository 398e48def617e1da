//! Whose the unpacked revision is: the agent's alone, whatever owners the archive has. Another user tries to edit what
//! root is about to run, between the events of a deployment and between deployments.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};

use crate::expect::contains;

/// The user whom the archives give their files to.
const USER: u32 = 1000;
const GROUP: u32 = 1001;

/// A host, and an application of which each version says what it runs.
struct Scene<'a> {
    place: &'a Place,
    host: Agent<'a>,
}

impl<'a> Scene<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        let host = Agent::alone(place, "web-1")?;
        for directory in [host.home().to_owned(), host.root()] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { place, host })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Packs a version. Its files are the user's, and the group may write to them.
    fn pack(&self, version: &str, before: &str) -> Result<PathBuf> {
        let tree = self.place.directory("tree")?;
        let ran = self.path("ran");
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {}\nhooks:\n  ApplicationStop:\n    \
             - location: stop.sh\n  BeforeInstall:\n    - location: before.sh\n  AfterInstall:\n    - location: after.sh\n",
            self.path("app").display()
        );
        std::fs::create_dir_all(tree.join("content/sub"))?;
        std::fs::write(tree.join("appspec.yml"), appspec)?;
        std::fs::write(tree.join("content/sub/page"), version)?;
        std::fs::write(tree.join("before.sh"), format!("#!/bin/sh\n{before}\n"))?;
        // Unpacking it takes longer than the clock of a file system needs to tick, so the scripts' digests are put down.
        std::fs::write(tree.join("filler"), vec![7; 32 << 20])?;
        for name in ["stop", "after"] {
            let script = format!("#!/bin/sh\necho {name} {version} >> {}\n", ran.display());
            std::fs::write(tree.join(format!("{name}.sh")), script)?;
        }
        let bundle = self.path(&format!("{version}.tar"));
        let pack = format!(
            "umask 022; chmod 664 content/sub/page; chmod 2775 content/sub; chmod 775 *.sh; \
             tar cf {} --numeric-owner --owner={USER} --group={GROUP} stop.sh appspec.yml after.sh before.sh content filler",
            bundle.display()
        );
        let packed = Command::new("sh").args(["-euc", &pack]).current_dir(&tree).output()?;
        ensure!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        Ok(bundle)
    }

    fn deploy(&self, bundle: &Path) -> Result<(bool, String)> {
        let location = bundle.display().to_string();
        let output = self.host.output(&["deploy-local", "-l", &location, "-t", "tar", "-g", "g1"])?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), said))
    }

    fn deployed(&self, bundle: &Path) -> Result<String> {
        let (done, said) = self.deploy(bundle)?;
        ensure!(done, "{said}");
        Ok(said)
    }

    fn ran(&self) -> String {
        std::fs::read_to_string(self.path("ran")).unwrap_or_default()
    }

    /// The revision that was unpacked last.
    fn archive(&self) -> Result<PathBuf> {
        let group = self.host.root().join("g1");
        let mut found: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(&group)?
            .map(|entry| {
                let path = entry?.path().join("deployment-archive");
                anyhow::Ok((path.metadata()?.modified()?, path))
            })
            .collect::<Result<_>>()?;
        found.sort();
        found.pop().map(|(_, path)| path).context("there is no revision")
    }

    /// Makes a revision as versions before this one left it: the archive's owners, and no list of them.
    fn as_earlier_versions_left_it(&self, archive: &Path) -> Result<()> {
        let list = archive.with_file_name(".deployment-archive.attributes");
        std::fs::remove_file(list)?;
        let archive = archive.display();
        let line = format!(
            "cd {archive} && chown -R {USER}:{GROUP} * && chmod 664 content/sub/page && chmod 2775 content/sub && chmod 775 *.sh"
        );
        let done = Command::new("sh").args(["-euc", &line]).status()?;
        ensure!(done.success());
        Ok(())
    }

    /// Owner, group and mode of what is installed.
    fn installed(&self) -> Result<(u32, u32, u32)> {
        let stat = self.path("app/sub/page").metadata().context("look at what is installed")?;
        Ok((stat.uid(), stat.gid(), stat.mode() & 0o7777))
    }
}

/// Runs a line of shell as the user. Says whether it succeeded.
fn as_user(line: &str) -> Result<bool> {
    let (user, group) = (USER.to_string(), GROUP.to_string());
    let output = Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &group, "--clear-groups", "sh", "-euc", line])
        .output()?;
    Ok(output.status.success())
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root() && as_user("true").unwrap_or(false);
    if !is_root {
        let _ =
            std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: this is for root, and setpriv\n"));
    }
    is_root
}

/// A running BeforeInstall is the moment between DownloadBundle and the next hook.
#[test]
fn a_user_whom_the_archive_names_cannot_edit_a_hook_before_root_runs_it() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let scene = Scene::new(place)?;
        let edit = "for way in 'echo echo edited >> $0' 'rm -f $0' 'mv $0 $0.old' 'chmod 777 $0' 'ln -sf /bin/false $0' \
                    'touch $(dirname $0)/new' 'touch $(dirname $0)/content/new' 'echo x > $(dirname $0)/content/sub/page'; do \
                    setpriv --reuid 1000 --regid 1001 --clear-groups sh -c \"$way\" $PWD/$(dirname $0)/after.sh \
                    2>/dev/null && echo \"could $way\" >> RAN; done; echo tried >> RAN";
        let edit = edit
            .replace("RAN", &scene.path("ran").display().to_string())
            .replace("$PWD/$(dirname $0)", "$(dirname \"$(readlink -f \"$0\")\")");
        scene.deployed(&scene.pack("v1", &edit)?)?;
        ensure!(scene.ran() == "tried\nafter v1\n", "{}", scene.ran());
        let archive = scene.archive()?;
        for name in ["", "after.sh", "appspec.yml", "content", "content/sub/page"] {
            let stat = archive.join(name).metadata()?;
            ensure!((stat.uid(), stat.gid(), stat.mode() & 0o7022) == (0, 0, 0), "{name}: {stat:?}");
        }
        // The archive counts where it is installed.
        ensure!(scene.installed()? == (USER, GROUP, 0o664), "{:?}", scene.installed()?);
        // And after a rollback too.
        scene.deployed(&scene.pack("v2", "true")?)?;
        let rolled = scene.host.output(&["rollback", "--group", "g1"])?;
        ensure!(rolled.status.success(), "{}", String::from_utf8_lossy(&rolled.stderr));
        ensure!(std::fs::read_to_string(scene.path("app/sub/page"))? == "v1");
        ensure!(scene.installed()? == (USER, GROUP, 0o664), "{:?}", scene.installed()?);
        Ok(())
    })
}

#[test]
fn a_revision_of_an_earlier_version_is_taken_from_its_user_before_root_runs_its_scripts() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let scene = Scene::new(place)?;
        scene.deployed(&scene.pack("v1", "true")?)?;
        let archive = scene.archive()?;
        scene.as_earlier_versions_left_it(&archive)?;
        let said = scene.deployed(&scene.pack("v2", "true")?)?;
        ensure!(scene.ran().contains("stop v1\n"), "{}: {said}", scene.ran());
        for name in ["", "stop.sh", "content", "content/sub/page"] {
            let stat = archive.join(name).metadata()?;
            ensure!((stat.uid(), stat.gid(), stat.mode() & 0o7022) == (0, 0, 0), "{name}: {stat:?}");
        }
        ensure!(!as_user(&format!("echo edited >> {}", archive.join("stop.sh").display()))?);
        // What is installed of it has the owners that it had.
        let rolled = scene.host.output(&["rollback", "--group", "g1"])?;
        ensure!(rolled.status.success(), "{}", String::from_utf8_lossy(&rolled.stderr));
        ensure!(scene.installed()? == (USER, GROUP, 0o664), "{:?}", scene.installed()?);
        Ok(())
    })
}

#[test]
fn a_script_of_an_old_revision_that_a_user_edited_is_not_run() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let scene = Scene::new(place)?;
        let first = scene.pack("v1", "true")?;
        // On a machine that is fast enough, they are not put down each time.
        let mut archive = PathBuf::new();
        for _ in 0..20 {
            scene.deployed(&first)?;
            archive = scene.archive()?;
            let digests = std::fs::read(archive.with_file_name(".deployment-archive.digests"))?;
            if digests.windows(7).any(|window| window == b"stop.sh") {
                break;
            }
        }
        scene.as_earlier_versions_left_it(&archive)?;
        ensure!(as_user(&format!(
            "echo echo edited '>>' {} >> {}/stop.sh",
            scene.path("ran").display(),
            archive.display()
        ))?);
        let second = scene.pack("v2", "true")?;
        // Not the second time either, when nobody else can change it any more.
        for could in ["user 1000, who owned", "others could change it"] {
            let (done, said) = scene.deploy(&second)?;
            ensure!(!done && !scene.ran().contains("edited"), "{}: {said}", scene.ran());
            contains(&said, &["stop.sh", "is not what was unpacked", could, "slipway-agent forget --group g1"])?;
        }
        let forgot = scene.host.output(&["forget", "--group", "g1"])?;
        ensure!(forgot.status.success(), "{}", String::from_utf8_lossy(&forgot.stderr));
        scene.deployed(&second)?;
        Ok(())
    })
}
