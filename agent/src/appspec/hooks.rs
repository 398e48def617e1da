//! The `hooks` section.

use std::collections::BTreeMap;
use std::time::Duration;

use super::extensions::{self, Extensions};
use super::unknown::{self, Part};
use super::{Position, files};
use crate::deployment::RelativePath;
use crate::ids::EventName;
use crate::lifecycle::{HOOK_EVENTS, SERVICE_EVENTS};
use crate::yaml::{Entry, Node, Report, Value, nearest, quoted};

/// How long a script may run if its entry does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// Longer than any deployment; keeps deadlines far from overflow.
pub(super) const LONGEST_TIMEOUT: u64 = i32::MAX as u64;

/// Events that the agent carries out itself.
const AGENT_EVENTS: [&str; 2] = ["DownloadBundle", "Install"];

pub(super) const KEYS: [&str; 8] =
    ["location", "timeout", "runas", "sudo", "environment", "args", "memory_max", "cpu_quota"];

/// One script of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Relative to the revision's root.
    pub location: RelativePath,
    /// The location as the author wrote it, for messages and reports.
    pub written: String,
    /// At least one second.
    pub timeout: Duration,
    /// The user that it runs as; the agent's own if absent.
    pub runas: Option<String>,
    /// Whether `sudo: true` was given. As root it changes nothing.
    pub sudo: Sudo,
    /// What other agents do not know.
    pub extensions: Extensions,
    /// Where the entry is in the AppSpec.
    pub at: Position,
}

/// Whether a script asked for sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// It did.
    Yes,
    /// It did not.
    No,
}

/// Reads the section. Events without scripts are left out, and those whose scripts never run.
pub(super) fn read(section: &Node, report: &mut Report) -> BTreeMap<EventName, Vec<Script>> {
    let Some(fields) = section.fields("`hooks` as a mapping of event names to lists of scripts", report) else {
        return BTreeMap::new();
    };
    let mut hooks = BTreeMap::new();
    for entry in fields.rest() {
        if entry.value.is_null() {
            continue;
        }
        if is_misplaced(entry, report) {
            continue;
        }
        let Some(event) = event(entry, report) else { continue };
        let expected = format!("the scripts of `{event}` as a list, each beginning with `- location:`");
        let scripts: Vec<_> =
            entry.value.items(&expected, report).iter().filter_map(|node| script(node, report)).collect();
        if !scripts.is_empty() {
            hooks.insert(event, scripts);
        }
    }
    hooks
}

/// Keys of other places are no events, and their values no scripts.
fn is_misplaced(entry: &Entry, report: &mut Report) -> bool {
    let Some(place) = right_place(entry) else { return false };
    report.expected(entry.at, "the name of an event", format!("`{}`, which {place}", entry.key));
    true
}

/// Where a key of another place belongs.
fn right_place(entry: &Entry) -> Option<&'static str> {
    let has_location =
        |node: &Node| matches!(&node.value, Value::Mapping(keys) if keys.iter().any(|key| key.key == "location"));
    if matches!(&entry.value.value, Value::Sequence(items) if items.iter().all(has_location)) {
        return None;
    }
    if super::KEYS.contains(&entry.key.as_str()) {
        Some("belongs at the top level: take its indentation away")
    } else if KEYS.contains(&entry.key.as_str()) {
        Some("belongs in a script of an event, in the column of its `location`, which begins with a dash")
    } else {
        None
    }
}

/// Other agents ignore what they do not know here, so nothing of it fails a deployment.
fn event(entry: &Entry, report: &mut Report) -> Option<EventName> {
    let name = entry.key.as_str();
    if SERVICE_EVENTS.contains(&name) || AGENT_EVENTS.contains(&name) {
        let message = format!("`{name}` takes no scripts, these never run: use `Before{name}` or `After{name}`");
        // DownloadBundle is the one without events of its own around it.
        let alone = "`DownloadBundle` takes no scripts, these never run: use `BeforeInstall`";
        report.warn(entry.at, if name == "DownloadBundle" { alone.to_owned() } else { message });
        return None;
    }
    let Ok(event) = EventName::parse(name) else {
        let message = format!(
            "{} cannot be the name of an event (1 to 64 letters and digits), its scripts never run",
            quoted(name)
        );
        report.warn(entry.at, with_guess(message, name));
        return None;
    };
    Some(event)
}

/// An event that has scripts and that no service runs by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// Its name.
    pub name: EventName,
    /// Where it is in the AppSpec.
    pub at: Position,
}

impl OwnEvent {
    /// What becomes of its scripts, and what the author may have meant.
    pub fn warning(&self) -> String {
        let name = &self.name;
        let message = format!("`{name}` is none of the events of a deployment, so its scripts do not run");
        match nearest(name.as_str(), HOOK_EVENTS) {
            Some(known) => format!("{message}; did you mean `{known}`?"),
            None => format!("{message} unless it is asked for by name, as by `deploy-local --events {name}`"),
        }
    }
}

