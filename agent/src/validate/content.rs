//! Whether the `files` and `permissions` of an AppSpec mean something in its revision.

use std::collections::BTreeMap;
use std::path::Path;

use super::places::Field;
use super::{Examination, Finding, Severity};
use crate::appspec::{AppSpec, NamePattern, PathKind, PermissionEntry, Position};
use crate::plan::{self, Conflict, Index, Led, PathState, Role, Sources, Target};
use crate::yaml::nearest;

/// What several paths have in common that one finding tells: the first path, and how many there are.
struct Group<'t> {
    first: &'t Target<'t>,
    count: usize,
}

impl Examination {
    /// Devices, sockets and pipes: no bundle can hold them, and no directory with them is deployed.
    pub(super) fn special_files(&mut self, index: &Index, shown: &Path) {
        for (path, _) in index.iter().filter(|(_, state)| matches!(state, PathState::Other)) {
            self.validation.add(Finding {
                severity: Severity::Error,
                file: shown.join(path).display().to_string(),
                at: None,
                message: "this is a device, socket or pipe, which cannot be deployed: leave it out".to_owned(),
                source: None,
            });
        }
    }

    /// Sources that are missing or elsewhere, paths that come from two of them, entries that mean nothing or too much.
    pub(super) fn content(&mut self, spec: &AppSpec, sources: &Sources, index: &Index) {
        // An entry with a mistake was left out: what it would have installed is not known.
        let is_whole = self.validation.count(Severity::Error) == 0;
        let mut conflicts = Vec::new();
        let mut targets = plan::expand(spec, sources, index, &mut conflicts);
        for conflict in conflicts {
            if let Conflict::MissingSource { source_path, at } = conflict {
                self.missing_source(&source_path, at, index);
            }
        }
        self.led_sources(spec, sources, index);
        targets.sort_by(|one, other| (&one.path, one.role).cmp(&(&other.path, other.role)));
        self.duplicates(&targets);
        targets.dedup_by(|later, earlier| later.path == earlier.path);
        let is_used = self.permissions(spec, &targets);
        let unused = spec.permissions.iter().zip(is_used).filter(|(_, used)| is_whole && !used);
        for (entry, _) in unused {
            self.unused(entry, &targets);
        }
    }

