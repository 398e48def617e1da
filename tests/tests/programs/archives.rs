//! Archives as other people's tools make them, and what is mounted below the agent's directories: from the command line
//! to the files of the host.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::app;

use crate::expect::{contains, page};

fn shell(place: &Place, line: &str) -> Result<()> {
    let output = Command::new("sh").args(["-euc", line]).current_dir(place.path()).output()?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// All that a local deployment says, on both outputs.
fn deployed(host: &Agent<'_>, location: &Path, kind: &str) -> Result<String> {
    let location = location.display().to_string();
    let output = host.output(&["deploy-local", "-l", &location, "-t", kind, "-g", "g1"])?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{location} ended with {}:\n{said}", output.status);
    Ok(said)
}

#[test]
fn archives_of_every_tool_are_deployed_and_what_is_not_as_they_have_it_is_told() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let tree = place.directory("tree")?;
        for (number, (kind, pack, told)) in [
            // As the Finder packs a directory.
            (
                "tar",
                "mkdir -p m/__MACOSX; cp -r tree m/app; touch m/__MACOSX/._app; tar cf b -C m .; rm -r m",
                "__MACOSX",
            ),
            ("tar", "tar cf b -C tree .; tar rf b -C tree ./appspec.yml", "appspec.yml"),
            // tar makes of the second one a link to the first.
            ("tgz", "tar czf b -C tree appspec.yml content .", ""),
            ("tar", "tar cf b -V 'Build 42' -C tree .", ""),
            ("tgz", "tar czf b -C tree .; head -c 512 /dev/zero >> b", ""),
            ("tar", "tar cf b --format=posix --pax-option='comment:=built\nby ci' -C tree .", ""),
            ("tar", "tar cf b -P --transform='s,^\\./,/,' -C tree .", ""),
        ]
        .into_iter()
        .enumerate()
        {
            app(&destination, &format!("page {number}"), &[]).write(&tree)?;
            shell(place, pack)?;
            let said = deployed(&host, &place.path().join("b"), kind)?;
            contains(&said, &[told])?;
            ensure!(page(&destination)? == format!("page {number}"), "{pack}");
        }
        shell(place, "printf '\\375\\067\\172\\130\\132\\000rest' > b")?;
        let location = place.path().join("b").display().to_string();
        let refused = host.output(&["deploy-local", "-l", &location, "-t", "tar", "-g", "g1"])?;
        let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
        ensure!(!refused.status.success());
        contains(&said, &["xz", "gzip"])
    })
}

/// Ends a mount.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn an_old_revision_that_something_is_mounted_in_stays_and_the_mount_is_named() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("20-retention.yml", "max_revisions: 1\n")?;
        let (precious, tree) = (place.directory("precious")?, place.directory("tree")?);
        std::fs::write(precious.join("db"), "rows")?;
        app(&place.path().join("app"), "page", &[]).file("content/data/x", "x").write(&tree)?;
        deployed(&host, &tree, "directory")?;
        let group = host.root().join("g1");
        let old: Vec<PathBuf> = std::fs::read_dir(&group)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let [old] = &old[..] else { anyhow::bail!("{old:?}") };
        let point = old.join("deployment-archive/content/data");
        if !Command::new("mount").arg("--bind").args([&precious, &point]).status()?.success() {
            return Ok(std::io::stderr().write_all(b"skipped: nothing can be mounted here\n")?);
        }
        let unmount = Unmount(point.clone());
        deployed(&host, &tree, "directory")?;
        let said = deployed(&host, &tree, "directory")?;
        contains(&said, &[&format!("umount {}", point.display())])?;
        ensure!(std::fs::read(precious.join("db"))? == b"rows");
        ensure!(old.join("deployment-archive/appspec.yml").exists(), "the revision is whole");
        drop(unmount);
        deployed(&host, &tree, "directory")?;
        ensure!(!old.exists() && std::fs::read(precious.join("db"))? == b"rows");
        Ok(())
    })
}
