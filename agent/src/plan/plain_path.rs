//! Paths without `.`, empty components and a slash at the end, as all paths of a plan are. What `Path` does component
//! by component is done by their bytes: of some hundred thousand paths most begin with the same ones.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The order of `Path` itself: by components, so that what is in a directory follows it at once.
pub fn in_order(one: &Path, other: &Path) -> Ordering {
    let (one, other) = (one.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    match one.iter().zip(other).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((one, other)) => one.cmp(other),
    }
}

/// Whether they are the same.
pub fn same(one: &Path, other: &Path) -> bool {
    one.as_os_str() == other.as_os_str()
}

/// The path as it is seen from a directory: empty for the directory itself, nothing where it is not below it.
pub fn below<'a>(path: &'a Path, directory: &Path) -> Option<&'a Path> {
    let directory = directory.as_os_str().as_bytes();
    let rest = path.as_os_str().as_bytes().strip_prefix(directory)?;
    let rest = match (rest, directory) {
        ([], _) | (_, b"" | b"/") => rest,
        (rest, _) => rest.strip_prefix(b"/")?,
    };
    Some(Path::new(OsStr::from_bytes(rest)))
}

/// The directory that holds it, which is itself for the root and empty for a single name; and its name, which is
/// empty for the root.
pub fn split(path: &Path) -> (&Path, &OsStr) {
    let bytes = path.as_os_str().as_bytes();
    let Some(slash) = bytes.iter().rposition(|byte| *byte == b'/') else { return (Path::new(""), path.as_os_str()) };
    let (directory, name) = bytes.split_at(slash);
    let directory = if directory.is_empty() { b"/" } else { directory };
    (Path::new(OsStr::from_bytes(directory)), OsStr::from_bytes(name.get(1..).unwrap_or_default()))
}

/// What is in a directory under a name, or is below it by a path. In as much memory as it takes: `Path::join` may take
/// twice as much.
pub fn join(directory: &Path, name: &OsStr) -> PathBuf {
    let mut path = OsString::with_capacity(directory.as_os_str().len() + 1 + name.len());
    path.push(directory);
    if !matches!(directory.as_os_str().as_bytes(), b"" | [.., b'/']) {
        path.push("/");
    }
    path.push(name);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 15] = [
        "/", "/a", "/a/b", "/a/b/c", "/a.b", "/a-", "/ab", "/a/b.c", "/a/b-", "/\u{1}", "", "a", "a/b", "\u{7f}", "ab",
    ];

    #[test]
    fn it_is_what_components_say() {
        for one in PATHS.map(Path::new) {
            let name = one.file_name().unwrap_or_default();
            assert_eq!(split(one), (one.parent().unwrap_or(one), name), "{one:?}");
            assert_eq!(join(one, OsStr::new("x/y")).as_os_str(), one.join("x/y").as_os_str(), "{one:?}");
            for other in PATHS.map(Path::new) {
                assert_eq!(in_order(one, other), one.cmp(other), "{one:?} {other:?}");
                assert_eq!(same(one, other), one == other, "{one:?} {other:?}");
                assert_eq!(below(one, other), one.strip_prefix(other).ok(), "{one:?} {other:?}");
            }
        }
    }
}
