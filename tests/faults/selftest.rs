//! Whether the harness would notice: an installer that leaves out one of its syncs has to be found out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::calls::Call;
use crate::cuts::{Go, prefixes, reorderings};
use crate::host::Host;
use crate::kill::calls_of_deployment;
use crate::power::{broken, record_install};
use crate::report::Report;

/// States that are searched for a broken promise, of each kind: first a few, which find most, then many.
const SEARCHED: [usize; 2] = [100, 1000];

/// Syncs that ext4 and xfs do not need, and why they are made all the same. Both write their metadata in
/// order, so that a later sync of anything on a file system makes all earlier changes of names durable too;
/// where a file system syncs no more than it is asked for, each of these is the one that counts.
const EXPLAINED: [(&str, &str); 3] = [
    ("directory", "the next sync of anything on the file system covers it, and one comes before what relies on it"),
    ("empty journal", "the sync of its first records covers it"),
    ("end of the journal", "a transaction that was over and is found again is finished again, with the same result"),
];

/// Consecutive syncs of one purpose.
struct Purpose {
    /// In words, with its number where there are several.
    name: String,
    syncs: Vec<Call>,
}

/// Leaves out the syncs of each purpose in turn.
pub fn each_sync(host: &mut Host) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let mut report = Report::default();
    let mut explained: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for purpose in purposes(&calls)? {
        if let Some((_, why)) = EXPLAINED.iter().find(|(what, _)| purpose.name.starts_with(what)) {
            explained.entry(why).or_default().push(purpose.name);
            continue;
        }
        let recording = record_install(host, purpose.syncs.first().zip(purpose.syncs.last()))?;
        let mut found = None;
        let mut states = 0;
        let mut visit = |image: &[u8], cut| {
            if found.is_some() {
                return Ok(Go::Stop);
            }
            states += 1;
            found = broken(host, image, cut, recording.acknowledged)?.err();
            Ok(if found.is_some() { Go::Stop } else { Go::On })
        };
        for searched in SEARCHED {
            prefixes(&recording.base, &recording.ops, searched, &mut visit)?;
            reorderings(&recording.base, &recording.ops, searched, &mut visit)?;
        }
        let syncs = purpose.syncs.len();
        match found {
            Some(_) => report.count("found"),
            None => report.violation(format!(
                "nothing was found in {states} states without the {syncs} syncs of: {}",
                purpose.name
            )),
        }
    }
    for (why, purposes) in explained {
        report.notes.push(format!("not searched, since {why}: {}", purposes.join(", ")));
    }
    Ok(report)
}

/// The syncs from the first of the transaction to the last, by what they are for.
fn purposes(calls: &[Call]) -> Result<Vec<Purpose>> {
    let is_transaction = |call: &Call| call.line.contains("/.slipway/tx");
    let first = calls.iter().position(is_transaction).context("the install begins a transaction")?;
    let last = calls.iter().rposition(is_transaction).context("the install ends a transaction")?;
    let calls = &calls[first..=last];
    let (mut purposes, mut counts): (Vec<Purpose>, BTreeMap<_, usize>) = (Vec::new(), BTreeMap::new());
    let mut before = "";
    for (number, call) in calls.iter().enumerate() {
        if !call.is_sync() {
            before = "";
            continue;
        }
        let what = what(call, &calls[..number]);
        match purposes.last_mut() {
            Some(purpose) if before == what => purpose.syncs.push(call.clone()),
            _ => {
                let count = counts.entry(what).or_insert(0);
                *count += 1;
                purposes.push(Purpose { name: format!("{what} {count}"), syncs: vec![call.clone()] });
            }
        }
        before = what;
    }
    ensure!(purposes.len() > 10, "an install has more than {} reasons to sync", purposes.len());
    Ok(purposes)
}

/// What a sync is for, by what it syncs and by what was written before it.
fn what(call: &Call, before: &[Call]) -> &'static str {
    let is = |part: &str| call.line.contains(part);
    let written = before.iter().rev().find(|call| call.name == "pwrite64").map_or("", |call| &call.line);
    if call.name == "syncfs" {
        "file system of targets"
    } else if is("/.slipway/tx/") && is("/journal>") {
        match written {
            "" => "empty journal",
            _ if before.iter().any(|call| call.name == "unlinkat") => "end of the journal",
            _ => "journal",
        }
    } else if is("/.slipway/tx/") && is(".tmp>") {
        "manifest"
    } else if is("/.slipway/tx") {
        "directory of the transaction"
    } else if is("/.slipway/manifests>") {
        "directory of manifests"
    } else if is(".tmp>") {
        "marker"
    } else if is("/.slipway/groups>") || is("/deployment-instructions>") {
        "directory of markers"
    } else {
        "targets"
    }
}