/// The events of an AppSpec file's `hooks` that have scripts and that no service runs by itself.
pub fn own_events(root: &Node) -> Vec<OwnEvent> {
    let entries = |node: &Node| match &node.value {
        Value::Mapping(entries) => entries.clone(),
        _ => Vec::new(),
    };
    let hooks = entries(root).into_iter().find(|entry| entry.key == "hooks");
    let events = hooks.map(|hooks| entries(&hooks.value)).unwrap_or_default();
    let own = events.into_iter().filter(|event| !event.value.is_null()).filter_map(|event| {
        let name = EventName::parse(&event.key).ok()?;
        let is_known =
            [&HOOK_EVENTS[..], &SERVICE_EVENTS, &AGENT_EVENTS].iter().any(|list| list.contains(&name.as_str()));
        (!is_known && right_place(&event).is_none()).then_some(OwnEvent { name, at: event.at })
    });
    own.collect()
}

fn with_guess(message: String, name: &str) -> String {
    match nearest(name, HOOK_EVENTS) {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message,
    }
}

fn script(node: &Node, report: &mut Report) -> Option<Script> {
    let mut fields = node.fields("a script: a mapping with `location`", report)?;
    let location =
        fields.required("location", "`location`, the script's path in the revision", report).and_then(|value| {
            value.parsed(report, |text| {
                let location = files::inside("location", text)?;
                if location.is_root() {
                    return Err("`location` as the path of a script in the revision".to_owned());
                }
                Ok((location, text.to_owned()))
            })
        });
    let seconds = fields.value("timeout").and_then(|value| timeout(value, report));
    let runas = fields.value("runas").and_then(|value| value.parsed(report, user));
    let sudo = fields.value("sudo").and_then(|value| sudo(value, report));
    let extensions = extensions::read(&mut fields, report);
    let at = fields.at();
    unknown::warn(fields, Part::Script, report);
    // A mistake in another key does not take the script away: what it names is looked at too.
    let (location, written) = location?;
    Some(Script {
        location,
        written,
        timeout: seconds.unwrap_or(DEFAULT_TIMEOUT),
        runas,
        sudo: sudo.unwrap_or(Sudo::No),
        extensions: extensions.unwrap_or_default(),
        at,
    })
}

/// Whole seconds. What follows the digits is ignored, as by AWS's agent, with a warning.
fn timeout(value: &Node, report: &mut Report) -> Option<Duration> {
    let at = value.at;
    let (seconds, warning) = value.parsed(report, |text| {
        let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
        let behind = &text[digits.len()..];
        let clear = behind.is_empty() || behind.starts_with(|c: char| c == '.' || c.is_ascii_alphabetic() || c == ' ');
        match digits.parse::<u64>() {
            Ok(seconds @ 1..=LONGEST_TIMEOUT) if behind.is_empty() => Ok((seconds, None)),
            _ if behind.is_empty() && is_longer(digits) => {
                let message = format!("`timeout: {text}` is taken for {LONGEST_TIMEOUT} seconds, the longest there is");
                Ok((LONGEST_TIMEOUT, Some(message)))
            }
            Ok(seconds @ 1..=LONGEST_TIMEOUT) if clear => {
                let message = format!("`timeout: {text}` is taken for {seconds} seconds: write `timeout: {seconds}`");
                Ok((seconds, Some(message)))
            }
            _ => Err(format!("`timeout` as whole seconds from 1 to {LONGEST_TIMEOUT}")),
        }
    })?;
    if let Some(message) = warning {
        report.warn(at, message);
    }
    Some(Duration::from_secs(seconds))
}

fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains([':', '\0', '\n']) {
        return Err("`runas` as a user's name".to_owned());
    }
    Ok(text.to_owned())
}

fn is_longer(digits: &str) -> bool {
    !digits.is_empty() && digits.parse::<u64>().map_or(true, |seconds| seconds > LONGEST_TIMEOUT)
}

/// For AWS's agent all that is there and not false is yes.
fn sudo(value: &Node, report: &mut Report) -> Option<Sudo> {
    match value.scalar() {
        Some(scalar) => match scalar.as_bool() {
            Some(true) => Some(Sudo::Yes),
            Some(false) => Some(Sudo::No),
            None => {
                let message = format!("`sudo` is taken for yes where it is {}: write true or false", value.describe());
                report.warn(value.at, message);
                Some(Sudo::Yes)
            }
        },
        None => {
            report.expected(value.at, "`sudo` as true or false", value.describe());
            None
        }
    }
}
