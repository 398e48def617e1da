//! The shell profile that gives scripts their base environment, as AWS's unit gives it to its hooks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::disk;
use crate::process::{self, Environment, find_program};

/// How long a profile may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest profile, in bytes.
const MAX_PROFILE: u64 = 1 << 20;
/// What it sets is exported, also where it does not say so. Its own output is nobody's. The umask that it leaves is
/// told in a variable.
const EVALUATE: &str = "set -a; . \"$1\" >/dev/null 2>&1; SLIPWAY_UMASK=$(umask) exec \"$2\" -0";
const UMASK: &str = "SLIPWAY_UMASK";
/// What the shell keeps for itself.
const OF_THE_SHELL: [&str; 4] = ["_", "SHLVL", "PWD", "OLDPWD"];

/// A shell profile, or none. It is evaluated once, when the first script needs it.
#[derive(Clone, Debug, Default)]
pub struct ShellProfile(Option<Arc<Evaluation>>);

#[derive(Debug)]
struct Evaluation {
    path: PathBuf,
    result: OnceLock<Option<Evaluated>>,
}

/// What a profile leaves.
#[derive(Debug)]
struct Evaluated {
    environment: Environment,
    umask: Option<u32>,
}

impl ShellProfile {
    /// The profile in a file, which need not be there.
    pub fn at(path: PathBuf) -> Self {
        Self(Some(Arc::new(Evaluation { path, result: OnceLock::new() })))
    }

    /// Evaluates the profile, unless that is done. One that fails changes nothing, now and later; a host that is short
    /// of processes is an error, and the next script asks again.
    pub fn evaluate(&self) -> process::Result<()> {
        let Some(evaluation) = self.0.as_ref().filter(|evaluation| evaluation.result.get().is_none()) else {
            return Ok(());
        };
        let result = match evaluate(&evaluation.path) {
            Ok(found) => found,
            Err(Trouble::OfTheHost(error)) => return Err(error),
            Err(Trouble::OfTheProfile(trouble)) => {
                tracing::warn!(
                    profile = %evaluation.path.display(),
                    "the shell profile changes nothing for hooks: {trouble}; mend it, or set hook_profile: none"
                );
                None
            }
        };
        // Another thread may have been faster, with the same.
        let _ = evaluation.result.set(result);
        Ok(())
    }

    /// The umask that the evaluated profile leaves.
    pub fn umask(&self) -> Option<u32> {
        self.evaluated()?.umask
    }

    fn evaluated(&self) -> Option<&Evaluated> {
        self.0.as_ref()?.result.get()?.as_ref()
    }

    /// `own`, this process's environment, with what the evaluated profile makes of it.
    pub fn over(&self, own: &Environment) -> Environment {
        let Some(Evaluated { environment: evaluated, .. }) = self.evaluated() else { return own.clone() };
        let mut merged = own.clone();
        let is_taken = |name: &String| !OF_THE_SHELL.contains(&name.as_str()) && is_variable(name);
        // The shell was told to speak English; what a profile says itself is another language.
        let is_imposed = |name: &String, value: &String| name == "LC_ALL" && value == "C";
        let taken = evaluated.0.iter().filter(|(name, value)| is_taken(name) && !is_imposed(name, value));
        merged.0.extend(taken.map(|(name, value)| (name.clone(), value.clone())));
        let is_unset = |name: &String| is_taken(name) && !evaluated.0.contains_key(name);
        merged.0.retain(|name, _| !is_unset(name) || !is_inherited(own, name));
        merged
    }
}

/// Why a profile leaves nothing.
enum Trouble {
    /// It may be over the next time.
    OfTheHost(process::Error),
    /// It stays.
    OfTheProfile(String),
}

/// Whether a process that this one starts gets the variable. What callers have added to `own` it does not.
fn is_inherited(own: &Environment, name: &str) -> bool {
    Environment::of_this_process().0.get(name) == own.0.get(name)
}

