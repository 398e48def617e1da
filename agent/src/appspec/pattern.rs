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

    /// Reads like the table in `docs/appspec.md`, and is that table.
    #[test]
    fn what_a_pattern_means() {
        let rows: [(&str, &[&str], &[&str]); 9] = [
            // pattern, means (relative to the object), does not mean
            ("**", &["a", "a/b", "a/b/c.sh", ".hidden"], &[]),
            ("*", &["a", "b.sh", ".hidden"], &["a/b"]),
            ("*.sh", &["run.sh", ".sh"], &["run.sh.bak", "bin/run.sh", "run.SH"]),
            ("run*", &["run", "run.sh", "runner"], &["bin/run", "a-run"]),
            ("*-*.jar", &["app-1.2.jar"], &["app.jar", "lib/app-1.2.jar"]),
            ("run.sh", &["run.sh"], &["bin/run.sh", "run_sh"]),
            ("log?", &["log1", "logs"], &["log", "log10"]),
            ("[a-c]*", &["apple", "c"], &["date"]),
            ("[[]x]", &["[x]"], &["x"]),
        ];
        let guide = include_str!("../../../docs/appspec.md");
        let table = guide.split_once("| pattern | means | does not mean |\n").unwrap().1;
        let written: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
        assert_eq!(written.len(), rows.len());
        for ((text, matching, others), line) in rows.into_iter().zip(written) {
            let pattern = Pattern::parse(text).unwrap();
            for path in matching {
                assert!(pattern.matches(Path::new(path)), "{text} means {path}");
            }
            for path in others {
                assert!(!pattern.matches(Path::new(path)), "{text} does not mean {path:?}");
            }
            assert!(!pattern.matches(Path::new("")), "{text} never means the object itself");
            let code = |paths: &[&str]| paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
            let others = if others.is_empty() { "`/srv/app` itself".to_owned() } else { code(others) };
            assert_eq!(line, format!("| `{text}` | {} | {others} |", code(matching)));
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
