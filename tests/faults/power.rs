//! The power goes: in the install, and in the recovery.

use anyhow::{Result, ensure};

use crate::blocklog::{Op, Recorder};
use crate::calls::{Call, Fault, inject_into};
use crate::cuts::{Cut, Go, prefixes, reorderings};
use crate::host::{Host, State, done, said};
use crate::kill::spread;
use crate::report::Report;
use crate::revisions::Version;

/// Prefixes at most: more than an install has.
const PREFIXES: usize = 5000;
/// Random subsets.
const SUBSETS: usize = 400;
/// Moments of the install after which the recovery is recorded, and moments that are looked at for them.
const RECOVERIES: usize = 16;
const LOOKED_AT: usize = 100;
/// States of each of those recoveries, of each kind.
const STATES_OF_RECOVERY: usize = 20;

/// What a disk was told while a command ran.
pub struct Recording {
    /// What was on the disk before.
    pub base: Vec<u8>,
    /// What it was told, in order.
    pub ops: Vec<Op>,
    /// How much of it when the command had said that it succeeded.
    pub acknowledged: usize,
}

/// Every prefix of the writes of an install.
pub fn prefix(host: &mut Host) -> Result<Report> {
    let recording = record_install(host, None)?;
    let mut report = Report::default();
    prefixes(&recording.base, &recording.ops, PREFIXES, |image, cut| {
        judged(host, image, cut, recording.acknowledged, &mut report)
    })?;
    Ok(report)
}

/// Random subsets of the writes that were not flushed yet.
pub fn reorder(host: &mut Host) -> Result<Report> {
    let recording = record_install(host, None)?;
    let mut report = Report::default();
    reorderings(&recording.base, &recording.ops, SUBSETS, |image, cut| {
        judged(host, image, cut, recording.acknowledged, &mut report)
    })?;
    Ok(report)
}

/// Prefixes and subsets of the writes of a recovery: it decides as the first one did.
pub fn recovery(host: &mut Host) -> Result<Report> {
    let install = record_install(host, None)?;
    let mut moments = Vec::new();
    prefixes(&install.base, &install.ops, LOOKED_AT, |image, cut| {
        host.put_image(image)?;
        if !host.transactions()?.is_empty() {
            moments.push((image.to_vec(), cut));
        }
        Ok(Go::On)
    })?;
    let mut report = Report::default();
    for (image, first) in spread(&moments, RECOVERIES) {
        let wanted = match settled(host, &image)? {
            Ok(state) => state,
            Err(problem) => {
                report.violation(format!("{first}: {problem}"));
                continue;
            }
        };
        let recovery = record(host, &image, |host| done(&host.recover()?.output()?).map(drop))?;
        let mut visit = |image: &[u8], cut: Cut| {
            match settled(host, image)? {
                Ok(state) if state == wanted => report.count(format!("still {}", state.name())),
                Ok(state) => report.violation(format!(
                    "{first}, then in the recovery {cut}: {}, and it had been {}",
                    state.name(),
                    wanted.name()
                )),
                Err(problem) => report.violation(format!("{first}, then in the recovery {cut}: {problem}")),
            }
            Ok(Go::On)
        };
        prefixes(&recovery.base, &recovery.ops, STATES_OF_RECOVERY, &mut visit)?;
        reorderings(&recovery.base, &recovery.ops, STATES_OF_RECOVERY, &mut visit)?;
    }
    Ok(report)
}

/// Records a deployment of the new revision over the old one, perhaps with syncs left out: all from the
/// first to the last of these, which have one name.
pub fn record_install(host: &mut Host, left_out: Option<(&Call, &Call)>) -> Result<Recording> {
    let base = host.base_image().to_vec();
    record(host, &base, |host| {
        let mut command = host.deploy(Version::New)?;
        let output = match left_out {
            Some((first, last)) => {
                inject_into(&first.name, &format!("{}..{}", first.nth, last.nth), Fault::LeftOut, &command)?
            }
            None => command.output()?,
        };
        done(&output).map(drop)
    })
}

fn record(host: &mut Host, base: &[u8], work: impl FnOnce(&mut Host) -> Result<()>) -> Result<Recording> {
    host.unmount()?;
    host.write_image(base)?;
    let recorder = Recorder::start(host.place(), &host.image())?;
    host.mount(recorder.disk())?;
    work(host)?;
    let acknowledged = recorder.so_far()?.len();
    host.unmount()?;
    let ops = recorder.stop()?;
    ensure!(acknowledged > 10 && acknowledged <= ops.len(), "{acknowledged} of {} requests are no work", ops.len());
    Ok(Recording { base: base.to_vec(), ops, acknowledged })
}

fn judged(host: &mut Host, image: &[u8], cut: Cut, acknowledged: usize, report: &mut Report) -> Result<Go> {
    match broken(host, image, cut, acknowledged)? {
        Ok(state) => report.count(state.name()),
        Err(problem) => report.violation(problem),
    }
    Ok(Go::On)
}

/// Which revision is there after a power cut and a recovery; else how the promise was broken.
pub fn broken(host: &mut Host, image: &[u8], cut: Cut, acknowledged: usize) -> Result<Result<State, String>> {
    Ok(match settled(host, image)? {
        Ok(State::Old) if cut.after >= acknowledged => {
            Err(format!("{cut}: the old revision, after success had been told at request {acknowledged}"))
        }
        Ok(state) => Ok(state),
        Err(problem) => Err(format!("{cut}: {problem}")),
    })
}

/// Boots from a disk: mounts, recovers, looks. Whatever goes wrong with that is the answer, not an error.
fn settled(host: &mut Host, image: &[u8]) -> Result<Result<State, String>> {
    if let Err(error) = host.put_image(image) {
        host.unmount()?;
        return Ok(Err(format!("the file systems cannot be mounted: {error:#}")));
    }
    let output = host.recover()?.output()?;
    if !output.status.success() {
        return Ok(Err(format!("recover ended with {}: {}", output.status, said(&output))));
    }
    Ok(host.judge().unwrap_or_else(|error| Err(format!("{error:#}"))))
}
