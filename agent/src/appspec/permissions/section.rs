//! From the tree to permission entries.

use super::{AclEntry, Destination, Mode, Pattern, PermissionEntry, PermissionTarget, SelinuxContext};
use crate::appspec::{selinux, warn_of_unknown};
use crate::yaml::{Node, Report};

pub(in crate::appspec) const KEYS: [&str; 9] =
    ["object", "pattern", "except", "owner", "group", "mode", "acls", "context", "type"];
pub(in crate::appspec) const CONTEXT_KEYS: [&str; 3] = ["name", "type", "range"];

/// Reads the section; entries with mistakes are left out.
pub(in crate::appspec) fn read(section: &Node, report: &mut Report) -> Vec<PermissionEntry> {
    let entries = section.items("`permissions` as a list of entries, each beginning with `- object:`", report);
    entries.iter().filter_map(|node| entry(node, report)).collect()
}

fn entry(node: &Node, report: &mut Report) -> Option<PermissionEntry> {
    let mut fields = node.fields("a permission entry: a mapping with `object` and what to set", report)?;
    let object =
        fields.required("object", "`object`, the file or directory that the entry is for", report).and_then(|value| {
            value.parsed(report, |text| Destination::parse(text).map_err(|e| format!("`object` as {e}")))
        });
    let pattern = match fields.value("pattern") {
        Some(value) => value.parsed(report, |text| Pattern::parse(text).map_err(|e| format!("`pattern` as {e}"))),
        None => Some(Pattern::Everything),
    };
    let except = fields
        .value("except")
        .map_or(&[][..], |value| value.items("`except` as a list of patterns, such as [\"*.log\"]", report));
    let entry = PermissionEntry {
        except: except
            .iter()
            .filter_map(|item| item.parsed(report, |text| Pattern::parse(text).map_err(|e| format!("in `except` {e}"))))
            .collect(),
        target: fields.value("type").map_or(PermissionTarget::Both, |value| target(value, report)),
        owner: fields.value("owner").and_then(|value| name(value, "`owner` as a user's name or number", report)),
        group: fields.value("group").and_then(|value| name(value, "`group` as a group's name or number", report)),
        mode: fields.value("mode").and_then(|value| mode(value, report)),
        acls: fields.value("acls").map(|value| acls(value, report)),
        context: fields.value("context").and_then(|value| context(value, report)),
        at: fields.at(),
        object: object?,
        pattern: pattern?,
    };
    warn_of_unknown(fields, &KEYS, report);
    check(&entry, node, report);
    Some(entry)
}

/// What only shows once the whole entry is read.
fn check(entry: &PermissionEntry, node: &Node, report: &mut Report) {
    let has_default = entry.acls.iter().flatten().any(|acl| acl.default);
    if entry.target == PermissionTarget::Files && has_default {
        report.expected(
            node.at,
            "`acls` without default entries where `type` is `file` alone: files do not have these",
            "a default entry",
        );
    }
    let sets_nothing = entry.owner.is_none()
        && entry.group.is_none()
        && entry.mode.is_none()
        && entry.acls.is_none()
        && entry.context.is_none();
    if sets_nothing {
        report.warn(node.at, "this entry sets nothing: give it `owner`, `group`, `mode`, `acls` or `context`");
    }
}

fn target(value: &Node, report: &mut Report) -> PermissionTarget {
    const EXPECTED: &str = "`type` as a list of `file` and `directory`, such as [file]";
    let items = value.items(EXPECTED, report);
    let (mut files, mut directories) = (false, false);
    for item in items {
        match item.scalar().map(|scalar| scalar.text.trim()) {
            Some("file") => files = true,
            Some("directory") => directories = true,
            _ => report.expected(item.at, "`file` or `directory` in `type`", item.describe()),
        }
    }
    match (files, directories) {
        (true, false) => PermissionTarget::Files,
        (false, true) => PermissionTarget::Directories,
        (true, true) => PermissionTarget::Both,
        (false, false) => {
            if matches!(&value.value, crate::yaml::Value::Sequence(items) if items.is_empty()) {
                report.expected(value.at, EXPECTED, "an empty list");
            }
            PermissionTarget::Both
        }
    }
}

fn mode(value: &Node, report: &mut Report) -> Option<Mode> {
    value.parsed(report, |text| {
        // YAML 1.2 writes octal numbers as 0o644: the author means the same digits.
        let digits = text.strip_prefix("0o").unwrap_or(text);
        Mode::parse(digits).ok_or_else(|| "`mode` as one to four octal digits, such as 0644".to_owned())
    })
}

fn acls(value: &Node, report: &mut Report) -> Vec<AclEntry> {
    let items = value.items("`acls` as a list of entries, such as [\"u:app:rx\"]", report);
    let mut entries: Vec<AclEntry> = Vec::with_capacity(items.len());
    for item in items {
        let Some(entry) =
            item.parsed(report, |text| AclEntry::parse(text).map_err(|expected| format!("in `acls` {expected}")))
        else {
            continue;
        };
        if entries.iter().any(|other| (other.default, &other.who) == (entry.default, &entry.who)) {
            report.expected(item.at, "each user, group and mask once in `acls`", item.describe());
        } else {
            entries.push(entry);
        }
    }
    entries
}

fn context(value: &Node, report: &mut Report) -> Option<SelinuxContext> {
    let mut fields = value.fields("`context` as a mapping with `type`, and `name` and `range` as needed", report)?;
    if let Some(role) = fields.take("role") {
        report.expected(role.at, "a context without `role`, which is not supported", "`role`");
    }
    let user = fields.value("name").and_then(|value| label(value, "`name` as an SELinux user", report));
    let range = fields.value("range").and_then(|value| {
        value.parsed(report, |text| match selinux::check_range(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(expected) => Err(format!("`range` as {expected}")),
        })
    });
    let kind = fields
        .required("type", "`type` of the SELinux context", report)
        .and_then(|value| label(value, "`type` as an SELinux type", report));
    warn_of_unknown(fields, &CONTEXT_KEYS, report);
    Some(SelinuxContext { user, kind: kind?, range })
}

fn label(value: &Node, expected: &str, report: &mut Report) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    value.parsed(report, |text| {
        if !text.is_empty() && text.chars().all(allowed) {
            Ok(text.to_owned())
        } else {
            Err(format!("{expected}: letters, digits, `_`, `-` and `.`"))
        }
    })
}

fn name(value: &Node, expected: &str, report: &mut Report) -> Option<String> {
    value.parsed(report, |text| {
        if text.is_empty() || text.contains([':', '\0', '\n']) { Err(expected.to_owned()) } else { Ok(text.to_owned()) }
    })
}
