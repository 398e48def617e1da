//! Destinations where nothing can be installed on any host.

use std::path::Path;

use super::Examination;
use super::places::Field;
use crate::appspec::AppSpec;
use crate::disk::KERNEL_DIRECTORIES;

/// The directory of the kernel's own file systems that a path is in, if it is in one.
pub fn kernel_directory(path: &Path) -> Option<&'static str> {
    KERNEL_DIRECTORIES.into_iter().find(|directory| path.starts_with(directory))
}

impl Examination {
    /// Destinations on file systems that the kernel makes up.
    pub(super) fn destinations(&mut self, spec: &AppSpec) {
        for mapping in &spec.files {
            if let Some(directory) = kernel_directory(mapping.destination.as_path()) {
                let message = format!(
                    "{directory} holds file systems of the kernel's own, on which nothing can be installed: choose \
                     another destination than {}",
                    mapping.destination.as_path().display()
                );
                self.error(self.place(mapping.at, Field::Destination), message);
            }
        }
    }
}
