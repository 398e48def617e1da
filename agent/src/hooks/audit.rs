//! The entries of the record of scripts: one before a script begins, and one once it is over. The runner writes them, since it
//! outlives the agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::HookError;
use super::record::{End, RunnerSpec, ScriptsOf};
use crate::disk::{self, Durable};
use crate::layout::Layout;
use crate::process::{Account, Ended, JournalSocket};
use crate::store::audit::{self, Head, Kept};

/// Longest signer that is written down, in characters.
const LONGEST_SIGNER: usize = 1000;
/// Longest wait for the journal to take an entry.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);
/// Identifier of the entries in the journal.
const IDENTIFIER: &str = "slipway-audit";

/// Orders of a runner for the record of its script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The agent's root directory.
    pub root: PathBuf,
    /// The limits of the record.
    pub kept: Kept,
    /// The signer of the specification, or the user who deployed by hand.
    pub signer: String,
    /// The id of the key that signed the bundle, where the host trusts keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_key: Option<String>,
    /// The fate of a script that cannot be recorded.
    pub unrecorded: Unrecorded,
}

/// The fate of a script that cannot be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unrecorded {
    /// It runs, and a warning says so.
    #[default]
    Run,
    /// It is not run.
    Refused,
}

/// One entry of the record.
#[derive(Serialize)]
struct Entry<'a> {
    what: &'static str,
    deployment: &'a str,
    group: &'a str,
    event: &'a str,
    script: &'a str,
    /// The deployment whose revision holds it, where that is an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    user: &'a str,
    uid: u32,
    /// SHA-256 of the script; absent where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    signer: &'a str,
    /// The key that signed the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

/// A script that is on record as begun.
pub(super) struct Recorded<'a> {
    spec: &'a RunnerSpec,
    recording: &'a Recording,
    user: (String, u32),
    sha256: Option<String>,
}

impl Recording {
    /// A recording of scripts that `signer` vouches for.
    pub fn new(root: &Path, kept: Kept, unrecorded: Unrecorded, signer: &str) -> Self {
        let signer = signer.chars().take(LONGEST_SIGNER).collect();
        Self { root: root.to_owned(), kept, signer, bundle_key: None, unrecorded }
    }
}

impl<'a> Recorded<'a> {
    /// Puts a script on record, durably, before it begins. Nothing where none is kept.
    pub fn begin(spec: &'a RunnerSpec) -> Result<Option<Self>, HookError> {
        let Some(recording) = &spec.recording else { return Ok(None) };
        let own = rustix::process::geteuid().as_raw();
        let user = match &spec.program.account {
            Some(account) => (account.name.clone(), account.uid),
            None => (Account::own()?.map_or_else(|| own.to_string(), |account| account.name), own),
        };
        let sha256 = sha256_of(&spec.subject.path).ok();
        let recorded = Self { spec, recording, user, sha256 };
        recorded.put("begun", Durable::Now, None)?;
        Ok(Some(recorded))
    }

    /// Puts down how it ended. A power cut within some seconds may take that line, and leaves the chain whole.
    pub fn end(self, end: &End) -> Result<(), HookError> {
        self.put("ended", Durable::Later, Some(result(end)))
    }

    fn put(&self, what: &'static str, durable: Durable, result: Option<String>) -> Result<(), HookError> {
        let RunnerSpec { deployment, group, event, subject, .. } = self.spec;
        let entry = Entry {
            what,
            deployment: deployment.as_str(),
            group: group.as_str(),
            event: event.as_str(),
            script: &subject.name,
            of: match &subject.scripts_of {
                ScriptsOf::Earlier(earlier) => Some(earlier.as_str()),
                ScriptsOf::ThisDeployment | ScriptsOf::Host => None,
            },
            user: &self.user.0,
            uid: self.user.1,
            sha256: self.sha256.as_deref(),
            signer: &self.recording.signer,
            bundle_key: self.recording.bundle_key.as_deref(),
            result,
        };
        let head = audit::append(&Layout::new(&self.recording.root), self.recording.kept, durable, &entry)?;
        tell(&entry, &head);
        Ok(())
    }
}

/// The same for the journal, where there is one: shipped to another host it tells what was cut off the record's end.
fn tell(entry: &Entry<'_>, head: &Head) {
    let Ok(socket) = JournalSocket::connect() else { return };
    // A journal that takes nothing holds no script up.
    if socket.wait_at_most(JOURNAL_WAIT).is_err() {
        return;
    }
    let result = entry.result.as_deref().unwrap_or_default();
    let message =
        format!("{} {} of {} as {}: {} {result}", entry.event, entry.script, entry.deployment, entry.user, entry.what);
    let (uid, number) = (entry.uid.to_string(), head.number.to_string());
    let fields = [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("MESSAGE", message.trim_end()),
        ("DEPLOYMENT_ID", entry.deployment),
        ("GROUP", entry.group),
        ("EVENT", entry.event),
        ("SCRIPT", entry.script),
        ("SCRIPT_USER", entry.user),
        ("SCRIPT_UID", &uid),
        ("SCRIPT_SHA256", entry.sha256.unwrap_or_default()),
        ("SIGNER", entry.signer),
        ("BUNDLE_KEY", entry.bundle_key.unwrap_or_default()),
        ("RESULT", result),
        ("AUDIT_NUMBER", &number),
        ("AUDIT_SHA256", &head.sha256),
    ];
    // The record is what counts.
    let _ = socket.send(fields);
}

/// The SHA-256 of a file in hexadecimal; a file of any length takes the same memory.
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = disk::open_named(path).map_err(|error| error.source)?;
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest)?;
    Ok(hex::encode(digest.finalize()))
}

fn result(end: &End) -> String {
    match end {
        End::Ended { how: Ended::Exit(code), .. } => format!("exit {code}"),
        End::Ended { how: Ended::Signal(number), .. } => format!("signal {number}"),
        End::TimedOut { .. } => "timed out".to_owned(),
        End::Interrupted { .. } => "interrupted".to_owned(),
        End::NotStarted { .. } => "not started".to_owned(),
        End::Unwatched { .. } => "unwatched".to_owned(),
    }
}
