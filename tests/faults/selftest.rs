//! Whether the harness would notice: an installer that leaves out one of its syncs has to be found out.

use anyhow::{Context, Result};

use crate::calls::Call;
use crate::cuts::{Go, prefixes, reorderings};
use crate::host::Host;
use crate::job::Shard;
use crate::kill::calls_of_deployment;
use crate::power::{broken, record_install};
use crate::report::Report;

/// States that are searched for a broken promise, of each kind.
const SEARCHED: usize = 120;

/// Leaves out each sync of the install in turn.
pub fn each_sync(host: &mut Host, shard: Shard) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let syncs = syncs_of_install(&calls)?;
    let mut report = Report::default();
    for (number, call) in shard.of(&syncs) {
        let recording = record_install(host, Some(call))?;
        let mut found = None;
        let mut states = 0;
        let mut visit = |image: &[u8], cut| {
            states += 1;
            found = broken(host, image, cut, recording.acknowledged)?.err();
            Ok(if found.is_some() { Go::Stop } else { Go::On })
        };
        prefixes(&recording.base, &recording.ops, SEARCHED, &mut visit)?;
        reorderings(&recording.base, &recording.ops, SEARCHED, &mut visit)?;
        eprintln!("SYNC {number} {call} states {states} {found:?}");
        report.count(if found.is_some() { "found" } else { "not found" });
    }
    Ok(report)
}

/// The syncs from the first of the transaction to the last, numbered.
fn syncs_of_install(calls: &[Call]) -> Result<Vec<(usize, Call)>> {
    let is_transaction = |call: &Call| call.line.contains("/.slipway/tx");
    let first = calls.iter().position(is_transaction).context("the install begins a transaction")?;
    let last = calls.iter().rposition(is_transaction).context("the install ends a transaction")?;
    let syncs = calls[first..=last].iter().filter(|call| call.is_sync()).cloned();
    Ok(syncs.enumerate().collect())
}
