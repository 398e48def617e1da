//! A plan as a tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::clash::Clash;
use super::report::{Changed, Extended, State, Stays};
use crate::cli::output::shown;
use crate::plan::Change;

/// One line of the tree.
struct Leaf<'p> {
    path: &'p Path,
    sign: char,
    is_directory: bool,
    words: String,
}

/// Draws what changes, what stays though it should not, and what is in the way: directories once, and those
/// with nothing but another directory beneath them on one line with that.
pub(super) fn drawn(changes: &[Changed], stays: &[Stays], clashes: &[Clash]) -> String {
    let mut blocked: BTreeSet<&Path> = clashes.iter().filter_map(|clash| clash.path.as_deref()).collect();
    let changing = changes.iter().map(|changed| {
        let (mut sign, words) = words(changed);
        if blocked.remove(changed.path.as_path()) {
            sign = '!';
        }
        let last = if changed.becomes == State::Nothing { &changed.was } else { &changed.becomes };
        Leaf { path: &changed.path, sign, is_directory: matches!(last, State::Directory { .. }), words }
    });
    let staying = stays.iter().map(|stays| Leaf {
        path: &stays.path,
        sign: '=',
        is_directory: stays.is_directory,
        words: format!("stays: {}", stays.why),
    });
    let mut leaves: Vec<Leaf<'_>> = changing.chain(staying).collect();
    leaves.extend(blocked.into_iter().map(|path| Leaf {
        path,
        sign: '!',
        is_directory: false,
        words: "clash".to_owned(),
    }));
    leaves.sort_by(|one, other| one.path.cmp(other.path));
    let mut out = String::new();
    draw(&leaves, Path::new("/"), 0, &mut out);
    out
}

