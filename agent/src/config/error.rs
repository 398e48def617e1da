use std::fmt;
use std::sync::Arc;

use super::exposure::Exposure;
use super::merge::Layer;
use super::origin::Origin;
use crate::yaml::{Finding, Findings, Position};

/// All mistakes of a configuration, of all its files. Shown as one line for each; then what has no effect, since
/// who mends the files wants to know all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<ConfigWarning>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// In a file.
    InFile {
        /// Its path.
        file: Arc<str>,
        /// Where in it, what was expected and what was found.
        finding: Finding,
    },
    /// More of them in a file than are kept.
    MoreInFile {
        /// Its path.
        file: Arc<str>,
        /// How many.
        count: usize,
    },
    /// In a variable of the environment.
    InEnvironment {
        /// Its name.
        variable: &'static str,
        /// What it may be.
        expected: String,
    },
    /// What `profile: strict` refuses, and where that profile is set.
    Exposed(Exposure, Origin),
}

/// Something in a file that has no effect, or not the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The file's path.
    pub file: Arc<str>,
    /// Where in it.
    pub at: Position,
    /// What, and what to do about it.
    pub message: String,
}

impl ConfigErrors {
    /// The mistakes, file after file.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.mistakes.iter()
    }

    /// Mistakes are found in several passes; a person reads them file after file.
    pub(super) fn sort_by_layer(&mut self, layers: &[Layer]) {
        let place = |file: &Arc<str>| layers.iter().position(|layer| layer.file == *file);
        self.mistakes.sort_by_key(|mistake| match mistake {
            Mistake::InFile { file, finding } => (place(file).unwrap_or(usize::MAX), finding.at),
            Mistake::MoreInFile { file, .. } => (place(file).unwrap_or(usize::MAX), Position::END),
            Mistake::Exposed(Exposure { origin: Origin::File { file, line }, .. }, _) => {
                (place(file).unwrap_or(usize::MAX), Position { line: *line, column: usize::MAX })
            }
            Mistake::InEnvironment { .. } | Mistake::Exposed(..) => (usize::MAX, Position::END),
        });
    }

    pub(super) fn add_file(&mut self, file: &Arc<str>, findings: &Findings) {
        let in_file = findings.iter().map(|finding| Mistake::InFile { file: file.clone(), finding: finding.clone() });
        self.mistakes.extend(in_file);
        if findings.dropped() > 0 {
            self.mistakes.push(Mistake::MoreInFile { file: file.clone(), count: findings.dropped() });
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.mistakes.iter().enumerate() {
            write!(out, "{}{mistake}", if n == 0 { "" } else { "\n" })?;
        }
        for ConfigWarning { file, at, message } in &self.warnings {
            write!(out, "\n{file}:{at}: warning: {message}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFile { file, finding } => write!(out, "{file}:{finding}"),
            Self::MoreInFile { file, count } => write!(out, "{file}: and {count} more mistakes"),
            Self::InEnvironment { variable, expected } => {
                write!(out, "environment variable {variable}: expected {expected}; change or unset it")
            }
            Self::Exposed(exposure, profile) => write!(
                out,
                "{}: {exposure}, which profile: strict ({profile}) refuses; {}",
                exposure.origin,
                exposure.remedy()
            ),
        }
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.at, self.message)
    }
}
