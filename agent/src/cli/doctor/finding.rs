use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What came of one check.
#[derive(Debug)]
pub(super) struct Finding {
    /// What was looked at, in a word or two.
    pub(super) check: String,
    /// What was done to find out.
    pub(super) tried: String,
    pub(super) verdict: Verdict,
}

/// How it is.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// As it should be; how it is.
    Passed(String),
    /// It works, and others could use it against this host.
    Warned {
        /// How it is.
        found: String,
        /// What to do about it.
        remedy: String,
    },
    /// Not as it should be.
    Failed {
        /// How it is.
        found: String,
        /// What to do about it.
        remedy: String,
    },
    /// Not known, for this reason.
    NotTried(String),
}

impl Finding {
    pub(super) fn new(check: impl Into<String>, tried: impl Into<String>, verdict: Verdict) -> Self {
        Self { check: check.into(), tried: tried.into(), verdict }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}

impl Verdict {
    pub(super) fn failed(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { found: found.into(), remedy: remedy.into() }
    }
}

/// `{"check", "result": "pass" | "warn" | "fail" | "not_tried", "tried", "found", "remedy"}`; the last one where it failed
/// or warns.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (result, found, remedy) = match &self.verdict {
            Verdict::Passed(found) => ("pass", found, None),
            Verdict::Warned { found, remedy } => ("warn", found, Some(remedy)),
            Verdict::Failed { found, remedy } => ("fail", found, Some(remedy)),
            Verdict::NotTried(reason) => ("not_tried", reason, None),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("check", &self.check)?;
        map.serialize_entry("result", result)?;
        map.serialize_entry("tried", &self.tried)?;
        map.serialize_entry("found", found)?;
        if let Some(remedy) = remedy {
            map.serialize_entry("remedy", remedy)?;
        }
        map.end()
    }
}
