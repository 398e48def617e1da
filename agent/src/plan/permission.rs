//! The `permissions` section applied to what a deployment installs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::acl::{Acl, Who};
use super::conflict::Conflict;
use super::grounds::{Accounts, Grounds, Labels, Modes, Objects, Selinux};
use super::label::Label;
use super::state::{Attrs, is_unsafe_mode};
use crate::appspec::acl::AclWho;
use crate::appspec::{AclEntry, PathKind, PermissionEntry, SelinuxContext};

/// The entries, and what became of them so far.
pub(super) struct Permissions<'a> {
    rules: Vec<Rule<'a>>,
    accounts: &'a Accounts,
    modes: Modes,
    objects: Objects,
}

/// What a path has without the entries.
pub(super) struct Bare {
    pub(super) attrs: Attrs,
    /// The mode from which the base entries of an access control list come: without the mask of another.
    pub(super) mode: u32,
}

/// One entry.
struct Rule<'a> {
    entry: &'a PermissionEntry,
    /// What `acls` lists, where the entry has that key.
    listed: Option<Listed<'a>>,
    meaning: Meaning,
    /// What the mask takes from somebody whom the entry names, and the first path where it does.
    cut: Option<(&'a AclEntry, PathBuf)>,
}

/// Whether an entry meant anything so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Something,
    /// A file that would get default access control entries; said once.
    Wrong,
}

/// The `acls` of an entry with accounts by number.
#[derive(Default)]
struct Listed<'a> {
    access: BTreeMap<Who, (u8, &'a AclEntry)>,
    default: BTreeMap<Who, (u8, &'a AclEntry)>,
}

impl<'a> Permissions<'a> {
    /// Takes the entries; what is wrong with them wherever they apply is a conflict each.
    pub(super) fn new(grounds: &Grounds<'a>, conflicts: &mut Vec<Conflict>) -> Self {
        let (entries, survey) = (&grounds.appspec.permissions, grounds.survey);
        let accounts = &survey.accounts;
        let rules = entries.iter().map(|entry| {
            conflicts.extend(entry.context.as_ref().and_then(|context| context_conflict(entry, context, grounds)));
            let unknown = |kind, name: &String| Conflict::UnknownAccount { kind, name: name.clone(), at: entry.at };
            let owner = entry.owner.as_ref().filter(|name| !accounts.users.contains_key(*name));
            conflicts.extend(owner.map(|name| unknown("user", name)));
            let group = entry.group.as_ref().filter(|name| !accounts.groups.contains_key(*name));
            conflicts.extend(group.map(|name| unknown("group", name)));
            let listed = entry.acls.as_ref().map(|acls| {
                let mut listed = Listed::default();
                for acl in acls {
                    match who(&acl.who, accounts) {
                        Ok(who) => conflicts.extend(listed.add(who, acl, entry)),
                        Err((kind, name)) => conflicts.push(unknown(kind, name)),
                    }
                }
                listed
            });
            Rule { entry, listed, meaning: Meaning::Nothing, cut: None }
        });
        Self { rules: rules.collect(), accounts, modes: grounds.refusals.modes, objects: grounds.refusals.objects }
    }

    /// What the entries make of the attributes that a path has without them. `path` is as the AppSpec
    /// names it.
    pub(super) fn apply(&mut self, path: &Path, kind: PathKind, bare: Bare, conflicts: &mut Vec<Conflict>) -> Attrs {
        let Bare { mut attrs, mut mode } = bare;
        let mut first: Option<&PermissionEntry> = None;
        // A directory's mode is the deployment's doing only where an entry gives it.
        let mut is_given = kind == PathKind::File;
        for rule in &mut self.rules {
            let entry = rule.entry;
            if !entry.applies_to(path, kind) {
                continue;
            }
            if rule.meaning == Meaning::Nothing {
                rule.meaning = Meaning::Something;
            }
            if entry.object.as_path() == path
                && let Err(reason) = entry.check_file_object()
            {
                conflicts.push(Conflict::FileObject { path: path.to_owned(), reason, at: entry.at });
                rule.meaning = Meaning::Wrong;
            }
            match first {
                Some(first) => conflicts.push(Conflict::TwoPermissions {
                    path: path.to_owned(),
                    first: first.at,
                    second: entry.at,
                }),
                None => first = Some(entry),
            }
            let named = |name: &Option<String>, known: &BTreeMap<String, u32>| {
                name.as_ref().and_then(|name| known.get(name).copied())
            };
            attrs.uid = named(&entry.owner, &self.accounts.users).unwrap_or(attrs.uid);
            attrs.gid = named(&entry.group, &self.accounts.groups).unwrap_or(attrs.gid);
            if let Some(wanted) = entry.mode {
                is_given = true;
                mode = wanted.bits();
                attrs = attrs.with_mode(mode);
            }
            if let Some(context) = &entry.context {
                attrs = attrs.with_label(Some(Label::of(context)));
            }
            if let Some((access, default)) = rule.lists((path, kind), mode, conflicts) {
                attrs = attrs.with_mode(mode).with_access_acl(access).with_default_acl(default);
            }
        }
        if self.modes == Modes::UnsafeRefused && is_given && is_unsafe_mode(mode) {
            conflicts.push(Conflict::UnsafeMode { path: path.to_owned(), mode });
        }
        attrs
    }

    /// Holds the entries to a symlink that is installed, or that is followed to a directory: they do not count for it, or
    /// are refused. `path` is as the AppSpec names it.
    pub(super) fn meet_symlink(&self, path: &Path, conflicts: &mut Vec<Conflict>) {
        if self.objects == Objects::SymlinksSkipped {
            return;
        }
        let means = |entry: &&PermissionEntry| {
            entry.object.as_path() == path
                || [PathKind::File, PathKind::Directory].into_iter().any(|kind| entry.applies_to(path, kind))
        };
        let meant = self.rules.iter().map(|rule| rule.entry).filter(means);
        conflicts.extend(meant.map(|entry| Conflict::SymlinkObject { path: path.to_owned(), at: entry.at }));
    }

    /// A warning for each entry that meant nothing: other agents say nothing of these, and they are
    /// misspelt paths more often than not. Another for each that gives what its own mask takes.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.rules.iter().filter_map(|rule| {
            let (line, object) = (rule.entry.at.line, rule.entry.object.as_path().display());
            if rule.meaning == Meaning::Nothing {
                return Some(format!(
                    "the permissions entry in line {line} for {object} means nothing that this deployment installs"
                ));
            }
            let (acl, path) = rule.cut.as_ref()?;
            let mask = if acl.default { "d:m::rwx" } else { "m::rwx" };
            Some(format!(
                "the permissions entry in line {line} gives {acl}, but the mask of {} is that of its group and allows \
                 less: add an entry such as `{mask}`, or give the group more by `mode`",
                path.display()
            ))
        })
    }
}

