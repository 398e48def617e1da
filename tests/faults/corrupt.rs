//! A journal that was damaged: cut off, or with a bit that is another. The recovery takes what is before
//! the damage or refuses, and never ends in any other way.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::calls::{Call, Fault, inject, was_killed};
use crate::host::{Host, State, said};
use crate::kill::calls_of_deployment;
use crate::report::Report;
use crate::revisions::Version;

/// Every how many bytes the journal is cut, besides around the ends of records.
const CUT_EVERY: usize = 97;
/// Every how many bits one is flipped.
const FLIP_EVERY: usize = 211;

const UNDAMAGED: &str = "undamaged";

/// Damages the journals of installs that were cut off before anything was moved, before the commit, and
/// after it.
pub fn journal(host: &mut Host) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let mut report = Report::default();
    let moments = [
        (before_moves(&calls)?, State::Old),
        (before_commit(&calls)?, State::Old),
        (after_commit(&calls)?, State::New),
    ];
    for (call, whole) in moments {
        host.reset()?;
        let output = inject(&call, Fault::Killed, &host.deploy(Version::New)?)?;
        ensure!(was_killed(output.status), "{call}: it was not killed: {}", said(&output));
        host.unmount()?;
        let image = fs::read(host.image())?;
        host.put_image(&image)?;
        let path = host.transactions()?.first().context("a transaction is left")?.join("journal");
        let journal = fs::read(&path)?;
        let mut moment = Moment { host, image, path: &path, whole, is_fresh: true };
        for (what, damaged) in damages(&journal) {
            match moment.damaged(&damaged)? {
                // Else everything might be refused for another reason.
                Ok(end) if what == UNDAMAGED && end != format!("a prefix: {}", whole.name()) => {
                    report.violation(format!("the journal, which is not damaged, was not taken: {end}"));
                }
                Ok(end) => report.count(end),
                Err(problem) => report.violation(format!("{whole:?}, {what}: {problem}")),
            }
        }
    }
    Ok(report)
}

/// The journal cut off, and with one bit flipped.
fn damages(journal: &[u8]) -> Vec<(String, Vec<u8>)> {
    let is_near_an_end = |at: usize| {
        let near = at.saturating_sub(2)..(at + 2).min(journal.len());
        journal[near].contains(&b'\n')
    };
    let cuts = (0..journal.len()).filter(|at| at % CUT_EVERY == 0 || is_near_an_end(*at));
    let mut damages = vec![(UNDAMAGED.to_owned(), journal.to_vec())];
    damages.extend(cuts.map(|at| (format!("cut after {at} bytes"), journal[..at].to_vec())));
    for bit in (0..journal.len() * 8).step_by(FLIP_EVERY) {
        let mut flipped = journal.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        damages.push((format!("bit {bit} flipped"), flipped));
    }
    damages
}

/// An install that was cut off.
struct Moment<'a> {
    host: &'a mut Host,
    image: Vec<u8>,
    path: &'a Path,
    /// What its whole journal leads to.
    whole: State,
    /// Whether the disk is as it was when the install was cut off.
    is_fresh: bool,
}

impl Moment<'_> {
    fn damaged(&mut self, journal: &[u8]) -> Result<Result<String, String>> {
        if !self.is_fresh {
            self.host.put_image(&self.image)?;
        }
        fs::write(self.path, journal)?;
        let before = self.host.tree()?;
        let output = self.host.recover()?.output()?;
        let message = said(&output);
        if message.contains("panicked") || output.status.code().is_none_or(|code| code > 1) {
            return Ok(Err(format!("{}: {message}", output.status)));
        }
        // A torn end is cut off before anything else, also of a journal that is refused then.
        if output.status.code() == Some(1) {
            let is_untouched = self.host.tree()? == before && journal.starts_with(&fs::read(self.path)?);
            self.is_fresh = is_untouched;
            return Ok(match message.contains(&self.path.display().to_string()) && is_untouched {
                true => Ok("refused".to_owned()),
                false => Err(format!("refused, untouched is {is_untouched}: {message}")),
            });
        }
        self.is_fresh = false;
        // A prefix that ends before the commit leads back, whatever came after it.
        Ok(match self.host.judge()? {
            Ok(state) if state == State::Old || state == self.whole => Ok(format!("a prefix: {}", state.name())),
            Ok(state) => Err(format!("a prefix, and the {} revision: {message}", state.name())),
            Err(problem) => Err(format!("a prefix, and {problem}: {message}")),
        })
    }
}

/// The sync of the last records before the first target is moved.
pub fn before_moves(calls: &[Call]) -> Result<Call> {
    let moved = calls.iter().position(|call| call.line.contains("RENAME_")).context("something is moved")?;
    let sync = calls[..moved].iter().rposition(|call| call.name == "fdatasync").context("the journal is synced")?;
    Ok(calls[sync].clone())
}

/// The sync of the commit: every path has its new state then.
pub fn before_commit(calls: &[Call]) -> Result<Call> {
    let moved =
        calls.iter().rposition(|call| call.line.contains("RENAME_EXCHANGE")).context("something is exchanged")?;
    let sync = calls[moved..].iter().position(|call| call.name == "fsync").context("directories are synced")?;
    Ok(calls[moved + sync].clone())
}

/// The first backup that is removed.
pub fn after_commit(calls: &[Call]) -> Result<Call> {
    let moved =
        calls.iter().rposition(|call| call.line.contains("RENAME_EXCHANGE")).context("something is exchanged")?;
    let removed = calls[moved..].iter().position(|call| call.name == "unlinkat").context("backups are removed")?;
    Ok(calls[moved + removed].clone())
}
