//! Following the sources of an AppSpec within its revision. A source that is a symlink to a directory stands for that
//! directory, and so does a symlink on the way to a source. All other symlinks of a revision are installed as they are.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Kind};
use crate::plan::plain_path::split;
use crate::plan::{Led, Sources};
use crate::revision::Revision;

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Finds the sources that symlinks lead elsewhere.
pub fn sources(revision: &Revision, appspec: &AppSpec) -> Result<Sources, disk::Error> {
    let root = Dir::open(revision.root())?;
    let mut led = Vec::new();
    for mapping in &appspec.files {
        let source = mapping.source.as_path();
        led.extend(follow(&root, source)?.map(|found| (source.to_owned(), found)));
    }
    Ok(led.into_iter().collect())
}

/// The place of one source; nothing where no symlink leads it anywhere.
fn follow(root: &Dir, source: &Path) -> Result<Option<Led>, disk::Error> {
    let (above, name) = split(source);
    if name.is_empty() {
        return Ok(None);
    }
    match root.stat(source) {
        Ok(stat) if stat.kind != Kind::Symlink => return Ok(None),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) if !error.is_not_a_directory() => return Err(error),
        _ => {}
    }
    let at = match directory(root, above)? {
        Walked::Directory(above) => above.join(name),
        Walked::Outside(led) => return Ok(Some(led)),
        Walked::Nothing => return Ok(None),
    };
    let is_link = root.stat_if_exists(&at)?.is_some_and(|stat| stat.kind == Kind::Symlink);
    let led = match if is_link { directory(root, &at)? } else { Walked::Nothing } {
        Walked::Directory(path) => Led::To(path),
        // A link to a file is installed as a link, wherever that file is.
        Walked::Outside(led) if Dir::open(root.path().join(&at)).is_ok() => led,
        _ => Led::To(at),
    };
    Ok((led != Led::To(source.to_owned())).then_some(led))
}

/// What a path of the revision leads to.
enum Walked {
    /// A directory of the revision.
    Directory(PathBuf),
    /// A link leads out of the revision.
    Outside(Led),
    /// There is no directory.
    Nothing,
}

fn directory(root: &Dir, path: &Path) -> Result<Walked, disk::Error> {
    let mut here = PathBuf::new();
    let mut links = 0;
    let mut outside = Walked::Nothing;
    let mut ahead: VecDeque<OsString> = VecDeque::new();
    prepend(path, &mut ahead);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            if here.pop() { continue } else { return Ok(outside) }
        }
        let next = here.join(&name);
        match root.stat_if_exists(&next)?.map(|stat| stat.kind) {
            Some(Kind::Directory) => here = next,
            Some(Kind::Symlink) => {
                links += 1;
                if links > MAX_LINKS {
                    return Ok(Walked::Nothing);
                }
                let target = root.read_link(&next)?;
                outside = Walked::Outside(Led::Outside { link: next, target: target.clone() });
                if target.is_absolute() {
                    return Ok(outside);
                }
                prepend(&target, &mut ahead);
            }
            Some(Kind::File | Kind::Other) | None => return Ok(Walked::Nothing),
        }
    }
    Ok(Walked::Directory(here))
}

fn prepend(path: &Path, ahead: &mut VecDeque<OsString>) {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    for name in names.rev() {
        ahead.push_front(name.as_os_str().to_owned());
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_source_is_followed_within_the_revision_and_no_further() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(temp.path().join("file"), "").unwrap();
        let at = temp.path().join("revision");
        std::fs::create_dir_all(at.join("v2/deep")).unwrap();
        std::fs::write(at.join("v2/file"), "").unwrap();
        let links = [
            ("app", "v2"),
            ("again", "./app"),
            ("root", "."),
            ("v2/up", "../v2/deep"),
            ("v2/leaf", "file"),
            ("v2/nowhere", "nothing"),
            ("loop", "loop"),
            ("out", "../outside"),
            ("way", "v2/../../outside"),
            ("host", outside.to_str().unwrap()),
            ("hosts-file", "../file"),
        ];
        for (link, target) in links {
            symlink(target, at.join(link)).unwrap();
        }
        let root = Dir::open(&at).unwrap();
        let led = |source: &str| follow(&root, Path::new(source)).unwrap();
        for (source, to) in [
            ("app", "v2"),
            ("again", "v2"),
            ("root", ""),
            ("app/file", "v2/file"),
            ("again/up", "v2/deep"),
            ("app/leaf", "v2/leaf"),
            ("app/missing", "v2/missing"),
            ("root/app/deep", "v2/deep"),
        ] {
            assert_eq!(led(source), Some(Led::To(to.into())), "{source}");
        }
        for source in ["", "v2", "v2/file", "v2/leaf", "v2/nowhere", "loop", "loop/x", "missing/x", "hosts-file"] {
            assert_eq!(led(source), None, "{source}");
        }
        for (source, link) in [("out", "out"), ("out/x", "out"), ("way", "way"), ("host", "host")] {
            let found = led(source);
            assert!(matches!(&found, Some(Led::Outside { link: found, .. }) if found == Path::new(link)), "{source}");
        }
    }
}