impl<'a> Rule<'a> {
    /// The access and default lists that the entry wants, if it has that key.
    fn lists(
        &mut self,
        (path, kind): (&Path, PathKind),
        mode: u32,
        conflicts: &mut Vec<Conflict>,
    ) -> Option<(Option<Acl>, Option<Acl>)> {
        let listed = self.listed.as_ref()?;
        let complete = |entries: &BTreeMap<Who, (u8, &'a AclEntry)>| {
            (!entries.is_empty())
                .then(|| Acl::completed(entries.iter().map(|(who, (bits, _))| (*who, *bits)).collect(), mode))
        };
        let (access, mut default) = (complete(&listed.access), complete(&listed.default));
        if kind == PathKind::File && default.take().is_some() && self.meaning != Meaning::Wrong {
            conflicts.push(Conflict::DefaultAclOnFile { path: path.to_owned(), at: self.entry.at });
            self.meaning = Meaning::Wrong;
        }
        if self.cut.is_none() {
            let lists = [(&access, &listed.access), (&default, &listed.default)];
            let cut = lists.into_iter().find_map(|(acl, entries)| cut_by_mask(acl.as_ref()?, entries));
            self.cut = cut.map(|entry| (entry, path.to_owned()));
        }
        Some((access, default))
    }
}

impl<'a> Listed<'a> {
    /// Adds an entry; an account that is there already by another name is a conflict.
    fn add(&mut self, who: Who, acl: &'a AclEntry, entry: &PermissionEntry) -> Option<Conflict> {
        let list = if acl.default { &mut self.default } else { &mut self.access };
        let (_, first) = list.insert(who, (acl.permissions, acl))?;
        Some(Conflict::SameAccount { first: first.to_string(), second: acl.to_string(), at: entry.at })
    }
}

/// Somebody who gets less than the entry says, where the author wrote no mask.
fn cut_by_mask<'a>(acl: &Acl, listed: &BTreeMap<Who, (u8, &'a AclEntry)>) -> Option<&'a AclEntry> {
    if listed.contains_key(&Who::Mask) {
        return None;
    }
    let mask = acl.mode() >> 3 & 7;
    let is_cut = |who: &Who, bits: u8| who.is_named() && u32::from(bits) & !mask != 0;
    listed.iter().find(|(who, (bits, _))| is_cut(who, *bits)).map(|(_, (_, entry))| *entry)
}

fn who<'a>(named: &'a AclWho, accounts: &Accounts) -> Result<Who, (&'static str, &'a String)> {
    match named {
        AclWho::User(name) => accounts.users.get(name).map(|id| Who::User(*id)).ok_or(("user", name)),
        AclWho::Group(name) => accounts.groups.get(name).map(|id| Who::Group(*id)).ok_or(("group", name)),
        AclWho::Mask => Ok(Who::Mask),
        AclWho::Owner => Ok(Who::Owner),
        AclWho::OwningGroup => Ok(Who::OwningGroup),
        AclWho::Other => Ok(Who::Other),
    }
}

/// What keeps the host from giving the label of an entry.
fn context_conflict(entry: &PermissionEntry, context: &SelinuxContext, grounds: &Grounds<'_>) -> Option<Conflict> {
    let label = Label::of(context);
    if grounds.refusals.labels == Labels::UnconfinedRefused && label.is_unconfined() {
        return Some(Conflict::UnconfinedLabel { label, at: entry.at });
    }
    match &grounds.survey.selinux {
        Selinux::Unmanaged => Some(Conflict::NoSemanage { at: entry.at }),
        Selinux::Managed { unknown, .. } => {
            unknown.contains(&label).then_some(Conflict::UnknownLabel { label, at: entry.at })
        }
    }
}
