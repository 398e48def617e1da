//! Limits of `/etc/security/limits.conf` and `limits.d` (`limits.conf(5)`).

use super::stack::Module;
use super::{HostFiles, Login};
use crate::process::{Account, Bound, Resource, ResourceLimit};

const CONF: &str = "/etc/security/limits.conf";
const CONF_D: &str = "/etc/security/limits.d";
/// There, lines for all and for groups do not count for root.
const DEBIAN: &str = "/etc/debian_version";
/// The most files that the kernel lets a process open.
const MOST_FILES: &str = "/proc/sys/fs/nr_open";

/// How closely a line names the user: a closer one counts, and of two that are equal the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    All,
    Group,
    User,
}

/// What a line limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Resource(Resource),
    Priority,
}

/// A limit that was found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found<T> {
    closeness: Closeness,
    value: T,
}

/// Takes the user's limits.
pub(super) fn apply(host: &HostFiles<'_>, module: &Module, account: &Account, login: &mut Login) {
    let files = match module.arg("conf") {
        Some(file) => vec![file.to_owned()],
        None => {
            let below = host.names(CONF_D, ".conf").into_iter().map(|name| format!("{CONF_D}/{name}"));
            std::iter::once(CONF.to_owned()).chain(below).collect()
        }
    };
    let mut table = Table::default();
    for file in files {
        for line in host.read(&file).unwrap_or_default().lines() {
            if table.take(host, line, account) == Taken::NoLimits {
                return;
            }
        }
    }
    login.limits = table.limits();
    // Root is not made nicer than it is.
    login.priority = table.priority.map(|found| found.value).filter(|priority| account.uid != 0 || *priority <= 0);
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    GoOn,
    /// `user -`: there are no limits for this user.
    NoLimits,
}

/// What was found of one resource.
#[derive(Debug)]
struct Limited {
    resource: Resource,
    soft: Option<Found<Bound>>,
    hard: Option<Found<Bound>>,
}

#[derive(Debug, Default)]
struct Table {
    found: Vec<Limited>,
    priority: Option<Found<i32>>,
}

impl Table {
    fn take(&mut self, host: &HostFiles<'_>, line: &str, account: &Account) -> Taken {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [domain, "-"] if closeness(host, domain, account).is_some_and(|close| close > Closeness::All) => {
                return Taken::NoLimits;
            }
            [domain, kind, item, value] => {
                if let Some(closeness) = closeness(host, domain, account) {
                    let _ = self.set(host, closeness, [kind, item, value]);
                }
            }
            _ => {}
        }
        Taken::GoOn
    }

    /// Nothing where the line says what cannot be.
    fn set(&mut self, host: &HostFiles<'_>, closeness: Closeness, [kind, item, value]: [&str; 3]) -> Option<()> {
        let (soft, hard) = match kind.to_ascii_lowercase().as_str() {
            "soft" => (true, false),
            "hard" => (false, true),
            "-" => (true, true),
            _ => return None,
        };
        let value = value.to_ascii_lowercase();
        let resource = match item_of(&item.to_ascii_lowercase())? {
            Item::Priority => {
                replace(&mut self.priority, Found { closeness, value: value.parse::<i32>().ok()? });
                return Some(());
            }
            Item::Resource(resource) => resource,
        };
        let found = Found { closeness, value: bound(host, resource, &value)? };
        let limited = match self.found.iter().position(|known| known.resource == resource) {
            Some(at) => self.found.get_mut(at)?,
            None => {
                self.found.push(Limited { resource, soft: None, hard: None });
                self.found.last_mut()?
            }
        };
        if soft {
            replace(&mut limited.soft, found);
        }
        if hard {
            replace(&mut limited.hard, found);
        }
        Some(())
    }

    fn limits(&self) -> Vec<ResourceLimit> {
        let limit = |limited: &Limited| ResourceLimit {
            resource: limited.resource,
            soft: limited.soft.map(|found| found.value),
            hard: limited.hard.map(|found| found.value),
        };
        self.found.iter().map(limit).collect()
    }
}

fn replace<T>(place: &mut Option<Found<T>>, found: Found<T>) {
    if place.as_ref().is_none_or(|known| known.closeness <= found.closeness) {
        *place = Some(found);
    }
}

/// How closely the first word of a line names the user; nothing where it names others.
fn closeness(host: &HostFiles<'_>, domain: &str, account: &Account) -> Option<Closeness> {
    let by_groups = || account.uid != 0 || !host.exists(DEBIAN);
    if domain == account.name {
        return Some(Closeness::User);
    }
    if let Some(group) = domain.strip_prefix('@') {
        let is_in = match group.split_once(':') {
            // All groups count for one number, the primary one for a range.
            Some(("", gid)) => account.groups.iter().any(|own| Some(*own) == gid.parse().ok()),
            Some((from, to)) => is_between(account.gid, from, to),
            None => account.is_in(group),
        };
        return (is_in && by_groups()).then_some(Closeness::Group);
    }
    match domain.split_once(':') {
        Some(("", uid)) => (Some(account.uid) == uid.parse().ok()).then_some(Closeness::User),
        Some((from, to)) => is_between(account.uid, from, to).then_some(Closeness::User),
        // `%` counts logins, of which a script is none.
        None => (domain == "*" && by_groups()).then_some(Closeness::All),
    }
}

fn is_between(id: u32, from: &str, to: &str) -> bool {
    from.parse().is_ok_and(|from| id >= from) && (to.is_empty() || to.parse().is_ok_and(|to| id <= to))
}

fn item_of(item: &str) -> Option<Item> {
    Some(Item::Resource(match item {
        "core" => Resource::Core,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "memlock" => Resource::Memlock,
        "nofile" => Resource::Nofile,
        "rss" => Resource::Rss,
        "stack" => Resource::Stack,
        "cpu" => Resource::Cpu,
        "nproc" => Resource::Nproc,
        "as" => Resource::As,
        "locks" => Resource::Locks,
        "sigpending" => Resource::Sigpending,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "rtprio" => Resource::Rtprio,
        "priority" => return Some(Item::Priority),
        _ => return None,
    }))
}

/// A value in the kernel's unit.
fn bound(host: &HostFiles<'_>, resource: Resource, value: &str) -> Option<Bound> {
    if resource == Resource::Nice {
        let nice = value.parse::<i64>().ok()?.clamp(-20, 19);
        return Some(Bound::At(u64::try_from(20 - nice).ok()?));
    }
    if matches!(value, "-1" | "unlimited" | "infinity") {
        return Some(match resource {
            // The kernel refuses more than that.
            Resource::Nofile => match host.read(MOST_FILES).and_then(|most| most.trim().parse().ok()) {
                Some(most) => Bound::At(most),
                None => Bound::Unlimited,
            },
            _ => Bound::Unlimited,
        });
    }
    let number: u64 = value.parse().ok()?;
    let unit = match resource {
        Resource::Cpu => 60,
        Resource::Fsize
        | Resource::Data
        | Resource::Stack
        | Resource::Core
        | Resource::Rss
        | Resource::Memlock
        | Resource::As => 1024,
        _ => 1,
    };
    Some(number.checked_mul(unit).map_or(Bound::Unlimited, Bound::At))
}
