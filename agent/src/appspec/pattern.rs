//! The patterns of a permission entry.

use std::path::Path;

/// Which paths below an object a permission entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `**`: everything at any depth.
    Everything,
    /// Any other: a glob for the names of direct children.
    Children(glob::Pattern),
}

impl Pattern {
    /// Parses a pattern; the error says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "**" {
            return Ok(Self::Everything);
        }
        if text.is_empty() {
            return Err("`**` for everything below the object, or a pattern for the names of its children".to_owned());
        }
        if text.contains('/') {
            return Err("a pattern without `/`: it is compared with the names of the object's direct children; \
                        name the directory as the object instead"
                .to_owned());
        }
        glob::Pattern::new(text).map(Self::Children).map_err(|error| {
            format!("`**` alone, or a pattern of `*`, `?` and `[…]` for the names of direct children ({})", error.msg)
        })
    }

    /// Whether it means a path, which is given relative to the entry's object.
    ///
    /// A name that is not UTF-8 can be matched by `*` and `?` only.
    pub fn matches(&self, relative: &Path) -> bool {
        let mut components = relative.components();
        match (self, components.next(), components.next()) {
            (_, None, _) => false,
            (Self::Everything, Some(_), _) => true,
            (Self::Children(glob), Some(name), None) => glob.matches(&name.as_os_str().to_string_lossy()),
            (Self::Children(_), Some(_), Some(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../docs/appspec.md");

    /// The rows of the guide's table below a heading: the code of each cell.
    fn rows(head: &str) -> Vec<Vec<Vec<&'static str>>> {
        let (_, table) = GUIDE.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("no table {head:?}"));
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let code = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
        rows.map(|row| row.trim_matches('|').split('|').map(code).collect()).collect()
    }

    /// Every row of the guide, on one path after the other.
    #[test]
    fn what_a_pattern_means_is_what_the_guide_says() {
        let rows = rows("| pattern | means | does not mean |");
        assert!(rows.len() >= 14, "{rows:?}");
        let (mut means, mut others) = (0, 0);
        for row in &rows {
            let [pattern, matching, different] = &row[..] else { panic!("{row:?}") };
            let [text] = pattern[..] else { panic!("{row:?}") };
            assert!(!matching.is_empty() && !different.is_empty(), "{row:?} shows one side only");
            let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            for path in matching {
                assert!(pattern.matches(Path::new(path)), "{text} means {path}");
                means += 1;
            }
            for path in different {
                // The object itself is the empty path relative to it.
                let relative = path.strip_prefix("/srv/app").unwrap_or(path);
                assert!(!pattern.matches(Path::new(relative)), "{text} does not mean {path}");
                others += 1;
            }
            assert!(!pattern.matches(Path::new("")), "{text} never means the object itself");
        }
        assert!(means >= 25 && others >= 25, "{means} {others}");
    }

    /// Every row of the guide: an entry with `except`, by the same function that an install asks.
    #[test]
    fn what_an_entry_means_is_what_the_guide_says() {
        use crate::appspec::{Destination, PathKind, PermissionEntry, PermissionTarget, Position};
        let rows = rows("| `object` | `pattern` | `except` | `type` | means | does not mean |");
        assert!(rows.len() >= 9, "{rows:?}");
        for row in &rows {
            let [object, pattern, except, kinds, matching, different] = &row[..] else { panic!("{row:?}") };
            let entry = PermissionEntry {
                object: Destination::parse(object[0]).unwrap(),
                pattern: Pattern::parse(pattern.first().unwrap_or(&"**")).unwrap(),
                except: except.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
                target: match kinds[..] {
                    [] => PermissionTarget::Both,
                    ["file"] => PermissionTarget::Files,
                    ["directory"] => PermissionTarget::Directories,
                    _ => panic!("{row:?}"),
                },
                owner: None,
                group: None,
                mode: None,
                acls: None,
                context: None,
                at: Position { line: 1, column: 1 },
            };
            assert!(!matching.is_empty() && !different.is_empty(), "{row:?} shows one side only");
            for (paths, expected) in [(matching, true), (different, false)] {
                for path in paths {
                    // As `ls -p` shows it, a directory ends in a slash.
                    let kind = if path.ends_with('/') { PathKind::Directory } else { PathKind::File };
                    assert_eq!(
                        entry.applies_to(Path::new(path.trim_end_matches('/')), kind),
                        expected,
                        "{row:?}: {path}"
                    );
                }
            }
        }
    }

    /// Every pattern that the guide says is a mistake.
    #[test]
    fn what_is_no_pattern_is_what_the_guide_says() {
        let (_, sentence) = GUIDE.split_once("Mistakes are ").unwrap();
        let sentence = sentence.split(": ").next().unwrap();
        let texts: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        assert!(texts.len() >= 5, "{texts:?}");
        for text in texts {
            assert!(!text.is_empty() && Pattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for text in ["", "bin/*.sh", "/tmp/*", "**/*.sh", "a**", "***", "[a"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_has_a_pattern_too() {
        use std::os::unix::ffi::OsStrExt;
        let name = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        assert!(Pattern::parse("*").unwrap().matches(name));
        assert!(Pattern::parse("caf?").unwrap().matches(name));
        assert!(!Pattern::parse("cafe").unwrap().matches(name));
    }
}
