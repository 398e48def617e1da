//! What a deployment does not fail of, and its operator should know all the same.
//!
//! The stages collect warnings, the engine puts them into the outcome. From there they reach the operator:
//! through the report's message, the deployment's log, and the output of a deployment by hand.

use std::fmt;

use serde::{Deserialize, Serialize};
use slipway_protocol::diagnostics::head;

/// Warnings beyond these are counted, not kept.
const KEPT: usize = 50;
/// Longest text of one warning, in bytes.
const LONGEST: usize = 1000;
/// Longest text of all warnings in a report's message, in bytes: a report has room for little more than
/// 8,000 characters, of which the scripts' output needs 2,048.
const REPORTED: usize = 2000;

/// The part of a deployment that a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// The AppSpec file.
    AppSpec,
    /// A script of the revision.
    Script,
    /// The bundle.
    Bundle,
    /// What is installed, and what was there before.
    Install,
}

/// One warning: a line of text, without control characters and not longer than 1,000 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The part that it is about.
    pub kind: WarningKind,
    /// What is unusual, and what to do about it.
    text: String,
}

impl Warning {
    /// A warning of this text, which is put on one line and cut where it is long.
    pub fn new(kind: WarningKind, text: &str) -> Self {
        let mut line = String::new();
        for c in text.chars() {
            match c {
                '\n' => line.push(' '),
                c if c.is_control() => line.extend(c.escape_default()),
                c => line.push(c),
            }
        }
        if line.len() > LONGEST {
            line = format!("{}…", head(&line, LONGEST - '…'.len_utf8()));
        }
        Self { kind, text: line }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The warnings of one command, each once, in the order in which they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warnings {
    kept: Vec<Warning>,
    #[serde(default)]
    omitted: usize,
}

impl Warnings {
    /// Adds a warning, unless it is there already.
    pub fn add(&mut self, kind: WarningKind, text: impl fmt::Display) {
        self.push(Warning::new(kind, &text.to_string()));
    }

    /// Adds all warnings of another list.
    pub fn append(&mut self, others: Self) {
        self.omitted += others.omitted;
        others.kept.into_iter().for_each(|warning| self.push(warning));
    }

    fn push(&mut self, warning: Warning) {
        if self.kept.contains(&warning) {
            return;
        }
        if self.kept.len() == KEPT {
            self.omitted += 1;
        } else {
            self.kept.push(warning);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The warnings, at most fifty.
    pub fn iter(&self) -> std::slice::Iter<'_, Warning> {
        self.kept.iter()
    }

    /// One line for each warning, and one for those that were counted only.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.omitted > 0).then(|| format!("and {}", counted(self.omitted)));
        self.kept.iter().map(Warning::to_string).chain(more)
    }

    /// A message with the warnings below it, as many of them as a report has room for.
    pub(super) fn below(&self, message: &str) -> String {
        const MARK: &str = "\nwarning: ";
        let mut text = message.to_owned();
        let (mut room, mut told) = (REPORTED, 0);
        for warning in &self.kept {
            let needed = MARK.len() + warning.text.len();
            if needed > room {
                break;
            }
            room -= needed;
            told += 1;
            text.push_str(MARK);
            text.push_str(&warning.text);
        }
        let untold = self.kept.len() - told + self.omitted;
        if untold > 0 {
            text.push_str(&format!("\nand {}: see the deployment's log on the host", counted(untold)));
        }
        text
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 more warning".to_owned() } else { format!("{count} more warnings") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(texts: &[&str]) -> Warnings {
        let mut warnings = Warnings::default();
        texts.iter().for_each(|text| warnings.add(WarningKind::AppSpec, text));
        warnings
    }

    #[test]
    fn a_warning_is_a_line_of_bounded_length() {
        let warning = Warning::new(WarningKind::Bundle, "one\ntwo\u{1b}[31m\r");
        assert_eq!(warning.text(), "one two\\u{1b}[31m\\r");
        let long = Warning::new(WarningKind::Bundle, &"ä".repeat(LONGEST));
        assert!(long.text().len() <= LONGEST && long.text().ends_with("ä…"), "{}", long.text().len());
    }

    #[test]
    fn each_is_told_once_and_beyond_fifty_they_are_counted() {
        let mut found = warnings(&["a", "b", "a"]);
        assert_eq!(found.lines().collect::<Vec<_>>(), ["a", "b"]);
        for n in 0..60 {
            found.add(WarningKind::Install, n);
        }
        assert_eq!(found.iter().count(), KEPT);
        assert_eq!(found.lines().last().as_deref(), Some("and 12 more warnings"));
        let mut all = warnings(&["b"]);
        all.append(found);
        assert_eq!((all.kept.len(), all.omitted), (KEPT, 12));
        assert_eq!(all.lines().next().as_deref(), Some("b"));
    }

    #[test]
    fn a_message_has_room_for_some_and_says_how_many_are_left_out() {
        assert_eq!(warnings(&[]).below("Succeeded"), "Succeeded");
        assert_eq!(warnings(&["a", "b"]).below("Succeeded"), "Succeeded\nwarning: a\nwarning: b");
        let long: Vec<String> = (0..9).map(|n| format!("{n}{}", "x".repeat(400))).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let text = warnings(&long).below("Failed");
        assert!(text.len() < REPORTED + 100, "{}", text.len());
        assert!(text.ends_with("xx\nand 5 more warnings: see the deployment's log on the host"), "{text}");
    }

    #[test]
    fn outcomes_of_earlier_versions_are_read_and_those_without_warnings_look_like_them() {
        use crate::outcome::Outcome;
        for text in [
            r#"{"Succeeded":{"message":"Succeeded","log":"a"}}"#,
            r#"{"Failed":{"code":4,"script":"a.sh","message":"it failed","log":""}}"#,
        ] {
            let outcome: Outcome = serde_json::from_str(text).unwrap();
            assert!(outcome.warnings().is_empty());
            assert_eq!(serde_json::to_string(&outcome).unwrap(), text);
            let warned = outcome.warned(warnings(&["a"]));
            let again: Outcome = serde_json::from_str(&serde_json::to_string(&warned).unwrap()).unwrap();
            assert_eq!(again, warned);
            assert!(warned.diagnostics().message.ends_with("\nwarning: a"));
        }
    }
}
