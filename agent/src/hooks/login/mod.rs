//! What a user gets from this host's PAM when root runs a command as it with `su`: the limits of `limits.conf`, the
//! variables of `/etc/environment` and the umask of `login.defs`.
//!
//! PAM itself is not called: its sessions move processes into other control groups, and its library is not on every
//! host. The host's stack for `su` is read instead, and what three of its modules would do is done: `pam_limits`,
//! `pam_env` and `pam_umask`. On a host whose stack lacks a module, or that has no PAM, there is nothing of it.

mod environment;
mod limits;
mod stack;
mod umask;

use std::path::{Path, PathBuf};

use crate::disk;
use crate::process::{Account, Environment, ResourceLimit};

/// Longest file of the host that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a login gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// Variables, which come before those that the script would have.
    pub environment: Environment,
    /// Limits that are other than the agent's.
    pub limits: Vec<ResourceLimit>,
    /// The nice value.
    pub priority: Option<i32>,
    /// The umask.
    pub umask: Option<u32>,
}

impl Login {
    /// What this host gives the user.
    pub fn of(account: &Account) -> Self {
        Self::at(Path::new("/"), account)
    }

    /// The same for a host whose files are below `root`.
    fn at(root: &Path, account: &Account) -> Self {
        let host = HostFiles(root);
        let mut login = Self::default();
        for module in stack::session(&host, "su") {
            match module.name.as_str() {
                "pam_limits.so" => limits::apply(&host, &module, account, &mut login),
                "pam_env.so" => environment::apply(&host, &module, &mut login.environment),
                "pam_umask.so" => login.umask = umask::of(&host, &module, account).or(login.umask),
                _ => {}
            }
        }
        login
    }
}

/// The host's configuration files. One that cannot be read counts as empty, as it does for PAM.
struct HostFiles<'a>(&'a Path);

impl HostFiles<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn exists(&self, path: &str) -> bool {
        disk::exists(&self.path(path)).unwrap_or(false)
    }

    fn read(&self, path: &str) -> Option<String> {
        match disk::read_if_exists(&self.path(path), MAX_FILE) {
            Ok(text) => text.map(|text| String::from_utf8_lossy(&text).into_owned()),
            Err(error) => {
                tracing::debug!(%error, "a file of the host's logins is left out");
                None
            }
        }
    }

    /// The names in a directory that end so, in the order of their bytes.
    fn names(&self, directory: &str, ending: &str) -> Vec<String> {
        let entries = disk::Dir::open(self.path(directory)).and_then(|dir| dir.entries()).unwrap_or_default();
        let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
        names.filter(|name| name.ends_with(ending)).collect()
    }
}

#[cfg(test)]
mod tests;
