//! Which file of a revision is its AppSpec.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::deployment::RelativePath;

/// Names that are looked for after the specification's own, in this order.
const USUAL: [&str; 2] = ["appspec.yaml", "appspec.yml"];

/// How many of the names at the top level an error lists.
const LISTED: usize = 20;

/// Chooses the AppSpec: the file that the specification names, else `appspec.yaml`, else
/// `appspec.yml`. `is_file` is asked for paths relative to the revision; `names_at_top` are the names
/// at its top level, for the message if there is none.
pub fn locate(
    wanted: &RelativePath,
    names_at_top: &[String],
    is_file: impl Fn(&Path) -> bool,
) -> Result<PathBuf, AppSpecNotFound> {
    let candidates = std::iter::once(wanted.as_path()).chain(USUAL.iter().map(Path::new));
    match candidates.into_iter().find(|path| is_file(path)) {
        Some(path) => Ok(path.to_owned()),
        None => {
            let below = |name: &String| {
                let mut usual = USUAL.iter().map(|usual| Path::new(name).join(usual));
                usual.find(|path| is_file(path))
            };
            let nested = names_at_top.iter().find_map(below);
            Err(AppSpecNotFound { wanted: wanted.clone(), names_at_top: names_at_top.to_vec(), nested })
        }
    }
}

/// A revision without an AppSpec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AppSpecNotFound {
    wanted: RelativePath,
    names_at_top: Vec<String>,
    /// One that is in a directory at the top level.
    nested: Option<PathBuf>,
}

impl fmt::Display for AppSpecNotFound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the revision has no AppSpec: `{}`", self.wanted)?;
        let others: Vec<_> = USUAL.iter().filter(|name| self.wanted.as_path() != Path::new(name)).collect();
        for (n, name) in others.iter().enumerate() {
            write!(out, "{}`{name}`", if n + 1 == others.len() { " and " } else { ", " })?;
        }
        out.write_str(" were looked for at its top level, where there is ")?;
        let mut names: Vec<&str> = self.names_at_top.iter().map(String::as_str).collect();
        names.sort_unstable();
        match names.as_slice() {
            [] => return out.write_str("nothing at all. Was the bundle packed from an empty directory?"),
            [only] => write!(out, "only `{only}`")?,
            many => {
                for (n, name) in many.iter().take(LISTED).enumerate() {
                    write!(out, "{}`{name}`", if n == 0 { "" } else { ", " })?;
                }
                if many.len() > LISTED {
                    write!(out, " and {} more", many.len() - LISTED)?;
                }
            }
        }
        out.write_str(". ")?;
        let similar =
            names.iter().find(|name| name.to_ascii_lowercase().trim_start_matches('.').starts_with("appspec"));
        if let Some(name) = similar {
            return write!(out, "Rename `{name}`: the name must be exactly one of those");
        }
        if let Some((nested, directory)) = self.nested.as_ref().and_then(|path| Some((path, path.parent()?))) {
            return write!(
                out,
                "There is `{}`: move it to the top level, or pack the bundle from within `{}`",
                nested.display(),
                directory.display()
            );
        }
        if names.iter().any(|name| matches!(*name, "buildspec.yml" | "buildspec.yaml")) {
            return out.write_str(
                "A buildspec is for CodeBuild: write an `appspec.yml`, and name it in the `artifacts` of the buildspec",
            );
        }
        match names.as_slice() {
            [only] => write!(out, "Is the AppSpec inside of `{only}`? Pack the bundle from within it"),
            _ => out.write_str("Put the AppSpec at the bundle's top level, or name it in the deployment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &str, files: &[&str]) -> Result<String, String> {
        let mut names: Vec<String> =
            files.iter().filter_map(|name| name.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        locate(&RelativePath::parse(wanted).unwrap(), &names, |path| files.iter().any(|name| path == Path::new(name)))
            .map(|path| path.display().to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_specifications_name_then_the_usual_ones() {
        let all = ["appspec.yml", "appspec.yaml", "deploy.yml", "conf/deploy.yml"];
        assert_eq!(found("deploy.yml", &all).unwrap(), "deploy.yml");
        assert_eq!(found("conf/deploy.yml", &all).unwrap(), "conf/deploy.yml");
        assert_eq!(found("appspec.yml", &all).unwrap(), "appspec.yml");
        assert_eq!(found("other.yml", &all).unwrap(), "appspec.yaml");
        assert_eq!(found("other.yml", &["appspec.yml"]).unwrap(), "appspec.yml");
    }

    #[test]
    fn what_is_there_instead_is_told() {
        assert_eq!(
            found("appspec.yml", &["src", "README"]).unwrap_err(),
            "the revision has no AppSpec: `appspec.yml` and `appspec.yaml` were looked for at its top level, where \
             there is `README`, `src`. Put the AppSpec at the bundle's top level, or name it in the deployment"
        );
        let message = found("deploy.yml", &["app-1.0"]).unwrap_err();
        assert!(message.contains("`deploy.yml`, `appspec.yaml` and `appspec.yml` were looked for"), "{message}");
        assert!(message.ends_with("Is the AppSpec inside of `app-1.0`? Pack the bundle from within it"), "{message}");
        let message = found("appspec.yml", &["AppSpec.yml", "x"]).unwrap_err();
        assert!(message.contains("Rename `AppSpec.yml`"), "{message}");
        assert!(found("appspec.yml", &["appspec.yml.txt"]).unwrap_err().contains("Rename `appspec.yml.txt`"));
        assert!(found("appspec.yml", &[]).unwrap_err().contains("nothing at all"));
        let message = found("appspec.yml", &["deploy/appspec.yml", "package.json"]).unwrap_err();
        assert!(
            message.ends_with(
                "There is `deploy/appspec.yml`: move it to the top level, or pack the bundle from within `deploy`"
            ),
            "{message}"
        );
        let message = found("appspec.yml", &["buildspec.yml"]).unwrap_err();
        assert!(message.contains("A buildspec is for CodeBuild: write an `appspec.yml`"), "{message}");
        let many: Vec<String> = (0..30).map(|n| format!("f{n:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(found("appspec.yml", &many).unwrap_err().contains("`f19` and 10 more"));
    }
}
