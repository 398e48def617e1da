//! The process dies: in the install, and in the recovery from that, again and again.

use std::process::Output;

use anyhow::{Context, Result, ensure};

use crate::calls::{Call, Fault, inject, record, was_killed};
use crate::host::{Host, State, done, said};
use crate::job::Shard;
use crate::report::Report;
use crate::revisions::Version;

/// Moments of the install from which recoveries are killed, and how many of each recovery's calls.
const FIRST: usize = 16;
const SECOND: usize = 5;
const THIRD: usize = 2;

/// SIGKILL before each call of a deployment that changes or syncs anything.
pub fn every_call(host: &mut Host, shard: Shard) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let mut report = Report::default();
    for call in shard.of(&calls) {
        host.reset()?;
        match dead_before(host, call)? {
            Ok(state) => report.count(state.name()),
            Err(problem) => report.violation(format!("killed before {call}: {problem}")),
        }
    }
    Ok(report)
}

/// What is wrong after a death, if anything.
fn dead_before(host: &mut Host, call: &Call) -> Result<Result<State, String>> {
    let output = inject(call, Fault::Killed, &host.deploy(Version::New)?)?;
    if !was_killed(output.status) {
        return Ok(Err(format!("it was not killed, but ended with {}: {}", output.status, said(&output))));
    }
    let committed = host.has_committed()?;
    let recovered = host.recover()?.output()?;
    if !recovered.status.success() {
        return Ok(Err(format!("recover ended with {}: {}", recovered.status, said(&recovered))));
    }
    let state = match host.judge()? {
        Ok(state) if (state == State::New) == committed => state,
        Ok(state) => return Ok(Err(format!("the state is {}, committed is {committed}", state.name()))),
        Err(problem) => return Ok(Err(problem)),
    };
    let again = host.recover()?.output()?;
    if !said(&again).contains("Nothing to recover") || host.judge()? != Ok(state) {
        return Ok(Err(format!("a second recover did something: {}", said(&again))));
    }
    if let Err(error) = done(&host.deploy(Version::New)?.output()?) {
        return Ok(Err(format!("the next deployment failed: {error:#}")));
    }
    let left = host.unfinished_files()?;
    if !left.is_empty() {
        return Ok(Err(format!("after the next deployment there is litter: {left:?}")));
    }
    Ok(match host.judge()? {
        Ok(State::New) => Ok(state),
        other => Err(format!("after the next deployment: {other:?}")),
    })
}

/// SIGKILL in the recovery, in the recovery from that, and in the recovery from that one.
pub fn recovery(host: &mut Host, shard: Shard) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let begun = calls.iter().position(|call| call.line.contains("/journal")).context("a journal is written")?;
    let mut report = Report::default();
    for first in shard.of(&spread(&calls[begun..], FIRST)) {
        let mut history = vec![first.clone()];
        let seconds = calls_of_recovery(host, &history, &mut report)?;
        for second in spread(&seconds, SECOND) {
            history.truncate(1);
            history.push(second);
            let thirds = calls_of_recovery(host, &history, &mut report)?;
            for third in spread(&thirds, THIRD) {
                history.truncate(2);
                history.push(third);
                // The last recovery has nothing to do for some.
                if let [fourth] = spread(&calls_of_recovery(host, &history, &mut report)?, 1).as_slice() {
                    history.push(fourth.clone());
                    let committed = die_along(host, &history)?;
                    let output = host.recover()?.output()?;
                    nested(host, &history, committed, &output, &mut report)?;
                }
                history.truncate(2);
            }
        }
    }
    Ok(report)
}

/// Judges the recovery that lived, after an install that died before the first call, and recoveries that did before
/// each further one. Without any of these it is no nested one: that is counted elsewhere.
fn nested(host: &mut Host, history: &[Call], committed: bool, output: &Output, report: &mut Report) -> Result<()> {
    let problem = match host.judge()? {
        Ok(state) if output.status.success() && (state == State::New) == committed => {
            if history.len() > 1 {
                report.count(format!("{}, {} deep", state.name(), history.len() - 1));
            }
            return Ok(());
        }
        Ok(state) => format!("{}, committed is {committed}, {}: {}", state.name(), output.status, said(output)),
        Err(problem) => problem,
    };
    let history: Vec<String> = history.iter().map(Call::to_string).collect();
    report.violation(format!("killed before {}: {problem}", history.join(", then before ")));
    Ok(())
}

/// The calls of the recovery that follows these deaths, which is judged too.
fn calls_of_recovery(host: &mut Host, history: &[Call], report: &mut Report) -> Result<Vec<Call>> {
    let committed = die_along(host, history)?;
    let (calls, output) = record(host.place(), &host.recover()?)?;
    nested(host, history, committed, &output, report)?;
    Ok(calls)
}

/// Dies again and again; tells whether the install had been committed when it died.
fn die_along(host: &mut Host, history: &[Call]) -> Result<bool> {
    host.reset()?;
    let mut committed = None;
    for call in history {
        let command = if committed.is_none() { host.deploy(Version::New)? } else { host.recover()? };
        let output = inject(call, Fault::Killed, &command)?;
        ensure!(was_killed(output.status), "{call}: it was not killed: {}", said(&output));
        if committed.is_none() {
            committed = Some(host.has_committed()?);
        }
    }
    Ok(committed.unwrap_or_default())
}

/// The calls of one deployment of the new revision over the old one.
pub fn calls_of_deployment(host: &mut Host) -> Result<Vec<Call>> {
    host.reset()?;
    let (calls, output) = record(host.place(), &host.deploy(Version::New)?)?;
    done(&output)?;
    ensure!(host.judge()? == Ok(State::New), "a deployment under strace is a deployment");
    Ok(calls)
}

/// `count` of them at most, evenly over all.
pub fn spread<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    let count = count.min(all.len());
    (0..count).filter_map(|n| all.get((2 * n + 1) * all.len() / (2 * count)).cloned()).collect()
}
