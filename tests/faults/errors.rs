//! A system call fails, with each of the errors that disks and quotas give.

use anyhow::Result;

use crate::calls::{Call, Fault, inject};
use crate::host::{Host, State, done, said};
use crate::job::Shard;
use crate::kill::calls_of_deployment;
use crate::report::Report;
use crate::revisions::Version;

/// The errors, with the words that tell them. For those of space unpacking has a message of its own, which
/// says how much is needed and how much there is.
const ERRORS: [(&str, &[&str]); 4] = [
    ("ENOSPC", &["(os error 28)", "there is no space to unpack"]),
    ("EIO", &["(os error 5)"]),
    ("EDQUOT", &["(os error 122)", "there is no space to unpack"]),
    ("EROFS", &["(os error 30)"]),
];

/// Each error at each call: the deployment fails, names the error, and leaves the old revision without a
/// recovery; or it succeeds in spite of it and leaves the new one.
pub fn every_call(host: &mut Host, shard: Shard) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let mut report = Report::default();
    for call in shard.of(&calls) {
        for (error, words) in ERRORS {
            host.reset()?;
            match failed(host, call, error, words)? {
                Ok(end) => report.count(end),
                Err(problem) => report.violation(format!("{error} at {call}: {problem}")),
            }
        }
    }
    Ok(report)
}

fn failed(host: &mut Host, call: &Call, error: &'static str, words: &[&str]) -> Result<Result<&'static str, String>> {
    let output = inject(call, Fault::Error(error), &host.deploy(Version::New)?)?;
    let message = said(&output);
    let is_told = words.iter().any(|words| message.contains(words));
    let state = match host.judge()? {
        Ok(state) => state,
        Err(problem) => return Ok(Err(format!("{problem}; it said {message}"))),
    };
    let end = match (output.status.code(), state) {
        (Some(0), State::New) => "succeeded in spite of it",
        (Some(1), State::Old) if is_told => "undone",
        // What follows from a commit could not be written: the install stands and says so.
        (Some(1), State::New) if is_told => "failed after the commit",
        _ => return Ok(Err(format!("{}, and the {} revision: {message}", output.status, state.name()))),
    };
    // What the next deployment finds depends on where it failed, not on why.
    if error != "EIO" {
        return Ok(Ok(end));
    }
    if let Err(error) = done(&host.deploy(Version::New)?.output()?) {
        return Ok(Err(format!("{end}, and then the next deployment failed: {error:#}")));
    }
    Ok(match host.judge()? {
        Ok(State::New) => Ok(end),
        other => Err(format!("{end}, and after the next deployment: {other:?}")),
    })
}
