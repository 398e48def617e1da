//! The order of paths, without taking them apart: of two in some hundred thousand the first bytes are the same.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As `Path` itself orders them, for paths without `.`, empty components and a slash at the end: by their
/// components, so that what is in a directory follows it at once.
pub(super) fn in_order(one: &Path, other: &Path) -> Ordering {
    let (one, other) = (one.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    match one.iter().zip(other).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((one, other)) => one.cmp(other),
    }
}

/// Whether two such paths are the same.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    one.as_os_str() == other.as_os_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_order_of_components() {
        let paths =
            ["/", "/a", "/a/b", "/a/b/c", "/a.b", "/a-", "/ab", "/a/b.c", "/a/b-", "/\u{1}", "", "a", "a/b", "\u{7f}"];
        for one in paths.map(Path::new) {
            for other in paths.map(Path::new) {
                assert_eq!(in_order(one, other), one.cmp(other), "{one:?} {other:?}");
                assert_eq!(same(one, other), one == other, "{one:?} {other:?}");
            }
        }
    }
}
