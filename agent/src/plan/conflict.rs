//! What keeps a plan from being made. All conflicts of a plan are reported together.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::grounds::{Distrust, Reach};
use super::label::Label;
use super::manifest::Installer;
use crate::appspec::Position;
use crate::appspec::permissions::FileObjectError;

/// How many conflicts a message shows.
const SHOWN: usize = 50;

/// How many paths stand together in one line of it.
const TOGETHER: usize = 5;

/// What to do about a source that is not there.
fn instead_of(source: &Path) -> &'static str {
    if source.as_os_str().as_encoded_bytes().contains(&b'*') {
        "`source` takes no patterns: name a file, or its directory"
    } else {
        "correct `source`, or add it to the bundle"
    }
}

/// One reason why a revision cannot be installed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Something is there that the group does not own, and the behaviour is DISALLOW.
    #[error(
        "{} exists already ({kind}; {owner}): remove it, or set file_exists_behavior to OVERWRITE, which replaces it, \
         or to RETAIN, which leaves it",
        path.display()
    )]
    Exists {
        /// The path.
        path: PathBuf,
        /// What is there.
        kind: &'static str,
        /// To whom it belongs.
        owner: PathOwner,
    },
    /// Two sources go to one path.
    #[error(
        "two sources go to {}: {} (files entry in line {}) and {} (files entry in line {}); remove one of them",
        path.display(), first.0.display(), first.1.line, second.0.display(), second.1.line
    )]
    DuplicateTarget {
        /// The path.
        path: PathBuf,
        /// Source in the revision and its entry.
        first: (PathBuf, Position),
        /// The other source and its entry.
        second: (PathBuf, Position),
    },
    /// A `files` entry names something that the revision does not have.
    #[error("line {}: the revision has no {}; {}", at.line, source_path.display(), instead_of(source_path))]
    MissingSource {
        /// As the entry names it.
        source_path: PathBuf,
        /// The entry.
        at: Position,
    },
    /// A symlink leads the source of a `files` entry out of the revision.
    #[error(
        "line {}: the source {} leads out of the revision: {} is a symlink to {}; put what is to be installed into \
         the bundle",
        at.line, source_path.display(), link.display(), target.display()
    )]
    SourceOutside {
        /// As the entry names it.
        source_path: PathBuf,
        /// The symlink in the revision.
        link: PathBuf,
        /// Its target, as it was written.
        target: PathBuf,
        /// The entry.
        at: Position,
    },
    /// The revision holds something that is no file, directory or symlink.
    #[error("{} in the revision is a device, socket or pipe, which cannot be installed; leave it out of the bundle", source_path.display())]
    UnsupportedSource {
        /// Where in the revision.
        source_path: PathBuf,
    },
    /// Two permission entries mean one path.
    #[error(
        "the permissions entries in lines {} and {} both mean {}; narrow one of them by `pattern`, `except` or `type`",
        first.line, second.line, path.display()
    )]
    TwoPermissions {
        /// The path.
        path: PathBuf,
        /// One entry.
        first: Position,
        /// The other.
        second: Position,
    },
    /// A permission entry selects among the children of a file.
    #[error("line {}: {}: {reason}", at.line, path.display())]
    FileObject {
        /// The object.
        path: PathBuf,
        /// What the entry has that it cannot have.
        reason: FileObjectError,
        /// The entry.
        at: Position,
    },
    /// A permission entry has default access control entries and means a file.
    #[error(
        "line {}: `acls` holds default entries, which only directories have, and the entry means the file {}; \
         give these an entry of their own with `type: [directory]`",
        at.line, path.display()
    )]
    DefaultAclOnFile {
        /// The first such file.
        path: PathBuf,
        /// The entry.
        at: Position,
    },
    /// Two access control entries are for one account.
    #[error("line {}: `{first}` and `{second}` in `acls` are for the same account; remove one of them", at.line)]
    SameAccount {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The permission entry.
        at: Position,
    },
    /// A path is to have an access control list where there are none.
    #[error(
        "{} is to have an access control list, and the file system mounted on {} keeps none; mount it with the \
         option `acl` if it has one, choose another destination, or remove `acls`",
        path.display(), mount_point.display()
    )]
    NoAcls {
        /// The first such path on the file system.
        path: PathBuf,
        /// Where the file system is mounted.
        mount_point: PathBuf,
    },
    /// A path is to have a label where there are none.
    #[error(
        "{} is to have an SELinux label, and the file system mounted on {} keeps none; choose another destination, \
         or remove `context`",
        path.display(), mount_point.display()
    )]
    NoLabels {
        /// The first such path on the file system.
        path: PathBuf,
        /// Where the file system is mounted.
        mount_point: PathBuf,
    },
    /// A permission entry asks for a label, and the host cannot keep a rule for it.
    #[error(
        "line {}: `context` needs the command `semanage`, which this host does not have; install it (package \
         policycoreutils-python-utils), or remove `context`",
        at.line
    )]
    NoSemanage {
        /// The entry.
        at: Position,
    },
    /// A permission entry asks for a label that the host's policy does not have.
    #[error(
        "line {}: the SELinux policy of this host does not know the label {label}; correct `context`, or install \
         the policy module that has it",
        at.line
    )]
    UnknownLabel {
        /// The label.
        label: Label,
        /// The entry.
        at: Position,
    },
    /// A path would get a mode that the host refuses.
    #[error(
        "{} would have the mode {mode:04o}, which {}, and reject_unsafe_permissions_in_bundle is set; give it another \
         mode in the bundle or by `permissions`",
        path.display(),
        if mode & 0o6000 == 0 { "lets everybody write" } else { "runs it with the rights of its owner or group" }
    )]
    UnsafeMode {
        /// The path.
        path: PathBuf,
        /// The mode.
        mode: u32,
    },
    /// An entry asks for a label that the host refuses.
    #[error(
        "line {}: `context` gives {label}, a label of what nothing confines, and reject_unconfined_selinux_in_bundle \
         is set; choose another type or user",
        at.line
    )]
    UnconfinedLabel {
        /// The label.
        label: Label,
        /// The entry.
        at: Position,
    },
    /// The host has no such user or group.
    #[error("line {}: this host has no {kind} {name:?}; create it before the deployment, or give a number", at.line)]
    UnknownAccount {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The permission entry.
        at: Position,
    },
    /// A directory that holds what the group does not own would have to go.
    #[error(
        "{} is a directory, and a {want} is to take its place, but it holds {count} {} that the deployment group did not install ({}); move {} away first",
        path.display(), if *count == 1 { "entry" } else { "entries" }, listed(examples), if *count == 1 { "it" } else { "them" }
    )]
    ForeignEntries {
        /// The directory.
        path: PathBuf,
        /// What is to be there.
        want: &'static str,
        /// Some of what it holds.
        examples: Vec<PathBuf>,
        /// How many there are.
        count: usize,
    },
    /// A symlink below a destination leads to a directory, and others than root could redirect it.
    #[error(
        "{} is a symlink to {} where the revision has a directory, and it is not followed{}: remove the link, and the \
         deployment makes the directory, or leave the path out of the revision",
        path.display(), target.display(), by.as_ref().map(reason).unwrap_or_default()
    )]
    SymlinkInTheWay {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// Who could lead it elsewhere, where that is known.
        by: Option<Distrust>,
    },
    /// A symlink on the way to a destination leads to a directory, and others than root could redirect it and would gain.
    #[error(
        "{} is a symlink to {} on the way to a destination, and it is not followed{}: {}",
        path.display(), target.display(), reason(by), remedy(by)
    )]
    SymlinkOnTheWay {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// Who could lead it elsewhere.
        by: Distrust,
    },
    /// A permission entry means a symlink, and the host refuses that.
    #[error(
        "the permissions entry in line {} means {}, which is a symlink, and reject_symlink_permission_targets is set: \
         name what it leads to, or leave it out by `except`", at.line, path.display()
    )]
    SymlinkObject {
        /// The symlink, as the AppSpec names it.
        path: PathBuf,
        /// The entry.
        at: Position,
    },
    /// The path cannot be changed at all.
    #[error("{} cannot be changed: {reason}", path.display())]
    Unchangeable {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// An earlier install that is not settled holds back the group, or paths of the plan.
    #[error("{0}")]
    HeldBack(String),
    /// The agent's own state would be written to.
    #[error("{} is inside the agent's own directory {}; choose another destination", path.display(), own.display())]
    OwnState {
        /// The path.
        path: PathBuf,
        /// The directory.
        own: PathBuf,
    },
}

