//! SELinux labels, as an operator sees them. The labels are real, in the attribute where SELinux looks for them. The
//! `semanage` is a stand-in of the same words, first in PATH, that keeps its rules in a file: the real one needs a
//! policy to build.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use slipway_tests::agent::Agent;
use slipway_tests::binaries::repository;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::Revision;

use crate::expect::contains;

const HTTPD: &str = "system_u:object_r:httpd_sys_content_t:s0";

struct Host<'a> {
    place: &'a Place,
    agent: Agent<'a>,
    programs: PathBuf,
    app: PathBuf,
}

impl<'a> Host<'a> {
    /// Where labels can be had; nothing where not.
    fn new(place: &'a Place) -> Result<Option<Self>> {
        let target = place.directory("target")?;
        if fs::read_to_string("/proc/self/mountinfo")?.contains(" - selinuxfs ") {
            skipped("this host has a policy of its own, which the labels of these tests may not be in");
            return Ok(None);
        }
        if let Err(error) = set_label(&target, "system_u:object_r:tmp_t:s0") {
            skipped(&format!("no label can be set here: {error}"));
            return Ok(None);
        }
        let programs = place.directory("programs")?;
        symlink(repository().join("agent/src/install/tests/semanage.sh"), programs.join("semanage"))?;
        Ok(Some(Self { place, agent: Agent::alone(place, "web-1")?, programs, app: target.join("app") }))
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH")?);
        program::output(self.place, self.agent.command(arguments)?.env("PATH", path))
    }

    fn run(&self, command: &str, revision: &Revision, options: &[&str]) -> Result<Output> {
        let directory = self.place.directory("revision")?;
        revision.write(&directory)?;
        let location = directory.display().to_string();
        self.output(&[&[command, "-l", &location, "-g", "g"], options].concat())
    }

    fn revision(&self, permissions: &str) -> Revision {
        let app = self.app.display().to_string();
        let permissions = permissions.replace("APP", &app);
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {app}}}\npermissions:{permissions}\n"
        );
        Revision::with_appspec(&appspec).file("content/page.html", "p").file("content/plain", "p")
    }

    fn rules(&self) -> Result<String> {
        Ok(fs::read_to_string(self.programs.join("rules"))?)
    }
}

fn set_label(path: &Path, label: &str) -> rustix::io::Result<()> {
    let bytes = format!("{label}\0");
    rustix::fs::lsetxattr(path, "security.selinux", bytes.as_bytes(), rustix::fs::XattrFlags::empty())
}

fn label(path: &Path) -> Result<String> {
    let mut buffer = [0; 256];
    let length = rustix::fs::lgetxattr(path, "security.selinux", &mut buffer)?;
    Ok(String::from_utf8(buffer[..length].to_vec())?.trim_end_matches('\0').to_owned())
}

fn said(output: &Output, code: i32) -> Result<String> {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(code), "it ended with {}, not {code}: {said}", output.status);
    Ok(said)
}

/// Says why something is not tested here. Past the harness, which keeps what tests print that pass.
fn skipped(why: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped, since {why}\n"));
}

#[test]
fn labels_are_planned_given_watched_and_taken_back() -> Result<()> {
    scenario(|place| {
        let Some(host) = Host::new(place)? else { return Ok(()) };
        let page = host.app.join("page.html");
        let expression = page.display().to_string().replace('.', "\\.");
        let labelled = host.revision("\n  - {object: APP/page.html, context: {type: httpd_sys_content_t}}");
        let planned = said(&host.run("plan", &labelled, &[])?, 0)?;
        let rule = format!("SELinux rule for {expression}: none → {HTTPD}");
        contains(&planned, &["+ page.html", "with an SELinux label", &rule, "SELinux is not enabled"])?;
        ensure!(!host.programs.join("rules").exists() || host.rules()?.is_empty(), "planning made a rule");
        let planned = host.run("plan", &labelled, &["--json"])?;
        let planned: Value = serde_json::from_slice(&planned.stdout)?;
        ensure!(planned["rules"] == json!([{"paths": expression, "was": null, "becomes": HTTPD}]), "{planned}");
        ensure!(planned["changes"][1]["becomes"]["label"] == HTTPD, "{planned}");

        said(&host.run("deploy-local", &labelled, &[])?, 0)?;
        ensure!(label(&page)? == HTTPD && label(&host.app.join("plain")).is_err());
        ensure!(host.rules()? == format!("{expression} {HTTPD}\n"), "{}", host.rules()?);
        let cleanup = fs::read_to_string(host.agent.root().join("deployment-instructions/g-cleanup"))?;
        contains(&cleanup, &[&format!("{0}\nsemanage\0{0}\n", page.display())])?;
        said(&host.output(&["drift"])?, 0)?;
        let again = said(&host.run("plan", &labelled, &[])?, 0)?;
        ensure!(!again.contains("label ") && !again.contains("SELinux rule"), "{again}");

        let other = "system_u:object_r:etc_t:s0";
        set_label(&page, other)?;
        let drifted = said(&host.output(&["drift"])?, 1)?;
        contains(&drifted, &[&format!("{}: label {HTTPD} → {other}", page.display())])?;
        let planned = said(&host.run("plan", &labelled, &[])?, 0)?;
        contains(&planned, &[&format!("label {other} → {HTTPD}")])?;
        said(&host.run("deploy-local", &labelled, &[])?, 0)?;

        let unlabelled = host.revision("");
        let planned = said(&host.run("plan", &unlabelled, &[])?, 0)?;
        let gone = format!("SELinux rule for {expression}: {HTTPD} → none");
        contains(&planned, &[&format!("label {HTTPD} → that of its directory"), &gone])?;
        said(&host.run("deploy-local", &unlabelled, &[])?, 0)?;
        ensure!(host.rules()?.is_empty() && label(&page).is_err(), "{}", host.rules()?);
        Ok(())
    })
}

#[test]
fn a_label_that_the_host_cannot_give_changes_nothing() -> Result<()> {
    scenario(|place| {
        let Some(host) = Host::new(place)? else { return Ok(()) };
        let labelled = host.revision("\n  - {object: APP/page.html, context: {type: no_such_t}}");
        let failed = said(&host.run("deploy-local", &labelled, &[])?, 1)?;
        contains(&failed, &["Type no_such_t is invalid", "everything was put back as it was"])?;
        ensure!(!host.app.exists() && host.rules()?.is_empty(), "{}", host.rules()?);
        // The same host as a stranger to SELinux.
        fs::remove_file(host.programs.join("semanage"))?;
        if has_semanage() {
            skipped("this host has a semanage of its own");
            return Ok(());
        }
        let refused = said(&host.run("plan", &labelled, &[])?, 3)?;
        contains(&refused, &["line 6: `context` needs the command `semanage`", "policycoreutils-python-utils"])?;
        said(&host.run("deploy-local", &labelled, &[])?, 1)?;
        ensure!(!host.app.exists());
        host.agent.configure("10-strict.yml", "profile: strict\n")?;
        let unconfined = host.revision("\n  - {object: APP/page.html, context: {type: unconfined_t}}");
        let refused = said(&host.run("plan", &unconfined, &[])?, 3)?;
        contains(&refused, &["a label of what nothing confines", "reject_unconfined_selinux_in_bundle"])?;
        Ok(())
    })
}

fn has_semanage() -> bool {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|directory| Path::new(directory).join("semanage").exists())
}
