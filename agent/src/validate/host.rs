//! What a host refuses by its configuration, whatever the AppSpec says.

use std::path::Path;

use super::places::Field;
use super::{Audience, Examination, Finding, Severity};
use crate::appspec::AppSpec;
use crate::plan::grounds::{Labels, Modes};
use crate::plan::{Index, Label, PathState, Refusals, is_unsafe_mode};
use crate::unpack::Symlinks;

/// What a host refuses; nothing by default.
#[derive(Clone, Copy, Debug)]
pub struct HostRules {
    /// What it does not install.
    pub refusals: Refusals,
    /// Whether it takes revisions with symlinks.
    pub symlinks: Symlinks,
    /// Whose hosts the revision is for besides.
    pub audience: Audience,
}

impl Default for HostRules {
    fn default() -> Self {
        Self { refusals: Refusals::default(), symlinks: Symlinks::Kept, audience: Audience::default() }
    }
}

impl Examination {
    /// Modes and labels that an entry gives.
    pub(super) fn refused_entries(&mut self, spec: &AppSpec, rules: &HostRules) {
        for entry in &spec.permissions {
            let mode = entry.mode.map(|mode| mode.bits()).filter(|mode| is_unsafe_mode(*mode));
            if let Some(mode) = mode
                && rules.refusals.modes == Modes::UnsafeRefused
            {
                self.error(self.place(entry.at, Field::Mode), unsafe_mode(mode));
            }
            let label = entry.context.as_ref().map(Label::of).filter(Label::is_unconfined);
            if let Some(label) = label
                && rules.refusals.labels == Labels::UnconfinedRefused
            {
                let message = format!(
                    "{label} is a label of what nothing confines, which the configuration refuses \
                     (reject_unconfined_selinux_in_bundle): choose another type or user"
                );
                self.error(self.place(entry.at, Field::Context), message);
            }
        }
    }

    /// Modes and symlinks of the revision's files. Those of a bundle are refused before there are any.
    pub(super) fn refused_files(&mut self, index: &Index, shown: &Path, rules: &HostRules) {
        for (path, state) in index.iter().filter(|(path, _)| path.file_name().is_some()) {
            let message = match state {
                PathState::File { attrs, .. } | PathState::Directory { attrs }
                    if rules.refusals.modes == Modes::UnsafeRefused && is_unsafe_mode(attrs.mode) =>
                {
                    unsafe_mode(attrs.mode)
                }
                PathState::Symlink { target, .. } if rules.symlinks == Symlinks::Refused => format!(
                    "this is a symlink to {}, which the configuration refuses (reject_symlinks_in_bundle): leave it out",
                    target.display()
                ),
                _ => continue,
            };
            self.validation.add(Finding {
                severity: Severity::Error,
                file: shown.join(path).display().to_string(),
                at: None,
                message,
                source: None,
            });
        }
    }
}

fn unsafe_mode(mode: u32) -> String {
    let why = if mode & 0o6000 == 0 { "lets everybody write" } else { "has set-id bits" };
    format!(
        "the mode {mode:04o} {why}, which the configuration refuses (reject_unsafe_permissions_in_bundle): give another"
    )
}
