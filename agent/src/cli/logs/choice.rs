//! Which deployment's output is shown.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::bail;
use jiff::Timestamp;

use crate::cli::groups::{self, GroupName, Groups};
use crate::cli::past;
use crate::disk::{Dir, Kind};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::ledger::{Past, Standing};

/// Deployments that are listed where none could be chosen.
const LISTED: usize = 10;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<'a> {
    /// The deployment of that id, or the newest one of the groups that are called so.
    Named(&'a str),
    /// The newest one, of these groups alone where they are named.
    Newest(Option<&'a GroupName>),
    /// The newest one that failed.
    NewestFailed(Option<&'a GroupName>),
}

/// The deployment to show.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) deployment: DeploymentId,
    pub(super) log: PathBuf,
    /// What is remembered of it. Nothing where it is too old, where AWS's agent made it, or where this user may not know.
    pub(super) past: Option<Past>,
    /// How people call its group.
    group: String,
    /// The deployment of the same group that came before it, where that failed and this one did not.
    failed_before: Option<Past>,
    /// Whether the host has gone back from it by itself, or was to.
    restored: Option<DeploymentId>,
}

/// One deployment of this host.
#[derive(Debug)]
struct Candidate {
    deployment: DeploymentId,
    group: GroupId,
    at: Timestamp,
    past: Option<Past>,
    /// Whether it has a directory here.
    is_kept: bool,
}

pub(super) fn choose(layout: &Layout, choice: Choice<'_>) -> anyhow::Result<Chosen> {
    let all = candidates(layout)?;
    if all.is_empty() {
        bail!("no deployment has happened on this host yet, so there is no output to show");
    }
    let groups = Groups::look(layout)?;
    let found = match choice {
        Choice::Named(name) => named(&all, &groups, name)?,
        Choice::Newest(group) => newest(&all, &wanted(&groups, group)?, |_| true).ok_or_else(|| {
            anyhow::anyhow!("nothing was deployed to that group on this host, as far as it is remembered")
        })?,
        Choice::NewestFailed(group) => {
            let failed = |one: &&Candidate| one.past.as_ref().is_some_and(|past| past.standing() == Standing::Failed);
            newest(&all, &wanted(&groups, group)?, failed).ok_or_else(|| {
                anyhow::anyhow!("no deployment has failed, as far as this host remembers:\n{}", listed(&all))
            })?
        }
    };
    let Candidate { deployment, group, past, at, .. } = found;
    let is_failed = past.as_ref().is_some_and(|past| past.standing() == Standing::Failed);
    // A restore is a deployment of its own that the ledger does not know.
    let restored_from = past::restored_from(deployment.as_str());
    let before = all.iter().find(|one| match restored_from {
        Some(failed) => one.deployment.as_str() == failed,
        None => one.group == *group && one.at < *at && past::restored_from(one.deployment.as_str()).is_none(),
    });
    let failed_before = before.and_then(|one| one.past.clone()).filter(|past| past.standing() == Standing::Failed);
    let restored = all.iter().find(|one| past::restored_from(one.deployment.as_str()) == Some(deployment.as_str()));
    Ok(Chosen {
        log: layout.scripts_log(group, deployment),
        group: match groups.who(group) {
            Some(who) => format!("{group} ({}, {})", who.application, who.group),
            None => group.to_string(),
        },
        failed_before: failed_before.filter(|_| !is_failed),
        restored: restored.map(|one| one.deployment.clone()),
        deployment: deployment.clone(),
        past: past.clone(),
    })
}

impl Chosen {
    /// What is shown, in a line.
    pub(super) fn heading(&self) -> String {
        let standing = self.past.as_ref().map(|past| format!(": {}", past::standing(past))).unwrap_or_default();
        format!("Deployment {} to group {}{standing}", self.deployment, self.group)
    }

    /// Where else to look.
    pub(super) fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if let Some(restored) = &self.restored {
            hints.push(format!(
                "The host went back from it by itself: `slipway-agent logs {restored}` shows what the scripts said \
                 meanwhile."
            ));
        }
        if let Some(failed) = &self.failed_before
            && let Some(id) = &failed.deployment
        {
            hints.push(format!(
                "The deployment before it, {id}, {}: `slipway-agent logs {id}` shows its output.",
                past::standing(failed)
            ));
        }
        hints
    }
}

