//! SELinux labels, and the rules by which the host gives them again.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::appspec::SelinuxContext;

/// What `semanage fcontext` takes where it is not told, and so do we.
const USER: &str = "system_u";
const RANGE: &str = "s0";
/// The role of everything that is no process; an AppSpec cannot say another.
const ROLE: &str = "object_r";
/// Characters that mean something in a rule's expression.
const SPECIAL: &[u8] = b".^$?*+|[](){}\\";

/// An SELinux label, `user:role:type` with or without `:range`, as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Box<str>);

/// Why something is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no SELinux label of the form user:role:type:range")]
pub struct LabelError;

/// A change of the rules by which `restorecon` and a relabelling give labels: for one path, or one
/// expression for paths that somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The expression.
    pub paths: PathExpression,
    /// What it gives now; nothing where there is no rule of this host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Label>,
    /// What it is to give; nothing where there is to be no rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<Label>,
}

/// The expression of a rule: an extended regular expression in visible ASCII, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathExpression(String);

/// Why something is no expression for paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no expression for absolute paths in visible characters")]
pub struct PathExpressionError;

impl Label {
    /// The label that an AppSpec asks for; what it leaves out is as `semanage` has it.
    pub fn of(context: &SelinuxContext) -> Self {
        let SelinuxContext { user, kind, range } = context;
        let (user, range) = (user.as_deref().unwrap_or(USER), range.as_deref().unwrap_or(RANGE));
        Self(format!("{user}:{ROLE}:{kind}:{range}").into())
    }

    /// The label in the kernel's bytes, which end in a zero byte or not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LabelError> {
        let text = std::str::from_utf8(bytes.strip_suffix(b"\0").unwrap_or(bytes)).map_err(|_| LabelError)?;
        Self::try_from(text.to_owned())
    }

    /// See [`Label::from_bytes`]; with the zero byte, as every tool writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.as_bytes().to_vec();
        bytes.push(0);
        bytes
    }

    /// User, type and range.
    pub fn parts(&self) -> (&str, &str, Option<&str>) {
        let mut parts = self.0.splitn(4, ':');
        let mut next = || parts.next();
        let (user, _, kind) = (next(), next(), next());
        (user.unwrap_or_default(), kind.unwrap_or_default(), next())
    }
}

impl Label {
    /// Whether it is one of what nothing confines.
    pub fn is_unconfined(&self) -> bool {
        let (user, kind, _) = self.parts();
        [user, kind].iter().any(|part| part.starts_with("unconfined_"))
    }
}

impl PathExpression {
    /// The expression that means one path and no other.
    pub fn of(path: &Path) -> Self {
        let mut text = String::new();
        for byte in path.as_os_str().as_bytes() {
            match byte {
                byte if SPECIAL.contains(byte) => text.extend(['\\', char::from(*byte)]),
                b'\'' | b'"' => text.push_str(&format!("\\x{byte:02x}")),
                byte if byte.is_ascii_graphic() => text.push(char::from(*byte)),
                byte => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        Self(text)
    }

    /// As it is written in a rule.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Self, LabelError> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'<' | b'>'));
        let is_whole = text.splitn(4, ':').filter(|part| !part.is_empty()).count() >= 3;
        if is_plain && is_whole { Ok(Self(text.into())) } else { Err(LabelError) }
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.into()
    }
}

impl TryFrom<String> for PathExpression {
    type Error = PathExpressionError;
    fn try_from(text: String) -> Result<Self, PathExpressionError> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"'));
        if is_plain && text.starts_with('/') { Ok(Self(text)) } else { Err(PathExpressionError) }
    }
}

impl From<PathExpression> for String {
    fn from(expression: PathExpression) -> Self {
        expression.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for PathExpression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SELinux rule for {}: ", self.paths)?;
        match (&self.was, &self.want) {
            (None, Some(want)) => write!(out, "added, {want}"),
            (Some(was), Some(want)) => write!(out, "{was} → {want}"),
            (Some(was), None) => write!(out, "removed, {was}"),
            (None, None) => out.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(user: Option<&str>, range: Option<&str>) -> SelinuxContext {
        SelinuxContext { user: user.map(str::to_owned), kind: "httpd_t".into(), range: range.map(str::to_owned) }
    }

    #[test]
    fn what_an_appspec_leaves_out_is_as_semanage_has_it() {
        for (user, range, expected) in [
            (None, None, "system_u:object_r:httpd_t:s0"),
            (Some("staff_u"), None, "staff_u:object_r:httpd_t:s0"),
            (None, Some("s0-s1:c0.c3,c9"), "system_u:object_r:httpd_t:s0-s1:c0.c3,c9"),
        ] {
            let label = Label::of(&context(user, range));
            assert_eq!(label.to_string(), expected);
            let parts = (user.unwrap_or("system_u"), "httpd_t", Some(range.unwrap_or("s0")));
            assert_eq!(label.parts(), parts);
            assert_eq!(Label::from_bytes(&label.to_bytes()), Ok(label.clone()));
            assert_eq!(Label::from_bytes(expected.as_bytes()), Ok(label));
        }
        let without_range = Label::from_bytes(b"system_u:object_r:etc_t\0").unwrap();
        assert_eq!(without_range.parts(), ("system_u", "etc_t", None));
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for bad in ["", "a", "a:b", "a::c", "a:b:c d", "a:b:c\n", "<<None>>", "a:b:'c'"] {
            assert_eq!(Label::from_bytes(bad.as_bytes()), Err(LabelError), "{bad:?}");
        }
        assert_eq!(Label::from_bytes(b"a:b:\xff\0"), Err(LabelError));
    }

    #[test]
    fn an_expression_means_its_path_alone() {
        use std::ffi::OsStr;
        for (path, expected) in [
            (&b"/srv/app/run"[..], "/srv/app/run"),
            (b"/srv/app/a.conf", r"/srv/app/a\.conf"),
            (b"/c++/[x](y){z}|^$?*", r"/c\+\+/\[x\]\(y\)\{z\}\|\^\$\?\*"),
            (b"/with space\tand\nmore", r"/with\x20space\x09and\x0amore"),
            (b"/quo'te\"s\\", r"/quo\x27te\x22s\\"),
            ("/café".as_bytes(), r"/caf\xc3\xa9"),
            (b"/\xff", r"/\xff"),
        ] {
            let expression = PathExpression::of(Path::new(OsStr::from_bytes(path)));
            assert_eq!(expression.as_str(), expected);
            assert_eq!(PathExpression::try_from(expected.to_owned()), Ok(expression));
        }
        for bad in ["", "relative", "/with space", "/quo'te", "/\u{e9}"] {
            assert!(PathExpression::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
