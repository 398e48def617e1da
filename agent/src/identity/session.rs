//! The file in which another program keeps a session's credentials fresh: the format that AWS's tools share.
//!
//! ```text
//! [default]
//! aws_access_key_id = ASIA…
//! aws_secret_access_key = …
//! aws_session_token = …
//! ```

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Credentials;
use crate::deployment::Secret;
use crate::disk::{self, ExposedBy, Exposure};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The profile that counts.
const PROFILE: &str = "default";

/// Why no credentials came out of such a file. No value of it is ever shown.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It cannot be read.
    #[error("the session's credentials cannot be read: {0}")]
    Unreadable(#[from] disk::Error),
    /// Others can change it.
    #[error("the session's credentials in {} are not used, since others could change them: {exposure}; `{}`", path.display(), exposure.remedy())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What lets them.
        exposure: Exposure,
    },
    /// It is not text.
    #[error("the session's credentials in {} cannot be read: the file is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// The profile is missing.
    #[error("the session's credentials in {} cannot be read: there is no profile [{PROFILE}]{found}", path.display())]
    NoProfile {
        /// The file.
        path: PathBuf,
        /// What there is instead.
        found: String,
    },
    /// A key is missing.
    #[error("the session's credentials in {} cannot be read: profile [{PROFILE}] lacks {missing}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The key.
        missing: &'static str,
    },
}

/// A file of session credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFile {
    path: PathBuf,
}

impl SessionFile {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now.
    pub fn read(&self) -> Result<Credentials, SessionError> {
        let bytes = Zeroizing::new(disk::read_bounded(&self.path, MAX_BYTES)?);
        // Another user may be the one that keeps the file fresh.
        let exposure = disk::exposure(&self.path)?.filter(|exposure| matches!(exposure.by, ExposedBy::Mode(_)));
        if let Some(exposure) = exposure {
            return Err(SessionError::Exposed { path: self.path.clone(), exposure });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| SessionError::NotText(self.path.clone()))?;
        self.parse(text)
    }

    fn parse(&self, text: &str) -> Result<Credentials, SessionError> {
        let mut profiles = Vec::new();
        let (mut id, mut secret, mut token) = (None, None, None);
        for line in text.trim_start_matches('\u{feff}').lines() {
            // What is indented belongs to a nested setting, none of which is a key.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
                profiles.push(name.trim().to_owned());
                continue;
            }
            if profiles.last().is_none_or(|profile| profile != PROFILE) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = Some(value.trim()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" | "aws_security_token" => token = value,
                _ => {}
            }
        }
        if !profiles.iter().any(|profile| profile == PROFILE) {
            return Err(SessionError::NoProfile { path: self.path.clone(), found: other(&profiles) });
        }
        let missing = |missing| SessionError::Incomplete { path: self.path.clone(), missing };
        Ok(Credentials {
            access_key_id: id.ok_or_else(|| missing("aws_access_key_id"))?.to_owned(),
            secret_access_key: Secret::new(secret.ok_or_else(|| missing("aws_secret_access_key"))?.to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        })
    }
}

/// How many there are of another name. Not the names: a line of a damaged file could be anything.
fn other(profiles: &[String]) -> String {
    match profiles.len() {
        0 => String::new(),
        1 => ", but one of another name".to_owned(),
        count => format!(", but {count} of other names"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, SessionError> {
        SessionFile::new("/run/credentials".into()).parse(text)
    }

    #[test]
    fn the_default_profile_counts() {
        let text = "\u{feff}# kept fresh by a timer\n[other]\naws_access_key_id = AKIAOTHER\n\n[default]\r\n\
                    aws_access_key_id=ASIADEFAULT\r\naws_secret_access_key =  se=cret+/ \r\n; a comment\n\
                    aws_session_token = token==\ns3 =\n  aws_access_key_id = nested\nregion = eu-west-1\n[last]\n\
                    aws_secret_access_key = no\n";
        let credentials = parse(text).unwrap();
        assert_eq!(credentials.access_key_id, "ASIADEFAULT");
        assert_eq!(credentials.secret_access_key.expose(), "se=cret+/");
        assert_eq!(credentials.session_token.unwrap().expose(), "token==");
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_shown() {
        for (text, said) in [
            ("", "no profile [default]"),
            ("[sEcReT]\nx=1\n", "but one of another name"),
            ("[default]\naws_secret_access_key = sEcReT\n", "lacks aws_access_key_id"),
            ("[default]\naws_access_key_id = sEcReT\naws_secret_access_key =\n", "lacks aws_secret_access_key"),
            ("aws_access_key_id = sEcReT\naws_secret_access_key = sEcReT\n", "no profile [default]"),
        ] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(error.to_string().contains(said), "{error}");
            assert!(shown.contains("/run/credentials") && !shown.contains("sEcReT"), "{shown}");
        }
    }
}