/// The newest first.
fn candidates(layout: &Layout) -> anyhow::Result<Vec<Candidate>> {
    let mut remembered: HashMap<DeploymentId, Past> = HashMap::new();
    for past in past::readable(layout)? {
        if let Some(id) = &past.deployment {
            remembered.entry(id.clone()).or_insert(past);
        }
    }
    let mut found = Vec::new();
    for group in groups::with_revisions(layout)? {
        for entry in Dir::open(layout.group(&group))?.entries()? {
            if entry.kind == Kind::Directory
                && let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
            {
                let past = remembered.remove(&id);
                let at = past.as_ref().and_then(past::begun).unwrap_or_else(|| last_written(layout, &group, &id));
                found.push(Candidate { deployment: id, group: group.clone(), at, past, is_kept: true });
            }
        }
    }
    for (deployment, past) in remembered {
        if let (Some(group), Some(at)) = (past.group.clone(), past::begun(&past)) {
            found.push(Candidate { deployment, group, at, past: Some(past), is_kept: false });
        }
    }
    found.sort_by(|one, other| (other.at, &other.deployment).cmp(&(one.at, &one.deployment)));
    Ok(found)
}

/// When the log of a deployment that is not remembered was begun.
fn last_written(layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Timestamp {
    let log = layout.scripts_log(group, deployment);
    let stat = log.parent().and_then(|logs| Dir::open(logs).ok()).and_then(|logs| logs.stat_self().ok());
    let time = stat.and_then(|stat| Timestamp::new(stat.modified.0, i32::try_from(stat.modified.1).ok()?).ok());
    time.unwrap_or(Timestamp::MIN)
}

/// The groups to look at; all of them where none is named.
fn wanted(groups: &Groups, name: Option<&GroupName>) -> anyhow::Result<Option<Vec<GroupId>>> {
    name.map(|name| groups.called(name)).transpose()
}

fn newest<'a>(
    all: &'a [Candidate],
    groups: &Option<Vec<GroupId>>,
    is_wanted: impl Fn(&&Candidate) -> bool,
) -> Option<&'a Candidate> {
    let mut found = all.iter().filter(|one| groups.as_ref().is_none_or(|groups| groups.contains(&one.group)));
    // The way back from a deployment is shown with it.
    found.find(|one| past::restored_from(one.deployment.as_str()).is_none() && is_wanted(one))
}

fn named<'a>(all: &'a [Candidate], groups: &Groups, name: &str) -> anyhow::Result<&'a Candidate> {
    let by_id = DeploymentId::parse(name).ok();
    if let Some(found) = by_id.and_then(|id| all.iter().find(|one| one.deployment == id)) {
        if !found.is_kept {
            bail!(
                "the output of {name} is no longer on this host: max_revisions says how many deployments are kept; \
                 `slipway-agent history` tells how it ended"
            );
        }
        return Ok(found);
    }
    let groups = name.parse().ok().and_then(|name: GroupName| groups.called(&name).ok());
    let of_group = groups.and_then(|groups| newest(all, &Some(groups), |_| true));
    of_group.ok_or_else(|| {
        anyhow::anyhow!(
            "{name:?} is neither a deployment nor a deployment group of this host. Its newest deployments \
             (`slipway-agent history` shows all):\n{}",
            listed(all)
        )
    })
}

fn listed(all: &[Candidate]) -> String {
    let line = |one: &Candidate| {
        let standing = one.past.as_ref().map(|past| format!("  {}", past::standing(past))).unwrap_or_default();
        format!("  {}  group {}{standing}", one.deployment, one.group)
    };
    all.iter().take(LISTED).map(line).collect::<Vec<_>>().join("\n")
}
