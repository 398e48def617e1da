//! Users and groups of this host by name.

use nix::unistd::{Group, User};

use crate::appspec::PermissionEntry;
use crate::appspec::acl::AclWho;
use crate::disk;
use crate::plan::grounds::Accounts;

/// Looks up every name that the entries use. A number stands for itself where nobody has it as a name.
/// Names that the host lacks are left out.
pub(super) fn resolve(entries: &[PermissionEntry]) -> Result<Accounts, disk::Error> {
    let mut accounts = Accounts::default();
    for entry in entries {
        let listed = entry.acls.iter().flatten().map(|acl| &acl.who);
        let users = listed.clone().filter_map(|who| if let AclWho::User(name) = who { Some(name) } else { None });
        for name in entry.owner.iter().chain(users) {
            if !accounts.users.contains_key(name) {
                let found = User::from_name(name).map_err(|errno| failed("look up user", name, errno))?;
                let uid = found.map(|user| user.uid.as_raw()).or_else(|| number(name));
                accounts.users.extend(uid.map(|uid| (name.clone(), uid)));
            }
        }
        let groups = listed.filter_map(|who| if let AclWho::Group(name) = who { Some(name) } else { None });
        for name in entry.group.iter().chain(groups) {
            if !accounts.groups.contains_key(name) {
                let found = Group::from_name(name).map_err(|errno| failed("look up group", name, errno))?;
                let gid = found.map(|group| group.gid.as_raw()).or_else(|| number(name));
                accounts.groups.extend(gid.map(|gid| (name.clone(), gid)));
            }
        }
    }
    Ok(accounts)
}

/// A user as people know it.
pub(super) fn name_of(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("user {uid}"),
    }
}

/// The highest number is nobody's: system calls take it for none.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|id| *id != u32::MAX)
}

fn failed(action: &'static str, name: &str, errno: nix::errno::Errno) -> disk::Error {
    disk::Error::new(action, name, std::io::Error::from_raw_os_error(errno as i32))
}
