use super::{Dir, Kind, Result};

impl Dir {
    /// Bytes in the files below this directory, by their lengths. What goes meanwhile is not counted.
    pub fn usage(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in self.entries()? {
            let counted = match entry.kind {
                Kind::Directory => self.open_dir(&entry.name).and_then(|dir| dir.usage()),
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
}
