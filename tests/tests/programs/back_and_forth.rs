//! Hosts on which this agent and AWS's take turns. What is left is what AWS's agent alone would leave, which its
//! stand-in shows: see `awss_agent`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::Revision;

use crate::awss_agent::AwsAgent;
use crate::expect::contains;

const GROUP: &str = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901";

/// Who carries a deployment out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    This,
    Aws,
}

use Who::{Aws, This};

/// One entry of a revision's content: a path, and what is there.
#[derive(Clone, Copy, Debug)]
enum Is<'a> {
    File(&'a str),
    Link(&'a str),
}

use Is::{File, Link};

/// A host that both agents work on.
struct Host<'a> {
    place: &'a Place,
    name: String,
    agent: Agent<'a>,
    aws: AwsAgent,
    target: PathBuf,
    /// How many deployments there were.
    count: usize,
}

impl<'a> Host<'a> {
    fn new(place: &'a Place, name: &str) -> Result<Self> {
        let agent = Agent::alone(place, name)?;
        let aws = AwsAgent::new(&agent.root(), GROUP);
        let target = place.directory(&format!("target-{name}"))?;
        Ok(Self { place, name: name.to_owned(), agent, aws, target, count: 0 })
    }

    /// A revision that is known by `version`, and goes to `app` and its file `extra/single` to `other`.
    fn revision(&self, version: &str, content: &[(&str, Is<'_>)]) -> Revision {
        let appspec = json!({
            "version": 0.0,
            "os": "linux",
            "files": [
                {"source": "content", "destination": self.target.join("app")},
                {"source": "extra/single", "destination": self.target.join("other/deep")},
            ],
            "hooks": {"ApplicationStop": [{"location": "stop.sh"}]},
        });
        let stop = format!("echo {version} >> {}", self.stopped().display());
        let mut revision = Revision::with_appspec(&appspec.to_string())
            .script("stop.sh", &stop)
            .file("extra/single", version)
            .file("content/always", version);
        for (path, is) in content {
            let path = format!("content/{path}");
            revision = match is {
                File(text) => revision.file(&path, text),
                Link(target) => revision.symlink(&path, target),
            };
        }
        revision
    }

    fn deploy(&mut self, who: Who, revision: &Revision) -> Result<()> {
        self.count += 1;
        let directory = self.place.directory(&format!("revision-{}-{}", self.name, self.count))?;
        revision.write(&directory)?;
        match who {
            Aws => self.aws.deploy(&format!("d-AWS{}", self.count), &directory),
            This => {
                let location = directory.display().to_string();
                let events = "ApplicationStop,DownloadBundle,Install";
                let output = self.agent.output(&["deploy-local", "-l", &location, "-g", GROUP, "-e", events])?;
                let said =
                    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                ensure!(output.status.success(), "{said}");
                Ok(())
            }
        }
    }

    fn stopped(&self) -> PathBuf {
        self.place.path().join(format!("stopped-{}", self.name))
    }

    /// All that is below the target, and whose scripts stopped what ran, in order.
    fn left(&self) -> Result<String> {
        let mut text = String::new();
        for (path, is) in tree(&self.target)? {
            writeln!(text, "{path} {is}")?;
        }
        Ok(text + &fs::read_to_string(self.stopped()).unwrap_or_default())
    }

    fn drift(&self) -> Result<Value> {
        let output = self.agent.output(&["drift", "-g", GROUP, "--json"])?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        Ok(report["groups"][0].clone())
    }

    fn current(&self) -> Result<String> {
        let status = self.agent.status()?;
        Ok(status["groups"][0]["last_successful"]["deployment"].as_str().unwrap_or_default().to_owned())
    }
}

fn tree(root: &Path) -> Result<BTreeMap<String, String>> {
    let (mut found, mut ahead) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.display().to_string();
            let mode = || Ok::<_, anyhow::Error>(fs::symlink_metadata(&path)?.permissions().mode() & 0o7777);
            if path.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path)?.display()));
            } else if path.is_dir() {
                found.insert(name, format!("directory {:o}", mode()?));
                ahead.push(path);
            } else {
                found.insert(name, format!("{:o} {:?}", mode()?, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

/// Deploys the revisions in turn, each by whom the order says. The application writes into its directories and changes
/// a file of its own between the deployments.
fn in_order(place: &Place, name: &str, order: [Who; 3], revisions: &[Vec<(&str, Is<'_>)>; 3]) -> Result<String> {
    let mut host = Host::new(place, name)?;
    for (number, (who, content)) in order.into_iter().zip(revisions).enumerate() {
        let revision = host.revision(&format!("v{}", number + 1), content);
        host.deploy(who, &revision).with_context(|| format!("deployment {} of {order:?}", number + 1))?;
        if number == 0 {
            fs::write(host.target.join("app/theirs"), "t")?;
            fs::write(host.target.join("app/always"), "changed by hand")?;
        }
    }
    host.left()
}

fn every_order() -> impl Iterator<Item = [Who; 3]> {
    (0..8).map(|bits| [0, 1, 2].map(|bit| if bits >> bit & 1 == 0 { Aws } else { This }))
}

/// Holds what is left after each order to what AWS's agent alone leaves.
fn all_orders_agree(revisions: &[Vec<(&str, Is<'_>)>; 3]) -> Result<()> {
    scenario(|place| {
        let expected = in_order(place, "reference", [Aws; 3], revisions)?;
        contains(&expected, &["app/always", "other/deep/single", "app/theirs", "v1\nv2\n"])?;
        for (number, order) in every_order().enumerate().skip(1) {
            let left = in_order(place, &format!("order-{number}"), order, revisions)?;
            ensure!(left == expected, "{order:?} leaves\n{left}\nAWS's agent alone leaves\n{expected}\n{revisions:#?}");
        }
        Ok(())
    })
}

#[test]
fn whoever_deploys_in_whatever_order_the_tree_is_what_awss_agent_alone_leaves() -> Result<()> {
    all_orders_agree(&[
        vec![
            ("kept", File("k")),
            ("changed", File("1")),
            ("goes", File("1")),
            ("goes-and-comes", File("1")),
            ("deep/only/old", File("1")),
            ("to-directory", File("1")),
            ("to-link", File("1")),
            ("link-to-file", Link("kept")),
            ("link-changes", Link("kept")),
            ("dangling", Link("nowhere")),
            ("directory-to-file/inside", File("1")),
            ("directory-to-link/inside", File("1")),
        ],
        vec![
            ("kept", File("k")),
            ("changed", File("22")),
            ("comes", File("2")),
            ("deep/new", File("2")),
            ("to-directory/inside", File("2")),
            ("to-link", Link("kept")),
            ("link-to-file", File("2")),
            ("link-changes", Link("changed")),
            ("link-to-directory", Link("kept")),
            ("directory-to-file", File("2")),
            ("directory-to-link", Link("kept")),
        ],
        vec![
            ("kept", File("k")),
            ("changed", File("3")),
            ("comes", File("3")),
            ("goes-and-comes", File("3")),
            ("deep/only/old", File("3")),
            ("to-directory", Link("kept")),
            ("to-link", File("3")),
            ("link-to-directory/inside", File("3")),
            ("directory-to-file/inside/deeper", File("3")),
        ],
    ])
}

/// Few names, so that revisions have much in common, and what is a file in one is a directory in another.
#[test]
fn random_revisions_in_every_order_leave_what_awss_agent_alone_leaves() -> Result<()> {
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut revision = || {
            let mut content: BTreeMap<&str, Is<'_>> = BTreeMap::new();
            for first in ["a", "b", "c", "d"] {
                let (below, deeper) = match first {
                    "a" => (["a/x", "a/y"], "a/x/z"),
                    "b" => (["b/x", "b/y"], "b/x/z"),
                    "c" => (["c/x", "c/y"], "c/x/z"),
                    _ => (["d/x", "d/y"], "d/x/z"),
                };
                let is = |random: &mut fastrand::Rng| match random.u8(0..4) {
                    0 => Link("always"),
                    1 => Link("nowhere"),
                    2 => File("one"),
                    _ => File("another"),
                };
                let paths = match random.u8(0..6) {
                    0 => vec![],
                    1 | 2 => vec![first],
                    3 => vec![below[0]],
                    4 => below.to_vec(),
                    _ => vec![deeper, below[1]],
                };
                content.extend(paths.into_iter().map(|path| (path, is(&mut random))));
            }
            content.into_iter().collect::<Vec<_>>()
        };
        all_orders_agree(&[revision(), revision(), revision()]).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

/// What AWS's agent installed since is known by its own files: `drift`, `status` and `migrate` tell of it.
#[test]
fn drift_after_a_takeover_knows_what_was_taken_over() -> Result<()> {
    scenario(|place| {
        let mut host = Host::new(place, "web-1")?;
        host.deploy(This, &host.revision("v1", &[("old", File("1")), ("page", File("1"))]))?;
        let own = host.current()?;
        let drift = host.drift()?;
        ensure!(drift["installed_by"] == "this_agent" && drift["deployment"] == own.as_str(), "{drift}");
        host.deploy(Aws, &host.revision("v2", &[("page", File("2")), ("link", Link("page"))]))?;
        ensure!(host.current()? == "d-AWS2", "{}", host.current()?);
        let drift = host.drift()?;
        ensure!(drift["installed_by"] == "aws_agent" && drift["deployment"] == "d-AWS2", "{drift}");
        ensure!(drift["drift"] == json!([]) && drift["paths"] == 7, "{drift}");
        let text = host.agent.output(&["drift"])?;
        contains(
            &String::from_utf8_lossy(&text.stdout),
            &["deployment d-AWS2", "by AWS's agent", "7 paths, all as they were installed"],
        )?;
        let report = host.agent.output(&["migrate", "--check", "--json"])?;
        contains(&String::from_utf8_lossy(&report.stdout), &["AWS's agent has deployed to it since this agent did"])?;

        fs::write(host.target.join("app/page"), "3")?;
        fs::remove_file(host.target.join("app/link"))?;
        let drift = host.drift()?;
        let paths: Vec<&str> = drift["drift"]
            .as_array()
            .context("a list")?
            .iter()
            .map(|row| row["differences"][0]["what"].as_str().unwrap_or_default())
            .collect();
        ensure!(paths == ["missing", "content"], "{drift}");
        // And once more it is this agent's, which knows everything of it.
        host.deploy(This, &host.revision("v3", &[("page", File("3"))]))?;
        let drift = host.drift()?;
        ensure!(drift["installed_by"] == "this_agent" && drift["drift"] == json!([]), "{drift}");
        ensure!(fs::read_to_string(host.stopped())? == "v1\nv2\n", "{}", fs::read_to_string(host.stopped())?);
        Ok(())
    })
}

/// AWS's agent removes what was installed before it finds out that it cannot install: its list is gone then. What others
/// have put in the place of a file since is theirs.
#[test]
fn an_install_that_failed_with_awss_agent_leaves_nothing_that_is_taken_for_ours() -> Result<()> {
    scenario(|place| {
        let mut host = Host::new(place, "web-1")?;
        host.deploy(This, &host.revision("v1", &[("old", File("1")), ("page", File("1"))]))?;
        fs::write(host.target.join("app/theirs"), "t")?;
        let clash = host.deploy(Aws, &host.revision("v2", &[("theirs", File("2"))]));
        ensure!(clash.is_err() && !host.target.join("app/page").exists(), "{clash:?}");
        ensure!(!host.aws.instruction("-cleanup").exists());
        fs::write(host.target.join("app/page"), "somebody's")?;
        let clash = host.deploy(This, &host.revision("v3", &[("page", File("3"))]));
        let said = clash.err().context("the file that somebody put there is overwritten")?.to_string();
        contains(&said, &["app/page"])?;
        ensure!(fs::read_to_string(host.target.join("app/page"))? == "somebody's");
        fs::remove_file(host.target.join("app/page"))?;
        host.deploy(This, &host.revision("v4", &[("page", File("4"))]))?;
        host.deploy(Aws, &host.revision("v5", &[("page", File("5"))]))?;
        host.deploy(This, &host.revision("v6", &[]))?;
        ensure!(!host.target.join("app/page").exists() && host.target.join("app/theirs").exists());
        Ok(())
    })
}

/// As operators do who know AWS's agent: the file goes, and no script of the revision before runs. Where the list goes,
/// what is still as it was installed stays the group's.
#[test]
fn files_that_an_operator_removes_count_as_removed() -> Result<()> {
    scenario(|place| {
        let mut host = Host::new(place, "web-1")?;
        host.deploy(This, &host.revision("v1", &[("old", File("1"))]))?;
        fs::remove_dir_all(host.agent.root().join("deployment-instructions"))?;
        ensure!(host.current()?.is_empty(), "{}", host.current()?);
        host.deploy(This, &host.revision("v2", &[("page", File("2"))]))?;
        ensure!(!host.stopped().exists(), "a script ran that was to be forgotten");
        ensure!(!host.target.join("app/old").exists() && host.target.join("app/page").exists());
        Ok(())
    })
}
