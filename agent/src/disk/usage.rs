use std::path::Path;

use super::{Dir, Kind, Result};

impl Dir {
    /// Bytes in the files below this directory, by their lengths. What goes meanwhile is not counted, nor is what is
    /// mounted below it.
    pub fn usage(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in self.entries()? {
            let counted = match entry.kind {
                Kind::Directory => match self.open_dir_of_same_mount(Path::new(&entry.name)) {
                    Ok(Some(dir)) => dir.usage(),
                    Ok(None) => Ok(0),
                    Err(error) => Err(error),
                },
                _ => self.stat(&entry.name).map(|stat| stat.size),
            };
            bytes += match counted {
                Err(error) if error.is_not_found() => 0,
                other => other?,
            };
        }
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;

    #[test]
    fn files_count_by_their_length_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b")).unwrap();
        std::fs::write(temp.path().join("a/b/file"), [0; 1000]).unwrap();
        std::fs::write(temp.path().join("file"), [0; 10]).unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("a/l")).unwrap();
        assert_eq!(Dir::open(temp.path()).unwrap().usage().unwrap(), 1011);
    }

    #[test]
    fn what_is_mounted_below_is_not_counted() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("tree/data")).unwrap();
        std::fs::create_dir(temp.path().join("volume")).unwrap();
        std::fs::write(temp.path().join("volume/file"), [0; 1000]).unwrap();
        std::fs::write(temp.path().join("tree/file"), [0; 10]).unwrap();
        let (volume, point) = (temp.path().join("volume"), temp.path().join("tree/data"));
        let Some(_mounted) = crate::disk::Mounted::bind(&volume, &point) else { return };
        assert_eq!(Dir::open(temp.path().join("tree")).unwrap().usage().unwrap(), 10);
    }
}
