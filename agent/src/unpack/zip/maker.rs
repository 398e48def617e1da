//! What the system that made an entry of a zip says by its attributes and names, as `unzip` takes it.

use ::zip::System;

pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const SYMLINK: u32 = 0o120_000;
const KIND: u32 = 0o170_000;

/// Attributes of DOS and Windows.
const READ_ONLY: u32 = 0x01;
const SUBDIRECTORY: u32 = 0x10;

/// The kinds of systems on which zips are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// It has modes, and a backslash is a character like any other.
    Unix,
    /// It has attributes for read-only files and for directories, and may have a backslash between names.
    Dos,
}

/// An entry's kind, and its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// Nothing where the maker does not tell: a file.
    pub kind: Option<u32>,
    /// There is no owner in a zip that set-id bits could be for.
    pub permissions: u32,
}

impl Maker {
    pub fn of(system: System) -> Self {
        match system {
            System::Unix
            | System::OsDarwin
            | System::BeOS
            | System::AtariSt
            | System::AcornRisc
            | System::OpenVMS
            | System::Tandem => Self::Unix,
            _ => Self::Dos,
        }
    }

    /// An entry's path with slashes.
    pub fn path(self, name: &str) -> String {
        match self {
            Self::Unix => name.to_owned(),
            Self::Dos => name.replace('\\', "/"),
        }
    }

    /// What the attributes of the entry with that path say.
    pub fn mode(self, attributes: u32, path: &str) -> Mode {
        let stored = attributes >> 16;
        let by_name = path.ends_with('/');
        match self {
            Self::Unix if stored != 0 => {
                let kind = Some(stored & KIND).filter(|kind| *kind != 0);
                Mode { kind: if by_name { Some(DIRECTORY) } else { kind }, permissions: stored & 0o7777 }
            }
            _ => {
                let is_directory = by_name || attributes & SUBDIRECTORY != 0;
                let mut usual = if is_directory { 0o755 } else { 0o644 };
                if attributes & READ_ONLY != 0 {
                    usual &= !0o222;
                }
                // Some tools store a mode all the same. It is one where it agrees with the attributes.
                let agrees = stored & 0o700 == usual & 0o700;
                let permissions = if agrees { stored & 0o777 } else { usual };
                Mode { kind: is_directory.then_some(DIRECTORY), permissions }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_gives_ordinary_modes() {
        let mode = |attributes, path| Maker::Dos.mode(attributes, path);
        let file = |permissions| Mode { kind: None, permissions };
        let directory = |permissions| Mode { kind: Some(DIRECTORY), permissions };
        assert_eq!(mode(0, "f"), file(0o644));
        assert_eq!(mode(0x20, "f"), file(0o644));
        assert_eq!(mode(0x21, "f"), file(0o444));
        assert_eq!(mode(0, "d/"), directory(0o755));
        assert_eq!(mode(0x10, "d"), directory(0o755));
        // A mode beside the attributes, which agrees with them, or does not.
        assert_eq!(mode(0o100_640 << 16, "f"), file(0o640));
        assert_eq!(mode(0o100_777 << 16, "f"), file(0o644));
        assert_eq!(mode(0o120_777 << 16, "f"), file(0o644));
    }

    #[test]
    fn unix_gives_its_own_modes() {
        let mode = |attributes: u32, path| Maker::Unix.mode(attributes << 16, path);
        assert_eq!(mode(0o100_755, "f"), Mode { kind: Some(REGULAR), permissions: 0o755 });
        assert_eq!(mode(0o120_777, "f"), Mode { kind: Some(SYMLINK), permissions: 0o777 });
        assert_eq!(mode(0o600, "f"), Mode { kind: None, permissions: 0o600 });
        assert_eq!(mode(0o700, "d/"), Mode { kind: Some(DIRECTORY), permissions: 0o700 });
        assert_eq!(mode(0, "f"), Mode { kind: None, permissions: 0o644 });
    }

    #[test]
    fn backslashes_part_names_where_they_cannot_be_in_them() {
        assert_eq!(Maker::Dos.path(r"bin\run.sh"), "bin/run.sh");
        assert_eq!(Maker::Unix.path(r"dev-disk\x2dlabel.swap"), r"dev-disk\x2dlabel.swap");
        assert_eq!((Maker::of(System::Dos), Maker::of(System::WindowsNTFS)), (Maker::Dos, Maker::Dos));
        assert_eq!((Maker::of(System::Unix), Maker::of(System::OsDarwin)), (Maker::Unix, Maker::Unix));
    }
}
