//! From the tree to permission entries.

use super::{AclEntry, Destination, Mode, NamePattern, Pattern, PermissionEntry, PermissionTarget, SelinuxContext};
use crate::appspec::selinux;
use crate::appspec::unknown::{self, Part};
use crate::yaml::{Node, Report};

pub(in crate::appspec) const KEYS: [&str; 9] =
    ["object", "pattern", "except", "owner", "group", "mode", "acls", "context", "type"];
pub(in crate::appspec) const CONTEXT_KEYS: [&str; 3] = ["name", "type", "range"];

/// The keys that do something.
const SETS: [&str; 5] = ["owner", "group", "mode", "acls", "context"];

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
        Some(value) => text(value, "`pattern` as `**` or a pattern for names", report).map(|text| {
            let pattern = Pattern::parse(text);
            if let Pattern::Children(names) = &pattern {
                doubt(value, names, report);
            }
            pattern
        }),
        None => Some(Pattern::Everything),
    };
    let except = fields
        .value("except")
        .map_or(&[][..], |value| value.items("`except` as a list of patterns, such as [\"*.log\"]", report));
    let except = except.iter().filter_map(|item| {
        let names = NamePattern::parse(text(item, "in `except` a pattern for names", report)?);
        doubt(item, &names, report);
        Some(names)
    });
    let except = except.collect();
    let sets = SETS.iter().filter(|key| fields.has(key)).count();
    let target = match fields.value("type") {
        Some(value) => target(value, report),
        None => Some(PermissionTarget::Both),
    };
    let (owner, group) = (fields.value("owner"), fields.value("group"));
    let owner = owner.and_then(|value| name(value, "`owner` as a user's name or number", report));
    let group = group.and_then(|value| name(value, "`group` as a group's name or number", report));
    let mode = fields.value("mode").and_then(|value| mode(value, report));
    let acls = fields.value("acls").map(|value| acls(value, report));
    let context = fields.value("context").and_then(|value| context(value, report));
    unknown::warn(fields, Part::Permission, report);
    if sets == 0 {
        report.warn(node.at, "this entry sets nothing: give it `owner`, `group`, `mode`, `acls` or `context`");
    }
    let at = node.at;
    let (object, pattern, target) = (object?, pattern?, target?);
    check_acls(acls.as_deref(), target, node, report);
    Some(PermissionEntry { object, pattern, except, target, owner, group, mode, acls, context, at })
}

/// A pattern that other agents take too, and that hardly means what its author thinks.
fn doubt(value: &Node, names: &NamePattern, report: &mut Report) {
    if let Some(doubt) = names.doubt() {
        report.warn(value.at, format!("the pattern {} {doubt}", value.describe()));
    }
}

fn check_acls(acls: Option<&[AclEntry]>, target: PermissionTarget, node: &Node, report: &mut Report) {
    if target == PermissionTarget::Files && acls.into_iter().flatten().any(|acl| acl.default) {
        report.expected(
            node.at,
            "`acls` without default entries where `type` is `file` alone: files do not have these",
            "a default entry",
        );
    }
}

/// The kinds that are meant; nothing where there are none, as with AWS's agent, or where none could be read.
fn target(value: &Node, report: &mut Report) -> Option<PermissionTarget> {
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
        (true, false) => Some(PermissionTarget::Files),
        (false, true) => Some(PermissionTarget::Directories),
        (true, true) => Some(PermissionTarget::Both),
        (false, false) => {
            if items.is_empty() && matches!(value.value, crate::yaml::Value::Sequence(_)) {
                report.warn(value.at, "`type` is an empty list, so this entry means nothing: leave `type` out");
            }
            None
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
    unknown::warn(fields, Part::Context, report);
    Some(SelinuxContext { user, kind: kind?, range })
}

/// A text that may be empty.
fn text<'n>(value: &'n Node, expected: &str, report: &mut Report) -> Option<&'n str> {
    let found = value.scalar().map(|scalar| scalar.text.trim());
    if found.is_none() {
        report.expected(value.at, expected, value.describe());
    }
    found
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
