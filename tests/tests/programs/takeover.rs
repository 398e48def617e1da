//! Hosts on which AWS's agent was before, and on which it will be after: the files in `deployment-instructions`,
//! laid out here as that agent does it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::{APPLICATION, Fleet};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};

use crate::expect::{contains, succeeded};

const GROUP: &str = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901";
const OLD: &str = "d-0LDAGENT1";

/// A host as AWS's agent leaves it after one deployment.
struct Host<'a> {
    agent: Agent<'a>,
    place: &'a Place,
    target: PathBuf,
}

impl<'a> Host<'a> {
    fn new(place: &'a Place) -> Result<Self> {
        let host = Self { agent: Agent::alone(place, "web-1")?, place, target: place.directory("target")? };
        for (path, content) in [
            ("app/old", "o"),
            ("app/deep/only/old", "o"),
            ("app/kept", "old"),
            ("app/shared/old", "o"),
            ("app/shared/theirs", "t"),
            ("app/torn", "t"),
            ("app/theirs", "t"),
        ] {
            let path = host.target.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        symlink("kept", host.target.join("app/link"))?;
        // Its revision, with the script that stops what runs.
        let archive = host.agent.root().join(GROUP).join(OLD).join("deployment-archive");
        fs::create_dir_all(&archive)?;
        let stopped = format!("echo \"$DEPLOYMENT_ID\" > {}", host.stopped().display());
        app(&host.target.join("app"), "old", &[Hook::new("ApplicationStop", &stopped)]).write(&archive)?;
        let list = ["", "/link", "/old", "/deep", "/deep/only", "/deep/only/old", "/kept", "/shared", "/shared/old"];
        let app = host.target.join("app").display().to_string();
        let mut cleanup: String = list.iter().map(|path| format!("{app}{path}\n")).collect();
        // It was killed in the middle of a line.
        cleanup += &format!("{app}/torn");
        let revision = host.agent.root().join(GROUP).join(OLD).display().to_string();
        host.write_instruction("-cleanup", &cleanup)?;
        host.write_instruction("_last_successful_install", &revision)?;
        host.write_instruction("_most_recent_install", &revision)?;
        host.write_instruction("-install.json", "not for reading {")?;
        // What else that agent keeps in its root: none of it is a group, and none of it is in the way.
        for (file, content) in [
            (format!("{GROUP}/{OLD}/bundle.tar"), "the bundle"),
            (format!("{GROUP}/{OLD}/logs/scripts.log"), "2026-05-04 10:01:11 LifecycleEvent - ApplicationStop"),
            (format!("ongoing-deployment/{OLD}"), OLD),
            ("deployment-logs/codedeploy-agent-deployments.log".to_owned(), "[2026-05-04 10:01:11.000] said\n"),
        ] {
            let file = host.agent.root().join(file);
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(file, content)?;
        }
        Ok(host)
    }

    fn instruction(&self, ending: &str) -> PathBuf {
        self.agent.root().join("deployment-instructions").join(format!("{GROUP}{ending}"))
    }

    fn write_instruction(&self, ending: &str, text: &str) -> Result<()> {
        let file = self.instruction(ending);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        Ok(fs::write(file, text)?)
    }

    fn read_instruction(&self, ending: &str) -> Result<String> {
        Ok(fs::read_to_string(self.instruction(ending))?)
    }

    fn stopped(&self) -> PathBuf {
        self.place.path().join("stopped")
    }

    fn deploy(&self, name: &str, revision: &Revision) -> Result<String> {
        let directory = self.place.directory(name)?;
        revision.write(&directory)?;
        let location = directory.display().to_string();
        let events = "ApplicationStop,DownloadBundle,Install";
        let output = self.agent.output(&["deploy-local", "-l", &location, "-g", GROUP, "-e", events])?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{said}");
        Ok(said)
    }

    /// The deployment that is installed, as `status` knows it.
    fn current(&self) -> Result<String> {
        let status = self.agent.status()?;
        Ok(status["groups"][0]["last_successful"]["deployment"].as_str().unwrap_or_default().to_owned())
    }
}

/// What is below a directory: content of files, targets of links.
fn tree(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.display().to_string();
            if path.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path)?.display()));
            } else if path.is_dir() {
                found.insert(format!("{name}/"), String::new());
                ahead.push(path);
            } else {
                found.insert(name, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

fn expect(host: &Host<'_>, expected: &[(&str, &str)]) -> Result<()> {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect();
    let found = tree(&host.target)?;
    ensure!(found == expected, "{found:#?}, not {expected:#?}");
    Ok(())
}

/// What that agent does before its next install: each line from the last to the first.
fn clean_as_awss_agent_does(list: &str) -> Result<()> {
    ensure!(list.ends_with('\n'), "the last line is torn");
    for line in list.lines().rev() {
        ensure!(!line.starts_with("semanage\0"), "{line:?}");
        let path = Path::new(line);
        if path.is_dir() && !path.is_symlink() {
            // It removes directories that are empty, and leaves others.
            let _ = fs::remove_dir(path);
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[test]
fn what_awss_agent_installed_is_taken_over_and_handed_back() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        ensure!(host.current()? == OLD, "{}", host.current()?);
        let new = |extra: &str| {
            Revision::with_appspec(&format!(
                "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {}}}\n",
                host.target.join("app").display()
            ))
            .file("content/kept", "new")
            .file(extra, "n")
        };
        host.deploy("first", &new("content/fresh/new"))?;
        // The script that stops the old revision is the old revision's.
        ensure!(fs::read_to_string(host.stopped())?.starts_with("d-"), "the old stop script did not run");
        let left = [
            ("app/", ""),
            ("app/fresh/", ""),
            ("app/fresh/new", "n"),
            ("app/kept", "new"),
            ("app/shared/", ""),
            ("app/shared/theirs", "t"),
            ("app/theirs", "t"),
            ("app/torn", "t"),
        ];
        expect(&host, &left)?;
        let first = host.current()?;
        ensure!(first.ends_with("-local") && first != OLD, "{first}");
        let path = host.agent.root().join(GROUP).join(&first).display().to_string();
        for ending in ["_last_successful_install", "_most_recent_install"] {
            let text = host.read_instruction(ending)?;
            ensure!(text == path, "{ending} holds {text:?}");
        }
        let app = host.target.join("app").display().to_string();
        let cleanup = host.read_instruction("-cleanup")?;
        let expected: String =
            ["", "/fresh", "/fresh/new", "/kept"].iter().map(|path| format!("{app}{path}\n")).collect();
        ensure!(cleanup == expected, "{cleanup:?}");
        contains(&host.read_instruction("-install.json")?, &[&first, "app/fresh/new"])?;

        // What another agent writes there later counts. A marker that names nothing of the group does not.
        host.write_instruction("-cleanup", &format!("{cleanup}{app}/torn\n"))?;
        host.write_instruction("_last_successful_install", "/elsewhere")?;
        ensure!(host.current()? == first, "{}", host.current()?);
        host.deploy("second", &new("content/other"))?;
        ensure!(!host.target.join("app/torn").exists() && !host.target.join("app/fresh").exists());
        ensure!(host.read_instruction("_last_successful_install")?.ends_with(&host.current()?));

        // And that agent can go on from here.
        clean_as_awss_agent_does(&host.read_instruction("-cleanup")?)?;
        expect(&host, &[("app/", ""), ("app/shared/", ""), ("app/shared/theirs", "t"), ("app/theirs", "t")])
    })
}

#[test]
fn a_marker_that_names_nothing_of_the_group_is_passed_over() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        for wrong in ["", "/elsewhere/other-group/d-0LDAGENT1", "\0\u{1}", "/opt/x/../.."] {
            host.write_instruction("_last_successful_install", wrong)?;
            ensure!(host.current()?.is_empty(), "{wrong:?} is {}", host.current()?);
        }
        let revision = app(&host.target.join("app"), "page", &[]);
        host.deploy("first", &revision)?;
        ensure!(!host.stopped().exists(), "a script ran, and nobody knows whose");
        ensure!(fs::read_to_string(host.target.join("app/page"))? == "page");
        Ok(())
    })
}

