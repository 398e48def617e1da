//! What the author of a `location` meant at which the revision has no script.

use std::fmt;

use crate::deployment::RelativePath;

/// What is there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A script, and its arguments behind it.
    WithArguments {
        /// The script.
        script: String,
        /// What is behind it.
        arguments: Vec<String>,
    },
    /// A command line of an interpreter and a script.
    Command {
        /// The script.
        script: String,
    },
    /// A script and the next key, which has no space behind its colon.
    NextKey {
        /// The script.
        script: String,
        /// The next key, with its colon.
        key: String,
    },
    /// The place on the host where the script is installed.
    OnHost {
        /// Where it is in the revision.
        script: String,
    },
    /// A path of another directory.
    Beneath {
        /// Where it is in the revision.
        script: String,
    },
}

impl Meant {
    /// Looks for a script by what was written. `is_file` is asked for paths of the revision.
    pub fn guess(written: &str, is_file: impl Fn(&RelativePath) -> bool) -> Option<Self> {
        let is_script = |text: &str| RelativePath::parse(text).is_ok_and(|path| !path.is_root() && is_file(&path));
        let words: Vec<&str> = written.split_whitespace().collect();
        if let Some(place) = words.iter().position(|word| is_script(word)).filter(|_| words.len() > 1) {
            let script = words.get(place).copied().unwrap_or_default().to_owned();
            let behind = words.get(place + 1..).unwrap_or_default();
            return Some(match behind.first().and_then(|word| word.split_once(':')) {
                Some((key, _)) if place == 0 && super::hooks::KEYS.contains(&key) => {
                    Self::NextKey { script, key: format!("{key}:") }
                }
                _ if place > 0 => Self::Command { script },
                _ => Self::WithArguments { script, arguments: behind.iter().map(|word| (*word).to_owned()).collect() },
            });
        }
        let beneath = |(at, _): (usize, char)| written.get(at + 1..).filter(|rest| is_script(rest));
        let mut ends = written.char_indices().filter(|(at, c)| *c == '/' && *at > 0);
        let script = ends.find_map(beneath)?.to_owned();
        Some(if written.starts_with('/') { Self::OnHost { script } } else { Self::Beneath { script } })
    }
}

/// Goes on after the news that there is no such script.
impl fmt::Display for Meant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithArguments { script, arguments } => write!(
                out,
                "`location` takes no arguments: write `location: {script}` and `args: [{}]`, which AWS's agent ignores, \
                 or a script that holds them",
                arguments.join(", ")
            ),
            Self::Command { script } => write!(
                out,
                "`location` is a path and not a command: write `location: {script}`, and name the interpreter in the \
                 script's first line"
            ),
            Self::NextKey { script, key } => write!(
                out,
                "it goes on in the next line, where a space is missing after `{key}`: write `location: {script}`, and \
                 `{key}` with a space below it"
            ),
            Self::OnHost { script } => {
                write!(out, "`location` is a path in the revision and not on the host: write `location: {script}`")
            }
            Self::Beneath { script } => {
                write!(out, "`location` begins at the revision's root: write `location: {script}`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_a_script_of_the_revision() {
        let is_file =
            |path: &RelativePath| ["scripts/a.sh", "run"].iter().any(|it| path.as_path() == std::path::Path::new(it));
        for (written, part) in [
            ("scripts/a.sh production", Some("`args: [production]`")),
            ("scripts/a.sh --env 'x y'", Some("`args: [--env, 'x, y']`")),
            ("/scripts/a.sh x", Some("write `location: /scripts/a.sh` and `args: [x]`")),
            ("bash scripts/a.sh x", Some("a path and not a command: write `location: scripts/a.sh`")),
            ("scripts/a.sh runas:root", Some("a space is missing after `runas:`")),
            ("/srv/app/scripts/a.sh", Some("not on the host: write `location: scripts/a.sh`")),
            ("/srv/run", Some("not on the host: write `location: run`")),
            ("../scripts/a.sh", Some("begins at the revision's root: write `location: scripts/a.sh`")),
            ("deploy/scripts/a.sh", Some("write `location: scripts/a.sh`")),
            ("scripts/b.sh", None),
            ("scripts/b.sh x", None),
            ("/", None),
            ("", None),
        ] {
            let meant = Meant::guess(written, is_file).map(|meant| meant.to_string());
            match part {
                Some(part) => assert!(meant.as_ref().is_some_and(|meant| meant.contains(part)), "{written}: {meant:?}"),
                None => assert_eq!(meant, None, "{written}"),
            }
        }
    }
}
