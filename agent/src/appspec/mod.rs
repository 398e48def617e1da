//! The AppSpec file: what the author of a revision wants on a host.
//!
//! Grammar and meaning are those of AWS's EC2 and on-premises AppSpec. A value of [`AppSpec`] is
//! right by construction; the parser reports every mistake of a file at once.

pub mod acl;
pub mod extensions;
pub mod files;
pub mod hooks;
mod locate;
pub mod location;
pub mod mode;
pub mod pattern;
pub mod permissions;
pub mod schema;
pub mod selinux;
mod unknown;

use std::collections::BTreeMap;
use std::fmt;

pub use files::{Destination, FileMapping};
pub use hooks::{OwnEvent, Script, own_events};
pub use locate::{AppSpecNotFound, locate};
pub use pattern::{NamePattern, Pattern};
pub use permissions::{AclEntry, Mode, PathKind, PermissionEntry, PermissionTarget, SelinuxContext};

use crate::deployment::FileExistsBehavior;
use crate::deployment::RelativePath;
use crate::ids::EventName;
pub use crate::yaml::Position;
use crate::yaml::{self, Budget, Findings, Node, Report, Value, Warning};
use unknown::Part;

/// A whole AppSpec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// What goes where, in the file's order.
    pub files: Vec<FileMapping>,
    /// What to do about files that exist already; goes before the service's value.
    pub file_exists_behavior: Option<FileExistsBehavior>,
    /// Owners, modes and labels of what this deployment installs, in the file's order.
    pub permissions: Vec<PermissionEntry>,
    /// Scripts of each event, in the order in which they run. Events without scripts are left out.
    pub hooks: BTreeMap<EventName, Vec<Script>>,
}

/// An AppSpec and what in its file does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What the author wants.
    pub spec: AppSpec,
    /// What is ignored: other agents ignore it too, so it does not fail a deployment.
    pub warnings: Vec<Warning>,
    /// Events that no service runs by itself, in the file's order.
    pub own_events: Vec<OwnEvent>,
}

/// Parses an AppSpec file; `file` is its name in the revision, for the messages.
pub fn parse(text: &[u8], file: &str) -> Result<Parsed, AppSpecErrors> {
    let Examined { root, spec, mut report, .. } = examine(text);
    match spec {
        Some(spec) if report.findings.is_empty() => Ok(Parsed {
            spec,
            warnings: report.warnings,
            own_events: root.as_ref().map(own_events).unwrap_or_default(),
        }),
        _ => {
            for event in root.as_ref().map(own_events).unwrap_or_default() {
                report.warn(event.at, event.warning());
            }
            Err(AppSpecErrors { file: file.to_owned(), findings: report.findings, warnings: report.warnings })
        }
    }
}

/// An AppSpec file with everything that can be said of it, mistakes or not.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The file as it was written; nothing where it is no YAML.
    pub root: Option<Node>,
    /// What the author wants, so far as it could be read: without the entries whose mistakes leave nothing of
    /// them. Nothing where too much is wrong.
    pub spec: Option<AppSpec>,
    /// Sources whose entries have no destination, each with its entry's place.
    pub lone_sources: Vec<(RelativePath, Position)>,
    /// Mistakes, and what is ignored.
    pub report: Report,
}

/// Reads an AppSpec file for whoever wants to know all about it. To deploy it, [`parse`] it.
pub fn examine(text: &[u8]) -> Examined {
    let yaml::Document { root, findings, oddities } = yaml::parse(text, Budget::FILE);
    let mut report = Report { findings, warnings: Vec::new() };
    let mut lone_sources = Vec::new();
    // AWS's agent takes all of these.
    oddities.iter().for_each(|oddity| report.tolerate(oddity));
    let spec = root.as_ref().and_then(|root| read(root, &mut report, &mut lone_sources));
    Examined { root, spec, lone_sources, report }
}

/// All mistakes of an AppSpec file. Shown as one line for each, `appspec.yml:12:9: expected …, found …`; then
/// what is ignored, since who mends the file wants to know all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AppSpecErrors {
    /// The file's name in the revision.
    pub file: String,
    /// The mistakes, in the file's order.
    pub findings: Findings,
    /// What is ignored, in the file's order.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for AppSpecErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.in_file(&self.file).fmt(out)?;
        for Warning { at, message } in &self.warnings {
            write!(out, "\n{}:{at}: warning: {message}", self.file)?;
        }
        Ok(())
    }
}

const KEYS: [&str; 6] = ["version", "os", "files", "file_exists_behavior", "permissions", "hooks"];

fn read(root: &Node, report: &mut Report, lone_sources: &mut Vec<(RelativePath, Position)>) -> Option<AppSpec> {
    let mut fields = root.fields("an AppSpec: a mapping with `version`, `os`, `files` and `hooks`", report)?;
    if let Some(resources) = fields.take("resources").or_else(|| fields.take("Resources")) {
        // Nothing else in the file is for this agent, so nothing else in it is a mistake.
        let found = format!("`{}`: this file is for {}", resources.key, platform(&resources.value));
        *report = Report::default();
        report.expected(resources.at, "an AppSpec for EC2 or on-premises hosts", found);
        return None;
    }
    if let Some(value) = fields.required("version", "`version: 0.0`", report) {
        value.parsed(report, version);
    }
    if let Some(value) = fields.required("os", "`os: linux`", report) {
        value.parsed(report, os);
    }
    let behavior = fields.value("file_exists_behavior").and_then(|value| {
        value.parsed(report, |text| {
            FileExistsBehavior::parse(text)
                .ok_or_else(|| "`file_exists_behavior` as DISALLOW, OVERWRITE or RETAIN".to_owned())
        })
    });
    let spec = AppSpec {
        files: fields.value("files").map(|section| files::read(section, report, lone_sources)).unwrap_or_default(),
        file_exists_behavior: behavior,
        permissions: fields.value("permissions").map(|section| permissions::read(section, report)).unwrap_or_default(),
        hooks: fields.value("hooks").map(|section| hooks::read(section, report)).unwrap_or_default(),
    };
    unknown::warn(fields, Part::Top, report);
    Some(spec)
}

/// The version in any spelling of the number zero, `0.0` or `"0.0"`.
fn version(text: &str) -> Result<(), String> {
    let zero = text.contains('0') && text.matches('.').count() <= 1 && text.chars().all(|c| matches!(c, '0' | '.'));
    if zero { Ok(()) } else { Err("`version` as 0.0, the only one there is".to_owned()) }
}

fn os(text: &str) -> Result<(), String> {
    match text {
        "linux" => Ok(()),
        "windows" => Err("`os` as linux, since this agent deploys to Linux hosts alone".to_owned()),
        _ => Err("`os` as linux".to_owned()),
    }
}

/// The platform that the `resources` of an AppSpec are for.
fn platform(resources: &Node) -> &'static str {
    fn names(node: &Node, prefix: &str) -> bool {
        match &node.value {
            Value::Scalar(scalar) => scalar.text.starts_with(prefix),
            Value::Sequence(items) => items.iter().any(|item| names(item, prefix)),
            Value::Mapping(entries) => entries.iter().any(|entry| names(&entry.value, prefix)),
        }
    }
    if names(resources, "AWS::Lambda::") {
        "AWS Lambda"
    } else if names(resources, "AWS::ECS::") {
        "Amazon ECS"
    } else {
        "AWS Lambda or Amazon ECS"
    }
}

#[cfg(test)]
mod tests;
