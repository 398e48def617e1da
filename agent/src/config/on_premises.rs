//! The on-premises file: who a host is that is not on EC2.

use std::fmt;
use std::path::PathBuf;

use super::read;
use crate::deployment::Secret;
use crate::yaml::{self, Budget, Fields, Findings, Node, Oddity, Report, Value, Warning, nearest};

/// What the on-premises file says.
#[derive(Clone, Debug)]
pub enum OnPremises {
    /// An IAM user with keys of its own.
    IamUser {
        /// `iam_user_arn`, which is also the host identifier.
        arn: String,
        /// `region`.
        region: String,
        /// `aws_access_key_id`.
        access_key_id: String,
        /// `aws_secret_access_key`.
        secret: Secret,
    },
    /// A session whose credentials something else keeps fresh in a file.
    IamSession {
        /// `iam_session_arn`, which is also the host identifier.
        arn: String,
        /// `region`.
        region: String,
        /// `aws_credentials_file`, in the shared credentials format.
        credentials_file: PathBuf,
    },
}

/// An on-premises file and what in it does nothing.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Who the host is.
    pub identity: OnPremises,
    /// What is ignored.
    pub warnings: Vec<Warning>,
}

/// All mistakes of an on-premises file, one a line, and what is ignored; never with a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OnPremisesErrors {
    /// Its path.
    pub file: String,
    /// The mistakes.
    pub findings: Findings,
    /// What is ignored.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for OnPremisesErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.in_file(&self.file).fmt(out)?;
        for Warning { at, message } in &self.warnings {
            write!(out, "\n{}:{at}: warning: {message}", self.file)?;
        }
        Ok(())
    }
}

const KEYS: [&str; 6] =
    ["region", "iam_user_arn", "aws_access_key_id", "aws_secret_access_key", "iam_session_arn", "aws_credentials_file"];

/// Parses the file; `file` is its path, for the messages.
pub fn parse(text: &[u8], file: &str) -> Result<Parsed, OnPremisesErrors> {
    let yaml::Document { root, findings, oddities } = yaml::parse(text, Budget::FILE);
    let mut report = Report { findings, warnings: Vec::new() };
    for oddity in &oddities {
        match oddity {
            // Its name is not shown: where a colon is missing it could be the secret.
            Oddity::Again { at, before, .. } => {
                report.expected(*at, "each name once", format!("one again, first in line {before}"));
            }
            other => report.refuse(other),
        }
    }
    match (root.and_then(|root| read(without_colons(root), &mut report)), report.findings.is_empty()) {
        (Some(identity), true) => Ok(Parsed { identity, warnings: report.warnings }),
        _ => {
            let Report { findings, warnings } = report;
            Err(OnPremisesErrors { file: file.to_owned(), findings, warnings })
        }
    }
}

/// Takes AWS's leading colon from the keys.
fn without_colons(mut root: Node) -> Node {
    if let Value::Mapping(entries) = &mut root.value {
        for entry in entries {
            if let Some(name) = entry.key.strip_prefix(':') {
                entry.key = name.to_owned();
            }
        }
    }
    root
}

fn read(root: Node, report: &mut Report) -> Option<OnPremises> {
    if !matches!(root.value, Value::Mapping(_)) {
        let expected = "a mapping with `region`, and with `iam_user_arn` and its keys or `iam_session_arn`";
        report.expected(root.at, expected, root.kind());
        return None;
    }
    let mut fields = root.fields("a mapping", report)?;
    let user = fields.value("iam_user_arn");
    let session = fields.value("iam_session_arn");
    let region = required(&mut fields, "region", report, region_from);
    let identity = match (user, session) {
        (Some(arn), None) => iam_user(arn, region, &mut fields, report),
        (None, Some(arn)) => iam_session(arn, region, &mut fields, report),
        (Some(_), Some(session)) => {
            report.expected(session.at, "either `iam_user_arn` or `iam_session_arn`", "both");
            return None;
        }
        (None, None) => {
            report.expected(root.at, "either `iam_user_arn` or `iam_session_arn`", "neither");
            return None;
        }
    };
    for entry in fields.rest() {
        // A key's name is not shown: in a file that lacks a colon it could be the secret.
        let guess = match nearest(&entry.key, KEYS) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        report.warn(entry.at, format!("an unknown key is ignored{guess}"));
    }
    identity
}

fn iam_user(arn: &Node, region: Option<String>, fields: &mut Fields<'_>, report: &mut Report) -> Option<OnPremises> {
    let access_key_id = required(fields, "aws_access_key_id", report, word);
    let secret = required(fields, "aws_secret_access_key", report, word);
    let arn = checked("iam_user_arn", arn, report, arn_from);
    warn_of_unused("iam_user_arn", &["aws_credentials_file"], fields, report);
    Some(OnPremises::IamUser {
        arn: arn?,
        region: region?,
        access_key_id: access_key_id?,
        secret: Secret::new(secret?),
    })
}

fn iam_session(arn: &Node, region: Option<String>, fields: &mut Fields<'_>, report: &mut Report) -> Option<OnPremises> {
    let path = |text: &str| read::path_from(text).ok_or("an absolute path without `..`");
    let credentials_file = required(fields, "aws_credentials_file", report, path);
    let arn = checked("iam_session_arn", arn, report, arn_from);
    warn_of_unused("iam_session_arn", &["aws_access_key_id", "aws_secret_access_key"], fields, report);
    Some(OnPremises::IamSession { arn: arn?, region: region?, credentials_file: credentials_file? })
}

fn required<T>(
    fields: &mut Fields<'_>,
    key: &str,
    report: &mut Report,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<T> {
    let value = fields.required(key, &format!("`{key}`"), report)?;
    checked(key, value, report, parse)
}

fn checked<T>(
    key: &str,
    value: &Node,
    report: &mut Report,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<T> {
    let text = value.scalar().map_or("", |scalar| scalar.text.trim());
    match parse(text) {
        Ok(parsed) => Some(parsed),
        Err(expected) => {
            let found = if value.scalar().is_some() { "another value (not shown)" } else { value.kind() };
            report.expected(value.at, format!("`{key}` as {expected}"), found);
            None
        }
    }
}

fn warn_of_unused(form: &str, keys: &[&str], fields: &mut Fields<'_>, report: &mut Report) {
    for key in keys {
        if let Some(entry) = fields.take(key) {
            report.warn(entry.at, format!("`{key}` is not used together with `{form}`"));
        }
    }
}

fn arn_from(text: &str) -> Result<String, &'static str> {
    let whole = text.starts_with("arn:") && text.splitn(6, ':').count() == 6;
    if whole { word(text) } else { Err("an ARN such as arn:aws:iam::111122223333:user/host-1") }
}

fn region_from(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("a region such as eu-central-1")
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a text without blanks")
    }
}

#[cfg(test)]
mod tests;
