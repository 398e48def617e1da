//! Who may change or read what the agent trusts.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Host;
use super::finding::{Finding, Verdict};
use crate::cli::settings::Context;
use crate::config::{HookProfile, Origin};
use crate::disk::{self, Dir};
use crate::process;

/// What others must not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Change it.
    FromChange,
    /// Read it.
    FromEyes,
}

impl Kept {
    fn bits(self) -> u32 {
        match self {
            Self::FromChange => 0o022,
            Self::FromEyes => 0o077,
        }
    }
}

/// Something that is wrong, and the command that mends it.
struct Wrong {
    found: String,
    remedy: String,
}

pub(super) fn permissions(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("permissions", tried, verdict)];
    let context = match host.context() {
        Ok(context) => context,
        Err(verdict) => return finding("nothing", verdict),
    };
    if !process::is_root() {
        let reason = "only root can look at all of them: run `slipway-agent doctor` as root".to_owned();
        return finding("nothing", Verdict::NotTried(reason));
    }
    let tried = "examined owner and mode of root_dir and what is above it, of the configuration, the on-premises file, \
                 certificates, trusted keys and hook_profile";
    let wrong = match look(context) {
        Ok(wrong) => wrong,
        Err(error) => {
            return finding(tried, Verdict::failed(error.to_string(), "mend the path, or correct the setting"));
        }
    };
    if wrong.is_empty() {
        return finding(tried, Verdict::Passed("nobody but root can change what the agent trusts".to_owned()));
    }
    let join = |text: fn(&Wrong) -> &str| wrong.iter().map(text).collect::<Vec<_>>().join("\n");
    finding(tried, Verdict::failed(join(|wrong| &wrong.found), join(|wrong| &wrong.remedy)))
}

/// What others than root can change or read that the agent trusts, each with what mends it: said at each start of the
/// daemon.
pub(in crate::cli) fn warnings(context: &Context) -> Vec<String> {
    if !process::is_root() {
        return Vec::new();
    }
    match look(context) {
        Ok(wrong) => wrong.into_iter().map(|Wrong { found, remedy }| format!("{found}: {remedy}")).collect(),
        Err(error) => vec![format!("it is not known who may change what the agent trusts: {error}")],
    }
}

fn look(context: &Context) -> disk::Result<Vec<Wrong>> {
    let mut wrong = Vec::new();
    let root = context.layout.root();
    for above in root.ancestors().skip(1) {
        let Some(found) = directory(above)? else { continue };
        // In a directory such as /tmp, others cannot replace what is root's.
        if found.mode & 0o022 != 0 && found.mode & 0o1000 == 0 {
            wrong.push(open_to_change(above, found.mode));
        }
        wrong.extend(impassable(above, found.mode));
    }
    if let Some(found) = directory(root)? {
        wrong.extend(kept(root, found, Kept::FromChange));
        wrong.extend(impassable(root, found.mode));
    }
    let own = context.layout.own();
    if let Some(found) = directory(&own)? {
        wrong.extend(kept(&own, found, Kept::FromEyes));
    }
    let identity = context.settings.on_premises_config_file.to_path_buf();
    let trusted = configuration(context).into_iter().chain(context.settings.trusted_bundle_keys.iter().cloned());
    let trusted = trusted.chain(others(context));
    let files = trusted.map(|path| (path, Kept::FromChange)).chain([(identity, Kept::FromEyes)]);
    for (path, from) in files {
        if let Some(found) = file(&path)? {
            wrong.extend(kept(&path, found, from));
        }
    }
    Ok(wrong)
}

/// Files by which others are trusted, and the one that is evaluated for scripts.
fn others(context: &Context) -> Vec<PathBuf> {
    let settings = &context.settings;
    let profile = match &*settings.hook_profile {
        HookProfile::File(path) => Some(path.clone()),
        HookProfile::None => None,
    };
    let named = [&*settings.ca_bundle, &*settings.ssl_cert_file, &*settings.deployment_spec_ca_file];
    named.into_iter().flatten().cloned().chain(profile).collect()
}

/// The files that set something.
fn configuration(context: &Context) -> BTreeSet<PathBuf> {
    let described = context.settings.describe();
    let files = described.iter().filter_map(|setting| match &setting.origin {
        Origin::File { file, .. } => Some(PathBuf::from(&**file)),
        Origin::Default | Origin::StrictProfile | Origin::Environment(_) => None,
    });
    files.collect()
}

/// Owner and mode of something.
#[derive(Clone, Copy)]
struct Owned {
    uid: u32,
    mode: u32,
}

fn directory(path: &Path) -> disk::Result<Option<Owned>> {
    match Dir::open(path) {
        Ok(directory) => directory.stat_self().map(|stat| Some(Owned { uid: stat.uid, mode: stat.mode })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn file(path: &Path) -> disk::Result<Option<Owned>> {
    let metadata = disk::open_named(path)
        .and_then(|file| file.metadata().map_err(|source| disk::Error::new("examine", path, source)));
    match metadata {
        Ok(metadata) => Ok(Some(Owned { uid: metadata.uid(), mode: metadata.mode() & 0o7777 })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn kept(path: &Path, found: Owned, from: Kept) -> Option<Wrong> {
    let shown = path.display();
    if found.uid != 0 {
        return Some(Wrong {
            found: format!("{shown} belongs to the user with uid {}, who can change it", found.uid),
            remedy: format!("chown root {shown}"),
        });
    }
    if found.mode & from.bits() == 0 {
        return None;
    }
    Some(match from {
        Kept::FromChange => open_to_change(path, found.mode),
        Kept::FromEyes => Wrong {
            found: format!("{shown} has mode {:04o}, and others than root can use it", found.mode),
            remedy: format!("chmod go= {shown}"),
        },
    })
}

fn open_to_change(path: &Path, mode: u32) -> Wrong {
    let shown = path.display();
    Wrong {
        found: format!("{shown} has mode {mode:04o}, and others than root can change it"),
        remedy: format!("chmod go-w {shown}"),
    }
}

/// Users that hooks run as must reach their scripts.
fn impassable(path: &Path, mode: u32) -> Option<Wrong> {
    let shown = path.display();
    (mode & 0o001 == 0).then(|| Wrong {
        found: format!("{shown} has mode {mode:04o}: scripts with `runas` below it cannot be reached by their users"),
        remedy: format!("chmod o+x {shown}"),
    })
}
