//! What these tests look at.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use slipway_tests::deployment::Finished;

/// The page that is installed at a destination.
pub fn page(destination: &Path) -> Result<String> {
    let file = destination.join("page");
    fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
}

/// A deployment that succeeded with all of its events.
pub fn succeeded(finished: &Finished) -> Result<()> {
    ensure!(finished.status() == "Succeeded", "it ended as {}: {}", finished.status(), finished.info);
    for event in &finished.events {
        ensure!(event.status == "Succeeded", "{} ended as {}: {}", event.name, event.status, event.diagnostics);
    }
    Ok(())
}

/// A deployment that failed in that event; gives the event's message.
pub fn failed_in(finished: &Finished, event: &str) -> Result<String> {
    ensure!(finished.status() == "Failed", "it ended as {}: {}", finished.status(), finished.info);
    let failed = finished.failed_event()?;
    ensure!(failed.name == event, "it failed in {}, not in {event}: {}", failed.name, failed.diagnostics);
    Ok(failed.diagnostic("message").to_owned())
}

/// A text that holds each of the parts.
pub fn contains(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    Ok(())
}

/// How many lines a file has; none if it is not there.
pub fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// The names in a directory, sorted; none if it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
