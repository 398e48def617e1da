//! The `permissions` section applied to what a deployment installs.

use std::path::Path;

use super::conflict::Conflict;
use super::grounds::Accounts;
use super::state::Attrs;
use crate::appspec::{PathKind, PermissionEntry};

/// The entries, and which of them meant anything so far.
pub(super) struct Permissions<'a> {
    entries: &'a [PermissionEntry],
    accounts: &'a Accounts,
    used: Vec<bool>,
}

impl<'a> Permissions<'a> {
    /// Takes the entries; what is wrong with them wherever they apply is a conflict each.
    pub(super) fn new(entries: &'a [PermissionEntry], accounts: &'a Accounts, conflicts: &mut Vec<Conflict>) -> Self {
        for entry in entries {
            if entry.acls.as_ref().is_some_and(|acls| !acls.is_empty()) {
                conflicts.push(Conflict::Unsupported { key: "acls", at: entry.at });
            }
            if entry.context.is_some() {
                conflicts.push(Conflict::Unsupported { key: "context", at: entry.at });
            }
            let unknown = |kind, name: &String| Conflict::UnknownAccount { kind, name: name.clone(), at: entry.at };
            let owner = entry.owner.as_ref().filter(|name| !accounts.users.contains_key(*name));
            conflicts.extend(owner.map(|name| unknown("user", name)));
            let group = entry.group.as_ref().filter(|name| !accounts.groups.contains_key(*name));
            conflicts.extend(group.map(|name| unknown("group", name)));
        }
        Self { entries, accounts, used: vec![false; entries.len()] }
    }

    /// What the entries make of the attributes that a path has without them. `path` is as the AppSpec
    /// names it.
    pub(super) fn apply(&mut self, path: &Path, kind: PathKind, base: Attrs, conflicts: &mut Vec<Conflict>) -> Attrs {
        let mut attrs = base;
        let mut first: Option<&PermissionEntry> = None;
        for (entry, used) in self.entries.iter().zip(&mut self.used) {
            if !entry.applies_to(path, kind) {
                continue;
            }
            *used = true;
            if entry.object.as_path() == path
                && let Err(reason) = entry.check_file_object()
            {
                conflicts.push(Conflict::FileObject { path: path.to_owned(), reason, at: entry.at });
            }
            match first {
                Some(first) => conflicts.push(Conflict::TwoPermissions {
                    path: path.to_owned(),
                    first: first.at,
                    second: entry.at,
                }),
                None => first = Some(entry),
            }
            let named = |name: &Option<String>, known: &std::collections::BTreeMap<String, u32>| {
                name.as_ref().and_then(|name| known.get(name).copied())
            };
            attrs.uid = named(&entry.owner, &self.accounts.users).unwrap_or(attrs.uid);
            attrs.gid = named(&entry.group, &self.accounts.groups).unwrap_or(attrs.gid);
            attrs.mode = entry.mode.map_or(attrs.mode, |mode| mode.bits());
        }
        attrs
    }

    /// A warning for each entry that meant nothing: other agents say nothing of these, and they are
    /// misspelt paths more often than not.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.entries.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(entry, _)| {
            format!(
                "the permissions entry in line {} for {} means nothing that this deployment installs",
                entry.at.line,
                entry.object.as_path().display()
            )
        })
    }
}
