//! The deployment groups of this host, and the names by which people call them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use anyhow::bail;

use super::past;
use crate::disk::{Dir, Kind};
use crate::ids::GroupId;
use crate::install;
use crate::layout::Layout;
use crate::store::{self, StoreError, Who};

/// How a person calls a group: by its id, its name, or its application's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupName(String);

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("the id or the name of a deployment group is expected".to_owned()),
            name => Ok(Self(name.to_owned())),
        }
    }
}

/// The groups that something was deployed to on this host, by their ids.
#[derive(Debug)]
pub(super) struct Groups(BTreeMap<GroupId, Option<Who>>);

impl Groups {
    /// Looks for what is kept of them: revisions, manifests, and commands. What this user may not read tells nothing.
    pub(super) fn look(layout: &Layout) -> anyhow::Result<Self> {
        let mut ids = with_revisions(layout)?;
        ids.extend(readable(install::installed_groups(layout))?);
        ids.extend(past::readable(layout)?.into_iter().filter_map(|past| past.group));
        let mut groups = BTreeMap::new();
        for id in ids {
            // A command that has need of the markers says what is wrong with them.
            let who = store::read_markers(layout, &id).ok().and_then(|markers| markers.who);
            groups.insert(id, who);
        }
        Ok(Self(groups))
    }

    /// Every group that a name stands for: the one with that id, else those with that name, else those of that
    /// application. A name that stands for none is an error that lists what there is.
    pub(super) fn called(&self, GroupName(name): &GroupName) -> anyhow::Result<Vec<GroupId>> {
        let found = self.find(name);
        if found.is_empty() {
            if self.0.is_empty() {
                bail!("no deployment group is called {name:?}: nothing has been deployed to this host yet");
            }
            bail!(
                "no deployment group of this host has {name:?} as its id, its name or its application's; \
                 `slipway-agent status` shows more of those that there are:\n{}",
                self.listed(self.0.keys())
            );
        }
        Ok(found)
    }

    /// The one group that a name stands for.
    pub(super) fn one(&self, name: &GroupName) -> anyhow::Result<GroupId> {
        let found = self.called(name)?;
        match found.as_slice() {
            [id] => Ok(id.clone()),
            several => bail!(
                "{:?} stands for {} deployment groups of this host; name one by its id:\n{}",
                name.0,
                several.len(),
                self.listed(several.iter())
            ),
        }
    }

    /// The names that people know a group by.
    pub(super) fn who(&self, id: &GroupId) -> Option<&Who> {
        self.0.get(id)?.as_ref()
    }

    fn find(&self, name: &str) -> Vec<GroupId> {
        if let Some((id, _)) = self.0.iter().find(|(id, _)| id.as_str() == name) {
            return vec![id.clone()];
        }
        let by = |is_called: fn(&Who, &str) -> bool| -> Vec<GroupId> {
            let called = self.0.iter().filter(|(_, who)| who.as_ref().is_some_and(|who| is_called(who, name)));
            called.map(|(id, _)| id.clone()).collect()
        };
        let by_group = by(|who, name| who.group == name);
        if by_group.is_empty() { by(|who, name| who.application == name) } else { by_group }
    }

    fn listed<'a>(&self, ids: impl Iterator<Item = &'a GroupId>) -> String {
        let mut out = String::new();
        for id in ids {
            if !out.is_empty() {
                out.push('\n');
            }
            // Writing to a string cannot fail.
            let _ = match self.who(id) {
                Some(who) => write!(out, "  {id}  (application {}, group {})", who.application, who.group),
                None => write!(out, "  {id}"),
            };
        }
        out
    }
}

/// Groups that have a directory of revisions.
pub(super) fn with_revisions(layout: &Layout) -> anyhow::Result<Vec<GroupId>> {
    let root = match Dir::open(layout.root()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let directories = root.entries()?.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.filter_map(|entry| GroupId::parse(entry.name.to_str()?).ok()).collect())
}

/// Nothing where this user may not read it.
fn readable<T: Default>(result: Result<T, StoreError>) -> anyhow::Result<T> {
    match result {
        Err(StoreError::Disk(error)) if error.is_not_permitted() => Ok(T::default()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        let who =
            |application: &str, group: &str| Some(Who { application: application.to_owned(), group: group.to_owned() });
        let rows = [("g1", who("shop", "Production")), ("g2", who("shop", "Canary")), ("g3", None), ("shop", None)];
        Groups(rows.into_iter().map(|(id, who)| (GroupId::parse(id).unwrap(), who)).collect())
    }

    fn called(groups: &Groups, name: &str) -> Vec<String> {
        groups.called(&name.parse().unwrap()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_id_goes_before_a_name_and_that_before_an_application() {
        let mut groups = groups();
        assert_eq!(called(&groups, "shop"), ["shop"]);
        assert_eq!(called(&groups, "Production"), ["g1"]);
        groups.0.remove(&GroupId::parse("shop").unwrap());
        assert_eq!(called(&groups, "shop"), ["g1", "g2"]);
        let two = groups.one(&"shop".parse().unwrap()).unwrap_err().to_string();
        assert!(two.contains("stands for 2") && two.contains("Canary") && two.contains("g1"), "{two}");
        assert_eq!(groups.one(&"Canary".parse().unwrap()).unwrap().as_str(), "g2");
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let error = groups().called(&"shp".parse().unwrap()).unwrap_err().to_string();
        for id in ["\"shp\"", "g1", "Production", "g3"] {
            assert!(error.contains(id), "{error}");
        }
        let none = Groups(BTreeMap::new()).one(&"x".parse().unwrap()).unwrap_err().to_string();
        assert!(none.contains("nothing has been deployed"), "{none}");
        assert!("  ".parse::<GroupName>().is_err());
    }
}
