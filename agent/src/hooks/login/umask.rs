//! The umask of a login (`pam_umask(8)`).

use super::HostFiles;
use super::stack::Module;
use crate::process::Account;

const LOGIN_DEFS: &str = "/etc/login.defs";

/// The umask that the module sets.
pub(super) fn of(host: &HostFiles<'_>, module: &Module, account: &Account) -> Option<u32> {
    let has = |name: &str| module.args.iter().any(|arg| arg == name);
    let defs = host.read(LOGIN_DEFS).unwrap_or_default();
    let (text, by_login_defs) = match module.arg("umask") {
        Some(umask) => (umask.to_owned(), false),
        None => (value(&defs, "UMASK")?.to_owned(), true),
    };
    let umask = u32::from_str_radix(&text, 8).ok()? & 0o777;
    let enabled = by_login_defs && value(&defs, "USERGROUPS_ENAB").is_some_and(|on| on.eq_ignore_ascii_case("yes"));
    let own_group = account.uid != 0 && account.group_name().as_deref() == Some(account.name.as_str());
    let shared = (has("usergroups") || enabled) && !has("nousergroups") && own_group;
    Some(if shared { umask & !0o070 | umask >> 3 & 0o070 } else { umask })
}

/// What `login.defs` says of a name.
fn value<'a>(defs: &'a str, name: &str) -> Option<&'a str> {
    defs.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()).flatten()
    })
}
