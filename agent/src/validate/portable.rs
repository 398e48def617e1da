//! What AWS's agent refuses, or takes differently, of a revision that deploys here.
//!
//! Each finding is a row of the table in the guide about the way from one agent to the other. AWS's agent reads its
//! AppSpec with Ruby's YAML, where an unquoted scalar is a number, a date or a truth value by its looks.

use std::path::Path;

use super::places::{self, Field};
use super::{Examination, Finding, HostRules, Severity};
use crate::appspec::AppSpec;
use crate::disk::{self, Dir};
use crate::lifecycle::{HOOK_EVENTS, SERVICE_EVENTS};
use crate::plan::{self, Index, PathState, Sources};
use crate::revision::Revision;
use crate::yaml::{Entry, Node, Position, Scalar, Style, Value, quoted};

/// Whose hosts a revision is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Hosts with this agent.
    #[default]
    ThisAgent,
    /// Hosts with AWS's agent too.
    BothAgents,
}

/// Keys of a script that this agent alone knows.
const OWN_KEYS: [&str; 4] = ["environment", "args", "memory_max", "cpu_quota"];
/// Characters in a script's path at which a shell, or Ruby's start of a program, divides it.
const DIVIDING: [char; 16] = [' ', '\t', '&', '|', ';', '<', '>', '(', ')', '$', '`', '"', '\'', '*', '?', '['];

impl Examination {
    /// What the AppSpec alone tells.
    pub(super) fn portable_appspec(&mut self, text: &[u8], rules: &HostRules) {
        if rules.audience == Audience::ThisAgent {
            return;
        }
        if text.starts_with(b"\xEF\xBB\xBF") {
            let message = "AWS's agent refuses an AppSpec that begins with a byte order mark, of which it reads the first \
                           line alone: save it without one";
            self.warning(Position::START, message.to_owned());
        }
        let Some(root) = self.root.take() else { return };
        for entry in entries(&root) {
            match entry.key.as_str() {
                "version" if scalar(&entry.value).is_some_and(|version| version.style == Style::Quoted) => {
                    let message = "AWS's agent refuses a version in quotes: write `version: 0.0`";
                    self.warning(entry.value.at, message.to_owned());
                }
                "file_exists_behavior" => self.behavior(&entry.value),
                "files" => items(&entry.value).iter().for_each(|file| self.source(file)),
                "permissions" => items(&entry.value).iter().for_each(|permission| self.permission(permission)),
                "hooks" => entries(&entry.value).iter().for_each(|event| self.event(event)),
                _ => {}
            }
        }
        for at in places::shared_values(&root) {
            let message = "AWS's agent refuses an alias (`*name`) for this value where its Ruby is 3.1 or later: write the \
                           value out at each place";
            self.warning(at, message.to_owned());
        }
        self.root = Some(root);
    }

    fn behavior(&mut self, value: &Node) {
        let Some(behavior) = scalar(value) else { return };
        let capitals = behavior.text.trim().to_ascii_uppercase();
        if behavior.text != capitals {
            let message = format!(
                "AWS's agent fails as soon as a file is there already: it knows `{capitals}` in capitals alone"
            );
            self.warning(value.at, message);
        }
    }

    fn source(&mut self, file: &Node) {
        let Some((at, source)) = member(file, "source") else { return };
        if let Some(kind) = ruby_kind(source) {
            let message = format!(
                "AWS's agent reads {} as {kind}, and refuses it as a path: put it in quotes",
                quoted(&source.text)
            );
            self.warning(at, message);
        }
    }

    fn permission(&mut self, permission: &Node) {
        if let Some((at, mode)) = member(permission, "mode") {
            let written = mode.text.trim();
            let here = written.strip_prefix("0o").unwrap_or(written);
            let message = match aws_mode(mode) {
                Some(there) if there.trim_start_matches('0') == here.trim_start_matches('0') => None,
                Some(there) => Some(format!(
                    "reads this as the octal number that it is, in decimal {there}, and sets the mode {there:0>4}"
                )),
                None => Some("refuses this mode, which it reads as a number, or as more than four digits".to_owned()),
            };
            if let Some(message) = message {
                self.warning(at, format!("AWS's agent {message}: write `mode: \"{here}\"`, in quotes"));
            }
        }
        for (key, what) in [("owner", "user"), ("group", "group")] {
            if let Some((at, name)) = member(permission, key)
                && !name.text.is_empty()
                && name.text.bytes().all(|byte| byte.is_ascii_digit())
            {
                let message =
                    format!("AWS's agent looks for a {what} by name alone, and fails at a number: name the {what}");
                self.warning(at, message);
            }
        }
    }