/// Draws leaves that are all below `base`. Recurses as deep as paths are.
fn draw(leaves: &[Leaf<'_>], base: &Path, depth: usize, out: &mut String) {
    let mut rest = leaves;
    while let Some(first) = rest.first() {
        let Some(name) = first.path.strip_prefix(base).ok().and_then(|below| below.components().next()) else {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let child = base.join(name);
        let count = rest.iter().take_while(|leaf| leaf.path.starts_with(&child)).count().max(1);
        let (group, others) = rest.split_at(count);
        rest = others;
        if first.path == child {
            line(out, depth, first.sign, (&child, base), first);
            draw(group.get(1..).unwrap_or_default(), &child, depth + 1, out);
        } else {
            let directory = common(group, child);
            out.push_str(&format!("{}  {}/\n", "  ".repeat(depth), name_of(&directory, base)));
            draw(group, &directory, depth + 1, out);
        }
    }
}

/// The longest directory that all of the group is below.
fn common(group: &[Leaf<'_>], mut directory: PathBuf) -> PathBuf {
    while let Some(first) = group.first() {
        let Some(next) = first.path.strip_prefix(&directory).ok().and_then(|below| below.components().next()) else {
            break;
        };
        let deeper = directory.join(next);
        if !group.iter().all(|leaf| leaf.path != deeper && leaf.path.starts_with(&deeper)) {
            break;
        }
        directory = deeper;
    }
    directory
}

fn line(out: &mut String, depth: usize, sign: char, (path, base): (&Path, &Path), leaf: &Leaf<'_>) {
    let slash = if leaf.is_directory { "/" } else { "" };
    let name = format!("{}{sign} {}{slash}", "  ".repeat(depth), name_of(path, base));
    out.push_str(format!("{name:<40}  {}", leaf.words).trim_end());
    out.push('\n');
}

fn name_of(path: &Path, base: &Path) -> String {
    // At the top the whole path is shown.
    let name = if base.parent().is_none() { path } else { path.strip_prefix(base).unwrap_or(path) };
    shown(name)
}

/// How a change begins its line, and what is said of it.
fn words(changed: &Changed) -> (char, String) {
    let Changed { was, becomes, .. } = changed;
    match changed.change {
        Change::Create => ('+', new(becomes)),
        Change::Replace => ('~', replaced(was, becomes)),
        Change::Attributes => ('~', attributes(was, becomes).join(", ")),
        Change::Touch => ('~', "modification time".to_owned()),
        Change::Remove | Change::RemoveDirectory => ('-', String::new()),
        Change::Keep | Change::Retain => ('=', String::new()),
    }
}

fn new(state: &State) -> String {
    match state {
        State::File { mode, uid, gid, size, extended, .. } => {
            format!("{mode} {uid}:{gid}{}, {}", with_extended(extended), bytes(*size))
        }
        State::Directory { mode, uid, gid, extended } => format!("{mode} {uid}:{gid}{}", with_extended(extended)),
        State::Symlink { target, .. } => format!("link to {}", shown(target)),
        State::Nothing | State::Other => state.kind().to_owned(),
    }
}

fn replaced(was: &State, becomes: &State) -> String {
    match (was, becomes) {
        (State::File { size: old, sha256: old_digest, .. }, State::File { size: new, sha256: new_digest, .. }) => {
            let mut words = attributes(was, becomes);
            let is_same = old == new && old_digest.is_some() && old_digest == new_digest;
            match (is_same, words.is_empty()) {
                (false, _) => words.insert(0, format!("content, {} → {}", bytes(*old), bytes(*new))),
                // Another name of the file keeps what it has.
                (true, true) => words.push("a file of its own instead of one with several names".to_owned()),
                (true, false) => {}
            }
            words.join(", ")
        }
        (State::Symlink { target: old, .. }, State::Symlink { target: new, .. }) if old != new => {
            format!("link to {} → {}", shown(old), shown(new))
        }
        (State::Symlink { .. }, State::Symlink { .. }) => attributes(was, becomes).join(", "),
        _ => format!("{} → {}, {}", was.kind(), becomes.kind(), new(becomes)),
    }
}

/// What is said of access control lists and labels beside a mode.
fn with_extended(extended: &Extended) -> &'static str {
    match extended {
        Extended { acl: None, default_acl: None, label: None } => "",
        Extended { acl: None, default_acl: None, label: Some(_) } => " with an SELinux label",
        Extended { label: None, .. } => " with an access control list",
        Extended { label: Some(_), .. } => " with an access control list and an SELinux label",
    }
}

/// What differs in owner, mode, access control lists and label.
fn attributes(was: &State, becomes: &State) -> Vec<String> {
    let (Some((old_owner, old_mode)), Some((new_owner, new_mode))) = (owned(was), owned(becomes)) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    if old_mode != new_mode {
        words.push(format!("mode {old_mode} → {new_mode}"));
    }
    if old_owner != new_owner {
        let ((old_uid, old_gid), (new_uid, new_gid)) = (old_owner, new_owner);
        words.push(format!("owner {old_uid}:{old_gid} → {new_uid}:{new_gid}"));
    }
    if let (Some(old), Some(new)) = (extended(was), extended(becomes)) {
        let lists = [("acl", &old.acl, &new.acl), ("default acl", &old.default_acl, &new.default_acl)];
        for (name, old, new) in lists.into_iter().filter(|(_, old, new)| old != new) {
            let [old, new] = [old, new].map(|acl| acl.as_deref().unwrap_or("none"));
            words.push(format!("{name} {old} → {new}"));
        }
        match (&old.label, &new.label) {
            (Some(label), None) => words.push(format!("label {label} → that of its directory")),
            (old, Some(new)) if old.as_ref() != Some(new) => {
                let old = old.as_ref().map_or("none".to_owned(), ToString::to_string);
                words.push(format!("label {old} → {new}"));
            }
            _ => {}
        }
    }
    words
}

fn extended(state: &State) -> Option<&Extended> {
    match state {
        State::File { extended, .. } | State::Directory { extended, .. } => Some(extended),
        State::Symlink { .. } | State::Nothing | State::Other => None,
    }
}

/// Owner and mode; links have no mode.
fn owned(state: &State) -> Option<((u32, u32), &str)> {
    match state {
        State::File { mode, uid, gid, .. } | State::Directory { mode, uid, gid, .. } => Some(((*uid, *gid), mode)),
        State::Symlink { uid, gid, .. } => Some(((*uid, *gid), "")),
        State::Nothing | State::Other => None,
    }
}

fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Sha256;

    fn lines(leaves: &[(&str, char)]) -> Vec<String> {
        let leaves: Vec<Leaf<'_>> = leaves
            .iter()
            .map(|(path, sign)| Leaf {
                path: Path::new(path.trim_end_matches('/')),
                sign: *sign,
                is_directory: path.ends_with('/'),
                words: String::new(),
            })
            .collect();
        let mut out = String::new();
        draw(&leaves, Path::new("/"), 0, &mut out);
        out.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn directories_are_drawn_once_and_joined_where_nothing_branches() {
        assert_eq!(
            lines(&[
                ("/etc/app.conf", '~'),
                ("/opt/x/", '+'),
                ("/opt/x/y/", '+'),
                ("/opt/x/y/z", '+'),
                ("/srv/app/bin/a", '+'),
                ("/srv/app/bin/b", '-'),
                ("/srv/app/conf/deep/c", '~'),
                ("/top", '+'),
            ]),
            [
                "  /etc/",
                "  ~ app.conf",
                "  /opt/",
                "  + x/",
                "    + y/",
                "      + z",
                "  /srv/app/",
                "    bin/",
                "    + a",
                "    - b",
                "    conf/deep/",
                "    ~ c",
                "+ /top",
            ]
        );
    }

    #[test]
    fn a_name_that_begins_as_another_is_no_part_of_it() {
        assert_eq!(
            lines(&[("/a/b/", '+'), ("/a/b/c", '+'), ("/a/b.c", '+')]),
            ["  /a/", "  + b/", "    + c", "  + b.c"]
        );
    }

    #[test]
    fn what_changes_of_a_file_is_said_and_nothing_else() {
        let file = |mode: u32, uid, size, digest: Option<u8>| State::File {
            mode: format!("{mode:04o}"),
            uid,
            gid: 0,
            extended: Extended::default(),
            size,
            sha256: digest.map(|byte| Sha256([byte; 32])),
        };
        let listed = |acl: Option<&str>, default: Option<&str>| State::Directory {
            mode: "0755".to_owned(),
            uid: 0,
            gid: 0,
            extended: Extended { acl: acl.map(str::to_owned), default_acl: default.map(str::to_owned), label: None },
        };
        let link = |target: &str| State::Symlink { uid: 0, gid: 0, target: target.into() };
        for (was, want, expected) in [
            (file(0o644, 0, 1, Some(1)), file(0o644, 0, 1, Some(2)), "content, 1 byte → 1 byte"),
            (file(0o644, 0, 1, None), file(0o600, 0, 2, Some(2)), "content, 1 byte → 2 bytes, mode 0644 → 0600"),
            (file(0o644, 0, 1, Some(1)), file(0o600, 7, 1, Some(1)), "mode 0644 → 0600, owner 0:0 → 7:0"),
            (link("a"), link("b"), "link to a → b"),
            (link("a"), file(0o644, 0, 3, None), "symlink → file, 0644 0:0, 3 bytes"),
            (link("a"), listed(Some("x"), None), "symlink → directory, 0755 0:0 with an access control list"),
        ] {
            assert_eq!(replaced(&was, &want), expected);
        }
        let words = attributes(&listed(Some("x"), None), &listed(None, Some("y")));
        assert_eq!(words, ["acl x → none", "default acl none → y"]);
    }
}