/// A broken stop script of the old revision is forgotten like our own.
#[test]
fn what_was_taken_over_can_be_forgotten() -> Result<()> {
    scenario(|place| {
        let host = Host::new(place)?;
        let forgotten = host.agent.output(&["forget", "--group", GROUP])?;
        ensure!(forgotten.status.success(), "{forgotten:?}");
        ensure!(host.current()?.is_empty() && !host.instruction("_last_successful_install").exists());
        host.deploy("first", &app(&host.target.join("app"), "page", &[]))?;
        ensure!(!host.stopped().exists(), "the script ran that was to be forgotten");
        // Its files were the group's all the same.
        ensure!(!host.target.join("app/old").exists() && host.target.join("app/theirs").exists());
        Ok(())
    })
}

/// The same under the daemon: the service's next deployment finds the group by its id.
#[test]
fn the_services_next_deployment_takes_over_what_awss_agent_left() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let group = fleet.api.call(
            "GetDeploymentGroup",
            json!({"applicationName": APPLICATION, "deploymentGroupName": fleet.group.name()}),
        )?;
        let group = group["deploymentGroupInfo"]["deploymentGroupId"].as_str().context("the group's id")?.to_owned();
        let (destination, stopped) = (place.path().join("app"), place.path().join("stopped"));
        let root = fleet.agent.root();
        let old = root.join(&group).join(OLD);
        let stop = format!("echo $DEPLOYMENT_ID $LIFECYCLE_EVENT >> {}", stopped.display());
        let archive = old.join("deployment-archive");
        fs::create_dir_all(&archive)?;
        app(&destination, "old", &[Hook::new("ApplicationStop", &stop)]).write(&archive)?;
        fs::create_dir_all(&destination)?;
        for file in ["page", "old", "theirs"] {
            fs::write(destination.join(file), "old")?;
        }
        let instructions = root.join("deployment-instructions");
        fs::create_dir_all(&instructions)?;
        let instruction = |ending: &str| instructions.join(format!("{group}{ending}"));
        let app_path = destination.display();
        fs::write(instruction("-cleanup"), format!("{app_path}\n{app_path}/page\n{app_path}/old\n"))?;
        for marker in ["_last_successful_install", "_most_recent_install"] {
            fs::write(instruction(marker), old.display().to_string())?;
        }
        fs::create_dir_all(root.join("ongoing-deployment"))?;
        fs::write(root.join("ongoing-deployment").join(OLD), OLD)?;
        fleet.agent.start()?;
        let stop_again = format!("echo new >> {}", stopped.display());
        let next = app(&destination, "next", &[Hook::new("ApplicationStop", &stop_again)]);
        let bundle = fleet.group.push("v2", &next, BundleKind::Tgz)?;
        let finished = fleet.group.deploy(&bundle)?;
        succeeded(&finished)?;
        ensure!(
            fs::read_to_string(&stopped)? == format!("{} ApplicationStop\n", finished.id),
            "the old script is to stop"
        );
        ensure!(fs::read_to_string(destination.join("page"))? == "next");
        ensure!(!destination.join("old").exists() && destination.join("theirs").exists());
        let own = root.join(&group).join(&finished.id).display().to_string();
        for marker in ["_last_successful_install", "_most_recent_install"] {
            let marked = fs::read_to_string(instruction(marker))?;
            ensure!(marked == own, "{marker} holds {marked:?}");
        }
        // From now on the stop script is the new one's.
        let again = fleet.group.deploy(&bundle)?;
        succeeded(&again)?;
        ensure!(fs::read_to_string(&stopped)?.ends_with("ApplicationStop\nnew\n"), "{}", fs::read_to_string(&stopped)?);
        Ok(())
    })
}
