//! What is wrong with a revision, said before anybody deploys it.
//!
//! Everything is found at once, with its place in the source. Errors are what makes a deployment fail;
//! warnings are what it ignores, mends by itself, or cannot judge from here.

mod content;
mod destinations;
mod excerpt;
mod finding;
mod host;
mod places;
mod portable;
mod scripts;

use std::path::Path;

pub use destinations::kernel_directory;
pub use excerpt::Excerpt;
pub use finding::{Finding, Severity, Validation};
pub use host::HostRules;
pub use portable::Audience;

use crate::appspec::{self, AppSpec};
use crate::deployment::RelativePath;
use crate::disk::{self, Dir};
use crate::install::{self, Cause};
use crate::revision::{NoAppSpec, Revision, read_appspec};
use crate::yaml::{Node, Position};
use excerpt::Source;
use places::Field;

/// Why a revision was not looked at to the end.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// It cannot be listed.
    #[error(transparent)]
    Contents(Cause),
}

impl From<Cause> for ValidateError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Disk(error) => Self::Disk(error),
            other => Self::Contents(other),
        }
    }
}

/// Looks at an AppSpec by itself; `file` is its name in findings. Whether the scripts and sources that it
/// names are there cannot be told.
pub fn appspec_alone(text: &[u8], file: &str, rules: &HostRules) -> Validation {
    let mut examination = Examination::new(text, file);
    let spec = examination.examine(text);
    examination.portable_appspec(text, rules);
    if let Some(spec) = spec {
        examination.refused_entries(&spec, rules);
        examination.destinations(&spec, rules.refusals.links);
    }
    examination.validation
}

/// Looks at a revision: its AppSpec, found as a deployment finds it, and everything that it names. `shown`
/// is how findings name the revision's root.
pub fn revision(
    revision: &Revision,
    shown: &Path,
    wanted: &RelativePath,
    rules: &HostRules,
) -> Result<Validation, ValidateError> {
    let (name, text) = match read_appspec(&Dir::open(revision.root())?, wanted) {
        Ok(found) => found,
        Err(NoAppSpec::NotFound(error)) => return Ok(Validation::refused(shown, &error)),
        Err(error @ NoAppSpec::Link { .. }) => return Ok(Validation::refused(shown, &error)),
        Err(NoAppSpec::Disk(error)) => return Err(error.into()),
    };
    let mut examination = Examination::new(&text, &shown.join(name).display().to_string());
    let spec = examination.examine(&text);
    examination.portable_appspec(&text, rules);
    let index = install::contents(revision)?;
    examination.special_files(&index, shown);
    examination.refused_files(&index, shown, rules);
    if let Some(spec) = spec {
        examination.refused_entries(&spec, rules);
        examination.destinations(&spec, rules.refusals.links);
        let sources = install::sources(revision, &spec)?;
        examination.content(&spec, &sources, &index);
        examination.lone_sources(&index);
        examination.scripts(&spec, revision, shown)?;
        examination.portable_content((&spec, &sources, &index), revision, shown, rules);
    }
    Ok(examination.validation)
}

/// A look at one AppSpec and what belongs to it.
struct Examination {
    source: Source,
    /// The AppSpec as it was written, to find the places of what its types say.
    root: Option<Node>,
    /// Sources of entries that have no destination.
    lone_sources: Vec<(RelativePath, Position)>,
    validation: Validation,
}

impl Examination {
    fn new(text: &[u8], file: &str) -> Self {
        Self {
            source: Source::new(file, text),
            root: None,
            lone_sources: Vec::new(),
            validation: Validation::default(),
        }
    }

    /// What the AppSpec's own reader finds. Answers as much of it as could be read.
    fn examine(&mut self, text: &[u8]) -> Option<AppSpec> {
        let examined = appspec::examine(text);
        let findings = &examined.report.findings;
        for mistake in findings.iter() {
            self.error(mistake.at, format!("expected {}, found {}", mistake.expected, mistake.found));
        }
        self.validation.omit(Severity::Error, findings.dropped());
        for warning in &examined.report.warnings {
            self.warning(warning.at, warning.message.clone());
        }
        self.root = examined.root;
        self.lone_sources = examined.lone_sources;
        self.own_events();
        examined.spec
    }

    /// Events that no service runs by itself.
    fn own_events(&mut self) {
        for event in self.root.as_ref().map(appspec::own_events).unwrap_or_default() {
            self.warning(event.at, event.warning());
        }
    }

    fn error(&mut self, at: Position, message: String) {
        self.validation.add(self.source.finding(Severity::Error, at, message));
    }

    fn warning(&mut self, at: Position, message: String) {
        self.validation.add(self.source.finding(Severity::Warning, at, message));
    }

    /// Where the value of an entry's field is; the entry, where the field cannot be found.
    fn place(&self, entry: Position, field: Field) -> Position {
        self.root.as_ref().and_then(|root| places::value(root, entry, field)).unwrap_or(entry)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests;
