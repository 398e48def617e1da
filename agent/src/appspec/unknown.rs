//! Keys that are ignored where they are, and what their author most likely meant by them.

use super::{files, hooks, permissions};
use crate::lifecycle::HOOK_EVENTS;
use crate::yaml::{Entry, Fields, Report, nearest, quoted};

/// A mapping of an AppSpec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The file itself.
    Top,
    /// An entry of `files`.
    File,
    /// An entry of `permissions`.
    Permission,
    /// The `context` of a permission entry.
    Context,
    /// A script.
    Script,
}

/// Names by which authors ask for files to be replaced.
const OVERWRITES: [&str; 5] = ["overwrite", "force", "replace", "overwrite_existing", "file_exists_behaviour"];

impl Part {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &super::KEYS,
            Self::File => &files::KEYS,
            Self::Permission => &permissions::KEYS,
            Self::Context => &permissions::CONTEXT_KEYS,
            Self::Script => &hooks::KEYS,
        }
    }

    /// Where a key that is known elsewhere belongs.
    fn advice(self, key: &str) -> Option<String> {
        let own_place = |part: Self| part != self && part.keys().contains(&key);
        if self == Self::File && (OVERWRITES.contains(&key) || key == "file_exists_behavior") {
            return Some(
                "to replace files that exist already, write `file_exists_behavior: OVERWRITE` at the top level of \
                 the AppSpec"
                    .to_owned(),
            );
        }
        if self == Self::Top && HOOK_EVENTS.contains(&key) {
            return Some("as an event it belongs below `hooks`, indented: its scripts never run here".to_owned());
        }
        if own_place(Self::Top) {
            return Some("it belongs at the top level of the AppSpec".to_owned());
        }
        let shared = [Self::File, Self::Permission, Self::Script].into_iter().find(|part| own_place(*part))?;
        Some(match shared {
            Self::File => "it belongs in an entry of `files`, below its `- source:`".to_owned(),
            Self::Permission => "it belongs in an entry of `permissions`, below its `- object:`".to_owned(),
            _ => "it belongs in a script of an event below `hooks`, in the column of its `location`".to_owned(),
        })
    }
}

/// What is left of a mapping is ignored, as other agents do, and said to be.
pub(super) fn warn(fields: Fields<'_>, part: Part, report: &mut Report) {
    for entry in fields.rest() {
        report.warn(entry.at, message(entry, part));
    }
}

fn message(entry: &Entry, part: Part) -> String {
    let key = entry.key.as_str();
    let guess = if let Some(advice) = part.advice(key) {
        format!(": {advice}")
    } else if let Some((name, value)) = key.split_once(':').filter(|(name, _)| part.keys().contains(name)) {
        format!(": write a space after the colon, `{name}: {value}`")
    } else if let Some(name) = nearest(key, part.keys().iter().copied()) {
        format!("; did you mean `{name}`?")
    } else if let Some(event) = nearest(key, HOOK_EVENTS).filter(|_| part == Part::Top) {
        format!("; did you mean the event `{event}`? It belongs below `hooks`, indented")
    } else {
        String::new()
    };
    format!("the unknown key {} is ignored{guess}", quoted(key))
}