    fn event(&mut self, event: &Entry) {
        let name = &event.key;
        if event.value.is_null() {
            self.warning(
                event.at,
                format!("AWS's agent refuses `{name}` without scripts: remove it, or write `{name}: []`"),
            );
        }
        let is_read = HOOK_EVENTS.contains(&name.as_str());
        for script in items(&event.value) {
            // Where the event can run, it is an error here too.
            if !is_read
                && member(script, "location").is_none()
                && (SERVICE_EVENTS.contains(&name.as_str()) || matches!(name.as_str(), "DownloadBundle" | "Install"))
            {
                let message =
                    format!("AWS's agent refuses a script without `location`, though `{name}` runs none: remove it");
                self.warning(script.at, message);
            }
            for own in entries(script).iter().filter(|entry| OWN_KEYS.contains(&entry.key.as_str())) {
                self.warning(
                    own.at,
                    format!("AWS's agent does not know `{}`, and runs the script without it", own.key),
                );
            }
            if let Some((at, timeout)) = member(script, "timeout")
                && let Some(seconds) = octal(timeout)
                && timeout.text.trim().parse() != Ok(seconds)
            {
                let message = format!(
                    "AWS's agent reads this as an octal number, {seconds} seconds: write it without the leading 0"
                );
                self.warning(at, message);
            }
            if let Some((at, location)) = member(script, "location")
                && location.text.trim().contains(DIVIDING)
            {
                let message = "AWS's agent divides the path of a script at spaces, and hands signs such as `$` to a shell: give the \
                               script another name";
                self.warning(at, message.to_owned());
            }
        }
    }

    /// What the revision's tree tells: links, and files that are named like directories.
    pub(super) fn portable_content(
        &mut self,
        (spec, sources, index): (&AppSpec, &Sources, &Index),
        revision: &Revision,
        shown: &Path,
        rules: &HostRules,
    ) {
        if rules.audience == Audience::ThisAgent {
            return;
        }
        for file in &spec.files {
            let is_file = matches!(index.get(file.source.as_path()), Some((_, PathState::File { .. })));
            let at = self.place(file.at, Field::Source);
            let written = self.root.as_ref().and_then(|root| places::scalar_at(root, at));
            if is_file && written.is_some_and(|source| source.text.trim().ends_with('/')) {
                let message = "AWS's agent fails at a file with `/` at its end: remove the `/`";
                self.warning(at, message.to_owned());
            }
        }
        let mut told = Vec::new();
        for target in plan::expand(spec, sources, index, &mut Vec::new()) {
            let source = target.source;
            if !matches!(target.state, PathState::Symlink { .. }) || told.contains(&source) {
                continue;
            }
            if disk::resolve_beneath(revision.root(), source).is_ok_and(|real| Dir::open(real).is_ok()) {
                told.push(source);
                self.validation.add(Finding {
                    severity: Severity::Warning,
                    file: shown.join(source).display().to_string(),
                    at: None,
                    message: "AWS's agent installs what this link to a directory leads to, as a directory of its own; here it \
                              stays a link"
                        .to_owned(),
                    source: None,
                });
            }
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Mapping(entries) => entries,
        _ => &[],
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(items) => items,
        _ => &[],
    }
}

fn scalar(node: &Node) -> Option<&Scalar> {
    node.scalar()
}

/// A scalar of a mapping, and where it is.
fn member<'n>(node: &'n Node, key: &str) -> Option<(Position, &'n Scalar)> {
    let entry = entries(node).iter().find(|entry| entry.key == key)?;
    Some((entry.value.at, scalar(&entry.value)?))
}

/// The number that an unquoted scalar with a leading zero is to Ruby.
fn octal(scalar: &Scalar) -> Option<u64> {
    let digits = scalar.text.trim().strip_prefix('0').filter(|digits| !digits.is_empty())?;
    let is_octal = scalar.style == Style::Plain && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    is_octal.then(|| u64::from_str_radix(digits, 8).ok())?
}

/// The digits of the mode that AWS's agent sets; nothing where it refuses it.
fn aws_mode(mode: &Scalar) -> Option<String> {
    let text = octal(mode).map_or_else(|| mode.text.trim().to_owned(), |number| number.to_string());
    (text.len() <= 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte))).then_some(text)
}

/// What an unquoted scalar is to Ruby, where that is no text.
fn ruby_kind(scalar: &Scalar) -> Option<&'static str> {
    let text = scalar.text.trim();
    let all = |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || more.contains(c));
    let is_date = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(|part| all(part, "") && part.len() <= 4)
    };
    if scalar.style == Style::Quoted {
        None
    } else if matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "false" | "no" | "off") {
        Some("a truth value")
    } else if is_date(text) {
        Some("a date")
    } else if text.starts_with(|c: char| c.is_ascii_digit()) && all(text, "_,.") && text.matches('.').count() <= 1 {
        Some("a number")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), style: Style::Plain }
    }

    /// What Ruby 3.1 makes of these, by its own word.
    #[test]
    fn numbers_are_what_ruby_takes_them_for() {
        let rows = [
            ("0644", Some("420")),
            ("0755", None),
            ("0640", Some("416")),
            ("0600", None),
            ("0777", Some("511")),
            ("644", Some("644")),
            ("4755", Some("4755")),
            ("04755", Some("2541")),
            ("0o644", None),
            ("0", Some("0")),
            ("0000", Some("0")),
        ];
        for (text, there) in rows {
            assert_eq!(aws_mode(&plain(text)).as_deref(), there, "{text}");
        }
        let quoted = Scalar { text: "0644".to_owned(), style: Style::Quoted };
        assert_eq!(aws_mode(&quoted).as_deref(), Some("0644"));
        assert_eq!(octal(&plain("0100")), Some(64));
        assert_eq!(octal(&plain("100")), None);
        let kinds = [
            ("1.10", true),
            ("2020-01-01", true),
            ("yes", true),
            ("42", true),
            ("1.2.3", false),
            ("app", false),
            ("2020-01", false),
        ];
        for (text, is_no_text) in kinds {
            assert_eq!(ruby_kind(&plain(text)).is_some(), is_no_text, "{text}");
        }
    }
}