impl Conflict {
    /// The path on the host where something is in the way.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Exists { path, .. }
            | Self::ForeignEntries { path, .. }
            | Self::SymlinkInTheWay { path, .. }
            | Self::SymlinkOnTheWay { path, .. }
            | Self::Unchangeable { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// To whom something belongs that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOwner {
    /// Another deployment group.
    Group(Installer),
    /// Packages of the distribution, by name; a directory can belong to several.
    Packages(Vec<String>),
    /// Nobody who is known.
    Unknown,
}

impl fmt::Display for PathOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(Installer { group, deployment }) => {
                write!(out, "installed by deployment {deployment} of deployment group {group}")
            }
            Self::Packages(names) if names.len() > 1 => write!(out, "belongs to the packages {}", names.join(", ")),
            Self::Packages(names) => write!(out, "belongs to the package {}", names.join(", ")),
            Self::Unknown => out.write_str("nobody is known to own it"),
        }
    }
}

/// What a message says in one line.
enum Line<'a> {
    One(&'a Conflict),
    /// Paths that cannot be changed for the same reason.
    Unchangeable(&'a str, Vec<&'a PathBuf>),
}

/// A line for each conflict, and one for all paths that cannot be changed for the same reason.
fn lines(conflicts: &[Conflict]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for conflict in conflicts {
        let Conflict::Unchangeable { path, reason } = conflict else {
            lines.push(Line::One(conflict));
            continue;
        };
        let number = *known.entry(reason).or_insert(lines.len());
        match lines.get_mut(number) {
            Some(Line::Unchangeable(_, paths)) => paths.push(path),
            _ => lines.push(Line::Unchangeable(reason, vec![path])),
        }
    }
    lines
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(conflict) => conflict.fmt(out),
            Self::Unchangeable(reason, paths) => {
                let shown: Vec<String> = paths.iter().take(TOGETHER).map(|path| path.display().to_string()).collect();
                out.write_str(&shown.join(", "))?;
                if let Some(more) = paths.len().checked_sub(TOGETHER).filter(|more| *more > 0) {
                    write!(out, " and {more} more")?;
                }
                write!(out, " cannot be changed: {reason}")
            }
        }
    }
}

