//! The patterns of a permission entry.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which paths below an object a permission entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `**`: everything at any depth.
    Everything,
    /// Any other: the names of direct children.
    Children(NamePattern),
}

/// A pattern for names, in which `*` is any number of characters and all others are themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl Pattern {
    /// Reads a pattern. Every text is one, as for AWS's agent; [`NamePattern::doubt`] tells of those that hardly
    /// mean what their authors think.
    pub fn parse(text: &str) -> Self {
        if text == "**" { Self::Everything } else { Self::Children(NamePattern::parse(text)) }
    }

    /// Whether it means a path, which is given relative to the entry's object.
    pub fn matches(&self, relative: &Path) -> bool {
        match self {
            Self::Everything => relative.components().next().is_some(),
            Self::Children(pattern) => pattern.matches(relative),
        }
    }
}

impl NamePattern {
    /// Reads a pattern for names, whatever it is.
    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it means a path, which is given relative to the entry's object: a direct child by its name, byte
    /// by byte.
    pub fn matches(&self, relative: &Path) -> bool {
        let mut components = relative.components();
        match (components.next(), components.next()) {
            (Some(name), None) => is_match(self.0.as_bytes(), name.as_os_str().as_bytes()),
            _ => false,
        }
    }

    /// Why it hardly means what its author thinks.
    pub fn doubt(&self) -> Option<String> {
        let text = self.0.as_str();
        if text.is_empty() {
            return Some("is empty, so it means nothing".to_owned());
        }
        if text.contains('/') {
            return Some(
                "holds a `/`, so it means nothing: it is compared with the names of the object's direct children; \
                 name the directory as the object instead"
                    .to_owned(),
            );
        }
        if text.contains("**") {
            return Some(
                "is for direct children alone, since only a `pattern` that is `**` and nothing else goes deeper"
                    .to_owned(),
            );
        }
        let special: Vec<String> =
            ['?', '[', ']'].iter().filter(|sign| text.contains(**sign)).map(|sign| format!("`{sign}`")).collect();
        let verb = if special.len() == 1 { "stands for itself" } else { "stand for themselves" };
        (!special.is_empty())
            .then(|| format!("is taken literally: {} {verb}, only `*` is special", special.join(" and ")))
    }
}

/// Goes back to the last `*` only, so it takes no longer than the product of both lengths.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut done) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while done < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, done));
                at += 1;
            }
            Some(sign) if name.get(done) == Some(sign) => {
                at += 1;
                done += 1;
            }
            _ => match &mut star {
                Some((behind, taken)) => {
                    *taken += 1;
                    (at, done) = (*behind, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|sign| *sign == b'*')
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
        assert!(rows.len() >= 11, "{rows:?}");
        let (mut means, mut others) = (0, 0);
        for row in &rows {
            let [pattern, matching, different] = &row[..] else { panic!("{row:?}") };
            let [text] = pattern[..] else { panic!("{row:?}") };
            assert!(!matching.is_empty() && !different.is_empty(), "{row:?} shows one side only");
            let pattern = Pattern::parse(text);
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
                pattern: Pattern::parse(pattern.first().unwrap_or(&"**")),
                except: except.iter().map(|text| NamePattern::parse(text)).collect(),
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

    /// Every pattern that the guide says is warned of, and no other of its tables but those with literal signs.
    #[test]
    fn what_is_doubtful_is_what_the_guide_says() {
        let (_, sentence) = GUIDE.split_once("Warned of are ").unwrap();
        let sentence = sentence.split(": ").next().unwrap();
        let texts: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        assert!(texts.len() >= 6, "{texts:?}");
        for text in texts {
            assert!(!text.is_empty() && NamePattern::parse(text).doubt().is_some(), "{text:?}");
        }
        for row in rows("| pattern | means | does not mean |") {
            let text = row[0][0];
            let is_odd = text.contains(['?', '[']) || text.matches("**").count() > 0;
            assert_eq!(NamePattern::parse(text).doubt().is_some(), is_odd, "{text:?}");
        }
    }

    /// Beside what AWS's agent made of the same names: a set of all that a pattern can still be, sign by sign.
    #[test]
    fn only_the_asterisk_is_special() {
        fn reference(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|taken| reference(rest, &name[taken..])),
                Some((sign, rest)) => {
                    name.split_first().is_some_and(|(first, more)| first == sign && reference(rest, more))
                }
            }
        }
        let mut random = fastrand::Rng::with_seed(11);
        let mut both = [0, 0];
        for _ in 0..20_000 {
            let mut text = |signs: &[u8], most| -> Vec<u8> {
                (0..random.usize(..most)).map(|_| *random.choice(signs).unwrap()).collect()
            };
            let (pattern, name) = (text(b"**ab?[", 7), text(b"aab?[.", 8));
            if name.is_empty() || matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            let (pattern, name) = (String::from_utf8(pattern).unwrap(), String::from_utf8(name).unwrap());
            let expected = reference(pattern.as_bytes(), name.as_bytes());
            assert_eq!(NamePattern::parse(&pattern).matches(Path::new(&name)), expected, "{pattern:?} {name:?}");
            both[usize::from(expected)] += 1;
        }
        assert!(both.iter().all(|count| *count > 1000), "{both:?}");
        let long = (format!("{}b", "*a".repeat(200)), "a".repeat(20_000));
        assert!(!NamePattern::parse(&long.0).matches(Path::new(&long.1)));
    }

    #[test]
    fn patterns_that_mean_nothing_deploy_as_with_other_agents() {
        for (text, path) in [("", "a"), ("bin/*.sh", "bin/a.sh"), ("/tmp/*", "a"), ("**/*.sh", "a/b.sh")] {
            assert!(!Pattern::parse(text).matches(Path::new(path)), "{text:?}");
        }
        assert!(Pattern::parse("a**").matches(Path::new("ab")) && !Pattern::parse("a**").matches(Path::new("a/b")));
        assert!(Pattern::parse("***").matches(Path::new("b")) && !Pattern::parse("***").matches(Path::new("a/b")));
    }

    #[test]
    fn a_name_that_is_not_utf8_has_a_pattern_too() {
        use std::os::unix::ffi::OsStrExt;
        let name = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        assert!(Pattern::parse("*").matches(name) && Pattern::parse("caf*").matches(name));
        assert!(!Pattern::parse("caf").matches(name));
    }
}
