//! Symlinks through which deployments install. What is installed through one belongs to the group by the name that the
//! AppSpec gives it: once the link leads elsewhere, what was installed before is not the next install's to remove.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::path_text;
use super::plain_path::{below, join};

/// Of how many earlier directories of a link is known that a deployment installed there.
const EARLIER: usize = 100;

/// The links of an install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Links(Vec<Link>);

/// A symlink to a directory into which a deployment installed, or a destination below such a directory that the
/// AppSpec names without the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// As the AppSpec names it.
    #[serde(with = "path_text")]
    pub named: PathBuf,
    /// The directory, without symlinks on the way.
    #[serde(with = "path_text")]
    pub led_to: PathBuf,
    /// Directories to which it led when the group installed there earlier, the latest last.
    #[serde(default, with = "path_text::list", skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<PathBuf>,
}

impl Link {
    /// Whether the AppSpec names the directory itself.
    pub fn is_direct(&self) -> bool {
        self.named == self.led_to
    }
}

impl Links {
    /// The links that an install followed, each with its directory, and the destinations of its AppSpec. What is known
    /// of them by `before`, the links of the last install, stays known.
    pub fn new<'a>(
        followed: impl IntoIterator<Item = (PathBuf, PathBuf)>,
        destinations: impl IntoIterator<Item = &'a Path>,
        before: &Self,
    ) -> Self {
        let mut links: Vec<Link> = Vec::new();
        for (named, led_to) in followed {
            if links.iter().any(|link| link.named == named) {
                continue;
            }
            let known = before.0.iter().find(|link| link.named == named && !link.is_direct());
            let past = known.into_iter().flat_map(|link| link.earlier.iter().chain(Some(&link.led_to)));
            let mut earlier: Vec<PathBuf> = past.filter(|place| **place != led_to).cloned().collect();
            let too_many = earlier.len().saturating_sub(EARLIER);
            earlier.drain(..too_many);
            links.push(Link { named, led_to, earlier });
        }
        let is_through = |path: &Path| links.iter().any(|link| below(path, &link.named).is_some());
        let leads_there = |path: &Path| links.iter().any(|link| below(path, &link.led_to).is_some());
        let direct: Vec<Link> = destinations
            .into_iter()
            .filter(|path| leads_there(path) && !is_through(path))
            .map(|path| Link { named: path.to_owned(), led_to: path.to_owned(), earlier: Vec::new() })
            .collect();
        links.extend(direct);
        Self(links)
    }

    /// Whether nothing was installed through a link.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }

    /// The number of the link through which a path was installed; nothing where it was installed through none.
    pub fn number_of(&self, path: &Path) -> Option<usize> {
        let through = self.0.iter().enumerate().filter(|(_, link)| below(path, &link.led_to).is_some());
        let nearest = through.max_by_key(|(_, link)| (link.led_to.as_os_str().len(), link.is_direct()));
        nearest.map(|(number, _)| number)
    }

    /// A path as the AppSpec names it.
    pub fn named<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        let link = self.number_of(path).and_then(|number| self.0.get(number));
        match link.and_then(|link| Some((link, below(path, &link.led_to)?))) {
            Some((link, rest)) if !link.is_direct() => Cow::Owned(under(&link.named, rest)),
            _ => Cow::Borrowed(path),
        }
    }
}

/// A path below a directory; an empty one is the directory itself.
pub fn under(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_owned() } else { join(directory, rest.as_os_str()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_by_the_nearest_link_that_it_was_installed_through() {
        let pair = |named: &str, led_to: &str| (PathBuf::from(named), PathBuf::from(led_to));
        let followed = [pair("/current", "/releases/2"), pair("/current/shared", "/data"), pair("/current", "/x")];
        let destinations = ["/current/app", "/releases/2/direct", "/elsewhere"].map(Path::new);
        let links = Links::new(followed, destinations, &Links::default());
        for (path, named) in [
            ("/releases/2/app/f", "/current/app/f"),
            ("/releases/2", "/current"),
            ("/data/f", "/current/shared/f"),
            ("/releases/2/direct/f", "/releases/2/direct/f"),
            ("/releases/20/f", "/releases/20/f"),
            ("/elsewhere/f", "/elsewhere/f"),
        ] {
            assert_eq!(links.named(Path::new(path)), Path::new(named), "{path}");
        }
    }

    #[test]
    fn earlier_directories_stay_known_and_are_bounded() {
        let mut links = Links::default();
        for release in 0..EARLIER + 50 {
            let followed = [(PathBuf::from("/current"), PathBuf::from(format!("/releases/{release}")))];
            links = Links::new(followed, [], &links);
        }
        let link = links.iter().next().unwrap();
        assert_eq!(link.earlier.len(), EARLIER);
        assert_eq!(link.earlier.last().unwrap(), Path::new("/releases/148"));
        let back = Links::new([("/current".into(), "/releases/148".into())], [], &links);
        let link = back.iter().next().unwrap();
        assert!(link.earlier.contains(&"/releases/149".into()) && !link.earlier.contains(&link.led_to));
        let json = serde_json::to_string(&back).unwrap();
        assert_eq!(serde_json::from_str::<Links>(&json).unwrap(), back);
    }
}