/// Why a link is not followed, after the words that say so.
fn reason(Distrust { path, owner, reach }: &Distrust) -> String {
    let path = path.display();
    match reach {
        Reach::Owner => format!(
            ", since {owner} owns {path} and could lead it to any directory, and does not own the one that it leads to"
        ),
        Reach::Others => {
            format!(", since others than {owner}, the owner of {path}, can write there and lead it elsewhere")
        }
        Reach::NotRoot => format!(", since {owner} owns {path}, and follow_links is `root`"),
    }
}

/// What makes a link on the way to a destination one that is followed, and what does without it.
fn remedy(Distrust { path, owner, reach }: &Distrust) -> String {
    let mend = match reach {
        Reach::Owner => {
            format!("let root own the link and the directories above it, or {owner} the directory that it leads to")
        }
        Reach::Others => format!("chmod go-w {}", path.display()),
        Reach::NotRoot => "let root own the link and the directories above it".to_owned(),
    };
    format!("{mend}; or name the directory that it leads to in the AppSpec")
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// All conflicts of a plan; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl fmt::Display for Conflicts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(out, "the revision cannot be installed, and nothing was changed: {only}"),
            many => {
                write!(out, "the revision cannot be installed for {} reasons, and nothing was changed:", many.len())?;
                let lines = lines(many);
                for line in lines.iter().take(SHOWN) {
                    write!(out, "\n- {line}")?;
                }
                match lines.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(out, "\n- and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for Conflicts {}