    /// Entries that mean a path together with another one, or cannot mean what they mean. Answers which
    /// of them mean anything.
    fn permissions(&mut self, spec: &AppSpec, targets: &[Target<'_>]) -> Vec<bool> {
        let mut pairs: BTreeMap<(Position, Position), Group<'_>> = BTreeMap::new();
        let mut ways: BTreeMap<(Position, Position), Group<'_>> = BTreeMap::new();
        let mut defaults: BTreeMap<(Position, Position), Group<'_>> = BTreeMap::new();
        let mut is_used = vec![false; spec.permissions.len()];
        for target in targets {
            let Some(kind) = kind(target) else { continue };
            let mut first: Option<&PermissionEntry> = None;
            for (entry, used) in spec.permissions.iter().zip(&mut is_used) {
                if !entry.applies_to(&target.path, kind) {
                    continue;
                }
                *used = true;
                if entry.object.as_path() == target.path
                    && let Err(reason) = entry.check_file_object()
                {
                    self.error(self.place(entry.at, Field::Object), format!("{}: {reason}", target.path.display()));
                }
                let has_default = entry.acls.iter().flatten().any(|acl| acl.default);
                if has_default && kind == PathKind::File && entry.object.as_path() != target.path {
                    count(&mut defaults, (entry.at, entry.at), target);
                }
                match first {
                    None => first = Some(entry),
                    Some(first) if target.role == Role::Way => count(&mut ways, (first.at, entry.at), target),
                    Some(first) => count(&mut pairs, (first.at, entry.at), target),
                }
            }
        }
        for ((entry, _), Group { first: example, count }) in defaults {
            let (path, more) = (example.path.display(), more(count));
            let message = format!(
                "`acls` holds default entries, which only directories have, and this entry means the file {path}{more}: \
                 give these an entry of their own with `type: [directory]`"
            );
            self.error(self.place(entry, Field::Object), message);
        }
        for ((first, second), Group { first: example, count }) in pairs {
            let (path, more) = (example.path.display(), more(count));
            let message = format!(
                "this entry and the one in line {} both mean {path}{more}: narrow one of them by `pattern`, `except` \
                 or `type`",
                first.line
            );
            self.error(self.place(second, Field::Object), message);
        }
        // Whether a directory above what is installed is made is up to the host.
        for ((first, second), Group { first: example, count }) in ways {
            let (path, more) = (example.path.display(), more(count));
            let message = format!(
                "this entry and the one in line {} both mean the directory {path}{more}: a host that does not have it \
                 refuses the deployment; narrow one of them by `pattern`, `except` or `type`",
                first.line
            );
            self.warning(self.place(second, Field::Object), message);
        }
        is_used
    }

    /// Sources of entries whose other mistakes keep them from being installed.
    pub(super) fn lone_sources(&mut self, index: &Index) {
        for (source, at) in std::mem::take(&mut self.lone_sources) {
            if index.get(source.as_path()).is_none() {
                self.missing_source(source.as_path(), at, index);
            }
        }
    }

    fn missing_source(&mut self, source: &Path, entry: Position, index: &Index) {
        let siblings = children(index, source.parent().unwrap_or(Path::new("")));
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let guess = match nearest(&name, siblings.iter().map(String::as_str)) {
            _ if name.contains('*') => no_pattern(source, &name, &siblings),
            Some(guess) => format!("; did you mean `{}`?", source.with_file_name(guess).display()),
            None => ": correct it, or add it to the bundle".to_owned(),
        };
        let message = format!("the revision has no `{}`{guess}", source.display());
        self.error(self.place(entry, Field::Source), message);
    }

    /// Sources that a symlink leads elsewhere: out of the revision, or to another directory of it.
    fn led_sources(&mut self, spec: &AppSpec, sources: &Sources, index: &Index) {
        for mapping in &spec.files {
            let source = mapping.source.as_path();
            let place = self.place(mapping.at, Field::Source);
            match sources.led(source) {
                Some(Led::Outside { link, target }) => {
                    let (source, link, target) = (source.display(), link.display(), target.display());
                    let message = format!(
                        "`{source}` leads out of the revision: `{link}` is a symlink to {target}. Put what is to be \
                         installed into the bundle"
                    );
                    self.error(place, message);
                }
                Some(Led::To(path)) if index.get(path).is_some() => {
                    let (source, path) = (source.display(), root_shown(path));
                    let message = format!(
                        "a symlink leads from `{source}` to `{path}`, and what is there is installed. Name `{path}` \
                         itself to say so"
                    );
                    self.warning(place, message);
                }
                Some(Led::To(_)) | None => {}
            }
        }
    }

    fn duplicates(&mut self, targets: &[Target<'_>]) {
        let mut pairs: BTreeMap<(Position, Position), Group<'_>> = BTreeMap::new();
        for pair in targets.windows(2) {
            if let [one, other] = pair
                && one.path == other.path
                && other.role == Role::Leaf
            {
                let entries = (one.entry.min(other.entry), one.entry.max(other.entry));
                count(&mut pairs, entries, other);
            }
        }
        for ((first, second), Group { first: example, count }) in pairs {
            let (path, more) = (example.path.display(), more(count));
            let message = if first == second {
                format!("this entry installs two things as {path}{more}: remove one of them from the revision")
            } else {
                format!("this entry and the one in line {} both install {path}{more}: remove one of them", first.line)
            };
            self.error(self.place(second, Field::Source), message);
        }
    }

    fn unused(&mut self, entry: &PermissionEntry, targets: &[Target<'_>]) {
        let object = entry.object.as_path();
        let below = || targets.iter().filter(|target| target.path.starts_with(object));
        let shown = object.display();
        let message = if below().any(|target| target.path != object) {
            format!("nothing that is installed below {shown} is meant by this entry's `pattern`, `except` and `type`")
        } else if below().next().is_some() {
            format!("this entry means nothing: it is for what is installed below {shown}, and nothing is")
        } else {
            format!("nothing is installed at or below {shown}, so this entry means nothing; is its path right?")
        };
        self.warning(self.place(entry.at, Field::Object), message);
    }
}

/// What to write instead of a pattern.
fn no_pattern(source: &Path, pattern: &str, siblings: &[String]) -> String {
    let pattern = NamePattern::parse(pattern);
    let meant: Vec<&String> = siblings.iter().filter(|name| pattern.matches(Path::new(name))).collect();
    let directory = match source.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.display().to_string(),
        _ => "/".to_owned(),
    };
    match meant.as_slice() {
        [only] => format!(
            ": `source` takes no patterns; name the file, `{}`, or its directory, `{directory}`",
            source.with_file_name(only).display()
        ),
        _ => format!(
            ": `source` takes no patterns; name each file in an entry of its own, or their directory, `{directory}`"
        ),
    }
}

/// What permission entries see in a target; they never mean symlinks.
fn kind(target: &Target<'_>) -> Option<PathKind> {
    match target.role {
        Role::Way | Role::Directory => Some(PathKind::Directory),
        Role::Leaf => matches!(target.state, PathState::File { .. }).then_some(PathKind::File),
    }
}

fn count<'t>(
    pairs: &mut BTreeMap<(Position, Position), Group<'t>>,
    pair: (Position, Position),
    target: &'t Target<'t>,
) {
    pairs.entry(pair).or_insert(Group { first: target, count: 0 }).count += 1;
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " and one more path".to_owned(),
        count => format!(" and {} more paths", count - 1),
    }
}

/// A path of the revision, for messages.
fn root_shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { "/".to_owned() } else { path.display().to_string() }
}

/// The names of what is in a directory of the revision.
fn children(index: &Index, directory: &Path) -> Vec<String> {
    let own = index.below(directory).filter(|(path, _)| path.parent() == Some(directory));
    own.filter_map(|(path, _)| path.file_name()?.to_str().map(str::to_owned)).collect()
}
