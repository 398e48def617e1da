//! A full disk. As root, on a small tmpfs; elsewhere these say that they were skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::run;
use slipway_tests::revision::{BundleKind, Revision, app};

use crate::expect::{contains, failed_in, names, page, succeeded};

/// A small file system of its own; unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(place: &Place, at: &Path) -> Result<Option<Self>> {
        Self::of_mebibytes(16, place, at)
    }

    pub(crate) fn of_mebibytes(size: u32, place: &Place, at: &Path) -> Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: only root can mount a small disk\n"),
            );
            return Ok(None);
        }
        std::fs::create_dir_all(at)?;
        let mut command = Command::new("mount");
        match run(place, command.args(["-t", "tmpfs", "-o", &format!("size={size}m,mode=755"), "tmpfs"]).arg(at)) {
            Ok(_) => Ok(Some(Self(at.to_owned()))),
            Err(error) => {
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("skipped: no tmpfs can be mounted here: {error:#}\n"),
                );
                Ok(None)
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// An application with a file that does not compress.
fn large(destination: &Path, page: &str, bytes: usize) -> Revision {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    app(destination, page, &[]).file("content/noise", noise)
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_before_it_is_fetched() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let Some(_disk) = SmallDisk::mount(place, &fleet.agent.root())? else { return Ok(()) };
        fleet.agent.start()?;
        let destination = place.path().join("app");
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &app(&destination, "one", &[]), BundleKind::Zip)?)?)?;
        let bundle = fleet.group.push("v2", &large(&destination, "two", 30_000_000), BundleKind::Zip)?;
        let message = failed_in(&fleet.group.deploy(&bundle)?, "DownloadBundle")?;
        contains(&message, &["need", "available"])?;
        ensure!(page(&destination)? == "one");
        // And the host is still of use.
        succeeded(&fleet.group.deploy(&fleet.group.push(
            "v3",
            &app(&destination, "three", &[]),
            BundleKind::Zip,
        )?)?)?;
        ensure!(page(&destination)? == "three");
        fleet.agent.stop()
    })
}

#[test]
fn an_install_that_does_not_fit_leaves_the_old_revision_untouched() -> Result<()> {
    scenario(|place| {
        let disk = place.path().join("disk");
        let Some(_disk) = SmallDisk::mount(place, &disk)? else { return Ok(()) };
        let fleet = Fleet::start(place)?;
        let destination = disk.join("app");
        let first = large(&destination, "one", 1_000_000);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &first, BundleKind::Tgz)?)?)?;
        let before = names(&destination);
        let bundle = fleet.group.push("v2", &large(&destination, "two", 30_000_000), BundleKind::Tgz)?;
        let message = failed_in(&fleet.group.deploy(&bundle)?, "Install")?;
        contains(&message, &["need", "available"])?;
        ensure!(page(&destination)? == "one");
        ensure!(names(&destination) == before, "{:?}", names(&destination));
        ensure!(names(&disk) == ["app"], "{:?}", names(&disk));
        Ok(())
    })
}

#[test]
fn a_local_deploy_to_a_full_disk_says_so_too() -> Result<()> {
    scenario(|place| {
        let disk = place.path().join("disk");
        let Some(_disk) = SmallDisk::mount(place, &disk)? else { return Ok(()) };
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        large(&disk.join("app"), "page", 30_000_000).write(&directory)?;
        let output = host.output(&["deploy-local", "-l", &directory.display().to_string()])?;
        ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
        ensure!(names(&disk).is_empty(), "{:?}", names(&disk));
        Ok(())
    })
}
