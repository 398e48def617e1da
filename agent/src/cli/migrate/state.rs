//! What AWS's agent has deployed, and what it is in the middle of.

use std::collections::BTreeSet;
use std::path::Path;

use super::note::{Note, Verdict};
use crate::disk::{self, Dir};
use crate::ids::GroupId;
use crate::install::{self, AwsInstall, Inherited, LastInstall};
use crate::layout::Layout;
use crate::plan::grounds::FollowedLinks;
use crate::store;

/// Where AWS's agent notes the deployments that it is in the middle of, below the root.
const ONGOING: &str = "ongoing-deployment";
/// How its files about a group end.
const ENDINGS: [&str; 3] = ["-cleanup", "_last_successful_install", "_most_recent_install"];

pub(super) fn look(layout: &Layout, links: FollowedLinks) -> anyhow::Result<Vec<Note>> {
    let mut notes = Vec::new();
    let (mut groups, mut ours) = (BTreeSet::new(), 0);
    for name in names(&layout.instructions())? {
        let Some(id) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) else { continue };
        match GroupId::parse(id) {
            Ok(group) => drop(groups.insert(group)),
            Err(error) => notes.push(Note::new(Verdict::Ignored, "groups", format!("the file {name}: {error}"))),
        }
    }
    for group in &groups {
        match install::last_install(layout, group)? {
            LastInstall::Own(_) | LastInstall::OwnUnlisted(_) => ours += 1,
            LastInstall::Aws(install) => {
                notes.extend(not_followed(group, &install.list, links)?);
                notes.extend(of_group(layout, group, Some(install))?);
            }
            LastInstall::None => notes.extend(of_group(layout, group, None)?),
        }
    }
    if ours > 0 {
        let what = format!("this agent has deployed to {ours} of {} already", counted(groups.len(), "group", "groups"));
        notes.push(Note::new(Verdict::TakenOver, "groups", what));
    } else if groups.is_empty() {
        let what = format!("AWS's agent has deployed nothing below {}", layout.root().display());
        notes.push(Note::new(Verdict::TakenOver, "groups", what));
    }
    notes.extend(ongoing(layout)?);
    Ok(notes)
}

fn of_group(layout: &Layout, group: &GroupId, install: Option<AwsInstall>) -> anyhow::Result<Vec<Note>> {
    let about = format!("group {group}");
    let note = |verdict, what: String| Note::new(verdict, about.clone(), what);
    let mut notes = Vec::new();
    let file = layout.cleanup_file(group);
    if install.as_ref().is_some_and(|install| install.own_serial > 0) {
        let what = "AWS's agent has deployed to it since this agent did: what that one installed counts".to_owned();
        notes.push(note(Verdict::TakenOver, what));
    }
    let rolls_back = !store::read_markers(layout, group)?.good.is_empty();
    match install.map(|install| install.list) {
        Some(Inherited { paths, labelled, torn }) => {
            let rules = match labelled.len() {
                0 => String::new(),
                rules => format!(" and {}", counted(rules, "rule for SELinux labels", "rules for SELinux labels")),
            };
            let what = format!(
                "{}{rules} of what is installed ({}): the next deployment replaces or removes them",
                counted(paths.len(), "path", "paths"),
                file.display()
            );
            notes.push(note(Verdict::TakenOver, what));
            if let Some(torn) = torn {
                let what = format!(
                    "the last line of {} is torn, so {} is nobody's: AWS's agent was cut off in the middle of an install",
                    file.display(),
                    torn.display()
                );
                let todo = "look at what that install left, and remove what the next deployment would clash with (`slipway-agent plan` shows it)";
                notes.push(note(Verdict::Different, what).with_remedy(todo));
            }
        }
        None => {
            let what = format!("there is no {}: whatever is at a destination is nobody's, and stays", file.display());
            let todo = "deploy once with the behaviour OVERWRITE for files that exist, or remove them (`slipway-agent plan` shows clashes)";
            notes.push(note(Verdict::Different, what).with_remedy(todo));
        }
    }
    notes.push(stop_scripts(layout, group)?);
    if rolls_back {
        return Ok(notes);
    }
    let what =
        "`rollback` on the host finds nothing to go back to before a second deployment by this agent: which of AWS's \
                agent's deployments ended well is not on record"
            .to_owned();
    notes.push(note(Verdict::Different, what));
    Ok(notes)
}

/// Symlinks on the way to what is installed that AWS's agent follows and this one does not.
fn not_followed(group: &GroupId, list: &Inherited, links: FollowedLinks) -> anyhow::Result<Vec<Note>> {
    let directories: BTreeSet<&Path> = list.paths.iter().filter_map(|path| path.parent()).collect();
    let mut found = BTreeSet::new();
    for directory in directories {
        found.extend(install::link_not_followed(directory, links)?.map(|conflict| conflict.to_string()));
    }
    let note = |what: String| Note::new(Verdict::Different, format!("group {group}"), what);
    let todo = "do this before the next deployment, which clashes with it otherwise";
    Ok(found.into_iter().map(|what| note(what).with_remedy(todo)).collect())
}

/// The revision whose scripts stop what runs now.
fn stop_scripts(layout: &Layout, group: &GroupId) -> anyhow::Result<Note> {
    let about = format!("group {group}");
    let Some(mark) = store::read_markers(layout, group)?.last_successful else {
        let what =
            "no deployment is known to have succeeded: the next one runs no script that stops what runs now".to_owned();
        return Ok(Note::new(Verdict::Different, about, what)
            .with_remedy("stop the application by hand before the first deployment, if it must not run during that"));
    };
    let archive = layout.archive(group, &mark.deployment);
    Ok(match Dir::open(&archive) {
        Ok(_) => Note::new(
            Verdict::TakenOver,
            about,
            format!("deployment {}: its scripts stop what runs now, at the next deployment", mark.deployment),
        ),
        Err(error) if error.is_not_found() => Note::new(
            Verdict::Different,
            about,
            format!(
                "the revision of deployment {} is not there any more ({}): no script stops what runs now",
                mark.deployment,
                archive.display()
            ),
        )
        .with_remedy("stop the application by hand before the first deployment, if it must not run during that"),
        Err(error) => return Err(error.into()),
    })
}

fn ongoing(layout: &Layout) -> anyhow::Result<Option<Note>> {
    let directory = layout.root().join(ONGOING);
    let deployments = names(&directory)?;
    if deployments.is_empty() {
        return Ok(None);
    }
    let what = format!(
        "AWS's agent is in the middle of {}, or was cut off in it ({})",
        deployments.join(", "),
        directory.display()
    );
    let todo = format!(
        "wait for its end; if it was cut off, let the service report it as failed, then remove the files in {}",
        directory.display()
    );
    Ok(Some(Note::new(Verdict::NeedsYou, "deployments", what).with_remedy(todo)))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn names(directory: &Path) -> disk::Result<Vec<String>> {
    match Dir::open(directory) {
        Ok(directory) => {
            Ok(directory.entries()?.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect())
        }
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
