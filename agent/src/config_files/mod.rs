//! The configuration on disk: the main file, what lies over it in `conf.d`, and the on-premises file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::config::{self, ConfigErrors, ConfigWarning, Environment, Layer, Loaded, on_premises};
use crate::disk::{self, Dir, Exposure, Kind};
use crate::yaml::{Budget, Position};

/// Where the configuration is unless the command line says else; the same place as AWS's agent has.
pub const DEFAULT_FILE: &str = "/etc/codedeploy-agent/conf/codedeployagent.yml";

/// Files over the main one; each is held in memory until all are merged.
const MOST_FRAGMENTS: usize = 64;

/// Which main file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`DEFAULT_FILE`], which need not exist.
    Default,
    /// The one that the command line names, which must.
    Given(PathBuf),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file that the command line names is not there.
    #[error("there is no configuration file {}: check the path that was given with --config", .0.display())]
    Missing(PathBuf),
    /// A file or directory cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] disk::Error),
    /// `conf.d` holds more files than are merged.
    #[error("{} holds more than {MOST_FRAGMENTS} configuration files: join some of them", .0.display())]
    TooMany(PathBuf),
    /// Files hold mistakes.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// Why the on-premises file does not give an identity.
#[derive(Debug, thiserror::Error)]
pub enum OnPremisesError {
    /// It cannot be read.
    #[error("the on-premises file cannot be read: {0}")]
    Unreadable(#[from] disk::Error),
    /// It holds mistakes.
    #[error(transparent)]
    Invalid(#[from] on_premises::OnPremisesErrors),
    /// Others can change it.
    #[error(
        "the on-premises file {} is not used, since others could change whose host this is: {exposure}; `{}`", path.display(),
        exposure.remedy()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What lets them.
        exposure: Exposure,
    },
}

impl From<Option<PathBuf>> for Source {
    fn from(given: Option<PathBuf>) -> Self {
        given.map_or(Self::Default, Self::Given)
    }
}

/// Reads the main file and, in the order of their names, `conf.d/*.yml` beside it, and merges them
/// over the environment and the defaults.
pub fn load(source: &Source, environment: &Environment) -> Result<Loaded, LoadError> {
    let main = match source {
        Source::Default => Path::new(DEFAULT_FILE),
        Source::Given(path) => path,
    };
    let mut layers = Vec::new();
    match (disk::read_if_exists(main, limit())?, source) {
        (Some(text), _) => layers.push(layer(main, text)),
        (None, Source::Default) => {}
        (None, Source::Given(path)) => return Err(LoadError::Missing(path.clone())),
    }
    let fragments = fragments(&main.with_file_name("conf.d"))?;
    for path in &fragments.read {
        layers.push(layer(path, disk::read_bounded(path, limit())?));
    }
    let merged = config::merge(&layers, environment);
    // A proxy's password may be in them.
    layers.iter_mut().for_each(|layer| layer.text.zeroize());
    let mut loaded = merged?;
    loaded.warnings.extend(fragments.passed_over.iter().map(|path| ConfigWarning {
        file: shown(path),
        at: Position::START,
        message: "this file is not read: only names that end in `.yml` are".to_owned(),
    }));
    Ok(loaded)
}

/// Reads an on-premises file; there need not be one. One that others can change is refused, as ssh refuses such a key.
pub fn on_premises(path: &Path) -> Result<Option<on_premises::Parsed>, OnPremisesError> {
    match disk::read_if_exists(path, limit())? {
        Some(text) => {
            let text = Zeroizing::new(text);
            if let Some(exposure) = disk::exposure(path)? {
                return Err(OnPremisesError::Exposed { path: path.to_owned(), exposure });
            }
            Ok(Some(on_premises::parse(&text, &path.display().to_string())?))
        }
        None => Ok(None),
    }
}

/// The files of `conf.d`, in the order of their names.
struct Fragments {
    read: Vec<PathBuf>,
    /// Named almost as those that are read.
    passed_over: Vec<PathBuf>,
}

fn fragments(directory: &Path) -> Result<Fragments, LoadError> {
    let entries = match Dir::open(directory) {
        Ok(directory) => directory.entries()?,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut names: Vec<_> = entries
        .into_iter()
        .filter(|entry| {
            matches!(entry.kind, Kind::File | Kind::Symlink) && !entry.name.as_encoded_bytes().starts_with(b".")
        })
        .map(|entry| entry.name)
        .collect();
    names.sort();
    let ending_in = |ending: &str| -> Vec<PathBuf> {
        let ends = |name: &&std::ffi::OsString| Path::new(name).extension() == Some(OsStr::new(ending));
        names.iter().filter(ends).map(|name| directory.join(name)).collect()
    };
    let read = ending_in("yml");
    if read.len() > MOST_FRAGMENTS {
        return Err(LoadError::TooMany(directory.to_owned()));
    }
    Ok(Fragments { read, passed_over: ending_in("yaml") })
}

fn limit() -> u64 {
    // One byte more than the reader takes, so that it is the one to say what is too long.
    Budget::FILE.bytes as u64 + 1
}

fn layer(path: &Path, text: Vec<u8>) -> Layer {
    Layer { file: shown(path), text }
}

fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

#[cfg(test)]
mod tests;
