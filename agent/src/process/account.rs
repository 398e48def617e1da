use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, User, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// A user of this host, with all that is needed to become it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell, only for the environment: it runs nothing.
    pub shell: PathBuf,
}

impl Account {
    /// The account with this name, or with this number where no account has it as its name.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let fail = |errno: nix::errno::Errno| Error::Lookup { name: name.to_owned(), source: errno.into() };
        let mut user = User::from_name(name).map_err(fail)?;
        if user.is_none()
            && let Ok(uid) = name.parse::<u32>()
        {
            user = User::from_uid(uid.into()).map_err(fail)?;
        }
        user.map(|user| Self::of(user).map_err(fail)).transpose()
    }

    /// The account of this process.
    pub fn own() -> Result<Option<Self>> {
        Self::find(&geteuid().to_string())
    }

    /// Whether this process runs as this user already.
    pub fn is_own(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Whether a group of this name is one of its groups.
    pub fn is_in(&self, group: &str) -> bool {
        Group::from_name(group).ok().flatten().is_some_and(|group| self.groups.contains(&group.gid.as_raw()))
    }

    /// The name of its primary group, where that has one.
    pub fn group_name(&self) -> Option<String> {
        Group::from_gid(Gid::from_raw(self.gid)).ok().flatten().map(|group| group.name)
    }

    /// The variables that name it and what is its own, as a login sets them.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("HOME", self.home.display().to_string()),
            ("USER", self.name.clone()),
            ("LOGNAME", self.name.clone()),
            ("SHELL", self.shell.display().to_string()),
        ]
    }

    fn of(user: User) -> nix::Result<Self> {
        let name = CString::new(user.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
        let groups = getgrouplist(&name, user.gid)?.into_iter().map(|gid| gid.as_raw()).collect();
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups,
            home: user.dir,
            shell: user.shell,
            name: user.name,
        })
    }
}

/// Whether this process may become any user.
pub fn is_root() -> bool {
    geteuid().is_root()
}