/// Functions are exported too, under names that no variable can have.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn evaluate(path: &Path) -> Result<Option<Evaluated>, Trouble> {
    let stays = |why: &str| Trouble::OfTheProfile(why.to_owned());
    if disk::read_if_exists(path, MAX_PROFILE).map_err(|error| stays(&error.to_string()))?.is_none() {
        return Ok(None);
    }
    let shell = find_program("bash").or_else(|| find_program("sh")).ok_or_else(|| stays("there is no shell"))?;
    let env = find_program("env").ok_or_else(|| stays("there is no program env"))?;
    let arguments: [&OsStr; 5] = ["-c".as_ref(), EVALUATE.as_ref(), "sh".as_ref(), path.as_os_str(), env.as_os_str()];
    let answer = process::ask(&shell, &arguments, b"", PATIENCE).map_err(Trouble::OfTheHost)?;
    if let Some(failure) = answer.failure {
        return Err(stays(&failure));
    }
    let text = |variable: &[u8]| {
        let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let mut environment = Environment(answer.stdout.split(|byte| *byte == 0).filter_map(text).collect());
    // A profile that leaves the shell by `exit 0` never comes to the end.
    if environment.0.is_empty() {
        return Err(stays("it ends the shell"));
    }
    let umask = environment.0.remove(UMASK).and_then(|umask| u32::from_str_radix(umask.trim(), 8).ok());
    Ok(Some(Evaluated { environment, umask }))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests write profiles")]
mod tests {
    use super::*;

    fn after(profile: &ShellProfile, own: &Environment) -> Environment {
        profile.evaluate().unwrap();
        profile.over(own)
    }

    fn over(text: &str, own: &[(&str, &str)]) -> Environment {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile");
        std::fs::write(&path, text).unwrap();
        let mut base = Environment::of_this_process();
        base.0.extend(own.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        after(&ShellProfile::at(path), &base)
    }

    #[test]
    fn a_profile_adds_changes_and_takes_away() {
        let profile = "echo noise; PLAIN=a\nexport EXPORTED='b c'\nPATH=/opt/x/bin:$PATH\nf() { :; }\nunset CARGO\n";
        let after = over(profile, &[("OWN", "kept")]);
        assert_eq!((after.0["PLAIN"].as_str(), after.0["EXPORTED"].as_str()), ("a", "b c"));
        assert!(after.0["PATH"].starts_with("/opt/x/bin:"), "{}", after.0["PATH"]);
        assert_eq!(after.0["OWN"], "kept");
        assert!(!after.0.contains_key("CARGO"), "cargo sets it for tests");
        let own = Environment::of_this_process();
        for name in ["_", "SHLVL", "PWD", "OLDPWD", "LC_ALL"] {
            assert_eq!(after.0.get(name), own.0.get(name), "{name}");
        }
        assert!(after.0.keys().all(|name| !name.contains('%')), "{after:?}");
    }

    #[test]
    fn a_profile_decides_on_the_umask_of_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile");
        for (text, expected) in [("umask 027\n", 0o027), ("A=1\n", 0o022)] {
            std::fs::write(&path, text).unwrap();
            let profile = ShellProfile::at(path.clone());
            let after = after(&profile, &Environment::of_this_process());
            assert_eq!(profile.umask(), Some(expected));
            assert!(!after.0.contains_key(UMASK));
        }
        assert_eq!(ShellProfile::default().umask(), None);
    }

    #[test]
    fn a_profile_that_fails_or_is_not_there_changes_nothing() {
        let own = Environment::of_this_process();
        for text in ["A=1\nexit 0\n", "A=1\nexit 3\n"] {
            assert_eq!(over(text, &[]), own, "{text}");
        }
        assert_eq!(after(&ShellProfile::at("/no/such/profile".into()), &own), own);
        assert_eq!(after(&ShellProfile::default(), &own), own);
    }
}
