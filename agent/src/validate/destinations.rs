//! Destinations where nothing can be installed: on any host, or on this one.

use std::path::Path;

use super::Examination;
use super::places::Field;
use crate::appspec::AppSpec;
use crate::disk::KERNEL_DIRECTORIES;
use crate::install;
use crate::plan::grounds::FollowedLinks;

/// The directory of the kernel's own file systems that a path is in, if it is in one.
pub fn kernel_directory(path: &Path) -> Option<&'static str> {
    KERNEL_DIRECTORIES.into_iter().find(|directory| path.starts_with(directory))
}

impl Examination {
    /// Destinations on file systems that the kernel makes up, and those behind symlinks that are not followed here.
    pub(super) fn destinations(&mut self, spec: &AppSpec, links: FollowedLinks) {
        for mapping in &spec.files {
            if let Some(directory) = kernel_directory(mapping.destination.as_path()) {
                let message = format!(
                    "{directory} holds file systems of the kernel's own, on which nothing can be installed: choose \
                     another destination than {}",
                    mapping.destination.as_path().display()
                );
                self.error(self.place(mapping.at, Field::Destination), message);
            }
            // A host for which the revision is not meant may have something else there, or nothing that can be looked at.
            if let Ok(Some(conflict)) = install::link_not_followed(mapping.destination.as_path(), links) {
                let message = format!("this host refuses a deployment: {conflict}");
                self.warning(self.place(mapping.at, Field::Destination), message);
            }
        }
    }
}
