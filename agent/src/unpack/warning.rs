//! What people should know of an unpacked bundle: it deploys, and something of it is not as they may think.

use std::fmt;

/// Most names that a warning lists.
const LISTED: usize = 5;

/// Something of a bundle that is not unpacked as the bundle has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnpackWarning {
    /// Paths that the bundle names more than once.
    Repeated(Named),
    /// Entries with an ACL or a capability.
    Privileges(Named),
    /// Entries of a kind that no standard knows.
    UnknownKind(Named),
    /// Entries with `..` in their paths.
    Parents(Named),
    /// What macOS adds beside the single directory of a bundle.
    OfMacOs(Named),
}

/// Some names, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The first ones.
    pub names: Vec<String>,
    /// How many there are, these included.
    pub total: u64,
}

/// The kinds of what is noted while a bundle is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Repeated,
    Privileges,
    UnknownKind,
    Parents,
}

/// What was noted.
#[derive(Debug, Default)]
pub(super) struct Notes {
    repeated: Named,
    privileges: Named,
    unknown_kind: Named,
    parents: Named,
}

impl Notes {
    pub fn add(&mut self, note: Note, name: &str) {
        match note {
            Note::Repeated => &mut self.repeated,
            Note::Privileges => &mut self.privileges,
            Note::UnknownKind => &mut self.unknown_kind,
            Note::Parents => &mut self.parents,
        }
        .add(name);
    }

    pub fn into_warnings(self) -> Vec<UnpackWarning> {
        let Self { repeated, privileges, unknown_kind, parents } = self;
        let warning = |named: Named, of: fn(Named) -> UnpackWarning| (named.total > 0).then(|| of(named));
        [
            warning(repeated, UnpackWarning::Repeated),
            warning(privileges, UnpackWarning::Privileges),
            warning(unknown_kind, UnpackWarning::UnknownKind),
            warning(parents, UnpackWarning::Parents),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Named {
    /// Counts one more, and keeps its name where there are few yet. A name that repeats the last one counts.
    pub fn add(&mut self, name: &str) {
        self.total += 1;
        if self.names.len() < LISTED && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.names.iter().enumerate() {
            write!(out, "{}{name:?}", if number == 0 { "" } else { ", " })?;
        }
        match self.total.saturating_sub(self.names.len() as u64) {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}

impl fmt::Display for UnpackWarning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated(named) => write!(
                out,
                "the bundle names a path more than once, and the last entry was unpacked: {named}; \
                 pack each file once"
            ),
            Self::Privileges(named) => write!(
                out,
                "the bundle has ACLs or capabilities, which were not unpacked: {named}; \
                 set ACLs by acls below permissions, and capabilities in a hook"
            ),
            Self::UnknownKind(named) => write!(
                out,
                "the bundle has entries of an unknown kind, which were unpacked as files: {named}; \
                 pack it with a plain tar"
            ),
            Self::Parents(named) => write!(
                out,
                "the bundle has `..` in paths, which was dropped as unzip does: {named}; \
                 pack it from the directory that the paths begin at"
            ),
            Self::OfMacOs(named) => write!(
                out,
                "the bundle was packed by macOS, and what that added was left out: {named}; \
                 pack the content of the directory, without these"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_lists_few_names_and_counts_all() {
        let mut notes = Notes::default();
        assert_eq!(notes.into_warnings(), []);
        notes = Notes::default();
        for number in 0..7 {
            notes.add(Note::Repeated, &format!("f{number}"));
        }
        let warnings = notes.into_warnings();
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        let text = warning.to_string();
        assert!(text.contains(r#""f0", "f1", "f2", "f3", "f4" and 2 more"#), "{text}");
    }
}
